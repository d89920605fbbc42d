"""Recognising placeholders in what a child sends: the plain one, `…:connection`, and shaped ones (P3)."""

import base64
import binascii
import re
from collections.abc import Mapping
from typing import NamedTuple

from authsome.model.placeholder import PLACEHOLDER


class Found(NamedTuple):
    """One placeholder. `owners` are the providers it may stand for, empty where it may be any one's.

    `known` is false for something of our form that is no placeholder. `connection` is "" where none is named.
    """

    owners: frozenset[str]
    connection: str
    known: bool

    def stands_for(self, provider: str) -> bool:
        """Whether it may be replaced by a credential of this provider."""
        return self.known and (not self.owners or provider in self.owners)


class Placeholders:
    """Every placeholder that a route table knows."""

    __slots__ = ("_needles", "_owners", "_pattern", "texts")

    def __init__(self, owners: Mapping[str, frozenset[str]]) -> None:
        shaped = {text: names for text, names in owners.items() if text != PLACEHOLDER}
        self._owners = shaped
        self.texts = frozenset(shaped)
        # the longest first, so that one which begins with another is taken whole
        alternatives = "|".join(re.escape(text) for text in sorted(shaped, key=len, reverse=True))
        self._pattern = re.compile(
            (f"(?P<shaped>{alternatives})|" if alternatives else "(?P<shaped>(?!))|")
            + re.escape(PLACEHOLDER)
            + "(?::(?P<connection>[A-Za-z0-9._@+-]{1,64})|(?P<odd>[A-Za-z0-9_-]))?"
        )
        self._needles = (PLACEHOLDER.encode(), *(t.encode() for t in shaped if PLACEHOLDER not in t))

    def __or__(self, other: "Placeholders") -> "Placeholders":
        return Placeholders({**other._owners, **self._owners})

    def count(self, text: bytes) -> int:
        """How often one stands in a text; additive over any cut that splits none."""
        if len(self._needles) == 1:
            return text.count(self._needles[0])
        return sum(map(text.count, self._needles))

    def find(self, text: bytes) -> list[Found]:
        """Those in a text."""
        return [self._found(match) for match in self._pattern.finditer(text.decode("latin-1"))]

    def whole(self, text: bytes) -> Found | None:
        """The one that a text is, and nothing else."""
        match = self._pattern.fullmatch(text.decode("latin-1"))
        return self._found(match) if match is not None else None

    def find_in_credential(self, value: bytes) -> list[Found]:
        """Those in a header value that may be a Basic credential (RFC 7617)."""
        scheme, _, rest = value.partition(b" ")
        if scheme.lower() != b"basic":
            return self.find(value)
        decoded = decode_basic(rest)
        name, _, password = decoded.partition(b":")
        return self.find(name) + self.find(password)

    def _found(self, match: re.Match[str]) -> Found:
        owners = self._owners[match["shaped"]] if match["shaped"] else frozenset[str]()
        return Found(owners, match["connection"] or "", match["odd"] is None)


def decode_basic(token: bytes) -> bytes:
    """The `name:password` of a Basic credential; empty where it is none."""
    token = token.strip().rstrip(b"=")
    try:
        return base64.b64decode(token + b"=" * (-len(token) % 4), validate=True)
    except binascii.Error:
        return b""
