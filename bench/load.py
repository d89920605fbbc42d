"""`python -m bench.load MEASURE AUTHORITY [ADDRESS:PORT]`: a client that measures; with no address it goes through
the proxy that its environment names, as a child of `authsome run` does.

Prints a JSON object of numbers: times in seconds, rates in requests or bytes a second.
"""

import asyncio
import json
import re
import ssl
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

import uvloop

from bench import events, http2, websocket
from bench.dialling import Target, connect, secure, trust

SAMPLES = 2000
WARM_UP = 200
SECONDS = 2.0
NEW_CONNECTIONS = 100
FAR_CONNECTIONS = 10
LARGE = 1_000_000
LARGE_AT_ONCE = 4
UPLOAD = 64 << 20
UPLOADS = 3
HELD_CONNECTIONS = 1000
SMALL_PATH, LARGE_PATH, UPLOAD_PATH = "/v1/things", "/v1/large", "/v1/upload"

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_BUFFER = memoryview(bytearray(1 << 18))  # shared by all connections: it is read before the next one fills it

Found = dict[str, float]


def answer_size(first: bytes) -> int | None:
    """How long the whole answer is, once its head is there."""
    end = first.find(b"\r\n\r\n")
    if end < 0:
        return None
    length = _LENGTH.search(first, 0, end + 2)
    if not first.startswith(b"HTTP/1.1 200") or length is None:
        raise RuntimeError(first[:2000].decode(errors="replace"))
    return end + 4 + int(length[1])


def ask(connection: ssl.SSLSocket, asked: bytes) -> None:
    """One request, and its whole answer."""
    connection.sendall(asked)
    got, size = b"", None
    while size is None or len(got) < size:
        received = connection.recv(65536)
        if not received:
            raise RuntimeError("the connection was closed")
        got += received
        size = answer_size(got)


def percentiles(taken: Sequence[float]) -> Found:
    """The two that are reported."""
    return {"p50": statistics.median(taken), "p99": statistics.quantiles(taken, n=100)[98]}


class Counting(Protocol):
    """A connection that counts what it was answered, and remembers that it was lost."""

    answers: int
    received: int
    lost: bool

    def begin(self) -> None:
        """Ask, and go on asking."""
        ...


class Asker(asyncio.BufferedProtocol):
    """One connection that asks again as soon as it is answered."""

    def __init__(self, asked: bytes) -> None:
        self._asked, self._head, self._left = asked, b"", 0
        self.answers, self.received, self.lost = 0, 0, False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's TLS transports are transports in all but their class
        self._transport = cast("asyncio.Transport", transport)

    def begin(self) -> None:
        """As `Counting.begin`."""
        if self._transport is not None:
            self._transport.write(self._asked)

    def get_buffer(self, sizehint: int) -> memoryview:
        return _BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        self.received += nbytes
        if self._left:
            self._left -= nbytes
        else:
            self._head += bytes(_BUFFER[:nbytes])
            size = answer_size(self._head)
            if size is None:
                return
            self._left, self._head = size - len(self._head), b""
        if self._left == 0:
            self.answers += 1
            self.begin()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True


async def count(connections: Sequence[Counting]) -> tuple[float, float]:
    """Answers and bytes a second on all of them, which begin together, after half a second of warming up."""
    for each in connections:
        each.begin()
    await asyncio.sleep(0.5)
    answers, received = sum(each.answers for each in connections), sum(each.received for each in connections)
    begun = time.perf_counter()
    await asyncio.sleep(SECONDS)
    taken = time.perf_counter() - begun
    if any(each.lost for each in connections):
        raise RuntimeError("a connection was lost")
    after = sum(each.answers for each in connections)
    if after == answers:
        raise RuntimeError("nothing was answered")
    return (after - answers) / taken, (sum(each.received for each in connections) - received) / taken


def latency(target: Target) -> Found:
    """One request at a time on one kept-alive connection."""
    asked, taken = target.request(SMALL_PATH), []
    with secure(target, trust()) as connection:
        for _ in range(WARM_UP + SAMPLES):
            begun = time.perf_counter()
            ask(connection, asked)
            taken.append(time.perf_counter() - begun)
    return percentiles(taken[WARM_UP:])


