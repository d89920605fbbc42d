"""A 401 from the provider: one renewal, the same request once more, or the answer passed on (O27)."""

import pytest
from wire_world import Message, Wire, World, get

from authsome.errors import NeedsLogin
from authsome.model.secret import Secret

NEW = Secret("another-credential-than-before")
BODY = b"x" * 50_000
UNAUTHORIZED = b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\nContent-Length: 4\r\n\r\nno!\n"


def only_new(wire: Wire, request: Message) -> None:
    if request.one("authorization") == f"Bearer {NEW.reveal()}":
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(request.body) + request.body)
    else:
        wire.send(UNAUTHORIZED)


def post(*fields: str, body: bytes = BODY) -> bytes:
    lines = ["POST /x HTTP/1.1", "Host: api.mock.test", *fields, "", ""]
    return "\r\n".join(lines).encode() + body


@pytest.mark.parametrize("slow", [False, True])
@pytest.mark.parametrize(
    "text",
    [
        get("/x"),
        post(f"Content-Length: {len(BODY)}"),
        post("Transfer-Encoding: chunked", body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)),
    ],
)
def test_a_refused_credential_is_renewed_and_the_request_sent_again(world: World, text: bytes, slow: bool) -> None:
    world.upstream.handler = only_new
    world.house.renewed, world.house.slow = NEW, slow
    wire = world.open()
    answer = wire.ask(text)
    assert answer.status == 200 and answer.body == (b"" if text.startswith(b"GET") else BODY)
    assert world.house.renewals == 1 and len(world.upstream.requests) == 2
    assert wire.ask(text).status == 200  # the connection goes on, with the new one
    assert world.house.renewals == 1


def test_a_second_refusal_is_passed_on(world: World) -> None:
    world.upstream.handler = lambda wire, _: wire.send(UNAUTHORIZED)
    world.house.renewed = NEW
    answer = world.open().ask(get("/"))
    assert (answer.status, answer.body) == (401, b"no!\n")
    assert world.house.renewals == 1 and len(world.upstream.requests) == 2


def test_the_credential_before_a_renewal_does_not_come_back_either(world: World) -> None:  # P6
    refused: list[str] = []

    def echo(wire: Wire, request: Message) -> None:
        if not refused:
            refused.append(request.one("authorization"))
            wire.send(UNAUTHORIZED)
        else:
            wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(refused[0]) + refused[0].encode())

    world.upstream.handler = echo
    world.house.renewed = NEW
    answer = world.open().ask(get("/"))
    assert answer.status == 200 and world.secret.encode() not in answer.body


def test_what_cannot_be_renewed_is_passed_on_with_a_word(world: World) -> None:
    world.upstream.handler = lambda wire, _: wire.send(UNAUTHORIZED)
    answer = world.open().ask(get("/"))
    assert (answer.status, answer.body) == (401, b"no!\n")
    assert answer.one("www-authenticate") == "Bearer"
    assert answer.one("x-authsome-error") == "refused_by_provider"
    assert len(world.upstream.requests) == 1


def test_a_dead_grant_is_said(world: World) -> None:
    world.upstream.handler = lambda wire, _: wire.send(UNAUTHORIZED)
    world.house.renewed = NeedsLogin("the grant is dead", "authsome login mock")
    answer = world.open().ask(get("/"))
    assert answer.status == 401 and answer.one("x-authsome-error") == "needs_login"
    assert b"authsome login mock" in answer.body


def test_a_body_that_was_not_kept_is_not_sent_again(world: World) -> None:
    world.upstream.handler = only_new
    world.house.renewed = NEW
    answer = world.open().ask(post(f"Content-Length: {2 * len(BODY)}", body=2 * BODY))
    assert answer.status == 401 and world.house.renewals == 0


def test_a_client_that_leaves_during_a_renewal_harms_nobody(world: World) -> None:
    world.upstream.handler = only_new
    world.house.renewed = NEW
    wire = world.open()
    wire.send(get("/"))
    wire.close()
    assert world.open().ask(get("/")).status == 200
