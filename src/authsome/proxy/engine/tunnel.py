"""Opaque tunnels to hosts that no provider routes: the child sees the real certificate, we see no plaintext (X79)."""

import asyncio
import contextlib
import socket

from authsome.model.authority import Authority, BadAuthority, normal_host
from authsome.proxy.engine.core import Core
from authsome.proxy.engine.dial import CannotDial, Origin
from authsome.proxy.engine.refusals import Refusal
from authsome.proxy.engine.relay import ClientEnd, End
from authsome.proxy.engine.runs import LiveRun, Member
from authsome.proxy.rules.address import Purpose
from authsome.proxy.rules.hello import Hello, server_name

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


class TunnelEnd(ClientEnd):
    """The client's end of a tunnel: first it dials, then it looks at the server name, then it only relays.

    It is `announced` to a client that asked for it by CONNECT.
    """

    __slots__ = ("_announced", "_authority", "_core", "_hello", "_live", "_server", "_task", "_tcp")

    def __init__(
        self, core: Core, member: Member, live: LiveRun, authority: Authority, *, announced: bool = True
    ) -> None:
        super().__init__(member, core.limits.silence)
        self._announced = announced
        self._core = core
        self._live = live
        self._authority = authority
        self._hello: bytes | None = b""  # None once it is judged
        self._server = End(member, core.limits.silence)
        self._tcp = member.transport
        self._task: asyncio.Task[None] | None = None

    def begin(self, early: bytes) -> None:
        """Take the client's connection over. `early` is what it sent after its CONNECT."""
        self._hello = early
        self.transport = self._tcp
        self.transport.set_protocol(self)
        self.transport.pause_reading()
        self.member.expire = self._tcp.abort
        self.member.within(self._core.limits.connect_time + 5)
        self._task = asyncio.get_running_loop().create_task(self._dial())

    async def _dial(self) -> None:
        origin = Origin(self._authority.host, self._authority.port, secure=False)
        try:
            purpose = Purpose.ISOLATED_TUNNEL if self._live.terms.isolated else Purpose.TUNNEL
            sock = await self._core.dialler.connect(origin, purpose)
            await self._join(sock)
        except CannotDial as error:
            self._refuse(error.refusal)
        except OSError as error:
            self._refuse(Refusal(502, "endpoint_unreachable", f"{origin} cannot be reached: {error.strerror}"))

    async def _join(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(lambda: self._server, sock=sock)
        if self._tcp.is_closing():
            transport.abort()
            return
        self._server.transport = transport
        transport.set_write_buffer_limits(high=self._core.limits.buffer)
        if self._announced:
            self._tcp.write(ESTABLISHED)
        self.member.within(self._silence)
        self._server.link(self)
        self.link(self._server)
        early, self._hello = self._hello or b"", b""
        if early:
            self.data_received(early)
        self._tcp.resume_reading()

    def data_received(self, data: bytes) -> None:
        """As `asyncio.Protocol.data_received`; a name that another connection is meant for ends it (X05, X18)."""
        if self._hello is None:
            self.member.within(self._silence)
            self.send_on(data)
            return
        self._hello += data
        if self.other is None:
            return
        name = server_name(self._hello)
        if name is Hello.INCOMPLETE:
            return
        hello, self._hello = self._hello, None
        if isinstance(name, str) and self._is_routed_elsewhere(name):
            self._core.denied(self._live, self._authority.host, "host_mismatch")
            self._tcp.abort()
        else:
            self.send_on(hello)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._task is not None:
            self._task.cancel()
        super().connection_lost(exc)

    def _is_routed_elsewhere(self, name: str) -> bool:
        with contextlib.suppress(BadAuthority):
            host = normal_host(name)
            if self._live.terms.isolated:
                return host != self._authority.host  # one allowed host is no way to another that shares its servers
            claims = self._core.house.table().claims(host) or self._live.terms.began.claims(host)
            return bool(claims) and host != self._authority.host
        return True

    def _refuse(self, refusal: Refusal) -> None:
        self._core.denied(self._live, self._authority.host, refusal.error)
        if self._announced:
            self._tcp.write(refusal.to_bytes(head_only=False, close=True))
            self._tcp.close()
        else:
            self._tcp.abort()
