"""HTTP/2 without a connection: frames, header blocks, and what makes a message malformed."""

import contextlib
import re
import struct

import hpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authsome.proxy.rules import frames
from authsome.proxy.rules.frames import Code, Frame, FrameError, FrameReader, Kind, Setting
from authsome.proxy.rules.head import BadMessage, Field
from authsome.proxy.rules.hpack import LONGEST_BLOCK, NO_TABLE, BlockReader, block_of, secret_block_of
from authsome.proxy.rules.stream import request_of, response_of, trailers_of

NUMBERS = st.integers(0, 2**31 - 1)
RIGHT = st.one_of(
    st.builds(
        lambda flags, stream, payload: frames.frame(Kind.DATA, flags, stream, payload),
        st.integers(0, 255), st.integers(1, 2**31 - 1), st.binary(max_size=40),
    ),
    st.builds(lambda stream, payload: frames.headers(stream, payload, end=True), st.integers(1, 9), st.binary()),
    st.builds(frames.window_update, NUMBERS, NUMBERS),
    st.builds(lambda payload: frames.frame(Kind.PING, 0, 0, payload), st.binary(min_size=8, max_size=8)),
    st.builds(lambda kind, stream: frames.frame(kind, 0, stream, b"x"), st.integers(10, 255), NUMBERS),
)  # fmt: skip
NAMES = st.text("abcdefghijklmnopqrstuvwxyz-:", min_size=1, max_size=20).map(str.encode)
USUAL = st.sampled_from([b":method", b":path", b"accept", b"x-long-and-own", b"cookie", b"content-type"])
VALUES = st.one_of(st.sampled_from([b"", b"GET", b"/", b"https"]), st.binary(max_size=200))
PAIRS = st.lists(st.tuples(st.one_of(NAMES, USUAL), VALUES), max_size=12)


def fields(*pairs: tuple[str, str]) -> list[Field]:
    return [(n.encode("latin-1"), n.encode("latin-1"), v.encode("latin-1")) for n, v in pairs]


def request(*more: tuple[str, str], **pseudo: str | None) -> list[Field]:
    usual: dict[str, str | None] = {"method": "GET", "scheme": "https", "authority": "a.test", "path": "/"}
    return fields(*[(f":{n}", v) for n, v in (usual | pseudo).items() if v is not None], *more)


# frames


@given(st.lists(RIGHT, max_size=12), st.lists(st.integers(1, 40), max_size=60))
def test_frames_are_the_same_wherever_the_bytes_are_cut(sent: list[bytes], cuts: list[int]) -> None:
    data = b"".join(sent)
    whole = list(FrameReader().feed(data))
    reader, cut = FrameReader(), list[Frame]()
    at = 0
    for size in [*cuts, len(data)]:
        cut += reader.feed(data[at : at + size])
        at += size
        assert reader.is_amid_head in (True, False)
    assert cut == whole
    assert b"".join(frames.frame(*each) for each in whole) == data


@given(st.binary(max_size=300))
def test_no_bytes_do_more_than_break_the_protocol(data: bytes) -> None:
    try:
        for frame in FrameReader().feed(data):
            if frame.kind in (Kind.DATA, Kind.HEADERS):
                frames.content_of(frame)
            elif frame.kind == Kind.SETTINGS:
                frames.settings_of(frame)
            elif frame.kind in (Kind.WINDOW_UPDATE, Kind.RST_STREAM):
                frames.number_of(frame.payload), frames.code_of(frame.payload)
    except FrameError:
        pass


