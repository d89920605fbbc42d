"""The HTTP/2 connections to servers: for each origin of a run as few as have room."""

import asyncio
from collections import Counter, deque
from typing import Protocol

from authsome.broker.roots import LaterContext
from authsome.proxy.engine.clock import Clock
from authsome.proxy.engine.dial import CannotDial, Dialler, Origin, unreachable
from authsome.proxy.engine.handshake import Sessions, shake_hands
from authsome.proxy.engine.http2.outgoing import Http2Outgoing
from authsome.proxy.engine.ports import Limits
from authsome.proxy.engine.refusals import RUN_TOO_BUSY, Refusal, too_busy
from authsome.proxy.engine.tls import TlsLayer
from authsome.proxy.engine.upstream import MOST_WAITING
from authsome.proxy.rules.address import Purpose


class Waiter(Protocol):
    """An exchange that needs a connection with room for a stream."""

    def connected(self, connection: Http2Outgoing) -> None: ...

    def unconnected(self, refusal: Refusal) -> None: ...


class _Shelf:
    """What belongs to one origin."""

    __slots__ = ("connections", "opening", "waiters")

    def __init__(self) -> None:
        self.connections: list[Http2Outgoing] = []
        self.waiters: deque[Waiter] = deque()
        self.opening = False

    @property
    def roomy(self) -> Http2Outgoing | None:
        """A connection with room for another stream."""
        return next((each for each in self.connections if each.has_room), None)

    def serve(self) -> None:
        """Give those who wait what room there is."""
        while self.waiters and (connection := self.roomy) is not None:
            self.waiters.popleft().connected(connection)

    def disappoint(self, refusal: Refusal) -> None:
        """There is no connection for those who wait."""
        waiters, self.waiters = self.waiters, deque()
        for waiter in waiters:
            waiter.unconnected(refusal)


class Http2Pool:
    """See the module. A server is asked for HTTP/2 and nothing else, because the client speaks nothing else."""

    def __init__(self, dialler: Dialler, context: LaterContext, clock: Clock, limits: Limits) -> None:
        self._dialler = dialler
        self._context = context
        self._clock = clock
        self._limits = limits
        self._shelves: dict[Origin, _Shelf] = {}
        self._there: Counter[str] = Counter()  # connections of each run, to their very end
        self._sessions = Sessions()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def take(self, origin: Origin) -> Http2Outgoing | None:
        """A connection with room for another stream."""
        shelf = self._shelves.get(origin)
        return shelf.roomy if shelf is not None else None

    def wait(self, origin: Origin, waiter: Waiter) -> None:
        """A connection as soon as one is opened or has room."""
        shelf = self._shelves.setdefault(origin, _Shelf())
        if len(shelf.waiters) >= MOST_WAITING:
            waiter.unconnected(too_busy(str(origin)))
            return
        if not shelf.connections and not shelf.opening and self._has_enough(origin.run):
            self._clear(origin, shelf)
            waiter.unconnected(RUN_TOO_BUSY)
            return
        shelf.waiters.append(waiter)
        if shelf.roomy is not None:
            # not at once: the caller may be in the middle of ending another stream
            asyncio.get_running_loop().call_soon(shelf.serve)
        else:
            self._open(origin, shelf)

    def leave(self, origin: Origin, waiter: Waiter) -> None:
        """Wait no longer."""
        shelf = self._shelves.get(origin)
        if shelf is not None and waiter in shelf.waiters:
            shelf.waiters.remove(waiter)

    def has_room(self, connection: Http2Outgoing) -> None:
        """A stream of a connection has ended."""
        self._shelves[connection.origin].serve()
        self._sessions.renew(connection.origin, connection, self._clock.now)

    def gone(self, connection: Http2Outgoing) -> None:
        """A connection takes no more streams."""
        shelf = self._shelves[connection.origin]
        shelf.connections.remove(connection)
        if shelf.waiters:
            self._open(connection.origin, shelf)
        self._clear(connection.origin, shelf)

    async def close(self) -> None:
        """Close every connection, and open nothing more."""
        self._closed = True
        for task in list(self._tasks):
            task.cancel()
        for shelf in list(self._shelves.values()):
            for connection in list(shelf.connections):
                connection.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _open(self, origin: Origin, shelf: _Shelf) -> None:
        """One at a time: it has room for many. A server that takes no streams is not asked for more connections."""
        if self._closed or shelf.opening or len(shelf.connections) >= self._limits.upstream_connections:
            return
        if any(each.is_shut for each in shelf.connections) or self._has_enough(origin.run):
            return
        shelf.opening = True
        task = asyncio.get_running_loop().create_task(self._dial(origin, shelf))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _has_enough(self, run: str) -> bool:
        """Whether a run has as many connections as one may have: each of them lets megabytes wait (P28)."""
        opening = sum(shelf.opening for origin, shelf in self._shelves.items() if origin.run == run)
        return self._there[run] + opening >= self._limits.run_http2_connections

    def lost(self, connection: Http2Outgoing) -> None:
        """The end of a connection that had entered."""
        run = connection.origin.run
        self._there[run] -= 1
        if not self._there[run]:
            del self._there[run]

    async def _dial(self, origin: Origin, shelf: _Shelf) -> None:
        try:
            connection = await self._connect(origin)
        except CannotDial as error:
            self._failed(origin, shelf, error)
            return
        except BaseException as error:
            shelf.opening = False
            if isinstance(error, Exception):
                self._failed(origin, shelf, unreachable(origin, "something unforeseen happened"))
            raise
        shelf.opening = False
        shelf.connections.append(connection)
        self._there[origin.run] += 1
        connection.enter(self)
        shelf.serve()
        if shelf.waiters:
            self._open(origin, shelf)

    def _failed(self, origin: Origin, shelf: _Shelf, error: CannotDial) -> None:
        """Those who wait go on doing so where another connection may get room."""
        shelf.opening = False
        if not shelf.connections:
            shelf.disappoint(error.refusal)
        self._clear(origin, shelf)

    def _clear(self, origin: Origin, shelf: _Shelf) -> None:
        if not (shelf.connections or shelf.opening or shelf.waiters):
            self._shelves.pop(origin, None)

    async def _connect(self, origin: Origin) -> Http2Outgoing:
        sock = await self._dialler.connect(origin, Purpose.ROUTED)
        loop = asyncio.get_running_loop()
        connection = Http2Outgoing(origin, self._clock, self._limits)
        session = self._sessions.of(origin, loop.time())
        layer = TlsLayer(await self._context.get(), connection, server_name=origin.host, session=session)
        await loop.create_connection(lambda: layer, sock=sock)
        await shake_hands(layer, connection.ready, origin, self._limits.handshake_time, "HTTP/2")
        if connection.is_closing():
            raise unreachable(origin, "it closed the connection at once")
        return connection
