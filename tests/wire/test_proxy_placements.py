"""Credentials in paths and bodies, tokens that a server hands out, and the switches of scrubbing."""

import json

import pytest
from http2_wire import Exchanged, Peer, Server, client
from wire_world import Message, Wire, World, get, lendable

from authsome.model.injection import BodyInjection, HeaderInjection, Injection, PathInjection
from authsome.model.placeholder import PLACEHOLDER
from authsome.model.secret import Secret

PATH: tuple[Injection, ...] = (PathInjection("bot"),)
BODY: tuple[Injection, ...] = (HeaderInjection("Authorization"), BodyInjection("token"))
FORM, JSON = "application/x-www-form-urlencoded", "application/json; charset=utf-8"


def post(body: bytes, kind: str = JSON, *fields: str, chunked: bool = False, path: str = "/x") -> bytes:
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
    lines = [f"POST {path} HTTP/1.1", "Host: api.mock.test", f"Content-Type: {kind}", framing, *fields, "", ""]
    if chunked:
        half = len(body) // 2
        parts = [body[:half], body[half:]]
        body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    return "\r\n".join(lines).encode() + body


def test_the_key_takes_the_placeholders_place_in_the_path(world: World) -> None:
    world.lend(lendable("mock", injections=PATH))
    assert world.open().ask(get(f"/bot{PLACEHOLDER}/getMe?x=1")).status == 200
    asked = world.upstream.requests[0]
    assert asked.target == f"/bot{world.secret}/getMe?x=1"
    assert not asked.all("authorization")
    assert [event.path for event in world.house.events] == [f"/bot{PLACEHOLDER}/getMe"]  # type: ignore[attr-defined]


def test_the_path_names_the_connection(world: World) -> None:
    world.lend(lendable("mock", injections=PATH), lendable("mock", "work", injections=PATH, default=False))
    world.open().ask(get(f"/file/bot{PLACEHOLDER}:work/photo.jpg"))
    assert world.upstream.requests[0].target == f"/file/bot{world.secret}-work/photo.jpg"


@pytest.mark.parametrize(
    "path",
    [
        f"/{PLACEHOLDER}",
        f"/bot{PLACEHOLDER}x/getMe",
        f"/xbot{PLACEHOLDER}/getMe",
        f"/bot/{PLACEHOLDER}",
        f"/x?a={PLACEHOLDER}",
    ],
)
def test_a_placeholder_elsewhere_in_the_path_is_refused(world: World, path: str) -> None:  # P3
    world.lend(lendable("mock", injections=PATH))
    answer = world.open().ask(get(path))
    assert (answer.status, answer.one("x-authsome-error")) == (403, "placeholder_refused")
    assert not world.upstream.requests


def test_a_path_without_a_placeholder_gets_no_credential(world: World) -> None:
    world.lend(lendable("mock", injections=PATH))
    assert world.open().ask(get("/bot/getMe")).status == 200
    assert world.upstream.requests[0].target == "/bot/getMe"
    assert not world.house.events


def test_a_key_in_the_path_does_not_come_back(world: World) -> None:  # P6
    def echo(wire: Wire, request: Message) -> None:
        body = request.target.encode()
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    world.lend(lendable("mock", injections=PATH))
    world.upstream.handler = echo
    answer = world.open().ask(get(f"/bot{PLACEHOLDER}/getMe"))
    assert world.secret.encode() not in answer.body and b"/getMe" in answer.body


@pytest.mark.parametrize("chunked", [False, True])
def test_a_named_member_of_a_json_body_gets_the_credential_and_no_other_byte_changes(
    world: World, chunked: bool
) -> None:
    world.lend(lendable("mock", injections=BODY))
    text = '{ "token" : "%s",\n "n": 1.10, "text": "ü"}'
    answer = world.open().ask(post((text % PLACEHOLDER).encode(), chunked=chunked))
    assert answer.status == 200
    asked = world.upstream.requests[0]
    assert asked.body.decode() == text % world.secret
    assert asked.one("content-length") == str(len(asked.body)) and not asked.all("transfer-encoding")