@given(st.integers(0, 1), st.integers(0, 255), st.binary(max_size=30))
def test_padding_never_reaches_beyond_its_frame(kind: int, flags: int, payload: bytes) -> None:
    with contextlib.suppress(FrameError):
        assert frames.content_of(Frame(kind, flags, 3, payload)) in payload


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"\x00\x40\x01" + bytes(6), Code.FRAME_SIZE_ERROR),
        (frames.frame(Kind.PING, 0, 0, b"short"), Code.FRAME_SIZE_ERROR),
        (frames.frame(Kind.PING, 0, 1, bytes(8)), Code.PROTOCOL_ERROR),
        (frames.frame(Kind.DATA, 0, 0, b"x"), Code.PROTOCOL_ERROR),
        (frames.frame(Kind.HEADERS, 0, 0, b"x"), Code.PROTOCOL_ERROR),
        (frames.frame(Kind.SETTINGS, 0, 5), Code.PROTOCOL_ERROR),
    ],
)
def test_a_frame_of_a_wrong_size_or_place_ends_the_connection(frame: bytes, code: Code) -> None:
    with pytest.raises(FrameError) as caught:
        list(FrameReader().feed(frame))
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("kind", "flags", "payload", "content"),
    [
        (Kind.DATA, 0, b"abc", b"abc"),
        (Kind.DATA, frames.PADDED, b"\x02abc\0\0", b"abc"),
        (Kind.DATA, frames.PADDED, b"\x03\0\0\0", b""),
        (Kind.DATA, frames.PRIORITY_FLAG, b"abc", b"abc"),
        (Kind.HEADERS, frames.PRIORITY_FLAG, b"\0\0\0\1\xffabc", b"abc"),
        (Kind.HEADERS, frames.PADDED | frames.PRIORITY_FLAG, b"\x01\0\0\0\1\xffabc\0", b"abc"),
        (Kind.DATA, frames.PADDED, b"", None),
        (Kind.DATA, frames.PADDED, b"\x04\0\0\0", None),
        (Kind.HEADERS, frames.PRIORITY_FLAG, b"\0\0\0\3\xffabc", None),
        (Kind.HEADERS, frames.PRIORITY_FLAG, b"\0\0\0", None),
    ],
)
def test_content_is_what_is_neither_padding_nor_priority(
    kind: Kind, flags: int, payload: bytes, content: bytes | None
) -> None:
    frame = Frame(kind, flags, 3, payload)
    if content is None:
        with pytest.raises(FrameError):
            frames.content_of(frame)
    else:
        assert frames.content_of(frame) == content


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"\0\1\0", Code.FRAME_SIZE_ERROR),
        (struct.pack(">HI", Setting.INITIAL_WINDOW_SIZE, 2**31), Code.FLOW_CONTROL_ERROR),
        (struct.pack(">HI", Setting.MAX_FRAME_SIZE, 16383), Code.PROTOCOL_ERROR),
        (struct.pack(">HI", Setting.MAX_FRAME_SIZE, 2**24), Code.PROTOCOL_ERROR),
        (struct.pack(">HI", Setting.ENABLE_PUSH, 2), Code.PROTOCOL_ERROR),
        (struct.pack(">HI", Setting.ENABLE_CONNECT_PROTOCOL, 2), Code.PROTOCOL_ERROR),
        (struct.pack(">HI", 99, 2**32 - 1) + struct.pack(">HI", Setting.MAX_FRAME_SIZE, 2**24 - 1), None),
    ],
)
def test_settings_without_a_meaning_end_the_connection(payload: bytes, code: Code | None) -> None:
    frame = Frame(Kind.SETTINGS, 0, 0, payload)
    if code is None:
        assert frames.settings_of(frame) == [(99, 2**32 - 1), (Setting.MAX_FRAME_SIZE, 2**24 - 1)]
        return
    with pytest.raises(FrameError) as caught:
        frames.settings_of(frame)
    assert caught.value.code == code


