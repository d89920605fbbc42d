"""Bytes passed both ways between two transports, unread: opaque tunnels, and what follows a 101."""

import asyncio
from typing import TYPE_CHECKING

from authsome.proxy.engine.leaving import close_in_time
from authsome.proxy.engine.outgoing import Outgoing
from authsome.proxy.engine.runs import Member

if TYPE_CHECKING:
    from authsome.proxy.engine.incoming import Incoming

_FAREWELL = 10.0


class End(asyncio.Protocol):
    """What reads one of the two transports and writes to the other.

    The client's end carries the `member`, whose deadline any byte in either direction moves.
    """

    __slots__ = ("_done", "_early", "_lost", "_silence", "_unread", "member", "other", "transport")

    def __init__(self, member: Member, silence: float) -> None:
        self.member = member
        self._silence = silence
        self.transport: asyncio.Transport | None = None
        self.other: End | None = None
        self._early: list[bytes] = []  # what came before there was another side
        self._done = self._lost = False
        self._unread = 0  # bytes that wait for this side to read

    def link(self, other: "End") -> None:
        """Relay to the other side from now on."""
        self.other = other
        for data in self._early:
            self.send_on(data)
        self._early = []
        if self._done:
            self.eof_received()

    def data_received(self, data: bytes) -> None:
        self.member.within(self._silence)
        self.send_on(data)

    def send_on(self, data: bytes) -> None:
        """Write to the other side."""
        if self.other is None or self.other.transport is None:
            self._early.append(data)
        else:
            self.other.transport.write(data)

    def eof_received(self) -> bool:
        """Half-close where both sides can, else the end."""
        other = self.other
        self._done = True
        if other is None or other.transport is None:
            return True
        if other._done or not other.transport.can_write_eof():
            other.transport.close()
            return False
        other.transport.write_eof()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        self.member.let_go(self._unread)
        other = self.other
        if other is None or other.transport is None or other._lost:
            self.member.gone()
            if other is not None:
                self.other = other.other = None  # or they would keep each other
            return
        if exc is None:
            self.leave(other.transport)
        else:
            other.transport.abort()

    def leave(self, transport: asyncio.Transport) -> None:
        """Close the other side once it has sent what it was given."""
        transport.close()

    def pause_writing(self) -> None:
        if self.transport is not None:
            self._unread = self.transport.get_write_buffer_size()
            if not self.member.keep(self._unread):
                self._unread = 0
                self.member.transport.abort()
        if self.other is not None and self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        self.member.let_go(self._unread)
        self._unread = 0
        if self.other is not None and self.other.transport is not None:
            self.other.transport.resume_reading()


class ClientEnd(End):
    """The end of the client, after whose loss nobody waits for what a server does not read."""

    __slots__ = ()

    def leave(self, transport: asyncio.Transport) -> None:
        """As `End.leave`. It counts as the run's until then, and ends with it."""
        if self.member.live is not None and self.member.live.is_over:
            transport.abort()
        self.member.transport = transport
        self.member.expire = transport.abort
        close_in_time(transport, _FAREWELL)


def join(incoming: "Incoming", connection: Outgoing, rest: bytes) -> None:
    """Relay between a client and a server that have both left HTTP. `rest` came after the server's answer."""
    member = incoming.member
    client, server = ClientEnd(member, incoming.limits.silence), End(member, incoming.limits.silence)
    client.transport, early = incoming.release()
    client.transport.set_protocol(client)
    server.transport = connection.hand_over(server)
    client.link(server)
    server.link(client)
    member.expire = member.transport.abort
    member.within(incoming.limits.silence)
    if rest:
        client.transport.write(rest)
    if early:
        server.transport.write(early)
    client.transport.resume_reading()
    server.transport.resume_reading()
