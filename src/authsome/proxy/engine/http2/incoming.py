"""One HTTP/2 connection that a client opened inside an interception: a stream for each request."""

import asyncio

from authsome.proxy.engine.core import Core
from authsome.proxy.engine.gate import Gate, Head
from authsome.proxy.engine.http2.connection import MOST_STREAMS, PATIENCE, Http2Connection, Stream
from authsome.proxy.engine.http2.exchange import Http2Exchange, answer_block
from authsome.proxy.engine.http2.outgoing import Http2Outgoing
from authsome.proxy.engine.refusals import NO_SHARE, Refusal, bad_request, broken
from authsome.proxy.engine.runs import Member
from authsome.proxy.rules import frames
from authsome.proxy.rules.frames import PREFACE, Code, Setting
from authsome.proxy.rules.head import LONGEST_HEAD, BadMessage, Field
from authsome.proxy.rules.hpack import block_of
from authsome.proxy.rules.inject import block_outline, plain_block
from authsome.proxy.rules.stream import StreamRequest, StreamResponse, request_of

_CONTINUE = block_of([(b":status", b"100")])
_SETTINGS = {Setting.MAX_CONCURRENT_STREAMS: MOST_STREAMS, Setting.MAX_HEADER_LIST_SIZE: LONGEST_HEAD}
_REFUSED = 3  # what it costs to open too many streams


