"""`daemon serve`: the daemon in the foreground, in place of this process."""

import os
import sys

from authsome.cli.given import Given
from authsome.cli.output import Output
from authsome.cli.start import make_home
from authsome.errors import NotAllowed
from authsome.settings import read_home


def run(given: Given, out: Output) -> int:
    """Does not return."""
    if os.environ.get("AUTHSOME_RUN"):
        raise NotAllowed("the daemon is not started from inside a run")
    make_home(read_home())
    os.execv(sys.executable, [sys.executable, "-P", "-m", "authsome.daemon"])  # noqa: S606
