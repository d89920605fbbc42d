"""A client that speaks HTTP/2 alone, with its frames made beforehand: one stream at a time on each connection."""

import asyncio
import ssl
from typing import cast

from bench.dialling import Target, held

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY = 0, 1, 3, 4, 6, 7
_END_STREAM, _ACK, _END_HEADERS = 1, 1, 4
_LARGEST_WINDOW = (1 << 31) - 1
_OK = (b"\x88", b"\x08\x03200", b"\x08\x82\x10\x01")  # :status 200 by its index, spelt out, spelt out by Huffman


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """RFC 9113 §4.1."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def head(target: Target, path: str) -> bytes:
    """A GET in HPACK without the dynamic table, so that every request is the same bytes (RFC 7541 §6.2.2)."""
    return b"\x82\x87" + b"".join(
        prefix + _text(value)
        for prefix, value in ((b"\x04", path), (b"\x01", target.authority), (b"\x0f\x08", f"Bearer {held()}"))
    )


def _text(value: str) -> bytes:
    """RFC 7541 §5.2, for what is shorter than 127 bytes."""
    assert len(value) < 127
    return bytes([len(value)]) + value.encode()


class Asker(asyncio.Protocol):
    """One connection that asks again as soon as it is answered. It raises the windows once and for all."""

    def __init__(self, target: Target, path: str) -> None:
        self._head = head(target, path)
        self._got, self._stream = b"", -1
        self.answers, self.received, self.lost = 0, 0, False
        self.spoken = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's TLS transports are transports in all but their class
        self._transport = cast("asyncio.Transport", transport)
        tls: ssl.SSLObject = transport.get_extra_info("ssl_object")
        self.spoken = tls.selected_alpn_protocol() == "h2"
        if not self.spoken:
            self._transport.abort()
            return
        settings = b"\x00\x02\x00\x00\x00\x00" + b"\x00\x04" + _LARGEST_WINDOW.to_bytes(4, "big")
        window = (_LARGEST_WINDOW - 65535).to_bytes(4, "big")
        self._transport.write(_PREFACE + frame(_SETTINGS, 0, 0, settings) + frame(8, 0, 0, window))

    def begin(self) -> None:
        """Ask, and go on asking."""
        self._stream += 2
        self._transport.write(frame(_HEADERS, _END_HEADERS | _END_STREAM, self._stream, self._head))

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        got, at = self._got + data if self._got else data, 0
        while len(got) - at >= 9:
            end = at + 9 + int.from_bytes(got[at : at + 3], "big")
            if len(got) < end:
                break
            self._frame(got[at + 3], got[at + 4], got[at + 9 : end])
            at = end
        self._got = got[at:]

    def _frame(self, kind: int, flags: int, payload: bytes) -> None:
        if kind in (_DATA, _HEADERS):
            if kind == _HEADERS and not _is_ok(payload):
                raise RuntimeError("an answer that is not 200")
            if flags & _END_STREAM:
                self.answers += 1
                self.begin()
        elif kind in (_SETTINGS, _PING) and not flags & _ACK:
            self._transport.write(frame(kind, _ACK, 0, payload if kind == _PING else b""))
        elif kind in (_RESET, _GOAWAY):
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True


def _is_ok(block: bytes) -> bool:
    """Whether a header block begins with status 200, after updates of the table's size perhaps (RFC 7541 §6.3)."""
    at = 0
    while block[at] & 0xE0 == 0x20:
        more = block[at] == 0x3F
        at += 1
        while more:
            more = block[at] >= 0x80
            at += 1
    return block.startswith(_OK, at)
