"""What the provider sends back, through the real daemon: no credential, nothing broken for its sake (X60 to X63)."""

import gzip
import hashlib
import sys
import threading
from collections.abc import Iterator

import pytest
from e2e.rows_site import API, PLACEHOLDER, Site, request, send
from parts.canary import Canary
from wire.wire_world import Message, Wire


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory, canary: Canary) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("r"), canary) as site:
        site.start()
        yield site


@pytest.fixture
def site(started: Site) -> Site:
    return started.fresh()


def echo(wire: Wire, received: Message) -> None:
    """Everywhere that a server can put what it was sent."""
    secret = received.one("authorization")
    token = secret.removeprefix("Bearer ")
    fields = [f"X-Echo: {secret}", f"Location: https://{API}/next?token={token}", f"Set-Cookie: seen={token}; Path=/"]
    send(wire, f'{{"headers": {{"authorization": "{secret}"}}}}'.encode(), *fields)


def test_x60_what_the_server_echoes_is_covered_before_curl_sees_it(site: Site, canary: Canary) -> None:  # X60
    site.server.handler = echo
    shown = site.run("curl", "-sSi", "-H", f"Authorization: Bearer {PLACEHOLDER}", f"https://{API}/headers").ok().out
    assert [each.one("authorization") for each in site.server.requests] == [f"Bearer {site.key}"]
    assert canary.secret not in shown
    for field in ("X-Echo: Bearer [redacted]", "token=[redacted]", "seen=[redacted]", '"Bearer [redacted]'):
        assert field in shown, shown


@pytest.mark.parametrize("framing", ["sized", "chunked", "until closed", "gzip", "range"])
def test_x62_an_answer_that_was_covered_keeps_its_framing(site: Site, canary: Canary, framing: str) -> None:  # X62
    def answer(wire: Wire, received: Message) -> None:
        body = b"<" + received.one("authorization").encode() + b">" + b" and more" * 3000
        digests = ("Content-MD5: x", "Digest: sha-256=x", "Content-Digest: sha-256=:x:")
        match framing:
            case "sized":
                send(wire, body)
            case "range":
                send(wire, body, "Content-Range: bytes 0-9/10", 'ETag: "one"', status="206 Partial Content")
            case "gzip":
                send(wire, gzip.compress(body), "Content-Encoding: gzip", *digests)
            case "chunked":
                parts = [body[at : at + 7] for at in range(0, len(body), 7)]
                chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
                send(wire, chunks + b"0\r\n\r\n", "Transfer-Encoding: chunked", sized=False)
            case _:
                send(wire, body, "Connection: close", sized=False)
                wire.sock.unwrap()  # type: ignore[attr-defined]

    site.server.handler = answer
    with site.agent() as agent:
        first, second = (
            agent.ask(request("/1"), request("/2")) if framing != "until closed" else 2 * agent.ask(request())
        )
    for each in (first, second):
        assert each.status == (206 if framing == "range" else 200)
        assert not each.holds(canary.secret)
        covered = b"Bearer [redacted]".ljust(len(f"Bearer {site.key}"), b"*")
        assert each.body == b"<" + covered + b">" + b" and more" * 3000
    if framing == "sized":
        assert first.all("content-length") == [str(len(first.body))] and not first.all("transfer-encoding")
    if framing == "gzip":
        told = {"content-encoding", "content-md5", "digest", "content-digest", "content-length"}
        assert not told & {name for name, _ in first.fields}


STREAM = """
import hashlib, sys, urllib.request
with urllib.request.urlopen(sys.argv[1]) as answer:
    first = answer.read(1 << 20)
    print("the first has come", flush=True)
    digest, size = hashlib.sha256(first), len(first)
    while part := answer.read(1 << 20):
        digest.update(part)
        size += len(part)
    print(size, digest.hexdigest(), flush=True)
"""


@pytest.mark.parametrize("framing", ["sized", "chunked"])
def test_x62_a_hundred_megabytes_without_the_credential_are_streamed(site: Site, framing: str) -> None:  # X62
    block, count, come = bytes(range(256)) * 4096, 100, threading.Event()

    def pour(wire: Wire, _: Message) -> None:
        how = f"Content-Length: {count << 20}" if framing == "sized" else "Transfer-Encoding: chunked"
        send(wire, b"", "Content-Type: application/octet-stream", how, sized=False)
        for number in range(count):
            if number == 1 and not come.wait(30):
                wire.close()  # the second is sent only once the first has been read at the other end
                return
            wire.send(block if framing == "sized" else b"%x\r\n%b\r\n" % (len(block), block))
        wire.send(b"" if framing == "sized" else b"0\r\n\r\n")

    site.server.handler = pour
    with site.cli.started("run", "--", sys.executable, "-c", STREAM, f"https://{API}/stream") as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == "the first has come\n", process.stderr.read()
        come.set()
        size, digest = process.stdout.readline().split()
    assert int(size) == count << 20
    assert digest == hashlib.sha256(block * count).hexdigest()


def test_x63_a_key_that_reads_like_ordinary_text_is_not_taken(site: Site) -> None:  # X63
    for key in ("true", "abc", "1234567"):
        refused = site.cli("login", "mock", "--stdin", "--connection", "short", stdin=key)
        assert refused.code == 2 and "8" in refused.err and key not in refused.err, str(refused)
    assert site.cli("get", "mock", "--connection", "short").code == 3
    site.login("mock", "true-key", "--connection", "short")  # as short as can be: still told from text
    site.server.handler = lambda wire, received: send(wire, f'{{"ok": true, "{received.target}": 1}}'.encode())
    with site.agent() as agent:
        answer = agent.get("/true", "X-Authsome-Connection: short")
    assert answer.body == b'{"ok": true, "/true": 1}'
    assert site.server.requests[0].one("authorization") == "Bearer true-key"
