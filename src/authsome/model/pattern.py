"""`Pattern`: a small regular expression that is matched in linear time, whatever it says (P17, X81).

It knows literals, escapes, classes, `.`, groups, `|` and counted or open repeats. There is no way
back in the matching: all the positions a text can stand at are followed at once (Glushkov's automaton).
"""

import string
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias, assert_never

VISIBLE = frozenset(map(chr, range(0x21, 0x7F)))
MAX_TEXT = 256
MAX_POSITIONS = 256
_MAX_DEPTH = 8
_SETS = {"d": frozenset(string.digits), "w": frozenset(string.ascii_letters + string.digits + "_")}
_PUNCTUATION = frozenset(string.punctuation)


class BadPattern(ValueError):
    """Not a pattern of this small language; the message says what and where."""


@dataclass(frozen=True, slots=True)
class _Chars:
    """One character out of a set."""

    those: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Sequence:
    parts: "tuple[_Node, ...]"


@dataclass(frozen=True, slots=True)
class _Choice:
    branches: "tuple[_Node, ...]"


@dataclass(frozen=True, slots=True)
class _Repeat:
    """At least `least` times; `most` None means without end."""

    part: "_Node"
    least: int
    most: int | None


_Node: TypeAlias = _Chars | _Sequence | _Choice | _Repeat


@dataclass(frozen=True, slots=True)
class _Span:
    """Where a part of the automaton can begin and end: bit masks of positions."""

    first: int
    last: int
    empty: bool


@dataclass(frozen=True, slots=True)
class Pattern:
    """A compiled pattern; it always has to match the whole text.

    `anchored` tells whether it was written between `^` and `$`; `tail` is the literal text that
    every match ends in.
    """

    text: str
    anchored: bool
    tail: str
    _span: _Span = field(repr=False)
    _follow: tuple[int, ...] = field(repr=False)
    _by_char: dict[str, int] = field(repr=False)

    @classmethod
    def parse(cls, text: str, wild: frozenset[str] = VISIBLE) -> "Pattern":
        """Compile; `wild` is what `.` and `[^…]` may stand for, and all that a class may hold.

        Raises BadPattern.
        """
        if len(text) > MAX_TEXT:
            raise BadPattern(f"a pattern has at most {MAX_TEXT} characters")
        reader = _Reader(text, wild)
        node, anchored = reader.read()
        automaton = _Automaton()
        span = automaton.add(node)
        masks: dict[frozenset[str], int] = {}
        for position, chars in enumerate(automaton.chars):
            masks[chars] = masks.get(chars, 0) | 1 << position
        by_char: dict[str, int] = {}
        for chars, mask in masks.items():
            for char in chars:
                by_char[char] = by_char.get(char, 0) | mask
        return cls(text, anchored, _tail(node), span, tuple(automaton.follow), by_char)

    def matches(self, text: str) -> bool:
        """Whether the whole text matches. Steps: length of the text times positions, at worst."""
        if not text:
            return self._span.empty
        reachable, here, known = self._span.first, 0, dict[int, int]()
        for char in text:
            here = reachable & self._by_char.get(char, 0)
            if not here:
                return False
            if here not in known:
                known[here] = self._after(here)
            reachable = known[here]
        return bool(here & self._span.last)

    def _after(self, positions: int) -> int:
        reachable = 0
        for position in _bits(positions):
            reachable |= self._follow[position]
        return reachable


