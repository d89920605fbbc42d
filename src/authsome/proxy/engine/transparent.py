"""An isolated run: its sockets, whose every client is that run, and the names that its programs reach through them.

The sockets were made in the run's own network, where every name resolves to an address of its own that leads to them.
"""

import asyncio
import hashlib
import ipaddress
import socket
from collections.abc import Iterable
from typing import NamedTuple, cast

from authsome.model.authority import Authority
from authsome.proxy.engine.client import ClientLeg
from authsome.proxy.engine.core import Core
from authsome.proxy.engine.intercept import begin_interception
from authsome.proxy.engine.refusals import RUN_TOO_BUSY, Refusal
from authsome.proxy.engine.runs import LiveRun, Member
from authsome.proxy.engine.tunnel import TunnelEnd
from authsome.proxy.rules.decide import Deny, Intercept, decide_connect, may_reach
from authsome.proxy.rules.dns import Question, Verdict, answer, read_question

_BACKLOG = 1024
_MOST_NAMES = 8192
_MOST_TOLD = 1024
_NETWORK = ipaddress.ip_network("198.18.0.0/15")  # for tests of networks (RFC 2544), so nobody's real address
_CLEAR_PORT = 80
_QUESTION_TIME = 10.0
_LONGEST_QUESTION = 4096


class Sockets(NamedTuple):
    """What a run hands out: listening ones for the proxy itself, https, http and the resolver, and the resolver's UDP.

    Each is bound in the run's own network.
    """

    proxy: socket.socket
    https: socket.socket
    http: socket.socket
    resolver: socket.socket
    resolver_udp: socket.socket


async def serve_isolated(core: Core, live: LiveRun, sockets: Sockets) -> None:
    """Serve a run's own sockets until it ends."""
    loop = asyncio.get_running_loop()
    names = Names(core, live)
    for sock, protocol in (
        (sockets.proxy, lambda: ClientLeg(core, live)),
        (sockets.https, lambda: CaughtLeg(core, live, names)),
        (sockets.http, lambda: CaughtLeg(core, live, names)),
        (sockets.resolver, lambda: _QuestionStream(names)),
    ):
        server = await loop.create_server(protocol, sock=sock, backlog=_BACKLOG)
        live.listeners.append(server.close)
    transport, _ = await loop.create_datagram_endpoint(lambda: _QuestionDatagrams(names), sock=sockets.resolver_udp)
    live.listeners.append(transport.close)


class Names:
    """The addresses that stand for names in one run's network."""

    def __init__(self, core: Core, live: LiveRun) -> None:
        self._core = core
        self._live = live
        self._by_name: dict[str, str] = {}
        self._by_address: dict[str, str] = {}
        self._told: set[str] = set()  # names whose refusal was recorded

    def of(self, address: str) -> str | None:
        """The name that an address stands for."""
        return self._by_address.get(address)

    def reply(self, message: bytes) -> bytes | None:
        """The resolver's answer to a message. A name that the run may not reach does not exist for it."""
        question = read_question(message)
        if not isinstance(question, Question):
            return question
        if not question.host or not may_reach(self._core.house.table(), self._live.terms, question.host):
            if question.host and question.wants_address and len(self._told) < _MOST_TOLD:
                if question.host not in self._told:
                    self._core.denied(self._live, question.host, "host_not_allowed")
                self._told.add(question.host)
            return answer(question, Verdict.NO_SUCH_NAME)
        if not question.wants_address:
            return answer(question, Verdict.FOUND)
        address = self._address(question.host)
        return answer(question, Verdict.FOUND if address else Verdict.FAILED, address)

    def _address(self, name: str) -> str:
        """Nearly always the same for a name, so that what a program remembers outlives the daemon."""
        known = self._by_name.get(name)
        if known is not None or len(self._by_name) >= _MOST_NAMES:
            return known or ""
        at = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4])
        places = _NETWORK.num_addresses - 2
        while (address := str(_NETWORK[1 + at % places])) in self._by_address:
            at += 1
        self._by_name[name], self._by_address[address] = address, name
        return address


class CaughtLeg(asyncio.Protocol):
    """A connection to an address that stands for a name; it is taken as a CONNECT to that name."""

    def __init__(self, core: Core, live: LiveRun, names: Names) -> None:
        self._core = core
        self._live = live
        self._names = names
        self._member: Member | None = None
        self._early = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        below = cast(asyncio.Transport, transport)
        self._member = member = Member(self._core.clock, below)
        one_too_many = len(self._live.members) >= self._core.limits.run_connections
        member.join(self._live)
        member.within(self._core.limits.handshake_time)
        address, port = below.get_extra_info("sockname")[:2]
        name = self._names.of(address)
        if name is None:
            below.abort()
            return
        authority = Authority(name, port)
        decision = decide_connect(self._core.house.table(), self._live.terms, authority)
        refusal: Refusal | None = None
        if one_too_many:
            refusal = RUN_TOO_BUSY
        elif isinstance(decision, Deny):
            refusal = Refusal.of_decision(decision)
        elif isinstance(decision, Intercept):
            refusal = begin_interception(self._core, member, self._live, authority, below)
        else:
            self._live.requests += 1
            end = TunnelEnd(self._core, member, self._live, authority, announced=False)
            asyncio.get_running_loop().call_soon(lambda: end.begin(self._early))  # uvloop begins to read only now
        if refusal is not None:
            self._refuse(below, authority, refusal)

    def data_received(self, data: bytes) -> None:
        self._early += data

    def connection_lost(self, exc: Exception | None) -> None:
        if self._member is not None:
            self._member.gone()

    def _refuse(self, transport: asyncio.Transport, authority: Authority, refusal: Refusal) -> None:
        """In clear text it can be said why; the client closes once it has read that."""
        self._core.denied(self._live, authority.host, refusal.error)
        if authority.port != _CLEAR_PORT:
            transport.abort()
            return
        transport.write(refusal.to_bytes(head_only=False, close=True))
        transport.write_eof()


class _QuestionDatagrams(asyncio.DatagramProtocol):
    """The resolver over UDP."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        reply = self._names.reply(data)
        if reply is not None and self._transport is not None:
            self._transport.sendto(reply, addr)


class _QuestionStream(asyncio.Protocol):
    """The resolver over TCP: each message after its length (RFC 7766)."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._deadline = asyncio.get_running_loop().call_later(_QUESTION_TIME, self._transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        self._buffer += data
        for message in self._messages():
            reply = self._names.reply(message)
            if reply is None:
                self._transport.abort()
                return
            self._transport.write(len(reply).to_bytes(2) + reply)
        if len(self._buffer) > _LONGEST_QUESTION:
            self._transport.abort()

    def _messages(self) -> Iterable[bytes]:
        while len(self._buffer) >= 2 and len(self._buffer) >= 2 + (size := int.from_bytes(self._buffer[:2])):
            message, self._buffer = self._buffer[2 : 2 + size], self._buffer[2 + size :]
            yield message
