"""What a provider echoes: the credential does not come back to the program that it was lent to (P6, X60, X62)."""

import gzip
from urllib.parse import quote

import pytest
from wire_world import Message, Wire, World, get

REAL = b"Bearer "


def token(message: Message) -> bytes:
    """The credential as the server received it."""
    return message.one("authorization").encode().removeprefix(REAL)


def test_a_credential_that_is_echoed_is_covered_everywhere(world: World) -> None:  # P6, X60
    def echo(wire: Wire, request: Message) -> None:
        secret = token(request)
        body = b'{"headers": {"authorization": "Bearer ' + secret + b'"}}'
        wire.send(
            b"HTTP/1.1 200 OK\r\nX-Echo: " + secret + b"\r\nLocation: https://x.test/?t=" + secret
            + b"\r\nSet-Cookie: t=" + secret + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )  # fmt: skip

    world.upstream.handler = echo
    answer = world.open().ask(get("/headers"))
    secret = token(world.upstream.requests[0])
    assert len(secret) >= 8
    assert secret not in answer.body and b"[redacted]" in answer.body
    assert all(secret.decode() not in value for _, value in answer.fields)
    assert len(answer.body) == int(answer.one("content-length"))


@pytest.mark.parametrize("coding", ["identity", "gzip"])
@pytest.mark.parametrize("size", [1, 2, 7, 64])
def test_chunk_borders_and_codings_hide_nothing(world: World, coding: str, size: int) -> None:  # P6
    def echo(wire: Wire, request: Message) -> None:
        body = b"<" + token(request) + b">" + b"filler " * 20 + token(request)
        if coding == "gzip":
            body = gzip.compress(body)
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Encoding: %b\r\nTransfer-Encoding: chunked\r\n\r\n" % coding.encode())
        for at in range(0, len(body), size):
            part = body[at : at + size]
            wire.send(b"%x\r\n%b\r\n" % (len(part), part))
        wire.send(b"0\r\n\r\n")

    world.upstream.handler = echo
    answer = world.open().ask(get("/"))
    secret = token(world.upstream.requests[0])
    assert secret not in answer.body
    assert answer.body.startswith(b"<[redacted]"[: len(secret) + 1]) and b"filler filler" in answer.body


def test_an_answer_in_no_coding_is_asked_for(world: World) -> None:
    world.open().ask(get("/", "Accept-Encoding: br, gzip, zstd"))
    assert [v for n, v in world.upstream.requests[0].fields if n.lower() == "accept-encoding"] == ["identity"]


def test_a_coding_that_cannot_be_searched_is_not_passed_on(world: World) -> None:
    world.upstream.handler = lambda wire, _: wire.send(
        b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 5\r\n\r\nabcde"
    )
    assert world.open().ask(get("/")).status == 502


def test_an_answer_that_ends_with_its_connection_is_searched_too(world: World) -> None:
    def echo(wire: Wire, request: Message) -> None:
        wire.send(b"HTTP/1.1 200 OK\r\n\r\nso: " + token(request)[:-1])
        wire.send(token(request)[-1:] + b" and " + token(request)[:4])
        wire.sock.unwrap()  # type: ignore[attr-defined]
        wire.close()

    world.upstream.handler = echo
    answer = world.open().ask(get("/"))
    secret = token(world.upstream.requests[0])
    assert secret not in answer.body and answer.body.endswith(b" and " + secret[:4])


def test_what_is_not_injected_is_not_touched(world: World) -> None:
    def echo(wire: Wire, request: Message) -> None:
        path = request.start.split(" ")[1].encode()
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(path) + path)

    world.upstream.handler = echo
    assert world.open().ask(get("/" + quote("plain text"))).body == b"/plain%20text"
