"""Who may use the proxy, for how long, and what it never dials (promises 2.3)."""

import base64
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest
from http2_wire import client
from parts.pki import Authority
from wire_world import Message, Options, Upstream, Wire, World, bundle_of, eventually, get, lendable

from authsome.errors import NeedsLogin, Unreachable
from authsome.model.event import Denied
from authsome.model.placeholder import PLACEHOLDER
from authsome.model.secret import Secret

CONNECT = b"CONNECT api.mock.test:443 HTTP/1.1\r\nHost: api.mock.test:443\r\n"


def basic(text: str) -> bytes:
    return b"Proxy-Authorization: Basic " + base64.b64encode(text.encode()) + b"\r\n"


def test_without_the_runs_token_nothing_is_dialled(world: World) -> None:  # X67 P4
    other = world.run("ended")
    world.end_run("ended")
    good = world.auth()
    for fields in (
        b"",
        basic("run:wrong"),
        basic("run:"),
        basic(f"other:{world.token}"),
        basic(world.token),
        basic(f"run:{other}"),
        basic(f"run:{world.token} "),
        good + good,
        good.replace(b"Basic", b"Bearer"),
        b"Proxy-Authorization: Basic !!!!\r\n",
        b"Authorization" + good.removeprefix(b"Proxy-Authorization"),
    ):
        for start in (CONNECT, b"GET http://plain.mock.test/ HTTP/1.1\r\nHost: plain.mock.test\r\n"):
            answer = world.dial().ask(start + fields + b"\r\n")
            assert answer.status == 407
            assert answer.one("proxy-authenticate") == 'Basic realm="authsome"'
    assert not world.upstream.connections
    assert not world.plain.connections


def test_a_client_may_authenticate_on_the_second_try(world: World) -> None:
    wire = world.dial()
    assert wire.ask(CONNECT + b"\r\n").status == 407
    assert wire.ask(b"GET http://plain.mock.test/ HTTP/1.1\r\nHost: plain.mock.test\r\n\r\n").status == 407
    wire.send(CONNECT + world.auth() + b"\r\n")
    assert wire.head().status == 200


def test_a_connection_serves_one_run_only(world: World) -> None:  # P4
    wire = world.dial()
    text = b"GET http://plain.mock.test/ HTTP/1.1\r\nHost: plain.mock.test\r\n"
    assert wire.ask(text + world.auth() + b"\r\n").status == 200
    assert wire.ask(text + world.auth(world.run("r2")) + b"\r\n").status == 407
    assert len(world.plain.requests) == 1
    assert not world.plain.requests[0].all("proxy-authorization")


def test_the_end_of_a_run_closes_everything_it_had_open(world: World) -> None:  # P4
    tunnel, _ = world.connect("evil.mock.test:443")
    intercepted = world.open()
    intercepted.ask(get("/"))
    streaming = world.open()
    hold = threading.Event()

    def stream(wire: Wire, _: Message) -> None:
        wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        hold.wait(20)

    world.upstream.handler = stream
    streaming.send(get("/"))
    streaming.until(b"a\r\n")
    other = world.open(token=world.run("r2"))
    assert world.call(world.proxy.requests_of, "r1") == 3
    world.end_run("r1")
    for wire in (tunnel, intercepted, streaming):
        assert wire.is_closed()
    _, answer = world.connect()
    assert answer.status == 407
    world.upstream.handler = lambda wire, _: wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert other.ask(get("/")).status == 200  # the other run goes on
    assert world.call(world.proxy.requests_of, "r1") == 3
    hold.set()


def test_a_logout_in_a_run_holds_for_the_next_request(world: World) -> None:  # X70
    wire = world.open()
    assert wire.ask(get("/")).status == 200
    world.lend()
    for attempt in (wire, world.open()):  # the host stays intercepted: the placeholder does not get out
        answer = attempt.ask(get("/", f"Authorization: Bearer {PLACEHOLDER}"))
        assert answer.status == 401
        assert answer.one("x-authsome-error") == "needs_login"
        assert b"authsome login mock" in answer.body
    assert len(world.upstream.requests) == 1
    world.lend(lendable("mock"))
    assert wire.ask(get("/")).status == 200


def test_a_host_of_the_runs_start_stays_intercepted_though_it_connects_late(world: World) -> None:  # X70
    token = world.run("late")
    (run,) = [run for run in world.house.runs.values() if run.id == "late"]
    world.call(world.proxy.begin_run, run)
    world.lend()
    assert world.open(token=token).ask(get("/")).status == 401


def test_a_rotated_credential_is_used_at_once(world: World) -> None:  # X70
    wire = world.open()
    wire.ask(get("/"))
    world.house.credentials["mock", "default"] = Secret("rotated")
    wire.ask(get("/"))
    assert [r.one("authorization") for r in world.upstream.requests] == [f"Bearer {world.secret}", "Bearer rotated"]


def test_a_connection_that_needs_a_login_says_so(world: World) -> None:
    world.lend(lendable("mock", usable=False))
    answer = world.open().ask(get("/"))
    assert answer.status == 401
    assert b"authsome login mock" in answer.body


