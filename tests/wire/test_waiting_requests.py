"""Requests that wait, for a credential, a body or a connection, while their owner changes his mind (P1, P18, X70)."""

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest
from http2_wire import RST_STREAM, Exchanged, Peer, Server, client, raw
from wire_world import Message, Options, Wire, World, eventually, get, lendable

from authsome.model.event import Injected
from authsome.model.injection import BodyInjection, HeaderInjection
from authsome.model.placeholder import PLACEHOLDER
from authsome.model.secret import Secret
from authsome.proxy.engine.ports import Limits
from authsome.proxy.rules.table import Lendable, RouteTable

NEW = Secret("the-key-of-another-login-0123456789")
ELSEWHERE = replace(lendable("mock", routes=("other.mock.test",)), since=2.0)
ANEW = replace(lendable("mock"), since=2.0)
BEARER = f"Authorization: Bearer {PLACEHOLDER}"
BODY = replace(lendable("mock"), injections=(HeaderInjection("Authorization"), BodyInjection("token")))


def code(answer: Message) -> str:
    return answer.one("x-authsome-error")


def injected(world: World) -> list[int]:
    """The statuses in the audit."""
    return [event.status for event in world.house.events if isinstance(event, Injected)]


@pytest.mark.parametrize(("after", "expected"), [(ELSEWHERE, "placeholder_refused"), (ANEW, "connection_changed")])
def test_a_new_logins_key_went_to_the_server_that_the_owner_had_left(
    world: World, after: Lendable, expected: str
) -> None:
    def refuse(wire: Wire, _: Message) -> None:
        world.house.routes = RouteTable([after])
        world.house.renewed = NEW
        wire.send(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")

    world.upstream.handler = refuse
    assert code(world.open().ask(get("/", BEARER))) == expected
    assert [request.one("authorization") for request in world.upstream.requests] == [f"Bearer {world.secret}"]
    assert injected(world) == [401]


def test_the_same_over_http2(world: World) -> None:
    def refuse(peer: Peer, stream: Exchanged) -> None:
        world.house.routes = RouteTable([ANEW])
        world.house.renewed = NEW
        peer.raw_head(stream.number, [(":status", "401")], end=True)

    server = Server(world, refuse)
    answer = client(world).get(("authorization", f"Bearer {PLACEHOLDER}"))
    assert answer.one(b"x-authsome-error") == b"connection_changed"
    assert len(server.asked) == 1 and injected(world) == [401]


def test_a_credential_that_had_to_be_fetched_went_to_a_place_that_was_left_meanwhile(world: World) -> None:
    world.house.slow = True
    lend = world.house.lend

    async def change(provider: str, connection: str) -> Secret:
        world.house.routes = RouteTable([ELSEWHERE])
        return await lend(provider, connection)

    world.house.lend = change  # type: ignore[method-assign]
    assert code(world.open().ask(get("/", BEARER))) == "placeholder_refused"
    assert not world.upstream.requests


@pytest.mark.parametrize("version", [1, 2])
def test_a_held_body_kept_a_credential_usable_after_its_logout(world: World, version: int) -> None:
    world.lend(BODY)
    body = b'{"token": "%b"}' % PLACEHOLDER.encode()
    if version == 1:
        wire = world.open()
        fields = ("Content-Type: application/json", f"Content-Length: {len(body)}")
        wire.send(get("/", *fields, method="POST") + body[:-1])
        assert eventually(lambda: share_used(world))
        world.lend()
        wire.send(body[-1:])
        assert code(wire.head()) == "needs_login"
        assert not world.upstream.requests
    else:
        server, peer = Server(world), client(world)
        number = peer.ask(("content-type", "application/json"), method="POST", end=False)
        peer.send(number, body[:-1])
        assert eventually(lambda: share_used(world))
        world.lend()
        peer.send(number, body[-1:], end=True)
        assert peer.answer(number).one(b"x-authsome-error") == b"needs_login"
        assert not server.asked
    assert not injected(world)


def share_used(world: World) -> bool:
    live = world.proxy._runs._live["r1"]
    return bool(live.share < Limits().run_memory)


def test_requests_that_waited_for_a_connection_left_after_the_logout(
    make_world: Callable[[Options], World],
) -> None:
    world = make_world(Options(limits=Limits(upstream_connections=1)))
    asked, go_on = threading.Event(), threading.Event()

    def wait(wire: Wire, _: Message) -> None:
        asked.set()
        assert go_on.wait(10)
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    world.upstream.handler = wait
    first, others = world.open(), [world.open() for _ in range(300)]  # refused within each other, they were too many
    first.send(get())
    assert asked.wait(10)
    for wire in others:
        wire.send(get())
    assert eventually(lambda: world.call(lambda: waiting(world)) == len(others))
    world.lend()
    go_on.set()
    assert first.head().status == 200
    assert {code(wire.head()) for wire in others} == {"needs_login"}
    assert len(world.upstream.requests) == 1


def waiting(world: World) -> int:
    """How many requests wait for a connection."""
    return sum(len(shelf.waiters) for shelf in world.proxy._pools[0]._shelves.values())  # type: ignore[union-attr]


@pytest.mark.parametrize("version", [1, 2])
def test_a_request_whose_client_left_before_the_answer_was_not_in_the_audit(world: World, version: int) -> None:
    if version == 1:
        world.upstream.handler = lambda *_: None
        wire = world.open()
        wire.send(get(method="DELETE"))
        assert eventually(lambda: world.upstream.requests)
        wire.close()
    else:
        server, peer = Server(world), client(world)
        server.early = lambda *_: None
        peer.ask(method="DELETE")
        assert eventually(lambda: server.asked)
        peer.wire.close()
    assert eventually(lambda: injected(world) == [0])


def test_a_request_that_a_server_did_not_answer_was_not_in_the_audit(world: World) -> None:
    world.upstream.handler = lambda wire, _: wire.close()
    assert world.open().ask(get(method="POST")).status == 502
    assert injected(world) == [0]


def test_a_request_that_a_server_reset_was_not_in_the_audit(world: World) -> None:
    server = Server(world)
    server.early = lambda peer, stream, _: peer.wire.send(raw(RST_STREAM, 0, stream.number, bytes(4)))
    peer = client(world)
    assert peer.answer(peer.ask(method="POST")).reset is not None
    assert server.asked and injected(world) == [0]
