"""What an isolated command finds: which places are hidden from it, which it may write to, which variables it loses.

It reads the system and changes nothing. All paths are real ones: absolute, without links.
"""

import os
import pwd
import stat
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from authsome.cli.isolate import trusted
from authsome.errors import NotAllowed, UsageError

_PRIVATE = (
    ".ssh", ".gnupg", ".aws", ".azure", ".kube", ".docker", ".netrc", "_netrc", ".git-credentials",
    ".config/git/credentials", ".config/gh", ".config/glab-cli", ".config/hub", ".config/gcloud", ".config/doctl",
    ".config/rclone", ".config/op", ".config/sops", ".config/containers", ".config/heroku", ".config/configstore",
    ".npmrc", ".pypirc", ".cargo/credentials", ".cargo/credentials.toml", ".gem/credentials", ".m2/settings.xml",
    ".gradle/gradle.properties", ".composer/auth.json", ".config/composer/auth.json", ".terraform.d", ".fly",
    ".vault-token", ".pgpass", ".my.cnf", ".s3cfg", ".boto", ".password-store", ".local/share/keyrings",
    ".local/share/kwalletd", ".1password", ".mozilla", ".thunderbird", ".config/google-chrome", ".config/chromium",
    ".config/BraveSoftware", ".config/microsoft-edge", ".bash_history", ".zsh_history", ".python_history",
    ".node_repl_history", ".psql_history", ".local/share/fish/fish_history", ".lesshst", ".viminfo",
)  # fmt: skip
"""Below a home directory: where tools keep credentials, sessions, and what was typed."""

_SYSTEM_PRIVATE = ("/run", "/var/run", "/etc/shadow", "/etc/gshadow")
"""`/run` has nearly every socket of the system's services and of the person's agents."""

_TEMPORARY = "/tmp"  # noqa: S108
_SHARED = ("/", "/home", "/media", "/mnt", "/opt", "/srv", "/tmp", "/var", "/var/tmp")  # noqa: S108
_SYSTEM = ("/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/run", "/sbin", "/sys", "/usr")
"""Where standing in a directory does not mean that it may be written to; with all below the latter."""

_AGENTS = {
    "SSH_AUTH_SOCK": "", "SSH_AGENT_PID": "", "GPG_AGENT_INFO": "", "GNOME_KEYRING_CONTROL": "",
    "DBUS_SESSION_BUS_ADDRESS": "", "DBUS_SYSTEM_BUS_ADDRESS": "", "XDG_RUNTIME_DIR": "", "DOCKER_HOST": "",
    "CONTAINER_HOST": "", "CONTAINERD_ADDRESS": "", "DISPLAY": "/tmp/.X11-unix", "WAYLAND_DISPLAY": "",  # noqa: S108
    "XAUTHORITY": "",
    "PULSE_SERVER": "", "TMUX": "", "STY": "", "VSCODE_IPC_HOOK_CLI": "", "VSCODE_GIT_IPC_HANDLE": "",
    "GIT_ASKPASS": "", "SSH_ASKPASS": "", "SUDO_ASKPASS": "", "NOTIFY_SOCKET": "", "LISTEN_FDS": "", "LISTEN_PID": "",
    "NODE_CHANNEL_FD": "", "JOURNAL_STREAM": "", "INVOCATION_ID": "", "AUTHSOME_HOME": "", "AUTHSOME_PORT": "",
}  # fmt: skip
"""Variables that lead to somebody who acts for the person; the place they mean where the value does not tell."""

RESOLVING = ("hosts", "resolv.conf")
"""Files of `/etc` that say where names lead; the run's directory has those that are seen instead."""


class Named(NamedTuple):
    """Paths on the command line: to be shown, to be written to, and files that hold CA certificates."""

    read: Iterable[str] = ()
    write: Iterable[str] = ()
    trust: Iterable[str] = ()


