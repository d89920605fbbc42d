"""Peers that want to exhaust the proxy (X49), and busy ones that only look like it."""

import gc
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from http2_wire import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    GOAWAY,
    HEADERS,
    PING,
    PRIORITY,
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
    open_http2,
    raw,
    raw_client,
    raw_server,
    setting,
)
from wire_world import Closed, Options, World, eventually

from authsome.proxy.engine.ports import Limits

CALM = 11
MB = 1 << 20
POST = [(":method", "POST"), *USUAL[1:]]
CANCEL = b"\0\0\0\x08"


def silent(peer: Peer, stream: Exchanged, event: object) -> None:
    """A server that never answers."""


def pour(wire: Raw, frames: list[bytes]) -> int | None:
    """Send it all, or until nobody listens; gives the code of the GOAWAY."""
    try:
        for at in range(0, len(frames), 500):
            wire.send(*frames[at : at + 500])
    except OSError:
        pass
    return wire.end()


A_HEAD = block(USUAL)
FLOODS: dict[str, list[bytes]] = {
    "rapid reset": [head(2 * n + 1) + raw(RST_STREAM, 0, 2 * n + 1, CANCEL) for n in range(10_000)],
    "rapid reset with data": [
        head(2 * n + 1, POST, end=False) + raw(DATA, 0, 2 * n + 1, b"x") * 3 + raw(RST_STREAM, 0, 2 * n + 1, CANCEL)
        for n in range(10_000)
    ],
    "requests that make us reset": [
        head(2 * n + 1, [*POST, ("content-length", "1")], end=False) + raw(DATA, 0, 2 * n + 1, b"xx")
        for n in range(10_000)
    ],
    "trailers that make us reset": [
        head(2 * n + 1, POST, end=False) + head(2 * n + 1, [(":path", "/")]) for n in range(10_000)
    ],
    "continuations": [raw(HEADERS, 0, 1, A_HEAD)] + [raw(CONTINUATION, 0, 1, b"\0\1a\1b" * 50)] * 10_000,
    "empty continuations": [raw(HEADERS, 0, 1, A_HEAD)] + [raw(CONTINUATION, 0, 1)] * 10_000,
    "settings": [raw(SETTINGS, 0, 0, setting(4, 65535))] * 10_000,
    "settings of many parameters": [raw(SETTINGS, 0, 0, (setting(4, 0) + setting(4, 65535)) * 1365)] * 10_000,
    "pings": [raw(PING, 0, 0, bytes(8))] * 10_000,
    "answers to pings": [raw(PING, 1, 0, bytes(8))] * 10_000,
    "empty data": [head(1, POST, end=False)] + [raw(DATA, 0, 1)] * 10_000,
    "padded empty data": [head(1, POST, end=False)] + [raw(DATA, 8, 1, b"\0")] * 10_000,
    "window updates": [raw(WINDOW_UPDATE, 0, 0, b"\0\0\0\1")] * 10_000,
    "window updates of a stream": [head(1)] + [raw(WINDOW_UPDATE, 0, 1, b"\0\0\0\1")] * 10_000,
    "priorities": [raw(PRIORITY, 0, 1, bytes(5))] * 10_000,
    "unknown frames": [raw(99, 0, 0, b"x")] * 10_000,
    "farewells": [raw(GOAWAY, 0, 0, bytes(8))] * 10_000,
    "heads of a stream that is over": [head(1), raw(RST_STREAM, 0, 1, CANCEL)] + [head(1)] * 10_000,
    "data of a stream that is over": [head(1), raw(RST_STREAM, 0, 1, CANCEL)] + [raw(DATA, 0, 1, b"x")] * 10_000,
    "too many streams": [head(2 * n + 1) for n in range(10_000)],
}


@pytest.mark.parametrize("flood", FLOODS)
def test_a_flood_ends_its_connection_and_no_other(world: World, flood: str) -> None:  # X49
    server = Server(world)
    server.early = silent
    other = client(world, token=world.run("r2"))
    number = other.ask(end=False, method="POST")
    assert eventually(lambda: server.asked)
    wire = raw_client(world)
    assert pour(wire, FLOODS[flood]) == CALM
    other.send(number, b"", end=True)
    assert eventually(lambda: server.asked[0].ended)
    server.answer(server.asked[0])
    assert other.answer(number).status == 200
    assert len(server.asked) <= 1202


def test_floods_take_no_memory(world: World) -> None:  # X49
    server = Server(world)
    server.early = silent
    floods = ("rapid reset", "too many streams", "settings of many parameters", "continuations")
    pour(raw_client(world), FLOODS[floods[0]])  # what is there once
    before = _resident()
    for flood in floods:
        pour(raw_client(world), FLOODS[flood])
    assert _resident() - before < 20 * MB


