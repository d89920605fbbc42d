"""The worker processes, seen from the daemon: started, told what is so, asked to end, and started again when they die.

They run the proxy and nothing else. The daemon stays the one owner of the vault, of refreshes, runs and events.
"""

import asyncio
import contextlib
import itertools
import logging
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable
from typing import TypeVar

from authsome.broker.lending import Lender
from authsome.broker.record import Recorder
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
    ToWorker,
    Up,
    encode,
)
from authsome.daemon.runs import Runs
from authsome.errors import AuthsomeError
from authsome.model.run import Run
from authsome.model.secret import Secret
from authsome.settings import Settings, bare_environment

log = logging.getLogger(__name__)

BACKLOG = 1024
FIRST_PAUSE = 0.1  # before another is started
LONGEST_PAUSE = 30.0
STEADY = 60.0  # one that lived so long was no failure from the start
PATIENCE = 5.0

_Key = TypeVar("_Key")


class Workers:
    """All of them; none where the proxy runs in the daemon itself, and then nothing here costs anything."""

    def __init__(self, settings: Settings, lender: Lender, runs: Runs, recorder: Recorder) -> None:
        self.settings = settings
        self.lender = lender
        self.runs = runs
        self.recorder = recorder
        self._authorities: list[tuple[str, Secret]] = []
        self._workers: set[Worker] = set()
        self._keepers: list[asyncio.Task[None]] = []
        self._listener: socket.socket | None = None
        self._told = b""
        self._stopping = False
        self._complete = asyncio.Event()

    async def start(self, port: int = 0) -> int:
        """Listen on 127.0.0.1 and start the processes, which take the connections as soon as they can.

        0 asks for any free port. Gives the port. Raises OSError where it is taken.
        """
        self._listener = socket.create_server(("127.0.0.1", port), backlog=BACKLOG)
        self._listener.setblocking(False)
        self.lender.on_change = self._changed
        for _ in range(self.settings.workers):
            self._keepers.append(asyncio.get_running_loop().create_task(self._keep()))
        return int(self._listener.getsockname()[1])

    async def up(self, seconds: float) -> None:
        """Wait until all serve, at most so long: connections wait for them, so late ones are no failure."""
        if self._keepers:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._complete.wait(), seconds)

    @property
    def pids(self) -> list[int]:
        """The processes that serve."""
        return sorted(worker.pid for worker in self._up())

    def adopt(self, certificate_pem: str, key: Secret) -> None:
        """One more interception authority."""
        self._authorities.append((certificate_pem, key))
        self._tell(Adopt(certificate_pem, key))

    def begin_run(self, run: Run) -> None:
        """See `Proxy.begin_run`. They know it for sure once all is `settled`."""
        self._tell(Begin(run))

    def end_run(self, run_id: str) -> Awaitable[int]:
        """Tell them now. Once awaited: how many requests and tunnels they have served for it, together."""
        return _sum([worker.end(run_id) for worker in self._up()])

    async def settled(self) -> None:
        """Wait until all that they were told is so. One that does not answer in time is ended, and so serves nobody."""
        asked = {worker.sync(): worker for worker in self._up()}
        if asked:
            _, late = await asyncio.wait(asked, timeout=PATIENCE)
            for each in late:
                log.warning("worker %d does not answer", asked[each].pid)
                asked[each].kill()

    async def stop(self, seconds: float) -> None:
        """End them all, within this time by their own doing."""
        self._stopping = True
        self._tell(Stop())
        there = list(self._workers)
        ending = [worker.channel.ended for worker in self._up()]
        if ending:
            await asyncio.wait(ending, timeout=seconds)
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        await asyncio.gather(*(worker.end_process() for worker in there))  # a keeper is cancelled while it does so
        if self._listener is not None:
            self._listener.close()

    def state(self) -> bytes:
        """The table and the offers of this moment, encoded."""
        self._told = encode(Table(self.lender.table().lendables, self.lender.offers()))
        return self._told

    def introduce(self, worker: "Worker") -> None:
        """Tell a new one everything."""
        channel = worker.channel
        channel.send(Configure(self.settings))
        for certificate_pem, key in self._authorities:
            channel.send(Adopt(certificate_pem, key))
        channel.send_encoded(self.state())
        for run in self.runs.live():
            channel.send(Begin(run))
        channel.send(Serve())
        if len(self._up()) >= self.settings.workers:
            self._complete.set()

    def _changed(self) -> None:
        """Tell what is not as it was."""
        there = self._up()
        if there:
            before = self._told
            text = self.state()
            for worker in there if text != before else ():
                worker.channel.send_encoded(text)

    def _tell(self, message: ToWorker) -> None:
        for worker in self._up():
            worker.channel.send(message)

    def _up(self) -> list["Worker"]:
        """Those that have been introduced; the others will be told everything then, and serve nobody before."""
        return [worker for worker in self._workers if worker.is_up]

    async def _keep(self) -> None:
        """One worker after the other."""
        pause = FIRST_PAUSE
        while not self._stopping:
            began = time.monotonic()
            try:
                await self._live()
            except OSError as error:
                log.error("no worker can be started: %s", error.strerror)
            pause = FIRST_PAUSE if time.monotonic() - began > STEADY else min(2 * pause, LONGEST_PAUSE)
            await asyncio.sleep(pause)

    async def _live(self) -> None:
        """The whole life of one. Raises OSError where it cannot be started."""
        assert self._listener is not None
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                process = _spawn(theirs, self._listener, self.settings.home)
        except OSError:
            ours.close()
            raise
        worker = Worker(self, process)
        self._workers.add(worker)
        try:
            await worker.listen(ours)
        finally:
            self._workers.discard(worker)
            status = await worker.end_process()
            if not self._stopping:
                log.warning("worker %d ended (%s); another takes its place", worker.pid, _told(status))


