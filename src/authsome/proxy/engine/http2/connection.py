"""What both ends of HTTP/2 have in common: frames in and out, windows, settings, and patience with a peer."""

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from authsome.proxy.engine.ports import Limits
from authsome.proxy.engine.tls import TlsLayer
from authsome.proxy.rules import frames
from authsome.proxy.rules.frames import DEFAULT_WINDOW, LARGEST_FRAME, LARGEST_WINDOW, Code, Frame, Kind, Setting
from authsome.proxy.rules.head import Field
from authsome.proxy.rules.hpack import LONGEST_BLOCK, NO_TABLE, BlockReader

if TYPE_CHECKING:
    from authsome.proxy.engine.http2.exchange import Http2Exchange

MOST_STREAMS = 100  # promises §3

_CONNECTION_WINDOW = 4 << 20
_LARGEST_STREAM_WINDOW = 1 << 20
_GROWTH = 8 << 20  # by which the windows of a connection's streams may grow in all
_MOST_CONTINUATIONS = 32
_MOST_UNREAD = 8 << 20  # of what the peer lets lie, beside data, which waits for it
# Frames that do no work are allowed in proportion to those that do (RFC 9113 §10.5).
PATIENCE = 1000
_WORK, _IDLENESS = 2, 1
_RECOVERY = 60.0  # seconds after which all of it is back
_MOST_LATE = 100


class Stream:
    """One stream of one connection. What it sends came from `source`, whose window is opened as it goes out."""

    __slots__ = (
        "_ends_early", "allowance", "connection", "exchange", "granted", "grows", "is_reset", "number", "owed",
        "peer_ended", "queue", "queued", "source", "tail", "we_ended", "window",
    )  # fmt: skip

    def __init__(self, connection: "Http2Connection", number: int, window: int) -> None:
        self.connection = connection
        self.number = number
        self.exchange: Http2Exchange | None = None
        self.source: Stream | None = None
        # out: what waits for a window, and how it ends: trailers or b"", None while it goes on
        self.window = window
        self.queue: deque[bytes] = deque()
        self.queued = 0
        self.tail: bytes | None = None
        # in: what the peer may still send, and what it has sent and was not yet given back
        self.allowance = self.granted = DEFAULT_WINDOW
        self.owed = 0
        self.grows = True  # the window, for a peer that is fast
        self.we_ended = self.peer_ended = self.is_reset = self._ends_early = False

    def head(self, block: bytes, *, end: bool = False) -> None:
        """Send a header block that opens the message, or an interim one."""
        if self.is_reset:
            return
        self.connection.write_head(self.number, block, end=end)
        if end:
            self.tail, self.we_ended = b"", True
            self.ended()

    def send(self, data: bytes, *, end: bool = False) -> None:
        """Send a part of the body, or its rest, as soon as there is a window for it."""
        if self.we_ended or self.is_reset:
            return
        if end:
            self.tail = b""
        size = len(data)
        if size <= LARGEST_FRAME:
            self.queue.append(data)
        else:
            self.queue.extend(data[at : at + LARGEST_FRAME] for at in range(0, size, LARGEST_FRAME))
        self.queued += size
        self.connection.pump(self)

    def finish(self, trailers: bytes = b"") -> None:
        """Send the end of the message; `trailers` is a header block."""
        if not self.we_ended and not self.is_reset and self.tail is None:
            self.tail = trailers
            self.connection.pump(self)

    def ended(self) -> None:
        """Our half has been sent to its end."""
        if self._ends_early and not self.peer_ended:
            self.reset(Code.NO_ERROR)
        else:
            self.connection.retire(self)

    def end_early(self) -> None:
        """Once our half is sent, what the peer would still send is not wanted (RFC 9113 §8.1)."""
        self._ends_early = True
        if self.we_ended and not self.peer_ended:
            self.reset(Code.NO_ERROR)

    def reset(self, code: Code) -> None:
        """End the stream in both directions."""
        if not self.is_reset:
            self.is_reset = True
            self.connection.write(frames.rst_stream(self.number, code))
            self.connection.expect_late(self)
            self.connection.retire(self)

    def discard(self) -> None:
        """Nothing waits to be sent any more."""
        self.queue.clear()
        self.queued = 0

    @property
    def is_over(self) -> bool:
        return self.is_reset or (self.we_ended and self.peer_ended)


