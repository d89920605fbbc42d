"""`daemon stop`: let the daemon finish what it does, and wait until it is gone."""

import fcntl
import os
import time

from authsome.cli.client import Daemon, connect
from authsome.cli.given import Given
from authsome.cli.output import Output
from authsome.errors import DaemonUnavailable
from authsome.settings import read_home

_SECONDS = 15.0


def run(given: Given, out: Output) -> int:
    """Stopping a daemon that does not run is no failure."""
    pid = stop_daemon(read_home())
    if out.json:
        out.result({"stopped": pid is not None, "pid": pid})
    else:
        out.line("not running" if pid is None else f"stopped: process {pid}")
    return 0


def stop_daemon(home: str) -> int | None:
    """Stop the daemon of a home and return its process id once it is gone, None if none ran."""
    there = connect(home)
    if there is None:
        return None
    there.close()
    daemon = Daemon(home, start=False)
    pid = int(daemon.get("/health")["pid"])
    daemon.post("/daemon/stop")
    deadline = time.monotonic() + _SECONDS
    while _is_held(os.path.join(home, "run", "daemon.lock")):
        if time.monotonic() > deadline:
            raise DaemonUnavailable(f"the daemon (process {pid}) has not stopped yet", f"see {home}/logs/daemon.log")
        time.sleep(0.01)
    return pid


def _is_held(lock: str) -> bool:
    """Whether a daemon still holds the lock of its home. A process id would say less: it may wait to be reaped."""
    try:
        with open(lock, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