class Worker:
    """One process. `is_up` says that it has been told everything."""

    def __init__(self, house: Workers, process: "subprocess.Popen[bytes]") -> None:
        self._house = house
        self._process = process
        self._numbers = itertools.count()
        self._syncs: dict[int, asyncio.Future[int]] = {}
        self._endings: dict[str, asyncio.Future[int]] = {}
        self._lending: set[asyncio.Task[Secret]] = set()
        self.channel = Channel(self._take)
        self.pid = process.pid
        self.is_up = False

    async def listen(self, sock: socket.socket) -> None:
        """To the end of the channel."""
        await self.channel.open(sock)
        try:
            await self.channel.ended
        finally:
            self.channel.abort()

    def sync(self) -> asyncio.Future[int]:
        """Done once all that it was told before is so."""
        number = next(self._numbers)
        self.channel.send(Sync(number))
        return _expect(self._syncs, number)

    def end(self, run_id: str) -> asyncio.Future[int]:
        """Let it end a run; done with the number of requests that it has served."""
        self.channel.send(End(run_id))
        return _expect(self._endings, run_id)

    def kill(self) -> None:
        """End it at once; it is reaped as any other that dies."""
        self._process.kill()

    async def end_process(self) -> int:
        """However it came to this: nobody waits for it any longer, and the process is gone after. Its status."""
        self.is_up = False
        for future in [*self._syncs.values(), *self._endings.values()]:
            if not future.done():
                future.set_result(0)
        self.kill()
        return await asyncio.to_thread(self._process.wait)

    def _take(self, message: Message) -> None:
        match message:
            case Up() if not self.is_up:
                self.is_up = True
                self._house.introduce(self)
            case Lend():
                task = asyncio.get_running_loop().create_task(self._lend(message))
                self._lending.add(task)
                task.add_done_callback(lambda done: self._lent(message, done))
            case Happened(events):
                for event in events:
                    self._house.recorder.record(event)
            case Synced(number):
                _answer(self._syncs, number, 0)
            case Ended(run_id, requests):
                _answer(self._endings, run_id, requests)
            case _:
                raise Garbage

    async def _lend(self, asked: Lend) -> Secret:
        lender = self._house.lender
        if asked.refused is None:
            return await lender.lend(asked.provider, asked.connection)
        return await lender.renew(asked.provider, asked.connection, asked.refused)

    def _lent(self, asked: Lend, task: asyncio.Task[Secret]) -> None:
        self._lending.discard(task)
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is None:
            self.channel.send(Lent(asked.number, task.result()))
            return
        if not isinstance(error, AuthsomeError):
            log.error("lending failed: %s", type(error).__name__)
            error = AuthsomeError("the credential could not be had", "authsome doctor")
        self.channel.send(NotLent(asked.number, error))


def _spawn(channel: socket.socket, listener: socket.socket, home: str) -> "subprocess.Popen[bytes]":
    """It is killed when the thread that starts it ends, so that has to be the daemon's main one."""
    descriptors = channel.fileno(), listener.fileno()
    command = [sys.executable, "-P", "-m", "authsome.daemon.worker", *map(str, descriptors)]
    return subprocess.Popen(  # noqa: S603
        command, stdin=subprocess.DEVNULL, env=bare_environment(home), pass_fds=descriptors
    )


def _expect(waiting: dict[_Key, asyncio.Future[int]], key: _Key) -> asyncio.Future[int]:
    waiting[key] = asyncio.get_running_loop().create_future()
    return waiting[key]


def _answer(waiting: dict[_Key, asyncio.Future[int]], key: _Key, value: int) -> None:
    """Raises Garbage where nothing was asked."""
    future = waiting.pop(key, None)
    if future is None:
        raise Garbage
    if not future.done():
        future.set_result(value)


async def _sum(answers: list[asyncio.Future[int]]) -> int:
    """Of those that come in time."""
    if not answers:
        return 0
    done, _ = await asyncio.wait(answers, timeout=PATIENCE)
    return sum(each.result() for each in done)


def _told(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"status {status}"
