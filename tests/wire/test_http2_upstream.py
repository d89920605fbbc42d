"""The connections to servers over HTTP/2: shared, replaced, asked again where that is safe, given up where not."""

import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import pytest
from h2.settings import SettingCodes
from http2_wire import (
    DATA,
    END_HEADERS,
    GOAWAY,
    HEADERS,
    PING,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    USUAL,
    WINDOW_UPDATE,
    Exchanged,
    Peer,
    Raw,
    Server,
    block,
    client,
    head,
    raw,
    raw_client,
    raw_server,
    setting,
)
from wire_world import Closed, Options, Wire, World, eventually, lendable

from authsome.model.injection import BodyInjection, HeaderInjection
from authsome.model.placeholder import PLACEHOLDER
from authsome.proxy.engine.ports import Limits

OK = b"\x88"
POST = [(":method", "POST"), *USUAL[1:]]


def refusal(answer: Exchanged) -> tuple[int, str]:
    code = answer.one(b"x-authsome-error").decode()
    assert json.loads(answer.body)["error"] == code
    return answer.status, code


class Script:
    """A server that does one thing per request, in this order, and after that answers 200."""

    def __init__(self, world: World, *deeds: Callable[[Raw, int], None], settings: bytes = b"") -> None:
        self.deeds = list(deeds)
        self.paths: list[str] = []
        self.connections = 0
        raw_server(world, self._serve, settings)

    def _serve(self, server: Raw) -> None:
        first = True
        while True:
            frame = server.until(HEADERS)
            self.connections += first
            first = False
            self.paths.append(server.fields(frame)[":path"])
            deed = self.deeds.pop(0) if self.deeds else answer
            deed(server, frame.stream)


def answer(server: Raw, number: int) -> None:
    server.send(raw(HEADERS, 5, number, OK))


def refuse(server: Raw, number: int) -> None:
    server.send(raw(RST_STREAM, 0, number, b"\0\0\0\x07"))


def leave(server: Raw, number: int) -> None:
    server.wire.close()
    raise Closed


def goaway(last: int) -> Callable[[Raw, int], None]:
    def deed(server: Raw, number: int) -> None:
        server.send(raw(GOAWAY, 0, 0, last.to_bytes(4, "big") + bytes(4)))
        if number <= last:
            answer(server, number)

    return deed


# asked again


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("deed", [refuse, goaway(0)])
def test_what_the_server_has_not_looked_at_is_sent_again_once(
    world: World, method: str, deed: Callable[[Raw, int], None]
) -> None:
    script = Script(world, deed)
    peer = client(world)
    number = peer.ask(method=method, path="/once", end=False)
    peer.send(number, b"body", end=True)
    assert peer.answer(number).status == 200
    assert script.paths == ["/once"] * 2
    script.deeds = [deed, deed]
    last = peer.get(method=method, path="/twice")
    assert last.reset == 7 if deed is refuse else refusal(last) == (502, "endpoint_unreachable")
    assert script.paths == ["/once"] * 2 + ["/twice"] * 2


def test_what_the_server_has_looked_at_is_answered_after_its_farewell(world: World) -> None:
    script = Script(world, goaway(1), answer)
    peer = client(world)
    assert peer.get(path="/1").status == 200
    assert peer.get(path="/2").status == 200
    assert script.connections == 2


@pytest.mark.parametrize("method", ["GET", "PUT", "POST"])
def test_a_lost_connection_costs_what_is_not_safe_to_repeat(world: World, method: str) -> None:
    script = Script(world, answer, leave, answer, leave, leave)
    peer = client(world)
    assert peer.get(path="/first").status == 200
    got = peer.get(path="/second", method=method)
    again = method != "POST"
    assert got.status == 200 if again else refusal(got) == (502, "endpoint_unreachable")
    assert script.paths == ["/first"] + ["/second"] * (1 + again)
    script.deeds = [leave, leave]
    assert refusal(peer.get(path="/third", method=method)) == (502, "endpoint_unreachable")
    assert script.paths[2 + again :] == ["/third"] * (1 + again)


def test_a_body_in_which_something_was_replaced_is_sent_again_as_it_was_sent(world: World) -> None:
    bodies: list[bytes] = []

    def serve(server: Raw) -> None:
        while True:
            number = server.until(HEADERS).stream
            bodies.append(server.until(DATA, number).payload)
            refuse(server, number) if len(bodies) == 1 else answer(server, number)

    raw_server(world, serve)
    world.lend(lendable("mock", injections=(HeaderInjection("Authorization"), BodyInjection("token"))))
    peer = client(world)
    number = peer.ask(("content-type", "application/json"), method="POST", end=False)
    peer.send(number, b'{"token": "%b"}' % PLACEHOLDER.encode(), end=True)
    assert peer.answer(number).status == 200
    assert [json.loads(body) for body in bodies] == [{"token": world.secret}] * 2


