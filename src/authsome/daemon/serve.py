"""Two doors over one loop: the owner's Unix socket and the browser's loopback port.

uvicorn's protocol is used without its server: that one wakes up ten times a second and takes the signals.
"""

import asyncio
import logging
import os
import socket
import struct
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

log = logging.getLogger(__name__)

HEADER_TIME = 10.0
KEEP_ALIVE = 5


class BrowserProtocol(HttpToolsProtocol):
    """A connection that sends no request within ten seconds is closed (W13)."""

    _asked = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio.Protocol."""
        super().connection_made(transport)
        self.loop.call_later(HEADER_TIME, self._close_if_silent)

    def on_headers_complete(self) -> None:
        """See httptools."""
        self._asked = True
        super().on_headers_complete()

    def _close_if_silent(self) -> None:
        if not self._asked and not self.transport.is_closing():
            self.transport.abort()


class OwnerProtocol(HttpToolsProtocol):
    """Only processes of our own user get in; `scope["client"]` is `("pid", the caller's pid)` (P10)."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio.Protocol."""
        pid, uid = peer_of(transport.get_extra_info("socket"))
        if uid != os.getuid():
            log.warning("a process of user %d was turned away", uid)
            transport.abort()
            return
        super().connection_made(transport)
        self.client = ("pid", pid)

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

    def __init__(self, app: Any, protocol: type[HttpToolsProtocol]) -> None:
        self._config = Config(
            app,
            http=protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=KEEP_ALIVE,
            limit_concurrency=256,
        )
        self._config.load()
        self._protocol = protocol
        self._state = ServerState()
        self._server: asyncio.Server | None = None

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
