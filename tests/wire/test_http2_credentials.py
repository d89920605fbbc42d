"""Credentials over HTTP/2: put in once and where they belong (P3), taken out of what comes back (P6), renewed (O27)."""

import base64
import gzip
import json
import threading
import time
from contextlib import suppress

import hpack
import pytest
from h2.exceptions import StreamClosedError
from http2_wire import (
    CONTINUATION,
    DATA,
    HEADERS,
    PING,
    USUAL,
    WINDOW_UPDATE,
    Exchanged,
    Fields,
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
from wire_world import World, eventually, lendable

from authsome.errors import NeedsLogin
from authsome.model.event import Injected
from authsome.model.injection import BasicInjection, BodyInjection, FixedHeader, HeaderInjection, QueryInjection
from authsome.model.placeholder import PLACEHOLDER
from authsome.model.secret import Secret

BEARER = ("authorization", f"Bearer {PLACEHOLDER}")
NEW = Secret("another-credential-than-before")
POST = [(":method", "POST"), *USUAL[1:]]


def refusal(answer: Exchanged) -> tuple[int, str]:
    code = answer.one(b"x-authsome-error").decode()
    assert json.loads(answer.body)["error"] == code
    return answer.status, code


# going


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/", [("authorization", "Bearer sk-other-placeholder")]),  # another provider's
        ("/", [("authorization", f"Bearer {PLACEHOLDER}-x")]),  # of our form, but none
        ("/", [("authorization", f"Bearer {PLACEHOLDER}:nobody")]),
        ("/", [("cookie", f"a={PLACEHOLDER}")]),
        ("/", [("cookie", "a=1"), ("cookie", f"b={PLACEHOLDER}"), ("cookie", "c=3")]),
        ("/", [("x-other", PLACEHOLDER)]),
        ("/", [(PLACEHOLDER, "x")]),
        (f"/{PLACEHOLDER}", []),
        (f"/?q={PLACEHOLDER}", []),
        ("/%61uthsome-proxy-managed", []),
        ("/", [("authorization", "Basic " + base64.b64encode(b"x:sk-other-placeholder").decode())]),
    ],
)
def test_a_placeholder_where_it_does_not_belong_goes_nowhere(
    world: World, path: str, fields: list[tuple[str, str]]
) -> None:  # X71, P3
    server = Server(world)
    world.lend(lendable("mock"), lendable("other", routes=("other.mock.test",), placeholder="sk-other-placeholder"))
    peer = client(world)
    answer = peer.get(*fields, path=path)
    assert answer.status == 403 and refusal(answer)[1] in ("placeholder_refused", "connection_not_found")
    assert peer.get().status == 200
    assert len(server.asked) == 1


def test_a_placeholder_in_the_trailers_goes_nowhere(world: World) -> None:  # P3
    server = Server(world)
    peer = client(world)
    number = peer.ask(method="POST", end=False)
    peer.send(number, b"body")
    assert eventually(lambda: server.asked)
    peer.trailers(number, ("x-sum", PLACEHOLDER))
    assert refusal(peer.answer(number)) == (403, "bad_request")
    assert eventually(lambda: server.asked[0].reset == 8)
    assert not server.asked[0].trailers


def test_trailers_that_mean_something_elsewhere_are_dropped(world: World) -> None:  # X35
    server = Server(world)
    world.lend(lendable("mock", injections=(HeaderInjection("X-Api-Key", ""),)))
    peer = client(world)
    number = peer.ask(method="POST", end=False)
    peer.trailers(number, ("x-api-key", "mine"), ("host", "evil"), ("authorization", "x"), ("x-sum", "1"))
    assert peer.answer(number).status == 200
    assert server.asked[0].trailers == [(b"x-sum", b"1")]


def test_the_childs_own_credentials_and_the_proxys_stay_behind(world: World) -> None:  # X39
    asked: list[list[tuple[str, str]]] = []

    def serve(server: Raw) -> None:
        frame = server.until(HEADERS)
        asked.append([(str(n), str(v)) for n, v in hpack.Decoder().decode(frame.payload)])
        server.send(raw(HEADERS, 5, frame.stream, b"\x88"))
        server.end()

    raw_server(world, serve)
    own = [
        ("cookie", "a=1"),
        ("authorization", "Basic eDp5"),
        BEARER,
        ("proxy-authorization", "Basic eDp5"),
        ("proxy-authenticate", "x"),
        ("x-authsome-connection", "default"),
        ("accept-encoding", "br, gzip"),
        ("grpc-accept-encoding", "gzip"),
        ("cookie", "b=2"),
        ("te", "trailers"),
    ]
    wire = raw_client(world)
    wire.send(head(1, [*USUAL, *own]))
    assert wire.status(1) == "200"
    assert asked == [
        [
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", "api.mock.test"),
            (":path", "/"),
            ("cookie", "a=1"),
            ("cookie", "b=2"),
            ("te", "trailers"),
            ("accept-encoding", "identity"),
            ("grpc-accept-encoding", "identity"),
            ("authorization", f"Bearer {world.secret}"),
        ]
    ]
    (event,) = world.house.events
    assert isinstance(event, Injected) and (event.method, event.path, event.status) == ("GET", "/", 200)


