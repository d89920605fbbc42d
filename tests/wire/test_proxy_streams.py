"""Bytes in motion: streams, large bodies, back-pressure, the pool, and real clients."""

import hashlib
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import pytest
from wire_world import Closed, Message, Options, Upstream, Wire, World, bundle_of, eventually, get, lendable

from authsome.proxy.engine.ports import Limits

MB = 1 << 20
BLOCK = bytes(range(256)) * 4096  # 1 MB


def post(length: int) -> bytes:
    return f"POST / HTTP/1.1\r\nHost: api.mock.test\r\nContent-Length: {length}\r\n\r\n".encode()


def test_events_arrive_before_the_answer_ends(world: World) -> None:
    proceed = threading.Event()

    def stream(wire: Wire, _: Message) -> None:
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        wire.send(b"8\r\ndata: 1\n\r\n")
        assert proceed.wait(10)
        wire.send(b"8\r\ndata: 2\n\r\n0\r\n\r\n")

    world.upstream.handler = stream
    wire = world.open()
    wire.send(get("/"))
    head = wire.head()
    chunks = wire.chunks(head)
    assert next(chunks) == b"data: 1\n"
    proceed.set()
    assert list(chunks) == [b"data: 2\n"]


def test_an_upload_arrives_before_it_ends(world: World) -> None:
    got = threading.Event()

    def raw(wire: Wire) -> None:
        wire.head()
        assert wire.until(b"first") == b"5\r\nfirst"
        got.set()
        wire.until(b"0\r\n\r\n")
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        wire.rest()

    world.upstream.raw = raw
    wire = world.open()
    wire.send(b"POST / HTTP/1.1\r\nHost: api.mock.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
    assert got.wait(10)
    assert wire.ask(b"0\r\n\r\n").status == 200


def test_64_megabytes_go_up_and_come_down_unchanged(world: World) -> None:
    count = 64
    digest = hashlib.sha256(BLOCK * count).hexdigest()

    def swap(wire: Wire, request: Message) -> None:
        seen = hashlib.sha256(request.body).hexdigest()
        wire.send(f"HTTP/1.1 200 OK\r\nX-Sum: {seen}\r\nContent-Length: {count * MB}\r\n\r\n".encode())
        for _ in range(count):
            wire.send(BLOCK)

    world.upstream.handler = swap
    wire = world.open()

    def upload() -> None:
        wire.send(post(count * MB))
        for _ in range(count):
            wire.send(BLOCK)

    sender = threading.Thread(target=upload)
    sender.start()
    answer = wire.message(answers="POST")
    sender.join()
    assert answer.one("x-sum") == digest
    assert hashlib.sha256(answer.body).hexdigest() == digest
    assert wire.ask(get("/")).status == 200


def test_a_body_in_chunks_of_every_size_comes_down_whole(world: World) -> None:
    sizes = [1, 2, 15, 16, 17, 255, 4096, 16384, 16385, 65536, 300_000, 3, 1]
    parts = [(BLOCK * 2)[:size] for size in sizes]

    def chunked(wire: Wire, _: Message) -> None:
        body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
        wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body + b"0\r\n\r\n")

    world.upstream.handler = chunked
    wire = world.open()
    wire.send(get("/"))
    head = wire.head()
    assert b"".join(wire.chunks(head)) == b"".join(parts)


def test_a_slow_reader_slows_the_server_and_fills_no_memory(world: World) -> None:
    sent = [0]

    def pour(wire: Wire, _: Message) -> None:
        wire.send(f"HTTP/1.1 200 OK\r\nContent-Length: {200 * MB}\r\n\r\n".encode())
        for _ in range(200):
            wire.send(BLOCK)
            sent[0] += MB

    world.upstream.handler = pour
    wire = world.open()
    wire.send(get("/"))
    wire.head()
    assert _settles(sent) < 40 * MB
    total = len(wire.exactly(200 * MB))
    assert total == 200 * MB
    wire.close()


