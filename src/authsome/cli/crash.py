"""Where an unexpected failure is kept: `logs/cli.log`, places in the code only, never a value (P23)."""

import os
import time
import traceback

from authsome import __version__
from authsome.settings import read_home


def keep_trace(error: BaseException) -> str | None:
    """Append the call stack to the log of the home and return its path, None if there is no such place."""
    path = os.path.join(read_home(), "logs", "cli.log")
    lines = [f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} authsome {__version__} {type(error).__name__}"]
    for frame in traceback.extract_tb(error.__traceback__):
        lines.append(f"  {frame.filename}:{frame.lineno} {frame.name}")
    try:
        log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(log, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
    except OSError:
        return None
    return path
