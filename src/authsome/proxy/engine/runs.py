"""The runs that use the proxy, and the client connections of each, which end with it (P4)."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace

from authsome.model.run import Run
from authsome.proxy.engine.clock import Clock, Leg
from authsome.proxy.engine.ports import Limits
from authsome.proxy.rules.decide import Terms
from authsome.proxy.rules.table import RouteTable

_REMEMBERED = 1024


_NEVER = float("inf")


class LiveRun:
    """One run. Its terms hold the route table it began with, because its hosts stay intercepted to its end.

    `listeners` close the sockets of its own, where it is isolated. `share` is what is left of the memory that it may
    fill with bodies that are held and answers that are not read, in bytes.
    """

    __slots__ = ("is_over", "listeners", "members", "requests", "run", "share", "terms")

    def __init__(self, run: Run, table: RouteTable, share: int) -> None:
        self.run = run
        self.terms = Terms(run.only, run.choices, table)
        self.members: set[Member] = set()
        self.listeners: list[Callable[[], object]] = []
        self.requests = 0
        self.share = share
        self.is_over = False

    def isolate(self, hosts: frozenset[str]) -> None:
        """From here on it reaches these hosts, and those of what is lent to it."""
        self.terms = replace(self.terms, hosts=hosts)


class Member(Leg):
    """One client connection, whatever is spoken on it. `transport` is the TCP one, under any TLS."""

    __slots__ = ("_clock", "_waiting", "live", "transport")

    def __init__(self, clock: Clock, transport: asyncio.Transport) -> None:
        super().__init__()
        self._clock = clock
        self.transport = transport
        self.live: LiveRun | None = None
        self._waiting = 0  # bytes of the run's share
        self.expire = transport.abort
        clock.watch(self)

    def within(self, seconds: float) -> None:
        """It expires unless something is done before. A stranger's first deadline is its last."""
        if self.live is not None or self.deadline == _NEVER:
            self.deadline = self._clock.now + seconds

    def join(self, live: LiveRun) -> None:
        """Belong to a run, for good."""
        self.live = live
        live.members.add(self)

    def keep(self, size: int) -> bool:
        """Whether the run's share allows that so many more bytes wait for this connection; they are counted then."""
        if self.live is None:
            return True
        if size > self.live.share:
            return False
        self.live.share -= size
        self._waiting += size
        return True

    def let_go(self, size: int) -> None:
        """So many bytes wait no longer."""
        if self.live is not None:
            size = min(size, self._waiting)
            self.live.share += size
            self._waiting -= size

    def gone(self) -> None:
        """The connection is lost."""
        self._clock.part(self)
        if self.live is not None:
            self.let_go(self._waiting)
            self.live.members.discard(self)


class Runs:
    """Every run that was seen, with the number of its requests."""

    def __init__(self, limits: Limits) -> None:
        self._share = limits.run_memory
        self._live: dict[str, LiveRun] = {}
        self._ended: OrderedDict[str, int] = OrderedDict()

    def begin(self, run: Run, table: RouteTable) -> LiveRun:
        """The run, entered on its first connection if it was not before."""
        live = self._live.get(run.id)
        if live is None:
            live = self._live[run.id] = LiveRun(run, table, self._share)
        return live

    def end(self, run_id: str) -> None:
        """Close everything that a run has open."""
        live = self._live.pop(run_id, None)
        if live is None:
            return
        live.is_over = True
        self._ended[run_id] = live.requests
        if len(self._ended) > _REMEMBERED:
            self._ended.popitem(last=False)
        for close in live.listeners:
            close()
        for member in list(live.members):
            member.transport.abort()

    def end_all(self) -> None:
        """Close everything."""
        for run_id in list(self._live):
            self.end(run_id)

    def requests_of(self, run_id: str) -> int:
        """How many requests and opaque tunnels a run has asked for; 0 for one that is not known."""
        live = self._live.get(run_id)
        return live.requests if live is not None else self._ended.get(run_id, 0)
