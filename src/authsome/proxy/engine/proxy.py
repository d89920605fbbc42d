"""The proxy: a listener on the loopback address, and the parts behind it put together."""

import asyncio
import socket

from authsome.broker.roots import LaterContext, check_ca_files
from authsome.model.run import Run
from authsome.proxy.engine.client import ClientLeg
from authsome.proxy.engine.clock import Clock
from authsome.proxy.engine.core import Core
from authsome.proxy.engine.dial import Dialler, upstream_context
from authsome.proxy.engine.http2.pool import Http2Pool
from authsome.proxy.engine.ports import House, ProxySettings
from authsome.proxy.engine.runs import Runs
from authsome.proxy.engine.transparent import Sockets, serve_isolated
from authsome.proxy.engine.trust import Trust
from authsome.proxy.engine.upstream import Pool

_BACKLOG = 1024


class Proxy:
    """See the module. It is used from one event loop. Raises DaemonUnavailable for roots that cannot be read."""

    def __init__(self, house: House, trust: Trust, settings: ProxySettings) -> None:
        self._house = house
        self._trust = trust
        self._settings = settings
        check_ca_files(settings.ca_files)
        self._clock = Clock()
        self._runs = Runs(settings.limits)
        self._pools: list[Pool | Http2Pool] = []
        self._server: asyncio.Server | None = None
        self._core: Core | None = None

    async def start(self, port: int = 0) -> int:
        """Listen on 127.0.0.1; 0 asks for any free port. Gives the port. Raises OSError where it is taken."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._accept, "127.0.0.1", port, backlog=_BACKLOG, start_serving=False)
        bound = int(self._server.sockets[0].getsockname()[1])
        self.prepare(bound)
        await self._server.start_serving()
        return bound

    async def share(self, listener: socket.socket) -> None:
        """Accept on a listening socket, as other processes may do too."""
        self.prepare(int(listener.getsockname()[1]))
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._accept, sock=listener, backlog=_BACKLOG)

    def prepare(self, bound: int) -> None:
        """All but listening. `bound` is the port on which the proxy listens, here or in other processes."""
        limits = self._settings.limits
        dialler = Dialler.of(self._settings, bound)
        pool = Pool(dialler, self._verified("http/1.1"), self._clock, limits)
        streams = Http2Pool(dialler, self._verified("h2"), self._clock, limits)
        self._pools = [pool, streams]
        self._core = Core(
            house=self._house,
            trust=self._trust,
            limits=limits,
            clock=self._clock,
            dialler=dialler,
            pool=pool,
            streams=streams,
            runs=self._runs,
        )

    def begin_run(self, run: Run) -> None:
        """Enter a run at its start: its hosts are those of this moment, even if it connects only later."""
        self._runs.begin(run, self._house.table())

    async def serve_isolated(self, run: Run, sockets: Sockets, hosts: frozenset[str]) -> None:
        """Serve the sockets that an isolated run has handed out; `hosts` are those that it may reach beside its own."""
        assert self._core is not None
        live = self._runs.begin(run, self._house.table())
        live.isolate(hosts)
        await serve_isolated(self._core, live, sockets)

    def end_run(self, run_id: str) -> None:
        """Close the run's connections and tunnels at once. The house no longer knows its token by now."""
        self._runs.end(run_id)
        self._trust.forget(run_id)

    def requests_of(self, run_id: str) -> int:
        """How many requests and tunnels the run has asked for."""
        return self._runs.requests_of(run_id)

    async def stop(self) -> None:
        """Listen no more and close everything."""
        if self._server is not None:
            self._server.close()
        self._runs.end_all()
        for pool in self._pools:
            await pool.close()
        self._clock.stop()
        if self._server is not None:
            await self._server.wait_closed()

    def _verified(self, protocol: str) -> LaterContext:
        return LaterContext(lambda: upstream_context(self._settings.ca_files, protocol))

    def _accept(self) -> ClientLeg:
        assert self._core is not None
        return ClientLeg(self._core)
