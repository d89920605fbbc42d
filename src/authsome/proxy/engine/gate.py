"""What is decided on the requests of one intercepted connection, and the credentials that they get, in any protocol."""

import asyncio
import time
from collections.abc import Callable
from typing import NamedTuple

from authsome.errors import AuthsomeError
from authsome.model.authority import Authority, BadAuthority
from authsome.model.event import Injected
from authsome.model.secret import Secret
from authsome.model.waiting import Noted
from authsome.proxy.engine.asked import Asked, Borrower, Judged
from authsome.proxy.engine.core import Core
from authsome.proxy.engine.dial import Origin
from authsome.proxy.engine.refusals import Refusal, bad_request, broken, host_mismatch
from authsome.proxy.engine.runs import LiveRun
from authsome.proxy.rules.decide import Decision, Deny, Inject, Request, decide
from authsome.proxy.rules.head import Field
from authsome.proxy.rules.inject import BadCredential, Outline, host_field
from authsome.proxy.rules.scrub import needles_of
from authsome.proxy.rules.substitute import substitution_of
from authsome.proxy.rules.target import BadTarget, Target, parse_absolute, parse_origin

_REFUSED_METHODS = frozenset({"TRACE", "TRACK", "CONNECT"})
_NOT_SENDABLE = Refusal(502, "credential_unusable", "the stored credential cannot be sent in a request")
_CHANGED = Refusal(503, "connection_changed", "the connection was changed while the request waited", "send it again")
_MOST_SPELLINGS = 8


class Head(NamedTuple):
    """What a request says of itself, in any protocol. `length` is that of its body, None where it is not known."""

    method: str
    target: str
    fields: list[Field]
    text: bytes
    length: int | None
    websocket: bool = False