def test_a_slow_server_slows_the_client_and_fills_no_memory(world: World) -> None:
    release = threading.Event()

    def raw(wire: Wire) -> None:
        wire.head()
        release.wait(20)
        wire.exactly(100 * MB)
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        wire.rest()

    world.upstream.raw = raw
    wire = world.open()
    sent = [0]

    def upload() -> None:
        wire.send(post(100 * MB))
        for _ in range(100):
            wire.send(BLOCK)
            sent[0] += MB

    threading.Thread(target=upload, daemon=True).start()
    assert _settles(sent) < 40 * MB
    release.set()
    assert wire.message(answers="POST").status == 200


def _settles(counter: list[int]) -> int:
    """The value at which a counter stays for half a second."""
    last, since = -1, time.monotonic()
    while time.monotonic() - since < 0.5:
        if counter[0] != last:
            last, since = counter[0], time.monotonic()
        time.sleep(0.05)
    return last


def test_a_tunnel_relays_both_ways_with_half_close(world: World) -> None:
    def raw(wire: Wire) -> None:
        everything = wire.rest()
        wire.send(hashlib.sha256(everything).hexdigest().encode() + BLOCK * 8)

    world.plain.raw = raw
    wire, answer = world.connect("plain.mock.test:9")
    assert answer.status == 200
    for _ in range(8):
        wire.send(BLOCK)
    wire.sock.shutdown(socket.SHUT_WR)
    back = wire.rest()
    assert back == hashlib.sha256(BLOCK * 8).hexdigest().encode() + BLOCK * 8


def test_a_server_that_speaks_first_is_heard(world: World) -> None:
    world.plain.raw = lambda wire: (wire.send(b"SSH-2.0-server\r\n"), wire.send(wire.until(b"\n").upper()))
    wire, _ = world.connect("plain.mock.test:22")
    assert wire.until(b"\n") == b"SSH-2.0-server\r\n"
    wire.send(b"ssh-2.0-client\n")
    assert wire.until(b"\n") == b"SSH-2.0-CLIENT\n"


@pytest.mark.parametrize("authority", ["api.mock.test:443", "evil.mock.test:443"])
@pytest.mark.parametrize("cut", [0, 1, 5, 200])
def test_a_client_hello_in_the_packet_of_the_connect_is_not_lost(world: World, authority: str, cut: int) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = world.client_context()
    context.load_verify_locations(cadata=world.pki.pem.decode())
    tls = context.wrap_bio(incoming, outgoing, server_hostname=authority.partition(":")[0])
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    hello = outgoing.read()
    wire = world.dial()
    head = f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n".encode() + world.auth() + b"\r\n"
    wire.send(head + (hello[:cut] if cut else hello))
    if cut:
        time.sleep(0.05)
        wire.send(hello[cut:])
    assert wire.head().status == 200
    incoming.write(wire.buffer)
    while True:
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            incoming.write(wire.more())
    tls.write(get("/early", host=authority.partition(":")[0]))
    wire.send(outgoing.read())
    assert eventually(lambda: world.upstream.requests)
    assert world.upstream.requests[0].target == "/early"


def test_the_pool_is_shared_by_runs_and_mixes_nothing(world: World) -> None:
    world.lend(lendable("mock"), lendable("mock", "work", default=False))
    second = world.run("r2", choices={"mock": "work"})
    for _ in range(3):
        world.open().ask(get("/"))
        world.open(token=second).ask(get("/"))
    assert world.upstream.connections == 1
    assert [r.one("authorization") for r in world.upstream.requests] == [
        f"Bearer {world.secret}", f"Bearer {world.secret}-work",
    ] * 3  # fmt: skip


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_upstream_connection_that_died_idle_costs_no_error(world: World, method: str) -> None:
    wire = world.open()
    text = get("/") if method == "GET" else post(3) + b"abc"
    for round_ in range(1, 4):
        assert wire.ask(text).status == 200
        assert len(world.upstream.requests) == round_
        with suppress(OSError, ValueError):  # it may be closed already
            if round_ % 2:
                world.upstream.wires[-1].sock.unwrap()  # type: ignore[attr-defined]
        world.upstream.wires[-1].close()


