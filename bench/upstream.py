"""`python -m bench.upstream DIRECTORY HOST`: a small TLS server, as fast as this language goes.

Writes `ca.pem` there, prints its port, answers every request with 200 and a short body, ends with stdin.
"""

import asyncio
import ssl
import sys
from pathlib import Path
from typing import cast

import httptools
import uvloop

from authsome.demo.certificates import certify

BODY = b'{"ok": true, "padding": "' + b"x" * 200 + b'"}'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)


class Upstream(asyncio.Protocol):
    """One connection; answers as soon as a request is whole."""

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's TLS transports are transports in all but their class
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        """Called by the parser."""
        self._transport.write(ANSWER)


def context(directory: Path, host: str) -> ssl.SSLContext:
    """A server's TLS context for a fresh certificate; the private key is on disk only while it is read."""
    certificate = certify(host)
    (directory / "ca.pem").write_bytes(certificate.authority)
    (directory / "server.pem").write_bytes(certificate.chain)
    key = directory / "server.key"
    key.touch(mode=0o600)
    key.write_bytes(certificate.key)
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(directory / "server.pem", key)
    made.set_alpn_protocols(["http/1.1"])
    key.unlink()
    return made


async def serve(directory: Path, host: str) -> None:
    """Serves until stdin ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Upstream, "127.0.0.1", 0, ssl=context(directory, host), backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    ended = asyncio.Event()
    loop.add_reader(sys.stdin, ended.set)
    await ended.wait()


if __name__ == "__main__":
    uvloop.run(serve(Path(sys.argv[1]), sys.argv[2]))