def test_what_is_written_is_read_the_same() -> None:
    written = (
        frames.settings({Setting.ENABLE_PUSH: 0}) + frames.window_update(3, 7) + frames.rst_stream(5, Code.CANCEL)
        + frames.goaway(9, Code.ENHANCE_YOUR_CALM)
    )  # fmt: skip
    settings_, update, reset, goaway = FrameReader().feed(written)
    assert frames.settings_of(settings_) == [(Setting.ENABLE_PUSH, 0)]
    assert (update.stream, frames.number_of(update.payload)) == (3, 7)
    assert frames.code_of(reset.payload) == Code.CANCEL
    assert (frames.number_of(goaway.payload), frames.code_of(goaway.payload, 4)) == (9, Code.ENHANCE_YOUR_CALM)
    assert frames.code_of(b"\0\0\0\xff") == frames.code_of(b"") == Code.INTERNAL_ERROR


@pytest.mark.parametrize("size", [0, 16384, 16385, 40000])
def test_a_long_block_is_continued(size: int) -> None:
    sent = bytes(range(256)) * 160
    first, *more = FrameReader().feed(frames.headers(7, sent[:size], end=True))
    assert first.kind == Kind.HEADERS and first.flags & frames.END_STREAM
    assert all(each.kind == Kind.CONTINUATION and each.stream == 7 for each in more)
    assert [bool(each.flags & frames.END_HEADERS) for each in [first, *more]] == [False] * len(more) + [True]
    assert first.payload + b"".join(each.payload for each in more) == sent[:size]


@pytest.mark.parametrize(
    ("begun", "amid"),
    [(b"", False), (b"\0", True), (b"\0\0\5\0", False), (b"\0\0\5\0\0\0\0\0\1ab", False), (b"\0\0\5\1\0", True)],
)
def test_a_frame_that_has_begun_is_known_by_its_kind(begun: bytes, amid: bool) -> None:
    reader = FrameReader()
    assert not list(reader.feed(begun))
    assert reader.is_amid_head is amid


# header blocks


@given(PAIRS)
def test_a_block_means_what_was_written(pairs: list[tuple[bytes, bytes]]) -> None:
    assert [tuple(each) for each in hpack.Decoder().decode(NO_TABLE + block_of(pairs), raw=True)] == pairs
    assert [each[1:] for each in BlockReader().read(block_of(pairs))] == pairs


@given(PAIRS)
def test_a_credential_is_never_indexed(pairs: list[tuple[bytes, bytes]]) -> None:
    written = hpack.Decoder().decode(secret_block_of(pairs), raw=True)
    assert [tuple(each) for each in written] == pairs
    for each in written:
        in_the_static_table = block_of([(bytes(each[0]), bytes(each[1]))])[0] & 0x80
        assert not each.indexable or in_the_static_table


def test_a_long_integer_has_as_many_bytes_as_it_needs() -> None:
    for size in (0, 126, 127, 128, 254, 255, 16383, 16384, 60000):
        assert hpack.Decoder().decode(block_of([(b"x", b"v" * size)]), raw=True) == [(b"x", b"v" * size)]


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from([None, 0, 64, 300, 4096])), max_size=40), st.lists(PAIRS))
def test_blocks_are_read_as_hpack_reads_them_remembered_or_not(
    order: list[tuple[int, int | None]], lists: list[list[tuple[bytes, bytes]]]
) -> None:
    encoder, decoder, reader = hpack.Encoder(), hpack.Decoder(), BlockReader()
    for which, size in order:
        if size is not None:
            encoder.header_table_size = size
        pairs = lists[which % len(lists)] if lists else []
        written = encoder.encode(pairs, huffman=bool(which % 2))
        expected = [tuple(each) for each in decoder.decode(written, raw=True)]
        assert [each[1:] for each in reader.read(written)] == expected == pairs


def test_a_block_that_comes_again_is_not_read_again_until_the_table_changes() -> None:
    reader, own = BlockReader(), b"\x40\x01a\x01b"  # indexed as 62
    reader.read(own)
    first = reader.read(b"\xbe")
    assert reader.read(b"\xbe") is first and first == [(b"a", b"a", b"b")]
    reader.read(b"\x40\x01a\x01c")
    assert reader.read(b"\xbe") == [(b"a", b"a", b"c")]
    reader.read(NO_TABLE)
    with pytest.raises(FrameError):
        reader.read(b"\xbe")