def test_the_credential_is_a_literal_that_nobody_may_index(world: World) -> None:
    blocks: list[bytes] = []

    def serve(server: Raw) -> None:
        while True:
            frame = server.until(HEADERS)
            blocks.append(frame.payload)
            server.send(raw(HEADERS, 5, frame.stream, b"\x88"))

    raw_server(world, serve)
    world.lend(lendable("mock", injections=(HeaderInjection("Authorization"), QueryInjection("key"))))
    wire = raw_client(world)
    for number in (1, 3):
        wire.send(head(number))
        wire.until(HEADERS)
    first, second = blocks
    assert first == b"\x20" + second  # there is no table, and so nothing of a run in it
    found = hpack.Decoder().decode(first, raw=True)
    secret = {bytes(each[0]) for each in found if world.secret.encode() in each[1]}
    assert secret == {b"authorization", b":path"}
    assert {bytes(each[0]) for each in found if not each.indexable} == secret


def test_basic_query_and_fixed_values_are_put_in(world: World) -> None:
    server = Server(world)
    peer = client(world)
    world.lend(lendable("mock", injections=(BasicInjection("password", "user"), FixedHeader("X-Version", "7"))))
    peer.get(("authorization", "Basic " + base64.b64encode(f"me:{PLACEHOLDER}".encode()).decode()))
    pair = base64.b64encode(f"user:{world.secret}".encode())
    assert server.asked[0].one(b"authorization") == b"Basic " + pair
    assert server.asked[0].one(b"x-version") == b"7"
    world.lend(lendable("mock", injections=(QueryInjection("key"),)))
    peer.get(path=f"/x?a=1&key={PLACEHOLDER}&b=2")
    assert server.asked[1].one(b":path").decode() == f"/x?a=1&b=2&key={world.secret}"
    world.lend(lendable("mock", injections=(HeaderInjection("X-Api-Key", ""),)))
    peer.get(BEARER, ("x-api-key", PLACEHOLDER))
    assert server.asked[2].one(b"x-api-key").decode() == world.secret
    assert not server.asked[2].all(b"authorization")


def test_a_connection_is_chosen_by_suffix_header_and_default(world: World) -> None:
    server = Server(world)
    world.lend(lendable("mock"), lendable("mock", "work", default=False))
    peer = client(world)
    peer.get(BEARER)
    peer.get((BEARER[0], f"{BEARER[1]}:work"))
    peer.get(("x-authsome-connection", "work"))
    real = f"Bearer {world.secret}".encode()
    assert [stream.one(b"authorization") for stream in server.asked] == [real, real + b"-work", real + b"-work"]
    assert refusal(peer.get((BEARER[0], f"{BEARER[1]}:work"), ("x-authsome-connection", "default")))[0] == 400


def test_two_runs_share_neither_a_connection_nor_a_credential(world: World) -> None:
    def echo(peer: Peer, stream: Exchanged) -> None:
        peer.head(stream.number, 200, ("x-for", stream.one(b"x-for").decode()))
        threading.Timer(0.01 * (stream.number % 7), lambda: peer.send(stream.number, stream.body, end=True)).start()

    server = Server(world, echo)
    world.lend(lendable("mock"), lendable("mock", "work", default=False))
    second = world.run("r2", choices={"mock": "work"})
    peers = [client(world), client(world, token=second)]
    asked: list[tuple[Peer, int, bytes]] = []
    for turn in range(30):
        for which, peer in enumerate(peers):
            number = peer.ask(BEARER, ("x-for", f"{which}"), method="POST", end=False)
            peer.send(number, b"%d of %d" % (turn, which), end=True)
            asked.append((peer, number, b"%d of %d" % (turn, which)))
    for peer, number, body in asked:
        assert peer.answer(number).body == body
        assert peer.streams[number].one(b"x-for") == body[-1:]
    assert len({id(stream.peer) for stream in server.asked}) == 2  # what one does to its own cannot hurt the other
    for stream in server.asked:
        suffix = b"-work" if stream.one(b"x-for") == b"1" else b""
        assert stream.one(b"authorization") == b"Bearer " + world.secret.encode() + suffix


