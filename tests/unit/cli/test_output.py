"""What reaches a terminal."""

import os
import pty
import sys

import pytest

from authsome.cli.columns import aligned
from authsome.cli.output import Output, clean
from authsome.cli.times import until
from authsome.errors import NeedsLogin, NotAllowed


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("plain é 漢", "plain é 漢"),
        ("a\x1b[31mb", "a\ufffd[31mb"),
        ("a\x9b31mb", "a\ufffd31mb"),
        ("user\u202egnp.exe", "user\ufffdgnp.exe"),
        ("zero\u200bwidth", "zero\ufffdwidth"),
        ("two\r\nlines\tof", "two  lines of"),
        ("\x07\x00\x7f", "\ufffd\ufffd\ufffd"),
    ],
)
def test_nothing_steers_the_terminal(text: str, cleaned: str) -> None:  # P16, O29
    assert clean(text) == cleaned


def test_a_failure_is_a_line_and_a_hint(capfd: pytest.CaptureFixture[str]) -> None:
    status = Output().failure(NeedsLogin("it is \x1b[2Jdead", "log in again"))
    out, err = capfd.readouterr()
    assert (status, out) == (5, "")
    assert err == "error: it is \ufffd[2Jdead\nhint: log in again\n"


def test_a_failure_without_a_hint_is_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    Output().failure(NotAllowed("no"))
    assert capfd.readouterr().err == "error: no\n"


def test_a_failure_is_an_object_too(capfd: pytest.CaptureFixture[str]) -> None:
    Output(json=True).failure(NotAllowed("no", run="r1"))
    out, err = capfd.readouterr()
    assert out == '{"v": 1, "error": "not_allowed", "message": "no", "run": "r1", "hint": null}\n'
    assert err == "error: no\n"


def test_quiet_leaves_out_notes_alone(capfd: pytest.CaptureFixture[str]) -> None:
    out = Output(quiet=True)
    out.note("a note")
    out.say("what is needed")
    out.line("data")
    assert capfd.readouterr() == ("data\n", "what is needed\n")


def test_a_value_is_exact_for_a_program(capfd: pytest.CaptureFixture[str]) -> None:
    for value in ("a\x1bb", None, 12, ["x"]):
        Output().value(value)
    assert capfd.readouterr().out == 'a\x1bb\n\n12\n["x"]\n'


def test_a_value_is_cleaned_and_painted_for_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    main, replica = pty.openpty()
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    with open(replica, "w") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        Output().value("a\x1bb")
        Output().raw(Output().paint("fine", "green") + "\n")
        Output().raw(Output(color=False).paint("plain", "green") + "\n")
        monkeypatch.setenv("NO_COLOR", "1")
        Output().raw(Output().paint("plain", "green") + "\n")
        said = b""
        while said.count(b"\n") < 4:
            said += os.read(main, 1000)
    os.close(main)
    assert said == b"a\xef\xbf\xbdb\r\n\x1b[32mfine\x1b[0m\r\nplain\r\nplain\r\n"


def test_columns_are_aligned_and_clean() -> None:
    assert aligned([("A", "LONG"), ("b\x1b", "c"), ("dddd", "")]) == "A     LONG\nb\ufffd    c\ndddd\n"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "expired"), (0, "expired"), (5, "in 1 min"), (3599, "in 60 min"), (7200, "in 2 h"), (90 * 86400, "in 90 d")],
)
def test_an_expiry_is_told_from_now(seconds: float, text: str) -> None:
    assert until(1000 + seconds, 1000) == text
    assert until(None, 1000) == "-"
