"""What one run may take of the proxy: connections, and memory for what waits; the other runs notice nothing (P28)."""

from collections.abc import Callable
from contextlib import suppress

import pytest
from http2_wire import Peer, Server, client, secure
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
