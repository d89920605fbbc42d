"""The pool of upstream connections: shared by all runs, because nothing of a run stays on one of them."""

import asyncio
import select
from collections import deque
from typing import Protocol

from authsome.broker.roots import LaterContext
from authsome.proxy.engine.clock import Clock
from authsome.proxy.engine.dial import CannotDial, Dialler, Origin, unreachable
from authsome.proxy.engine.handshake import Sessions, shake_hands
from authsome.proxy.engine.outgoing import Outgoing
from authsome.proxy.engine.ports import Limits
from authsome.proxy.engine.refusals import Refusal, too_busy
from authsome.proxy.engine.tls import TlsLayer
from authsome.proxy.rules.address import Purpose

MOST_WAITING = 1024

_NEW = 3.0
_NEVER = float("inf")


class Waiter(Protocol):
    """Somebody who needs a connection and may have to wait for it."""

    def connected(self, connection: Outgoing) -> None: ...

    def unconnected(self, refusal: Refusal) -> None: ...


class _Shelf:
    """What belongs to one origin. The most recently used connection is taken first."""

    __slots__ = ("idle", "open", "opening", "waiters")

    def __init__(self) -> None:
        self.idle: list[Outgoing] = []
        self.waiters: deque[tuple[Waiter, bool]] = deque()  # and whether only a new connection will do
        self.opening = 0
        self.open = 0

    def next_for(self, connection: Outgoing) -> Waiter | None:
        """Who has waited longest for a connection like this one."""
        for at, (waiter, fresh) in enumerate(self.waiters):
            if not (fresh and connection.is_used):
                del self.waiters[at]
                return waiter
        return None


class Pool:
    """Connections by origin, bounded in number, discarded at the first doubt."""

    def __init__(self, dialler: Dialler, context: LaterContext, clock: Clock, limits: Limits) -> None:
        self._dialler = dialler
        self._context = context
        self._clock = clock
        self._limits = limits
        self._shelves: dict[Origin, _Shelf] = {}
        self._sessions = Sessions()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def take(self, origin: Origin, *, careful: bool) -> Outgoing | None:
        """An idle connection. `careful` asks the kernel whether it is still open, for what cannot be sent twice."""
        shelf = self._shelves.get(origin)
        if shelf is None:
            return None
        for at in range(len(shelf.idle) - 1, -1, -1):
            connection = shelf.idle[at]
            if not connection.is_closing() and not (careful and self._is_doubtful(connection)):
                del shelf.idle[at]
                connection.leg.deadline = _NEVER
                connection.reused = True
                return connection
        return None

    def wait(self, origin: Origin, waiter: Waiter, *, fresh: bool = False) -> None:
        """A connection as soon as one is opened or given back; a `fresh` one has never been used."""
        shelf = self._shelf(origin)
        if len(shelf.waiters) >= MOST_WAITING:
            waiter.unconnected(too_busy(str(origin)))
            return
        fresh = fresh and shelf.open + shelf.opening < self._limits.upstream_connections
        shelf.waiters.append((waiter, fresh))
        self._open_more(origin, shelf)

    def leave(self, origin: Origin, waiter: Waiter) -> None:
        """Wait no longer."""
        shelf = self._shelves.get(origin)
        if shelf is not None:
            shelf.waiters = deque(each for each in shelf.waiters if each[0] is not waiter)

    def warm(self, origin: Origin) -> None:
        """Open a connection if there is none to spare: a request is about to come."""
        shelf = self._shelf(origin)
        if len(shelf.idle) + shelf.opening <= len(shelf.waiters):
            self._open(origin, shelf)

    def give_back(self, connection: Outgoing) -> None:
        """A connection whose exchange ended well, or was not begun, and that can carry another."""
        if connection.is_closing():
            return
        self._sessions.renew(connection.origin, connection, self._clock.now)
        connection.reused = True
        self._offer(connection, self._shelf(connection.origin))

    def _offer(self, connection: Outgoing, shelf: _Shelf) -> None:
        waiter = shelf.next_for(connection) if shelf.waiters else None
        if waiter is not None:
            waiter.connected(connection)
        elif self._closed or len(shelf.idle) >= self._limits.upstream_kept:
            connection.close()
        else:
            connection.leg.deadline = self._clock.now + self._limits.upstream_idle
            shelf.idle.append(connection)

    def gone(self, connection: Outgoing) -> None:
        """A connection that is lost."""
        self._clock.part(connection.leg)
        shelf = self._shelf(connection.origin)
        shelf.open -= 1
        if connection in shelf.idle:
            shelf.idle.remove(connection)
        self._open_more(connection.origin, shelf)
        if not (shelf.open or shelf.opening or shelf.waiters):
            del self._shelves[connection.origin]

    async def close(self) -> None:
        """Close what is idle, and open nothing more."""
        self._closed = True
        for task in list(self._tasks):
            task.cancel()
        for shelf in self._shelves.values():
            for connection in list(shelf.idle):
                connection.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _shelf(self, origin: Origin) -> _Shelf:
        shelf = self._shelves.get(origin)
        if shelf is None:
            shelf = self._shelves[origin] = _Shelf()
        return shelf

    def _open_more(self, origin: Origin, shelf: _Shelf) -> None:
        if shelf.opening < len(shelf.waiters):
            self._open(origin, shelf)

    def _open(self, origin: Origin, shelf: _Shelf) -> None:
        if self._closed or shelf.open + shelf.opening >= self._limits.upstream_connections:
            return
        shelf.opening += 1
        task = asyncio.get_running_loop().create_task(self._dial(origin, shelf))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _dial(self, origin: Origin, shelf: _Shelf) -> None:
        try:
            connection = await self._connect(origin)
        except CannotDial as error:
            shelf.opening -= 1
            if shelf.waiters:
                shelf.waiters.popleft()[0].unconnected(error.refusal)
            return
        except BaseException as error:
            shelf.opening -= 1
            if isinstance(error, Exception) and shelf.waiters:
                shelf.waiters.popleft()[0].unconnected(unreachable(origin, "something unforeseen happened").refusal)
            raise
        shelf.opening -= 1
        shelf.open += 1
        connection.enter(self, self._clock.now)
        self._clock.watch(connection.leg)
        self._offer(connection, shelf)

    async def _connect(self, origin: Origin) -> Outgoing:
        clear = Purpose.ISOLATED_CLEAR if origin.isolated else Purpose.CLEAR
        purpose = Purpose.ROUTED if origin.secure else clear
        sock = await self._dialler.connect(origin, purpose)
        loop = asyncio.get_running_loop()
        connection = Outgoing(origin, sock.fileno(), self._limits)
        if not origin.secure:
            await loop.create_connection(lambda: connection, sock=sock)
            return connection
        session = self._sessions.of(origin, loop.time())
        layer = TlsLayer(await self._context.get(), connection, server_name=origin.host, session=session)
        await loop.create_connection(lambda: layer, sock=sock)
        await shake_hands(layer, connection.ready, origin, self._limits.handshake_time, "HTTP/1.1")
        return connection

    def _is_doubtful(self, connection: Outgoing) -> bool:
        """Whether an idle connection has something to read: its end, or bytes that nobody asked for.

        On a new one that is only the ticket that follows a handshake; the event loop will find out.
        """
        if not connection.is_used and self._clock.now - connection.since < _NEW:
            return False
        poll = select.poll()
        poll.register(connection.descriptor, select.POLLIN)
        return bool(poll.poll(0))
