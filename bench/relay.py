"""`python -m bench.relay PORT SECONDS`: distance to a server on this machine, half the round trip each way.

A TCP relay to 127.0.0.1:PORT that holds back whatever it passes on by SECONDS, and limits nothing else. The kernel
accepts its connections at once, so what a client sends first waits for the round trip of the TCP handshake besides.
Prints its port, ends with stdin.
"""

import asyncio
import sys
from collections import deque
from typing import cast

import uvloop


class Side(asyncio.Protocol):
    """One of the two connections. What arrives is due at the other side later, in its order; None is the end."""

    def __init__(self, delay: float) -> None:
        self._delay = delay
        self._loop = asyncio.get_running_loop()
        self._coming: deque[tuple[float, bytes | None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None
        self.other: Side | None = None
        self.not_before = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._pass_on(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._pass_on(None)
        self._transport = None

    def _pass_on(self, data: bytes | None) -> None:
        if self.other is not None:
            self.other.due(max(self._loop.time(), self.not_before) + self._delay, data)

    def due(self, when: float, data: bytes | None) -> None:
        """Write that then."""
        self._coming.append((when, data))
        if self._timer is None:
            self._timer = self._loop.call_at(when, self._deliver)

    def _deliver(self) -> None:
        self._timer, soon = None, self._loop.time() + 0.0005  # the clock of timers counts milliseconds
        while self._coming and self._coming[0][0] <= soon:
            _, data = self._coming.popleft()
            if self._transport is None:
                continue
            if data is None:
                self._transport.close()
            else:
                self._transport.write(data)
        if self._coming:
            self._timer = self._loop.call_at(self._coming[0][0], self._deliver)


class Client(Side):
    """The side that was dialled; it dials on."""

    def __init__(self, port: int, delay: float) -> None:
        super().__init__(delay)
        self._port = port
        self._dialling: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.not_before = self._loop.time() + 2 * self._delay
        self.other = server = Side(self._delay)
        server.other = self
        self._dialling = self._loop.create_task(self._dial(server))

    async def _dial(self, server: Side) -> None:
        await self._loop.create_connection(lambda: server, "127.0.0.1", self._port)


async def serve(port: int, delay: float) -> None:
    """Relays until stdin ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Client(port, delay), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    ended = asyncio.Event()
    loop.add_reader(sys.stdin, ended.set)
    await ended.wait()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), float(sys.argv[2])))
