"""`python -m bench.upstream DIRECTORY HOST BYTES`: a small TLS server, as fast as this language goes.

Writes `ca.pem`, `server.pem` and `server.key` into the directory, prints its port, and ends with stdin. It answers
every request with 200 and a short body, but streams events, echoes on a WebSocket, and sends BYTES where a large body
is due.
"""

import asyncio
import base64
import hashlib
import ssl
import sys
from pathlib import Path
from typing import cast

import httptools
import uvloop

from authsome.demo.certificates import certify
from bench import events, websocket

BODY = b'{"ok": true, "padding": "' + b"x" * 200 + b'"}'
LARGE_PATH = b"/v1/large"
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_UPGRADE = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: "


def answer(body: bytes) -> bytes:
    """A whole answer."""
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def unmask(got: bytes) -> tuple[list[bytes], bytes]:
    """The payloads of the whole messages of a client, none longer than 125 bytes, and the rest (RFC 6455 §5.2)."""
    messages = []
    while len(got) >= 6 and len(got) >= (end := 6 + (got[1] & 0x7F)):
        size = end - 6
        mask = (got[2:6] * 32)[:size]
        plain = int.from_bytes(got[6:end], "big") ^ int.from_bytes(mask, "big")
        messages.append(plain.to_bytes(size, "big"))
        got = got[end:]
    return messages, got


def accept_key(key: bytes) -> bytes:
    """What proves that the opening of a WebSocket was understood (RFC 6455 §4.2.2)."""
    return base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())


class Upstream(asyncio.Protocol):
    """One connection; answers as soon as a request is whole."""

    def __init__(self, small: bytes, large: bytes) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._small, self._large = small, large
        self._path = self._key = self._got = b""
        self._talking = False
        self._streaming: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's TLS transports are transports in all but their class
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._talking:
            self._echo(data)
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._talking = True
            self._transport.write(_UPGRADE + accept_key(self._key) + b"\r\n\r\n")

    def on_url(self, url: bytes) -> None:
        """Called by the parser."""
        self._path = url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser."""
        if name.lower() == b"sec-websocket-key":
            self._key = value

    def on_message_complete(self) -> None:
        """Called by the parser."""
        if self._path == events.PATH.encode():
            self._streaming = asyncio.get_running_loop().create_task(self._stream())
        elif self._path != websocket.PATH.encode():
            self._transport.write(self._large if self._path == LARGE_PATH else self._small)

    async def _stream(self) -> None:
        self._transport.write(_STREAM)
        for _ in range(events.COUNT):
            await asyncio.sleep(events.INTERVAL)
            self._transport.write(events.event())
        self._transport.write(b"0\r\n\r\n")

    def _echo(self, data: bytes) -> None:
        messages, self._got = unmask(self._got + data)
        self._transport.write(b"".join(b"\x82" + bytes([len(message)]) + message for message in messages))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._streaming is not None:
            self._streaming.cancel()


def context(directory: Path, host: str) -> ssl.SSLContext:
    """A server's TLS context for a fresh certificate, which another server may use too."""
    certificate = certify(host)
    (directory / "ca.pem").write_bytes(certificate.authority)
    (directory / "server.pem").write_bytes(certificate.chain)
    key = directory / "server.key"
    key.touch(mode=0o600)
    key.write_bytes(certificate.key)
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(directory / "server.pem", key)
    made.set_alpn_protocols(["http/1.1"])
    return made


async def serve(directory: Path, host: str, large: int) -> None:
    """Serves until stdin ends."""
    loop, small_answer, large_answer = asyncio.get_running_loop(), answer(BODY), answer(bytes(large))
    server = await loop.create_server(
        lambda: Upstream(small_answer, large_answer), "127.0.0.1", 0, ssl=context(directory, host), backlog=1024
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    ended = asyncio.Event()
    loop.add_reader(sys.stdin, ended.set)
    await ended.wait()


if __name__ == "__main__":
    uvloop.run(serve(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
