"""Heads, framing and bodies: what is well formed for llhttp and still refused, and where each message ends."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authsome.proxy.rules.body import ChunkedBody, EndlessBody, SizedBody, body_of
from authsome.proxy.rules.framing import Unmeasured, frame_request, frame_response
from authsome.proxy.rules.head import (
    BadMessage,
    RequestHead,
    RequestReader,
    ResponseHead,
    ResponseReader,
    read_response,
)

HOST = "Host: a.test"


def framed(*fields: str, start: str = "POST / HTTP/1.1"):  # type: ignore[no-untyped-def]
    text = "\r\n".join([start, *fields, "", ""]).encode("latin-1")
    return frame_request(RequestReader().read(text))


def answered(*fields: str, start: str = "HTTP/1.1 200 OK", method: str = "GET"):  # type: ignore[no-untyped-def]
    return frame_response(read_response("\r\n".join([start, *fields, "", ""]).encode("latin-1")), method)


def refusal(function, *arguments, **options) -> int:  # type: ignore[no-untyped-def]
    with pytest.raises(BadMessage) as caught:
        function(*arguments, **options)
    return caught.value.status


def test_a_length_is_one_number() -> None:  # X34
    assert framed(HOST).length == 0
    assert framed(HOST, "Content-Length: 5").length == 5
    for value in ("+3", "-1", "0x3", "3, 3", "", "18446744073709551616", "9223372036854775808", "٣"[:0] + "1 2"):
        assert refusal(framed, HOST, f"Content-Length: {value}") == 400
    assert refusal(framed, HOST, "Content-Length: 3", "Content-Length: 3") == 400


def test_chunked_is_the_only_coding_and_stands_alone() -> None:  # X32 X33
    assert framed(HOST, "Transfer-Encoding: Chunked").length is Unmeasured.CHUNKED
    for fields in (
        ["Transfer-Encoding: gzip, chunked"],
        ["Transfer-Encoding: identity"],
        ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: chunked", "Content-Length: 3"],
        ["Transfer-Encoding: "],
    ):
        assert refusal(framed, HOST, *fields) == 400
    assert refusal(framed, HOST, "Transfer-Encoding: chunked", start="POST / HTTP/1.0") == 400


def test_the_framing_does_not_lean_on_the_parser() -> None:
    """The same, for a head that llhttp would not have let through."""

    def field(name: bytes, value: bytes) -> tuple[bytes, bytes, bytes]:
        return (name, name, value)

    length, coding, host = field(b"content-length", b"3"), field(b"transfer-encoding", b"chunked"), field(b"host", b"a")
    for fields in ([host, length, coding], [host, length, length], [host, coding, coding], [host, host]):
        assert refusal(frame_request, RequestHead("GET", "/", True, fields, b"")) == 400
    gzip = field(b"transfer-encoding", b"gzip")
    for fields in ([length, coding], [length, length], [coding, coding], [gzip]):
        assert refusal(frame_response, ResponseHead(200, b"", True, fields, b""), "GET") == 502
    assert refusal(frame_response, ResponseHead(200, b"", False, [coding], b""), "GET") == 502


def test_one_host_is_needed() -> None:  # X30 X45
    assert framed(HOST).host == "a.test"
    assert framed(start="GET / HTTP/1.0").host == ""
    for fields in ([], [HOST, HOST], [HOST, "host: b.test"], ["Host: "]):
        assert refusal(framed, *fields) == 400


def test_a_connection_is_kept_as_its_version_says() -> None:
    assert framed(HOST).keep_alive
    assert not framed(HOST, "Connection: x, Close").keep_alive
    assert not framed(start="GET / HTTP/1.0").keep_alive
    assert framed("Connection: keep-alive", start="GET / HTTP/1.0").keep_alive
    assert not framed(HOST, "Connection: keep-alive", "Connection: close").keep_alive
    assert framed(HOST, "Connection: a , ,b").named == {b"a", b"b"}


def test_only_a_websocket_is_an_upgrade() -> None:  # X43
    upgrade = ("Connection: upgrade", "Upgrade: WebSocket")
    assert framed(HOST, *upgrade).websocket
    assert not framed(HOST, "Upgrade: websocket").websocket
    assert not framed(HOST, "Connection: upgrade", "Upgrade: h2c").websocket
    assert not framed(HOST, *upgrade, "Content-Length: 1").websocket
    assert not framed(HOST, *upgrade, "Transfer-Encoding: chunked").websocket
    assert not framed(HOST, *upgrade, start="GET / HTTP/1.0").websocket


def test_only_100_continue_is_expected() -> None:  # X42
    assert framed(HOST, "Expect: 100-Continue").expects
    assert not framed(HOST, "Expect: 100-continue", start="POST / HTTP/1.0").expects
    assert refusal(framed, HOST, "Expect: junk") == 417


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (b"GET / HTTP/1.1", 414),
        (b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET /" + b"a" * 16375 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/2.0\r\n\r\n", 505),
        (b"GET / HTTP/0.9\r\n\r\n", 505),
        (b"GET /\r\n\r\n", 400),
        (b"get / HTTP/1.1\r\n\r\n", 400),
        (b"GET  / HTTP/1.1\r\n\r\n", 400),
        (b"GET / RTSP/1.0\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nA: b", 400),
        (b"GET / HTTP/1.1\r\nA: b\r\n", 400),
        (b"GET / HTTP/1.1\r\nA: \x00\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 257 + b"\r\n", 431),
    ],
)
def test_a_head_that_is_not_one_is_refused(text: bytes, status: int) -> None:  # X36 X40 X44 X45
    assert refusal(RequestReader().read, text) == status


def test_methods_that_llhttp_does_not_know_are_read_too() -> None:
    head = RequestReader().read(b"LIST /v1/secret HTTP/1.1\r\nHost: a\r\nX-Empty:\r\nX-Blank: a \t\r\n\r\n")
    assert (head.method, head.target, head.http11) == ("LIST", "/v1/secret", True)
    assert head.fields[1:] == [(b"x-empty", b"X-Empty", b""), (b"x-blank", b"X-Blank", b"a")]


def test_the_fields_of_the_next_head_are_its_own() -> None:
    reader = RequestReader()
    one = reader.read(b"GET /1 HTTP/1.1\r\nA: b\r\n\r\n")
    same = reader.read(b"GET /2 HTTP/1.1\r\nA: b\r\n\r\n")
    other = reader.read(b"GET /3 HTTP/1.1\r\nA: c\r\n\r\n")
    assert one.fields is same.fields
    assert same.target == "/2"
    assert other.fields == [(b"a", b"A", b"c")]
    with pytest.raises(BadMessage):
        reader.read(b"GET /4 HTTP/1.1\r\nA b\r\n\r\n")
    again = reader.read(b"GET /5 HTTP/1.1\r\nA: b\r\n\r\n")
    assert again.fields == one.fields
    assert reader.read(b"GET /5 HTTP/1.1\r\nA: b\r\n\r\n") is again


def test_an_answer_that_comes_again_is_not_read_again() -> None:
    reader, text = ResponseReader(), b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n"
    first = reader.read(text)
    assert reader.read(bytes(text)) is first == read_response(text)
    assert reader.read(text.replace(b"200", b"201")).status == 201
    with pytest.raises(BadMessage):
        reader.read(text.replace(b"200", b"20"))
    assert reader.read(text) == first


def test_an_answers_length_follows_method_and_status() -> None:
    for start in ("HTTP/1.1 204 No Content", "HTTP/1.1 304 Not Modified", "HTTP/1.1 103 Early Hints"):
        assert answered("Content-Length: 5", start=start).length == 0
    assert answered("Content-Length: 5", method="HEAD").length == 0
    assert answered("Content-Length: 5").length == 5
    assert answered("Transfer-Encoding: chunked").length is Unmeasured.CHUNKED
    assert answered().length is Unmeasured.UNTIL_CLOSE
    assert not answered().keep_alive
    assert not answered("Content-Length: 1", "Connection: close").keep_alive
    assert not answered("Content-Length: 1", start="HTTP/1.0 200 OK").keep_alive
    assert answered("Content-Length: 1", "Connection: keep-alive", start="HTTP/1.0 200 OK").keep_alive


def test_an_answer_that_can_be_read_in_two_ways_is_refused() -> None:  # X50
    for fields in (
        ["Content-Length: 3", "Transfer-Encoding: chunked"],
        ["Content-Length: 3", "Content-Length: 3"],
        ["Content-Length: x"],
        ["Transfer-Encoding: gzip, chunked"],
        ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
    ):
        refusal(answered, *fields)
    refusal(answered, "Transfer-Encoding: chunked", start="HTTP/1.0 200 OK")
    for start in ("HTTP/2 200", "HTTP/1.1 099 x", "HTTP/1.1 200 a\x01b", "ICY 200 OK", "HTTP/1.1 200OK"):
        assert refusal(read_response, f"{start}\r\n\r\n".encode()) == 502


def test_an_answer_is_passed_as_it_came_only_where_it_is_true_of_both_connections() -> None:
    assert answered("Content-Length: 1").verbatim
    assert answered("Content-Length: 1", "Connection: keep-alive").verbatim
    assert answered("Transfer-Encoding: chunked", "Content-Type: text/plain").verbatim
    for fields in (
        ["Connection: close"],
        ["Connection: x-hop"],
        ["Keep-Alive: timeout=5"],
        ["Alt-Svc: h3"],
        ["X-Authsome-Error: forged"],
        ["Proxy-Authenticate: Basic"],
        ["Upgrade: h2c"],
    ):
        assert not answered("Content-Length: 1", *fields).verbatim
    assert not answered("Content-Length: 1", start="HTTP/1.0 200 OK").verbatim
    assert not answered("Transfer-Encoding: chunked", method="HEAD").verbatim
    assert not answered().verbatim


def test_a_body_is_followed_by_its_length() -> None:
    body = body_of(5)
    assert isinstance(body, SizedBody)
    assert body.feed(b"ab") == (b"ab", None)
    assert body.feed(b"cdeGET") == (b"cde", b"GET")
    assert SizedBody(2).feed(b"ab") == (b"ab", b"")
    endless = body_of(Unmeasured.UNTIL_CLOSE)
    assert isinstance(endless, EndlessBody)
    assert endless.feed(b"abc") == (b"abc", None)


@pytest.mark.parametrize(
    "data",
    [  # X35
        b"FFFFFFFFFFFFFFFFF\r\n", b"\r\n", b"g\r\n", b"-1\r\n", b"+1\r\n", b"0x1\r\n", b"1 1\r\n", b" 1\r\n", b"1\n",
        b"1;a=\x00\r\na", b"1\r\nab\r\n", b"1\r\na\n\n", b"1\r\na\r1", b"1" + b";" * 300, b"0\r\nA b\r\n\r\n",
        b"0\r\nA: b\nC: d\r\n", b"0\r\nA: " + b"b" * 9000, b"0\r\nA: " + b"b" * 9000 + b"\r\n\r\n",
        b"0\r\n A: b\r\n\r\n",
    ],
)  # fmt: skip
@pytest.mark.parametrize("size", [1, 7, 100000])
def test_malformed_chunks_are_refused_however_they_are_cut(data: bytes, size: int) -> None:
    body = ChunkedBody(status=418)
    with pytest.raises(BadMessage) as caught:
        for at in range(0, len(data), size):
            body.feed(data[at : at + size])
    assert caught.value.status == 418


def test_extensions_and_bad_trailers_are_left_out() -> None:
    body = body_of(Unmeasured.CHUNKED, drop=frozenset({b"x-drop"}))
    data = (
        b"2;a=b\r\nab\r\n1 \r\nc\r\n0;z\r\nX-Kept: 1\r\nX-Drop: 2\r\nAuthorization: x\r\nHost: y\r\nTE: z\r\n\r\nrest"
    )
    assert body.feed(data) == (b"2\r\nab\r\n1\r\nc\r\n0\r\nX-Kept: 1\r\n\r\n", b"rest")


def test_a_hint_past_the_proxy_came_back_as_a_trailer() -> None:  # X25
    passed, rest = body_of(Unmeasured.CHUNKED).feed(b'0\r\nAlt-Svc: h3=":443"\r\nX-Sum: 1\r\n\r\n')
    assert (passed, rest) == (b"0\r\nX-Sum: 1\r\n\r\n", b"")


def test_a_chunked_body_without_trailers_ends_with_an_empty_line() -> None:
    for decode, passed in ((False, b"1\r\na\r\n0\r\n\r\n"), (True, b"a")):
        assert body_of(Unmeasured.CHUNKED, decode=decode).feed(b"1\r\na\r\n0\r\n\r\nrest") == (passed, b"rest")


def test_chunks_can_be_taken_out_of_their_framing() -> None:
    body = body_of(Unmeasured.CHUNKED, decode=True)
    assert body.feed(b"2\r\nab\r\n1\r\nc\r\n0\r\nX: y\r\n\r\nrest") == (b"abc", b"rest")


@given(
    parts=st.lists(st.binary(min_size=1, max_size=300), max_size=8),
    cuts=st.lists(st.integers(1, 40), min_size=1, max_size=30),
    trailer=st.sampled_from([b"", b"X-Sum: 1\r\n"]),
    decode=st.booleans(),
)
def test_any_cut_of_a_chunked_body_gives_the_same(
    parts: list[bytes], cuts: list[int], trailer: bytes, decode: bool
) -> None:
    framed_body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n" + trailer + b"\r\n"
    data = framed_body + b"GET / HTTP/1.1"
    body = ChunkedBody(decode=decode)
    out, at, turn = b"", 0, 0
    rest: bytes | None = None
    while rest is None:
        step = cuts[turn % len(cuts)]
        passed, rest = body.feed(data[at : at + step])
        out += passed
        at, turn = at + step, turn + 1
    assert out == (b"".join(parts) if decode else framed_body)
    assert rest + data[at:] == b"GET / HTTP/1.1"