def test_names_of_fields_and_trailers_do_not_bring_the_credential_back(world: World) -> None:  # P6
    def echo(peer: Peer, stream: Exchanged) -> None:
        secret = stream.one(b"authorization").removeprefix(b"Bearer ").decode()
        peer.head(stream.number, 200, (f"x-{secret}", "1"))
        peer.send(stream.number, b"hello")
        peer.trailers(stream.number, (f"x-{secret}", "1"))

    Server(world, echo)
    answer = client(world).get()
    told = b"".join(name for name, _ in [*answer.fields, *answer.trailers])
    assert world.secret.encode() not in told


def test_an_answer_to_head_has_no_body_that_could_bring_it_back(world: World) -> None:  # P6
    def echo(peer: Peer, stream: Exchanged) -> None:
        peer.head(stream.number, 200)
        peer.send(stream.number, stream.one(b"authorization"), end=True)

    Server(world, echo)
    assert not client(world).get(method="HEAD").parts


JSON = ("content-type", "application/json")
BODY = (HeaderInjection("Authorization"), BodyInjection("token"))


def test_a_body_in_which_a_placeholder_stands_for_another_goes_nowhere(world: World) -> None:  # P3
    server = Server(world)
    world.lend(lendable("mock", injections=BODY))
    peer = client(world)
    number = peer.ask(JSON, method="POST", end=False)
    peer.send(number, json.dumps({"token": f"{PLACEHOLDER}:work"}).encode(), end=True)
    assert refusal(peer.answer(number)) == (403, "placeholder_refused")
    assert not server.asked
    number = peer.ask(JSON, method="POST", end=False)
    peer.send(number, json.dumps({"token": PLACEHOLDER}).encode())
    peer.trailers(number, ("x-sum", "1"))
    assert peer.answer(number).status == 200
    assert json.loads(server.asked[0].body) == {"token": world.secret}
    assert server.asked[0].trailers == [(b"x-sum", b"1")]


def test_a_body_of_no_known_size_beyond_the_bound_is_refused_and_a_sized_one_passes_unread(world: World) -> None:
    server = Server(world)
    world.lend(lendable("mock", injections=BODY))
    large = b'{"token": "%b", "x": "%b"}' % (PLACEHOLDER.encode(), b"x" * (1 << 20))
    peer = client(world)
    number = peer.ask(JSON, method="POST", end=False)
    with suppress(StreamClosedError):  # the end is refused before all has been sent
        peer.send(number, large, end=True)
    assert refusal(peer.answer(number)) == (413, "body_too_large")
    assert not server.asked
    number = peer.ask(JSON, ("content-length", str(len(large))), method="POST", end=False)
    peer.send(number, large, end=True)
    assert peer.answer(number).status == 200
    assert server.asked[0].body == large


# coming back


def echoed(stream: Exchanged) -> str:
    return stream.one(b"authorization").decode().removeprefix("Bearer ")


def test_a_credential_that_is_echoed_is_covered_everywhere(world: World) -> None:  # P6, X60
    def echo(peer: Peer, stream: Exchanged) -> None:
        secret = echoed(stream)
        peer.head(stream.number, 103, ("link", secret))
        body = f'{{"authorization": "Bearer {secret}"}}'.encode()
        peer.head(
            stream.number, 200, ("x-echo", secret), ("location", f"/?t={secret}"), ("content-length", str(len(body)))
        )
        peer.send(stream.number, body)
        peer.trailers(stream.number, ("x-end", secret))

    Server(world, echo)
    answer = client(world).get(BEARER)
    secret = world.secret.encode()
    everything: Fields = [*answer.fields, *answer.interim[0], *answer.trailers]
    assert [n for n, _ in answer.interim[0]] == [b":status", b"link"] and answer.trailers[0][0] == b"x-end"
    assert not [pair for pair in everything if secret in pair[1]]
    assert secret not in answer.body and b"[redacted]" in answer.body
    assert len(answer.body) == int(answer.one(b"content-length"))


