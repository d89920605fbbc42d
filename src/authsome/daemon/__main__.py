"""`python -m authsome.daemon [--ready-fd N]`: the process itself."""

import argparse
import asyncio
import ctypes
import json
import logging
import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path

from authsome.errors import AuthsomeError
from authsome.settings import read_settings

PR_SET_DUMPABLE = 4

log = logging.getLogger("authsome.daemon")


def main() -> int:
    """Exit status as in docs/cli.md; the starter learns of the outcome through the ready descriptor."""
    parser = argparse.ArgumentParser(prog="python -m authsome.daemon")
    parser.add_argument("--ready-fd", type=int, help="write one JSON line there once serving, or why not")
    options = parser.parse_args()
    tell = _teller(options.ready_fd)
    os.umask(0o077)
    _keep_memory_private()
    _allow_many_connections()
    _log_to_stderr()
    try:
        return _run(tell)
    except AuthsomeError as error:
        log.error("%s", error.message)
        tell(error.to_json())
        return error.exit_status
    except Exception as error:
        log.exception("the daemon broke")
        tell(AuthsomeError(f"the daemon broke ({type(error).__name__})", "see logs/daemon.log in the home").to_json())
        return 1


def _run(tell: Callable[[dict[str, object]], None]) -> int:
    from authsome.daemon.daemon import prepare_home, serve
    from authsome.daemon.lock import HomeLock

    settings = read_settings()
    prepare_home(settings)
    lock = HomeLock(Path(settings.path("run", "daemon.lock")))
    if not lock.acquire():
        log.info("another daemon serves %s", settings.home)
        tell({"ok": True, "already": True})
        return 0
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(serve(settings, lambda: tell({"ok": True, "pid": os.getpid()})))
    finally:
        lock.release()
    return 0


def _teller(fd: int | None) -> Callable[[dict[str, object]], None]:
    """Writes the one line the starter waits for, then closes, so that a dead daemon is noticed too."""

    def tell(body: dict[str, object]) -> None:
        nonlocal fd
        if fd is not None:
            os.write(fd, json.dumps(body).encode() + b"\n")
            os.close(fd)
            fd = None

    return tell


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop


def _keep_memory_private() -> None:
    """No core file, and no reading of our memory by other processes of the user (P23, V27). Best effort."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def _allow_many_connections() -> None:
    """As many descriptors as the system lets us have: each run's connections are two (V23)."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 65536), most))


def _log_to_stderr() -> None:
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for chatty in ("httpx2", "httpcore2", "uvicorn", "asyncio", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)  # they would log URLs with their queries


if __name__ == "__main__":
    raise SystemExit(main())
