"""How a record of the log becomes one line that no input can break or forge, and that shows no values (P23)."""

import logging
import sys
import threading
import traceback
from typing import Any

from authsome.errors import AuthsomeError

_MOST_PLACES = 8
_MOST_CAUSES = 4

log = logging.getLogger("authsome.daemon")


class OneLine(logging.Formatter):
    """Time, level, name, message. Of an exception come its kind and its places; what it says may be a secret."""

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter."""
        message = record.getMessage()
        if record.name == "asyncio":
            message = message.partition("\n")[0]  # what follows repeats exceptions, and so values
        if record.exc_info and record.exc_info[1] is not None:
            message = f"{message.rstrip()}: {described(record.exc_info[1])}"
        return f"{self.formatTime(record)} {record.levelname} {record.name}: {escaped(message)}"


def escaped(text: str) -> str:
    """With whatever would end a line, or act on a terminal, written as Python does: `\\n`, `\\x1b`, `\\u202e`."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def described(error: BaseException) -> str:
    """Kinds and places, the innermost place first: `ValueError at daemon/x.py:3 in f < … from KeyError at …`."""
    told: list[str] = []
    each: BaseException | None = error
    while each is not None and len(told) < _MOST_CAUSES:
        told.append(_one(each))
        each = each.__cause__ or (None if each.__suppress_context__ else each.__context__)
    return " from ".join(told)


def _one(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{'/'.join(f.filename.split('/')[-2:])}:{f.lineno} in {f.name}" for f in reversed(frames)]
    where = " < ".join(places[:_MOST_PLACES])
    return f"{type(error).__name__}{_said(error)}{' at ' if where else ''}{where}"


def _said(error: BaseException) -> str:
    """What ours and the system's errors say: these messages hold no values."""
    if isinstance(error, AuthsomeError):
        return f" ({error.message})"
    return f" ({error.strerror})" if isinstance(error, OSError) and error.strerror else ""


def log_to_stderr() -> None:
    """Everything that Python would print there by itself becomes a record too."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine())
    logging.basicConfig(handlers=[handler], level=logging.INFO)
    logging.captureWarnings(True)
    for chatty in ("httpx2", "httpcore2", "asyncio", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)  # they would log URLs with their queries
    # it has a line for each malformed request: anybody could fill the disk
    logging.getLogger("uvicorn").setLevel(logging.ERROR)
    sys.excepthook = lambda kind, error, tb: log.critical("the process broke", exc_info=(kind, error, tb))
    sys.unraisablehook = _ignored
    threading.excepthook = _ended


def _ignored(unraisable: Any) -> None:
    error = unraisable.exc_value
    log.error("an exception could not be raised", exc_info=error or (unraisable.exc_type, error, None))


def _ended(thread: threading.ExceptHookArgs) -> None:
    log.error("a thread broke", exc_info=thread.exc_value)
