"""Requests over HTTP/2 that go elsewhere, or can be misread: refused on their stream, and nothing of them upstream."""

import json
import ssl
import time
from collections.abc import Callable
from contextlib import suppress

import pytest
from http2_wire import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    USUAL,
    WINDOW_UPDATE,
    Exchanged,
    Raw,
    Server,
    block,
    client,
    head,
    open_http2,
    raw,
    raw_client,
    setting,
)
from wire_world import Options, World, eventually, lendable

from authsome.model.event import Denied
from authsome.model.injection import BodyInjection, HeaderInjection
from authsome.model.placeholder import PLACEHOLDER
from authsome.proxy.engine.ports import Limits

PROTOCOL_ERROR, FLOW_CONTROL, STREAM_CLOSED, FRAME_SIZE, REFUSED, COMPRESSION, CALM = 1, 3, 5, 6, 7, 9, 11


def request(*more: tuple[str, str], **pseudo: str | None) -> list[tuple[str, str]]:
    usual: dict[str, str | None] = {f":{n}": v for n, v in pseudo.items()}
    return [(n, v) for n, v in (dict(USUAL) | usual).items() if v is not None] + list(more)


def refusal(answer: Exchanged) -> tuple[int, str]:
    """The status and the code of an answer of ours, which says the code twice."""
    code = answer.one(b"x-authsome-error").decode()
    assert json.loads(answer.body)["error"] == code
    return answer.status, code


# destinations


def test_an_authority_for_another_host_is_refused_and_the_other_streams_go_on(world: World) -> None:  # X02, X46
    server = Server(world)
    peer = client(world)
    for evil in ("evil.mock.test", "api.mock.test:8443", "other.mock.test"):
        assert refusal(peer.get(authority=evil)) == (421, "host_mismatch")
    assert peer.get().status == 200
    assert len(server.asked) == 1
    assert [type(event) for event in world.house.events[:3]] == [Denied] * 3


@pytest.mark.parametrize(
    "authority", ["user@api.mock.test", "api.mock.test:x", "api.mock.test/", "a b", "[::1", "\xe4"]
)
def test_an_authority_that_can_be_misread_is_refused(world: World, authority: str) -> None:  # X16, X17
    server = Server(world)
    assert refusal(client(world).get(authority=authority))[0] in (400, 421)
    assert not server.asked


@pytest.mark.parametrize("authority", ["API.MOCK.TEST", "api.mock.test:443", "api.mock.test."])
def test_spellings_of_one_host_are_one_host(world: World, authority: str) -> None:  # X13, X14
    server = Server(world)
    assert client(world).get(authority=authority).status == 200
    assert server.asked[0].one(b":authority") == b"api.mock.test"


def test_a_host_field_alone_names_the_host(world: World) -> None:
    server = Server(world)
    wire = raw_client(world)
    wire.send(head(1, request(("host", "evil.mock.test"), **{"authority": None})))
    assert wire.status(1) == "421"
    wire.send(head(3, request(("host", "api.mock.test"), **{"authority": None})))
    assert wire.status(3) == "200"
    assert len(server.asked) == 1 and not server.asked[0].all(b"host")


def test_a_server_name_for_another_host_is_refused(world: World) -> None:  # X04
    with pytest.raises(ssl.SSLError, match=r"UNRECOGNIZED_NAME|unrecognized name"):
        open_http2(world, name="other.mock.test")


def test_without_a_server_name_the_connect_decides(world: World) -> None:  # X08
    server = Server(world)
    wire = Raw(open_http2(world, name=None))
    wire.send(head(1))
    assert wire.status(1) == "200"
    assert server.asked[0].one(b":authority") == b"api.mock.test"


def test_a_tunnel_to_an_unrouted_host_is_not_read(world: World) -> None:  # X06
    with pytest.raises(Exception, match=r"(?i)certificate"):
        context = world.client_context()
        context.set_alpn_protocols(["h2"])
        wire, answer = world.connect("evil.mock.test:443")
        assert answer.status == 200
        context.wrap_socket(wire.sock, server_hostname="evil.mock.test")


# what can be misread