def test_an_upload_that_is_under_way_is_sent_again_from_its_beginning(world: World) -> None:
    bodies: list[bytes] = []
    refused = threading.Event()

    def serve(server: Raw) -> None:
        number = server.until(HEADERS).stream
        assert server.until(DATA).payload == b"one"
        refuse(server, number)
        refused.set()
        number = server.until(HEADERS).stream
        while True:
            frame = server.until(DATA, number)
            bodies.append(frame.payload)
            if frame.flags & 1:
                break
        answer(server, number)
        server.end()

    raw_server(world, serve)
    peer = client(world)
    number = peer.ask(method="POST", end=False)
    peer.send(number, b"one")
    assert refused.wait(5)
    peer.send(number, b"two", end=True)
    assert peer.answer(number).status == 200
    assert b"".join(bodies) == b"onetwo"


# room


def test_a_server_that_takes_one_stream_at_a_time_gets_one_per_connection(world: World) -> None:
    def slowly(peer: Peer, stream: Exchanged) -> None:
        time.sleep(0.02)
        peer.head(stream.number, 200, end=True)

    server = Server(world, slowly, {SettingCodes.MAX_CONCURRENT_STREAMS: 1})
    peer = client(world)
    numbers = [peer.ask(path=f"/{n}") for n in range(12)]
    assert all(peer.answer(number).status == 200 for number in numbers)
    assert len(server.asked) == 12  # h2 would have refused another one beside it


def test_who_waits_for_room_is_served_when_the_server_gives_some(world: World) -> None:
    servers: list[Raw] = []

    def serve(server: Raw) -> None:
        servers.append(server)
        while True:
            answer(server, server.until(HEADERS).stream)

    raw_server(world, serve, setting(3, 0))
    peer = client(world)
    numbers = [peer.ask(path=f"/{n}") for n in range(5)]
    time.sleep(0.3)
    assert not [f for each in servers for f in each.frames if f.kind == HEADERS]
    assert world.upstream.connections <= 4  # and not one after the other for nothing
    for server in servers:
        with suppress(OSError):
            server.send(raw(SETTINGS, 0, 0, setting(3, 2)))
    assert all(peer.answer(number).status == 200 for number in numbers)


def test_more_than_a_hundred_streams_get_a_second_connection(world: World) -> None:
    server = Server(world)
    server.early = lambda peer, stream, event: None
    token = world.run("r2")
    peers = [client(world, token=token) for _ in range(3)]
    numbers = [(peer, peer.ask()) for peer in peers for _ in range(45)]
    assert eventually(lambda: len(server.asked) == 135)
    assert sorted(sum(s.peer is p for s in server.asked) for p in server.peers)[-2:] == [35, 100]
    for stream in server.asked:
        server.answer(stream)
    assert all(peer.answer(number).status == 200 for peer, number in numbers)


def test_a_window_that_the_server_changes_in_flight_is_kept_to(world: World) -> None:
    got: list[int] = []

    def serve(server: Raw) -> None:
        number = server.until(HEADERS).stream
        for window in (10, 25, 60):
            server.send(raw(SETTINGS, 0, 0, setting(4, window)))
            while sum(got) < window:
                got.append(len(server.until(DATA).payload))
            assert sum(got) == window
        server.send(raw(WINDOW_UPDATE, 0, number, b"\0\0\0\x28"))
        while sum(got) < 100:
            got.append(len(server.until(DATA).payload))
        answer(server, number)
        server.end()

    raw_server(world, serve, setting(4, 0))
    wire = raw_client(world)
    wire.send(head(1, POST, end=False), raw(DATA, 1, 1, bytes(100)))
    assert wire.status(1) == "200"
    assert sum(got) == 100