class Http2Incoming(Http2Connection):
    """See the module. A request that is refused is answered on its stream; the others go on."""

    __slots__ = (
        "_answered",
        "_asked",
        "_core",
        "_cuts",
        "_gate",
        "_in_head",
        "_origin",
        "_preface",
        "_promised",
        "_unread",
        "member",
    )

    def __init__(self, core: Core, member: Member, gate: Gate) -> None:
        super().__init__(core.limits)
        self._core = core
        self.member = member
        self._gate = gate
        # a server may end the connection for what one stream did, so runs do not share it
        self._origin = gate.origin._replace(run=member.live.run.id if member.live is not None else "")
        self._preface = b""
        self._in_head = True
        self._answered: tuple[StreamResponse, tuple[bytes, ...], bytes] | None = None
        self._asked: tuple[list[Field], StreamRequest] | None = None
        self._unread = 0  # bytes that wait for the client to read
        self._cuts = PATIENCE  # how many requests may end before their answers
        self._promised = False  # that WebSockets may be opened here

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.member.expire = self._expire
        self.member.within(self.limits.head_time)
        self.greet(_SETTINGS)
        self._core.streams.wait(self._origin, self)  # a request is about to come

    def data_received(self, data: bytes) -> None:
        if len(self._preface) < len(PREFACE):
            self._preface += data
            data = self._preface[len(PREFACE) :]
            self._preface = self._preface[: len(PREFACE)]
            if not PREFACE.startswith(self._preface):
                self._gate.denied("bad_request")
                self.give_up(Code.PROTOCOL_ERROR)
                return
        if data:
            super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._core.streams.leave(self._origin, self)
        self.member.gone()

    def let_lie(self, size: int) -> bool:
        """As `Http2Connection.let_lie`: they count as a part of the run's share."""
        if not super().let_lie(size):
            return False
        more, self._unread = size - self._unread, size
        if more <= 0:
            self.member.let_go(-more)
        elif not self.member.keep(more):
            self._unread -= more
            self._gate.denied(NO_SHARE.error)
            return False
        return True

    # from the pool, to learn what the client may be promised

    def connected(self, connection: Http2Outgoing) -> None:
        """As `Waiter.connected`."""
        if connection.takes_websockets and not self._promised:
            self._promised = True
            self.write(frames.settings({Setting.ENABLE_CONNECT_PROTOCOL: 1}))

    def unconnected(self, refusal: Refusal) -> None:
        """As `Waiter.unconnected`: the first request will be told."""

    # from the connection

    def take_head(self, number: int, fields: list[Field], *, end: bool) -> None:
        """As `Http2Connection.take_head`: a request, or the trailers of one."""
        stream = self.streams.get(number)
        if stream is not None:
            if not end:
                raise frames.FrameError(Code.PROTOCOL_ERROR, "trailers do not end their stream")
            if stream.exchange is not None:
                stream.exchange.client_trailers(fields)
            return
        if number % 2 == 0:
            raise frames.FrameError(Code.PROTOCOL_ERROR, "a client opens streams of odd numbers")
        if len(self.streams) >= MOST_STREAMS:
            self.last = number
            self.write(frames.rst_stream(number, Code.REFUSED_STREAM))
            self.idled(_REFUSED)
            return
        stream = self.open_stream(number)
        stream.peer_ended = end
        try:
            self._open(stream, self._request_of(fields))
        except BadMessage as error:
            self.refuse(stream, bad_request(str(error), error.status))
        except frames.FrameError:
            raise
        except Exception as error:  # noqa: BLE001 - whoever waits for an answer gets one (X75)
            self.refuse(stream, broken(error))

    def take_data(self, stream: Stream, data: bytes, *, end: bool) -> None:
        """As `Http2Connection.take_data`."""
        if stream.exchange is not None:
            stream.exchange.client_data(data, end=end)

    def take_reset(self, stream: Stream, code: int) -> None:
        """As `Http2Connection.take_reset`."""
        if stream.exchange is not None:
            if not stream.exchange.begun:
                self.cut_short()
            stream.exchange.abandon()

    def take_end(self) -> None:
        """As `Http2Connection.take_end`."""
        for stream in list(self.streams.values()):
            if stream.exchange is not None:
                stream.exchange.abandon()

    def retired(self, stream: Stream) -> None:
        """As `Http2Connection.retired`."""
        if not stream.is_reset and self._cuts < PATIENCE:
            self._cuts += 1
        if stream.exchange is not None:
            stream.exchange.client_over()
        if not self.streams:
            self.moved()

    def moved(self) -> None:
        """As `Http2Connection.moved`."""
        if self.is_amid_head:
            if not self._in_head:
                self._in_head = True
                self.member.within(self.limits.head_time)
            return
        self._in_head = False
        rests = not self.streams or self.is_stalled
        self.member.within(self.limits.idle if rests else self.limits.silence)

    # to the exchanges

    def refuse(self, stream: Stream, refusal: Refusal, *, head_only: bool = False) -> None:
        """Answer a request that goes nowhere, or got nowhere; what the client still sends of it is not heard."""
        stream.exchange = None
        self._gate.denied(refusal.error)
        fields, content = refusal.to_fields()
        stream.head(block_of(fields), end=head_only)
        if not head_only:
            stream.send(content, end=True)
        stream.end_early()

    def block_of_answer(self, head: StreamResponse, needles: tuple[bytes, ...]) -> bytes:
        """As `answer_block`; it is the one before where the head is, and what is taken out of it."""
        known = self._answered
        if known is None or known[0] is not head or known[1] is not needles:
            known = self._answered = head, needles, answer_block(head.status, head.fields, needles)
        return known[2]

    def cut_short(self) -> None:
        """A request ends before its answer, though the server may be at work. Raises FrameError (X49)."""
        self._cuts -= 1
        if self._cuts < 0:
            self.recover("too many requests that are cut short")
            self._cuts = PATIENCE

    def carries_placeholder(self, fields: list[Field]) -> bool:
        """See `Core.carries_placeholder`."""
        live = self.member.live
        return live is not None and self._core.carries_placeholder(live, fields)

    def _request_of(self, fields: list[Field]) -> StreamRequest:
        """The request, which is the one before where its block is. Raises BadMessage."""
        if self._asked is None or self._asked[0] is not fields:
            self._asked = fields, request_of(fields)
        return self._asked[1]

    def _open(self, stream: Stream, head: StreamRequest) -> None:
        gate = self._gate
        websocket = head.protocol == "websocket"
        if head.protocol and not websocket:
            self.refuse(stream, Refusal(501, "bad_request", "only WebSockets are opened by an extended CONNECT"))
            return
        refusal = gate.check_host(head.host)
        if refusal is not None:
            self.refuse(stream, refusal)
            return
        length = 0 if stream.peer_ended or websocket else head.length
        judged = gate.again(head.text, empty=length == 0) or gate.judge(
            Head(head.method, head.target, head.fields, head.text, length, websocket),
            lambda request, inject, held: block_outline(request, head, inject, held=held),
        )
        if isinstance(judged, Refusal):
            self.refuse(stream, judged, head_only=head.method == "HEAD")
            return
        asked = gate.asked(judged)
        asked.origin = self._origin
        exchange = stream.exchange = Http2Exchange(self, stream, self._core.streams, asked, head)
        if judged.decision is None:
            exchange.lent(plain_block(judged.request, head, searched=asked.hides_tokens))
        else:
            exchange.dropped_trailers = judged.decision.places.headers
            refusal = gate.lend(exchange, judged, asked)
            if refusal is not None:
                self.refuse(stream, refusal, head_only=head.method == "HEAD")
                return
        if head.expects and not stream.peer_ended:
            stream.head(_CONTINUE)
        exchange.start()

    def _expire(self) -> None:
        self.give_up(Code.ENHANCE_YOUR_CALM if self.is_stalled else Code.NO_ERROR)
