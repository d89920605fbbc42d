"""The process outside: it asks for the namespaces, hands their sockets to the daemon, and waits for the command."""

import array
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence

from authsome.cli.isolate import handing, inside, kernel, seccomp
from authsome.cli.isolate.plan import RESOLVING, Plan
from authsome.errors import AuthsomeError, NotAllowed

_SYNCHRONOUS = (signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP, signal.SIGSYS,
                signal.SIGABRT, signal.SIGTTIN, signal.SIGTTOU)  # fmt: skip
_FROM_A_PROCESS = 0  # si_code of kill(2); what the terminal sends has reached the command already
_SECONDS = 30.0
_HINT = "leave --isolate out to run it without that wall"


def check_system() -> None:
    """Raises NotAllowed where this can never work."""
    if sys.platform != "linux":
        raise NotAllowed("--isolate needs Linux", _HINT)
    if not seccomp.is_known():
        raise NotAllowed(f"--isolate works on x86_64 and aarch64, this is {kernel.MACHINE}", _HINT)


def supervise(
    command: Sequence[str], environment: Mapping[str, str], plan: Plan, token: str, hosts: Sequence[str], home: str
) -> int:
    """Run the command isolated, and give its exit status. Raises NotAllowed where the system refuses."""
    _write_resolving(plan.directory)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    watched = set(signal.valid_signals()) - {*_SYNCHRONOUS, signal.SIGKILL, signal.SIGSTOP}
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # whoever started us may have ignored it
    before = signal.pthread_sigmask(signal.SIG_BLOCK, watched)
    task = inside.Task(command=list(command), environment=dict(environment), plan=plan, signals=before)
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        ours.close()
        inside.enter(task, theirs)
    theirs.close()
    try:
        with ours:
            ours.settimeout(_SECONDS)
            handed = handing.Handing(home, token, hosts, _received(ours, b"sockets"))
            connection = handed.hand_over()
            ours.send(b"go")
            (target,) = _received(ours, b"started")
            _await_start(ours)
    except BaseException as error:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if isinstance(error, TimeoutError):
            raise AuthsomeError(f"the isolated process has not begun within {_SECONDS:.0f} s") from None
        raise
    handed.keep(connection)
    _let_go_of_streams()
    return _wait(child, target, watched)


def _wait(child: int, target: int, watched: set[signal.Signals]) -> int:
    """Pass on what is sent to this process, until the command has ended."""
    for number in {signal.SIGINT, signal.SIGQUIT, signal.SIGHUP} & signal.sigpending():
        _pass_on(target, number)  # from a terminal, before there was a command, or just after
    while True:
        info = signal.sigwaitinfo(watched)
        if info.si_signo == signal.SIGCHLD:
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid == child:
                return inside.exit_status(status)
            continue
        if info.si_code <= _FROM_A_PROCESS:
            _pass_on(target, info.si_signo)
        if info.si_signo == signal.SIGTSTP:
            os.kill(os.getpid(), signal.SIGSTOP)


def _pass_on(target: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has ended, and we are about to learn it
        signal.pidfd_send_signal(target, number)


def _received(channel: socket.socket, word: bytes) -> list[int]:
    """The descriptors that come with a word. Raises what went wrong instead."""
    numbers = array.array("i")
    message, ancillary, _, _ = channel.recvmsg(65536, socket.CMSG_SPACE(16 * numbers.itemsize))
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            numbers.frombytes(data[: len(data) - len(data) % numbers.itemsize])
    for number in numbers:
        os.set_inheritable(number, False)
    if message != word:
        raise _failure(message)
    return list(numbers)


def _await_start(channel: socket.socket) -> None:
    """Until the command has taken the place of its process, or could not."""
    message = channel.recv(65536)
    if message:
        raise _failure(message)


def _failure(message: bytes) -> AuthsomeError:
    try:
        said = json.loads(message)
    except ValueError:
        return AuthsomeError("the isolated process ended before its command began")
    if "error" in said:
        error = AuthsomeError.from_json(said)
        error.code, error.exit_status = str(said["error"]), int(said["exit"])
        return error
    why, hint = _explained(str(said.get("step")), int(said.get("errno") or 0), str(said.get("reason")))
    return NotAllowed(f"the command cannot be isolated here: {why}", hint)


def _explained(step: str, number: int, reason: str) -> tuple[str, str]:
    """What the system forbids, and what its owner can do about it."""
    if _setting("/proc/sys/kernel/unprivileged_userns_clone") == "0":
        return "user namespaces are switched off", "sudo sysctl kernel.unprivileged_userns_clone=1"
    if _setting("/proc/sys/user/max_user_namespaces") == "0":
        return "user namespaces are switched off", "sudo sysctl user.max_user_namespaces=15000"
    if _setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1":
        return (
            "AppArmor keeps programs from using user namespaces",
            "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor profile with `userns,`",
        )
    what = f"{step} failed ({reason})"
    if os.path.exists("/.dockerenv") or os.path.exists("/run/.containerenv"):
        return f"{what} in this container", f"allow it user namespaces and an unmasked /proc, or {_HINT}"
    if step in ("open_tree", "move_mount", "mount_setattr") and number == 38:
        return "it needs Linux 5.14 or later", _HINT
    return what, _HINT


def _setting(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def _write_resolving(directory: str) -> None:
    """Files that make every name one for the proxy to answer."""
    name = socket.gethostname()
    texts = (f"127.0.0.1 localhost {name}\n::1 localhost\n", "nameserver 127.0.0.1\n")
    for file_name, text in zip(RESOLVING, texts, strict=True):
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with open(os.open(os.path.join(directory, file_name), flags, 0o644), "w", encoding="utf-8") as file:
            file.write(text)


def _let_go_of_streams() -> None:
    """They are the command's; whoever reads them learns when it closes them."""
    null = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(null, number)
    os.close(null)