@given(st.lists(st.binary(max_size=80), max_size=4))
def test_no_block_does_more_than_break_the_compression(blocks: list[bytes]) -> None:
    reader = BlockReader()
    try:
        for each in blocks:
            found = reader.read(each)
            for meaning in (request_of, response_of, lambda f: trailers_of(f, frozenset(), 400)):
                with contextlib.suppress(BadMessage):
                    meaning(found)
    except FrameError as error:
        assert error.code in (Code.COMPRESSION_ERROR, Code.ENHANCE_YOUR_CALM)


def test_a_bomb_ends_the_connection() -> None:  # X49
    reader = BlockReader()
    reader.read(block := b"\x40\x01a\x7f\x80\x1e" + bytes(127 + 3840 - 127 + 127))
    assert len(block) < 4096
    with pytest.raises(FrameError) as caught:
        reader.read(b"\xbe" * 16000)
    assert caught.value.code == Code.ENHANCE_YOUR_CALM


def test_at_most_64_blocks_are_remembered_and_none_that_is_long() -> None:
    reader = BlockReader()
    read = [reader.read(block_of([(b"n", b"%d" % number)])) for number in range(100)]
    assert reader.read(block_of([(b"n", b"99")])) is read[99]
    assert reader.read(block_of([(b"n", b"10")])) is not read[10]
    long = block_of([(b"n", b"x" * 3000)])
    assert reader.read(long) is not reader.read(long)


def test_a_block_that_comes_again_adds_to_the_table_again() -> None:
    reader, own = BlockReader(), b"\x40\x01a\x01b"
    assert reader.read(own) is reader.read(own)
    assert reader.read(b"\xbe") == reader.read(b"\xbf") == [(b"a", b"a", b"b")]
    with pytest.raises(FrameError):
        reader.read(b"\xc0")


BLOCKS = [
    b"\x40\x01a\x01b", b"\x40\x01a\x01c\x82", b"\x7e\x01d", b"\x0f\x2f\x01e", b"\xbe", b"\xbf\x84", b"\x82\x84",
    b"\x20", b"\x3f\x09", b"\x3f\xe1\x1f", b"\x3f\x09\x40\x01a\x01b", b"",
]  # fmt: skip


@settings(max_examples=300)
@given(st.lists(st.sampled_from(BLOCKS), max_size=30))
def test_whatever_blocks_do_to_the_table_they_are_read_as_hpack_reads_them(blocks: list[bytes]) -> None:
    decoder, reader = hpack.Decoder(), BlockReader()
    for block in blocks:
        try:
            expected = [tuple(each) for each in decoder.decode(block, raw=True)]
        except hpack.HPACKError:
            with pytest.raises(FrameError):
                reader.read(block)
            return
        assert [each[1:] for each in reader.read(block)] == expected


# messages


def test_a_usual_request_is_understood() -> None:
    head = request_of(
        request(("accept", "*/*"), ("content-length", "5"), ("expect", "100-continue"), ("te", "trailers"))
    )
    assert (head.method, head.host, head.target, head.protocol) == ("GET", "a.test", "/", "")
    assert (head.length, head.expects) == (5, True)
    assert head.text.startswith(b":method: GET\r\n:scheme: https\r\n")
    opened = request_of(request(method="CONNECT", protocol="websocket"))
    assert opened.protocol == "websocket"
    assert request_of(request(method="CONNECT", scheme=None, path=None)).protocol == ""  # refused for its method
    assert request_of(request(("host", "b.test"), authority=None)).host == "b.test"
    assert request_of(request(("host", "A.test"))).host == "A.test"


