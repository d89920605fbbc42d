"""HTTP/1.1 framing under attack, and used as it is meant (promises 2.2)."""

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import pytest
from wire_world import Closed, Message, Options, Wire, World, eventually, get

from authsome.model.placeholder import PLACEHOLDER
from authsome.proxy.engine.ports import Limits

HOST = b"Host: api.mock.test\r\n"


def post(*fields: str, body: bytes = b"") -> bytes:
    return "\r\n".join(["POST /p HTTP/1.1", "Host: api.mock.test", *fields, "", ""]).encode("latin-1") + body


@pytest.mark.parametrize(
    "request_text",
    [
        b"GET / HTTP/1.1\r\n" + HOST + b"Host: evil.mock.test\r\n\r\n",  # X30
        b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost:\r\n\r\n",
        b"GET / HTTP/1.1\r\nX-A: b\r\n " + HOST + b"\r\n",  # X31
        post("Content-Length: 5", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"),  # X32
        post("Transfer-Encoding: xchunked", body=b"0\r\n\r\n"),  # X33
        post("Transfer-Encoding: chunked, identity", body=b"0\r\n\r\n"),
        post("Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"),
        post("Transfer-Encoding : chunked", body=b"0\r\n\r\n"),
        post("Transfer-Encoding: \x0bchunked", body=b"0\r\n\r\n"),
        post("Transfer-Encoding: chunked", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
        b"POST / HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        post("Content-Length: 3", "Content-Length: 4", body=b"abcd"),  # X34
        post("Content-Length: +3", body=b"abc"),
        post("Content-Length: -1"),
        post("Content-Length: 0x3", body=b"abc"),
        post("Content-Length: 3, 3", body=b"abc"),
        post("Content-Length: 18446744073709551616"),
        post("Transfer-Encoding: chunked", body=b"FFFFFFFFFFFFFFFFF\r\n"),  # X35
        post("Transfer-Encoding: chunked", body=b"1;ext=\x00\r\na\r\n0\r\n\r\n"),
        post("Transfer-Encoding: chunked", body=b"1\na\r\n0\r\n\r\n"),
        post("Transfer-Encoding: chunked", body=b"1\r\nab\r\n0\r\n\r\n"),
        post("Transfer-Encoding: chunked", body=b"0\r\nBad Name: x\r\n\r\n"),
        post("Transfer-Encoding: chunked", body=b"0\r\nX: " + b"a" * 10000 + b"\r\n\r\n"),
        post("Transfer-Encoding: chunked", body=b"0\r\nX: a\nY: b\r\n\r\n"),
        b"GET / HTTP/1.1\r\n" + HOST + b"X: a\x00b\r\n\r\n",  # X36
        b"GET / HTTP/1.1\r\n" + HOST + b"X: a\rX-Inj: 1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b"X A: b\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b"X\x80: b\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b": b\r\n\r\n",
        b"GET / HTTP/1.1\nHost: api.mock.test\n\n",  # X37
        b"GET / HTTP/1.1\r\n" + HOST + b"X: a\n\r\n",
        b"get / HTTP/1.1\r\n" + HOST + b"\r\n",  # X44
        b"GET\tX / HTTP/1.1\r\n" + HOST + b"\r\n",
        b"G" * 1000 + b" / HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /\r\n\r\n",  # X45
        b"\r\n" * 100 + b"GET / HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /a b HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /\x80 HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET / HTTP/1.1 \r\n" + HOST + b"\r\n",
        b"GET http://[::1 HTTP/1.1\r\n" + HOST + b"\r\n",
    ],
)
def test_a_request_that_can_be_read_in_two_ways_is_refused(world: World, request_text: bytes) -> None:
    wire = world.open()
    wire.send(request_text)
    assert wire.message(answers="GET").status == 400
    assert wire.is_closed()
    assert not world.upstream.requests


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        (b"GET / HTTP/3.9\r\n" + HOST + b"\r\n", 505),
        (b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", 505),
        (get("/", method="TRACE"), 405),
        (get("/", method="TRACK"), 405),
        (get("api.mock.test:443", method="CONNECT"), 405),
        (get("/", "Expect: junk"), 417),  # X42
        (get("/" + "a" * 200_000), 414),  # X40
        (get("/", "X: " + "a" * 1_000_000), 431),
        (get("/", *["a: b"] * 10_000), 431),
        (get("/", *["a: b"] * 300), 431),
    ],
)
def test_a_request_that_is_not_served_is_told_so(world: World, request_text: bytes, status: int) -> None:
    wire = world.open()
    threading.Thread(target=_send_all, args=(wire, request_text), daemon=True).start()
    answer = wire.message(answers="GET")
    assert answer.status == status
    assert answer.one("x-authsome-error")
    assert not world.upstream.requests


def _send_all(wire: Wire, data: bytes) -> None:
    with suppress(OSError):  # the proxy has had enough
        wire.send(data)


def test_our_field_survives_every_way_to_strip_it(world: World) -> None:  # X39
    answer = world.open().ask(
        get(
            "/",
            "Authorization: Bearer mine",
            "AUTHORIZATION: Basic eDp5",
            "Proxy-Authorization: Basic eDp5",
            "Connection: close, Authorization, Host, Content-Length, X-Hop",
            "X-Hop: gone",
            "Keep-Alive: 5",
            "TE: trailers",
            "X-Kept: yes",
        )
    )
    assert answer.one("connection") == "close"
    (request,) = world.upstream.requests
    assert request.one("authorization") == f"Bearer {world.secret}"
    assert request.one("host") == "api.mock.test"
    assert request.one("x-kept") == "yes"
    for name in ("proxy-authorization", "x-hop", "keep-alive", "te", "connection"):
        assert not request.all(name)


def test_a_body_keeps_its_length_even_where_connection_names_it(world: World) -> None:
    assert world.open().ask(post("Content-Length: 3", "Connection: content-length", body=b"abc")).status == 200
    assert world.upstream.requests[0].body == b"abc"


@pytest.mark.parametrize("value", ["x\r\nX-Evil: 1", "x\x00y", "x\ny", " x", "snow☃man", ""])
def test_a_credential_that_cannot_be_sent_is_never_sent(world: World, value: str) -> None:  # X38 P20
    from authsome.model.secret import Secret

    world.house.credentials["mock", "default"] = Secret(value)
    answer = world.open().ask(get("/"))
    assert answer.status == 502
    assert answer.one("x-authsome-error") == "credential_unusable"
    assert not world.upstream.requests


def test_requests_follow_each_other_on_one_connection(world: World) -> None:
    wire = world.open()
    for number in range(20):
        assert wire.ask(get(f"/{number}")).body == b"hello"
    assert world.upstream.connections == 1
    assert [r.target for r in world.upstream.requests] == [f"/{n}" for n in range(20)]


def test_pipelined_requests_are_answered_in_order(world: World) -> None:
    world.upstream.handler = lambda wire, request: wire.send(
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(request.target), request.target.encode())
    )
    wire = world.open()
    requests = [get("/1"), post("Content-Length: 5", body=b"first"), get("/../3"), get("/4", host="evil.mock.test")]
    wire.send(b"".join(requests))
    answers = [wire.message(answers="GET") for _ in requests]
    assert [a.status for a in answers] == [200, 200, 200, 421]
    assert [a.body for a in answers[:3]] == [b"/1", b"/p", b"/3"]
    assert world.upstream.requests[1].body == b"first"