def _resident() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def test_a_bomb_of_references_ends_its_connection(world: World) -> None:  # X49
    server = Server(world)
    wire = raw_client(world)
    length = bytes((3900 - 127 & 127 | 128, 3900 - 127 >> 7))
    large = b"\x40\1a\x7f" + length + b"x" * 3900
    wire.send(raw(HEADERS, END_HEADERS | 1, 1, A_HEAD + large))
    assert wire.status(1) == "200"
    wire.send(raw(HEADERS, 0, 3, A_HEAD + b"\xbe" * 16000), raw(CONTINUATION, END_HEADERS, 3))
    assert wire.end() == CALM
    assert len(server.asked) == 1


def test_a_client_that_lets_answers_wait_holds_little_and_is_let_go(make_world: Callable[[Options], World]) -> None:
    world = make_world(Options(limits=Limits(idle=1)))  # X49: the 0-window stall
    sent = [0]

    def endless(peer: Peer, stream: Exchanged) -> None:
        peer.head(stream.number, 200)
        with pytest.raises(Closed):
            for _ in range(64):
                peer.send(stream.number, bytes(16384))
                sent[0] += 16384
        raise Closed

    Server(world, endless)
    began = time.monotonic()
    wire = raw_client(world, setting(4, 0))
    wire.send(head(1))
    assert wire.status(1) == "200"
    assert wire.end() == CALM
    assert 0.5 < time.monotonic() - began < 5
    assert sent[0] <= 65535
    assert eventually(lambda: all(each.sock.fileno() == -1 or each.seen for each in world.upstream.wires))


def large_heads(server: Raw) -> None:
    """A server that answers with as much as no window bounds."""
    long = block([(":status", "204"), ("x", "y" * 16_000)])
    while True:
        number = server.until(HEADERS).stream
        server.send(raw(HEADERS, 5, number, long))


def test_a_client_that_never_reads_is_cut_off_before_much_lies_for_it(world: World) -> None:  # X49
    raw_server(world, large_heads)
    other = client(world, token=world.run("r2"))
    wire = raw_client(world)
    before = _resident()
    with pytest.raises(OSError):
        for number in range(1, 20_000, 2):
            wire.send(head(number), raw(PING, 0, 0, bytes(8)))
            if number % 50 == 1:
                assert other.get().status == 204  # so the one before has been answered
    assert _resident() - before < 20 * MB
    assert other.get().status == 204


def test_a_connection_that_is_given_up_does_not_wait_for_a_client_that_reads_nothing(
    make_world: Callable[[Options], World],
) -> None:
    world = make_world(Options(limits=Limits(idle=1, linger=0.5)))
    raw_server(world, large_heads)
    wire = open_http2(world)
    Raw(wire).send(*[head(2 * n + 1) for n in range(90)])
    assert eventually(
        lambda: world.call(lambda: [m for live in world.proxy._runs._live.values() for m in live.members])
    )
    assert eventually(
        lambda: not world.call(lambda: [m for live in world.proxy._runs._live.values() for m in live.members]), 8
    )


def test_a_server_that_floods_is_left_and_its_requests_are_told(world: World) -> None:
    def flood(server: Raw) -> None:
        server.until(HEADERS)
        pour(server, [raw(PING, 0, 0, bytes(8))] * 5000)

    raw_server(world, flood)
    answer = client(world).get()
    assert answer.status == 502 and answer.one(b"x-authsome-error") == b"endpoint_unreachable"


@pytest.mark.parametrize("flood", ["interim", "continuations", "too long a head", "too many fields"])
def test_a_server_that_answers_without_end_is_told_from_one_that_answers(world: World, flood: str) -> None:  # X50
    def answer(server: Raw) -> None:
        number = server.until(HEADERS).stream
        if flood == "interim":
            server.send(*[head(number, [(":status", "103"), ("link", "x")], end=False)] * 1000)
        elif flood == "continuations":
            server.send(raw(HEADERS, 0, number, b"\x88"), *[raw(CONTINUATION, 0, number)] * 1000)
        elif flood == "too long a head":
            server.send(raw(HEADERS, 0, number, block([(":status", "200")])))
            part = block([("x", "y" * 16000)])
            server.send(*[raw(CONTINUATION, END_HEADERS if n == 4 else 0, number, part) for n in range(5)])
        else:
            server.send(head(number, [(":status", "200"), *[("x", "y")] * 300]))
        server.end()

    raw_server(world, answer)
    assert client(world).get().status == 502