def test_a_request_that_a_dying_connection_swallowed_is_sent_again_if_it_may_be(world: World) -> None:
    wire = world.open()
    wire.ask(get("/first"))

    def swallow(upstream: Wire, request: Message) -> None:
        world.upstream.handler = lambda w, _: w.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        upstream.close()
        raise Closed

    world.upstream.handler = swallow
    assert wire.ask(get("/again")).status == 200
    world.upstream.handler = swallow
    answer = wire.ask(post(3) + b"abc")  # may have been processed: not sent twice
    assert answer.status == 502
    assert [r.start.split(" ")[1] for r in world.upstream.requests] == ["/first", "/again", "/again", "/"]


def test_a_fresh_connection_that_dies_is_not_tried_for_ever(world: World) -> None:
    world.upstream.raw = lambda wire: wire.head()
    assert world.open().ask(get("/")).status == 502
    assert world.upstream.connections <= 2  # the one that was opened ahead may have been stale


def test_bytes_on_an_idle_upstream_connection_discard_it(world: World) -> None:
    def gift(wire: Wire, _: Message) -> None:
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")

    world.upstream.handler = gift
    wire = world.open()
    assert wire.ask(get("/")).body == b""

    def late(upstream: Wire, _: Message) -> None:
        upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        time.sleep(0.1)
        upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")

    world.upstream.handler = late
    assert wire.ask(get("/")).body == b""
    assert eventually(lambda: world.upstream.wires[1].sock.fileno() == -1 or world.upstream.wires[1].is_closed())
    world.upstream.handler = lambda w, _: w.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood")
    assert wire.ask(get("/")).body == b"good"
    assert world.upstream.connections == 3


def test_a_server_that_closes_after_each_answer_is_served_without_errors(world: World) -> None:
    world.upstream.handler = lambda wire, _: wire.send(
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
    )
    wire = world.open()
    for _ in range(5):
        answer = wire.ask(post(1) + b"x")
        assert answer.body == b"ok"
        assert not answer.all("connection")  # the client's own connection stays
    assert world.upstream.connections == 5


def test_a_later_connection_resumes_the_tls_session(world: World) -> None:
    world.upstream.handler = lambda wire, _: wire.send(
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    )
    wire = world.open()
    wire.ask(get("/"))
    world.upstream.handler = lambda wire, _: wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    wire.ask(get("/"))
    world.upstream.wires[-1].close()
    wire.ask(get("/"))
    assert world.upstream.connections == 3
    assert world.upstream.resumed >= 1


def test_idle_upstream_connections_are_closed(make_world: Callable[[Options], World]) -> None:
    world = make_world(Options(limits=Limits(upstream_idle=1)))
    world.open().ask(get("/"))
    assert eventually(lambda: world.upstream.wires[0].sock.fileno() == -1, 5)