def rate(connections: int) -> Callable[[Target], Found]:
    """Requests a second on so many connections."""

    async def measure(target: Target) -> Found:
        tls, asked = trust(), target.request(SMALL_PATH)
        askers = [await connect(target, tls, lambda: Asker(asked)) for _ in range(connections)]
        return {"rate": (await count(askers))[0]}

    return lambda target: uvloop.run(measure(target))


def short_lived(connections: int) -> Callable[[Target], Found]:
    """A client that connects, asks once and closes, again and again; what it costs each time."""

    def measure(target: Target) -> Found:
        tls, asked, taken = trust(), target.request(SMALL_PATH), []
        for _ in range(2 + connections):
            begun = time.perf_counter()
            with secure(target, tls) as connection:
                ask(connection, asked)
                taken.append(time.perf_counter() - begun)
        return {"p50": statistics.median(taken[2:])}

    return measure


def down(target: Target) -> Found:
    """Bytes a second of large answers."""

    async def measure() -> Found:
        tls, asked = trust(), target.request(LARGE_PATH)
        askers = [await connect(target, tls, lambda: Asker(asked)) for _ in range(LARGE_AT_ONCE)]
        return {"rate": (await count(askers))[1]}

    return uvloop.run(measure())


def up(target: Target) -> Found:
    """Bytes a second of large requests, one after the other."""
    head = target.request(UPLOAD_PATH, f"Content-Length: {UPLOAD}\r\n", method="POST")
    body, taken = bytes(UPLOAD), []
    with secure(target, trust()) as connection:
        for _ in range(UPLOADS):
            begun = time.perf_counter()
            connection.sendall(head)
            ask(connection, body)
            taken.append(time.perf_counter() - begun)
    return {"rate": UPLOAD / statistics.median(taken)}


def hold(target: Target) -> Found:
    """Keeps many connections open, each of which was answered once, until stdin ends."""
    tls, asked = trust(), target.request(SMALL_PATH)
    connections = []
    for _ in range(HELD_CONNECTIONS):
        connections.append(secure(target, tls))
        ask(connections[-1], asked)
    print(len(connections), flush=True)
    sys.stdin.read()
    return {"connections": len(connections)}


async def _streams(target: Target) -> dict[str, Any]:
    tls = trust("h2")
    try:
        askers = [await connect(target, tls, lambda: http2.Asker(target, SMALL_PATH)) for _ in range(32)]
    except ssl.SSLError as error:
        if error.reason != "TLSV1_ALERT_NO_APPLICATION_PROTOCOL":
            raise
        askers = []
    if not askers or not askers[0].spoken:
        return {"skipped": "no HTTP/2 is answered"}
    return {"rate": (await count(askers))[0]}


async def _sockets(target: Target) -> Found:
    tls = trust()
    askers = [await connect(target, tls, lambda: websocket.Asker(target)) for _ in range(32)]
    return {"rate": (await count(askers))[0]}


def _http2(target: Target) -> dict[str, Any]:
    return uvloop.run(_streams(target))


def _websocket(target: Target) -> Found:
    with secure(target, trust()) as connection:
        taken = websocket.echoes(connection, target, WARM_UP + SAMPLES)
    return percentiles(taken[WARM_UP:]) | uvloop.run(_sockets(target))


def _events(target: Target) -> Found:
    with secure(target, trust()) as connection:
        return percentiles(events.delays(connection, target))


MEASURES: dict[str, Callable[[Target], dict[str, Any]]] = {
    "latency": latency,
    "rate 32": rate(32),
    "rate 256": rate(256),
    "new": short_lived(NEW_CONNECTIONS),
    "far": short_lived(FAR_CONNECTIONS),
    "down": down,
    "up": up,
    "events": _events,
    "http2": _http2,
    "websocket": _websocket,
    "hold": hold,
}


if __name__ == "__main__":
    print(json.dumps(MEASURES[sys.argv[1]](Target(sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else None))))
