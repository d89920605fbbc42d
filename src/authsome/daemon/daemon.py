"""The life of a daemon: take the lock, open the doors, serve, and leave nothing unfinished."""

import asyncio
import gc
import logging
import os
import signal
import socket
import stat
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from authsome.broker.broker import Broker
from authsome.broker.fetch import Fetcher
from authsome.broker.record import Recorder
from authsome.broker.store import Store
from authsome.catalog.catalog import Catalog
from authsome.daemon.api.app import owner_app
from authsome.daemon.approvals import Approvals
from authsome.daemon.authority import open_trust
from authsome.daemon.doctor import rules_for_nobody
from authsome.daemon.guard import BodyLimit, Guard
from authsome.daemon.handover import Handover
from authsome.daemon.house import House, Ports
from authsome.daemon.pages import browser_app
from authsome.daemon.ports import bind, told
from authsome.daemon.runs import Runs
from authsome.daemon.serve import BoundedProtocol, Door, OwnerProtocol
from authsome.daemon.sessions import Sessions
from authsome.daemon.workers import Workers
from authsome.errors import DaemonUnavailable
from authsome.proxy.engine.ports import ProxySettings
from authsome.proxy.engine.proxy import Proxy
from authsome.settings import Settings
from authsome.vault.vault import Vault

log = logging.getLogger(__name__)

GRACE = 5.0
WORKERS_SECONDS = 4.0  # the starter waits 10
PROXY_PORT = "proxy_port"


def prepare_home(settings: Settings) -> None:
    """The directories of a home, 0700 from creation, none of them a link (P11). Raises DaemonUnavailable."""
    home = Path(settings.home)
    for path in (home, home / "run", home / "logs", home / "providers"):
        try:
            path.mkdir(mode=0o700, parents=path == home, exist_ok=True)
            there = path.lstat()
            owner = path.stat().st_uid
        except OSError as error:
            raise DaemonUnavailable(f"{path}: {error.strerror}", "check the path and its permissions") from None
        if not stat.S_ISDIR(there.st_mode) and path != home:
            raise DaemonUnavailable(f"{path} is not a directory", "move it away")
        if owner != os.getuid():
            raise DaemonUnavailable(f"{path} belongs to another user", "set AUTHSOME_HOME to a directory of your own")


async def serve(settings: Settings, ready: Callable[[], None]) -> None:
    """Serve until asked to stop. The lock is held by the caller. Raises DaemonUnavailable, VaultError, PortTaken."""
    page_socket = bind(settings.host, settings.port, variable="AUTHSOME_PORT")
    vault = await asyncio.to_thread(Vault.open, settings)
    house = await _compose(settings, Store(vault))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, house.stopping.set)
    hosts = [f"{name}:{settings.port}" for name in ("127.0.0.1", "localhost", "[::1]")]
    pages = Door(Guard(browser_app(house.sessions), hosts), BoundedProtocol)
    owner = Door(BodyLimit(owner_app(house)), OwnerProtocol)
    await pages.open(page_socket)
    await owner.open(_owner_socket(settings.socket_path))
    house.handover.open(_owner_socket(settings.handover_path, socket.SOCK_SEQPACKET))
    log.info("serving %s", settings.home)
    for name, why, _ in rules_for_nobody(house):
        log.warning("config.toml: reveal: the rule for %r holds for nothing: %s", name, why)
    await house.workers.up(WORKERS_SECONDS)
    gc.freeze()  # what is there now stays: to look through all of it again would stop everything for 30 ms
    ready()
    await house.stopping.wait()
    log.info("stopping")
    await _close(house, [owner, pages])


async def _compose(settings: Settings, store: Store) -> House:
    catalog = Catalog(Path(settings.path("providers")))
    recorder = Recorder(store)
    outward = ProxySettings.of(settings)
    if outward.egress.fault:
        log.warning("%s", outward.egress.fault)
    fetch = Fetcher(settings.ca_files, settings.resolve, outward.egress)
    broker = Broker(store, catalog, fetch, recorder, redirect_uri=settings.redirect_uri)
    await broker.lender.load()
    runs = Runs(Path(settings.path("run")), store, recorder)
    workers = Workers(settings, broker.lender, runs, recorder)
    trust = await open_trust(store, workers.adopt)
    proxy = Proxy(Ports(broker, runs, recorder), trust, outward)
    handover = Handover(runs.of_token, lambda run, handed: proxy.serve_isolated(run, handed.sockets, handed.hosts))

    def end_run(run_id: str) -> Awaitable[int]:
        served = workers.end_run(run_id)
        proxy.end_run(run_id)
        handover.ended(run_id)
        return _plus(proxy.requests_of(run_id), served)

    runs.on_end = end_run
    await runs.take_over()
    return House(
        settings=settings,
        store=store,
        catalog=catalog,
        recorder=recorder,
        fetch=fetch,
        broker=broker,
        approvals=Approvals(settings.reveal, recorder.record),
        sessions=Sessions(broker, fetch, settings.redirect_uri),
        runs=runs,
        handover=handover,
        trust=trust,
        proxy=proxy,
        workers=workers,
        proxy_port=await _start_proxy(proxy, workers, settings, store),
        started_at=time.time(),
        stopping=asyncio.Event(),
    )


async def _plus(here: int, elsewhere: Awaitable[int]) -> int:
    return here + await elsewhere


async def _start_proxy(proxy: Proxy, workers: Workers, settings: Settings, store: Store) -> int:
    """In this process, or in those of the workers."""
    if settings.workers == 1:
        return await _listen(proxy.start, settings, store)
    port = await _listen(workers.start, settings, store)
    proxy.prepare(port)
    return port


async def _listen(start: Callable[[int], Awaitable[int]], settings: Settings, store: Store) -> int:
    """On the port that was asked for, else on the one used last: runs that outlive a restart know it."""
    if settings.proxy_port:
        try:
            return await start(settings.proxy_port)
        except OSError as error:
            raise told(error, settings.proxy_port, "AUTHSOME_PROXY_PORT") from None
    last = await store(lambda vault: vault.setting(PROXY_PORT))
    try:
        port = await start(int(last or 0))
    except OSError:
        port = await start(0)
    if str(port) == last:
        return port
    await store(lambda vault: vault.keep_setting(PROXY_PORT, str(port)))
    return port


def _owner_socket(path: str, kind: int = socket.SOCK_STREAM) -> socket.socket:
    """The Unix socket; one that is left over is ours to remove, for the lock is ours."""
    _take_down(path)
    sock = socket.socket(socket.AF_UNIX, kind)
    before = os.umask(0o177)
    try:
        sock.bind(path)
    except OSError as error:
        raise DaemonUnavailable(f"{path}: {error.strerror}", "a shorter AUTHSOME_HOME may help") from None
    finally:
        os.umask(before)
    sock.listen(128)
    sock.setblocking(False)
    return sock


def _take_down(path: str) -> None:
    Path(path).unlink(missing_ok=True)


async def _close(house: House, doors: list[Door]) -> None:
    """In the order in which things depend on each other; within a few seconds, nothing lost (V30)."""
    _take_down(house.settings.socket_path)
    _take_down(house.settings.handover_path)
    house.handover.close()
    await house.sessions.stop()
    for door in doors:
        await door.close(GRACE)
    await house.broker.lender.settle(GRACE)
    await house.runs.stop()
    await house.proxy.stop()
    await house.workers.stop(GRACE)
    await house.recorder.flush()
    await asyncio.to_thread(house.store.close)