class _Reader:
    """Recursive descent over the text; every method leaves `at` behind what it has read."""

    def __init__(self, text: str, wild: frozenset[str]) -> None:
        self.text, self.wild, self.at, self.depth = text, wild, 0, 0

    def read(self) -> tuple[_Node, bool]:
        begins = self._take("^")
        node = self._choice()
        ends = self._take("$")
        if self.at < len(self.text):
            raise self._bad(f"{self.text[self.at]!r} does not belong here")
        return node, begins and ends

    def _choice(self) -> _Node:
        branches = [self._sequence()]
        while self._take("|"):
            branches.append(self._sequence())
        return branches[0] if len(branches) == 1 else _Choice(tuple(branches))

    def _sequence(self) -> _Node:
        parts: list[_Node] = []
        while self._peek() not in ("", "|", ")", "$"):
            parts.append(self._repeat(self._atom()))
        if not parts:
            raise self._bad("something is missing here")
        return parts[0] if len(parts) == 1 else _Sequence(tuple(parts))

    def _atom(self) -> _Node:
        char = self._next()
        match char:
            case "(":
                return self._group()
            case "[":
                return _Chars(self._class())
            case ".":
                return _Chars(self.wild)
            case "\\":
                return _Chars(self._escape())
            case "^" | "*" | "+" | "?" | "{" | "}" | "]":
                self.at -= 1
                raise self._bad(f"{char!r} does not belong here (write \\{char} for the character)")
            case _:
                return _Chars(frozenset(self._visible(char)))

    def _group(self) -> _Node:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise self._bad(f"groups are nested more than {_MAX_DEPTH} deep")
        if self._take("?") and not self._take(":"):
            raise self._bad("of the groups with '?' only (?:…) is known")
        node = self._choice()
        if not self._take(")"):
            raise self._bad("a group lacks its ')'")
        self.depth -= 1
        return node

    def _class(self) -> frozenset[str]:
        negated, found = self._take("^"), set[str]()
        while not self._take("]"):
            low = self._class_item()
            if self._peek() == "-" and self.text[self.at + 1 : self.at + 2] not in ("]", ""):
                self.at += 1
                high = self._class_item()
                if len(low) != 1 or len(high) != 1 or min(low) > min(high):
                    raise self._bad("not a range")
                low = frozenset(map(chr, range(ord(min(low)), ord(min(high)) + 1)))
            found |= low
        if not found:
            raise self._bad("an empty class")
        if negated:
            return self.wild - found
        if not found <= self.wild:
            raise self._bad(f"a class may not hold {min(found - self.wild)!r} here")
        return frozenset(found)

    def _class_item(self) -> frozenset[str]:
        char = self._next()
        if char == "[":
            raise self._bad("write \\[ for the character")
        return self._escape() if char == "\\" else frozenset(self._visible(char))

    def _escape(self) -> frozenset[str]:
        char = self._next()
        if char in _SETS:
            return _SETS[char]
        if char not in _PUNCTUATION:
            raise self._bad(f"\\{char} is not known (of letters only \\d and \\w)")
        return frozenset(char)

    def _repeat(self, part: _Node) -> _Node:
        char = self._peek()
        if char not in ("*", "+", "?", "{"):
            return part
        self.at += 1
        least, most = {"*": (0, None), "+": (1, None), "?": (0, 1)}.get(char) or self._counts()
        if self._peek() in ("*", "+", "?", "{"):
            raise self._bad("one repeat directly after another")
        return _Repeat(part, least, most)

    def _counts(self) -> tuple[int, int | None]:
        inside, closed, _ = self.text[self.at :].partition("}")
        low, comma, high = inside.partition(",")
        if not closed or not all(n.isascii() and n.isdigit() and len(n) <= 3 for n in (low, high or "0")):
            raise self._bad("expected {n}, {n,} or {n,m}")
        self.at += len(inside) + 1
        least, most = int(low), int(high) if high else None if comma else int(low)
        if most is not None and not (least <= most and most > 0):
            raise self._bad("the counts are the wrong way round")
        return least, most

    def _peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def _take(self, char: str) -> bool:
        taken = self._peek() == char
        self.at += taken
        return taken

    def _next(self) -> str:
        char = self._peek()
        if not char:
            raise self._bad("the pattern breaks off")
        self.at += 1
        return char

    def _visible(self, char: str) -> str:
        if char not in VISIBLE:
            raise self._bad("a pattern holds visible ASCII alone")
        return char

    def _bad(self, why: str) -> BadPattern:
        return BadPattern(f"at character {self.at + 1} of the pattern: {why}")


class _Automaton:
    """Positions, what they accept, and which may follow which. A counted repeat is written out."""

    def __init__(self) -> None:
        self.chars: list[frozenset[str]] = []
        self.follow: list[int] = []

    def add(self, node: _Node) -> _Span:
        match node:
            case _Chars(those):
                if len(self.chars) == MAX_POSITIONS:
                    raise BadPattern(f"written out, the pattern has more than {MAX_POSITIONS} positions")
                self.chars.append(those)
                self.follow.append(0)
                bit = 1 << len(self.chars) - 1
                return _Span(bit, bit, empty=False)
            case _Sequence(parts):
                span = self.add(parts[0])
                for part in parts[1:]:
                    span = self._join(span, self.add(part))
                return span
            case _Choice(branches):
                spans = [self.add(branch) for branch in branches]
                first, last = 0, 0
                for span in spans:
                    first, last = first | span.first, last | span.last
                return _Span(first, last, any(span.empty for span in spans))
            case _Repeat(part, least, most):
                return self._add_repeat(part, least, most)
            case _:
                assert_never(node)

    def _add_repeat(self, part: _Node, least: int, most: int | None) -> _Span:
        if most is None:
            span = self.add(part)
            self._link(span.last, span.first)
            span = span if least else _optional(span)
            copies = max(least - 1, 0)
        else:
            span, copies = _Span(0, 0, empty=True), least
            for _ in range(most - least):  # x{0,3} is (x(x(x)?)?)?
                span = _optional(self._join(self.add(part), span))
        for _ in range(copies):
            span = self._join(self.add(part), span)
        return span

    def _join(self, left: _Span, right: _Span) -> _Span:
        self._link(left.last, right.first)
        return _Span(
            left.first | (right.first if left.empty else 0),
            right.last | (left.last if right.empty else 0),
            left.empty and right.empty,
        )

    def _link(self, lasts: int, firsts: int) -> None:
        for position in _bits(lasts):
            self.follow[position] |= firsts


def _optional(span: _Span) -> _Span:
    return _Span(span.first, span.last, empty=True)


def _bits(mask: int) -> Iterator[int]:
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


def _tail(node: _Node) -> str:
    tail = ""
    for part in reversed(node.parts if isinstance(node, _Sequence) else (node,)):
        if not isinstance(part, _Chars) or len(part.those) != 1:
            break
        tail = min(part.those) + tail
    return tail
