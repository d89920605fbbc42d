"""Bytes in motion over HTTP/2: large bodies, back-pressure, early answers, and that nothing stays behind."""

import gc
import hashlib
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import pytest
from http2_wire import (
    DATA,
    HEADERS,
    RST_STREAM,
    USUAL,
    WINDOW_UPDATE,
    Exchanged,
    Peer,
    Raw,
    Server,
    client,
    head,
    raw,
    raw_client,
    raw_server,
    setting,
)
from wire_world import Closed, Options, World, eventually

from authsome.model.placeholder import PLACEHOLDER
from authsome.proxy.engine.http2.connection import Stream
from authsome.proxy.engine.http2.exchange import Http2Exchange
from authsome.proxy.engine.ports import Limits

MB = 1 << 20
BLOCK = bytes(range(256)) * 4096  # 1 MB
POST = [(":method", "POST"), *USUAL[1:]]
BEARER = ("authorization", f"Bearer {PLACEHOLDER}")


def settles(counter: list[int]) -> int:
    """The value at which a counter stays for half a second."""
    last, since = -1, time.monotonic()
    while time.monotonic() - since < 0.5:
        if counter[0] != last:
            last, since = counter[0], time.monotonic()
        time.sleep(0.05)
    return last


def test_64_megabytes_go_up_and_come_down_unchanged(world: World) -> None:
    digest = hashlib.sha256(BLOCK * 64).hexdigest().encode()

    def swap(server: Raw) -> None:
        server.send(raw(WINDOW_UPDATE, 0, 0, b"\x7f\0\0\0"))
        number = server.until(HEADERS).stream
        server.send(raw(WINDOW_UPDATE, 0, number, b"\x7f\0\0\0"))
        seen = hashlib.sha256()
        while not (frame := server.until(DATA)).flags & 1:
            seen.update(frame.payload)
            server.frames.clear()
        seen.update(frame.payload)
        server.send(head(number, [(":status", "200"), ("x-sum", seen.hexdigest())], end=False))
        room = 65535
        for at in range(0, 64 * MB, 16384):
            while room < 16384:
                room += int.from_bytes(server.until(WINDOW_UPDATE, number).payload, "big")
                server.frames.clear()
            server.send(raw(DATA, 0, number, BLOCK[at % MB : at % MB + 16384]))
            room -= 16384
        server.send(raw(DATA, 1, number))
        server.end()

    raw_server(world, swap)
    wire = raw_client(world, setting(4, 2**31 - 1))
    wire.send(raw(WINDOW_UPDATE, 0, 0, b"\x7f\0\0\0"), head(1, POST, end=False))
    room = 65535
    for at in range(0, 64 * MB, 16384):
        while room < 16384:
            room += int.from_bytes(wire.until(WINDOW_UPDATE, 1).payload, "big")
        wire.send(raw(DATA, 0, 1, BLOCK[at % MB : at % MB + 16384]))
        room -= 16384
    wire.send(raw(DATA, 1, 1))
    assert wire.fields(wire.until(HEADERS, 1))["x-sum"] == digest.decode()
    time.sleep(0.5)  # the server is stopped by what lies in the sockets
    got = hashlib.sha256()
    while not (frame := wire.until(DATA)).flags & 1:
        got.update(frame.payload)
        wire.frames.clear()
    got.update(frame.payload)
    assert got.hexdigest().encode() == digest
    assert eventually(lambda: not _held(world))


def test_a_slow_reader_slows_its_server_alone(world: World) -> None:
    sent = [0]

    def serve(peer: Peer, stream: Exchanged) -> None:
        if stream.one(b":path") != b"/large":
            peer.head(stream.number, 200, end=True)
            return
        peer.head(stream.number, 200)
        for _ in range(2000):
            while not (room := peer.h2.local_flow_control_window(stream.number)):
                peer.turn()
            peer.h2.send_data(stream.number, bytes(min(room, 16384)))
            peer.flush()
            sent[0] += min(room, 16384)

    Server(world, serve)
    peer = client(world)
    peer.opens_windows = False
    peer.ask(path="/large")
    assert settles(sent) <= 2 * MB
    assert peer.get(path="/small").status == 200  # another stream of the same connections
    assert client(world, token=world.run("r2")).get(path="/small").status == 200


