"""`daemon start`: start the daemon unless it runs."""

from authsome.cli.client import Daemon
from authsome.cli.given import Given
from authsome.cli.output import Output
from authsome.cli.start import start_daemon
from authsome.settings import read_home


def run(given: Given, out: Output) -> int:
    """Say which process serves, and whether it did so before."""
    home = read_home()
    started = start_daemon(home)
    health = Daemon(home, start=False).get("/health")
    if out.json:
        out.result({"pid": health["pid"], "version": health["version"], "started": started})
    else:
        out.line(f"{'started' if started else 'already running'}: process {health['pid']}")
    return 0