class Plan(NamedTuple):
    """`hidden` places are empty, `readable` ones are shown all the same, `writable` ones can be written to.

    `replaced` maps a file to the one that is seen in its place. `home` is authsome's, of which nothing is seen but
    the run's own `directory`. `directory` holds the files of `replaced` too. Nothing may be renamed away that leads
    to a hidden place.
    """

    home: str
    directory: str
    current: str
    hidden: frozenset[str]
    readable: frozenset[str]
    writable: frozenset[str]
    replaced: Mapping[str, str]
    remarks: tuple[str, ...] = ()


def make_plan(
    home: str, directory: str, secrets: Iterable[str], environment: Mapping[str, str], command: str, given: Named
) -> Plan:
    """What `run --isolate` will do here. `secrets` are files that open the vault, and lie outside the home.

    Raises UsageError, NotAllowed.
    """
    home = os.path.realpath(home)
    people = {os.path.realpath(each) for each in (environment.get("HOME", ""), _own_home()) if os.path.isabs(each)}
    readable = {_named(path, "--allow-read") for path in given.read}
    writable = {_named(path, "--allow-write") for path in given.write}
    authorities = {_named_file(path, "--trust-file") for path in given.trust}
    named = readable | writable
    current = os.path.realpath(os.getcwd())
    mounts = read_mounts()
    never = _everywhere({home, *(os.path.realpath(path) for path in secrets)}, mounts)
    for path in (*named, *authorities, current):
        if any(path == each or is_below(path, each) for each in never):
            raise NotAllowed(f"{path} belongs to authsome itself", "an isolated command never sees it")
    for path in authorities:
        trusted.check_named(path)
    remarks = []
    if _holds_more(current, _everywhere({*people, home}, mounts)):
        if is_below(current, _TEMPORARY):
            readable.add(current)
        if current not in (*writable, _TEMPORARY):
            remarks.append(
                f"{current} can only be read, as it is more than a project: start in a project's directory, "
                "or name what it may write to with --allow-write"
            )
    else:
        writable.add(current)
    hidden = {os.path.realpath(place) for place in _SYSTEM_PRIVATE}
    hidden |= {os.path.realpath(os.path.join(person, place)) for person in people for place in _PRIVATE}
    hidden |= {os.path.realpath(path) for path in _sockets(environment)}
    hidden = _everywhere({path for path in hidden - named if os.path.lexists(path)}, mounts) - named
    hidden |= never | {mount.place for mount in mounts if mount.kind == "proc" and not _leads_to_proc(mount.place)}
    if _is_hidden(current, hidden, named):
        raise NotAllowed(
            f"{current} is hidden from an isolated command, so it cannot start there",
            "start it in a project's directory, or use --allow-read",
        )
    for path in authorities:
        if _is_hidden(path, hidden, named):
            raise UsageError(
                f"--trust-file {path} is hidden from an isolated command",
                f"if that is the file you mean, add: --allow-read {path}",
            )
    return Plan(
        home=home,
        directory=os.path.realpath(directory),
        current=current,
        hidden=frozenset(hidden),
        readable=frozenset(readable),
        writable=frozenset(writable),
        replaced=_replaced(directory, [*trusted.find(command, environment, current), *authorities]),
        remarks=tuple(remarks),
    )


def without_agents(environment: Mapping[str, str], plan: Plan) -> dict[str, str]:
    """The variables without those that lead to an agent, unless its place was named."""
    kept = {}
    for name, value in environment.items():
        if name in _AGENTS:
            place = os.path.realpath(_AGENTS[name] or _path_in(value) or "/")
            if not any(place == each or is_below(place, each) for each in plan.writable):
                continue
        kept[name] = value
    for name in ("TMPDIR", "TMP", "TEMP"):
        place = os.path.realpath(kept.get(name) or "/tmp")  # noqa: S108
        if not any(place == each or is_below(place, each) for each in plan.writable):
            kept.pop(name, None)
    return kept


def is_below(path: str, directory: str) -> bool:
    """Whether a path lies somewhere inside a directory."""
    return path.startswith(directory.rstrip("/") + "/") and path != directory


class Mount(NamedTuple):
    """What is mounted at a `place`: the part `root` of the file system `device`."""

    device: str
    root: str
    place: str
    kind: str


