"""What a provider echoes: the credential does not come back to the program that it was lent to (P6, X60, X62)."""

import gzip
import hashlib
import threading
from urllib.parse import quote

import pytest
from wire_world import Message, Wire, World, get

from authsome.model.secret import Secret

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


@pytest.mark.parametrize("framing", ["sized", "chunked"])
def test_100_megabytes_without_the_credential_stream_and_keep_their_framing(world: World, framing: str) -> None:  # X62
    block, count = bytes(range(256)) * 4096, 100
    seen = threading.Event()

    def pour(wire: Wire, _: Message) -> None:
        fields = b"Content-Length: %d" % (count << 20) if framing == "sized" else b"Transfer-Encoding: chunked"
        wire.send(b'HTTP/1.1 200 OK\r\nETag: "one"\r\nContent-Digest: x\r\n' + fields + b"\r\n\r\n")
        for number in range(count):
            wire.send(block if framing == "sized" else b"%x\r\n%b\r\n" % (len(block), block))
            assert number or seen.wait(10)  # the second waits until the first has arrived
        wire.send(b"" if framing == "sized" else b"0\r\n\r\n")

    world.upstream.handler = pour
    wire = world.open()
    wire.send(get("/"))
    head = wire.head()
    assert (head.one("etag"), head.one("content-digest")) == ('"one"', "x")
    digest, size = hashlib.sha256(), 0
    if framing == "sized":
        assert head.one("content-length") == str(count << 20) and not head.all("transfer-encoding")
        parts = (wire.exactly(1 << 20) for _ in range(count))
    else:
        assert head.one("transfer-encoding") == "chunked" and not head.all("content-length")
        parts = wire.chunks(head)
    for part in parts:
        digest.update(part)
        size += len(part)
        seen.set()
    assert size == count << 20
    assert digest.digest() == hashlib.sha256(block * count).digest()
    assert wire.ask(get("/", method="HEAD")).status == 200  # the connection goes on


def test_what_no_longer_fits_a_decoded_body_is_dropped(world: World) -> None:  # X62
    body = gzip.compress(b"plain " * 100)
    world.upstream.handler = lambda wire, _: wire.send(
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-MD5: x\r\nDigest: y\r\nContent-Digest: z\r\n"
        b"X-Kept: 1\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    )
    answer = world.open().ask(get("/"))
    assert answer.body == b"plain " * 100
    assert answer.one("x-kept") == "1"
    for name in ("content-encoding", "content-md5", "digest", "content-digest", "content-length"):
        assert not answer.all(name)


def test_a_credential_too_short_to_be_told_from_text_is_lent_and_wrecks_no_answer(world: World) -> None:  # X63
    world.house.credentials["mock", "default"] = Secret("true")
    world.upstream.handler = lambda wire, _: wire.send(b'HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{"ok": true}')
    assert world.open().ask(get("/")).body == b'{"ok": true}'
    assert world.upstream.requests[0].one("authorization") == "Bearer true"


def test_what_is_not_injected_is_not_touched(world: World) -> None:
    def echo(wire: Wire, request: Message) -> None:
        path = request.start.split(" ")[1].encode()
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(path) + path)

    world.upstream.handler = echo
    assert world.open().ask(get("/" + quote("plain text"))).body == b"/plain%20text"