# what no server should do


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (lambda n: head(n, [("x", "y")]), 502),
        (lambda n: head(n, [(":status", "101")], end=False), 502),
        (lambda n: head(n, [(":status", "20")]), 502),
        (lambda n: head(n, [(":status", "200"), ("connection", "close")]), 502),
        (lambda n: head(n, [(":status", "200"), ("transfer-encoding", "chunked")]), 502),
        (lambda n: head(n, [(":status", "200"), ("Upper", "x")]), 502),
        (lambda n: head(n, [(":status", "200"), ("x", "a\nb")]), 502),
        (lambda n: head(n, [(":status", "200"), (":path", "/")]), 502),
        (lambda n: head(n, [(":status", "100")]), 502),
        (lambda n: raw(DATA, 0, n, b"early"), 502),
        (lambda n: raw(PUSH_PROMISE, END_HEADERS, n, b"\0\0\0\2" + block(USUAL)), 502),
        (lambda n: raw(HEADERS, END_HEADERS, 2, block([(":status", "200")])), None),
        (lambda n: raw(HEADERS, END_HEADERS, n + 2, block([(":status", "200")])), 502),
        (lambda n: raw(HEADERS, 5, n, b"\xbe"), 502),
        (lambda n: b"HTTP/1.1 400 Bad Request\r\n\r\n", 502),
        (lambda n: head(n, [(":status", "200")], end=False) + head(n, [("x", "y")], end=False), "reset"),
        (lambda n: head(n, [(":status", "200")], end=False) + head(n, [(":status", "200")]), "reset"),
        (lambda n: head(n, [(":status", "200")], end=False) + head(n, [("a", "b\0")]), "reset"),
    ],
)
def test_a_malformed_answer_is_told_from_a_good_one(
    world: World, sent: Callable[[int], bytes], told: int | str | None
) -> None:
    def deed(server: Raw, number: int) -> None:
        server.send(sent(number))

    Script(world, deed)
    peer = client(world)
    number = peer.ask(method="POST")
    if told is None:  # passed over
        time.sleep(0.1)
        assert not peer.streams[number].fields
    elif told == "reset":
        assert peer.answer(number).reset == 2
    else:
        assert refusal(peer.answer(number))[0] == told
    assert peer.get().status == 200


@pytest.mark.parametrize("protocols", [["http/1.1"], ["spdy/3"], []])
def test_a_server_without_http2_is_named_as_one(world: World, protocols: list[str]) -> None:
    context = world.upstream._context
    assert context is not None
    if protocols:
        context.set_alpn_protocols(protocols)
    answer_ = client(world).get()
    assert refusal(answer_) == (502, "endpoint_unreachable")
    assert b"does not speak HTTP/2" in answer_.body
    assert not world.upstream.requests


def test_a_server_that_says_farewell_at_once_is_not_dialled_for_ever(world: World) -> None:
    def serve(server: Raw) -> None:
        server.send(raw(GOAWAY, 0, 0, bytes(8)))

    raw_server(world, serve)
    peer = client(world)
    assert refusal(peer.get())[0] == 502
    assert world.upstream.connections <= 5
    Server(world)
    assert peer.get().status == 200


def test_a_server_that_never_says_its_settings_is_given_up(make_world: Callable[[Options], World]) -> None:
    world = make_world(Options(limits=Limits(handshake_time=0.5)))
    context = world.upstream._context
    assert context is not None
    context.set_alpn_protocols(["h2"])

    def silent(wire: Wire) -> None:
        wire.rest()

    world.upstream.raw = silent
    assert refusal(client(world).get())[0] == 502


def test_a_silent_server_is_asked_and_given_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("authsome.proxy.engine.http2.outgoing._PATIENT", 0.5)
    pings: list[float] = []

    def serve(server: Raw) -> None:
        server.until(HEADERS)
        for turn in range(2):
            frame = server.until(PING)
            pings.append(time.monotonic())
            if turn == 0:
                server.send(raw(PING, 1, 0, frame.payload))
        server.end()

    raw_server(world, serve)
    assert refusal(client(world).get(method="POST")) == (502, "endpoint_unreachable")
    assert len(pings) == 2


def test_idle_upstream_connections_are_closed_with_a_word(make_world: Callable[[Options], World]) -> None:
    world = make_world(Options(limits=Limits(upstream_idle=1)))
    server = Server(world)
    assert client(world).get().status == 200
    used = server.asked[0].peer
    assert used is not None
    assert eventually(lambda: used.goaway == 0, 5)


def test_a_later_connection_resumes_the_tls_session(world: World) -> None:
    server = Server(world)
    peer = client(world)
    assert peer.get().status == 200
    assert world.upstream.resumed == 0
    for used in server.peers:
        used.wire.close()
    assert peer.get().status == 200
    assert world.upstream.resumed >= 1


def test_a_small_table_that_the_server_asks_for_is_kept_to(world: World) -> None:
    """RFC 7541 §4.2: who may use less than before says so; implementations insist on it."""
    Server(world, settings={SettingCodes.HEADER_TABLE_SIZE: 0})
    peer = client(world)
    assert [peer.get().status for _ in range(3)] == [200] * 3


def test_a_small_table_that_the_client_asks_for_is_kept_to(world: World) -> None:
    Server(world)
    wire = raw_client(world, setting(1, 0))
    wire._decoder.max_allowed_table_size = 0
    for number in (1, 3):
        wire.send(head(number))
        assert wire.status(number) == "200"