@pytest.mark.parametrize("coding", ["identity", "gzip"])
@pytest.mark.parametrize("size", [1, 2, 7, 64])
@pytest.mark.parametrize("ending", ["data", "trailers"])
def test_borders_of_frames_and_codings_hide_nothing(world: World, coding: str, size: int, ending: str) -> None:  # P6
    def echo(server: Raw) -> None:
        frame = server.until(HEADERS)
        secret = dict(server._decoder.decode(frame.payload))["authorization"].removeprefix("Bearer ").encode()
        body = b"<" + secret + b">" + b"filler " * 20 + secret
        body = gzip.compress(body) if coding == "gzip" else body
        fields = [(":status", "200"), ("content-encoding", coding), ("content-length", str(len(body)))]
        server.send(head(frame.stream, fields, end=False))
        parts = [body[at : at + size] for at in range(0, len(body), size)]
        server.send(*[raw(DATA, 0, frame.stream, part) for part in parts[:-1]])
        if ending == "data":
            server.send(raw(DATA, 1, frame.stream, parts[-1]))
        else:
            server.send(raw(DATA, 0, frame.stream, parts[-1]), head(frame.stream, [("x-end", "1")]))
        server.end()

    raw_server(world, echo)
    answer = client(world).get(BEARER)
    secret = world.secret.encode()
    cover = b"[redacted]".ljust(len(secret), b"*")
    assert answer.body == b"<" + cover + b">" + b"filler " * 20 + cover
    assert bool(answer.all(b"content-length")) == (coding == "identity")
    assert bool(answer.trailers) == (ending == "trailers")


def test_a_coding_that_cannot_be_searched_is_not_passed_on(world: World) -> None:
    def answer(peer: Peer, stream: Exchanged) -> None:
        peer.head(stream.number, 200, ("content-encoding", "br"), end=stream.one(b":method") == b"HEAD")
        if stream.one(b":method") != b"HEAD":
            peer.send(stream.number, b"abcde", end=True)

    Server(world, answer)
    peer = client(world)
    assert refusal(peer.get()) == (502, "bad_upstream_answer")
    assert peer.get(method="HEAD").status == 200


def test_an_answer_that_is_not_in_its_coding_is_cut_off(world: World) -> None:
    def answer(peer: Peer, stream: Exchanged) -> None:
        peer.head(stream.number, 200, ("content-encoding", "gzip"))
        peer.send(stream.number, b"this is no gzip", end=True)

    Server(world, answer)
    assert client(world).get().reset == 2


def test_a_stream_without_the_secret_is_passed_on_at_once(world: World) -> None:  # X62
    proceed = threading.Event()

    def events(peer: Peer, stream: Exchanged) -> None:
        peer.head(stream.number, 200)
        peer.send(stream.number, b"data: 1\n")
        assert proceed.wait(10)
        peer.send(stream.number, b"data: 2\n", end=True)

    Server(world, events)
    peer = client(world)
    number = peer.ask(BEARER)
    peer.until(lambda: peer.streams[number].parts)
    assert peer.streams[number].parts == [b"data: 1\n"]
    proceed.set()
    assert peer.answer(number).body == b"data: 1\ndata: 2\n"


def test_an_answer_that_explodes_takes_no_memory(world: World) -> None:  # X50
    bomb = gzip.compress(bytes(200 << 20), 9)
    sent = [0]

    def serve(server: Raw) -> None:
        number = server.until(HEADERS).stream
        server.send(head(number, [(":status", "200"), ("content-encoding", "gzip")], end=False))
        room = 65535
        for at in range(0, len(bomb), 4096):
            while room < 4096:
                room += int.from_bytes(server.until(WINDOW_UPDATE, number).payload, "big")
            server.send(raw(DATA, 0, number, bomb[at : at + 4096]))
            room -= 4096
            sent[0] += 4096
        server.end()

    raw_server(world, serve)
    wire = raw_client(world, setting(4, 100))
    wire.send(head(1))
    assert wire.status(1) == "200"
    assert wire.until(3, 1).code == 2  # RST_STREAM
    assert sent[0] < 200_000


def test_a_server_cannot_lead_the_client_past_the_proxy(world: World) -> None:  # X25
    def serve(server: Raw) -> None:
        number = server.until(HEADERS).stream
        server.send(raw(0xA, 0, 0, b"\0\x05https" + b'h3=":443"'))  # ALTSVC
        fields = [(":status", "200"), ("alt-svc", 'h3=":443"'), ("x-authsome-error", "forged"), ("x-other", "y")]
        server.send(head(number, fields))
        server.end()

    raw_server(world, serve)
    wire = raw_client(world)
    wire.send(head(1))
    assert wire.fields(wire.until(HEADERS)) == {":status": "200", "x-other": "y"}
    wire.send(raw(PING, 0, 0, bytes(8)))
    wire.until(PING)
    assert all(frame.kind <= CONTINUATION for frame in wire.frames)


# renewal


