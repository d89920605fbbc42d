"""HTTP/2 frames (RFC 9113 §4, §6): cut out of the bytes with their sizes checked, and written."""

import struct
from collections.abc import Iterator, Mapping
from enum import IntEnum
from typing import NamedTuple

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
LARGEST_FRAME = 16384  # of a payload; what a peer may send before it is allowed more, and we never allow more
DEFAULT_WINDOW = 65535
LARGEST_WINDOW = 2**31 - 1

END_STREAM, ACK, END_HEADERS, PADDED, PRIORITY_FLAG = 0x1, 0x1, 0x4, 0x8, 0x20

_HEADER = struct.Struct(">BHBBI")
_SETTING = struct.Struct(">HI")
_NUMBER = struct.Struct(">I")


class Kind(IntEnum):
    """The type of a frame."""

    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


class Code(IntEnum):
    """An error code (RFC 9113 §7)."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11
    INADEQUATE_SECURITY = 12
    HTTP_1_1_REQUIRED = 13


class Setting(IntEnum):
    """A parameter of a connection (RFC 9113 §6.5.2, RFC 8441 §3)."""

    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6
    ENABLE_CONNECT_PROTOCOL = 8


class FrameError(Exception):
    """What ends a connection: the peer breaks the protocol, or asks for too much."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code


class Frame(NamedTuple):
    """`kind` may be one that is not known; such a frame is ignored (RFC 9113 §4.1)."""

    kind: int
    flags: int
    stream: int
    payload: bytes


# The exact length, in bytes, of the payloads that have one.
_SIZES = {Kind.PRIORITY: 5, Kind.RST_STREAM: 4, Kind.PING: 8, Kind.WINDOW_UPDATE: 4}
_ON_A_STREAM = frozenset({Kind.DATA, Kind.HEADERS, Kind.PRIORITY, Kind.RST_STREAM, Kind.CONTINUATION})
_ON_THE_CONNECTION = frozenset({Kind.SETTINGS, Kind.PING, Kind.GOAWAY})


class FrameReader:
    """Cuts frames out of the bytes of one connection."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = b""

    @property
    def is_amid_head(self) -> bool:
        """Whether a frame has begun and is no DATA, as far as can be told."""
        return bool(self._buffer) and self._buffer[3:4] != b"\0"

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are complete. Raises FrameError."""
        if self._buffer:
            data, self._buffer = self._buffer + data, b""
        at, size = 0, len(data)
        while size - at >= 9:
            high, low, kind, flags, stream = _HEADER.unpack_from(data, at)
            length = high << 16 | low
            if length > LARGEST_FRAME:
                raise FrameError(Code.FRAME_SIZE_ERROR, "a frame is larger than was allowed")
            end = at + 9 + length
            if end > size:
                break
            frame = Frame(kind, flags, stream & LARGEST_WINDOW, data[at + 9 : end])
            if kind:
                _check(frame)
            elif not frame.stream:
                raise FrameError(Code.PROTOCOL_ERROR, "a DATA frame belongs to no stream")
            yield frame
            at = end
        self._buffer = data[at:]


def _check(frame: Frame) -> None:
    size = _SIZES.get(frame.kind)  # type: ignore[call-overload]
    if size is not None and len(frame.payload) != size:
        raise FrameError(Code.FRAME_SIZE_ERROR, "a frame has the wrong size")
    if (frame.kind in _ON_A_STREAM and not frame.stream) or (frame.kind in _ON_THE_CONNECTION and frame.stream):
        raise FrameError(Code.PROTOCOL_ERROR, "a frame belongs to the wrong stream")


