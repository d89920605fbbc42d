"""The entry: parse, call the command's handler, and turn every failure into a line and an exit status."""

import os
import sys

from authsome.cli.given import Given
from authsome.cli.output import CannotPrint, Output
from authsome.cli.parse_fast import parse_fast
from authsome.errors import AuthsomeError


def main(words: list[str] | None = None) -> int:
    """Run one command line and return its exit status."""
    words = sys.argv[1:] if words is None else words
    out = Output(json=_asks_json(words))
    try:
        status = _run(words, out)
        if sys.stdout is not None:
            sys.stdout.flush()
    except AuthsomeError as error:
        return _report(out, error)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return _reader_is_gone()
    except CannotPrint as error:
        return error.status
    except Exception as error:  # noqa: BLE001  the last resort: a person never meets a traceback
        return _report(out, _unexpected(error))
    return status


def _run(words: list[str], out: Output) -> int:
    given: Given | int | None = None if "_AUTHSOME_COMPLETE" in os.environ else parse_fast(words)
    if given is None:
        from authsome.cli.parse_full import parse_full  # click costs more than all the rest

        given = parse_full(words)
    if isinstance(given, int):
        return given
    out.json = given.flag("json")
    out.quiet = given.flag("quiet")
    if given.flag("no_color"):
        out.uncolor()
    module = __import__(f"authsome.cli.commands.{given.command.module}", fromlist=["run"])
    status: int = module.run(given, out)
    return status


def _asks_json(words: list[str]) -> bool:
    return "--json" in (words[: words.index("--")] if "--" in words else words)


def _report(out: Output, error: AuthsomeError) -> int:
    try:
        return out.failure(error)
    except BrokenPipeError:
        return _reader_is_gone()


def _reader_is_gone() -> int:
    # What is still buffered must not fail once more when the interpreter flushes it.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 141


def _unexpected(error: Exception) -> AuthsomeError:
    from authsome.cli.crash import keep_trace

    kept = keep_trace(error)
    return AuthsomeError(
        f"something unexpected went wrong ({type(error).__name__})",
        f"details are in {kept}" if kept else "run: authsome doctor",
    )
