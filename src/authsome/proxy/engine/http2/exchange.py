"""One request and its answer over HTTP/2: a client's stream and a server's, joined."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from authsome.proxy.engine.asked import Asked
from authsome.proxy.engine.exchange import CODED, IDEMPOTENT, REPLAYABLE
from authsome.proxy.engine.refusals import BAD_GATEWAY, BODY_TOO_LARGE, NO_SHARE, Refusal, bad_request
from authsome.proxy.rules.decide import Deny
from authsome.proxy.rules.frames import Code
from authsome.proxy.rules.head import BadMessage, Field
from authsome.proxy.rules.hpack import block_of
from authsome.proxy.rules.inject import block_with_length
from authsome.proxy.rules.scrub import Passage, coding_of, overwrite, passage_kind
from authsome.proxy.rules.stream import StreamRequest, StreamResponse, trailers_of
from authsome.proxy.rules.substitute import LARGEST_BODY

if TYPE_CHECKING:
    from authsome.proxy.engine.http2.connection import Stream
    from authsome.proxy.engine.http2.incoming import Http2Incoming
    from authsome.proxy.engine.http2.outgoing import Http2Outgoing
    from authsome.proxy.engine.http2.pool import Http2Pool

_MOST_INTERIM = 32
_MOST_DECODED = 4 << 20  # of an answer, waiting for the client
_NO_WEBSOCKETS = Refusal(501, "bad_upstream_answer", "the server opens no WebSockets over HTTP/2", "use HTTP/1.1")


class Http2Exchange:
    """See the module.

    What the client sends before there is a server's stream is held; its window bounds that.
    """

    __slots__ = (
        "_asked", "_block", "_client", "_counted", "_head", "_held", "_incoming", "_interims", "_is_sent", "_kept",
        "_kept_size", "_passage", "_pool", "_received", "_renewed", "_retried", "_server", "_started", "_substituted",
        "_trailers", "_waiting", "begun", "dropped_trailers", "lending",
    )  # fmt: skip

    def __init__(
        self, incoming: "Http2Incoming", client: "Stream", pool: "Http2Pool", asked: Asked, head: StreamRequest
    ) -> None:
        self.lending: asyncio.Task[None] | None = None
        self.dropped_trailers: frozenset[bytes] = frozenset()  # beyond those that never pass
        self._incoming = incoming
        self._client = client
        self._pool = pool
        self._asked = asked
        self._head = head
        self._block: bytes | None = None
        self._server: Stream | None = None
        self._held: list[bytes] = []
        self._counted = 0  # bytes of a held body
        self._is_sent = False  # its head has gone to a server, which has not answered
        # the body, while it may have to be sent again
        self._kept: list[bytes] | None = []
        self._kept_size = self._received = self._interims = 0
        self._substituted: bytes | None = None
        self._trailers = b""
        self._passage: Passage | None = None
        self.begun = False  # the client has got the head of the answer
        self._renewed = self._retried = self._started = self._waiting = False

    # from the client's side

    def start(self) -> None:
        """Send the request, once its head is there."""
        self._started = True
        if self._client.peer_ended and self._head.length:
            self._malformed()
        else:
            self._dispatch()

    def lent(self, block: bytes) -> None:
        """As `Borrower.lent`; also for a request that gets no credential."""
        self.lending = None
        self._block = block
        self._dispatch()

    def not_lent(self, refusal: Refusal) -> None:
        """As `Borrower.not_lent`."""
        self.lending = None
        self._fail(refusal)

    def client_data(self, data: bytes, *, end: bool) -> None:
        """A part of the request's body."""
        self._received += len(data)
        length = self._head.length
        if length is not None and (self._received > length or (end and self._received != length)):
            self._malformed()
            return
        if self._kept is not None:
            self._keep(data)
        if self._server is None:
            self._hold(data, end=end)
            return
        if data:
            self._server.send(data, end=end)
        elif end:
            self._server.finish()
        else:
            self._client.connection.replenish(self._client, self._server.queued)

    def client_trailers(self, fields: list[Field]) -> None:
        """The end of the request."""
        if self._head.length is not None and self._received != self._head.length:
            self._malformed()
            return
        try:
            passed = trailers_of(fields, self.dropped_trailers, 400)
            if self._incoming.carries_placeholder(passed):
                raise BadMessage("a trailer carries a placeholder", 403)
        except BadMessage as error:
            self._wrong(bad_request(str(error), error.status))
            return
        self._trailers = block_of([field[1:] for field in passed])
        if self._server is not None:
            self._server.finish(self._trailers)
        elif self._asked.holds_body:
            self._dispatch()

    def abandon(self) -> None:
        """The client wants no answer any more, or gets none from the server."""
        lending, self.lending = self.lending, None
        if lending is not None:
            lending.cancel()
        if self._waiting:
            self._waiting = False
            self._pool.leave(self._asked.origin, self)
        self._kept = None
        if self._is_sent:
            self._is_sent = False
            self._asked.answered(0)
        self._give_back()
        self._let_go(Code.CANCEL)

    def client_over(self) -> None:
        """The client's stream has ended; a server that does not read the rest of the request has a moment for it."""
        self._kept = None
        if self._is_sent:
            self._is_sent = False
            self._asked.answered(0)
        self._give_back()
        if self._server is not None and not self._server.is_over:
            asyncio.get_running_loop().call_later(self._incoming.limits.linger, self._let_go, Code.CANCEL)

    # from the pool

    def connected(self, connection: "Http2Outgoing") -> None:
        """As `Waiter.connected`."""
        if self._waiting:
            self._waiting = False
            changed = self._asked.still_holds()
            if changed is not None:
                self._fail(changed)
                return
        assert self._block is not None
        if self._head.protocol and not connection.takes_websockets:
            self._fail(_NO_WEBSOCKETS)
            return
        held, self._held = self._held, []
        ended = self._client.peer_ended
        bare = ended and not any(held) and not self._trailers
        server = self._server = connection.open(self, self._block, end=bare)
        self._is_sent = True
        server.source, self._client.source = self._client, server
        if not bare:
            for data in held:
                if data:
                    server.send(data)
            if ended:
                server.finish(self._trailers)
            self._client.connection.replenish(self._client, server.queued)  # for what was padding alone

    def unconnected(self, refusal: Refusal) -> None:
        """As `Waiter.unconnected`."""
        self._waiting = False
        self._fail(refusal)

    # from the server's side

    def server_head(self, fields: list[Field], read: Callable[[list[Field]], StreamResponse], *, end: bool) -> None:
        """A response, an interim one, or the trailers. `read` makes a response of the fields, or raises BadMessage."""
        try:
            if self.begun:
                self._server_trailers(fields, end=end)
                return
            head = read(fields)
            if head.status < 200:
                self._interim(head, end=end)
            elif head.status != 401 or not self._asks_again():
                self._begin(head, end=end)
        except BadMessage as error:
            self._broken(error)

    def server_data(self, data: bytes, *, end: bool) -> None:
        """A part of the response's body."""
        if not self.begun:
            self._broken(BadMessage("the server's answer has no head", 502))
            return
        client = self._client
        if data and self._asked.method == "HEAD":
            self._broken(BadMessage("the server answered HEAD with a body", 502))
            return
        if self._passage is not None:
            try:
                data = self._passage.feed(data)
                if self._passage.decodes and client.queued + len(data) > _MOST_DECODED:
                    raise BadMessage("the server's answer grows out of all proportion when it is decoded", 502)
            except BadMessage as error:
                self._broken(error)
                return
            if end:
                data += self._passage.finish()
        if data:
            client.send(data, end=end)
        elif end:
            client.finish()
        elif self._server is not None:
            self._server.connection.replenish(self._server, client.queued)

    def server_reset(self, code: int) -> None:
        """The server has ended its stream."""
        client, self._server = self._client, None
        if client.tail is not None:
            client.end_early()  # the answer is complete, the rest of the request is not wanted
        elif code != Code.REFUSED_STREAM or not self._repeats(processed=False):
            client.reset(Code(code) or Code.INTERNAL_ERROR)  # what is cut off must not look whole

    def server_lost(self, *, processed: bool) -> None:
        """The connection is lost; `processed` is false where the server has not looked at the request."""
        self._server = None
        if self._client.tail is not None:
            self._client.end_early()
        elif self._repeats(processed=processed):
            pass
        elif self.begun:
            self._client.reset(Code.INTERNAL_ERROR)
        else:
            origin = self._asked.origin
            self._fail(Refusal(502, "endpoint_unreachable", f"{origin} closed the connection before it answered"))

    # in between

    def _dispatch(self) -> None:
        """Once the head is there, and the body where it is held."""
        asked = self._asked
        if self._block is None or not self._started or (asked.holds_body and not self._client.peer_ended):
            return
        if asked.holds_body:
            changed = asked.still_holds()
            if changed is not None:
                self._fail(changed)
                return
            body = asked.substituted(b"".join(self._held))
            if isinstance(body, Deny):
                self._fail(Refusal.of_decision(body))
                return
            self._block, self._held = block_with_length(self._block, len(body)), [body]
            self._substituted = body
        connection = self._pool.take(self._asked.origin)
        if connection is not None:
            self.connected(connection)
        else:
            self._waiting = True
            self._pool.wait(self._asked.origin, self)

    def _interim(self, head: StreamResponse, *, end: bool) -> None:
        self._interims += 1
        if end or self._interims > _MOST_INTERIM:
            raise BadMessage("the server sent too many interim answers, or nothing else", 502)
        if head.status != 100:  # the client has been told, should it have waited
            self._client.head(answer_block(head.status, head.fields, self._asked.needles))

    def _asks_again(self) -> bool:
        """Whether this 401 is dropped: once, if the whole request was kept and another credential can be had."""
        whole = self._client.peer_ended or bool(self._head.protocol)
        if self._renewed or not whole or self._kept is None or not self._asked.renew(self):
            return False
        self._asked.answered(401)
        self._is_sent = False
        self._renewed = True
        self._held, self._block = self._kept, None
        self._let_go(Code.CANCEL)
        return True

    def _begin(self, head: StreamResponse, *, end: bool) -> None:
        fields, asked = head.fields, self._asked
        switched = bool(self._head.protocol) and head.status < 300
        bodiless = end or switched or asked.method == "HEAD"
        if (asked.needles or asked.hides_tokens) and not bodiless:
            kind = passage_kind(fields, hides_tokens=asked.hides_tokens)
            self._passage = kind(asked.needles, coding=coding_of(fields))
            if self._passage.decodes and self._server is not None:
                fields = [field for field in fields if field[0] not in CODED]
                self._server.grows = False  # little may become much
        if head.status == 401 and asked.judged is not None:
            fields = [*fields, (b"", b"x-authsome-error", b"refused_by_provider")]
        self.begun = True
        self._kept = None
        self._is_sent = False
        asked.answered(head.status)
        if fields is head.fields:
            self._client.head(self._incoming.block_of_answer(head, asked.needles), end=end)
        else:
            self._client.head(answer_block(head.status, fields, asked.needles), end=end)

    def _server_trailers(self, fields: list[Field], *, end: bool) -> None:
        if not end:
            raise BadMessage("the server's trailers do not end its answer", 502)
        passed = trailers_of(fields, frozenset(), 502)
        rest = self._passage.finish() if self._passage is not None else b""
        if rest:
            self._client.send(rest)
        self._client.finish(block_of(_scrubbed([field[1:] for field in passed], self._asked.needles)))

    def _hold(self, data: bytes, *, end: bool) -> None:
        """Keep what cannot be sent yet; where all of it must be there first, the client may go on."""
        self._held.append(data)
        if not self._asked.holds_body:
            return
        if self._received > LARGEST_BODY:
            self._fail(BODY_TOO_LARGE)
        elif not self._incoming.member.keep(len(data)):
            self._fail(NO_SHARE)
        elif end:
            self._counted += len(data)
            self._dispatch()
        else:
            self._counted += len(data)
            self._client.connection.replenish(self._client, 0)

    def _give_back(self) -> None:
        """The held body waits no longer, and is not repeated either."""
        counted, self._counted = self._counted, 0
        self._incoming.member.let_go(counted)

    def _keep(self, data: bytes) -> None:
        assert self._kept is not None
        self._kept.append(data)
        self._kept_size += len(data)
        if self._kept_size > REPLAYABLE:
            self._kept = None

    def _repeats(self, *, processed: bool) -> bool:
        """Send the request once more, where that is safe (RFC 9110 §9.2.2, RFC 9113 §8.7)."""
        if self.begun or self._retried or self._kept is None or (processed and self._asked.method not in IDEMPOTENT):
            return False
        self._retried = self._waiting = True
        self._held = list(self._kept) if self._substituted is None else [self._substituted]
        self._pool.wait(self._asked.origin, self)
        return True

    def _malformed(self) -> None:
        """A body of another size than its head says (RFC 9113 §8.1.1)."""
        self._wrong(bad_request("the body is not as long as content-length says"))

    def _wrong(self, refusal: Refusal) -> None:
        """The client is at fault; what that costs the server must not come too often. Raises FrameError."""
        reached = self._server is not None
        self._fail(refusal)
        if reached:
            self._incoming.cut_short()

    def _broken(self, error: BadMessage) -> None:
        self._let_go(Code.PROTOCOL_ERROR)
        if self.begun:
            self._client.reset(Code.INTERNAL_ERROR)
        else:
            self._fail(BAD_GATEWAY if error.status == 502 else bad_request(str(error), error.status))

    def _fail(self, refusal: Refusal) -> None:
        self.abandon()
        if self.begun:
            self._client.reset(Code.CANCEL)
        else:
            self._incoming.refuse(self._client, refusal, head_only=self._asked.method == "HEAD")

    def _let_go(self, code: Code) -> None:
        """End the server's stream; nothing of it is listened to any more."""
        server, self._server = self._server, None
        if server is not None and not server.is_over:
            server.exchange = self._client.source = server.source = None
            server.reset(code)


def answer_block(status: int, fields: list[Field], needles: tuple[bytes, ...]) -> bytes:
    """The block of an answer's head, without the values that are taken out of it (P6)."""
    return block_of(_scrubbed([(b":status", b"%d" % status), *(field[1:] for field in fields)], needles))


def _scrubbed(fields: list[tuple[bytes, bytes]], needles: tuple[bytes, ...]) -> list[tuple[bytes, bytes]]:
    if not needles:
        return fields
    return [(overwrite(name, needles), overwrite(value, needles)) for name, value in fields]