MISREAD: list[tuple[list[tuple[str, str]], int]] = [
    (request(("host", "evil.mock.test")), 400),
    (request(("x", "a\r\nauthorization: b")), 400),
    (request(("x", "a\nb")), 400),
    (request(("x", "a\0b")), 400),
    (request(("x", " a")), 400),
    (request(("transfer-encoding", "chunked")), 400),
    (request(("connection", "close")), 400),
    (request(("keep-alive", "1")), 400),
    (request(("proxy-connection", "close")), 400),
    (request(("upgrade", "websocket")), 400),
    (request(("te", "gzip")), 400),
    (request(("X-Upper", "a")), 400),
    (request(("a b", "c")), 400),
    (request(("content-length", "1x")), 400),
    (request(("content-length", "5"), ("content-length", "5")), 400),
    (request(("expect", "junk")), 417),
    (request(path="/a b"), 400),
    (request(path="/a\r\nx: y"), 400),
    (request(path="/\xe4"), 400),
    (request(path="https://evil.mock.test/"), 400),  # X07, X48
    (request(path=None), 400),
    (request(path=""), 400),
    (request(path="*", method="OPTIONS"), 400),
    (request(path="/v1%2f..%2fadmin"), 400),  # X21
    (request(scheme="http"), 400),  # X48
    (request(scheme=None), 400),
    (request(method="get"), 400),
    (request(method="GET\tX"), 400),
    (request(method=None), 400),
    (request(method="CONNECT"), 405),
    (request(method="CONNECT", path=None, scheme=None), 405),
    (request(method="TRACE"), 405),  # X44
    (request(method="TRACK"), 405),
    (request(protocol="websocket"), 400),
    (request(method="CONNECT", protocol="connect-udp"), 501),
    (request(authority=None), 400),
    ([*request(), (":path", "/2")], 400),
    ([*request(("x", "y")), (":path", "/2")], 400),
    ([("x", "y"), *request()], 400),
    ([*request(), (":status", "200")], 400),
    ([*request(), (":unknown", "x")], 400),
    (request(path="/" + "x" * 16384), 414),  # X40
    (request(*[(f"x-{n}", "y") for n in range(300)]), 431),
    (request(*[(f"x-{n}", "y" * 1000) for n in range(70)]), 431),
]


def test_a_request_that_can_be_misread_is_refused_on_its_stream(world: World) -> None:  # X47
    server = Server(world)
    wire = raw_client(world)
    for at, (found, status) in enumerate(MISREAD):
        number = 2 * at + 1
        encoded = block(found)
        first = raw(HEADERS, END_STREAM | (END_HEADERS if len(encoded) <= 16384 else 0), number, encoded[:16384])
        rest = [encoded[n : n + 16384] for n in range(16384, len(encoded), 16384)]
        more = [raw(CONTINUATION, END_HEADERS if part is rest[-1] else 0, number, part) for part in rest]
        wire.send(first, *more)
        fields = wire.fields(wire.until(HEADERS, number))
        assert (fields[":status"], fields["content-type"]) == (str(status), "application/json"), found
        assert fields["x-authsome-error"] in ("bad_request", "method_refused"), found
        assert json.loads(wire.until(DATA, number).payload)["error"] == fields["x-authsome-error"]
    assert not server.asked
    wire.send(head(999))
    assert wire.status(999) == "200"


A_HEAD = block(USUAL)


