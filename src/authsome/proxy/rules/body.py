"""Following a body through the bytes that carry it, to know where it ends; the bytes themselves are not looked at."""

import re
from typing import Protocol

from authsome.proxy.rules.framing import HOP_BY_HOP, Length, Unmeasured
from authsome.proxy.rules.head import BadMessage, Field, read_fields

_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})([ \t]*(?:;[\t\x20-\x7e]*)?)\Z")
_LONGEST_LINE = 256
_LONGEST_TRAILER = 8192

# What a trailer may not carry: framing, routing, credentials and what a recipient would merge (RFC 9110 §6.5.1).
NOT_IN_TRAILERS = HOP_BY_HOP | {
    b"host", b"content-length", b"content-type", b"content-encoding", b"content-range", b"trailer", b"expect",
    b"authorization", b"cookie", b"set-cookie", b"x-api-key", b"range", b"max-forwards", b"cache-control", b"location",
    b"www-authenticate", b"x-authsome-connection", b"x-authsome-error", b"alt-svc",
}  # fmt: skip


class Body(Protocol):
    """One body on its way.

    `feed` takes what arrived and gives what goes on, and what stands after the end, or None before it.
    It raises BadMessage.
    """

    def feed(self, data: bytes) -> tuple[bytes, bytes | None]: ...


def body_of(length: Length, *, decode: bool = False, drop: frozenset[bytes] = frozenset(), status: int = 400) -> Body:
    """How a body of this length is followed. `decode` gives the content of chunks without their framing.

    `drop` adds to the names that are removed from trailers; `status` is that of a BadMessage.
    """
    if length is Unmeasured.CHUNKED:
        return ChunkedBody(decode=decode, drop=drop, status=status)
    if length is Unmeasured.UNTIL_CLOSE:
        return EndlessBody()
    return SizedBody(length)


class SizedBody:
    """A body of a known length in bytes."""

    __slots__ = ("_left",)

    def __init__(self, length: int) -> None:
        self._left = length

    def feed(self, data: bytes) -> tuple[bytes, bytes | None]:
        """As `Body.feed`."""
        size, left = len(data), self._left
        if size < left:
            self._left = left - size
            return data, None
        self._left = 0
        return (data, b"") if size == left else (data[:left], data[left:])


class EndlessBody:
    """A body that ends with its connection."""

    __slots__ = ()

    def feed(self, data: bytes) -> tuple[bytes, bytes | None]:
        """As `Body.feed`."""
        return data, None


class ChunkedBody:
    """A chunked body (RFC 9112 §7.1): passed on as it came, but for extensions and unwanted trailers."""

    __slots__ = ("_decode", "_drop", "_in_trailer", "_left", "_line", "_status", "trailers")

    def __init__(self, *, decode: bool = False, drop: frozenset[bytes] = frozenset(), status: int = 400) -> None:
        self._decode = decode
        self._drop = NOT_IN_TRAILERS | drop
        self._status = status
        self._left = 0  # of the current chunk, with the CRLF after it
        self._line = b""
        self._in_trailer = False
        self.trailers: list[Field] = []

    def feed(self, data: bytes) -> tuple[bytes, bytes | None]:
        """As `Body.feed`."""
        if self._line:
            data, self._line = self._line + data, b""
        at, size = 0, len(data)
        out: list[bytes] = []
        while at < size and not self._in_trailer:
            if self._left:
                at = self._pass_chunk(data, at, out)
                continue
            end = data.find(b"\n", at, at + _LONGEST_LINE)
            if end < 0:
                if size - at >= _LONGEST_LINE:
                    raise BadMessage("a chunk size is malformed", self._status)
                self._line = data[at:]
                return b"".join(out), None
            self._start_chunk(data[at : end + 1], out)
            at = end + 1
        if not self._in_trailer:
            return b"".join(out), None
        rest = self._end(data[at:], out)
        return b"".join(out), rest

    def _start_chunk(self, line: bytes, out: list[bytes]) -> None:
        match = _CHUNK_SIZE.match(line[:-2]) if line.endswith(b"\r\n") else None
        if match is None:
            raise BadMessage("a chunk size is malformed", self._status)
        length = int(match[1], 16)
        if length:
            self._left = length + 2
            if not self._decode:
                out.append(match[1] + b"\r\n" if match[2] else line)
        else:
            self._in_trailer = True

    def _pass_chunk(self, data: bytes, at: int, out: list[bytes]) -> int:
        """What of the current chunk, and of the CRLF after it, is there."""
        stop = min(at + self._left, len(data))
        ends = at + self._left - 2  # where the CRLF is due
        if stop > ends and data[max(at, ends) : stop] != b"\r\n"[max(at, ends) - ends : stop - ends]:
            raise BadMessage("a chunk is longer than its size", self._status)
        out.append(data[at : min(stop, max(at, ends))] if self._decode else data[at:stop])
        self._left -= stop - at
        return stop

    def _end(self, data: bytes, out: list[bytes]) -> bytes | None:
        """The trailer section; gives what stands after it, or None before its end."""
        if data.startswith(b"\r\n"):
            end, block = 2, b""
        else:
            end = data.find(b"\r\n\r\n") + 4
            block = data[: end - 2]
            if end < 4:
                if len(data) > _LONGEST_TRAILER or b"\n" in data.replace(b"\r\n", b""):
                    raise BadMessage("the trailer section is too long or malformed", self._status)
                self._line = data
                return None
        if end > _LONGEST_TRAILER:
            raise BadMessage("the trailer section is too long or malformed", self._status)
        if block:
            self._read_trailers(block)
        if not self._decode:
            out.append(b"0\r\n" + b"".join(b"%b: %b\r\n" % field[1:] for field in self.trailers) + b"\r\n")
        return data[end:]

    def _read_trailers(self, block: bytes) -> None:
        try:
            fields = read_fields(block + b"\r\n")
        except BadMessage as error:
            raise BadMessage(str(error), self._status) from None
        self.trailers = [field for field in fields if field[0] not in self._drop]
