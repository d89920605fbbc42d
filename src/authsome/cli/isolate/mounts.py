"""The file system as an isolated command finds it, in a mount namespace of its own.

Everything stays where it is and becomes read-only; hidden places get an empty file system on top, writable ones a
copy of themselves from before. What is on top stays there: taking it away needs a capability that the command lacks.
"""

import contextlib
import os
import stat

from authsome.cli.isolate import kernel
from authsome.cli.isolate.plan import Plan, is_below

_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_LINKS = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2",
          "ptmx": "pts/ptmx"}  # fmt: skip
_NOTHING = "/dev/hidden"
"""An empty file that nobody may open; it lies over files that are hidden."""
_TEMPORARY = ("/tmp", "/dev/shm")  # noqa: S108
_SAFE = kernel.NO_SUID | kernel.NO_DEV


def arrange(plan: Plan) -> list[str]:
    """Make it so. Gives the places that can be written to. Raises OSError."""
    kernel.mount("none", "/", "", kernel.RECURSIVE | kernel.PRIVATE)
    shown = {path: kernel.detached(path) for path in plan.readable | plan.writable}
    own = kernel.detached(plan.directory)
    replaced = {path: kernel.detached(source) for path, source in plan.replaced.items()}
    devices = {name: kernel.detached(f"/dev/{name}") for name in _DEVICES if os.path.exists(f"/dev/{name}")}
    links = _links_of("/run")
    kernel.restrict("/", kernel.READ_ONLY | _SAFE, below=True)
    _make_devices(devices)
    kernel.mount("tmpfs", "/tmp", "tmpfs", _SAFE, "mode=1777")  # noqa: S108
    sealed = ["/dev"]
    for path in sorted(plan.hidden | shown.keys(), key=lambda each: (each.count("/"), each)):
        if path in shown:
            _show(shown.pop(path), path, writable=path in plan.writable)
        elif _hide(path):
            sealed.append(path)
    _hide(plan.home, always=True)
    sealed.append(plan.home)
    os.chmod(plan.home, 0o100)  # to be passed, not to be listed
    os.mkdir(os.path.join(plan.home, "run"), 0o700)
    _show(own, plan.directory, writable=False)
    for name, target in links.items():
        with contextlib.suppress(OSError):  # where /run was named, they are there
            os.symlink(target, f"/run/{name}")
    for path, tree in replaced.items():
        _replace(tree, path)
    for path in sealed:
        kernel.restrict(path, kernel.READ_ONLY)
    _pin(plan)
    os.chdir(plan.current)
    return [*plan.writable, *_TEMPORARY, "/dev", "/proc"]


def mount_processes() -> None:
    """The processes of the new pid namespace and no others; by the first of them."""
    flags = kernel.READ_ONLY | kernel.NO_SUID | kernel.NO_DEV | kernel.NO_EXEC
    kernel.mount("proc", "/proc", "proc", flags)


def _make_devices(devices: dict[str, int]) -> None:
    """A few devices that are of no harm, terminals and shared memory of the run's own."""
    kernel.mount("tmpfs", "/dev", "tmpfs", kernel.NO_SUID | kernel.NO_EXEC, "mode=755,size=64k")
    for name, tree in devices.items():
        _make_place(f"/dev/{name}", is_directory=False)
        kernel.attach(tree, f"/dev/{name}")
    for name, target in _LINKS.items():
        os.symlink(target, f"/dev/{name}")
    for name in ("pts", "shm"):
        os.mkdir(f"/dev/{name}")
    options = "newinstance,ptmxmode=0666,mode=620"
    kernel.mount("devpts", "/dev/pts", "devpts", kernel.NO_SUID | kernel.NO_EXEC, options)
    kernel.mount("tmpfs", "/dev/shm", "tmpfs", _SAFE, "mode=1777")  # noqa: S108
    os.close(os.open(_NOTHING, os.O_CREAT | os.O_WRONLY, 0))


def _hide(path: str, *, always: bool = False) -> bool:
    """Lay nothing over a path; true if there is a directory now, in which something may be shown again.

    A path that is not there any more lies below a hidden one; one that we may not look up, the command may not either.
    """
    try:
        is_directory = stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        if not always:
            return False
        _make_place(path, is_directory=True)
        is_directory = True
    if not is_directory:
        kernel.attach(kernel.detached(_NOTHING), path)
        return False
    kernel.mount("tmpfs", path, "tmpfs", _SAFE | kernel.NO_EXEC, "mode=755,size=256k")
    return True


def _show(tree: int, path: str, *, writable: bool) -> None:
    """Attach what lay at a path before, over whatever lies there now."""
    _make_place(path, is_directory=stat.S_ISDIR(os.fstat(tree).st_mode))
    kernel.attach(tree, path)
    flags = 0 if writable else kernel.READ_ONLY
    is_device = is_below(path, "/dev")
    kernel.restrict(path, flags | (kernel.NO_SUID if is_device else _SAFE), below=True)


def _replace(tree: int, path: str) -> None:
    """Attach a file over another, which may have been hidden with all around it."""
    _make_place(path, is_directory=False)
    kernel.attach(tree, path)
    kernel.restrict(path, kernel.READ_ONLY | _SAFE)


def _make_place(path: str, *, is_directory: bool) -> None:
    """Something to mount on. Where it is missing it lies in one of our own empty file systems."""
    if os.path.lexists(path):
        return
    os.makedirs(path if is_directory else os.path.dirname(path), exist_ok=True)
    if not is_directory:
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))


def _links_of(directory: str) -> dict[str, str]:
    """Links at the top of a directory; some systems keep the way to all their programs in one."""
    try:
        with os.scandir(directory) as entries:
            return {entry.name: os.readlink(entry.path) for entry in entries if entry.is_symlink()}
    except OSError:
        return {}


def _pin(plan: Plan) -> None:
    """Directories between a writable place and a hidden one become mounts too, which cannot be renamed."""
    between = {
        parent
        for hidden in (*plan.hidden, plan.home)
        for writable in plan.writable
        if is_below(hidden, writable)
        for parent in _parents(hidden, writable)
    }
    for path in sorted(between, key=len):
        if os.path.isdir(path):
            kernel.attach(kernel.detached(path), path)


def _parents(path: str, top: str) -> list[str]:
    """The directories around a path that lie below another."""
    found = []
    while is_below(path := os.path.dirname(path), top):
        found.append(path)
    return found
