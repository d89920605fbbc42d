"""`daemon restart`: stop, then start."""

from authsome.cli.commands import daemon_start
from authsome.cli.commands.daemon_stop import stop_daemon
from authsome.cli.given import Given
from authsome.cli.output import Output
from authsome.settings import read_home, read_settings


def run(given: Given, out: Output) -> int:
    """Say which process serves now."""
    daemon_start.chosen_workers(given)  # or the old one would be stopped for a new one that does not start
    stop_daemon(read_home(), read_settings())
    return daemon_start.run(given, out)