def test_a_named_field_of_a_form_gets_the_credential(world: World) -> None:
    world.lend(lendable("mock", injections=BODY))
    world.open().ask(post(f"a=1%202&token={PLACEHOLDER}&b=%C3%BC".encode(), FORM))
    assert world.upstream.requests[0].body.decode() == f"a=1%202&token={world.secret}&b=%C3%BC"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (json.dumps({"text": f"my {PLACEHOLDER}", "nested": {"token": PLACEHOLDER}}), JSON),
        (json.dumps([PLACEHOLDER]), JSON),
        (f"not json, {PLACEHOLDER}", JSON),
        ("[" * 100_000 + PLACEHOLDER, JSON),
        (f"text={PLACEHOLDER}&token=a", FORM),
        (f'{{"token": "{PLACEHOLDER}"}}', "text/plain"),
    ],
)
def test_elsewhere_in_a_body_a_placeholder_is_only_text(world: World, body: str, kind: str) -> None:
    world.lend(lendable("mock", injections=BODY))
    assert world.open().ask(post(body.encode(), kind)).status == 200
    assert world.upstream.requests[0].body.decode() == body


@pytest.mark.parametrize(
    "body",
    [
        json.dumps({"token": f"{PLACEHOLDER}:work"}),
        json.dumps({"token": f"{PLACEHOLDER}-of-somebody"}),
        json.dumps({"token": PLACEHOLDER, "text": PLACEHOLDER}),
    ],
)
def test_a_placeholder_for_another_connection_in_a_body_is_refused(world: World, body: str) -> None:  # P3, X71
    world.lend(lendable("mock", injections=BODY))
    wire = world.open()
    answer = wire.ask(post(body.encode()))
    assert (answer.status, answer.one("x-authsome-error")) == (403, "placeholder_refused")
    assert not world.upstream.requests
    assert wire.ask(get("/")).status == 200  # the connection goes on


@pytest.mark.parametrize(
    "body",
    [
        '{"token": "\\u0061uthsome-proxy-managed", "channel": "C0", "text": "%s"}',
        '{"text": "%s", "text": "x", "token": "authsome-proxy\\u002dmanaged"}',
        '{"a": {"token": "%s"}, "token": "authsome-proxy\\u002dmanaged"}',
        '{"token": "%s", "token": "authsome-proxy\\u002dmanaged"}',
    ],
)
def test_a_credential_does_not_go_into_another_field_than_was_found(world: World, body: str) -> None:  # P3
    world.lend(lendable("mock", injections=BODY))
    answer = world.open().ask(post((body % PLACEHOLDER).encode()))
    assert (answer.status, answer.one("x-authsome-error")) == (403, "placeholder_refused")
    assert not world.upstream.requests


def test_a_body_that_waits_to_be_asked_for_is_asked_for_at_once(world: World) -> None:  # X42
    world.lend(lendable("mock", injections=BODY))
    wire = world.open()
    head, _, body = post(json.dumps({"token": PLACEHOLDER}).encode(), JSON, "Expect: 100-continue").partition(
        b"\r\n\r\n"
    )
    wire.send(head + b"\r\n\r\n")
    assert wire.message(answers="POST").status == 100
    wire.send(body)
    assert wire.message(answers="POST").status == 200
    assert json.loads(world.upstream.requests[0].body) == {"token": world.secret}


def test_a_chunked_body_beyond_the_bound_is_refused_and_a_sized_one_passes_unread(world: World) -> None:
    world.lend(lendable("mock", injections=BODY))
    large = b'{"token": "%b", "x": "%b"}' % (PLACEHOLDER.encode(), b"x" * (1 << 20))
    answer = world.open().ask(post(large, chunked=True))
    assert (answer.status, answer.one("x-authsome-error")) == (413, "body_too_large")
    assert world.open().ask(post(large)).status == 200
    assert world.upstream.requests[0].body == large


def test_a_body_with_a_credential_is_made_anew_for_a_renewed_one(world: World) -> None:  # O27
    def only_new(wire: Wire, request: Message) -> None:
        fine = json.loads(request.body) == {"token": "another-credential"}
        wire.send(b"HTTP/1.1 %b\r\nContent-Length: 0\r\n\r\n" % (b"200 OK" if fine else b"401 No"))

    world.lend(lendable("mock", injections=BODY))
    world.upstream.handler = only_new
    world.house.renewed = Secret("another-credential")
    assert world.open().ask(post(json.dumps({"token": PLACEHOLDER}).encode())).status == 200


def test_bodies_and_paths_get_their_credentials_over_http2(world: World) -> None:
    server = Server(world)
    world.lend(lendable("mock", injections=BODY))
    peer = client(world)
    number = peer.ask(("content-type", "application/json"), method="POST", end=False)
    peer.send(number, json.dumps({"x": "y" * 200_000, "token": PLACEHOLDER}).encode(), end=True)
    assert peer.answer(number).status == 200
    asked = server.asked[0]
    assert json.loads(asked.body)["token"] == world.secret
    assert asked.one(b"content-length") == str(len(asked.body)).encode()
    world.lend(lendable("mock", injections=PATH))
    assert peer.get(path=f"/bot{PLACEHOLDER}/getMe").status == 200
    assert server.asked[1].one(b":path").decode() == f"/bot{world.secret}/getMe"


