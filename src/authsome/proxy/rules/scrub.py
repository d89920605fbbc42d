"""Taking the injected value out of what comes back (P6): in place, so that no framing changes and nothing waits.

A value is overwritten by as many bytes. That keeps Content-Length, chunks and ranges true, and a stream streams: only
an end that could be the beginning of a value is held back until more comes. Transformed echoes are not recognised.
"""

import base64
import html
import json
import re
import zlib
from collections.abc import Iterable
from typing import assert_never
from urllib.parse import quote, quote_plus

from authsome.model.injection import (
    BasicInjection,
    BodyInjection,
    FixedHeader,
    HeaderInjection,
    Injection,
    PathInjection,
    QueryInjection,
)
from authsome.model.secret import Secret
from authsome.proxy.rules.head import BadMessage, Field
from authsome.proxy.rules.inject import in_segment

SHORTEST = 8  # shorter values would be found in ordinary text (X63)
_MARK = b"[redacted]"
_LONGEST_TOKEN_ANSWER = 1 << 20
# A member of JSON, or a field of a form.
_TOKEN = re.compile(
    rb"""("(?:access|refresh|id)_token"\s*:\s*")((?:[^"\\]|\\.)+)|((?:\A|&)(?:access|refresh|id)_token=)([^"&]+)"""
)
_SEARCHED_KINDS = frozenset(
    {b"application/json", b"application/x-www-form-urlencoded", b"text/plain", b"text/html", b"text/javascript"}
)
_CODINGS = frozenset({b"gzip", b"x-gzip", b"deflate"})
_ANY_WINDOW = zlib.MAX_WBITS | 32  # gzip and zlib, told apart by their heads
_MEMBER = b"\x1f"  # how a member of gzip begins
_MOST_INFLATED = 4 << 20  # out of one piece of at most some hundred KiB
_MOST_MEMBERS = 1000


def needles_of(injections: Iterable[Injection], credential: Secret) -> tuple[bytes, ...]:
    """Every form in which an injected value was sent, or is likely to be echoed: plain, escaped, base64 of a pair."""
    plain = credential.reveal()
    forms = {plain}
    for injection in injections:
        match injection:
            case QueryInjection():
                forms.add(quote(plain, safe=""))
            case PathInjection():
                forms.update((in_segment(plain), quote(plain, safe="")))
            case BodyInjection():
                forms.update((quote_plus(plain), json.dumps(plain)[1:-1]))
            case BasicInjection(secret_is=role, other=other):
                pair = f"{plain}:{other}" if role == "username" else f"{other}:{plain}"
                forms.add(base64.b64encode(pair.encode()).decode())
            case HeaderInjection() | FixedHeader():
                pass
            case _:
                assert_never(injection)
    # what servers make of a value that they put into JSON, a page or a URL
    for form in list(forms):
        forms.update((form.replace("/", "\\/"), html.escape(form), quote(form, safe=""), _unicode_escaped(form)))
    long = [form for form in forms if len(form) >= SHORTEST]
    needles = {form.encode() for form in long} | {form.encode("latin-1") for form in long if max(form) <= "\xff"}
    return tuple(sorted(needles, key=len, reverse=True))


def _unicode_escaped(text: str) -> str:
    """As encoders write it that mean to be safe in a page."""
    return "".join(f"\\u{ord(c):04x}" if c in "=&<>'+/" else c for c in text)


def overwrite(data: bytes, needles: tuple[bytes, ...]) -> bytes:
    """The same number of bytes, without the values."""
    for needle in needles:
        if needle in data:
            data = data.replace(needle, _cover(needle))
    return data