def test_a_slow_server_slows_its_client_alone(world: World) -> None:
    def serve(server: Raw) -> None:
        while True:
            frame = server.until(HEADERS)
            if frame.flags & 1:
                server.send(raw(HEADERS, 5, frame.stream, b"\x89"))

    raw_server(world, serve)
    wire = raw_client(world)
    wire.send(head(1, POST, end=False), *[raw(DATA, 0, 1, bytes(16000))] * 4, head(3))
    assert wire.status(3) == "204"
    wire.send(raw(6, 0, 0, bytes(8)))
    wire.until(6)
    opened = [int.from_bytes(f.payload, "big") for f in wire.frames if f.kind == WINDOW_UPDATE and f.stream == 1]
    assert sum(opened) <= MB + 65535  # what the server takes, and one window


def test_the_first_answers_of_an_upload_come_before_its_end(world: World) -> None:
    server = Server(world)
    server.early = lambda peer, stream, event: (
        peer.head(stream.number, 200) if not stream.parts and "Request" in type(event).__name__ else None
    )
    peer = client(world)
    number = peer.ask(method="POST", end=False)
    peer.until(lambda: peer.streams[number].fields)
    peer.send(number, b"x", end=True)
    assert eventually(lambda: server.asked[0].ended and server.asked[0].body == b"x")


@pytest.mark.parametrize("body", [True, False])
def test_an_early_answer_ends_the_upload(world: World, body: bool) -> None:
    def serve(server: Raw) -> None:
        number = server.until(HEADERS).stream
        server.send(head(number, [(":status", "413")], end=not body))
        if body:
            server.send(raw(DATA, 1, number, b"too large"))
        server.send(raw(RST_STREAM, 0, number, bytes(4)))
        server.end()

    raw_server(world, serve)
    wire = raw_client(world)
    wire.send(head(1, POST, end=False), raw(DATA, 0, 1, bytes(16384)))
    assert wire.status(1) == "413"
    if body:
        frame = wire.until(DATA)
        assert frame.payload == b"too large" and frame.flags & 1
    assert wire.until(RST_STREAM).code == 0
    wire.send(raw(DATA, 1, 1, bytes(100)), raw(6, 0, 0, bytes(8)))
    wire.until(6)


@pytest.mark.parametrize("goes", ["reset", "lost"])
def test_an_answer_that_was_whole_stays_so_when_the_server_goes(world: World, goes: str) -> None:
    def serve(server: Raw) -> None:
        number = server.until(HEADERS).stream
        server.send(head(number, [(":status", "200")]))
        if goes == "reset":
            server.send(raw(RST_STREAM, 0, number, b"\0\0\0\x08"))
            server.end()

    raw_server(world, serve)
    wire = raw_client(world)
    wire.send(head(1, POST, end=False))
    assert wire.status(1) == "200"
    assert wire.until(RST_STREAM).code == 0


@pytest.mark.parametrize("code", [0, 2, 8, 0xFF])
def test_an_answer_that_is_cut_off_does_not_look_whole(world: World, code: int) -> None:
    def serve(server: Raw) -> None:
        number = server.until(HEADERS).stream
        server.send(head(number, [(":status", "200")], end=False), raw(DATA, 0, number, b"half"))
        server.send(raw(RST_STREAM, 0, number, code.to_bytes(4, "big")))
        server.end()

    raw_server(world, serve)
    answer = client(world).get()
    assert answer.reset == (code if code in (2, 8) else 2) and not answer.ended


def test_a_refusal_reaches_a_client_that_is_still_uploading(world: World) -> None:
    server = Server(world)
    wire = raw_client(world)
    wire.send(head(1, [*POST, ("cookie", PLACEHOLDER)], end=False))
    sent = [raw(DATA, 0, 1, bytes(16000))] * 4
    wire.send(*sent)
    assert wire.status(1) == "403"
    assert wire.until(DATA, 1).flags & 1
    assert wire.until(RST_STREAM).code == 0
    wire.send(head(3))
    assert wire.status(3) == "200"
    assert len(server.asked) == 1


def test_a_server_that_answers_and_reads_no_more_has_a_moment_to_do_so(
    make_world: Callable[[Options], World],
) -> None:
    world = make_world(Options(limits=Limits(linger=0.3)))
    left: list[float] = []

    def serve(server: Raw) -> None:
        number = server.until(HEADERS).stream
        answered = time.monotonic()
        server.send(head(number, [(":status", "200")]))
        assert server.until(RST_STREAM, number).code == 8
        left.append(time.monotonic() - answered)

    raw_server(world, serve, setting(4, 1000))
    wire = raw_client(world)
    wire.send(head(1, POST, end=False), raw(DATA, 1, 1, bytes(16384)))
    assert wire.status(1) == "200"
    assert eventually(lambda: left) and left[0] > 0.2
    assert eventually(lambda: not _held(world))


