"""WebSockets over HTTP/2 (RFC 8441): promised where the server takes them, opened with the credential, then unread."""

import json
import threading
import time

from http2_wire import (
    DATA,
    HEADERS,
    RST_STREAM,
    SETTINGS,
    USUAL,
    Raw,
    head,
    raw,
    raw_client,
    raw_server,
    setting,
)
from wire_world import World, eventually, lendable

from authsome.model.injection import BodyInjection, HeaderInjection
from authsome.model.placeholder import PLACEHOLDER
from authsome.model.secret import Secret

TAKES = setting(8, 1)
OPENING = [
    (":method", "CONNECT"),
    (":protocol", "websocket"),
    *USUAL[1:],
    ("sec-websocket-version", "13"),
    ("authorization", f"Bearer {PLACEHOLDER}"),
]


def promised(wire: Raw) -> bool:
    return any(frame.kind == SETTINGS and TAKES in frame.payload for frame in wire.frames)


def upper(server: Raw) -> None:
    """Answers every message in capitals; what it was asked is the last of `asked`."""
    frame = server.until(HEADERS)
    asked.append(server.fields(frame))
    if asked[-1]["authorization"].endswith("old"):
        server.send(head(frame.stream, [(":status", "401")]))
        frame = server.until(HEADERS)
        asked.append(server.fields(frame))
    server.send(head(frame.stream, [(":status", "200"), ("sec-websocket-protocol", "chat")], end=False))
    while True:
        part = server.read()
        if part.kind == DATA:
            server.send(raw(DATA, part.flags & 1, frame.stream, part.payload.upper()))
        elif part.kind == RST_STREAM:
            ended.set()


asked: list[dict[str, str]] = []
ended = threading.Event()


def test_a_websocket_gets_the_credential_and_then_nobody_reads_it(world: World) -> None:  # X43
    raw_server(world, upper, TAKES)
    ended.clear()
    wire = raw_client(world)
    while not promised(wire):
        wire.read()
    wire.send(head(1, OPENING, end=False))
    fields = wire.fields(wire.until(HEADERS, 1))
    assert (fields[":status"], fields["sec-websocket-protocol"]) == ("200", "chat")
    assert asked[-1][":protocol"] == "websocket" and asked[-1]["authorization"] == f"Bearer {world.secret}"
    message = f"authorization: {PLACEHOLDER} {world.secret}".encode()
    wire.send(raw(DATA, 0, 1, message))
    assert wire.until(DATA).payload == message.upper()
    wire.send(raw(DATA, 0, 1, b"more"))
    assert wire.until(DATA).payload == b"MORE"
    world.end_run()
    assert wire.end() is None
    assert ended.wait(5)


def test_a_websocket_is_closed_from_either_side(world: World) -> None:
    raw_server(world, upper, TAKES)
    wire = raw_client(world)
    wire.send(head(1, OPENING, end=False))
    assert wire.status(1) == "200"
    wire.send(raw(DATA, 1, 1, b"bye"))
    frame = wire.until(DATA)
    assert frame.payload == b"BYE" and frame.flags & 1


def test_a_server_without_websockets_is_named_as_one(world: World) -> None:
    servers: list[Raw] = []

    def serve(server: Raw) -> None:
        servers.append(server)
        server.end()

    raw_server(world, serve)
    wire = raw_client(world)
    wire.send(head(1, OPENING, end=False))
    fields = wire.fields(wire.until(HEADERS, 1))
    assert fields[":status"] == "501"
    assert json.loads(wire.until(DATA).payload)["error"] == fields["x-authsome-error"]
    assert not promised(wire)
    assert not [frame for each in servers for frame in each.frames if frame.kind == HEADERS]


def test_a_websocket_whose_credential_is_refused_is_opened_with_another(world: World) -> None:  # O27
    raw_server(world, upper, TAKES)
    world.house.credentials["mock", "default"] = Secret("a-credential-that-is-old")
    world.house.renewed = Secret("a-credential-that-is-new")
    wire = raw_client(world)
    wire.send(head(1, OPENING, end=False))
    assert wire.status(1) == "200"
    assert asked[-1]["authorization"].endswith("new")
    wire.send(raw(DATA, 0, 1, b"hello"))
    assert wire.until(DATA).payload == b"HELLO"


def test_a_websocket_is_not_waited_for_like_a_body(world: World) -> None:
    raw_server(world, upper, TAKES)
    world.lend(lendable("mock", injections=(HeaderInjection("Authorization"), BodyInjection("token"))))
    wire = raw_client(world)
    wire.send(head(1, [*OPENING, ("content-type", "application/json")], end=False))
    assert wire.status(1) == "200"


def test_a_websocket_for_another_host_or_with_a_strange_placeholder_is_refused(world: World) -> None:  # X46, X71
    raw_server(world, upper, TAKES)
    before = len(asked)
    wire = raw_client(world)
    evil = [(n, "evil.mock.test" if n == ":authority" else v) for n, v in OPENING]
    wire.send(head(1, evil, end=False), head(3, [*OPENING, ("cookie", PLACEHOLDER)], end=False))
    assert {wire.status(1), wire.status(3)} == {"421", "403"}
    time.sleep(0.05)
    assert len(asked) == before
    assert eventually(lambda: len(world.house.events) == 2)