class Passage:
    """What a body goes through on its way to the child: decoded, overwritten, chunked anew as is called for.

    `coding` is gzip, deflate or nothing. `chunked` frames what comes out; without it the caller does.
    """

    __slots__ = ("_chunked", "_held", "_inflate", "_needles")

    def __init__(self, needles: tuple[bytes, ...], *, coding: bytes = b"", chunked: bool = False) -> None:
        self._needles = needles
        self._held = b""
        self._inflate = zlib.decompressobj(_ANY_WINDOW) if coding else None
        self._chunked = chunked

    @property
    def decodes(self) -> bool:
        """Whether the body that comes out has another length than the one that goes in."""
        return self._inflate is not None

    def feed(self, data: bytes) -> bytes:
        """What of a piece can be passed on now. Raises BadMessage for what cannot be decoded, or decodes too well."""
        data = self._decoded(data)
        if self._held:
            data, self._held = self._held + data, b""
        data = overwrite(data, self._needles)
        open_end = max((_open_end(data, needle) for needle in self._needles), default=0)
        if open_end:
            data, self._held = data[:-open_end], data[-open_end:]
        return self._framed(data)

    def whole(self, data: bytes) -> bytes:
        """What becomes of a body that is all there. Raises BadMessage as `feed`."""
        return self.feed(data) + self.finish()

    def finish(self, trailers: Iterable[Field] = ()) -> bytes:
        """What is left at the end of the body, and the trailers where it is chunked."""
        held, self._held = self._held, b""
        if not self._chunked:
            return held
        end = b"".join([b"%b: %b\r\n" % (name, value) for _, name, value in trailers])
        return self._framed(held) + b"0\r\n" + overwrite(end, self._needles) + b"\r\n"

    def _decoded(self, data: bytes) -> bytes:
        """The content of a piece. After one member of gzip comes another (RFC 1952 §2.2), or padding."""
        inflate, out = self._inflate, b""
        if inflate is None or not data:
            return data
        for _ in range(_MOST_MEMBERS):
            if inflate.eof and data[:1] != _MEMBER:
                return out
            if inflate.eof:
                inflate = self._inflate = zlib.decompressobj(_ANY_WINDOW)
            try:
                out += inflate.decompress(data, _MOST_INFLATED - len(out))
            except zlib.error:
                raise BadMessage("the server's answer is not in the coding that it names", 502) from None
            data = inflate.unused_data
            if inflate.unconsumed_tail or len(out) == _MOST_INFLATED:
                break
            if not data:
                return out
        raise BadMessage("the server's answer grows out of all proportion when it is decoded", 502)

    def _framed(self, data: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(data), data) if self._chunked and data else data


class TokenPassage(Passage):
    """The same for an answer of a token endpoint (RFC 6749 §5.1), whose tokens the child may not have either.

    It is held until it is complete.
    """

    __slots__ = ()

    def feed(self, data: bytes) -> bytes:
        """As `Passage.feed`."""
        self._held += self._decoded(data)
        if len(self._held) > _LONGEST_TOKEN_ANSWER:
            raise BadMessage("the answer of a token endpoint is longer than 1 MiB", 502)
        return b""

    def finish(self, trailers: Iterable[Field] = ()) -> bytes:
        """As `Passage.finish`."""
        self._held = overwrite(_TOKEN.sub(_covered, self._held), self._needles)
        return super().finish(trailers)


def check_token_answer(fields: Iterable[Field]) -> None:
    """Only what can be searched for tokens passes. Raises BadMessage (502)."""
    kinds = [value.partition(b";")[0].strip().lower() for name, _, value in fields if name == b"content-type"]
    if any(kind not in _SEARCHED_KINDS and not kind.endswith(b"+json") for kind in kinds):
        raise BadMessage("the token endpoint answered in a form that is not searched", 502)


def passage_kind(fields: Iterable[Field], *, hides_tokens: bool) -> type[Passage]:
    """What the body of an answer goes through. Raises BadMessage (502) for one that cannot be searched for tokens."""
    if not hides_tokens:
        return Passage
    check_token_answer(fields)
    return TokenPassage


def coding_of(fields: Iterable[Field]) -> bytes:
    """The one coding of an answer, if it has one. Raises BadMessage (502) for one that cannot be read.

    Requests with a credential ask for none; some servers answer with a stored coding all the same.
    """
    codings = [value.strip().lower() for name, _, value in fields if name == b"content-encoding"]
    if codings in ([], [b"identity"], [b""]):
        return b""
    if len(codings) > 1 or codings[0] not in _CODINGS:
        raise BadMessage("the server used a content coding that was not asked for", 502)
    return codings[0]


def _open_end(data: bytes, needle: bytes) -> int:
    """The length of the longest end of `data` that is a proper beginning of `needle`."""
    at = max(len(data) - len(needle) + 1, 0)
    first = needle[:1]
    while (at := data.find(first, at)) >= 0:
        if needle.startswith(data[at:]):
            return len(data) - at
        at += 1
    return 0


def _covered(match: re.Match[bytes]) -> bytes:
    before, token = match.groups()[:2] if match[1] else match.groups()[2:]
    return before + _cover(token)


def _cover(needle: bytes) -> bytes:
    return _MARK.ljust(len(needle), b"*") if len(needle) >= len(_MARK) else b"*" * len(needle)