def test_a_refresh_is_waited_for_and_the_body_with_it(world: World) -> None:
    world.house.slow = True
    wire = world.open()
    body = b"x" * 300_000
    head = f"POST / HTTP/1.1\r\nHost: api.mock.test\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    assert wire.ask(head + body).status == 200
    assert world.house.lent == 1
    assert world.upstream.requests[0].body == body
    assert world.upstream.requests[0].one("authorization") == f"Bearer {world.secret}"
    assert wire.ask(get("/")).status == 200


def test_a_failed_refresh_is_told_in_the_houses_words(world: World) -> None:
    wire = world.open()
    for error, status in (
        (NeedsLogin("mock/default is dead", "authsome login mock", login_url="http://127.0.0.1:7998/l"), 401),
        (Unreachable("the authorization server does not answer"), 502),
    ):
        world.house.credentials["mock", "default"] = error
        answer = wire.ask(get("/"))
        assert answer.status == status
        assert answer.one("x-authsome-error") == error.code
        assert error.message.encode() in answer.body
        assert (b"login_url" in answer.body) == (status == 401)
    assert not world.upstream.requests


def test_a_client_that_leaves_during_a_refresh_sends_nothing(world: World) -> None:
    world.house.slow = True
    wire = world.open()
    wire.send(get("/"))
    wire.close()
    assert world.open().ask(get("/second")).status == 200
    assert [r.target for r in world.upstream.requests] == ["/second"]


def test_a_server_that_does_not_prove_its_name_gets_nothing(make_world: Callable[[Options], World]) -> None:  # X64
    world = make_world(Options())
    foreign = Authority("Unknown CA")
    cases = {
        "self-signed|unable to get local issuer|self signed": foreign.leaf("api.mock.test").context(),
        "certificate has expired": world.pki.leaf("api.mock.test", days=-1).context(),
        "mismatch": world.pki.leaf("evil.mock.test").context(),
    }
    old = world.pki.leaf("api.mock.test").context()
    old.minimum_version = ssl.TLSVersion.TLSv1
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    cases["tls|protocol|version|alert|internal"] = old
    for why, context in cases.items():
        server = Upstream(context)
        world.options.resolve["api.mock.test"] = server.address
        answer = world.open().ask(get("/"))
        assert answer.status == 502
        assert answer.one("x-authsome-error") == "endpoint_unreachable"
        assert any(part in answer.body.decode().lower() for part in why.split("|")), (why, answer.body)
        assert world.secret.encode() not in answer.body
        assert not server.requests
        assert not any(wire.seen for wire in server.wires)
        server.close()


def test_the_environment_does_not_change_whom_the_proxy_trusts() -> None:  # X65
    # HTTPS_PROXY is heeded by design (test_upstream_proxy.py): it changes the way, and not who is verified at its end.
    code = (
        'from authsome.proxy.engine.dial import upstream_context; c = upstream_context((), "h2");'
        "print(c.keylog_filename, c.minimum_version.name, c.check_hostname, c.verify_mode.name)"
    )
    environment = {**os.environ, "SSLKEYLOGFILE": "keys.log", "HTTPS_PROXY": "http://127.0.0.1:9"}
    shown = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert shown.stdout.split() == ["None", "TLSv1_2", "True", "CERT_REQUIRED"]


@pytest.mark.parametrize(
    "authority",
    [
        "169.254.169.254:80", "169.254.170.2:80", "[fd00:ec2::254]:80", "100.100.100.200:80", "0.0.0.0:80",
        "metadata.google.internal:80", "[64:ff9b::a9fe:a9fe]:80", "[::ffff:169.254.169.254]:80", "[::]:80",
        "224.0.0.1:80", "169.254.1.1:443", "[fe80::1]:443",
    ],
)  # fmt: skip
def test_a_tunnel_to_what_nobody_should_reach_is_refused(world: World, authority: str) -> None:  # X66
    _, answer = world.connect(authority)
    assert answer.status == 403
    assert answer.one("x-authsome-error") == "destination_refused"
    wire = world.dial()
    wire.send(f"GET http://{authority}/ HTTP/1.1\r\nHost: {authority}\r\n".encode() + world.auth() + b"\r\n")
    assert wire.message(answers="GET").status == 403


