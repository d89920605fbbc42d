"""Nothing of a connection is left for the garbage collector to find: what leaves in bursts would stay in memory."""

import gc
import threading
import time
from collections import Counter
from collections.abc import Callable

import pytest
from http2_wire import Server, client
from wire_world import Message, Wire, World, get

from authsome.proxy.engine.http2.outgoing import Http2Outgoing
from authsome.proxy.engine.outgoing import Outgoing
from authsome.proxy.engine.upstream import _Shelf

COUNT = 5


def plain(world: World) -> None:
    wire = world.open()
    assert wire.ask(get("/")).status == 200
    wire.close()


def waiting_for_a_credential(world: World) -> None:
    world.house.slow = True
    plain(world)


def gone_before_the_answer(world: World) -> None:
    wire = world.open()
    wire.send(get("/"))
    wire.close()


def cut_in_the_answer(world: World) -> None:
    def cut(wire: Wire, _request: Message) -> None:
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello")
        wire.close()

    world.upstream.handler = cut
    wire = world.open()
    wire.send(get("/"))
    wire.rest()
    wire.close()


def refused(world: World) -> None:
    wire = world.open()
    assert wire.ask(get("/authsome-proxy-managed")).status == 403
    wire.close()


def relayed(world: World) -> None:
    switch = b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhi"
    world.upstream.handler = lambda wire, _: wire.send(switch)
    wire = world.open()
    wire.send(get("/", "Connection: Upgrade", "Upgrade: websocket"))
    wire.until(b"hi")
    wire.close()


def streamed(world: World) -> None:
    Server(world)
    peer = client(world)
    assert peer.get().status == 200
    peer.wire.close()


def streams_abandoned(world: World) -> None:
    Server(world, lambda *_: None)
    peer = client(world)
    peer.ask()
    peer.wire.close()


@pytest.mark.parametrize(
    "scene",
    [
        plain,
        waiting_for_a_credential,
        gone_before_the_answer,
        cut_in_the_answer,
        refused,
        relayed,
        streamed,
        streams_abandoned,
    ],
)
def test_no_cycle_is_left_behind_a_connection(world: World, scene: Callable[[World], None]) -> None:
    scene(world)  # what is made once is made
    time.sleep(0.2)
    gc.collect()
    gc.disable()
    try:
        for _ in range(COUNT):
            scene(world)
        time.sleep(0.4)
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        found = Counter(type(each).__qualname__ for each in gc.garbage if type(each).__module__.startswith("authsome"))
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert not {name: count for name, count in found.items() if count >= COUNT}


def test_a_repeated_request_is_not_given_a_connection_that_was_used() -> None:
    class Used:
        is_used = True

    class New:
        is_used = False

    class Waiter:
        def connected(self, connection: object) -> None: ...

        def unconnected(self, refusal: object) -> None: ...

    shelf, repeated, other = _Shelf(), Waiter(), Waiter()
    shelf.waiters.extend([(repeated, True), (other, False)])
    assert shelf.next_for(Used()) is other  # type: ignore[arg-type]
    assert shelf.next_for(Used()) is None  # type: ignore[arg-type]
    assert shelf.next_for(New()) is repeated  # type: ignore[arg-type]


@pytest.mark.parametrize("version", [1, 2])
def test_the_session_of_every_connection_was_read_and_each_reading_lost_six_kilobytes(
    world: World, monkeypatch: pytest.MonkeyPatch, version: int
) -> None:
    kind: type[Outgoing] | type[Http2Outgoing] = Outgoing if version == 1 else Http2Outgoing
    read: list[object] = []
    session = kind.session.fget  # type: ignore[attr-defined]

    def reading(self: Outgoing | Http2Outgoing) -> object:
        read.append(session(self))
        return read[-1]

    monkeypatch.setattr(kind, "session", property(reading))
    if version == 1:
        together = threading.Barrier(COUNT)

        def answer(wire: Wire, _: Message) -> None:
            together.wait(10)
            wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        world.upstream.handler = answer
        wires = [world.open() for _ in range(COUNT)]
        for wire in wires:
            wire.send(get("/"))
        assert [wire.head().status for wire in wires] == [200] * COUNT
    else:
        Server(world)
        for number in range(COUNT):
            assert client(world, token=world.run(f"run{number}")).get().status == 200
    assert world.upstream.connections >= COUNT
    assert 1 <= len(read) <= 2


def test_of_a_server_without_tickets_a_session_was_read_for_every_request(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert world.upstream._context is not None
    world.upstream._context.num_tickets = 0
    read: list[Outgoing] = []
    monkeypatch.setattr(Outgoing, "session", property(read.append))
    wire = world.open()
    assert [wire.ask(get("/")).status for _ in range(COUNT)] == [200] * COUNT
    assert len(read) == 1