def test_a_flood_of_pipelined_requests_is_held_back(world: World) -> None:
    release = threading.Event()

    def wait(wire: Wire, _: Message) -> None:
        release.wait(20)
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    world.upstream.handler = wait
    wire = world.open()
    one = get("/" + "a" * 500)
    count = 20_000  # 10 MB
    threading.Thread(target=_send_all, args=(wire, one * count), daemon=True).start()
    assert eventually(lambda: world.upstream.requests)
    incoming = world.call(_only_member_buffer, world)
    assert incoming < 1_000_000
    release.set()
    for _ in range(50):
        assert wire.message(answers="GET").status == 200
    wire.close()


def _only_member_buffer(world: World) -> int:
    (member,) = world.proxy._runs._live["r1"].members
    inside = member.expire.__self__  # type: ignore[attr-defined]
    return len(inside._buffer)


def test_a_thousand_refused_requests_in_a_row_are_all_answered(world: World) -> None:
    wire = world.open()
    count = 1000
    text = get("/", f"Cookie: {PLACEHOLDER}") + post(f"Cookie: {PLACEHOLDER}", "Content-Length: 2", body=b"hi")
    threading.Thread(target=_send_all, args=(wire, text * count), daemon=True).start()
    for _ in range(2 * count):
        assert wire.message(answers="GET").status == 403
    assert wire.ask(get("/")).status == 200


