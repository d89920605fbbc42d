"""Bytes passed both ways between two transports, unread: opaque tunnels, and what follows a 101."""

import asyncio
from typing import TYPE_CHECKING

from authsome.proxy.engine.outgoing import Outgoing
from authsome.proxy.engine.runs import Member

if TYPE_CHECKING:
    from authsome.proxy.engine.incoming import Incoming


class End(asyncio.Protocol):
    """What reads one of the two transports and writes to the other.

    The client's end carries the `member`, whose deadline any byte in either direction moves.
    """

    __slots__ = ("_done", "_early", "_silence", "member", "other", "transport")

    def __init__(self, member: Member, silence: float) -> None:
        self.member = member
        self._silence = silence
        self.transport: asyncio.Transport | None = None
        self.other: End | None = None
        self._early: list[bytes] = []  # what came before there was another side
        self._done = False

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
        other, self.other = self.other, None
        if other is not None and other.transport is not None:
            other.transport.close() if exc is None else other.transport.abort()
        self.left()

    def left(self) -> None:
        """Told of the end of this side."""

    def pause_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.resume_reading()


class ClientEnd(End):
    """The end whose loss is the loss of the client's connection."""

    __slots__ = ()

    def left(self) -> None:
        """As `End.left`."""
        self.member.gone()


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
