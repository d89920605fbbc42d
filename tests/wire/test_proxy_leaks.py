"""Nothing of a connection is left for the garbage collector to find: what leaves in bursts would stay in memory."""

import gc
import time
from collections import Counter
from collections.abc import Callable

import pytest
from http2_wire import Server, client
from wire_world import Message, Wire, World, get

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