BROKEN: list[tuple[bytes, int]] = [
    (raw(DATA, 0, 1, b"x"), PROTOCOL_ERROR),
    (raw(DATA, 0, 0, b"x"), PROTOCOL_ERROR),
    (raw(WINDOW_UPDATE, 0, 7, b"\0\0\0\1"), PROTOCOL_ERROR),
    (raw(RST_STREAM, 0, 7, b"\0\0\0\1"), PROTOCOL_ERROR),
    (raw(WINDOW_UPDATE, 0, 0, bytes(4)), PROTOCOL_ERROR),
    (raw(WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff"), FLOW_CONTROL),
    (head(1, end=False) + raw(WINDOW_UPDATE, 0, 1, b"\x7f\xff\xff\xff"), FLOW_CONTROL),
    (raw(SETTINGS, 0, 0, setting(4, 2**31)), FLOW_CONTROL),
    (raw(SETTINGS, 0, 0, b"x"), FRAME_SIZE),
    (raw(SETTINGS, 1, 0, setting(4, 5)), FRAME_SIZE),
    (raw(PING, 0, 0, b"x"), FRAME_SIZE),
    (raw(PRIORITY, 0, 1, b"x"), FRAME_SIZE),
    (raw(GOAWAY, 0, 0, b"x"), FRAME_SIZE),
    (raw(DATA, 0, 1, bytes(16385)), FRAME_SIZE),
    (raw(PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\2" + A_HEAD), PROTOCOL_ERROR),
    (raw(CONTINUATION, END_HEADERS, 1, A_HEAD), PROTOCOL_ERROR),
    (head(2), PROTOCOL_ERROR),
    (head(0), PROTOCOL_ERROR),
    (raw(HEADERS, END_HEADERS, 1, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff"), COMPRESSION),
    (raw(HEADERS, END_HEADERS, 1, b"\xbe"), COMPRESSION),
    (raw(HEADERS, END_HEADERS | PADDED, 1, b"\xff" + A_HEAD), PROTOCOL_ERROR),
    (raw(HEADERS, 0, 1, A_HEAD) + raw(PING, 0, 0, bytes(8)), PROTOCOL_ERROR),
    (raw(HEADERS, 0, 1, A_HEAD) + raw(CONTINUATION, END_HEADERS, 3), PROTOCOL_ERROR),
    (raw(HEADERS, 0, 1, A_HEAD) + raw(99, 0, 1), PROTOCOL_ERROR),
    (head(1, end=False) + head(1, [("a", "b")], end=False), PROTOCOL_ERROR),
    (head(1, end=False) + raw(DATA, END_STREAM, 1) + raw(DATA, 0, 1, b"x"), STREAM_CLOSED),
    (head(1, end=False) + raw(DATA, END_STREAM, 1) + head(1), STREAM_CLOSED),
    (head(1, end=False) + b"".join(raw(DATA, 0, 1, bytes(16384)) for _ in range(8)), FLOW_CONTROL),
]


def test_frames_that_break_the_protocol_end_the_connection_with_a_word(world: World) -> None:  # X47
    server = Server(world)
    server.early = lambda peer, stream, event: None  # answers nothing, opens windows only
    world.house.slow = True
    for sent, code in BROKEN:
        wire = raw_client(world)
        wire.send(sent)
        assert wire.end() == code, sent
    assert not server.asked  # the credentials would have come later


def test_unknown_frames_and_settings_are_passed_over(world: World) -> None:
    Server(world)
    wire = raw_client(world, setting(0x99, 1) + setting(3, 0))
    wire.send(raw(0x99, 255, 5, b"what"), raw(PRIORITY, 0, 9, bytes(5)), head(1), raw(0x10, 0, 0, b"\0\0\0\1u=1"))
    assert wire.status(1) == "200"


def test_a_client_that_is_asked_for_its_preface_sends_it(world: World) -> None:
    for text in (b"GET / HTTP/1.1\r\nHost: api.mock.test\r\n\r\n", PREFACE[:-1] + b"x", PREFACE + head(1)):
        wire = open_http2(world)
        wire.send(text)
        assert wire.rest().rstrip(b"\0")[-1:] == b"\1"  # GOAWAY with PROTOCOL_ERROR


def test_a_preface_in_pieces_is_one(world: World) -> None:
    Server(world)
    wire = open_http2(world)
    for part in (PREFACE[:1], PREFACE[1:20], PREFACE[20:] + b"\0", b"\0\0\4\0\0\0\0\0" + head(1)):
        wire.send(part)
        time.sleep(0.02)
    wire.until(b"hello")


# sizes and times


def test_the_stream_beyond_a_hundred_is_refused_and_the_others_are_answered(world: World) -> None:
    server = Server(world)
    server.early = lambda peer, stream, event: None
    wire = raw_client(world)
    wire.send(*[head(2 * n + 1) for n in range(101)])
    assert wire.until(RST_STREAM).code == REFUSED
    assert wire.frames[-1].stream == 201
    assert eventually(lambda: len(server.asked) == 100)
    for stream in server.asked:
        server.answer(stream)
    ended = 0
    while ended < 100:
        ended += bool(wire.until(DATA).flags & END_STREAM)
    wire.send(head(203))
    assert eventually(lambda: len(server.asked) == 101)


def test_slow_clients_are_let_go(make_world: Callable[[Options], World]) -> None:  # X82
    world = make_world(Options(limits=Limits(head_time=1, idle=3)))
    Server(world)
    preface, settings, half, frame, idle = (open_http2(world) for _ in range(5))
    preface.send(PREFACE[:5])
    settings.send(PREFACE)
    began = time.monotonic()
    for wire, start in (
        (half, raw(SETTINGS) + raw(HEADERS, 0, 1, A_HEAD[:5])),
        (frame, raw(SETTINGS) + head(1)[:11]),
        (idle, raw(SETTINGS) + head(1)),
    ):
        wire.send(PREFACE + start)
    idle.until(b"hello")
    for _ in range(4):  # a byte now and then does not help
        time.sleep(0.3)
        for wire, drop in ((half, raw(CONTINUATION, 0, 1)), (frame, b"\0")):
            with suppress(OSError):
                wire.send(drop)
    for wire in (preface, settings, half, frame):
        wire.rest()
    assert time.monotonic() - began < 3
    idle.rest()
    assert 2.5 < time.monotonic() - began < 6


@pytest.mark.parametrize("length", [4, 6])
@pytest.mark.parametrize("ending", ["data", "trailers", "head"])
def test_a_body_is_as_long_as_its_head_says_or_the_request_goes_nowhere(
    world: World, length: int, ending: str
) -> None:  # X34
    server = Server(world)
    wire = raw_client(world)
    wire.send(head(1, request(("content-length", str(length)), method="POST"), end=ending == "head"))
    if ending == "data":
        wire.send(raw(DATA, END_STREAM, 1, b"hello"))
    elif ending == "trailers":
        wire.send(raw(DATA, 0, 1, b"hello"), head(1, [("x", "y")]))
    assert wire.status(1) == "400"
    wire.send(head(3))
    assert wire.status(3) == "200"
    assert all(not stream.ended for stream in server.asked if stream.all(b"content-length"))


def test_a_refused_request_is_answered_once_though_its_client_goes_on_sending(world: World) -> None:
    server = Server(world)
    wire = raw_client(world, setting(4, 0))
    wire.send(head(1, request(("content-length", "3"), method="POST"), end=False))
    for _ in range(5):
        wire.send(raw(DATA, 0, 1, b"hello"))
    wire.send(raw(PING, 0, 0, b"12345678"))
    wire.until(PING)
    assert [frame.kind for frame in wire.frames if frame.stream == 1].count(HEADERS) == 1
    wire.send(raw(WINDOW_UPDATE, 0, 1, b"\0\0\xff\xff"))
    assert b"content-length" in wire.until(DATA, 1).payload
    assert wire.until(RST_STREAM, 1).code == 0
    assert all(not stream.ended for stream in server.asked)


def test_a_request_whose_trailers_are_refused_while_its_credential_is_waited_for_goes_nowhere(world: World) -> None:
    server = Server(world)
    world.house.slow = True
    peer = client(world)
    number = peer.ask(method="POST", end=False)
    peer.send(number, b"body")
    peer.trailers(number, ("x", PLACEHOLDER))
    assert refusal(peer.answer(number)) == (403, "bad_request")
    time.sleep(0.2)
    assert not server.asked
    assert peer.get().status == 200


def test_much_data_in_small_frames_that_was_on_its_way_to_a_refused_request_harms_no_other(world: World) -> None:
    Server(world)
    wire = raw_client(world)
    wire.send(head(1, request(method="POST", authority="evil.mock.test"), end=False))
    wire.send(*[raw(DATA, 0, 1, b"tiny") for _ in range(10_000)])
    wire.send(head(3))
    assert wire.status(1) == "421" and wire.status(3) == "200"


@pytest.mark.parametrize("padding", [0, 255])
def test_padding_is_given_back_and_not_passed_on(world: World, padding: int) -> None:
    server = Server(world)
    wire = raw_client(world)
    wire.send(head(1, request(method="POST"), end=False))
    for first in (True, False):
        for _ in range(200):  # together more than a window
            wire.send(raw(DATA, PADDED, 1, bytes((padding,)) + bytes(padding)))
        if first and padding:
            wire.until(WINDOW_UPDATE, 1)
        wire.send(raw(DATA, PADDED, 1, bytes((padding,)) + b"x" + bytes(padding)))
    wire.send(raw(DATA, END_STREAM, 1, b"y"))
    assert wire.status(1) == "200"
    assert server.asked[0].body == b"xxy"


def test_the_same_head_with_and_without_a_body_is_not_taken_for_the_same(world: World) -> None:
    server = Server(world)
    world.lend(lendable("mock", injections=(HeaderInjection("Authorization"), BodyInjection("token"))))
    peer = client(world)
    kind = ("content-type", "application/json")
    assert peer.get(kind, method="POST").status == 200
    number = peer.ask(kind, method="POST", end=False)
    peer.send(number, b'{"token": "%b"}' % PLACEHOLDER.encode(), end=True)
    assert peer.answer(number).status == 200
    assert json.loads(server.asked[1].body) == {"token": world.secret}


def test_a_connection_that_is_closed_while_it_is_asked_asks_no_more(world: World) -> None:
    server = Server(world)
    wire = raw_client(world)
    wire.send(head(1), raw(PING, 0, 0, b"x"), head(3))
    assert wire.end() == FRAME_SIZE
    with suppress(OSError):
        wire.send(head(5))
    assert len(server.asked) <= 1
