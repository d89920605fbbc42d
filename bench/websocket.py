"""A WebSocket client with its frames made beforehand: it has each message echoed before it sends the next."""

import asyncio
import ssl
import time
from typing import cast

from bench.dialling import Target

PATH = "/v1/socket"
_PAYLOAD = 64
_MASK = b"\x5a\xa5\x3c\xc3"
_MESSAGE = b"\x82" + bytes([0x80 | _PAYLOAD]) + _MASK + bytes(a ^ b for a, b in zip(bytes(64), _MASK * 16, strict=True))
_ECHO = b"\x82" + bytes([_PAYLOAD]) + bytes(_PAYLOAD)


def opening(target: Target) -> bytes:
    """RFC 6455 §4.1."""
    return target.request(
        PATH,
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    )


def after_opening(got: bytes) -> bytes | None:
    """What came after the answer to the opening; None while that is not whole."""
    head, separator, rest = got.partition(b"\r\n\r\n")
    if not separator:
        return None
    if not head.startswith(b"HTTP/1.1 101"):
        raise RuntimeError(got.decode(errors="replace"))
    return rest


def echoes(connection: ssl.SSLSocket, target: Target, samples: int) -> list[float]:
    """Seconds for each round trip."""
    connection.sendall(opening(target))
    got = b""
    while after_opening(got) is None:
        received = connection.recv(4096)
        if not received:
            raise RuntimeError("the connection was closed")
        got += received
    taken = []
    for _ in range(samples):
        begun, got = time.perf_counter(), b""
        connection.sendall(_MESSAGE)
        while len(got) < len(_ECHO):
            received = connection.recv(4096)
            if not received:
                raise RuntimeError("the connection was closed")
            got += received
        if got != _ECHO:
            raise RuntimeError("something else came back")
        taken.append(time.perf_counter() - begun)
    return taken


class Asker(asyncio.Protocol):
    """One WebSocket that sends again as soon as it is answered."""

    def __init__(self, target: Target) -> None:
        self._opening, self._open, self._got = opening(target), False, b""
        self.answers, self.received, self.lost = 0, 0, False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's TLS transports are transports in all but their class
        self._transport = cast("asyncio.Transport", transport)

    def begin(self) -> None:
        """Open it, send, and go on sending."""
        self._transport.write(self._opening)

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        self._got += data
        if not self._open:
            rest = after_opening(self._got)
            if rest is None:
                return
            self._open, self._got = True, b""
            self._transport.write(_MESSAGE)
        elif len(self._got) >= len(_ECHO):
            self._got, self.answers = b"", self.answers + 1
            self._transport.write(_MESSAGE)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
