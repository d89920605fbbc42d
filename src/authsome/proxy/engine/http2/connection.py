"""What both ends of HTTP/2 have in common: frames in and out, windows, settings, and patience with a peer."""

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from authsome.proxy.engine.ports import Limits
from authsome.proxy.rules import frames
from authsome.proxy.rules.frames import DEFAULT_WINDOW, LARGEST_FRAME, LARGEST_WINDOW, Code, Frame, Kind, Setting
from authsome.proxy.rules.head import LONGEST_HEAD, Field
from authsome.proxy.rules.hpack import BlockReader

if TYPE_CHECKING:
    from authsome.proxy.engine.http2.exchange import Http2Exchange

MOST_STREAMS = 100  # promises §3

_CONNECTION_WINDOW = 4 << 20
_LARGEST_STREAM_WINDOW = 1 << 20
_GROWTH = 8 << 20  # by which the windows of a connection's streams may grow in all
_MOST_CONTINUATIONS = 32
# Frames that do no work are allowed in proportion to those that do (RFC 9113 §10.5).
_PATIENCE = 1000
_WORK, _IDLENESS, _RESET = 2, 1, 3


class Stream:
    """One stream of one connection. What it sends came from `source`, whose window is opened as it goes out."""

    __slots__ = (
        "_ends_early", "allowance", "connection", "exchange", "granted", "is_reset", "number", "owed", "peer_ended",
        "queue", "queued", "source", "tail", "we_ended", "window",
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
        self.we_ended = self.peer_ended = self.is_reset = self._ends_early = False

    def head(self, block: bytes, *, end: bool = False) -> None:
        """Send a header block that opens the message, or an interim one."""
        self.connection.write(frames.headers(self.number, block, end=end))
        if end:
            self.ended()

    def send(self, data: bytes) -> None:
        """Send a part of the body, as soon as there is a window for it."""
        if self.we_ended or self.is_reset:
            return
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
        self.we_ended = True
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
        "_block", "_blocks", "_calm", "_choked", "_continuations", "_growth", "_initial", "_lost", "_opening", "_out",
        "_owed", "_reader", "_scheduled", "_transport", "_waiting", "_window", "greeted", "last", "limits", "streams",
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
        self._window = self._initial = DEFAULT_WINDOW
        self._waiting: dict[Stream, None] = {}  # streams with something to send, in the order of their turns
        self._owed = 0
        self._growth = _GROWTH
        self._calm = _PATIENCE

    # for a subclass

    def take_head(self, number: int, fields: list[Field], *, end: bool) -> None:
        """A header block on a stream that may not be known yet. Raises FrameError."""
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
        """The peer has shown that it lives."""

    @property
    def is_stalled(self) -> bool:
        """Whether something waits for the peer to open a window, or to read."""
        return bool(self._waiting)

    # the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=self.limits.buffer)

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
        self._pump_all()

    def write(self, data: bytes) -> None:
        """Send frames; those of one turn of the loop go out together."""
        if self._lost:
            return
        self._out.append(data)
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._flush)

    def give_up(self, code: Code) -> None:
        """Say why, and close."""
        if self._lost:
            return
        self.write(frames.goaway(self.last, code))
        self._flush()
        self._end()
        if self._transport is not None:
            self._transport.close()

    def is_closing(self) -> bool:
        return self._lost or self._transport is None or self._transport.is_closing()

    def _flush(self) -> None:
        self._scheduled = False
        out, self._out = self._out, []
        if out and self._transport is not None:
            self._transport.write(out[0] if len(out) == 1 else b"".join(out))

    def _end(self) -> None:
        if not self._lost:
            self._lost = True
            self.take_end()
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

    def pump(self, stream: Stream) -> None:
        """Send what the windows of a stream and of its connection allow, and its end where nothing is left."""
        queue = stream.queue
        while queue:
            room = min(stream.window, self._window)
            if room <= 0 or self._choked:
                self._waiting[stream] = None
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
        if not held and stream.granted < _LARGEST_STREAM_WINDOW:
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
            self._idled()
            if len(frame.payload) < 8:
                raise frames.FrameError(Code.FRAME_SIZE_ERROR, "a GOAWAY frame is too short")
            self.take_goaway(frames.number_of(frame.payload))
        else:
            self._idled()
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
            self.ignore(frame.stream)
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
            self._idled()
        stream.peer_ended = end
        self.take_data(stream, data, end=end)
        if end:
            self.retire(stream)

    def _take_continuation(self, frame: Frame) -> None:
        if self._opening is None or frame.stream != self._opening.stream:
            raise frames.FrameError(Code.PROTOCOL_ERROR, "a CONTINUATION continues nothing")
        self._continuations += 1
        self._block += frame.payload
        if self._continuations > _MOST_CONTINUATIONS or len(self._block) > LONGEST_HEAD:
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
        self._worked()
        end = bool(opening.flags & frames.END_STREAM)
        stream = self.streams.get(opening.stream)
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
        if not frame.stream:
            self._idled()
            self._window += increment
            if self._window > LARGEST_WINDOW:
                raise frames.FrameError(Code.FLOW_CONTROL_ERROR, "the connection's window is too large")
            self._pump_all()
            return
        stream = self.streams.get(frame.stream)
        if stream is None:
            self.ignore(frame.stream)
            return
        self._idled()
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
        self._idled(_RESET)
        stream.is_reset = True
        self.take_reset(stream, frames.code_of(frame.payload))
        self.retire(stream)

    def _take_settings(self, frame: Frame) -> None:
        self._idled()
        if frame.flags & frames.ACK:
            if frame.payload:
                raise frames.FrameError(Code.FRAME_SIZE_ERROR, "an acknowledgement holds something")
            return
        for name, value in frames.settings_of(frame):
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
        if number > self.last:
            raise frames.FrameError(Code.PROTOCOL_ERROR, "a frame belongs to a stream that was not opened")
        self._idled()

    def _worked(self, worth: int = _WORK) -> None:
        if self._calm < _PATIENCE:
            self._calm += worth
        if self._waiting:
            self.moved()

    def _idled(self, cost: int = _IDLENESS) -> None:
        self._calm -= cost
        if self._calm < 0:
            raise frames.FrameError(Code.ENHANCE_YOUR_CALM, "too many frames that do no work")
