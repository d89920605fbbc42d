"""The inside of a CONNECT to a routed host: every request is decided on, and those that may get a credential."""

import asyncio
import time

from authsome.errors import AuthsomeError
from authsome.model.authority import Authority, BadAuthority
from authsome.model.event import Injected
from authsome.model.secret import Secret
from authsome.proxy.engine.core import Core
from authsome.proxy.engine.dial import Origin
from authsome.proxy.engine.exchange import Asked, Exchange
from authsome.proxy.engine.incoming import Incoming
from authsome.proxy.engine.refusals import Refusal, bad_request, host_mismatch
from authsome.proxy.engine.runs import LiveRun, Member
from authsome.proxy.engine.tls import NotTls
from authsome.proxy.rules.body import Body, ChunkedBody
from authsome.proxy.rules.decide import Decision, Deny, Inject, Request, decide
from authsome.proxy.rules.framing import RequestFraming
from authsome.proxy.rules.head import BadMessage, RequestHead
from authsome.proxy.rules.inject import BadCredential, host_field, injected_head, plain_head
from authsome.proxy.rules.table import RouteTable
from authsome.proxy.rules.target import BadTarget, Target, parse_absolute, parse_origin

_REFUSED_METHODS = frozenset({"TRACE", "TRACK", "CONNECT"})
_NOT_SENDABLE = Refusal(502, "credential_unusable", "the stored credential cannot be sent in a request")


class Intercept(Incoming):
    """See the module. Above it stands TLS, with a leaf for exactly this host."""

    def __init__(self, core: Core, member: Member, live: LiveRun, authority: Authority) -> None:
        super().__init__(core, member)
        self._live = live
        self._authority = authority
        self._origin = Origin(authority.host, authority.port)
        self._host = host_field(authority)
        self._same_hosts = {self._host.decode()}  # spellings that were found to be this host
        self._last: tuple[RouteTable, Request, Decision] | None = None
        self._lending: asyncio.Task[None] | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        if isinstance(exc, NotTls):
            refusal = bad_request("a TLS handshake is expected after CONNECT to this host")
            self.refused(refusal)
            self.member.transport.write(refusal.to_bytes(head_only=False, close=True))
        elif getattr(exc, "reason", None) == "CALLBACK_FAILED":
            self._denied("host_mismatch")  # the server name in the handshake (X04)
        if self._lending is not None:
            self._lending.cancel()
        super().connection_lost(exc)

    def refused(self, refusal: Refusal) -> None:
        """As `Incoming.refused`."""
        self._denied(refusal.error)

    def check_trailers(self, body: Body) -> None:
        """As `Incoming.check_trailers`: a placeholder is not substituted there, so it goes nowhere (P3)."""
        if isinstance(body, ChunkedBody) and body.trailers:
            known = self.core.house.table().placeholders
            if any(known.count(name + b"\n" + value) for _, name, value in body.trailers):
                raise BadMessage("a trailer carries a placeholder", 403)

    def open(self, head: RequestHead, framing: RequestFraming) -> Exchange | Refusal | None:
        """As `Incoming.open`."""
        self._live.requests += 1
        if head.method in _REFUSED_METHODS:
            return Refusal(405, "method_refused", f"{head.method} is not passed on")
        if framing.host not in self._same_hosts:
            refusal = self._check_host(framing.host)
            if refusal is not None:
                return refusal
        table = self.core.house.table()
        last = self._last
        if last is not None and last[0] is table and last[1].text == head.text:
            _, request, decision = last  # the same question to the same table
        else:
            try:
                target = self._target(head.target)
            except BadTarget as error:
                return bad_request(f"the request target is refused: {error}")
            request = Request(head.method, self._authority, target, head.fields, head.text)
            decision = decide(table, self._live.terms, request)
            self._last = table, request, decision
        if isinstance(decision, Deny):
            return Refusal.of_decision(decision)
        asked = Asked(origin=self._origin, method=head.method, http11=head.http11, framing=framing)
        if isinstance(decision, Inject):
            return self._inject(request, framing, decision, asked)
        return Exchange(self, self.core.pool, asked, plain_head(request, framing, self._host))

    def _inject(self, request: Request, framing: RequestFraming, decision: Inject, asked: Asked) -> Exchange | Refusal:
        lendable = decision.lendable
        asked.answered = lambda status: self._record(request, decision, status)
        credential = self.core.house.lend_now(lendable.provider, lendable.connection)
        if credential is None:
            exchange = Exchange(self, self.core.pool, asked, None)
            self._lending = asyncio.get_running_loop().create_task(self._lend(exchange, request, framing, decision))
            return exchange
        try:
            head = injected_head(request, framing, decision, credential)
        except BadCredential:
            return _NOT_SENDABLE
        return Exchange(self, self.core.pool, asked, head)

    async def _lend(self, exchange: Exchange, request: Request, framing: RequestFraming, decision: Inject) -> None:
        """The slow path: the credential has to be refreshed first."""
        lendable = decision.lendable
        try:
            credential: Secret = await self.core.house.lend(lendable.provider, lendable.connection)
            head = injected_head(request, framing, decision, credential)
        except AuthsomeError as error:
            refusal = Refusal.of_error(error)
        except BadCredential:
            refusal = _NOT_SENDABLE
        else:
            if self.exchange is exchange:
                exchange.lent(head)
            return
        if self.exchange is exchange:
            exchange.not_lent(refusal)

    def _check_host(self, host: str) -> Refusal | None:
        """Host must be the host of the CONNECT; HTTP/1.0 may leave it out (P2)."""
        if not host:
            return None
        try:
            same = Authority.parse(host) == self._authority
        except BadAuthority as error:
            return bad_request(f"the Host header is refused: {error}")
        if not same:
            return host_mismatch(host, str(self._authority))
        if len(self._same_hosts) < 8:
            self._same_hosts.add(host)
        return None

    def _target(self, text: str) -> Target:
        if text.startswith("/"):
            return parse_origin(text)
        scheme, authority, target = parse_absolute(text)
        if scheme != "https" or authority != self._authority:
            raise BadTarget("it names another origin than the connection is for")
        return target

    def _record(self, request: Request, decision: Inject, status: int) -> None:
        self.core.house.record(
            Injected(
                at=time.time(),
                run=self._live.run.id,
                provider=decision.lendable.provider,
                connection=decision.lendable.connection,
                method=request.method,
                host=self._authority.host,
                path=request.target.path,
                status=status,
            )
        )

    def _denied(self, error: str) -> None:
        self.core.denied(self._live, self._authority.host, error)