def test_a_refused_upload_is_read_and_the_connection_goes_on(world: World) -> None:
    wire = world.open()
    answer = wire.ask(post(f"Cookie: {PLACEHOLDER}", "Content-Length: 300000", body=b"x" * 300000))
    assert answer.status == 403
    assert not answer.all("connection")
    assert wire.ask(get("/")).status == 200


def test_a_refused_upload_without_end_is_cut(world: World) -> None:
    wire = world.open()
    wire.send(post(f"Cookie: {PLACEHOLDER}", "Content-Length: 100000000"))
    assert wire.message(answers="GET").status == 403
    with pytest.raises(OSError):
        for _ in range(100_000):
            wire.send(b"x" * 1_000_000)


def test_chunked_bodies_pass_with_their_good_trailers_only(world: World) -> None:  # X35
    wire = world.open()
    body = b"5;ext=1\r\nhello\r\n1\r\n!\r\n0\r\nX-Sum: 1\r\nAuthorization: Bearer x\r\nHost: evil.mock.test\r\n\r\n"
    answer = wire.ask(post("Transfer-Encoding: chunked", "Trailer: X-Sum", body=body))
    assert answer.status == 200
    (request,) = world.upstream.requests
    assert request.body == b"hello!"
    assert request.trailers == [("X-Sum", "1")]
    assert request.one("authorization") == f"Bearer {world.secret}"


def test_a_placeholder_in_a_trailer_goes_nowhere(world: World) -> None:  # P3
    wire = world.open()
    wire.send(post("Transfer-Encoding: chunked", body=f"0\r\nX: {PLACEHOLDER}\r\n\r\n".encode()))
    assert wire.message(answers="GET").status == 403
    assert not world.upstream.requests


def test_framing_that_breaks_in_the_middle_aborts_the_upstream_request(world: World) -> None:
    seen = threading.Event()

    def raw(wire: Wire) -> None:
        wire.until(b"\r\n\r\n")
        wire.until(b"hello")
        seen.set()
        wire.rest()

    world.upstream.raw = raw
    wire = world.open()
    wire.send(post("Transfer-Encoding: chunked", body=b"5\r\nhello\r\n"))
    assert seen.wait(5)
    wire.send(b"nonsense\r\n")
    assert wire.message(answers="GET").status == 400
    (used,) = [each for each in world.upstream.wires if each.seen]
    assert eventually(lambda: used.sock.fileno() == -1)
    assert b"0\r\n\r\n" not in used.seen


@pytest.mark.parametrize("pieces", [1, 2, 7])
def test_a_message_may_arrive_in_any_pieces(world: World, pieces: int) -> None:
    text = post("Transfer-Encoding: chunked", body=b"3\r\nabc\r\n2\r\nde\r\n0\r\nX: y\r\n\r\n") + get("/next")
    wire = world.open()
    for start in range(0, len(text), pieces):
        wire.send(text[start : start + pieces])
    assert wire.message(answers="POST").status == 200
    assert wire.message(answers="GET").status == 200
    assert world.upstream.requests[0].body == b"abcde"
    assert world.upstream.requests[1].target == "/next"