def content_of(frame: Frame) -> bytes:
    """The payload of DATA or HEADERS without padding and priority. Raises FrameError."""
    payload, flags = frame.payload, frame.flags
    if not flags & (PADDED | PRIORITY_FLAG):
        return payload
    start, end = 0, len(payload)
    if flags & PADDED:
        if not payload:
            raise FrameError(Code.FRAME_SIZE_ERROR, "a padded frame has no room for its padding")
        start, end = 1, end - payload[0]
    if flags & PRIORITY_FLAG and frame.kind == Kind.HEADERS:
        if len(payload) >= start + 4 and _NUMBER.unpack_from(payload, start)[0] & LARGEST_WINDOW == frame.stream:
            raise FrameError(Code.PROTOCOL_ERROR, "a stream depends on itself")
        start += 5
    if start > end:
        raise FrameError(Code.PROTOCOL_ERROR, "a frame is padded beyond its size")
    return payload[start:end]


def settings_of(frame: Frame) -> list[tuple[int, int]]:
    """The parameters of a SETTINGS frame that is no acknowledgement. Raises FrameError."""
    if len(frame.payload) % 6:
        raise FrameError(Code.FRAME_SIZE_ERROR, "a SETTINGS frame has the wrong size")
    found = list(_SETTING.iter_unpack(frame.payload))
    for name, value in found:
        if name == Setting.INITIAL_WINDOW_SIZE and value > LARGEST_WINDOW:
            raise FrameError(Code.FLOW_CONTROL_ERROR, "the initial window is too large")
        if (name == Setting.MAX_FRAME_SIZE and not LARGEST_FRAME <= value < 2**24) or (
            name in (Setting.ENABLE_PUSH, Setting.ENABLE_CONNECT_PROTOCOL) and value > 1
        ):
            raise FrameError(Code.PROTOCOL_ERROR, "a setting has no meaning")
    return found


def number_of(payload: bytes) -> int:
    """The first 31 bits of a payload that has at least four bytes, by size check: an increment, a stream."""
    return int(_NUMBER.unpack_from(payload)[0]) & LARGEST_WINDOW


def code_of(payload: bytes, at: int = 0) -> int:
    """The error code at a place of a payload; one that is not known counts as INTERNAL_ERROR (RFC 9113 §7)."""
    code = int(_NUMBER.unpack_from(payload, at)[0]) if len(payload) >= at + 4 else Code.INTERNAL_ERROR
    return code if code <= Code.HTTP_1_1_REQUIRED else Code.INTERNAL_ERROR


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame."""
    size = len(payload)
    return _HEADER.pack(size >> 16, size & 0xFFFF, kind, flags, stream) + payload


def headers(stream: int, block: bytes, *, end: bool) -> bytes:
    """HEADERS, with as many CONTINUATIONs as the block needs."""
    flags = END_STREAM if end else 0
    if len(block) <= LARGEST_FRAME:
        return frame(Kind.HEADERS, flags | END_HEADERS, stream, block)
    parts = [block[at : at + LARGEST_FRAME] for at in range(0, len(block), LARGEST_FRAME)]
    middle = [frame(Kind.CONTINUATION, 0, stream, part) for part in parts[1:-1]]
    first, last = frame(Kind.HEADERS, flags, stream, parts[0]), frame(Kind.CONTINUATION, END_HEADERS, stream, parts[-1])
    return b"".join([first, *middle, last])


def settings(values: Mapping[Setting, int]) -> bytes:
    """SETTINGS."""
    return frame(Kind.SETTINGS, 0, 0, b"".join(_SETTING.pack(*each) for each in values.items()))


def window_update(stream: int, increment: int) -> bytes:
    """WINDOW_UPDATE; stream 0 is the connection."""
    return frame(Kind.WINDOW_UPDATE, 0, stream, _NUMBER.pack(increment))


def rst_stream(stream: int, code: Code) -> bytes:
    """RST_STREAM."""
    return frame(Kind.RST_STREAM, 0, stream, _NUMBER.pack(code))


def goaway(last: int, code: Code) -> bytes:
    """GOAWAY."""
    return frame(Kind.GOAWAY, 0, 0, _NUMBER.pack(last) + _NUMBER.pack(code))