def test_more_clients_than_upstream_connections_all_get_through(make_world: Callable[[Options], World]) -> None:
    world = make_world(Options(limits=Limits(upstream_connections=2)))
    answers: list[int] = []

    def one() -> None:
        wire = world.open()
        for _ in range(5):
            answers.append(wire.ask(get("/")).status)
        wire.close()

    threads = [threading.Thread(target=one) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 60
    assert world.upstream.connections <= 2


def test_many_clients_at_once_get_their_own_answers(world: World) -> None:
    world.upstream.handler = lambda wire, request: wire.send(
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(request.target), request.target.encode())
    )
    wrong: list[str] = []

    def one(number: int) -> None:
        wire = world.open()
        for turn in range(20):
            path = f"/{number}/{turn}" + "x" * (number * 37 % 500)
            if wire.ask(get(path)).body.decode() != path:
                wrong.append(path)
        wire.close()

    threads = [threading.Thread(target=one, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(world.upstream.requests) == 320


def test_curl_is_served(world: World) -> None:
    common = ["curl", "-sS", "--max-time", "20", "--proxy", world.url(), "--cacert", str(world.bundle)]
    shown = subprocess.run(
        [*common, "-w", "%{http_code}\n", "-H", "Authorization: Bearer authsome-proxy-managed",
         "https://api.mock.test/a", "https://api.mock.test/b"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert shown == "hello200\nhello200\n"
    assert [r.one("authorization") for r in world.upstream.requests] == [f"Bearer {world.secret}"] * 2
    upload = subprocess.run(
        [*common, "-T", "-", "https://api.mock.test/up"], input=BLOCK * 4, capture_output=True, check=True
    )
    assert upload.stdout == b"hello"
    assert world.upstream.requests[-1].body == BLOCK * 4
    clear = subprocess.run([*common, "http://plain.mock.test/"], capture_output=True, check=True)
    assert clear.stdout == b"hello"
    anyauth = subprocess.run([*common, "--proxy-anyauth", "https://api.mock.test/any"], capture_output=True, check=True)
    assert anyauth.stdout == b"hello"
    refused = subprocess.run([*common, "https://api.mock.test/", "-H", "Cookie: authsome-proxy-managed"],
                             capture_output=True, check=True)  # fmt: skip
    assert b'"error": "placeholder_refused"' in refused.stdout
    with bundle_of(world.pki.pem) as bundle:
        tunnelled = subprocess.run(
            ["curl", "-sS", "--proxy", world.url(), "--cacert", str(bundle), "https://evil.mock.test/"],
            capture_output=True, check=True,
        )  # fmt: skip
    assert tunnelled.stdout == b"hello"


def test_pythons_own_client_is_served(world: World) -> None:
    code = (
        "import urllib.request, json;"
        "r = urllib.request.Request('https://api.mock.test/p', data=b'x', headers={'Authorization': 'Bearer x'});"
        "print(urllib.request.urlopen(r, timeout=20).read().decode())"
    )
    environment = {"https_proxy": world.url(), "SSL_CERT_FILE": str(world.bundle), "PATH": ""}
    shown = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert shown.stdout == "hello\n"


def test_ipv6_destinations_are_dialled(make_world: Callable[[Options], World]) -> None:
    try:
        server = Upstream(None, "::1")
    except OSError:
        pytest.skip("no IPv6 loopback")
    world = make_world(Options())
    wire, answer = world.connect(f"[::1]:{server.port}")
    assert answer.status == 200
    assert wire.ask(get("/", host="x")).body == b"hello"
    server.close()


def test_a_client_that_asks_without_reading_is_not_served_ahead(world: World) -> None:
    served = [0]

    def pour(wire: Wire, _: Message) -> None:
        wire.send(f"HTTP/1.1 200 OK\r\nContent-Length: {MB}\r\n\r\n".encode() + BLOCK)
        served[0] += MB

    world.upstream.handler = pour
    wire = world.open()
    wire.send(get("/") * 200)
    assert _settles(served) < 40 * MB
    for _ in range(200):
        assert wire.message(answers="GET").body == BLOCK
    assert wire.ask(get("/")).status == 200


def test_an_early_answer_to_a_stalled_upload_leaves_nothing_stuck(world: World) -> None:
    def raw(wire: Wire) -> None:
        wire.head()
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        time.sleep(0.3)
        wire.rest()

    world.upstream.raw = raw
    for _ in range(2):
        wire = world.open()
        sender = threading.Thread(target=_upload, args=(wire, 8), daemon=True)
        sender.start()
        assert wire.message(answers="POST").body == b"ok"
        sender.join()
        wire.close()


def _upload(wire: Wire, count: int) -> None:
    with suppress(OSError):
        wire.send(post(count * MB))
        for _ in range(count):
            wire.send(BLOCK)
