"""`demo`: the whole loop on this machine; the show itself is a room of its own."""

import os
import sys

from authsome.cli.given import Given
from authsome.cli.output import Output


def run(given: Given, out: Output) -> int:
    """The show's exit status; with `--json` its story goes to stderr and only the outcome to stdout."""
    from authsome.demo.show import main

    if not out.json:
        return main()
    stdout = os.dup(1)
    os.dup2(2, 1)
    try:
        status = main()
        sys.stdout.flush()
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)
    out.result({"ok": status == 0})
    return status