class Gate:
    """See the module."""

    def __init__(self, core: Core, live: LiveRun, authority: Authority) -> None:
        self.origin = Origin(authority.host, authority.port)
        self.host = host_field(authority)
        self._core = core
        self._live = live
        self._authority = authority
        self._same_hosts = {self.host.decode()}  # spellings that were found to be this host
        self._judged: Judged | None = None  # the last; a request that is repeated is not judged again
        self._scrubbed: tuple[Secret, object, tuple[bytes, ...]] | None = None
        self._filled: tuple[Judged, Secret, bytes] | None = None
        self._noted: tuple[Judged, int, Noted] | None = None

    def again(self, text: bytes, *, empty: bool) -> Judged | None:
        """The decision on a request that is the same as the one before, by the same table."""
        judged = self._judged
        if judged is None or judged.request.text != text or judged.empty is not empty:
            return None
        if judged.table is not self._core.house.table():
            return None
        self._live.requests += 1
        return judged

    def judge(self, head: Head, outline: Callable[[Request, Inject, bool], Outline]) -> Judged | Refusal:
        """The decision on a request. `outline` makes its head, for a body that is held or not."""
        self._live.requests += 1
        if head.method in _REFUSED_METHODS and not head.websocket:
            return Refusal(405, "method_refused", f"{head.method} is not passed on")
        table, empty = self._core.house.table(), head.length == 0
        try:
            request = Request(head.method, self._authority, self._target(head.target), head.fields, head.text)
            decision: Decision = decide(table, self._live.terms, request)
            if isinstance(decision, Deny):
                return Refusal.of_decision(decision)
            judged = Judged(table, request, empty)
            if isinstance(decision, Inject):
                substitution = substitution_of(head.fields, decision, head.length)
                made = outline(request, decision, substitution is not None)
                judged = Judged(table, request, empty, decision, made, substitution)
        except BadTarget as error:
            return bad_request(f"the request target is refused: {error}")
        except BadCredential:
            return _NOT_SENDABLE
        self._judged = judged
        return judged

    def check_host(self, host: str) -> Refusal | None:
        """Whether a Host or an `:authority` is that of the CONNECT (P2); HTTP/1.0 may leave it out."""
        if host in self._same_hosts or not host:
            return None
        try:
            same = Authority.parse(host) == self._authority
        except BadAuthority as error:
            return bad_request(f"the Host header is refused: {error}")
        if not same:
            return host_mismatch(host, str(self._authority))
        if len(self._same_hosts) < _MOST_SPELLINGS:
            self._same_hosts.add(host)
        return None

    def asked(self, judged: Judged) -> Asked:
        """What an exchange is told of the request."""
        request = judged.request
        hides_tokens = judged.table.hands_out_tokens(self._authority.host, request.target.path)
        return Asked(self.origin, request.method, self, judged, hides_tokens=hides_tokens)

    def lend(self, borrower: Borrower, judged: Judged, asked: Asked) -> Refusal | None:
        """Give an exchange its head: at once where the credential is at hand, else later. Or a refusal."""
        assert judged.decision is not None
        lendable = judged.decision.lendable
        credential = self._core.house.lend_now(lendable.provider, lendable.connection)
        if credential is None:
            self._begin_lending(borrower, judged, asked, None)
            return None
        try:
            borrower.lent(self._fill(judged, asked, credential))
        except BadCredential:
            return _NOT_SENDABLE
        return None

    def renew(self, borrower: Borrower, judged: Judged, asked: Asked) -> bool:
        """Whether the exchange goes on with another credential after the provider's 401 (O27)."""
        assert judged.decision is not None
        lendable, refused = judged.decision.lendable, asked.credential
        if refused is None or not self._core.house.can_renew(lendable.provider, lendable.connection, refused):
            return False
        self._begin_lending(borrower, judged, asked, refused)
        return True

    def answered(self, judged: Judged, status: int) -> None:
        """For the audit. A request that is repeated is counted, as long as the one before waits to be written."""
        if self._noted is not None:
            last, before, noted = self._noted
            if last is judged and before == status and noted.waits:
                noted.times += 1
                return
        assert judged.decision is not None
        lendable = judged.decision.lendable
        event = Injected(
            at=time.time(),
            run=self._live.run.id,
            provider=lendable.provider,
            connection=lendable.connection,
            method=judged.request.method,
            host=self._authority.host,
            path=judged.request.target.path,
            status=status,
        )
        self._noted = judged, status, self._core.house.record(event)

    def check_again(self, judged: Judged) -> Refusal | None:
        """After a wait: whether what was decided holds still, for the same login and the same places (P1, P18)."""
        table = self._core.house.table()
        if table is judged.table or judged.decision is None:
            return None
        decision = decide(table, self._live.terms, judged.request)
        if isinstance(decision, Deny):
            return Refusal.of_decision(decision)
        if not isinstance(decision, Inject) or not decision.lendable.is_as_before(judged.decision.lendable):
            return _CHANGED
        return None

    def denied(self, error: str) -> None:
        """Record a refusal."""
        self._core.denied(self._live, self._authority.host, error)

    def _fill(self, judged: Judged, asked: Asked, credential: Secret) -> bytes:
        """The head with the credential, and what the exchange has to know of it. Raises BadCredential."""
        decision, outline = judged.decision, judged.outline
        assert decision is not None and outline is not None
        if decision.lendable.scrub and self._live.run.scrub:
            asked.needles += self._needles(decision, credential)  # after a renewal, the one before may come back too
        asked.credential = credential
        if self._filled is None or self._filled[0] is not judged or self._filled[1] is not credential:
            self._filled = judged, credential, outline.complete(credential)
        return self._filled[2]

    def _needles(self, decision: Inject, credential: Secret) -> tuple[bytes, ...]:
        """What must not come back; the same for every request until the credential changes."""
        kept, injections = self._scrubbed, decision.lendable.injections
        if kept is None or kept[0] is not credential or kept[1] is not injections:
            kept = self._scrubbed = credential, injections, needles_of(injections, credential)
        return kept[2]

    def _begin_lending(self, borrower: Borrower, judged: Judged, asked: Asked, refused: Secret | None) -> None:
        loop = asyncio.get_running_loop()
        borrower.lending = loop.create_task(self._lend(borrower, judged, asked, refused))
        borrower.lending.add_done_callback(lambda task: _not_lent(borrower, task))

    async def _lend(self, borrower: Borrower, judged: Judged, asked: Asked, refused: Secret | None) -> None:
        """The slow path: the credential has to be refreshed first, or the one that was used has been refused."""
        assert judged.decision is not None
        lendable, house = judged.decision.lendable, self._core.house
        try:
            if refused is None:
                credential = await house.lend(lendable.provider, lendable.connection)
            else:
                credential = await house.renew(lendable.provider, lendable.connection, refused)
            changed = self.check_again(judged)
            head = b"" if changed else self._fill(judged, asked, credential)
        except AuthsomeError as error:
            borrower.not_lent(Refusal.of_error(error))
        except BadCredential:
            borrower.not_lent(_NOT_SENDABLE)
        else:
            if changed:
                borrower.not_lent(changed)
            else:
                borrower.lent(head)

    def _target(self, text: str) -> Target:
        if text.startswith("/"):
            return parse_origin(text)
        scheme, authority, target = parse_absolute(text)
        if scheme != "https" or authority != self._authority:
            raise BadTarget("it names another origin than the connection is for")
        return target


def _not_lent(borrower: Borrower, task: asyncio.Task[None]) -> None:
    """Where lending failed for a reason that nobody foresaw, the child must not wait for ever."""
    error = None if task.cancelled() else task.exception()
    if error is not None:
        borrower.not_lent(broken(error, "the credential could not be had"))
