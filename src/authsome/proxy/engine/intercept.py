"""The inside of a CONNECT to a routed host: every request is decided on, and those that may get a credential."""

import asyncio
import logging
import time
from typing import NamedTuple

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
from authsome.proxy.rules.decide import Decision, Deny, Inject, Request, decide
from authsome.proxy.rules.framing import RequestFraming
from authsome.proxy.rules.head import RequestHead
from authsome.proxy.rules.inject import BadCredential, Outline, complete, host_field, outline, plain_head
from authsome.proxy.rules.scrub import needles_of
from authsome.proxy.rules.table import RouteTable
from authsome.proxy.rules.target import BadTarget, Target, parse_absolute, parse_origin

log = logging.getLogger(__name__)

_REFUSED_METHODS = frozenset({"TRACE", "TRACK", "CONNECT"})
_NOT_SENDABLE = Refusal(502, "credential_unusable", "the stored credential cannot be sent in a request")


class _Judged(NamedTuple):
    """A request with what was decided on it by one table; `outline` is there where it gets a credential."""

    table: RouteTable
    request: Request
    decision: Decision
    outline: Outline | None


class Intercept(Incoming):
    """See the module. Above it stands TLS, with a leaf for exactly this host."""

    def __init__(self, core: Core, member: Member, live: LiveRun, authority: Authority) -> None:
        super().__init__(core, member)
        self._live = live
        self._authority = authority
        self._origin = Origin(authority.host, authority.port)
        self._host = host_field(authority)
        self._same_hosts = {self._host.decode()}  # spellings that were found to be this host
        self._judged: _Judged | None = None  # the last; a request that is repeated is not judged again
        self._lending: asyncio.Task[None] | None = None
        self._scrubbed: tuple[Secret, object, tuple[bytes, ...]] | None = None

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
        judged = self._judged
        if judged is None or judged.table is not table or judged.request.text != head.text:
            try:
                judged = self._judged = self._judge(table, head, framing)
            except BadTarget as error:
                return bad_request(f"the request target is refused: {error}")
            except BadCredential:
                return _NOT_SENDABLE
        if isinstance(judged.decision, Deny):
            return Refusal.of_decision(judged.decision)
        asked = Asked(origin=self._origin, method=head.method, http11=head.http11, framing=framing)
        if isinstance(judged.decision, Inject):
            return self._inject(judged.request, judged.decision, judged.outline, asked)
        return Exchange(self, self.core.pool, asked, plain_head(judged.request, framing, self._host))

    def _judge(self, table: RouteTable, head: RequestHead, framing: RequestFraming) -> "_Judged":
        request = Request(head.method, self._authority, self._target(head.target), head.fields, head.text)
        decision = decide(table, self._live.terms, request)
        prepared = outline(request, framing, decision) if isinstance(decision, Inject) else None
        return _Judged(table, request, decision, prepared)

    def _inject(self, request: Request, decision: Inject, head: Outline | None, asked: Asked) -> Exchange | Refusal:
        assert head is not None
        lendable = decision.lendable
        self.dropped_trailers = decision.places.headers
        asked.injected = True
        asked.answered = lambda status: self._record(request, decision, status)
        credential = self.core.house.lend_now(lendable.provider, lendable.connection)
        if credential is None:
            exchange = Exchange(self, self.core.pool, asked, None)
            self._lending = asyncio.get_running_loop().create_task(self._lend(exchange, decision, head, asked))
            self._lending.add_done_callback(lambda task: self._not_lent(exchange, task))
            return exchange
        asked.needles = self._needles(head, credential)
        asked.renew = lambda: self._renew(decision, head, asked, credential)
        try:
            return Exchange(self, self.core.pool, asked, complete(head, credential))
        except BadCredential:
            return _NOT_SENDABLE

    def _needles(self, head: Outline, credential: Secret) -> tuple[bytes, ...]:
        """What must not come back; the same for every request until the credential changes."""
        kept = self._scrubbed
        if kept is None or kept[0] is not credential or kept[1] is not head.injections:
            kept = self._scrubbed = credential, head.injections, needles_of(head.injections, credential)
        return kept[2]

    def _renew(self, decision: Inject, head: Outline, asked: Asked, refused: Secret) -> bool:
        """Whether the exchange goes on with another credential after the provider's 401 (O27)."""
        lendable, exchange = decision.lendable, self.exchange
        if exchange is None or not self.core.house.can_renew(lendable.provider, lendable.connection, refused):
            return False
        self._lending = asyncio.get_running_loop().create_task(self._lend(exchange, decision, head, asked, refused))
        self._lending.add_done_callback(lambda task: self._not_lent(exchange, task))
        return True

    async def _lend(
        self, exchange: Exchange, decision: Inject, head: Outline, asked: Asked, refused: Secret | None = None
    ) -> None:
        """The slow path: the credential has to be refreshed first, or the one that was used has been refused."""
        provider, connection = decision.lendable.provider, decision.lendable.connection
        house = self.core.house
        try:
            if refused is None:
                credential = await house.lend(provider, connection)
                asked.renew = lambda: self._renew(decision, head, asked, credential)
            else:
                credential = await house.renew(provider, connection, refused)
            asked.needles = self._needles(head, credential)
            text = complete(head, credential)
        except AuthsomeError as error:
            refusal = Refusal.of_error(error)
        except BadCredential:
            refusal = _NOT_SENDABLE
        else:
            if self.exchange is exchange:
                exchange.lent(text)
            return
        if self.exchange is exchange:
            exchange.not_lent(refusal)

    def _not_lent(self, exchange: Exchange, task: asyncio.Task[None]) -> None:
        """Where lending failed for a reason that nobody foresaw, the child must not wait for ever."""
        if not task.cancelled() and task.exception() is not None:
            log.error("lending failed: %s", type(task.exception()).__name__)
            if self.exchange is exchange:
                exchange.not_lent(Refusal(500, "unexpected", "the credential could not be had", "authsome doctor"))

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