def test_a_tunnel_to_authsome_itself_is_refused(make_world: Callable[[Options], World]) -> None:  # X66
    door = Upstream(None)
    world = make_world(Options(own_ports=frozenset({door.port})))
    for port in (door.port, world.port):
        for host in ("127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "127.0.0.9"):
            _, answer = world.connect(f"{host}:{port}")
            assert answer.status == 403, host
    assert not door.connections
    door.close()


def test_another_program_on_this_machine_may_be_tunnelled_to(world: World) -> None:
    wire, answer = world.connect(f"127.0.0.1:{world.plain.port}")
    assert answer.status == 200
    assert wire.ask(get("/", host="localhost")).body == b"hello"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_routed_host_is_never_dialled_at_this_machine(world: World, host: str) -> None:  # X24
    world.lend(lendable("mock", routes=(f"{host}:{world.upstream.port}",)))
    wire = world.open(f"{host}:{world.upstream.port}", token=world.run("r2"))
    answer = wire.ask(get("/", host=f"{host}:{world.upstream.port}"))
    assert answer.status == 403
    assert answer.one("x-authsome-error") == "destination_refused"
    assert not world.upstream.connections


def test_an_unreachable_server_is_told(make_world: Callable[[Options], World]) -> None:
    gone = Upstream(None)
    gone.close()
    world = make_world(Options(resolve={"api.mock.test": gone.address, "evil.mock.test": gone.address}))
    answer = world.open().ask(get("/"))
    assert answer.status == 502
    assert b"cannot be reached" in answer.body
    _, answer = world.connect("evil.mock.test:443")
    assert answer.status == 502
    _, answer = world.connect("no-such-host.invalid:443")
    assert answer.status == 502
    assert eventually(lambda: sum(isinstance(e, Denied) for e in world.house.events) == 3)


def test_clear_text_goes_through_to_an_unrouted_host(world: World) -> None:
    wire = world.dial()
    for path in ("/a?b=1", "/c"):
        text = f"GET http://plain.mock.test{path} HTTP/1.1\r\nHost: plain.mock.test\r\nAuthorization: Bearer own\r\n"
        answer = wire.ask(text.encode() + b"Proxy-Connection: keep-alive\r\n" + world.auth() + b"\r\n")
        assert answer.body == b"hello"
    first, second = world.plain.requests
    assert (first.target, second.target) == ("/a?b=1", "/c")
    assert first.one("authorization") == "Bearer own"
    assert first.one("host") == "plain.mock.test"
    assert not first.all("proxy-connection")
    assert not first.all("proxy-authorization")


def test_a_browser_page_gets_nothing_from_the_proxy_port(world: World) -> None:
    wire = world.dial()
    answer = wire.ask(f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{world.port}\r\nOrigin: https://evil.test\r\n\r\n".encode())
    assert answer.status == 407
    assert not [name for name, _ in answer.fields if name.lower().startswith("access-control")]


def test_the_secret_is_in_no_refusal_and_no_event(world: World) -> None:
    wire = world.open()
    wire.ask(get("/x?token=1"))
    bad = world.open().ask(get("/", f"Cookie: {PLACEHOLDER}"))
    assert world.secret.encode() not in bad.raw + bad.body
    assert world.secret not in repr(world.house.events)
    assert "token=1" not in repr(world.house.events)


def test_a_client_that_goes_around_the_proxy_has_a_placeholder_and_no_secret(world: World) -> None:  # X80
    with bundle_of(world.pki.pem) as bundle:
        context = world.client_context(bundle)
        sock = socket.create_connection(("127.0.0.1", world.upstream.port), timeout=10)
        wire = Wire(context.wrap_socket(sock, server_hostname="api.mock.test"))
        wire.ask(get("/", f"Authorization: Bearer {PLACEHOLDER}"))
    assert world.upstream.requests[0].one("authorization") == f"Bearer {PLACEHOLDER}"
    assert not world.house.events


def test_a_failure_that_nobody_foresaw_is_told_without_what_it_held(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:  # P23 X75
    async def broken(provider: str, connection: str) -> Secret:
        raise RuntimeError(f"the database said {world.secret}")

    world.house.slow = True
    monkeypatch.setattr(world.house, "lend", broken)
    wire = world.open()
    answer = wire.ask(get("/x?token=1"))
    assert (answer.status, answer.one("x-authsome-error")) == (500, "unexpected")
    assert "RuntimeError" in caplog.text
    for text in (answer.raw.decode() + answer.body.decode(), caplog.text):
        assert world.secret not in text
        assert "Traceback" not in text and "token=1" not in text
    assert not world.upstream.requests
    monkeypatch.undo()
    assert world.open().ask(get("/")).status == 200  # the proxy goes on


def test_a_tunnel_shows_the_real_certificate(world: World) -> None:  # X79
    with bundle_of(world.pki.pem) as bundle:
        wire = world.open("evil.mock.test:443", bundle=bundle)
        certificate = wire.sock.getpeercert()  # type: ignore[attr-defined]
    assert ("commonName", "api.mock.test") in [pair for rdn in certificate["subject"] for pair in rdn]


def test_a_request_that_breaks_is_answered_with_the_number_that_the_log_names(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:  # X75
    def break_down(provider: str, _: str) -> Secret | None:
        raise ZeroDivisionError(f"{world.secret} in {provider}")

    world.house.lend_now = break_down  # type: ignore[method-assign]
    for body in (world.open().ask(get()).body, client(world).get().body):
        number = re.search(rb"\(([0-9a-f]{8})\)", body)
        assert number is not None and number[1].decode() in caplog.text
        assert b"ZeroDivision" not in body
    assert caplog.text.count("ZeroDivisionError") == 2 and world.secret not in caplog.text
    assert not world.upstream.requests