TOKENS = b'{"access_token": "a-new-token-of-the-server", "token_type":"Bearer", "refresh_token":"another-of-it"}'


@pytest.mark.parametrize(("kind", "body"), [(JSON, TOKENS), (FORM, b"access_token=a-new-token-of-the-server&scope=a")])
def test_tokens_that_the_server_hands_out_are_covered(world: World, kind: str, body: bytes) -> None:
    def answer(wire: Wire, _request: Message) -> None:
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        wire.send(head + body[:30])
        wire.send(body[30:])

    world.lend(lendable("mock", token_url="https://api.mock.test/oauth/token"))
    world.upstream.handler = answer
    wire = world.open()
    hidden = wire.ask(post(b"grant_type=client_credentials", FORM, path="/oauth/token"))
    assert len(hidden.body) == len(body)
    assert b"new-token" not in hidden.body and b"another" not in hidden.body
    assert wire.ask(get("/other")).body == body  # only there


def test_a_token_endpoint_outside_the_routes_was_asked_for_a_coding_that_cannot_be_searched(world: World) -> None:
    world.lend(lendable("mock", routes=("api.mock.test/v1",), token_url="https://api.mock.test/token"))
    coded = "Accept-Encoding: br"

    def answer(wire: Wire, request: Message) -> None:
        coding = b"br" if request.one("accept-encoding") == "br" else b"identity"
        head = b"HTTP/1.1 200 OK\r\nContent-Encoding: %b\r\nContent-Length: %d\r\n\r\n" % (coding, len(TOKENS))
        wire.send(head + TOKENS)

    world.upstream.handler = answer
    wire = world.open()
    hidden = wire.ask(post(b"grant_type=refresh_token", FORM, coded, path="/token"))
    assert (hidden.status, len(hidden.body)) == (200, len(TOKENS))
    assert b"new-token" not in hidden.body
    assert wire.ask(get("/other", coded)).one("content-encoding") == "br"  # what is not searched stays as it is
    server = Server(world)
    assert client(world).get(("accept-encoding", "br"), path="/token").status == 200
    assert server.asked[0].one(b"accept-encoding") == b"identity"


def test_tokens_are_covered_over_http2(world: World) -> None:
    def answer(peer: Peer, stream: Exchanged) -> None:
        peer.head(stream.number, 200, ("content-type", "application/json"), ("content-length", str(len(TOKENS))))
        peer.send(stream.number, TOKENS[:25])
        peer.send(stream.number, TOKENS[25:], end=True)

    Server(world, answer)
    world.lend(lendable("mock", token_url="https://api.mock.test/oauth/token"))
    got = client(world).get(path="/oauth/token")
    assert len(got.body) == len(TOKENS) and b"new-token" not in got.body


@pytest.mark.parametrize("path", ["/oauth/token/", "/oauth//token", "/OAuth/Token", "/oauth/token;x=1"])
def test_a_token_endpoint_is_recognised_in_every_spelling(world: World, path: str) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(TOKENS)
    world.lend(lendable("mock", token_url="https://api.mock.test/oauth/token"))
    world.upstream.handler = lambda wire, _: wire.send(head + TOKENS)
    assert b"new-token" not in world.open().ask(get(path)).body


def test_a_token_endpoint_that_answers_in_xml_is_not_passed_on(world: World) -> None:
    body = b"<OAuth><access_token>a-new-token-of-the-server</access_token></OAuth>"
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nContent-Length: %d\r\n\r\n" % len(body)
    world.lend(lendable("mock", token_url="https://api.mock.test/oauth/token"))
    world.upstream.handler = lambda wire, _: wire.send(head + body)
    answer = world.open().ask(get("/oauth/token"))
    assert answer.status == 502 and b"new-token" not in answer.body


@pytest.mark.parametrize("switch", ["provider", "run"])
def test_scrubbing_can_be_switched_off_by_login_and_by_run(world: World, switch: str) -> None:
    def echo(wire: Wire, request: Message) -> None:
        body = request.one("authorization").encode()
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    world.upstream.handler = echo
    token = None
    if switch == "provider":
        world.lend(lendable("mock", scrub=False))
    else:
        token = world.run("r2", scrub=False)
        assert world.secret.encode() not in world.open().ask(get("/")).body
    assert world.secret.encode() in world.open(token=token).ask(get("/")).body
