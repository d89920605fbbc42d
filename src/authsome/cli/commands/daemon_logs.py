"""`daemon logs`: the end of the daemon's log file, and what is added to it."""

import os
import time
from collections import deque
from typing import TextIO

from authsome.cli.client import refuse_in_isolation
from authsome.cli.given import Given
from authsome.cli.output import Output
from authsome.errors import DaemonUnavailable
from authsome.settings import read_home

_PAUSE = 0.3


def run(given: Given, out: Output) -> int:
    """Works without the daemon, above all when it did not start."""
    path = os.path.join(read_home(), "logs", "daemon.log")
    if not os.path.isfile(path):
        refuse_in_isolation()
        raise DaemonUnavailable(f"{path} is not there", "the daemon has not been started yet")
    with open(path, encoding="utf-8", errors="replace") as file:
        lines = [line.rstrip("\n") for line in deque(file, maxlen=given.number("lines"))]
        if out.json and not given.flag("follow"):
            out.result({"path": path, "lines": lines})
            return 0
        for line in lines:
            _print(line, out)
        if given.flag("follow"):
            _follow(file, out)
    return 0


def _follow(file: TextIO, out: Output) -> None:
    begun = ""
    while True:
        begun += file.readline()
        if begun.endswith("\n"):
            _print(begun.rstrip("\n"), out)
            begun = ""
        else:
            time.sleep(_PAUSE)


def _print(line: str, out: Output) -> None:
    if out.json:
        out.result({"line": line})
    else:
        out.line(line)
