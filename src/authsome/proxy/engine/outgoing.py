"""One HTTP/1.1 connection to a server: at most one exchange at a time, its answer cut out of the bytes."""

import asyncio
import ssl
from typing import TYPE_CHECKING, Protocol, cast

from authsome.proxy.engine.clock import Leg
from authsome.proxy.engine.dial import Origin
from authsome.proxy.engine.leaving import close_in_time
from authsome.proxy.engine.ports import Limits
from authsome.proxy.engine.tls import TlsLayer
from authsome.proxy.rules.body import Body, ChunkedBody, EndlessBody, body_of
from authsome.proxy.rules.framing import ResponseFraming, frame_response
from authsome.proxy.rules.head import LONGEST_HEAD, BadMessage, ResponseHead, ResponseReader
from authsome.proxy.rules.scrub import Passage

if TYPE_CHECKING:
    from authsome.proxy.engine.upstream import Pool

_MOST_INTERIM = 32


class Asker(Protocol):
    """The exchange, as the connection to the server sees it."""

    method: str
    decode_chunks: bool
    passage: Passage | None

    def interim(self, head: ResponseHead) -> None:
        """A 1xx answer that is not the last."""
        ...

    def switched(self, head: ResponseHead, rest: bytes) -> None:
        """A 101: the connection is no longer HTTP."""
        ...

    def asks_again(self) -> bool:
        """Whether this 401 is to be dropped, because the request will be sent again with another credential."""
        ...

    def begin(self, head: ResponseHead, framing: ResponseFraming) -> bytes:
        """The final answer's head; what the client gets of it. Sets `passage` and `decode_chunks` for its body."""
        ...

    def deliver(self, data: bytes) -> None:
        """What the client gets next."""
        ...

    def ended(self) -> None:
        """The answer is complete, and the connection is no longer this exchange's."""
        ...

    def broken(self, error: Exception | None) -> None:
        """The answer will not come, or not to its end, and the connection is lost."""
        ...

    def request_is_sent(self) -> bool:
        """Whether the whole request has been written."""
        ...

    def upstream_full(self, full: bool) -> None:
        """The server does not read as fast as the client sends, or does again."""
        ...


