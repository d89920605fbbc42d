"""`daemon stop`: let the daemon finish what it does, and wait until it is gone."""

import os
import time

from authsome.cli.client import Daemon, connect
from authsome.cli.given import Given
from authsome.cli.output import Output
from authsome.errors import DaemonUnavailable
from authsome.settings import Settings, read_home

_SECONDS = 15.0


def run(given: Given, out: Output) -> int:
    """Stopping a daemon that does not run is no failure."""
    pid = stop_daemon(read_home())
    if out.json:
        out.result({"stopped": pid is not None, "pid": pid})
    else:
        out.line("not running" if pid is None else f"stopped: process {pid}")
    return 0


def stop_daemon(home: str, following: Settings | None = None) -> int | None:
    """Stop the daemon of a home and return its process id once it is gone, None if none ran.

    With the settings of the one `following` it goes on where that could not have its ports. Raises PortTaken.
    """
    there = connect(home)
    if there is None:
        return None
    there.close()
    daemon = Daemon(home, start=False)
    pid = int(daemon.get("/health")["pid"])
    ports = {} if following is None else {name: getattr(following, name) for name in ("host", "port", "proxy_port")}
    daemon.post("/daemon/stop", ports)
    deadline = time.monotonic() + _SECONDS
    while _lives(pid):
        if time.monotonic() > deadline:
            raise DaemonUnavailable(f"the daemon (process {pid}) has not stopped yet", f"see {home}/logs/daemon.log")
        time.sleep(0.01)
    return pid


def _lives(pid: int) -> bool:
    """Whether a process is there and not only waiting to be reaped."""
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[:1] != [b"Z"]
    except ProcessLookupError:
        return False
    except OSError:  # no /proc here, or it went in between
        return not os.path.isdir("/proc/self")
