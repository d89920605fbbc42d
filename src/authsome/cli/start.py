"""Starting the daemon where it does not run: one starter at a time, detached, ready before we go on."""

import fcntl
import json
import os
import select
import sys
import time
from typing import NoReturn

from authsome import run_mark
from authsome.cli.client import connect, is_private, reported
from authsome.errors import DaemonUnavailable

READY_SECONDS = 10.0
_TURN_SECONDS = 20.0


def start_daemon(home: str, workers: int | None = None) -> bool:
    """Returns once the daemon of a home answers; False if it already did. `workers` goes before what is configured.

    Raises DaemonUnavailable, or the error with which the daemon refused to start.
    """
    if os.environ.get("AUTHSOME_RUN") or run_mark.is_on() or _stands_in_run(os.getppid()):
        there = connect(home)
        if there is not None:
            there.close()
            return False
        raise DaemonUnavailable(
            "the daemon is not running, and it is not started from inside a run",
            "start it outside: authsome daemon start",
        )
    make_home(home)
    lock = _open(os.path.join(home, "run", "start.lock"), os.O_RDWR | os.O_CREAT)
    try:
        _take_turn(lock)
        there = connect(home)
        if there is not None:
            there.close()
            return False
        _await_ready(_launch(home, [] if workers is None else ["--workers", str(workers)]), home)
        return True
    finally:
        os.close(lock)


def _stands_in_run(pid: int) -> bool:
    """Whether an ancestor was started in a run (Linux): the daemon must not get a run's settings for its own."""
    for _ in range(64):
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                if b"\0AUTHSOME_RUN=" in b"\0" + file.read():
                    return True
            with open(f"/proc/{pid}/stat", "rb") as file:
                pid = int(file.read().rpartition(b")")[2].split()[1])
        except (OSError, ValueError):
            return False
    return False


def make_home(home: str) -> None:
    """Create the home, its `run/` and `logs/` as directories of ours alone."""
    try:
        os.makedirs(os.path.dirname(home), exist_ok=True)
        for path in (home, os.path.join(home, "run"), os.path.join(home, "logs")):
            try:
                os.mkdir(path, 0o700)
            except FileExistsError:
                continue
    except OSError as error:
        raise DaemonUnavailable(f"{error.filename}: {error.strerror}", "check AUTHSOME_HOME") from None
    is_private(os.path.join(home, "run"))


def _open(path: str, flags: int) -> int:
    try:
        return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DaemonUnavailable(f"{path}: {error.strerror}") from None


def _take_turn(lock: int) -> None:
    deadline = time.monotonic() + _TURN_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise DaemonUnavailable(
                    "another command has been starting the daemon for too long", "run: authsome doctor"
                ) from None
            time.sleep(0.02)


def _launch(home: str, options: list[str]) -> int:
    """Start the process and return the descriptor on which it says that it is ready."""
    log = _open(os.path.join(home, "logs", "daemon.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    ready, tell = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    between = os.fork()
    if between == 0:
        _become_daemon(home, log, tell, options)
    os.close(log)
    os.close(tell)
    os.waitpid(between, 0)
    return ready


def _become_daemon(home: str, log: int, tell: int, options: list[str]) -> NoReturn:
    # Twice forked, so that it is no child of the command that `run` turns this process into.
    try:
        os.setsid()
        if os.fork() > 0:
            os._exit(0)
        os.umask(0o077)
        os.chdir(home)
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        # A descriptor of the caller's, kept open, would make whoever reads its other end wait for ever.
        os.closerange(3, tell)
        os.closerange(tell + 1, min(os.sysconf("SC_OPEN_MAX"), 65536))
        os.set_inheritable(tell, True)
        command = [sys.executable, "-P", "-m", "authsome.daemon", *options, "--ready-fd", str(tell)]
        # A relative path was resolved where the person stands; the daemon stands in its home.
        os.execve(sys.executable, command, {**os.environ, "AUTHSOME_HOME": home})  # noqa: S606
    finally:
        os._exit(127)


def _await_ready(ready: int, home: str) -> None:
    log = os.path.join(home, "logs", "daemon.log")
    try:
        line = _read_line(ready)
    finally:
        os.close(ready)
    if line is None:
        raise DaemonUnavailable(f"the daemon was not ready within {READY_SECONDS:.0f} s", f"see {log}")
    try:
        said = json.loads(line)
    except ValueError:
        said = None
    if not isinstance(said, dict):
        raise DaemonUnavailable("the daemon ended before it was ready", f"see {log}")
    if "error" in said:
        raise reported(said)


def _read_line(ready: int) -> bytes | None:
    """What was written before the end of the line or of the file, None if nothing ended in time."""
    deadline = time.monotonic() + READY_SECONDS
    poll = select.poll()  # select.select knows no descriptor above 1023
    poll.register(ready, select.POLLIN)
    data = b""
    while not data.endswith(b"\n"):
        left = deadline - time.monotonic()
        if left <= 0 or not poll.poll(left * 1000):
            return None
        part = os.read(ready, 65536)
        if not part:
            break
        data += part
    return data
