"""`daemon start`: start the daemon unless it runs."""

from authsome.cli.client import Daemon
from authsome.cli.given import Given
from authsome.cli.output import Output
from authsome.cli.start import start_daemon
from authsome.settings import check_workers, read_home


def run(given: Given, out: Output) -> int:
    """Say which process serves, and whether it did so before."""
    home, workers = read_home(), chosen_workers(given)
    started = start_daemon(home, workers)
    health = Daemon(home, start=False).get("/health")
    there = health.get("workers", 1)
    if out.json:
        out.result({"pid": health["pid"], "version": health["version"], "workers": there, "started": started})
    else:
        out.line(f"{'started' if started else 'already running'}: process {health['pid']}")
    if workers not in (None, there):
        out.note(f"it has {there} worker{'s' if there > 1 else ''}: authsome daemon restart --workers {workers}")
    return 0


def chosen_workers(given: Given) -> int | None:
    """The number of workers, where one was given. Raises UsageError for one that cannot be."""
    value = given.number_or_none("workers")
    return None if value is None else check_workers(value, "--workers")