def test_an_answer_may_arrive_in_any_pieces(world: World) -> None:
    text = (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\nSet-Cookie: a\r\n\r\n"
    )

    def drip(wire: Wire, _: Message) -> None:
        for at in range(len(text)):
            wire.send(text[at : at + 1])

    world.upstream.handler = drip
    wire = world.open()
    for _ in range(2):
        early = wire.ask(get("/"))
        assert early.status == 103
        assert early.one("link") == "</a>"
        answer = wire.message(answers="GET")
        assert answer.body == b"abc"
        assert answer.trailers == [("X-Sum", "1")]
    assert world.upstream.connections == 1


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"),
        ("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n"),
        ("GET", b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n"),
    ],
)
def test_answers_without_a_body_leave_the_connection_in_step(world: World, method: str, answer: bytes) -> None:
    world.upstream.handler = lambda wire, _: wire.send(answer)
    wire = world.open()
    for _ in range(3):
        assert wire.ask(get("/", method=method)).status == int(answer.split()[1])
    assert world.upstream.connections == 1


def test_the_end_of_the_connection_ends_a_body_without_a_length(world: World) -> None:
    def until_close(wire: Wire, _: Message) -> None:
        wire.send(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100_000)
        wire.sock.unwrap()  # type: ignore[attr-defined]
        wire.close()

    world.upstream.handler = until_close
    wire = world.open()
    answer = wire.ask(get("/"))
    assert answer.one("connection") == "close"
    assert len(answer.body) == 100_000
    assert world.open().ask(get("/")).status == 200


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nwithout close_notify",
    ],
)
def test_a_cut_answer_is_seen_to_be_cut(world: World, answer: bytes) -> None:
    def cut(wire: Wire, _: Message) -> None:
        wire.send(answer)
        wire.close()

    world.upstream.handler = cut
    wire = world.open()
    wire.send(get("/"))
    wire.head()
    with pytest.raises(Closed, match=r"EOF|reset"):
        while True:
            wire.more()


@pytest.mark.parametrize(
    "answer",
    [  # X50
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 10_000 + b"\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 100,
        b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    ],
)
def test_an_answer_that_is_not_http_is_a_502(world: World, answer: bytes) -> None:
    world.upstream.handler = lambda wire, _: wire.send(answer)
    wire = world.open()
    response = wire.ask(get("/"))
    assert response.status == 502
    assert response.one("x-authsome-error") == "bad_upstream_answer"


def test_http_1_0_clients_get_what_they_understand(world: World) -> None:  # X45
    world.upstream.handler = lambda wire, _: wire.send(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX: y\r\n\r\n"
    )
    wire = world.open()
    wire.send(b"GET / HTTP/1.0\r\n\r\n")
    answer = wire.message(answers="GET")
    assert answer.body == b"abcde"
    assert not answer.all("transfer-encoding")
    assert world.upstream.requests[0].one("host") == "api.mock.test"
    assert world.upstream.requests[0].start == "GET / HTTP/1.1"


def test_http_1_0_keep_alive_is_kept(world: World) -> None:
    wire = world.open()
    for _ in range(2):
        wire.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        answer = wire.message(answers="GET")
        assert answer.one("connection") == "keep-alive"
        assert answer.body == b"hello"


def test_100_continue_is_relayed(world: World) -> None:  # X42
    def raw(wire: Wire) -> None:
        assert wire.head().one("expect") == "100-continue"
        wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert wire.exactly(5) == b"hello"
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        wire.rest()

    world.upstream.raw = raw
    wire = world.open()
    wire.send(post("Expect: 100-continue", "Content-Length: 5"))
    assert wire.head().status == 100
    assert wire.ask(b"hello").body == b"ok"


def test_a_server_that_never_says_continue_does_not_stop_the_client(world: World) -> None:  # X42
    wire = world.open()
    began = time.monotonic()
    wire.send(post("Expect: 100-continue", "Content-Length: 5"))
    assert wire.head().status == 100
    assert time.monotonic() - began < 10
    assert wire.ask(b"hello").body == b"hello"
    assert wire.ask(get("/")).status == 200


def test_a_refused_expectation_ends_the_connection(world: World) -> None:
    wire = world.open()
    wire.send(post("Expect: 100-continue", "Content-Length: 5", f"Cookie: {PLACEHOLDER}"))
    answer = wire.message(answers="POST")
    assert (answer.status, answer.one("connection")) == (403, "close")


