"""What one run may take of the proxy: connections, and memory for what waits; the other runs notice nothing (P28)."""

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
from h2.events import RequestReceived
from http2_wire import GOAWAY, Exchanged, Peer, Server, client, raw, secure
from wire_world import Message, Options, Wire, World, eventually, get, lendable

from authsome.model.injection import BodyInjection, HeaderInjection
from authsome.model.placeholder import PLACEHOLDER
from authsome.proxy.engine.ports import Limits

MakeWorld = Callable[[Options], World]
SMALL = 1 << 20
LARGE = bytes(16 << 20)  # more than the kernel takes on its way


def left(world: World, run: str = "r1") -> int:
    """What is left of a run's share."""
    return int(world.call(lambda: world.proxy._runs._live[run].share))


def refusal(answer: Message) -> tuple[int, str]:
    return answer.status, answer.one("x-authsome-error")


def test_a_run_has_so_many_connections_and_no_more(make_world: MakeWorld) -> None:
    world = make_world(Options(limits=Limits(run_connections=2)))
    first, second = world.open(), world.open()
    wire, answer = world.connect()
    assert refusal(answer) == (503, "too_busy") and wire.is_closed()
    assert world.open(token=world.run("r2")).ask(get()).status == 200
    assert first.ask(get()).status == second.ask(get()).status == 200
    second.close()
    assert eventually(lambda: world.connect()[1].status == 200)


def test_what_is_not_read_counts_until_the_share_is_used_up(make_world: MakeWorld) -> None:
    def answer(wire: Wire, _: Message) -> None:
        with suppress(OSError):
            wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(LARGE) + LARGE)

    world = make_world(Options(limits=Limits(run_memory=SMALL, buffer=65536)))
    world.upstream.handler = answer
    greedy = [world.open() for _ in range(30)]
    for wire in greedy:
        wire.send(get())
    assert eventually(lambda: any(getattr(event, "error", "") == "too_busy" for event in world.house.events), 20)
    assert left(world) >= 0
    assert len(world.open(token=world.run("r2")).ask(get()).body) == len(LARGE)
    for wire in greedy:
        wire.close()
    assert eventually(lambda: left(world) == SMALL)
    assert len(world.open().ask(get()).body) == len(LARGE)
    assert eventually(lambda: left(world) == SMALL)


def test_bodies_that_are_held_count_until_they_are_sent(make_world: MakeWorld) -> None:
    world = make_world(Options(limits=Limits(run_memory=SMALL)))
    world.lend(lendable("mock", injections=(HeaderInjection("Authorization"), BodyInjection("token"))))
    body = b'{"token": "%b", "x": "%b"}' % (PLACEHOLDER.encode(), b"x" * 700_000)
    head = b"POST / HTTP/1.1\r\nHost: api.mock.test\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    whole = head % len(body) + body
    slow, quick = world.open(), world.open()
    slow.send(whole[:-1])
    assert eventually(lambda: left(world) < 700_000)
    quick.send(whole)
    assert refusal(quick.head()) == (503, "too_busy")
    slow.send(whole[-1:])
    assert slow.head().status == 200
    assert eventually(lambda: left(world) == SMALL)
    gone = world.open()
    gone.send(whole[:-1])
    assert eventually(lambda: left(world) < 700_000)
    gone.close()
    assert eventually(lambda: left(world) == SMALL)


def test_a_run_has_so_many_http2_connections_to_servers(make_world: MakeWorld) -> None:
    world = make_world(Options(limits=Limits(run_http2_connections=1)))
    world.lend(lendable("mock", routes=("api.mock.test", "evil.mock.test")))
    server = Server(world)
    peer = client(world)
    assert peer.get().status == 200
    wire, _ = world.connect("evil.mock.test:443")
    other = Peer(secure(world, wire, "evil.mock.test"), client=True)
    answer = other.get(authority="evil.mock.test")
    assert (answer.status, answer.one(b"x-authsome-error")) == (503, b"too_busy")
    assert len(server.asked) == 1


@pytest.mark.parametrize("held", [False, True])
def test_http2_gives_back_what_waited(make_world: MakeWorld, held: bool) -> None:
    world = make_world(Options(limits=Limits(run_memory=SMALL)))
    if held:
        world.lend(lendable("mock", injections=(HeaderInjection("Authorization"), BodyInjection("token"))))
    server, peer = Server(world), client(world)
    body = b'{"token": "%b"}' % PLACEHOLDER.encode()
    number = peer.ask(("content-type", "application/json"), method="POST", end=False)
    peer.send(number, body)
    if held:
        assert eventually(lambda: left(world) == SMALL - len(body))
    peer.send(number, b"", end=True)
    assert peer.answer(number).status == 200
    assert eventually(lambda: left(world) == SMALL)
    assert server.asked


def tls_hello(name: str) -> bytes:
    """How a client begins."""
    out = ssl.MemoryBIO()
    tls = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), out, server_hostname=name)
    with suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return out.read()


def members(world: World) -> int:
    """How many connections of the run there are."""
    return int(world.call(lambda: len(world.proxy._runs._live["r1"].members)))


def upstream(world: World) -> int:
    """How many HTTP/1.1 connections to servers there are."""
    return int(world.call(lambda: sum(shelf.open for shelf in world.proxy._pools[0]._shelves.values())))  # type: ignore[union-attr]


