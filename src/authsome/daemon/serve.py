"""Two doors over one loop: the owner's Unix socket and the browser's loopback port.

uvicorn's protocol is used without its server: that one wakes up ten times a second and takes the signals.
"""

import asyncio
import logging
import os
import socket
import struct
from collections.abc import MutableMapping
from typing import Any, NoReturn

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from authsome.daemon import processes
from authsome.daemon.guard import App, Receive, Send, crowded, plain_head

log = logging.getLogger(__name__)

HEADER_TIME = 10.0
HEAD_LIMIT = 64 << 10
MOST_FIELDS = 128
MOST_WAITING = 8  # requests on one connection, before the answers to those in front of them
KEEP_ALIVE = 5
MOST_CONNECTIONS = 256  # more are told that there is no room; twice as many, and nobody gets in


class BoundedProtocol(HttpToolsProtocol):
    """A head has to be whole within ten seconds and 64 KiB (W13); for bodies see `guard.bounded`.

    uvicorn's own timer ends a connection on which nothing happens after an answer, and never one on which a byte
    comes now and then: empty lines, or a body that was refused. Those have the same ten seconds. It keeps as many
    fields, requests and trailers as somebody cares to send; here each has its bound. A body in chunks, which alone
    has trailers, no client of ours sends.
    """

    _deadline: asyncio.TimerHandle | None = None
    _in_head = True
    _has_ended = False
    _head_size = 0
    _refusal: tuple[int, str] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio.Protocol."""
        super().connection_made(transport)
        self._expect_head()
        if len(self.connections) > 2 * MOST_CONNECTIONS:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self.transport.is_closing():
            return
        if self._deadline is None and self.cycle is not None and self.cycle.response_complete:
            self._expect_head()
        was_in_head, self._has_ended = self._in_head, False
        super().data_received(data)
        if not (was_in_head and self._in_head) or self._has_ended:  # then most of it was something else
            self._head_size = 0
            return
        self._head_size += len(data)
        if self._head_size > HEAD_LIMIT:
            self.transport.abort()

    def on_header(self, name: bytes, value: bytes) -> None:
        """See httptools. What is raised here and below ends in `send_400_response`."""
        if len(self.headers) == MOST_FIELDS:
            self._refuse(431, "there are too many header fields")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """See httptools."""
        self._in_head = False
        self._stop_waiting()
        if not self.url.startswith(b"/"):  # one that names a host of its own would go past the check of Host (P7)
            raise ValueError("the target is not a path")
        if any(name == b"transfer-encoding" for name, _ in self.headers):
            self._refuse(411, "a body is taken only with its length")
        if len(self.pipeline) == MOST_WAITING:
            raise ValueError("too many requests are waiting")
        super().on_headers_complete()
        if self.parser.should_upgrade():  # what comes after it is not read any more
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        """See httptools."""
        self._in_head = self._has_ended = True
        self._stop_waiting()
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """See uvicorn, whose own answer lacks what every answer of ours carries (P9)."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.transport.abort()  # it would be taken for the answer to the request before
            return
        status, text = self._refusal or (400, msg)
        self.transport.write(plain_head(STATUS_LINE[status], len(text)) + text.encode())
        self.transport.close()

    def _unsupported_upgrade_warning(self) -> None:
        """Nothing is to be said: whoever asks is answered all the same, and could fill the log with it."""

    def _refuse(self, status: int, text: str) -> NoReturn:
        self._refusal = (status, text)
        raise ValueError(text)

    def _expect_head(self) -> None:
        self._deadline = self.loop.call_later(HEADER_TIME, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class OwnerProtocol(BoundedProtocol):
    """Only processes of our own user get in (P10).

    `scope["client"]` is when the caller began, as text, and its pid: a connection that outlives its process must not
    be taken for that of whoever gets the number next.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio.Protocol."""
        pid, uid = peer_of(transport.get_extra_info("socket"))
        if uid != os.getuid():
            log.warning("a process of user %d was turned away", uid)
            transport.abort()
            return
        super().connection_made(transport)
        self.client = (str(processes.started(pid)), pid)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self.client is not None:
            super().data_received(data)


def peer_of(sock: Any) -> tuple[int, int]:
    """Process and user at the other end of a Unix socket; the pid is 0 where the system does not tell."""
    if hasattr(socket, "SO_PEERCRED"):
        pid, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return int(pid), int(uid)
    # LOCAL_PEERCRED of the BSDs and macOS: struct xucred { version, uid, … }; LOCAL_PEERPID is option 2
    uid = struct.unpack("2I", sock.getsockopt(0, 1, 8))[1]
    pid = struct.unpack("i", sock.getsockopt(0, 2, 4))[0]
    return int(pid), int(uid)


class Door:
    """One listening socket with an ASGI application behind it."""

    def __init__(self, app: App, protocol: type[BoundedProtocol]) -> None:
        self._app = app
        self._config = Config(
            self._admit,
            interface="asgi3",
            http=protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=KEEP_ALIVE,
        )
        self._config.load()
        self._protocol = protocol
        self._state = ServerState()
        self._server: asyncio.Server | None = None

    async def _admit(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """In place of uvicorn's own limit, whose refusal goes around the application and what that adds."""
        is_full = len(self._state.connections) > MOST_CONNECTIONS
        await (crowded if is_full else self._app)(scope, receive, send)

    async def open(self, sock: socket.socket) -> None:
        """Serve a bound socket."""
        loop = asyncio.get_running_loop()

        def make() -> asyncio.Protocol:
            return self._protocol(self._config, self._state, {}, loop)

        if sock.family == socket.AF_UNIX:
            self._server = await loop.create_unix_server(make, sock=sock)
        else:
            self._server = await loop.create_server(make, sock=sock)

    async def close(self, seconds: float) -> None:
        """Take no more, let answers in progress end, then cut."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._state.connections):
            connection.shutdown()
        waiting = [task for task in self._state.tasks if task is not asyncio.current_task()]
        if waiting:
            await asyncio.wait(waiting, timeout=seconds)
