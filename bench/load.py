"""`python -m bench.load HOST [ADDRESS:PORT]`: a client that measures; with no address it goes through the proxy
that its environment names, as a child of `authsome run` does.

Prints `{"p50", "p99", "rate"}`: seconds for one request at a time on one kept-alive connection, and requests
a second on 32 connections.
"""

import asyncio
import base64
import json
import os
import socket
import ssl
import statistics
import sys
import time
from typing import cast
from urllib.parse import urlsplit

import uvloop

CONNECTIONS = 32
SAMPLES = 2000
WARM_UP = 200
SECONDS = 2.0


def dial(host: str, address: str | None) -> socket.socket:
    """A TCP connection to the host: to `address`, or by CONNECT through the proxy of the environment."""
    if address:
        name, _, port = address.rpartition(":")
        return _plain(name, int(port))
    proxy = urlsplit(os.environ["HTTPS_PROXY"])
    assert proxy.hostname and proxy.port
    connection = _plain(proxy.hostname, proxy.port)
    token = base64.b64encode(f"{proxy.username}:{proxy.password}".encode()).decode()
    connection.sendall(
        f"CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\nProxy-Authorization: Basic {token}\r\n\r\n".encode()
    )
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += connection.recv(4096)
    if not answer.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(answer.decode())
    return connection


def _plain(host: str, port: int) -> socket.socket:
    connection = socket.create_connection((host, port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def request(host: str) -> bytes:
    """What a child of `run` sends: a placeholder for the key."""
    held = os.environ.get("BENCH_API_KEY", "none")
    return f"GET /v1/things HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {held}\r\n\r\n".encode()


def answer_size(first: bytes) -> int | None:
    """How long the whole answer is, once its head is there."""
    head, separator, _ = first.partition(b"\r\n\r\n")
    if not separator:
        return None
    if not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(first.decode(errors="replace"))
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return len(head) + 4 + int(value)
    raise RuntimeError("an answer without Content-Length")


def latency(host: str, address: str | None, tls: ssl.SSLContext) -> list[float]:
    """Seconds for each of `SAMPLES` requests, one after the other."""
    taken = []
    asked = request(host)
    with tls.wrap_socket(dial(host, address), server_hostname=host) as connection:
        for _ in range(WARM_UP + SAMPLES):
            begun = time.perf_counter()
            connection.sendall(asked)
            got, size = b"", None
            while size is None or len(got) < size:
                received = connection.recv(65536)
                if not received:
                    raise RuntimeError("the connection was closed")
                got += received
                size = answer_size(got)
            taken.append(time.perf_counter() - begun)
    return taken[WARM_UP:]


class Asker(asyncio.Protocol):
    """One connection that asks again as soon as it is answered."""

    def __init__(self, asked: bytes) -> None:
        self._asked, self._got, self.answers = asked, b"", 0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's TLS transports are transports in all but their class
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._asked)

    def data_received(self, data: bytes) -> None:
        self._got += data
        size = answer_size(self._got)
        if size is not None and len(self._got) >= size and self._transport is not None:
            self._got, self.answers = b"", self.answers + 1
            self._transport.write(self._asked)


async def rate(host: str, address: str | None, tls: ssl.SSLContext) -> float:
    """Requests a second on `CONNECTIONS` connections, after half a second of warming up."""
    loop = asyncio.get_running_loop()
    askers = []
    for _ in range(CONNECTIONS):
        connection = await loop.run_in_executor(None, dial, host, address)
        connection.setblocking(False)
        _, asker = await loop.create_connection(
            lambda: Asker(request(host)), sock=connection, ssl=tls, server_hostname=host
        )
        askers.append(asker)
    await asyncio.sleep(0.5)
    before, begun = sum(asker.answers for asker in askers), time.perf_counter()
    await asyncio.sleep(SECONDS)
    return (sum(asker.answers for asker in askers) - before) / (time.perf_counter() - begun)


def main(host: str, address: str | None) -> None:
    """Measures and prints."""
    tls = ssl.create_default_context(cafile=os.environ.get("SSL_CERT_FILE"))
    tls.set_alpn_protocols(["http/1.1"])
    taken = latency(host, address, tls)
    found = {
        "p50": statistics.median(taken),
        "p99": statistics.quantiles(taken, n=100)[98],
        "rate": uvloop.run(rate(host, address, tls)),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None)