def test_a_reset_while_data_waits_frees_it(world: World) -> None:
    def pour(server: Raw) -> None:
        number = server.until(HEADERS).stream
        server.send(head(number, [(":status", "200")], end=False), *[raw(DATA, 0, number, bytes(16000))] * 4)
        assert server.until(RST_STREAM).code == 8
        answered.set()
        server.end()

    answered = threading.Event()
    raw_server(world, pour)
    wire = raw_client(world, setting(4, 10))
    wire.send(head(1))
    assert len(wire.until(DATA).payload) == 10
    wire.send(raw(RST_STREAM, 0, 1, b"\0\0\0\x08"))
    assert answered.wait(5)
    assert eventually(lambda: not _held(world))


def test_the_end_waits_for_the_data_before_it(world: World) -> None:
    def pour(peer: Peer, stream: Exchanged) -> None:
        peer.head(stream.number, 200)
        peer.send(stream.number, b"0123456789" * 10)
        peer.trailers(stream.number, ("x-end", "yes"))

    Server(world, pour)
    wire = raw_client(world, setting(4, 30))
    wire.send(head(1))
    got = b""
    while len(got) < 100:
        frame = wire.until(DATA)
        assert not frame.flags & 1
        got += frame.payload
        wire.send(raw(WINDOW_UPDATE, 0, 1, len(frame.payload).to_bytes(4, "big")))
    assert wire.until(HEADERS).flags & 1
    assert got == b"0123456789" * 10


def test_a_window_that_shrinks_below_nothing_opens_again(world: World) -> None:
    def pour(peer: Peer, stream: Exchanged) -> None:
        peer.head(stream.number, 200)
        peer.send(stream.number, bytes(300), end=True)

    Server(world, pour)
    wire = raw_client(world, setting(4, 100))
    wire.send(head(1))
    assert len(wire.until(DATA).payload) == 100
    wire.send(raw(4, 0, 0, setting(4, 50)), raw(WINDOW_UPDATE, 0, 1, b"\0\0\0\x31"), raw(6, 0, 0, bytes(8)))
    wire.until(6)
    assert [f.kind for f in wire.frames].count(DATA) == 1  # one too many was sent, as seen from now
    wire.send(raw(WINDOW_UPDATE, 0, 1, b"\0\0\0\x02"))
    assert len(wire.until(DATA).payload) == 1
    wire.send(raw(4, 0, 0, setting(4, 1000)))
    assert len(wire.until(DATA).payload) == 199
    assert wire.frames[-1].flags & 1


def test_a_stream_that_goes_on_is_not_taken_for_a_stalled_one(
    make_world: Callable[[Options], World],
) -> None:
    world = make_world(Options(limits=Limits(silence=1.5, idle=1.5)))

    def events(peer: Peer, stream: Exchanged) -> None:
        peer.head(stream.number, 200)
        for _ in range(7):
            time.sleep(0.4)
            peer.send(stream.number, b"event")
        peer.send(stream.number, b"", end=True)

    Server(world, events)
    peer = client(world)
    answer = peer.get()
    assert answer.ended and answer.body == b"event" * 7


def test_a_client_that_dies_takes_its_upstream_streams_along(world: World) -> None:
    server = Server(world)
    server.early = lambda peer, stream, event: None
    peer = client(world)
    for _ in range(5):
        peer.ask()
    assert eventually(lambda: len(server.asked) == 5)
    peer.wire.close()
    assert eventually(lambda: all(stream.reset == 8 for stream in server.asked))


@pytest.mark.parametrize("slow", [False, True])
def test_the_end_of_a_run_closes_its_connections_and_no_other(world: World, slow: bool) -> None:  # P4
    server = Server(world)
    server.early = lambda peer, stream, event: None
    other = client(world, token=world.run("r2"))
    kept = other.ask()
    assert eventually(lambda: len(server.asked) == 1)
    world.house.slow = slow
    peer = client(world)
    peer.ask()
    assert slow or eventually(lambda: len(server.asked) == 2)
    world.end_run()
    assert peer.is_closed()
    assert slow or eventually(lambda: server.asked[1].reset == 8)
    server.answer(server.asked[0])
    assert other.answer(kept).status == 200
    time.sleep(0.1)
    assert len(server.asked) == (1 if slow else 2)