def test_an_early_answer_ends_the_upload(world: World) -> None:
    def raw(wire: Wire) -> None:
        wire.head()
        wire.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
        wire.rest()

    world.upstream.raw = raw
    wire = world.open()
    wire.send(post("Content-Length: 100000000", body=b"x" * 1000))
    assert wire.message(answers="POST").status == 413
    assert wire.is_closed()


@pytest.mark.parametrize("upgrade", ["websocket", "h2c, websocket"])
def test_a_websocket_is_injected_once_and_then_relayed(world: World, upgrade: str) -> None:  # X43
    def raw(wire: Wire) -> None:
        request = wire.head()
        assert request.one("authorization") == f"Bearer {world.secret}"
        assert request.one("upgrade") == "websocket"
        assert request.one("connection").lower() == "upgrade"
        wire.send(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: x\r\n\r\nearly"
        )
        while True:
            wire.send(wire.more().upper())

    world.upstream.raw = raw
    wire = world.open()
    wire.send(get("/", f"Upgrade: {upgrade}", "Connection: Upgrade, keep-alive", f"Authorization: {PLACEHOLDER}"))
    answer = wire.head()
    assert answer.status == 101
    assert answer.one("upgrade") == "websocket"
    assert answer.one("sec-websocket-accept") == "x"
    assert wire.exactly(5) == b"early"
    frame = f"GET / HTTP/1.1\r\nAuthorization: {PLACEHOLDER}\r\n\r\n".encode()
    wire.send(frame)
    assert wire.exactly(len(frame)) == frame.upper()  # untouched, and nothing put in
    world.end_run()
    assert wire.is_closed()
    assert eventually(lambda: all(each.sock.fileno() == -1 for each in world.upstream.wires if each.seen))


def test_an_upgrade_to_h2c_is_not_passed_on(world: World) -> None:  # X43
    fields = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA")
    assert world.open().ask(get("/", *fields)).status == 200
    for name in ("upgrade", "connection", "http2-settings"):
        assert not world.upstream.requests[0].all(name)


def test_a_server_may_decline_a_websocket(world: World) -> None:
    wire = world.open()
    assert wire.ask(get("/", "Upgrade: websocket", "Connection: Upgrade")).body == b"hello"
    assert wire.ask(get("/")).body == b"hello"


def test_a_half_closed_client_still_gets_its_answer(world: World) -> None:
    wire = world.dial()
    wire.send(b"GET http://plain.mock.test/ HTTP/1.1\r\nHost: plain.mock.test\r\n" + world.auth() + b"\r\n")
    wire.sock.shutdown(socket.SHUT_WR)
    assert wire.message(answers="GET").body == b"hello"
    assert wire.is_closed()


def test_a_client_that_dies_takes_its_upstream_request_along(world: World) -> None:
    gone = threading.Event()

    def raw(wire: Wire) -> None:
        wire.head()
        wire.rest()
        gone.set()

    world.upstream.raw = raw
    wire = world.open()
    wire.send(get("/"))
    assert eventually(lambda: any(each.seen for each in world.upstream.wires))
    wire.close()  # the socket alone, as when a process is killed
    assert gone.wait(5)


def test_slow_clients_are_let_go(make_world: Callable[[Options], World]) -> None:  # X82
    world = make_world(Options(limits=Limits(head_time=1, handshake_time=1, idle=2)))
    connect = world.dial()
    connect.send(b"CONNECT api.mock.t")
    handshake, _ = world.connect()
    handshake.send(b"\x16\x03\x01")
    head = world.open()
    head.send(b"GET / HT")
    idle = world.open()
    assert idle.ask(get("/")).status == 200
    assert connect.message(answers="GET").status == 408
    assert head.message(answers="GET").status == 408
    assert handshake.is_closed()
    assert idle.is_closed()


def test_a_silent_server_is_given_up(make_world: Callable[[Options], World]) -> None:
    world = make_world(Options(limits=Limits(silence=1)))
    world.upstream.handler = lambda wire, _: wire.rest()
    wire = world.open()
    answer = wire.ask(get("/"))
    assert (answer.status, answer.one("x-authsome-error")) == (504, "upstream_timeout")
    assert wire.is_closed()