def only_new(peer: Peer, stream: Exchanged) -> None:
    if stream.one(b"authorization") == f"Bearer {NEW.reveal()}".encode():
        peer.head(stream.number, 200)
        peer.send(stream.number, stream.body + b"!", end=True)
    else:
        peer.head(stream.number, 401, ("www-authenticate", "Bearer"), ("x-large", "y" * 3000))
        peer.send(stream.number, b"no!\n", end=True)


@pytest.mark.parametrize("slow", [False, True])
@pytest.mark.parametrize("body", [b"", b"x" * 50_000])
@pytest.mark.parametrize("trailers", [False, True])
def test_a_refused_credential_is_renewed_and_the_request_sent_again(
    world: World, slow: bool, body: bytes, trailers: bool
) -> None:  # O27
    server = Server(world, only_new)
    world.house.renewed, world.house.slow = NEW, slow
    peer = client(world)
    for _ in range(2):
        number = peer.ask(BEARER, method="POST", end=False)
        peer.send(number, body)
        peer.trailers(number, ("x-sum", "1")) if trailers else peer.send(number, b"", end=True)
        answer = peer.answer(number)
        assert (answer.status, answer.body) == (200, body + b"!")
        assert not answer.all(b"x-authsome-error")
    assert world.house.renewals == 1
    assert [stream.body for stream in server.asked] == [body] * 3
    assert [bool(stream.trailers) for stream in server.asked] == [trailers] * 3


def test_a_second_refusal_is_passed_on(world: World) -> None:
    Server(world, lambda peer, stream: peer.head(stream.number, 401, end=True))
    world.house.renewed = NEW
    answer = client(world).get(BEARER)
    assert (answer.status, answer.one(b"x-authsome-error")) == (401, b"refused_by_provider")
    assert world.house.renewals == 1


def test_a_dead_grant_is_said(world: World) -> None:
    Server(world, only_new)
    world.house.renewed = NeedsLogin("the grant is dead", "authsome login mock")
    assert refusal(client(world).get(BEARER)) == (401, "needs_login")


def test_a_body_that_was_not_kept_is_not_sent_again(world: World) -> None:
    server = Server(world, only_new)
    world.house.renewed = NEW
    peer = client(world)
    number = peer.ask(BEARER, method="POST", end=False)
    peer.send(number, b"x" * 100_000, end=True)
    answer = peer.answer(number)
    assert (answer.status, answer.body) == (401, b"no!\n")
    assert answer.one(b"x-authsome-error") == b"refused_by_provider"
    assert world.house.renewals == 0 and len(server.asked) == 1


@pytest.mark.parametrize("renews", [False, True])
@pytest.mark.parametrize("leaves", ["reset", "close"])
def test_a_client_that_leaves_while_its_credential_is_waited_for_harms_nobody(
    world: World, renews: bool, leaves: str
) -> None:
    server = Server(world, only_new)
    world.house.renewed, world.house.slow = (NEW, False) if renews else (None, True)
    peer = client(world)
    number = peer.ask(BEARER)
    assert not renews or eventually(lambda: server.asked)
    if leaves == "reset":
        peer.reset(number)
    else:
        peer.wire.close()
    time.sleep(0.15)
    assert len(server.asked) == int(renews)
    world.house.renewed, world.house.slow = NEW, False
    assert client(world).get(BEARER).status == 200


def test_a_credential_that_is_waited_for_holds_the_body_back(world: World) -> None:
    server = Server(world)
    world.house.slow = True
    wire = raw_client(world)
    wire.send(head(1, POST, end=False), *[raw(DATA, 0, 1, bytes(16000))] * 4, raw(DATA, 1, 1, b"end"))
    assert wire.status(1) == "200"
    assert server.asked[0].body == bytes(64000) + b"end"


def test_a_credential_that_cannot_be_had_or_sent_is_told(world: World) -> None:
    server = Server(world)
    peer = client(world)
    world.house.credentials["mock", "default"] = NeedsLogin("log in", "authsome login mock")
    assert refusal(peer.get(BEARER)) == (401, "needs_login")
    world.house.credentials["mock", "default"] = Secret("x\r\nx-evil: 1")  # X38
    assert refusal(peer.get(BEARER)) == (502, "credential_unusable")
    assert not server.asked


def test_a_credential_that_fails_for_no_foreseen_reason_is_told(world: World) -> None:
    server = Server(world)
    world.house.slow = True
    del world.house.credentials["mock", "default"]
    world.house.lend_now = lambda provider, connection: None  # type: ignore[method-assign]
    assert refusal(client(world).get(BEARER)) == (500, "unexpected")
    assert not server.asked
