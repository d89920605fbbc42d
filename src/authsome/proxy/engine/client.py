"""The client leg: what a program sends to the proxy itself, authenticated by its run's token (P4)."""

import asyncio
import hashlib

from authsome.model.authority import Authority, BadAuthority
from authsome.proxy.engine.asked import Asked
from authsome.proxy.engine.core import Core
from authsome.proxy.engine.dial import Origin
from authsome.proxy.engine.exchange import Exchange
from authsome.proxy.engine.incoming import Incoming
from authsome.proxy.engine.intercept import begin_interception
from authsome.proxy.engine.refusals import RUN_TOO_BUSY, UNAUTHENTICATED, Refusal, bad_request, host_mismatch
from authsome.proxy.engine.runs import LiveRun
from authsome.proxy.engine.tunnel import ESTABLISHED, TunnelEnd
from authsome.proxy.rules.decide import Deny, Intercept, Request, decide_connect, decide_plain
from authsome.proxy.rules.framing import RequestFraming
from authsome.proxy.rules.head import RequestHead
from authsome.proxy.rules.inject import host_field, plain_head
from authsome.proxy.rules.placeholders import decode_basic
from authsome.proxy.rules.target import BadTarget, parse_absolute, parse_authority


class ClientLeg(Incoming):
    """One accepted connection. It becomes a tunnel or an interception, or forwards clear text.

    On a socket that only one run can reach, `own` is that run, and no token is asked for.
    """

    def __init__(self, core: Core, own: LiveRun | None = None) -> None:
        super().__init__(core, None)
        self._own = own
        self._host = ""
        self._is_one_too_many = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self._own is not None:
            self._join(self._own)

    def refused(self, refusal: Refusal) -> None:
        """As `Incoming.refused`."""
        live = self.member.live
        if live is not None:
            self.core.denied(live, self._host, refusal.error)

    def open(self, head: RequestHead, framing: RequestFraming) -> Exchange | Refusal | None:
        """As `Incoming.open`."""
        self._host = ""
        live = self._authenticate(head)
        if live is None:
            return UNAUTHENTICATED
        if self._is_one_too_many:
            return RUN_TOO_BUSY
        try:
            if head.method == "CONNECT":
                return self._connect(live, parse_authority(head.target), framing)
            return self._forward(live, head, framing)
        except BadTarget as error:
            return bad_request(f"the request target is refused: {error}")

    def _authenticate(self, head: RequestHead) -> LiveRun | None:
        """The run whose token the request carries. A connection serves the first run that it was for."""
        if self._own is not None:
            return self._own
        given = [value for name, _, value in head.fields if name == b"proxy-authorization"]
        if len(given) != 1:
            return None
        scheme, _, rest = given[0].partition(b" ")
        name, _, token = decode_basic(rest).partition(b":")
        if scheme.lower() != b"basic" or name != b"run" or not token:
            return None
        run = self.core.house.run_of(hashlib.sha256(token).digest())
        if run is None:
            return None
        member = self.member
        if member.live is None:
            self._join(self.core.runs.begin(run, self.core.house.table()))
        return member.live if member.live is not None and member.live.run.id == run.id else None

    def _join(self, live: LiveRun) -> None:
        self._is_one_too_many = len(live.members) >= self.limits.run_connections
        self.member.join(live)
        self.member.within(self.limits.silence)

    def _connect(self, live: LiveRun, authority: Authority, framing: RequestFraming) -> Refusal | None:
        self._host = authority.host
        if framing.length != 0:
            return bad_request("CONNECT has no body")
        decision = decide_connect(self.core.house.table(), live.terms, authority)
        if isinstance(decision, Deny):
            return Refusal.of_decision(decision)
        if not isinstance(decision, Intercept):
            live.requests += 1
            _, early = self.release()
            TunnelEnd(self.core, self.member, live, authority).begin(early)
            return None
        transport, early = self.release()
        return begin_interception(self.core, self.member, live, authority, transport, ESTABLISHED, early)

    def _forward(self, live: LiveRun, head: RequestHead, framing: RequestFraming) -> Exchange | Refusal:
        """Clear text to a host without a provider (X09, X10)."""
        if head.target.startswith("/"):
            return bad_request("this is a proxy: it takes CONNECT, and http:// URLs")
        live.requests += 1
        scheme, authority, target = parse_absolute(head.target)
        self._host = authority.host
        if scheme == "https":
            return bad_request("https goes through CONNECT")
        if head.method in ("TRACE", "TRACK"):
            return Refusal(405, "method_refused", f"{head.method} is not passed on")
        if framing.host:
            try:
                same = Authority.parse(framing.host, 80) == authority
            except BadAuthority as error:
                return bad_request(f"the Host header is refused: {error}")
            if not same:
                return host_mismatch(framing.host, str(authority))
        request = Request(head.method, authority, target, head.fields, head.text)
        decision = decide_plain(self.core.house.table(), live.terms, request)
        if isinstance(decision, Deny):
            return Refusal.of_decision(decision)
        origin = Origin(authority.host, authority.port, secure=False, isolated=live.terms.isolated)
        asked = Asked(origin, head.method)
        exchange = Exchange(self, self.core.pool, asked, framing, http11=head.http11)
        exchange.lent(plain_head(request, framing, host_field(authority, 80)))
        return exchange
