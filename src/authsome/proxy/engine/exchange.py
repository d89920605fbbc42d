"""One request and its answer, between a client's connection and a server's; it is the only thing that knows both."""

import asyncio
from typing import TYPE_CHECKING

from authsome.proxy.engine.asked import Asked
from authsome.proxy.engine.outgoing import Outgoing
from authsome.proxy.engine.refusals import BAD_GATEWAY, BODY_TOO_LARGE, NO_SHARE, Refusal
from authsome.proxy.engine.relay import join
from authsome.proxy.engine.upstream import Pool
from authsome.proxy.rules.decide import Deny
from authsome.proxy.rules.framing import NOT_ANSWERED, RequestFraming, ResponseFraming, Unmeasured
from authsome.proxy.rules.head import BadMessage, ResponseHead
from authsome.proxy.rules.inject import with_length
from authsome.proxy.rules.scrub import Passage, coding_of, overwrite, passage_kind
from authsome.proxy.rules.substitute import LARGEST_BODY

if TYPE_CHECKING:
    from authsome.proxy.engine.incoming import Incoming

# May be sent again where the first attempt left no trace (RFC 9110 §9.2.2).
IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "QUERY", "PROPFIND", "REPORT", "SEARCH"})
REPLAYABLE = 65536

_FRAMING = frozenset({b"content-length"})
_NONE: frozenset[bytes] = frozenset()
# what no longer fits a body that was decoded on its way
CODED = frozenset({b"content-encoding", b"content-length", b"content-md5", b"digest", b"content-digest"})