# those that only look like it


def test_ten_thousand_requests_in_a_row_are_no_flood(world: World) -> None:
    raw_server(world, answer_all)
    wire = raw_client(world)
    for start in range(0, 10_000, 50):
        wire.send(*[head(2 * n + 1) for n in range(start, start + 50)])
        for _ in range(50):
            wire.until(HEADERS)
    assert not [frame for frame in wire.frames if frame.kind == GOAWAY]


def answer_all(server: Raw) -> None:
    while True:
        frame = server.until(HEADERS)
        server.send(raw(HEADERS, 5, frame.stream, b"\x89"))


def test_a_window_update_for_every_frame_of_a_large_answer_is_no_flood(world: World) -> None:
    def large(peer: Peer, stream: Exchanged) -> None:
        peer.head(stream.number, 200)
        for _ in range(64):
            peer.send(stream.number, bytes(MB))
        peer.send(stream.number, b"", end=True)

    Server(world, large)
    wire = raw_client(world, setting(4, 4 * MB))
    wire.send(raw(WINDOW_UPDATE, 0, 0, b"\0\x40\0\0"), head(1))
    got = 0
    while True:
        frame = wire.until(DATA)
        wire.frames.clear()
        if frame.flags & 1:
            break
        got += len(frame.payload)
        size = len(frame.payload).to_bytes(4, "big")
        wire.send(raw(WINDOW_UPDATE, 0, 1, size), raw(WINDOW_UPDATE, 0, 0, size))
    assert got + len(frame.payload) == 64 * MB


def test_two_window_updates_for_each_of_many_small_messages_are_no_flood(world: World) -> None:
    def small(server: Raw) -> None:
        number = server.until(HEADERS).stream
        server.send(head(number, [(":status", "200")], end=False))
        for _ in range(10):
            server.send(*[raw(DATA, 0, number, b"message")] * 500)
        server.send(raw(DATA, 1, number))
        server.end()

    raw_server(world, small)
    wire = raw_client(world)
    wire.send(head(1))
    updates: list[bytes] = []
    while not wire.until(DATA).flags & 1:
        updates += [raw(WINDOW_UPDATE, 0, 1, b"\0\0\0\7"), raw(WINDOW_UPDATE, 0, 0, b"\0\0\0\7")]
    wire.send(*updates, raw(PING, 0, 0, b"12345678"))
    assert len(updates) == 10_000
    wire.until(PING)


def test_a_long_conversation_in_small_messages_is_no_flood(world: World) -> None:  # gRPC
    def echo(server: Raw) -> None:
        number = server.until(HEADERS).stream
        server.send(head(number, [(":status", "200")], end=False))
        while True:
            frame = server.until(DATA)
            server.send(raw(DATA, 0, number, frame.payload), raw(WINDOW_UPDATE, 0, number, b"\0\0\0\7"))

    raw_server(world, echo)
    wire = raw_client(world)
    wire.send(head(1, POST, end=False))
    for _ in range(5000):
        wire.send(raw(DATA, 0, 1, b"message"))
        assert wire.until(DATA).payload == b"message"


def test_many_requests_that_are_cancelled_after_their_heads_are_no_flood(world: World) -> None:
    def slow(server: Raw) -> None:
        while True:
            frame = server.until(HEADERS)
            server.send(head(frame.stream, [(":status", "200")], end=False))

    raw_server(world, slow)
    wire = raw_client(world)
    for number in range(1, 2401, 2):
        wire.send(head(number))
        wire.until(HEADERS, number)
        wire.send(raw(RST_STREAM, 0, number, CANCEL))
    wire.send(raw(PING, 0, 0, b"12345678"))
    wire.until(PING)


def test_patience_comes_back_with_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("authsome.proxy.engine.http2.connection._RECOVERY", 0.3)
    Server(world)
    wire = raw_client(world)
    for _ in range(3):
        time.sleep(0.35)
        wire.send(*[raw(PING, 0, 0, bytes(8))] * 900)
        for _ in range(900):
            wire.until(PING)
    assert pour(wire, [raw(PING, 0, 0, bytes(8))] * 3000) == CALM


def test_a_hundred_clients_at_once_are_all_served(world: World) -> None:
    Server(world)
    wrong: list[object] = []

    def one() -> None:
        peer = client(world)
        numbers = [peer.ask(path=f"/{n}") for n in range(20)]
        wrong.extend(n for n in numbers if peer.answer(n).body != b"hello")
        peer.wire.close()

    threads = [threading.Thread(target=one) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
