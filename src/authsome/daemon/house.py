"""The composition root: everything the daemon is made of, wired once."""

import asyncio
from dataclasses import dataclass

from authsome.broker.broker import Broker
from authsome.broker.fetch import Fetcher
from authsome.broker.record import Recorder
from authsome.broker.store import Store
from authsome.catalog.catalog import Catalog
from authsome.daemon.approvals import Approvals
from authsome.daemon.handover import Handover
from authsome.daemon.runs import Runs
from authsome.daemon.sessions import Sessions
from authsome.daemon.workers import Workers
from authsome.model.event import Event
from authsome.model.run import Run
from authsome.model.secret import Secret
from authsome.model.waiting import Noted
from authsome.proxy.engine.proxy import Proxy
from authsome.proxy.engine.trust import Trust
from authsome.proxy.rules.table import RouteTable
from authsome.settings import Settings


@dataclass(slots=True, kw_only=True)
class House:
    """The fields are the whole state of a daemon. Times are seconds since the epoch.

    Where there are `workers`, `proxy` listens nowhere and serves the runs that handed their sockets over.
    """

    settings: Settings
    store: Store
    catalog: Catalog
    recorder: Recorder
    fetch: Fetcher
    broker: Broker
    sessions: Sessions
    approvals: Approvals
    runs: Runs
    handover: Handover
    trust: Trust
    proxy: Proxy
    workers: Workers
    proxy_port: int
    started_at: float
    stopping: asyncio.Event


class Ports:
    """What the proxy asks of the house (`proxy.engine.ports.House`)."""

    def __init__(self, broker: Broker, runs: Runs, recorder: Recorder) -> None:
        self._lender = broker.lender
        self._runs = runs
        self._recorder = recorder

    def table(self) -> RouteTable:
        """The routes as they are now."""
        return self._lender.table()

    def run_of(self, token_digest: bytes) -> Run | None:
        """The live run of a proxy token."""
        return self._runs.of_token(token_digest)

    def lend_now(self, provider: str, connection: str) -> Secret | None:
        """See `Lender.lend_now`."""
        return self._lender.lend_now(provider, connection)

    async def lend(self, provider: str, connection: str) -> Secret:
        """See `Lender.lend`."""
        return await self._lender.lend(provider, connection)

    def can_renew(self, provider: str, connection: str, refused: Secret) -> bool:
        """See `Lender.can_renew`."""
        return self._lender.can_renew(provider, connection, refused)

    async def renew(self, provider: str, connection: str, refused: Secret) -> Secret:
        """See `Lender.renew`."""
        return await self._lender.renew(provider, connection, refused)

    def record(self, event: Event) -> Noted:
        """See `Recorder.record`."""
        return self._recorder.record(event)
