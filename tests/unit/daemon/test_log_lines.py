"""The lines of the log: one a record, no values, no secret by its type (P23, X75)."""

import asyncio
import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from io import StringIO

import pytest

from authsome.daemon.guard import logged
from authsome.daemon.log_lines import OneLine, escaped, log_to_stderr
from authsome.errors import VaultError
from authsome.model.secret import Secret

CANARY = "value-of-a-local"


def line(message: str, *arguments: object, name: str = "authsome.daemon", error: BaseException | None = None) -> str:
    """The record as it is written."""
    info = None if error is None else (type(error), error, error.__traceback__)
    return OneLine().format(logging.LogRecord(name, logging.INFO, "x.py", 1, message, arguments, info))


def broken(error: Exception) -> Exception:
    """The error as it is once it was raised by something that was raised by something."""
    held = CANARY
    try:
        try:
            raise KeyError(held)
        except KeyError as first:
            raise error from first
    except Exception as raised:
        return raised


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029"])
def test_no_input_makes_a_line_of_its_own(end: str) -> None:
    forged = f"openai{end}2026-01-01 00:00:00,000 INFO authsome.daemon: forged"
    told = line("the login of %s failed", forged)
    assert len(told.splitlines()) == 1 and told.isprintable()
    assert told.endswith("2026-01-01 00:00:00,000 INFO authsome.daemon: forged failed")  # escaped, not lost


def test_nothing_in_a_line_acts_on_a_terminal_or_cannot_be_written() -> None:
    assert escaped("\x1b[2J\x07\x00\u202e\ud800\x7f\x9b") == "\\x1b[2J\\x07\\x00\\u202e\\ud800\\x7f\\x9b"
    assert escaped("ünï 漢 text") == "ünï 漢 text"


def test_a_secret_does_not_print_in_any_form() -> None:
    secret = Secret(CANARY)
    for told in (
        line("%s %r %20s", secret, secret, secret),
        line("%s", {"key": secret, "list": [secret]}),
        line(f"{secret} {secret!r} {secret:>10}"),
        line("broke", error=broken(ValueError(secret))),
    ):
        assert CANARY not in told


def test_an_exception_is_its_kind_and_its_places_on_the_same_line() -> None:
    told = line("a page broke", error=broken(ValueError(f"{CANARY}\nTraceback")))
    assert len(told.splitlines()) == 1 and CANARY not in told and "Traceback" not in told
    assert "a page broke: ValueError at daemon/test_log_lines.py:" in told
    assert " in broken from KeyError at daemon/test_log_lines.py:" in told


def test_what_ours_and_the_systems_errors_say_is_kept() -> None:
    assert "VaultError (row 3 does not open) at" in line("x", error=broken(VaultError("row 3 does not open")))
    assert "FileNotFoundError (No such file) at" in line(
        "x", error=broken(FileNotFoundError(2, "No such file", CANARY))
    )


def test_the_number_of_a_failure_is_in_its_line(caplog: pytest.LogCaptureFixture) -> None:
    number = logged(broken(ValueError(CANARY)))
    (record,) = caplog.records
    assert number in OneLine().format(record) and CANARY not in OneLine().format(record)


@pytest.fixture
def stderr(monkeypatch: pytest.MonkeyPatch) -> Iterator[StringIO]:
    """What this process writes, set up as the daemon is; then everything as it was."""
    root, written = logging.getLogger(), StringIO()
    handlers, level = root.handlers, root.level
    levels = {name: logging.getLogger(name).level for name in ("httpx2", "httpcore2", "asyncio", "alembic", "uvicorn")}
    root.handlers = []
    monkeypatch.setattr(sys, "stderr", written)
    for module, name in ((sys, "excepthook"), (sys, "unraisablehook"), (threading, "excepthook")):
        monkeypatch.setattr(module, name, getattr(module, name))
    log_to_stderr()
    yield written
    logging.captureWarnings(False)
    root.handlers = handlers
    root.setLevel(level)
    for name, was in levels.items():
        logging.getLogger(name).setLevel(was)


class _Bad:
    def __del__(self) -> None:
        raise ValueError(CANARY)


def test_what_python_would_print_by_itself_is_a_line_without_values_too(stderr: StringIO) -> None:
    async def forget_a_failure() -> None:
        async def fail() -> None:
            raise ValueError(CANARY)

        task = asyncio.create_task(fail())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        del task

    asyncio.run(forget_a_failure())
    warnings.warn("two\nlines", UserWarning, stacklevel=1)
    bad = _Bad()
    del bad
    thread = threading.Thread(target=lambda: int(CANARY))
    thread.start()
    thread.join()
    error = broken(ValueError(CANARY))
    sys.excepthook(type(error), error, error.__traceback__)
    lines = stderr.getvalue().splitlines()
    wanted = ("was never retrieved", "two\\nlines", "could not be raised", "a thread broke", "the process broke")
    assert [any(part in each for each in lines) for part in wanted] == [True] * 5, lines
    assert len(lines) == 5 and CANARY not in stderr.getvalue(), lines


@pytest.mark.parametrize("name", ["httpx2", "uvicorn.access", "uvicorn.error", "asyncio", "alembic.runtime"])
def test_others_do_not_tell_of_each_request(stderr: StringIO, name: str) -> None:
    logging.getLogger(name).info("GET /x?code=%s", CANARY)
    assert stderr.getvalue() == ""
