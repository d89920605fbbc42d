"""Where an isolated run hands out the listening sockets of its own network, for the proxy to accept on directly.

A Unix socket of its own, because an HTTP exchange carries no descriptors. Who hands them over has to be the very
process of the run, know the run's token, which its command never gets, and be of our user; the sockets have to be of
another network than ours, so that nobody but the run can connect to them.
"""

import array
import asyncio
import contextlib
import hashlib
import json
import logging
import os
import socket
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from authsome.daemon.serve import peer_of
from authsome.errors import AuthsomeError, NotAllowed, UsageError
from authsome.model.authority import BadAuthority, normal_host
from authsome.model.run import Run
from authsome.proxy.engine.transparent import Sockets

log = logging.getLogger(__name__)

_LONGEST = 65536
_SECONDS = 10.0
_MOST_HOSTS = 256
_SO_NETNS_COOKIE = 71  # Linux 5.14
_PORTS = (0, 443, 80, 53, 53)  # of `Sockets`; the first may be any
_KINDS = (*[socket.SOCK_STREAM] * 4, socket.SOCK_DGRAM)


class Handed(NamedTuple):
    """What a run hands over, and the hosts that it may reach beside those of what is lent to it."""

    sockets: Sockets
    hosts: frozenset[str]


class Handover:
    """`run_of` finds the live run of a token's digest; `serve` is told of what came."""

    def __init__(self, run_of: Callable[[bytes], Run | None], serve: Callable[[Run, Handed], Awaitable[None]]) -> None:
        self._run_of = run_of
        self._serve = serve
        self._served: set[str] = set()
        self._listener: socket.socket | None = None
        self._open: set[socket.socket] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def open(self, listener: socket.socket) -> None:
        """Serve a listening Unix socket of packets, which is not blocking."""
        self._listener = listener
        asyncio.get_running_loop().add_reader(listener, self._accept)

    def ended(self, run_id: str) -> None:
        """Forget a run."""
        self._served.discard(run_id)

    def close(self) -> None:
        """Take no more, and let those who have handed over know."""
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
        for task in self._tasks:
            task.cancel()
        for sock in list(self._open):
            self._forget(sock)

    def _accept(self) -> None:
        assert self._listener is not None
        with contextlib.suppress(OSError):
            sock, _ = self._listener.accept()
            sock.setblocking(False)
            self._open.add(sock)
            task = asyncio.get_running_loop().create_task(self._converse(sock))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _converse(self, sock: socket.socket) -> None:
        """One handover. The connection then stays open: its end tells the run that it needs another daemon."""
        said: dict[str, object] = {}
        try:
            await self._take(sock)
        except AuthsomeError as error:
            log.warning("a handover was refused: %s", error.message)
            said = error.to_json()
        except (OSError, TimeoutError) as error:
            log.warning("a handover failed: %s", type(error).__name__)
            said = AuthsomeError("the sockets could not be handed over").to_json()
        with contextlib.suppress(OSError):
            sock.send(json.dumps(said).encode())
            if not said:
                asyncio.get_running_loop().add_reader(sock, self._forget, sock)
                return
        self._forget(sock)

    async def _take(self, sock: socket.socket) -> None:
        pid, uid = peer_of(sock)
        if uid != os.getuid():
            raise NotAllowed(f"a process of user {uid} is not served")
        async with asyncio.timeout(_SECONDS):
            await _readable(sock)
        message, sockets = _receive(sock)
        try:
            run, hosts = self._read(message, pid)
            _check(sockets)
            self._served.add(run.id)  # at once: what has come twice is refused
            await self._serve(run, Handed(Sockets(*sockets), hosts))
        except BaseException:
            for each in sockets:
                each.close()
            raise

    def _read(self, message: bytes, pid: int) -> tuple[Run, frozenset[str]]:
        try:
            said = json.loads(message)
            token, hosts = said["token"], said["hosts"]
            if not isinstance(token, str) or not isinstance(hosts, list) or len(hosts) > _MOST_HOSTS:
                raise TypeError
        except (ValueError, KeyError, TypeError):
            raise UsageError("that is no handover") from None
        run = self._run_of(hashlib.sha256(token.encode()).digest())
        if run is None or run.pid != pid:
            raise NotAllowed("only a run's own process hands its sockets over")
        if run.id in self._served:
            raise NotAllowed("the run has handed its sockets over already")
        return run, frozenset(map(normal_pattern, hosts))

    def _forget(self, sock: socket.socket) -> None:
        asyncio.get_running_loop().remove_reader(sock)
        self._open.discard(sock)
        sock.close()


def normal_pattern(text: object) -> str:
    """A host, or `*.` and a domain, in its one spelling. Raises UsageError."""
    wild = "*." if str(text).startswith("*.") else ""
    try:
        return wild + normal_host(str(text).removeprefix("*."))
    except BadAuthority as error:
        raise UsageError(
            f"--allow-host {str(text)[:80]}: {error}", "expected a host, such as example.org, or *.example.org"
        ) from None


def _receive(sock: socket.socket) -> tuple[bytes, list[socket.socket]]:
    """The one message and the sockets that came with it."""
    descriptors = array.array("i")
    space = socket.CMSG_SPACE(len(Sockets._fields) * descriptors.itemsize)
    message, ancillary, flags, _ = sock.recvmsg(_LONGEST, space, socket.MSG_CMSG_CLOEXEC)
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    sockets = []
    for number in descriptors:
        try:
            sockets.append(socket.socket(fileno=number))
        except OSError:  # it is none
            os.close(number)
    if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
        for each in sockets:
            each.close()
        raise UsageError("that is no handover")
    return message, sockets


def _check(sockets: list[socket.socket]) -> None:
    """Raises NotAllowed unless they are what an isolated run makes, in another network than ours."""
    ours = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    with ours:
        network = _network(ours)
    if len(sockets) != len(Sockets._fields):
        raise NotAllowed("these are not the sockets of a run")
    for sock, kind, port in zip(sockets, _KINDS, _PORTS, strict=True):
        listens = kind == socket.SOCK_DGRAM or bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
        if sock.family != socket.AF_INET or sock.type != kind or not listens or _network(sock) == network:
            raise NotAllowed("these are not the sockets of a run")
        if port and sock.getsockname()[1] != port:
            raise NotAllowed("these are not the sockets of a run")
        sock.setblocking(False)


def _network(sock: socket.socket) -> int:
    """The number of a socket's network namespace. Raises NotAllowed where the kernel does not tell."""
    try:
        return int.from_bytes(sock.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8), "little")
    except OSError:
        raise NotAllowed("--isolate needs Linux 5.14 or later") from None


async def _readable(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    came = asyncio.Event()
    loop.add_reader(sock, came.set)
    try:
        await came.wait()
    finally:
        loop.remove_reader(sock)
