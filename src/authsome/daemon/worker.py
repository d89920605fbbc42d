"""`python -m authsome.daemon.worker CHANNEL LISTENER`: a proxy in a process of its own, which the daemon started.

Both are descriptors. It knows what the daemon has told it, keeps nothing, and ends with the daemon.
"""

import asyncio
import itertools
import logging
import os
import signal
import socket
import sys
from typing import NoReturn

from authsome.broker.offer import Offer
from authsome.daemon.channel import Channel
from authsome.daemon.messages import (
    Adopt,
    Begin,
    Configure,
    End,
    Ended,
    Garbage,
    Happened,
    Lend,
    Lent,
    Message,
    NotLent,
    Serve,
    Stop,
    Sync,
    Synced,
    Table,
    Up,
)
from authsome.daemon.setup import end_with_parent, loop_factory, set_up_process
from authsome.model.event import Event
from authsome.model.run import Run
from authsome.model.secret import Secret
from authsome.model.waiting import Noted, Waiting
from authsome.proxy.engine.ports import ProxySettings
from authsome.proxy.engine.proxy import Proxy
from authsome.proxy.engine.trust import Trust
from authsome.proxy.rules.table import RouteTable

log = logging.getLogger("authsome.daemon.worker")

BATCH = 100  # events in a message
DELAY = 0.05  # before events are told


class RemoteHouse:
    """What the proxy asks of the house (`proxy.engine.ports.House`): what the daemon told last, or tells when asked."""

    channel: Channel

    def __init__(self) -> None:
        self.offers: dict[tuple[str, str], Offer] = {}
        self.routes = RouteTable()
        self._runs: dict[bytes, Run] = {}
        self._numbers = itertools.count()
        self._asked: dict[int, asyncio.Future[Secret]] = {}
        self._waiting = Waiting()
        self._telling: asyncio.TimerHandle | None = None

    # what the proxy asks

    def table(self) -> RouteTable:
        """The routes as they are now."""
        return self.routes

    def run_of(self, token_digest: bytes) -> Run | None:
        """The live run of a proxy token."""
        return self._runs.get(token_digest)

    def lend_now(self, provider: str, connection: str) -> Secret | None:
        """See `Lender.lend_now`."""
        offer = self.offers.get((provider, connection))
        return None if offer is None else offer.fresh

    async def lend(self, provider: str, connection: str) -> Secret:
        """See `Lender.lend`."""
        return await self._ask(provider, connection, None)

    def can_renew(self, provider: str, connection: str, refused: Secret) -> bool:
        """See `Lender.can_renew`."""
        offer = self.offers.get((provider, connection))
        return offer is not None and offer.can_replace(refused)

    async def renew(self, provider: str, connection: str, refused: Secret) -> Secret:
        """See `Lender.renew`."""
        return await self._ask(provider, connection, refused)

    def record(self, event: Event) -> Noted:
        """Told to the daemon in a moment, a batch at once. Where too many wait they are told with less of each."""
        noted = self._waiting.note(event)
        if self._telling is None:
            self._telling = asyncio.get_running_loop().call_later(DELAY, self._tell_later)
        return noted

    # what the daemon tells

    def begin(self, run: Run) -> None:
        """Serve a run."""
        self._runs[run.token_digest] = run

    def end(self, run_id: str) -> None:
        """Know its token no longer."""
        self._runs = {digest: run for digest, run in self._runs.items() if run.id != run_id}

    def answer(self, number: int, answer: Secret | Exception) -> None:
        """To a question of ours, whose asker may have gone."""
        asked = self._asked.get(number)
        if asked is None or asked.done():
            return
        if isinstance(answer, Secret):
            asked.set_result(answer)
        else:
            asked.set_exception(answer)

    def tell_events(self) -> None:
        """Those that wait, now."""
        events = self._waiting.take()
        for first in range(0, len(events), BATCH):
            self.channel.send(Happened(tuple(events[first : first + BATCH])))

    def _tell_later(self) -> None:
        self._telling = None
        if self.channel.is_full:
            self._telling = asyncio.get_running_loop().call_later(DELAY, self._tell_later)
        else:
            self.tell_events()

    async def _ask(self, provider: str, connection: str, refused: Secret | None) -> Secret:
        number = next(self._numbers)
        self._asked[number] = asyncio.get_running_loop().create_future()
        try:
            self.channel.send(Lend(number, provider, connection, refused))
            return await self._asked[number]
        finally:
            del self._asked[number]


class Worker:
    """Does what the daemon says."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._house = RemoteHouse()
        self._trust = Trust()
        self._proxy: Proxy | None = None
        self._task: asyncio.Task[None] | None = None

    async def work(self, sock: socket.socket) -> None:
        """To the end of the channel."""
        self._house.channel = channel = Channel(self._take)
        await channel.open(sock)
        channel.send(Up())
        await channel.ended

    def _take(self, message: Message) -> None:
        house = self._house
        match message:
            case Configure(settings):
                self._proxy = Proxy(house, self._trust, ProxySettings.of(settings))
            case Adopt(certificate_pem, key):
                self._trust.adopt(certificate_pem, key)
            case Table(lendables, offers):
                house.routes, house.offers = RouteTable(lendables), offers
            case Begin(run):
                house.begin(run)
                self._ready.begin_run(run)
            case End(run_id):
                house.end(run_id)
                self._ready.end_run(run_id)
                house.tell_events()
                house.channel.send(Ended(run_id, self._ready.requests_of(run_id)))
            case Serve():
                self._task = asyncio.get_running_loop().create_task(self._serve())
            case Sync(number):
                house.tell_events()
                house.channel.send(Synced(number))
            case Lent(number, value):
                house.answer(number, value)
            case NotLent(number, error):
                house.answer(number, error)
            case Stop():
                self._task = asyncio.get_running_loop().create_task(self._stop())
            case _:
                raise Garbage

    @property
    def _ready(self) -> Proxy:
        if self._proxy is None:
            raise Garbage  # it has to be configured first
        return self._proxy

    async def _serve(self) -> None:
        try:
            await self._ready.share(self._listener)
        except OSError as error:
            log.error("the worker cannot accept: %s", error.strerror)
            self._house.channel.close()

    async def _stop(self) -> None:
        await self._ready.stop()
        self._house.tell_events()
        self._house.channel.close()


def main() -> NoReturn:
    """Whatever still runs in threads is not waited for: without the daemon there is nothing to do."""
    end_with_parent()
    set_up_process()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the daemon tells us what to do
    channel, listener = (socket.socket(fileno=int(number)) for number in sys.argv[1:])
    listener.setblocking(False)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(Worker(listener).work(channel))
        os._exit(0)


if __name__ == "__main__":
    main()
