"""`python -m authsome.daemon [--ready-fd N] [--workers N]`: the process itself."""

import argparse
import asyncio
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path

from authsome.daemon.setup import loop_factory, set_up_process
from authsome.errors import AuthsomeError
from authsome.settings import check_workers, read_settings

log = logging.getLogger("authsome.daemon")


def main() -> int:
    """Exit status as in docs/cli.md; the starter learns of the outcome through the ready descriptor."""
    parser = argparse.ArgumentParser(prog="python -m authsome.daemon")
    parser.add_argument("--ready-fd", type=int, help="write one JSON line there once serving, or why not")
    parser.add_argument("--workers", type=int, help="instead of what config.toml says")
    options = parser.parse_args()
    tell = _teller(options.ready_fd)
    set_up_process()
    try:
        return _run(tell, options.workers)
    except AuthsomeError as error:
        log.error("%s", error.message)
        tell(error.to_json())
        return error.exit_status
    except Exception as error:
        log.exception("the daemon broke")
        tell(AuthsomeError(f"the daemon broke ({type(error).__name__})", "see logs/daemon.log in the home").to_json())
        return 1


def _run(tell: Callable[[dict[str, object]], None], workers: int | None) -> int:
    from authsome.daemon.daemon import prepare_home, serve
    from authsome.daemon.lock import HomeLock

    settings = read_settings()
    if workers is not None:
        settings = settings._replace(workers=check_workers(workers, "--workers"))
    prepare_home(settings)
    lock = HomeLock(Path(settings.path("run", "daemon.lock")))
    if not lock.acquire():
        log.info("another daemon serves %s", settings.home)
        tell({"ok": True, "already": True})
        return 0
    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
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


if __name__ == "__main__":
    raise SystemExit(main())