class Exchange:
    """See the module.

    The head may come later than the exchange, when the credential has to be waited for. What the client
    sends meanwhile is held; `incoming` is told to pause when it is too much.
    """

    __slots__ = (
        "_answered", "_asked", "_begun", "_connection", "_framing", "_head", "_held", "_held_size", "_http11",
        "_incoming", "_kept", "_kept_size", "_pool", "_renewed", "_replay", "_retried", "_sent", "_started", "_timer",
        "_waiting", "decode_chunks", "keep", "lending", "method", "passage",
    )  # fmt: skip

    def __init__(
        self, incoming: "Incoming", pool: Pool, asked: Asked, framing: RequestFraming, *, http11: bool
    ) -> None:
        self._incoming = incoming
        self._pool = pool
        self._asked = asked
        self._framing = framing
        self._http11 = http11
        self.method = asked.method
        self.decode_chunks = not http11
        self.passage: Passage | None = None
        self.keep = framing.keep_alive
        self.lending: asyncio.Task[None] | None = None
        self._connection: Outgoing | None = None
        self._head: bytes | None = None
        self._held: list[bytes] = []
        self._held_size = 0
        # what was sent, while it may have to be sent again
        self._replay: list[bytes] | None = None
        # the body, while a 401 may have it sent again with another credential
        self._kept: list[bytes] | None = []
        self._kept_size = 0
        self._renewed = False
        self._sent = framing.length == 0
        self._begun = self._answered = self._retried = self._waiting = self._started = False
        self._timer: asyncio.TimerHandle | None = None

    # from the client's side

    def start(self) -> None:
        """Send the request, once its head is there. Body that came with it has been given to `send` before."""
        self._started = True
        if self._asked.holds_body and self._framing.expects and not self._sent:
            self._continue()
        self._dispatch()

    def lent(self, head: bytes) -> None:
        """As `Borrower.lent`; also for a request that gets no credential."""
        self._head = head
        self._dispatch()

    def not_lent(self, refusal: Refusal) -> None:
        """As `Borrower.not_lent`."""
        self._fail(refusal)

    def _dispatch(self) -> None:
        """Once the head is there, and the body where it is held."""
        if self._head is None or not self._started or (self._asked.holds_body and not self._sent):
            return
        if self._asked.holds_body:
            changed = self._asked.still_holds()
            if changed is not None:
                self._fail(changed)
                return
            if not self._substitute(self._head):
                return
        connection = self._pool.take(self._asked.origin, careful=self.method not in IDEMPOTENT)
        if connection is not None:
            self.connected(connection)
        else:
            self._waiting = True
            self._pool.wait(self._asked.origin, self)

    def send(self, data: bytes) -> None:
        """More of the request's body."""
        if self._timer is not None:
            self._stop_timer()  # the client does not wait
        if self._asked.judged is not None and self._kept is not None:
            self._keep_for_renewal(data)
        if self._connection is not None:
            if self._replay is not None:
                self._keep_for_replay(data)
            self._connection.write(data)
            return
        self._held.append(data)
        self._held_size += len(data)
        if not self._asked.holds_body:
            if self._held_size > REPLAYABLE:
                self._incoming.hold(True)
        elif self._held_size > LARGEST_BODY:
            self._fail(BODY_TOO_LARGE)
        elif not self._incoming.member.keep(len(data)):
            self._fail(NO_SHARE)

    def sent(self) -> None:
        """The request is complete."""
        self._sent = True
        if self._asked.holds_body:
            self._dispatch()

    def request_is_sent(self) -> bool:
        """As `Asker.request_is_sent`."""
        return self._sent

    def abandon(self) -> None:
        """The client is gone, or sends nonsense."""
        self._stop_timer()
        if self.lending is not None:
            self.lending.cancel()
        if self._waiting:
            self._waiting = False
            self._pool.leave(self._asked.origin, self)
        connection, self._connection = self._connection, None
        if connection is not None:
            self._note(0)
            connection.drop()

    def client_full(self, full: bool) -> None:
        """The client does not read as fast as the server sends, or does again."""
        if self._connection is not None:
            if full:
                self._connection.pause_reading()
            else:
                self._connection.resume_reading()

    @property
    def holds_body(self) -> bool:
        """Whether the body is sent only once it is complete, without its chunks."""
        return self._asked.holds_body

    @property
    def begun(self) -> bool:
        """Whether the client has got a part of the final answer."""
        return self._begun

    # from the pool

    def connected(self, connection: Outgoing) -> None:
        """As `Waiter.connected`."""
        if self._waiting:
            self._waiting = False
            changed = self._asked.still_holds()
            if changed is not None:
                # later, or as many as wait would be refused within each other
                asyncio.get_running_loop().call_soon(self._pool.give_back, connection)
                if self._retried:
                    self._note(0)
                self._fail(changed)
                return
        assert self._head is not None
        self._connection = connection
        data = self._head + b"".join(self._held) if self._held else self._head
        if self._asked.holds_body:
            self._incoming.member.let_go(self._held_size)
        elif self._held_size > REPLAYABLE:
            self._incoming.hold(False)
        self._held, self._held_size = [], 0
        may_repeat = connection.reused and not self._retried and self.method in IDEMPOTENT
        self._replay = [data] if may_repeat and len(data) <= REPLAYABLE else None
        connection.carry(self, data)
        if self._framing.expects and not self._sent and self._connection is connection:
            self._wait_for_continue()

    def unconnected(self, refusal: Refusal) -> None:
        """As `Waiter.unconnected`."""
        self._waiting = False
        self._fail(refusal)

    # from the server's side

    def interim(self, head: ResponseHead) -> None:
        """As `Asker.interim`: 100 only for those who wait for it, nothing for HTTP/1.0 (RFC 9110 §15.2)."""
        self._replay = None
        if head.status == 100:
            if self._timer is None:
                return
            self._stop_timer()
        if self._http11:
            self._incoming.answer(self._plain_head(head) + b"\r\n")

    def switched(self, head: ResponseHead, rest: bytes) -> None:
        """As `Asker.switched`: from here on bytes are relayed, and nothing is injected (X43)."""
        self._replay = None
        if not self._framing.websocket or self._connection is None:
            raise BadMessage("the server changed the protocol without being asked", 502)
        connection, self._connection = self._connection, None
        self._note(101)
        self._stop_timer()
        self._incoming.answer(self._plain_head(head) + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        join(self._incoming, connection, rest)

    def asks_again(self) -> bool:
        """As `Asker.asks_again`: once, if the whole request was kept and there is a chance of another credential."""
        if self._renewed or not self._sent or self._kept is None or not self._asked.renew(self):
            return False
        self._asked.answered(401)
        self._renewed = True
        self._replay = self._connection = self._head = None
        self._held, self._held_size = self._kept, 0
        self._stop_timer()
        return True

    def begin(self, head: ResponseHead, framing: ResponseFraming) -> bytes:
        """As `Asker.begin`."""
        passage, chunked = self._prepare_body(head, framing)
        decoded = passage is not None and passage.decodes
        self._replay = None
        self._begun = True
        self._stop_timer()
        self._note(head.status)
        refused = head.status == 401 and self._asked.judged is not None
        if framing.verbatim and self._http11 and self.keep and self._sent and not decoded and not refused:
            return overwrite(head.text, self._asked.needles)
        lines = [_status_line(head), _fields(head, framing.named - _FRAMING | (CODED if decoded else _NONE))]
        if chunked:
            lines.append(b"Transfer-Encoding: chunked\r\n")
        elif isinstance(framing.length, Unmeasured) or decoded:
            self.keep = False
        if refused:
            lines.append(b"X-Authsome-Error: refused_by_provider\r\n")
        if self._framing.expects and not self._sent:
            self.keep = False  # nobody knows whether the client will still send its body
        if not self.keep:
            lines.append(b"Connection: close\r\n")
        elif not self._http11:
            lines.append(b"Connection: keep-alive\r\n")
        lines.append(b"\r\n")
        return overwrite(b"".join(lines), self._asked.needles)

    def _prepare_body(self, head: ResponseHead, framing: ResponseFraming) -> tuple[Passage | None, bool]:
        """What the body goes through, and whether the client gets it chunked. Raises BadMessage."""
        http11 = self._http11
        chunked = framing.length is Unmeasured.CHUNKED and http11
        if (self._asked.needles or self._asked.hides_tokens) and framing.length != 0:
            coding = coding_of(head.fields)
            chunked = chunked or (bool(coding) and http11)
            self.decode_chunks = True
            kind = passage_kind(head.fields, hides_tokens=self._asked.hides_tokens)
            self.passage = kind(self._asked.needles, coding=coding, chunked=chunked)
        return self.passage, chunked

    def deliver(self, data: bytes) -> None:
        """As `Asker.deliver`."""
        self._incoming.answer(data)

    def ended(self) -> None:
        """As `Asker.ended`."""
        self._connection = None
        self._stop_timer()
        self._incoming.finished(self.keep)

    def broken(self, error: Exception | None) -> None:
        """As `Asker.broken`: once more where that is safe, else a 502, or the end where the answer had begun."""
        connection, self._connection = self._connection, None
        self._stop_timer()
        if self._begun:
            self._stop_timer()
            self._incoming.cut()
            return
        replay, self._replay = self._replay, None
        if replay is not None and connection is not None and not isinstance(error, BadMessage):
            self._retried = True
            self._head, self._held = replay[0], replay[1:]
            self._waiting = True
            self._pool.wait(self._asked.origin, self, fresh=True)
            return
        self._note(0)
        if isinstance(error, BadMessage):
            self._fail(BAD_GATEWAY)
        else:
            self._fail(
                Refusal(502, "endpoint_unreachable", f"{self._asked.origin} closed the connection before it answered")
            )

    def upstream_full(self, full: bool) -> None:
        """As `Asker.upstream_full`."""
        self._incoming.hold(full)

    # in between

    def _plain_head(self, head: ResponseHead) -> bytes:
        return overwrite(_status_line(head) + _fields(head, _NONE), self._asked.needles)

    def _substitute(self, head: bytes) -> bool:
        """Put the credential into the body; false where that is refused."""
        body = self._asked.substituted(b"".join(self._held))
        if isinstance(body, Deny):
            self._fail(Refusal.of_decision(body))
            return False
        self._head, self._held = with_length(head, len(body)), [body]
        return True

    def _keep_for_renewal(self, data: bytes) -> None:
        assert self._kept is not None
        self._kept.append(data)
        self._kept_size += len(data)
        if self._kept_size > REPLAYABLE:
            self._kept = None

    def _keep_for_replay(self, data: bytes) -> None:
        assert self._replay is not None
        self._replay.append(data)
        if sum(map(len, self._replay)) > REPLAYABLE:
            self._replay = None

    def _fail(self, refusal: Refusal) -> None:
        if self._asked.holds_body:
            self._incoming.member.let_go(self._held_size)
        self._stop_timer()
        self._incoming.fail(refusal)

    def _note(self, status: int) -> None:
        if not self._answered:
            self._answered = True
            self._asked.answered(status)

    def _wait_for_continue(self) -> None:
        """A server that never says 100 must not stop the client for ever (RFC 9110 §10.1.1)."""
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._incoming.limits.continue_time, self._continue)

    def _continue(self) -> None:
        self._timer = None
        self._incoming.answer(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _status_line(head: ResponseHead) -> bytes:
    return b"HTTP/1.1 %d %b\r\n" % (head.status, head.reason)


def _fields(head: ResponseHead, named: frozenset[bytes]) -> bytes:
    return b"".join(
        [b"%b: %b\r\n" % (f[1], f[2]) for f in head.fields if f[0] not in NOT_ANSWERED and f[0] not in named]
    )
