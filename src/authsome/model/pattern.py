"""`Pattern`: a regular expression from a file, matched by RE2 in linear time, whatever it says (P17, X81)."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

MAX_TEXT = 256

_VISIBLE = re.compile(r"[!-~]*")


class BadPattern(ValueError):
    """Not a pattern that RE2 takes within its bounds; the message says why."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """A compiled pattern; it always has to match the whole text."""

    text: str
    _fullmatch: Callable[[bytes], object] = field(repr=False, compare=False)

    @classmethod
    def parse(cls, text: str) -> "Pattern":
        """Compile at most `MAX_TEXT` characters of visible ASCII in RE2's syntax. Raises BadPattern."""
        if len(text) > MAX_TEXT:
            raise BadPattern(f"a pattern has at most {MAX_TEXT} characters")
        if not _VISIBLE.fullmatch(text):
            raise BadPattern("a pattern holds visible ASCII alone (no blanks)")
        import re2  # two megabytes and a half, which most homes never need

        options = re2.Options()
        options.encoding = re2.Options.Encoding.LATIN1  # what is matched is ASCII: a byte a step, no UTF-8 automaton
        options.log_errors = False  # or RE2 writes the pattern to stderr
        options.max_mem = 64 * 1024  # some 3000 steps; a MiB would let 256 characters compile for most of a second
        options.never_capture = True
        try:
            compiled = re2.compile(text.encode("ascii"), options)
        except re2.error as error:
            why = error.args[0].decode("ascii", "replace")
            raise BadPattern(f"not a pattern that RE2 takes ({why})") from None
        return cls(text, compiled.fullmatch)

    def matches(self, text: str) -> bool:
        """Whether the whole text matches; what is not visible ASCII never does."""
        return _VISIBLE.fullmatch(text) is not None and self._fullmatch(text.encode("ascii")) is not None
