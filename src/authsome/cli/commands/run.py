"""`run`: ask the daemon for a run, then become the command."""

import errno
import os
import sys
from typing import NoReturn

from authsome.cli.client import Answer, Daemon
from authsome.cli.environment import compose, own_bundles, own_wgetrc
from authsome.cli.given import Given
from authsome.cli.output import Output
from authsome.errors import AuthsomeError, UsageError
from authsome.settings import read_home

_PR_SET_CHILD_SUBREAPER = 36
_NOT_FOUND, _NOT_EXECUTABLE = 127, 126


def run(given: Given, out: Output) -> int:
    """Does not return: from here on this process is the command, with its signals, terminal and exit status.

    With --isolate it waits for the command, which it starts in namespaces of its own. The run belongs to this
    process id, so the daemon ends it with the command, or now if it cannot start.
    """
    isolate = given.flag("isolate")
    if isolate:
        from authsome.cli.isolate.network import refuse_this_machine  # the plain run does not pay for it
        from authsome.cli.isolate.supervisor import check_system

        check_system()
        refuse_this_machine(given.many("allow_host"))
    elif any(given.many(option) for option in ("allow_read", "allow_write", "allow_host", "trust_file")):
        raise UsageError(
            "--allow-read, --allow-write, --allow-host and --trust-file need --isolate",
            "add it, or leave them out: without it nothing is hidden and every host can be reached",
        )
    command = list(given.many("command"))
    inherited = dict(os.environ)
    for path in given.many("env_file"):
        inherited.update(_read_variables(path))
    only = _only(given.text("only"))
    bundles = [*given.many("trust_file"), *own_bundles(inherited)]
    lent = Daemon(read_home()).post(
        "/runs",
        {
            "command": os.path.basename(command[0]),
            "choices": _choices(given.many("connection"), only),
            "scrub": not given.flag("no_scrub"),
            "only": only,
            "roots": [os.path.abspath(path) for path in bundles if os.path.isfile(path)],
        },
    )
    _stay_recognisable()
    if isolate:
        return _run_isolated(given, out, inherited, lent)
    return become(command, _environment(inherited, lent, out))


def _environment(inherited: dict[str, str], lent: Answer, out: Output) -> dict[str, str]:
    environment, remarks = compose(inherited, lent)
    for remark in remarks:
        out.note(remark)
    _keep_wgetrc(inherited, lent, environment)
    return environment


def _run_isolated(given: Given, out: Output, inherited: dict[str, str], lent: Answer) -> int:
    """Stay, while the command runs in namespaces of its own."""
    from authsome.cli.isolate.network import PROXY
    from authsome.cli.isolate.plan import Named, make_plan, without_agents
    from authsome.cli.isolate.supervisor import supervise

    command, home = list(given.many("command")), read_home()
    secrets = [os.path.join(home, path) for path in lent.get("private", ())]
    named = Named(given.many("allow_read"), given.many("allow_write"), given.many("trust_file"))
    plan = make_plan(home, str(lent["directory"]), secrets, inherited, command[0], named)
    for remark in plan.remarks:
        out.note(remark)
    token = str(lent["proxy"]).partition("//run:")[2].partition("@")[0]
    environment = without_agents(_environment(inherited, {**lent, "proxy": PROXY}, out), plan)
    return supervise(command, environment, plan, token, given.many("allow_host"), home)


def _stay_recognisable() -> None:
    """So that the daemon knows what the command starts, even in a process that left the tree (level B).

    Orphans become children of the command instead of the system's first process.
    """
    import ctypes

    from authsome import run_mark

    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    run_mark.put_on()


def _only(text: str | None) -> list[str] | None:
    return None if text is None else text.replace(",", " ").split()


def _choices(pairs: tuple[str, ...], only: list[str] | None) -> dict[str, str]:
    choices = {}
    for pair in pairs:
        provider, equals, name = pair.partition("=")
        if not equals or not provider or not name:
            raise UsageError(
                f"--connection {pair}: expected PROVIDER=NAME", "for example: --connection notion_dcr=work"
            )
        if only is not None and provider not in only:
            raise UsageError(
                f"--connection {pair}: --only leaves {provider} out, so nothing of it is lent",
                f"add {provider} to --only, or leave that --connection out",
            )
        choices[provider] = name
    return choices


def _read_variables(path: str) -> dict[str, str]:
    from authsome.cli.quoting import read_dotenv

    try:
        with open(path, encoding="utf-8-sig") as file:
            return read_dotenv(file.read(), path)
    except UnicodeDecodeError:
        raise UsageError(f"{path}: expected UTF-8 text") from None
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", "check --env-file") from None


def _keep_wgetrc(inherited: dict[str, str], lent: Answer, environment: dict[str, str]) -> None:
    """Where the caller has settings for wget, hand them on in a file of the run's own."""
    own = inherited.get("WGETRC") or os.path.join(inherited.get("HOME", ""), ".wgetrc")
    if not os.path.isfile(own):
        return
    with open(own, encoding="utf-8", errors="surrogateescape") as file:
        text = own_wgetrc(file.read(), f"ca_certificate = {lent['ca_bundle']}\n")
    path = f"{lent['directory']}/wgetrc.merged"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with open(os.open(path, flags, 0o600), "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)
    environment["WGETRC"] = path


def become(command: list[str], environment: dict[str, str]) -> NoReturn:
    """Replace this process by the command, as a shell would find and start it (POSIX, exec).

    Raises AuthsomeError with status 127 where it is not found, 126 where it cannot be executed.
    """
    import signal

    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)  # Python ignores them, and what is ignored is inherited
    name = command[0]
    places = [name] if "/" in name else [os.path.join(d, name) for d in os.get_exec_path(environment)]
    refusal = None
    for path in places:
        try:
            os.execve(path, command, environment)  # noqa: S606
        except (FileNotFoundError, NotADirectoryError):
            if os.path.isfile(path):
                refusal = _refusal(f"{name}: the interpreter it names is not there", _NOT_EXECUTABLE)
        except OSError as error:
            if error.errno == errno.ENOEXEC:
                _become_script(path, command, environment)
            refusal = refusal or _refusal(f"{name}: {error.strerror}", _NOT_EXECUTABLE)
    raise refusal or _refusal(f"{name}: command not found", _NOT_FOUND)


def _become_script(path: str, command: list[str], environment: dict[str, str]) -> None:
    # A text without an interpreter line is a script for sh (POSIX, XCU 2.9.1.6).
    with open(path, "rb") as file:
        if b"\0" in file.read(512).partition(b"\n")[0]:
            return
    os.execve("/bin/sh", ["sh", path, *command[1:]], environment)  # noqa: S606


def _refusal(message: str, status: int) -> AuthsomeError:
    error = AuthsomeError(message)
    error.code = "command_not_found" if status == _NOT_FOUND else "command_not_executable"
    error.exit_status = status
    return error
