"""One HTTP/2 connection to a server, shared by the exchanges of a run: a stream for each."""

import asyncio
import ssl
from typing import TYPE_CHECKING

from authsome.proxy.engine.clock import Clock, Leg
from authsome.proxy.engine.dial import Origin
from authsome.proxy.engine.http2.connection import MOST_STREAMS, Http2Connection, Stream
from authsome.proxy.engine.ports import Limits
from authsome.proxy.engine.tls import TlsLayer
from authsome.proxy.rules import frames
from authsome.proxy.rules.frames import PREFACE, Code, Setting
from authsome.proxy.rules.head import LONGEST_HEAD, Field
from authsome.proxy.rules.stream import StreamResponse, response_of

if TYPE_CHECKING:
    from authsome.proxy.engine.http2.exchange import Http2Exchange
    from authsome.proxy.engine.http2.pool import Http2Pool

_SETTINGS = {Setting.ENABLE_PUSH: 0, Setting.MAX_HEADER_LIST_SIZE: LONGEST_HEAD}
_LAST_NUMBER = 2**30
_PATIENT = 15.0  # seconds of silence while an answer is due


class Http2Outgoing(Http2Connection):
    """See the module. `ready` is done when the server's settings have come; the pool counts on them."""

    __slots__ = (
        "_answer", "_clock", "_draining", "_home", "_leg", "_most", "_pinged", "_pool", "origin", "ready",
        "takes_websockets",
    )  # fmt: skip

    def __init__(self, origin: Origin, clock: Clock, limits: Limits) -> None:
        super().__init__(limits)
        self.origin = origin
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.takes_websockets = False
        self._clock = clock
        self._leg = Leg()
        self._leg.expire = self._expire
        self._most = MOST_STREAMS
        self._draining = self._pinged = False
        self._pool: Http2Pool | None = None
        self._home: Http2Pool | None = None
        self._answer: tuple[list[Field], StreamResponse] | None = None

    # to the pool

    def enter(self, pool: "Http2Pool") -> None:
        """Belong to a pool, which is told of free room, when it takes no more streams, and of the connection's end."""
        self._pool = self._home = pool
        self._heard()
        self._clock.watch(self._leg)

    @property
    def has_room(self) -> bool:
        """Whether another stream may be opened."""
        return len(self.streams) < self._most and not self._draining and not self.is_closing()

    @property
    def session(self) -> ssl.SSLSession | None:
        """The TLS session, to be resumed by the next connection to the same origin."""
        return self._transport.tls.session if isinstance(self._transport, TlsLayer) else None

    @property
    def heeded(self) -> int:
        """As `Http2Connection.heeded`: a server opens none."""
        return 0

    @property
    def is_shut(self) -> bool:
        """Whether the server takes no streams for the time being."""
        return self._most == 0

    def close(self) -> None:
        self.give_up(Code.NO_ERROR)

    # to the exchange

    def open(self, exchange: "Http2Exchange", block: bytes, *, end: bool) -> Stream:
        """Begin a request."""
        stream = self.open_stream(self.last + 2 if self.last else 1)
        stream.exchange = exchange
        self._leg.deadline = min(self._leg.deadline, self._clock.now + _PATIENT)
        if stream.number > _LAST_NUMBER:
            self._drain()
        stream.head(block, end=end)
        return stream

    def response_of(self, fields: list[Field]) -> StreamResponse:
        """The head of an answer, which is the one before where its block is. Raises BadMessage (502)."""
        if self._answer is None or self._answer[0] is not fields:
            self._answer = fields, response_of(fields)
        return self._answer[1]

    # from the connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if isinstance(transport, TlsLayer) and transport.tls.selected_alpn_protocol() == "h2":
            self.write(PREFACE)
            self.greet(_SETTINGS)
        else:
            self.ready.set_exception(ConnectionError("it does not speak HTTP/2"))
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ready.done():
            self.ready.set_exception(exc or ConnectionError("the connection was closed"))
        if not self.ready.cancelled():
            self.ready.exception()  # retrieved, should nobody wait any more
        self._clock.part(self._leg)
        super().connection_lost(exc)
        home, self._home = self._home, None
        if home is not None:
            home.lost(self)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._heard()
        if self.greeted and not self.ready.done() and not self.is_closing():
            self.ready.set_result(None)

    def take_head(self, number: int, fields: list[Field], *, end: bool) -> None:
        """As `Http2Connection.take_head`."""
        stream = self.streams.get(number)
        if stream is None:
            raise frames.FrameError(Code.PROTOCOL_ERROR, "a server opens no streams")
        if stream.exchange is not None:
            stream.exchange.server_head(fields, self.response_of, end=end)

    def take_data(self, stream: Stream, data: bytes, *, end: bool) -> None:
        """As `Http2Connection.take_data`."""
        if stream.exchange is not None:
            stream.exchange.server_data(data, end=end)

    def take_reset(self, stream: Stream, code: int) -> None:
        """As `Http2Connection.take_reset`."""
        if stream.exchange is not None:
            stream.exchange.server_reset(code)

    def take_goaway(self, last: int) -> None:
        """As `Http2Connection.take_goaway`: what the server has not looked at may be sent again."""
        self._drain()
        for stream in [stream for number, stream in self.streams.items() if number > last]:
            exchange, stream.is_reset = stream.exchange, True
            self.retire(stream)
            if exchange is not None:
                exchange.server_lost(processed=False)

    def take_setting(self, name: int, value: int) -> None:
        """As `Http2Connection.take_setting`."""
        if name == Setting.MAX_CONCURRENT_STREAMS:
            self._most = min(value, MOST_STREAMS)
            if self._pool is not None:
                self._pool.has_room(self)
        elif name == Setting.ENABLE_CONNECT_PROTOCOL:
            self.takes_websockets = bool(value)

    def take_end(self) -> None:
        """As `Http2Connection.take_end`."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.gone(self)
        for stream in list(self.streams.values()):
            if stream.exchange is not None:
                stream.exchange.server_lost(processed=True)

    def retired(self, stream: Stream) -> None:
        """As `Http2Connection.retired`."""
        if not self.streams:
            self._heard()
        if self._pool is not None:
            self._pool.has_room(self)
        elif self._draining and not self.streams:
            self.close()

    def _heard(self) -> None:
        self._pinged = False
        self._leg.deadline = self._clock.now + (_PATIENT if self.streams else self.limits.upstream_idle)

    def _expire(self) -> None:
        """Close where nothing is under way; ask a server that is silent whether it is there, and give it up if not."""
        if not self.streams or self._pinged:
            self.close()
            return
        self._pinged = True
        self._leg.deadline = self._clock.now + _PATIENT
        self.write(frames.frame(frames.Kind.PING, 0, 0, bytes(8)))

    def _drain(self) -> None:
        """Open no stream any more, and close when the last has ended."""
        self._draining = True
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.gone(self)
        if not self.streams:
            self.close()
