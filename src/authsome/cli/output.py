"""What is printed: data on stdout, everything else on stderr, never a control character to a terminal (P16)."""

import json
import os
import sys

from authsome.errors import AuthsomeError

VERSION = 1
_COLORS = {"green": "32", "yellow": "33", "red": "31", "bold": "1", "dim": "2"}


def clean(text: str) -> str:
    """One printable line: control, bidirectional and other invisible characters become `\\ufffd`, breaks blanks."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else " " if c in "\r\n\t" else "\ufffd" for c in text)


class CannotPrint(Exception):
    """Standard output does not take what is written to it (EX_IOERR of sysexits.h)."""

    status = 74

    def __init__(self, why: str) -> None:
        super().__init__(why)
        if sys.stderr is not None:
            print(f"error: standard output cannot be written: {why}", file=sys.stderr)
        if sys.stdout is not None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or the interpreter fails once more at its end


class Output:
    """How this command speaks: `json` prints one object, `quiet` leaves out the notes."""

    __slots__ = ("_color", "json", "quiet")

    def __init__(self, *, json: bool = False, quiet: bool = False, color: bool = True) -> None:
        self.json = json
        self.quiet = quiet
        self._color = color and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    def raw(self, text: str) -> None:
        """Data as it is, for another program to read."""
        try:
            sys.stdout.flush()
            sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))
            sys.stdout.flush()
        except BrokenPipeError:
            raise
        except (OSError, AttributeError, ValueError) as error:  # full, or closed before we began
            raise CannotPrint(getattr(error, "strerror", None) or "it is closed") from None

    def line(self, text: str) -> None:
        """A line of data for people."""
        self.raw(clean(text) + "\n")

    def value(self, value: object) -> None:
        """A bare value: exact for a program, cleaned for a terminal; None is an empty line."""
        text = "" if value is None else value if isinstance(value, str) else json.dumps(value)
        self.raw((clean(text) if sys.stdout.isatty() else text) + "\n")

    def result(self, body: dict[str, object]) -> None:
        """The one object of `--json`."""
        self.raw(json.dumps({"v": VERSION, **body}) + "\n")

    def say(self, text: str) -> None:
        """A line that the person needs even with `--quiet`: an address to open, a question, an error."""
        print(clean(text), file=sys.stderr, flush=True)

    def note(self, text: str) -> None:
        """A line that can be left out."""
        if not self.quiet:
            self.say(text)

    def paint(self, text: str, color: str, *, err: bool = False) -> str:
        """Cleaned text in a colour, where the stream is a terminal that wants it."""
        stream = sys.stderr if err else sys.stdout
        plain = clean(text)
        return f"\x1b[{_COLORS[color]}m{plain}\x1b[0m" if self._color and stream.isatty() else plain

    @property
    def draws(self) -> bool:
        """Whether stdout is a terminal on which a table may be drawn."""
        return not self.json and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"

    @property
    def colored(self) -> bool:
        """Whether colours are wanted on a terminal."""
        return self._color

    def uncolor(self) -> None:
        """No colours from here on."""
        self._color = False

    def failure(self, error: AuthsomeError) -> int:
        """Report a failure on stderr, and on stdout with `--json`; returns the exit status."""
        print(f"{self.paint('error:', 'red', err=True)} {clean(error.message)}", file=sys.stderr)
        problems = error.details.get("problems")  # of a provider file; the first is in the message
        for problem in problems[1:] if isinstance(problems, list) else ():
            print(f"also:  {clean(str(problem))}", file=sys.stderr)
        if error.hint:
            print(f"{self.paint('hint:', 'bold', err=True)} {clean(error.hint)}", file=sys.stderr, flush=True)
        if self.json:
            body = error.to_json()
            del body["exit"]
            body.setdefault("hint", None)
            self.result(body)
        return error.exit_status