@contextmanager
def deaf(answer: bytes = b"") -> Iterator[tuple[str, list[socket.socket]]]:
    """A server that reads the first bytes, perhaps answers, and never reads again: its address, its connections."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    taken: list[socket.socket] = []

    def accept() -> None:
        with suppress(OSError):
            while True:
                sock, _ = listener.accept()
                taken.append(sock)
                if answer:
                    sock.recv(600)
                    sock.sendall(answer)

    threading.Thread(target=accept, daemon=True).start()
    yield f"127.0.0.1:{listener.getsockname()[1]}", taken
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    for sock in taken:
        sock.close()


def pour(wire: Wire) -> None:
    """Send until nothing goes any more."""
    wire.sock.settimeout(0.2)
    with suppress(OSError):
        while True:
            wire.sock.sendall(bytes(65536))
    wire.sock.settimeout(10)


def test_a_server_that_answers_without_reading_kept_its_connection_for_ever(make_world: MakeWorld) -> None:
    with deaf() as (address, taken):
        world = make_world(Options(resolve={"plain.mock.test": address}))
        wire = world.dial()
        start = b"POST http://plain.mock.test/ HTTP/1.1\r\nHost: plain.mock.test\r\nContent-Length: 900000000\r\n"
        wire.send(start + world.auth() + b"\r\n")
        pour(wire)
        assert eventually(lambda: taken)
        taken[0].sendall(b"HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n")
        assert wire.head().status == 413
        assert eventually(lambda: upstream(world) == 0)


def test_a_tunnel_to_a_server_that_does_not_read_outlived_its_run(make_world: MakeWorld) -> None:
    with deaf() as (address, _):
        world = make_world(Options(resolve={"evil.mock.test": address}))
        wire, answer = world.connect("evil.mock.test:443")
        assert answer.status == 200
        wire.send(tls_hello("evil.mock.test"))
        pour(wire)
        live = world.proxy._runs._live["r1"]
        assert members(world) == 1
        world.end_run()
        assert eventually(lambda: not live.members)


def test_what_a_tunnel_lets_wait_is_of_the_runs_share(make_world: MakeWorld) -> None:
    with deaf() as (address, _):
        limits = Limits(run_memory=SMALL, buffer=65536)
        world = make_world(Options(limits=limits, resolve={"evil.mock.test": address}))
        wire, _ = world.connect("evil.mock.test:443")
        wire.send(tls_hello("evil.mock.test"))
        pour(wire)
        assert eventually(lambda: left(world) < SMALL)
        world.end_run()
        assert world.open(token=world.run("r2")).ask(get()).status == 200


@pytest.mark.parametrize("body", [b"", b"Content-Length: 1000000\r\n"])
def test_a_stranger_kept_a_connection_open_after_it_was_refused(make_world: MakeWorld, body: bytes) -> None:
    world = make_world(Options(limits=Limits(head_time=1.0, idle=120.0, silence=120.0)))
    wire = world.dial()
    wire.send(b"CONNECT api.mock.test:443 HTTP/1.1\r\nHost: api.mock.test:443\r\n" + body + b"\r\n")
    assert wire.head().status == 407
    wire.sock.settimeout(0.2)
    closed = False
    for _ in range(50):
        try:
            closed = closed or wire.sock.recv(65536) == b""
            if body:
                wire.send(b"x")
        except TimeoutError:
            pass
        except OSError:
            closed = True
    assert closed


def test_connections_that_drain_count_too(make_world: MakeWorld) -> None:
    def leave(peer: Peer, stream: Exchanged, event: object) -> None:
        if isinstance(event, RequestReceived):
            peer.wire.send(raw(GOAWAY, payload=struct.pack(">II", stream.number, 0)))

    world = make_world(Options(limits=Limits(run_http2_connections=2)))
    server, peer = Server(world), client(world)
    server.early = leave
    first = peer.ask()
    assert eventually(lambda: len(server.asked) == 1)
    second = peer.ask()
    assert eventually(lambda: len(server.asked) == 2)
    assert peer.get().one(b"x-authsome-error") == b"too_busy"
    for stream in server.asked:
        server.answer(stream)
    assert peer.answer(first).status == peer.answer(second).status == 200
    assert eventually(lambda: not world.call(lambda: world.proxy._pools[1]._there))  # type: ignore[union-attr]


def test_a_server_that_answers_early_and_reads_on_lost_the_end_of_the_body(make_world: MakeWorld) -> None:
    size = 8 << 20
    with deaf() as (address, taken):
        world = make_world(Options(resolve={"plain.mock.test": address}))
        wire = world.dial()
        start = b"POST http://plain.mock.test/ HTTP/1.1\r\nHost: plain.mock.test\r\nContent-Length: %d\r\n" % size
        sending = threading.Thread(target=wire.send, args=(start + world.auth() + b"\r\n" + bytes(size),))
        sending.start()
        assert eventually(lambda: taken)
        got = b""
        while len(got) < size - (1 << 20):
            got += taken[0].recv(1 << 20)
        sending.join()
        taken[0].sendall(b"HTTP/1.1 202 Yes\r\nContent-Length: 0\r\n\r\n")
        assert wire.head().status == 202
        whole = got.index(b"\r\n\r\n") + 4 + size
        while len(got) < whole and (more := taken[0].recv(1 << 20)):
            got += more
        assert len(got) == whole
