"""`daemon status`: whether the daemon runs; it is not started for this."""

from authsome.cli.client import Daemon
from authsome.cli.given import Given
from authsome.cli.output import Output
from authsome.settings import read_home


def run(given: Given, out: Output) -> int:
    """Fails with the status of an unavailable daemon if it does not run."""
    health = Daemon(read_home(), start=False).get("/health", seconds=5.0)
    workers = health.get("workers", 1)
    if out.json:
        out.result({"running": True, "pid": health["pid"], "version": health["version"], "workers": workers})
    else:
        more = f", {workers} workers" if workers > 1 else ""
        out.line(f"running: process {health['pid']}, version {health['version']}{more}")
    return 0
