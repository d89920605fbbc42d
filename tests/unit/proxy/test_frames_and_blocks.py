"""HTTP/2 as other implementations read what is written here, and what RFC 9113 says of each kind of frame."""

import hpack
import pytest
from hyperframe import frame as hyperframe
from hypothesis import given
from hypothesis import strategies as st

from authsome.proxy.rules import frames
from authsome.proxy.rules.frames import LARGEST_FRAME, Code, Frame, FrameError, FrameReader, Kind, Setting
from authsome.proxy.rules.hpack import block_of, secret_block_of
from authsome.proxy.rules.stream import request_of, trailers_of

UNKNOWN = 0x99
sendable = st.one_of(
    st.builds(lambda n, d: frames.frame(Kind.DATA, 0, n, d), st.integers(1, 9), st.binary(max_size=40)),
    st.builds(lambda n, d: frames.headers(n, d, end=True), st.integers(1, 9), st.binary(max_size=40)),
    st.builds(frames.window_update, st.integers(0, 9), st.integers(1, 2**31 - 1)),
    st.builds(frames.rst_stream, st.integers(1, 9), st.sampled_from(Code)),
    st.builds(frames.goaway, st.integers(0, 9), st.sampled_from(Code)),
    st.just(frames.settings({Setting.ENABLE_PUSH: 0, Setting.MAX_CONCURRENT_STREAMS: 100})),
    st.just(frames.frame(UNKNOWN, 0xFF, 3, b"unknown")),
)
names = st.sampled_from([b":path", b"accept-encoding", b"x-own", b"a" * 200])
fields = st.lists(
    st.tuples(names, st.one_of(st.binary(max_size=20), st.sampled_from([b"/", b"x" * 127, b"y" * 40000])))
)


@given(sendable)
def test_a_frame_is_read_the_same_by_another_implementation(data: bytes) -> None:
    theirs, length = hyperframe.Frame.parse_frame_header(memoryview(data)[:9])
    theirs.parse_body(memoryview(data)[9:])
    (ours,) = FrameReader().feed(data)
    assert (ours.stream, len(ours.payload)) == (theirs.stream_id, length)
    assert ours.kind in (theirs.type, UNKNOWN)


@given(fields)
def test_a_block_leaves_nothing_behind_in_another_implementation(pairs: list[tuple[bytes, bytes]]) -> None:
    for write in (block_of, secret_block_of):
        decoder = hpack.Decoder(max_header_list_size=1 << 30)
        assert [tuple(each) for each in decoder.decode(write(pairs), raw=True)] == pairs
        assert not decoder.header_table.dynamic_entries


@pytest.mark.parametrize(
    ("kind", "stream", "payload", "code"),
    [
        (Kind.DATA, 1, bytes(LARGEST_FRAME + 1), Code.FRAME_SIZE_ERROR),  # §4.2
        (Kind.DATA, 0, b"", Code.PROTOCOL_ERROR),  # §6.1
        (Kind.HEADERS, 0, b"", Code.PROTOCOL_ERROR),  # §6.2
        (Kind.PRIORITY, 1, bytes(4), Code.FRAME_SIZE_ERROR),  # §6.3
        (Kind.PRIORITY, 0, bytes(5), Code.PROTOCOL_ERROR),
        (Kind.RST_STREAM, 1, bytes(5), Code.FRAME_SIZE_ERROR),  # §6.4
        (Kind.RST_STREAM, 0, bytes(4), Code.PROTOCOL_ERROR),
        (Kind.SETTINGS, 1, b"", Code.PROTOCOL_ERROR),  # §6.5
        (Kind.PING, 0, bytes(7), Code.FRAME_SIZE_ERROR),  # §6.7
        (Kind.PING, 1, bytes(8), Code.PROTOCOL_ERROR),
        (Kind.GOAWAY, 1, bytes(8), Code.PROTOCOL_ERROR),  # §6.8
        (Kind.WINDOW_UPDATE, 1, bytes(3), Code.FRAME_SIZE_ERROR),  # §6.9
        (Kind.CONTINUATION, 0, b"", Code.PROTOCOL_ERROR),  # §6.10
    ],
)
def test_each_kind_of_frame_has_its_size_and_its_streams(kind: Kind, stream: int, payload: bytes, code: Code) -> None:
    with pytest.raises(FrameError) as caught:
        list(FrameReader().feed(frames.frame(kind, 0, stream, payload)))
    assert caught.value.code is code


def test_a_frame_may_come_in_pieces() -> None:
    data, reader = frames.window_update(3, 7), FrameReader()
    assert [list(reader.feed(data[:4])), list(reader.feed(data[4:11]))] == [[], []]
    assert list(reader.feed(data[11:])) == [Frame(Kind.WINDOW_UPDATE, 0, 3, (7).to_bytes(4))]


def test_the_reserved_bit_of_a_stream_is_ignored() -> None:  # §4.1
    assert list(FrameReader().feed(frames.frame(Kind.DATA, 0, 2**31 + 7, b"a"))) == [Frame(Kind.DATA, 0, 7, b"a")]


def test_a_plain_connect_has_neither_scheme_nor_path() -> None:  # §8.5; it is refused later, for its method
    head = request_of([(b":method", b":method", b"CONNECT"), (b":authority", b":authority", b"a.test:443")])
    assert (head.method, head.host, head.target, head.protocol) == ("CONNECT", "a.test:443", "", "")


def test_a_hint_past_the_proxy_came_back_as_a_trailer_of_a_stream() -> None:  # X25
    assert trailers_of([(b"alt-svc", b"alt-svc", b"h3")], frozenset(), 502) == []