def test_100_continue_is_said_to_who_waits_for_it(world: World) -> None:  # X42
    server = Server(world)
    peer = client(world)
    number = peer.ask(("expect", "100-continue"), ("content-length", "3"), method="POST", end=False)
    peer.until(lambda: peer.streams[number].interim)
    assert peer.streams[number].interim == [[(b":status", b"100")]]
    peer.send(number, b"abc", end=True)
    assert peer.answer(number).status == 200
    assert not server.asked[0].all(b"expect")


def test_early_hints_are_passed_on(world: World) -> None:
    def hint(peer: Peer, stream: Exchanged) -> None:
        peer.head(stream.number, 103, ("link", "</a>"))
        peer.head(stream.number, 200, end=True)

    Server(world, hint)
    answer = client(world).get()
    assert answer.interim == [[(b":status", b"103"), (b"link", b"</a>")]] and answer.status == 200


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_an_answer_without_a_body_has_none(world: World, method: str) -> None:
    Server(world, lambda peer, stream: peer.head(stream.number, 304, ("content-length", "99"), end=True))
    answer = client(world).get(method=method)
    assert (answer.status, answer.body, answer.one(b"content-length")) == (304, b"", b"99")


def test_nothing_of_a_request_stays_behind(world: World) -> None:
    """Not even for the garbage collector."""

    def serve(peer: Peer, stream: Exchanged) -> None:
        path = stream.one(b":path")
        if path == b"/reset":
            peer.reset(stream.number, 2)
        elif path == b"/401":
            peer.head(stream.number, 401, end=True)
        elif path == b"/bad":
            peer.head(stream.number, 200, ("connection", "x"))
        elif path == b"/none":
            pass
        else:
            peer.head(stream.number, 200)
            peer.send(stream.number, stream.body + b"x" * 50_000)
            peer.trailers(stream.number, ("a", "b"))

    server = Server(world, serve)
    peer = client(world)
    peer.get(BEARER)
    world.call(gc.collect)
    gc.disable()
    try:
        for _ in range(20):
            for path in ("/", "/reset", "/401", "/bad", "/%zz"):
                peer.get(BEARER, path=path)
            peer.get(authority="evil.mock.test")
            number = peer.ask(BEARER, method="POST", end=False)
            peer.send(number, b"y" * 70_000)
            peer.trailers(number, ("c", "d"))
            assert len(peer.answer(number).body) == 120_000
            number = peer.ask(BEARER, path="/none")
            before = len(server.asked)
            assert eventually(lambda before=before: len(server.asked) >= before)
            peer.reset(number)
        assert peer.get().status == 200
        assert eventually(lambda: not _held(world))
        assert eventually(lambda: _alive(Http2Exchange) + _alive(Stream) == 0), (_alive(Http2Exchange), _alive(Stream))
    finally:
        gc.enable()
    peer.wire.close()
    assert eventually(lambda: world.call(lambda: len(world.proxy._runs._live["r1"].members)) == 0)
    for wire in world.upstream.wires:
        wire.close()
    assert eventually(lambda: not world.call(lambda: dict(_pool(world)._shelves)))
    assert not world.call(lambda: set(_pool(world)._tasks))


def _alive(kind: type) -> int:
    return sum(type(each) is kind for each in gc.get_objects())


def _pool(world: World):  # type: ignore[no-untyped-def]
    assert world.proxy._core is not None
    return world.proxy._core.streams


def _held(world: World) -> int:
    """How many streams are open to servers, and to clients."""

    def count() -> int:
        up = [len(c.streams) for shelf in _pool(world)._shelves.values() for c in shelf.connections]
        members = [m for live in world.proxy._runs._live.values() for m in live.members]
        down = [len(getattr(getattr(m.expire, "__self__", None), "streams", ())) for m in members]
        return sum(up) + sum(down)

    return int(world.call(count))


def test_many_clients_at_once_get_their_own_answers(world: World) -> None:
    def echo(peer: Peer, stream: Exchanged) -> None:
        peer.head(stream.number, 200)
        peer.send(stream.number, stream.one(b":path") + stream.body, end=True)

    Server(world, echo)
    wrong: list[str] = []

    def one(which: int) -> None:
        peer = client(world)
        for turn in range(5):
            asked = {}
            for stream in range(6):
                path = f"/{which}/{turn}/{stream}" + "x" * (which * 37 % 500)
                number = peer.ask(path=path, method="POST", end=False)
                peer.send(number, b"b" * (stream * 1000), end=True)
                asked[number] = path.encode() + b"b" * (stream * 1000)
            wrong.extend(str(n) for n, body in asked.items() if peer.answer(n).body != body)
        with suppress(Closed, OSError):
            peer.wire.close()

    threads = [threading.Thread(target=one, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
