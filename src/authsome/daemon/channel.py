"""The channel between the daemon and one worker: a pair of sockets that only these two processes hold."""

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import cast

from authsome.daemon.messages import Garbage, Message, decode, encode

log = logging.getLogger(__name__)

LONGEST = 16 << 20
_PREFIX = 4  # bytes of a message's length, the greatest first


class Channel(asyncio.Protocol):
    """`take` is given each message. Garbage ends the channel; `take` may raise it too."""

    def __init__(self, take: Callable[[Message], None]) -> None:
        self._take = take
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self.is_full = False
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def open(self, sock: socket.socket) -> None:
        """On one of a pair of connected sockets, which is the channel's from here on."""
        sock.setblocking(False)
        try:
            await asyncio.get_running_loop().create_unix_connection(lambda: self, sock=sock)
        except BaseException:
            sock.close()
            raise

    def send(self, message: Message) -> None:
        """Never waits; `is_full` tells that the other side does not keep up."""
        self.send_encoded(encode(message))

    def send_encoded(self, text: bytes) -> None:
        """What `encode` gave, for more than one channel."""
        if self._transport is None or self._transport.is_closing():
            return
        if len(text) > LONGEST:
            log.error("a message of %d bytes is too long", len(text))
            self.abort()
            return
        self._transport.write(len(text).to_bytes(_PREFIX, "big") + text)

    def close(self) -> None:
        """Once everything is written."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """At once."""
        self._buffer.clear()
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self._buffer += data
        try:
            while (end := self._end()) and not self.ended.done():
                message = decode(self._buffer[_PREFIX:end])
                del self._buffer[:end]
                self._take(message)
        except Garbage:
            log.error("a message cannot be read")
            self.abort()

    def _end(self) -> int:
        """Where the first message ends, 0 while it is not all there. Raises Garbage where it is too long."""
        if len(self._buffer) < _PREFIX:
            return 0
        end = _PREFIX + int.from_bytes(self._buffer[:_PREFIX], "big")
        if end > _PREFIX + LONGEST:
            raise Garbage
        return end if len(self._buffer) >= end else 0

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        self.is_full = True

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        self.is_full = False

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        if not self.ended.done():
            self.ended.set_result(None)