class Http2Connection(asyncio.Protocol):
    """See the module. A subclass is told of what arrives on streams."""

    __slots__ = (
        "_block", "_blocks", "_calm", "_choked", "_continuations", "_growth", "_has_table", "_initial", "_late",
        "_lost", "_opening", "_out", "_owed", "_reader", "_recovered", "_scheduled", "_transport", "_unopened",
        "_waiting", "_window", "greeted", "last", "limits", "streams",
    )  # fmt: skip

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.streams: dict[int, Stream] = {}
        self.last = 0  # the highest number of a stream that was opened
        self.greeted = False  # the peer's first SETTINGS have come
        self._transport: asyncio.Transport | None = None
        self._reader = frames.FrameReader()
        self._blocks = BlockReader()
        self._opening: Frame | None = None  # HEADERS whose block is not complete
        self._block = bytearray()
        self._continuations = 0
        self._out: list[bytes] = []
        self._scheduled = self._choked = self._lost = False
        self._has_table = True  # the peer may think so
        self._window = self._initial = DEFAULT_WINDOW
        self._waiting: dict[Stream, None] = {}  # streams with something to send, in the order of their turns
        self._owed = 0
        self._growth = _GROWTH
        self._calm = PATIENCE
        self._recovered = 0.0
        self._unopened = 0  # how often the peer may open a window for what it was sent
        self._late: dict[int, int] = {}  # what may still come on streams that we have reset

    # for a subclass

    def take_head(self, number: int, fields: list[Field], *, end: bool) -> None:
        """A header block, on a known stream or on a new one. Raises FrameError."""
        raise NotImplementedError

    def take_data(self, stream: Stream, data: bytes, *, end: bool) -> None:
        """A part of the body."""
        raise NotImplementedError

    def take_reset(self, stream: Stream, code: int) -> None:
        """The peer has ended a stream."""
        raise NotImplementedError

    def take_goaway(self, last: int) -> None:
        """The peer wants no more streams, and has not looked at those after `last`."""

    def take_setting(self, name: int, value: int) -> None:
        """A parameter of the peer's."""

    def take_end(self) -> None:
        """The connection is lost, or about to be closed."""
        raise NotImplementedError

    def retired(self, stream: Stream) -> None:
        """A stream is over."""

    def moved(self) -> None:
        """Something was done, or the peer has shown that it lives; or it has begun to let something wait."""

    def let_lie(self, size: int) -> bool:
        """Whether so many bytes may wait for the peer to read; asked with each change while any do."""
        return size <= _MOST_UNREAD

    @property
    def heeded(self) -> int:
        """The last of the peer's streams that was looked at."""
        return self.last

    @property
    def is_stalled(self) -> bool:
        """Whether something waits for the peer to open a window, or to read."""
        return bool(self._waiting)

    @property
    def is_amid_head(self) -> bool:
        """Whether the rest of a header block is due, or of a frame that is no data."""
        return not self.greeted or self._opening is not None or self._reader.is_amid_head

    # the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=self.limits.buffer)
        self._recovered = asyncio.get_running_loop().time()

    def greet(self, values: Mapping[Setting, int]) -> None:
        """Send our settings, and open the connection's window."""
        self.write(frames.settings(values) + frames.window_update(0, _CONNECTION_WINDOW - DEFAULT_WINDOW))

    def data_received(self, data: bytes) -> None:
        try:
            for frame in self._reader.feed(data):
                if self._lost:
                    return
                self._take(frame)
        except frames.FrameError as error:
            self.give_up(error.code)
        if not self._waiting:
            self.moved()  # even a ping shows that the peer lives, unless it lets our answers wait

    def eof_received(self) -> bool:
        self.give_up(Code.NO_ERROR)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()

    def pause_writing(self) -> None:
        self._choked = True

    def resume_writing(self) -> None:
        self._choked = False
        self.let_lie(0)
        self._pump_all()

    def write(self, data: bytes) -> None:
        """Send frames; those of one turn of the loop go out together."""
        if self._lost:
            return
        self._out.append(data)
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._flush)

    def write_head(self, number: int, block: bytes, *, end: bool) -> None:
        """Send a header block that opens a message. The first says that there is no table (RFC 7541 §4.2)."""
        if self._has_table:
            self._has_table = False
            block = NO_TABLE + block
        self.write(frames.headers(number, block, end=end))
        self.moved()

    def give_up(self, code: Code) -> None:
        """Say why, and close; who is in the middle of sending has a moment to hear it."""
        if self._lost:
            return
        self.write(frames.goaway(self.heeded, code))
        self._flush()
        self._end()
        transport = self._transport
        if transport is None:
            return
        asyncio.get_running_loop().call_later(self.limits.linger, transport.abort)
        if code != Code.NO_ERROR and isinstance(transport, TlsLayer):
            transport.finish_writing()
        else:
            transport.close()

    def is_closing(self) -> bool:
        return self._lost or self._transport is None or self._transport.is_closing()

    def _flush(self) -> None:
        self._scheduled = False
        out, self._out = self._out, []
        transport = self._transport
        if not out or transport is None:
            return
        transport.write(out[0] if len(out) == 1 else b"".join(out))
        if self._choked and not self.let_lie(transport.get_write_buffer_size()):
            self._end()
            transport.abort()  # it would not read why

    def _end(self) -> None:
        if not self._lost:
            self._lost = True
            self.take_end()
            for stream in self.streams.values():
                stream.exchange = stream.source = None
            self.streams.clear()
            self._waiting.clear()

    # streams

    def open_stream(self, number: int) -> Stream:
        """A new stream."""
        stream = self.streams[number] = Stream(self, number, self._initial)
        self.last = number
        return stream

    def retire(self, stream: Stream) -> None:
        """Forget a stream that is over."""
        if stream.is_over and self.streams.get(stream.number) is stream:
            del self.streams[stream.number]
            self._waiting.pop(stream, None)
            self._growth += stream.granted - DEFAULT_WINDOW
            stream.discard()
            self.retired(stream)
            stream.exchange = stream.source = None

    def expect_late(self, stream: Stream) -> None:
        """What its window allows may be on its way while the peer learns that a stream is reset."""
        if not stream.peer_ended:
            self._late[stream.number] = stream.allowance
            if len(self._late) > _MOST_LATE:
                del self._late[next(iter(self._late))]

    def pump(self, stream: Stream) -> None:
        """Send what the windows of a stream and of its connection allow, and its end where nothing is left."""
        queue = stream.queue
        while queue:
            room = min(stream.window, self._window)
            if room <= 0 or self._choked:
                self._wait(stream)
                break
            data = queue[0]
            if len(data) <= room:
                queue.popleft()
            else:
                queue[0], data = data[room:], data[:room]
            size = len(data)
            stream.window -= size
            self._window -= size
            stream.queued -= size
            last = not queue and stream.tail == b""
            self.write(frames.frame(Kind.DATA, frames.END_STREAM if last else 0, stream.number, data))
            self._unopened += 2
            self._worked(_WORK + (size >> 10))
            if last:
                stream.we_ended = True
        if not queue:
            self._waiting.pop(stream, None)
            if stream.tail is not None and not stream.we_ended:
                self._send_tail(stream.number, stream.tail)
                stream.we_ended = True
        if stream.source is not None:
            stream.source.connection.replenish(stream.source, stream.queued)
        if stream.we_ended:
            stream.ended()

    def _wait(self, stream: Stream) -> None:
        stalls = not self._waiting
        self._waiting[stream] = None
        if stalls:
            self.moved()

    def _send_tail(self, number: int, tail: bytes) -> None:
        if tail:
            self.write(frames.headers(number, tail, end=True))
        else:
            self.write(frames.frame(Kind.DATA, frames.END_STREAM, number))

    def _pump_all(self) -> None:
        """Everybody's turn, once; who still waits goes to the end."""
        if self._waiting and self._window > 0 and not self._choked:
            waiting, self._waiting = self._waiting, {}
            for stream in waiting:
                if not stream.is_over:
                    self.pump(stream)

    def replenish(self, stream: Stream, held: int) -> None:
        """Let the peer send more: what went out on the other side, and more than that to who is fast.

        `held` counts the bytes that did not go out yet.
        """
        free = stream.owed - held
        if 2 * free < stream.granted or stream.peer_ended or stream.is_over:
            return
        grant = free
        if stream.grows and not held and stream.granted < _LARGEST_STREAM_WINDOW:
            growth = min(stream.granted, _LARGEST_STREAM_WINDOW - stream.granted, self._growth)
            self._growth -= growth
            stream.granted += growth
            grant += growth
        stream.owed -= free
        stream.allowance += grant
        self.write(frames.window_update(stream.number, grant))

    # frames

    def _take(self, frame: Frame) -> None:
        kind = frame.kind
        if self._opening is not None and kind != Kind.CONTINUATION:
            raise frames.FrameError(Code.PROTOCOL_ERROR, "a header block is interrupted")
        if kind == Kind.DATA:
            self._take_data(frame)
        elif kind == Kind.HEADERS:
            self._opening, self._block, self._continuations = frame, bytearray(frames.content_of(frame)), 0
            self._take_block(frame.flags)
        elif kind == Kind.CONTINUATION:
            self._take_continuation(frame)
        elif kind == Kind.WINDOW_UPDATE:
            self._take_window_update(frame)
        elif kind == Kind.RST_STREAM:
            self._take_reset(frame)
        elif kind == Kind.SETTINGS:
            self._take_settings(frame)
        elif kind == Kind.PUSH_PROMISE:
            raise frames.FrameError(Code.PROTOCOL_ERROR, "nothing may be pushed")
        elif kind == Kind.GOAWAY:
            self.idled()
            if len(frame.payload) < 8:
                raise frames.FrameError(Code.FRAME_SIZE_ERROR, "a GOAWAY frame is too short")
            self.take_goaway(frames.number_of(frame.payload))
        else:
            self.idled()
            if kind == Kind.PING and not frame.flags & frames.ACK:
                self.write(frames.frame(Kind.PING, frames.ACK, 0, frame.payload))
        if not self.greeted:
            raise frames.FrameError(Code.PROTOCOL_ERROR, "the first frame is not SETTINGS")

    def _take_data(self, frame: Frame) -> None:
        size = len(frame.payload)
        self._owed += size
        if 2 * self._owed > _CONNECTION_WINDOW:
            self.write(frames.window_update(0, self._owed))
            self._owed = 0
        stream = self.streams.get(frame.stream)
        if stream is None:
            self._take_late(frame.stream, size)
            return
        if stream.peer_ended:
            raise frames.FrameError(Code.STREAM_CLOSED, "a stream goes on after its end")
        stream.allowance -= size
        stream.owed += size
        if stream.allowance < 0:
            raise frames.FrameError(Code.FLOW_CONTROL_ERROR, "more was sent than the window allowed")
        data, end = frames.content_of(frame), bool(frame.flags & frames.END_STREAM)
        if data or end:
            self._worked()
        else:
            self.idled()
        stream.peer_ended = end
        self.take_data(stream, data, end=end)
        if end:
            self.retire(stream)

    def _take_late(self, number: int, size: int) -> None:
        left = self._late.get(number, 0)
        if size and size <= left:
            self._late[number] = left - size
        else:
            self.ignore(number)

    def _take_continuation(self, frame: Frame) -> None:
        if self._opening is None or frame.stream != self._opening.stream:
            raise frames.FrameError(Code.PROTOCOL_ERROR, "a CONTINUATION continues nothing")
        self._continuations += 1
        self._block += frame.payload
        if self._continuations > _MOST_CONTINUATIONS or len(self._block) > LONGEST_BLOCK:
            raise frames.FrameError(Code.ENHANCE_YOUR_CALM, "a header block does not end")
        self._take_block(frame.flags)

    def _take_block(self, flags: int) -> None:
        opening = self._opening
        if opening is None or not flags & frames.END_HEADERS:
            return
        self._opening = None
        if not self.greeted:
            return
        fields = self._blocks.read(bytes(self._block))
        end = bool(opening.flags & frames.END_STREAM)
        stream = self.streams.get(opening.stream)
        if stream is None and opening.stream <= self.last:
            self.ignore(opening.stream)
            return
        self._worked()
        if stream is not None:
            if stream.peer_ended:
                raise frames.FrameError(Code.STREAM_CLOSED, "a stream goes on after its end")
            stream.peer_ended = end
        self.take_head(opening.stream, fields, end=end)
        if stream is not None and end:
            self.retire(stream)

    def _take_window_update(self, frame: Frame) -> None:
        increment = frames.number_of(frame.payload)
        if not increment:
            raise frames.FrameError(Code.PROTOCOL_ERROR, "a window is opened by nothing")
        if self._unopened:
            self._unopened -= 1
        else:
            self.idled()
        if not frame.stream:
            self._window += increment
            if self._window > LARGEST_WINDOW:
                raise frames.FrameError(Code.FLOW_CONTROL_ERROR, "the connection's window is too large")
            self._pump_all()
            return
        stream = self.streams.get(frame.stream)
        if stream is None:
            self._known(frame.stream)
            return
        stream.window += increment
        if stream.window > LARGEST_WINDOW:
            raise frames.FrameError(Code.FLOW_CONTROL_ERROR, "a stream's window is too large")
        if stream.queue:
            self.pump(stream)

    def _take_reset(self, frame: Frame) -> None:
        stream = self.streams.get(frame.stream)
        if stream is None:
            self.ignore(frame.stream)
            return
        self.idled()
        self.take_reset(stream, frames.code_of(frame.payload))
        stream.is_reset = True
        self.retire(stream)

    def _take_settings(self, frame: Frame) -> None:
        self.idled(_IDLENESS + (len(frame.payload) >> 6))
        if frame.flags & frames.ACK:
            if frame.payload:
                raise frames.FrameError(Code.FRAME_SIZE_ERROR, "an acknowledgement holds something")
            return
        for name, value in dict(frames.settings_of(frame)).items():
            if name == Setting.INITIAL_WINDOW_SIZE:
                for stream in list(self.streams.values()):
                    stream.window += value - self._initial
                    if stream.window > LARGEST_WINDOW:
                        raise frames.FrameError(Code.FLOW_CONTROL_ERROR, "a stream's window is too large")
                    if stream.queue:
                        self.pump(stream)
                self._initial = value
            self.take_setting(name, value)
        self.write(frames.frame(Kind.SETTINGS, frames.ACK, 0))
        self.greeted = True

    def ignore(self, number: int) -> None:
        """A frame for a stream that is over; it may have been on its way (RFC 9113 §5.1). Raises FrameError."""
        self._known(number)
        self.idled()

    def idled(self, cost: int = _IDLENESS) -> None:
        """A frame has done no work. Raises FrameError where that happens too often."""
        self._calm -= cost
        if self._calm < 0:
            self.recover("too many frames that do no work")
            self._calm = PATIENCE

    def recover(self, message: str) -> None:
        """Patience has run out; in a quiet connection it comes back with time. Raises FrameError."""
        now = asyncio.get_running_loop().time()
        if now - self._recovered < _RECOVERY:
            raise frames.FrameError(Code.ENHANCE_YOUR_CALM, message)
        self._recovered = now

    def _known(self, number: int) -> None:
        if number > self.last:
            raise frames.FrameError(Code.PROTOCOL_ERROR, "a frame belongs to a stream that was not opened")

    def _worked(self, worth: int = _WORK) -> None:
        if self._calm < PATIENCE:
            self._calm += worth
        self.moved()