def read_mounts() -> list[Mount]:
    """The mounts of this process (proc_pid_mountinfo(5))."""
    found = []
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            before, _, after = line.partition(" - ")
            fields = before.split(" ")
            root, place = (_unescaped(text) for text in fields[3:5])
            found.append(Mount(fields[2], root, place, after.split(" ")[0]))
    return found


def aliases(path: str, mounts: Iterable[Mount]) -> set[str]:
    """Where else the same directory or file can be reached, because its file system is mounted more than once."""
    mounts = list(mounts)
    around = [mount for mount in mounts if path == mount.place or is_below(path, mount.place)]
    if not around:
        return set()
    own = max(enumerate(around), key=lambda each: (len(each[1].place), each[0]))[1]
    inside = _joined(own.root, os.path.relpath(path, own.place))
    found = set()
    for mount in mounts:
        if mount.device == own.device and (inside == mount.root or is_below(inside, mount.root)):
            other = _joined(mount.place, os.path.relpath(inside, mount.root))
            if other != path and os.path.lexists(other):
                found.add(other)
    return found


def _everywhere(paths: set[str], mounts: Iterable[Mount]) -> set[str]:
    """The paths, and where else they can be reached."""
    return paths | {alias for path in paths for alias in aliases(path, mounts)}


def _joined(directory: str, path: str) -> str:
    return os.path.normpath(directory.rstrip("/") + "/" + path)


def _named(path: str, option: str) -> str:
    real = os.path.realpath(path)
    if not os.path.lexists(real):
        raise UsageError(f"{option} {path}: there is no such file or directory")
    if real == "/":
        raise UsageError(f"{option} {path}: name what the command needs, not everything")
    return real


def _named_file(path: str, option: str) -> str:
    real = _named(path, option)
    if not os.path.isfile(real):
        raise UsageError(f"{option} {path}: expected a file of CA certificates")
    return real


def _own_home() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return ""


def _holds_more(current: str, homes: Iterable[str]) -> bool:
    """Whether a directory is more than a project: somebody's home, one around it, or a part of the system."""
    if current in _SHARED or any(current == each or is_below(current, each) for each in _SYSTEM):
        return True
    return any(current == each or is_below(each, current) for each in homes)


def _is_hidden(path: str, hidden: Iterable[str], named: Iterable[str]) -> bool:
    """Whether the innermost place around a path that is either is a hidden one."""
    around = [place for place in (*hidden, *named) if path == place or is_below(path, place)]
    return bool(around) and max(around, key=len) not in named


def _leads_to_proc(place: str) -> bool:
    return place == "/proc" or is_below(place, "/proc")


def _unescaped(text: str) -> str:
    """Blanks, line ends and backslashes stand there in octal."""
    if "\\" not in text:
        return text
    return os.fsdecode(text.encode("utf-8", "surrogateescape").decode("unicode_escape").encode("latin-1"))


def _sockets(environment: Mapping[str, str]) -> set[str]:
    """Unix sockets that somebody listens on now, and those that variables lead to."""
    found = {_path_in(environment[name]) for name in _AGENTS if environment.get(name)}
    try:
        with open("/proc/net/unix", encoding="utf-8", errors="surrogateescape") as file:
            found |= {fields[7].rstrip("\n") for line in file if len(fields := line.split(" ", 7)) == 8}
    except OSError:
        pass
    listed = {path.lstrip() for path in found}
    return {path for path in listed if path.startswith("/") and _is_socket(path)}


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False


def _path_in(value: str) -> str:
    """The path in `/p`, `unix:path=/p,guid=…` or `unix:///p`."""
    text = value.partition("path=")[2] or value.removeprefix("unix:")
    path = text.partition(",")[0].partition(";")[0]
    while path.startswith("//"):
        path = path[1:]
    return path if path.startswith("/") else ""


def _replaced(directory: str, bundles: Iterable[str]) -> dict[str, str]:
    """Every bundle of CA certificates becomes the run's, and names resolve in there."""
    found = {os.path.realpath(path): os.path.join(directory, "ca.pem") for path in bundles}
    for name in RESOLVING:
        found[os.path.realpath(f"/etc/{name}")] = os.path.join(directory, name)
    return found