class Outgoing(asyncio.Protocol):
    """See the module. `ready` is done when the connection can be used, `since` is when it came into the pool.

    `is_used` tells that it has carried a request, `reused` that it may have died unnoticed since it was opened.
    """

    __slots__ = (
        "_body", "_buffer", "_exchange", "_framed", "_interims", "_keep", "_limits", "_pool", "_reader", "_transport",
        "descriptor", "is_used", "leg", "origin", "ready", "reused", "since",
    )  # fmt: skip

    def __init__(self, origin: Origin, descriptor: int, limits: Limits) -> None:
        self.origin = origin
        self.descriptor = descriptor
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.reused = self.is_used = False
        self.since = 0.0
        self.leg = Leg()
        self.leg.expire = self.close
        self._limits = limits
        self._pool: Pool | None = None
        self._transport: asyncio.Transport | None = None
        self._exchange: Asker | None = None
        self._buffer = b""
        self._body: Body | None = None
        self._keep = False
        self._reader = ResponseReader()
        self._framed: tuple[ResponseHead, str, ResponseFraming] | None = None
        self._interims = 0

    # to the pool

    def enter(self, pool: "Pool", now: float) -> None:
        """Belong to a pool, which is told of the connection's end."""
        self._pool = pool
        self.since = now

    @property
    def session(self) -> ssl.SSLSession | None:
        """The TLS session, to be resumed by the next connection to the same origin."""
        return self._transport.tls.session if isinstance(self._transport, TlsLayer) else None

    def is_closing(self) -> bool:
        return self._transport is None or self._transport.is_closing()

    def close(self) -> None:
        """After what is left to send, as far as the server reads it."""
        if self._transport is not None:
            close_in_time(self._transport, self._limits.linger)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # to the exchange

    def carry(self, exchange: Asker, data: bytes) -> None:
        """Begin an exchange with the first bytes of its request."""
        self._exchange = exchange
        self._interims = 0
        self.is_used = True
        self.write(data)

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def pause_reading(self) -> None:
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._transport is not None:
            self._transport.resume_reading()

    def drop(self) -> None:
        """End an exchange in its middle; nothing after it can be told apart from it."""
        self._exchange = None
        self.abort()

    def hand_over(self, protocol: asyncio.Protocol) -> asyncio.Transport:
        """Give the transport to another protocol for good."""
        assert self._transport is not None
        self._exchange = None
        self._transport.set_protocol(protocol)
        self._leave_pool()
        return self._transport

    # from the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=self._limits.buffer)
        if not self.ready.done():
            self.ready.set_result(None)

    def data_received(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange is None:
            self.abort()  # bytes that nobody asked for: never trust it again
            return
        try:
            if self._body is not None:
                self._take_body(exchange, self._body, b"", data)
            else:
                self._take_head(exchange, self._buffer + data if self._buffer else data)
        except BadMessage as error:
            self._break(error)

    def eof_received(self) -> bool:
        exchange = self._exchange
        if exchange is not None and isinstance(self._body, EndlessBody):
            if exchange.passage is not None:
                exchange.deliver(exchange.passage.finish())
            self._finish(exchange, keep=False)
        else:
            self._break(None)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ready.done():
            self.ready.set_exception(exc or ConnectionError("the connection was closed"))
            self.ready.exception()  # retrieved, should nobody wait any more
        exchange, self._exchange = self._exchange, None
        self._leave_pool()
        if exchange is not None:
            exchange.broken(exc)

    def pause_writing(self) -> None:
        if self._exchange is not None:
            self._exchange.upstream_full(True)

    def resume_writing(self) -> None:
        if self._exchange is not None:
            self._exchange.upstream_full(False)

    # cutting the answer out

    def _take_head(self, exchange: Asker, data: bytes) -> None:
        end = data.find(b"\r\n\r\n")
        if end < 0 or end > LONGEST_HEAD:
            if len(data) > LONGEST_HEAD or (len(data) > 16 and not data.startswith(b"HTTP/1.")):
                raise BadMessage("the head of the answer is too long or malformed", 502)
            self._buffer = data
            return
        self._buffer = b""
        head, rest = self._reader.read(data[: end + 4]), data[end + 4 :]
        if head.status < 200:
            self._take_interim(exchange, head, rest)
            return
        if head.status == 401 and exchange.asks_again():
            self.drop()
            return
        framing = self._framing_of(head, exchange.method)
        first, length = exchange.begin(head, framing), framing.length
        self._keep = framing.keep_alive
        if length == len(rest):  # all of it is there, as it is mostly
            if length:
                first += rest if exchange.passage is None else exchange.passage.whole(rest)
            exchange.deliver(first)
            self._finish(exchange, keep=framing.keep_alive)
        elif length == 0:
            exchange.deliver(first)
            self._finish(exchange, keep=False)
        else:
            self._body = body_of(length, decode=exchange.decode_chunks, status=502)
            self._take_body(exchange, self._body, first, rest)

    def _framing_of(self, head: ResponseHead, method: str) -> ResponseFraming:
        """The framing, which is the one before where the head is."""
        if self._framed is None or self._framed[0] is not head or self._framed[1] != method:
            self._framed = head, method, frame_response(head, method)
        return self._framed[2]

    def _take_interim(self, exchange: Asker, head: ResponseHead, rest: bytes) -> None:
        self._interims += 1
        if self._interims > _MOST_INTERIM:
            raise BadMessage("the server sent too many interim answers", 502)
        if head.status == 101:
            exchange.switched(head, rest)
            return
        exchange.interim(head)
        if rest and self._exchange is exchange:
            self._take_head(exchange, rest)

    def _take_body(self, exchange: Asker, body: Body, first: bytes, data: bytes) -> None:
        out, rest = body.feed(data)
        if exchange.passage is not None:
            out = exchange.passage.feed(out)
            if rest is not None:
                out += exchange.passage.finish(body.trailers if isinstance(body, ChunkedBody) else ())
        if first or out:
            exchange.deliver(first + out if first else out)
        if rest is not None:
            self._finish(exchange, keep=self._keep and not rest)

    def _finish(self, exchange: Asker, *, keep: bool) -> None:
        """The answer is complete. The connection goes back first: the next request may come from within."""
        self._exchange = self._body = None
        if self._transport is not None:
            self._transport.resume_reading()  # an idle connection must hear of its end
        idle = keep and exchange.request_is_sent() and not self._unsent()
        if not idle or self._pool is None:
            self.close()
        else:
            self._pool.give_back(self)
        exchange.ended()

    def _break(self, error: Exception | None) -> None:
        exchange, self._exchange = self._exchange, None
        self.abort()
        if exchange is not None:
            exchange.broken(error)

    def _unsent(self) -> int:
        """How much of the request the server has answered without having read it."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def _leave_pool(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.gone(self)