@pytest.mark.parametrize(
    ("found", "status"),
    [
        (request(method=None), 400),
        (request(method="get"), 400),
        (request(method="GET\tX"), 400),
        (request(method="M" * 1024), 400),
        (request(scheme="http"), 400),
        (request(scheme=None), 400),
        (request(path=None), 400),
        (request(path="https://evil/"), 400),
        (request(path="*"), 400),
        (request(path="/" + "x" * 16384), 414),
        (request(path="/\r\nx: y"), 400),
        (request(authority=None), 400),
        (request(authority=""), 400),
        (request(authority="a.test\0"), 400),
        (request(("host", "b.test")), 400),
        (request(protocol="websocket"), 400),
        (request(method="CONNECT", protocol=""), 400),
        (request() + fields((":path", "/2")), 400),
        (request(("a", "b")) + fields((":authority", "a.test")), 400),
        (request() + fields((":status", "200")), 400),
        (request() + fields((":unknown", "x")), 400),
        (request(("A", "b")), 400),
        (request(("a b", "c")), 400),
        (request(("", "c")), 400),
        (request(("a:", "c")), 400),
        (request(("caf\xe9", "c")), 400),
        (request(("a", "b\r\nc: d")), 400),
        (request(("a", "b\0")), 400),
        (request(("a", " b")), 400),
        (request(("a", "b\t")), 400),
        (request(("connection", "close")), 400),
        (request(("transfer-encoding", "chunked")), 400),
        (request(("upgrade", "h2c")), 400),
        (request(("keep-alive", "5")), 400),
        (request(("proxy-connection", "close")), 400),
        (request(("http2-settings", "x")), 400),
        (request(("te", "gzip")), 400),
        (request(("te", "trailers, gzip")), 400),
        (request(("expect", "junk")), 417),
        (request(("content-length", "+3")), 400),
        (request(("content-length", "3"), ("content-length", "3")), 400),
        (request(*[("a", "b")] * 256), 431),
        (request(*[("a", "x" * 600)] * 110), 431),
    ],
)
def test_a_request_that_can_be_misread_is_refused(found: list[Field], status: int) -> None:  # X46, X47, X48
    with pytest.raises(BadMessage) as caught:
        request_of(found)
    assert caught.value.status == status


@pytest.mark.parametrize(
    "found",
    [
        fields(),
        fields((":status", "101")),
        fields((":status", "99")),
        fields((":status", "600")),
        fields((":status", "20x")),
        fields((":status", "200"), (":status", "200")),
        fields(("a", "b"), (":status", "200")),
        fields((":status", "200"), (":path", "/")),
        fields((":status", "200"), ("connection", "close")),
        fields((":status", "200"), ("A", "b")),
        fields((":status", "200"), ("a", "b\n")),
        fields((":status", "200"), *[("a", "b")] * 256),
        fields((":status", "200"), *[("a", "x" * 600)] * 110),
    ],
)
def test_an_answer_that_can_be_misread_is_refused(found: list[Field]) -> None:
    with pytest.raises(BadMessage) as caught:
        response_of(found)
    assert caught.value.status == 502


def test_what_is_not_answered_is_taken_out() -> None:  # X25
    head = response_of(fields((":status", "204"), ("alt-svc", "h3"), ("x-authsome-error", "forged"), ("a", "b")))
    assert head.status == 204 and head.fields == fields(("a", "b"))


def test_trailers_are_no_place_for_what_decides() -> None:  # X35
    given_ = fields(("authorization", "x"), ("host", "evil"), ("x-key", "y"), ("grpc-status", "0"))
    assert trailers_of(given_, frozenset({b"x-key"}), 400) == fields(("grpc-status", "0"))
    for wrong in (fields((":path", "/")), fields(("Upper", "x")), fields(("a", "\r"))):
        with pytest.raises(BadMessage):
            trailers_of(wrong, frozenset(), 400)


def test_a_block_of_twice_the_bound_is_read_so_that_only_its_stream_ends() -> None:
    long = block_of([(b"a", b"x" * (LONGEST_BLOCK - 100))])
    with pytest.raises(BadMessage, match=re.escape("64 KiB")):
        request_of([*request(), *BlockReader().read(long)])
    with pytest.raises(FrameError):
        BlockReader().read(long + long)
