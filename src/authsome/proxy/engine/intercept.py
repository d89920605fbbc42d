"""The inside of a CONNECT to a routed host: every request is decided on, and those that may get a credential."""

import asyncio
from typing import cast

from authsome.model.authority import Authority
from authsome.proxy.engine.asked import Judged
from authsome.proxy.engine.core import Core
from authsome.proxy.engine.dial import Origin
from authsome.proxy.engine.exchange import Exchange
from authsome.proxy.engine.gate import Gate, Head
from authsome.proxy.engine.http2.incoming import Http2Incoming
from authsome.proxy.engine.incoming import Incoming
from authsome.proxy.engine.refusals import Refusal, bad_request
from authsome.proxy.engine.runs import LiveRun, Member
from authsome.proxy.engine.tls import NotTls, TlsLayer
from authsome.proxy.rules.framing import RequestFraming
from authsome.proxy.rules.head import RequestHead
from authsome.proxy.rules.inject import outline, plain_head


def begin_interception(
    core: Core, member: Member, live: LiveRun, authority: Authority, transport: asyncio.Transport,
    greeting: bytes = b"", early: bytes = b"",
) -> Refusal | None:  # fmt: skip
    """Take a client's connection to a routed host over. `early` is what the client sent before our greeting."""
    try:
        context = core.trust.context_for(live.run, authority.host)
    except LookupError:
        return Refusal(503, "no_authority", "authsome has no valid interception certificate", "authsome doctor")
    core.pool.warm(Origin(authority.host, authority.port))
    layer = TlsLayer(context, Interception(core, member, live, authority))
    if greeting:
        transport.write(greeting)
    transport.set_protocol(layer)
    member.expire = member.transport.abort
    member.within(core.limits.handshake_time)
    layer.connection_made(transport)
    if early:
        layer.data_received(early)
    return None


class Interception(asyncio.Protocol):
    """What stands above TLS, with a leaf for exactly this host, until it is known which protocol the client speaks."""

    def __init__(self, core: Core, member: Member, live: LiveRun, authority: Authority) -> None:
        self._core = core
        self._member = member
        self._gate = Gate(core, live, authority)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        layer = cast(TlsLayer, transport)
        kind = Http2Incoming if layer.tls.selected_alpn_protocol() == "h2" else Intercept
        inside = kind(self._core, self._member, self._gate)
        layer.set_protocol(inside)
        inside.connection_made(layer)

    def connection_lost(self, exc: Exception | None) -> None:
        """The handshake failed."""
        if isinstance(exc, NotTls):
            refusal = bad_request("a TLS handshake is expected after CONNECT to this host")
            self._gate.denied(refusal.error)
            self._member.transport.write(refusal.to_bytes(head_only=False, close=True))
        elif getattr(exc, "reason", None) == "CALLBACK_FAILED":
            self._gate.denied("host_mismatch")  # the server name in the handshake (X04)
        self._member.gone()


class Intercept(Incoming):
    """An intercepted connection on which the client speaks HTTP/1.1."""

    def __init__(self, core: Core, member: Member, gate: Gate) -> None:
        super().__init__(core, member)
        self._gate = gate

    def refused(self, refusal: Refusal) -> None:
        """As `Incoming.refused`."""
        self._gate.denied(refusal.error)

    def open(self, head: RequestHead, framing: RequestFraming) -> Exchange | Refusal | None:
        """As `Incoming.open`."""
        gate = self._gate
        refusal = gate.check_host(framing.host)
        if refusal is not None:
            return refusal
        judged = gate.again(head.text, empty=framing.length == 0) or self._judge(head, framing)
        if isinstance(judged, Refusal):
            return judged
        asked = gate.asked(judged)
        exchange = Exchange(self, self.core.pool, asked, framing, http11=head.http11)
        if judged.decision is None:
            exchange.lent(plain_head(judged.request, framing, gate.host, searched=asked.hides_tokens))
            return exchange
        self.dropped_trailers = judged.decision.places.headers
        return gate.lend(exchange, judged, asked) or exchange

    def _judge(self, head: RequestHead, framing: RequestFraming) -> Judged | Refusal:
        length = framing.length if isinstance(framing.length, int) else None
        return self._gate.judge(
            Head(head.method, head.target, head.fields, head.text, length),
            lambda request, inject, held: outline(request, framing, inject, held=held),
        )
