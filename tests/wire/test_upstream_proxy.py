"""A proxy of the owner's network between authsome and every server: used where it should be, and told nothing."""

import asyncio
from collections.abc import Callable, Iterator

import pytest
from corporate import CREDENTIALS, PASSWORD, CorporateProxy, Resolver, byte_by_byte
from parts.pki import Authority
from wire_world import Limits, Options, Upstream, Wire, World, bundle_of, get

from authsome.broker import fetch
from authsome.broker.egress import Egress
from authsome.broker.fetch import Fetcher
from authsome.errors import LoginFailed, Unreachable
from authsome.flows.steps import Fetch, Fetched
from authsome.model.placeholder import PLACEHOLDER
from authsome.model.secret import Secret
from authsome.settings import Settings

BEARER = f"Authorization: Bearer {PLACEHOLDER}"
API, EVIL = "api.mock.test:443", "evil.mock.test:443"
PUBLIC = "203.0.113.7"

MakeWorld = Callable[[Options], World]


@pytest.fixture
def corporate() -> Iterator[CorporateProxy]:
    with CorporateProxy({}) as proxy:
        yield proxy


def behind(make_world: MakeWorld, corporate: CorporateProxy, egress: Egress | None = None, **options: object) -> World:
    """A world whose hosts are known to the corporate proxy alone."""
    world = make_world(Options(egress=egress or corporate.egress(), **options))  # type: ignore[arg-type]
    world.options.resolve.clear()
    corporate.leads = {API: world.upstream.address, EVIL: world.upstream.address}
    return world


def test_a_routed_request_goes_through_and_tells_it_nothing(make_world: MakeWorld, corporate: CorporateProxy) -> None:
    world = behind(make_world, corporate)
    wire = world.open()
    for path in ("/a", "/b"):
        assert wire.ask(get(path, BEARER)).body == b"hello"
    assert world.open().ask(get("/c", BEARER)).status == 200
    (asked,) = corporate.asked  # the connection is kept like any other
    assert (asked.method, asked.target, asked.one("host")) == ("CONNECT", API, API)
    assert asked.one("proxy-authorization") == CREDENTIALS
    assert [r.one("authorization") for r in world.upstream.requests] == [f"Bearer {world.secret}"] * 3
    assert not any(r.all("proxy-authorization") for r in world.upstream.requests)
    assert corporate.seen
    assert world.secret.encode() not in corporate.seen
    assert world.token.encode() not in corporate.seen


def test_without_credentials_none_are_sent(make_world: MakeWorld, corporate: CorporateProxy) -> None:
    world = behind(make_world, corporate, corporate.egress(credentials=""))
    assert world.open().ask(get("/")).status == 200
    assert not corporate.asked[0].all("proxy-authorization")


def test_an_unrouted_host_is_tunnelled_through_it(make_world: MakeWorld, corporate: CorporateProxy) -> None:
    world = behind(make_world, corporate)
    with bundle_of(world.pki.pem) as bundle:
        wire = world.open(EVIL, bundle=bundle)  # the real certificate, through two proxies
    assert wire.ask(get("/", host="evil.mock.test")).body == b"hello"
    assert corporate.targets == [EVIL]
    assert corporate.asked[0].one("proxy-authorization") == CREDENTIALS


def test_what_a_server_says_first_is_not_lost(make_world: MakeWorld, corporate: CorporateProxy) -> None:
    world = behind(make_world, corporate)
    world.plain.raw = lambda wire: (wire.send(b"second"), wire.rest())
    corporate.leads["plain.mock.test:25"] = world.plain.address
    corporate.early = b"\r\n\r\nfirst "
    wire, answer = world.connect("plain.mock.test:25")
    assert answer.status == 200
    assert wire.exactly(16) == b"\r\n\r\nfirst second"


def test_an_answer_in_pieces_is_understood(make_world: MakeWorld, corporate: CorporateProxy) -> None:
    world = behind(make_world, corporate)
    corporate.answer = byte_by_byte(b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nbanner")
    wire, answer = world.connect("plain.mock.test:25")
    assert answer.status == 200
    assert wire.exactly(6) == b"banner"


def test_tls_is_verified_to_the_server_itself(make_world: MakeWorld, corporate: CorporateProxy) -> None:  # P1
    world = behind(make_world, corporate)
    forged = Upstream(Authority("Corporate inspection").leaf("api.mock.test").context())
    corporate.leads[API] = forged.address
    answer = world.open().ask(get("/", BEARER))
    assert (answer.status, answer.one("x-authsome-error")) == (502, "endpoint_unreachable")
    assert b"cannot be trusted" in answer.body
    assert not forged.requests
    forged.close()


def direct(world: World, corporate: CorporateProxy) -> Resolver:
    """The same hosts on an open network."""
    resolver = Resolver(
        {"api.mock.test": [[PUBLIC]], "evil.mock.test": [[PUBLIC]], "plain.mock.test": [["203.0.113.8"]]},
        {PUBLIC: world.upstream.address, "203.0.113.8": world.plain.address, "127.0.0.1": corporate.address},
    )
    world.call(resolver.enter, world.loop)
    return resolver


@pytest.mark.parametrize("entry", ["api.mock.test", ".mock.test", "mock.test", "*.mock.test", "API.mock.test:443", "*"])
def test_what_no_proxy_covers_goes_directly(make_world: MakeWorld, corporate: CorporateProxy, entry: str) -> None:
    world = behind(make_world, corporate, corporate.egress(entry))
    resolver = direct(world, corporate)
    assert world.open().ask(get("/", BEARER)).status == 200
    assert resolver.dialled == [f"{PUBLIC}:443"]
    assert not corporate.connections


def test_what_no_proxy_does_not_cover_goes_through_it(make_world: MakeWorld, corporate: CorporateProxy) -> None:
    world = behind(make_world, corporate, corporate.egress("api.mock.test:8443", "pi.mock.test", "203.0.113.0/24"))
    resolver = direct(world, corporate)
    assert world.open().ask(get("/", BEARER)).status == 200
    assert resolver.dialled == [corporate.address]
    assert resolver.asked == []  # the name is the proxy's to resolve
    assert corporate.targets == [API]


def test_clear_text_goes_directly(make_world: MakeWorld, corporate: CorporateProxy) -> None:
    world = behind(make_world, corporate)
    resolver = direct(world, corporate)
    wire = world.dial()
    request = b"GET http://plain.mock.test/ HTTP/1.1\r\nHost: plain.mock.test\r\n" + world.auth() + b"\r\n"
    assert wire.ask(request).body == b"hello"
    assert resolver.dialled == ["203.0.113.8:80"]
    assert not corporate.connections


def test_this_machine_and_the_owners_own_addresses_go_directly(
    make_world: MakeWorld, corporate: CorporateProxy
) -> None:
    world = behind(make_world, corporate)
    world.options.resolve["api.mock.test"] = world.upstream.address
    assert world.open().ask(get("/", BEARER)).status == 200
    for host in ("127.0.0.1", "localhost"):
        wire, answer = world.connect(f"{host}:{world.plain.port}")
        assert answer.status == 200
        assert wire.ask(get("/", host="localhost")).body == b"hello"
    assert not corporate.connections


@pytest.mark.parametrize(
    "authority", ["169.254.169.254:80", "metadata.google.internal:80", "[fd00:ec2::254]:443", "0.0.0.0:80"]
)
def test_what_is_refused_as_it_is_written_is_not_asked_for(
    make_world: MakeWorld, corporate: CorporateProxy, authority: str
) -> None:  # X66
    world = behind(make_world, corporate)
    _, answer = world.connect(authority)
    assert (answer.status, answer.one("x-authsome-error")) == (403, "destination_refused")
    assert not corporate.connections


def refused_twice(world: World) -> list[bytes]:
    """What a program is told for a routed host, and for a tunnel."""
    answer = world.open().ask(get("/", BEARER))
    assert (answer.status, answer.one("x-authsome-error")) == (502, "endpoint_unreachable")
    wire, tunnel = world.connect(EVIL)
    assert (tunnel.status, tunnel.one("x-authsome-error")) == (502, "endpoint_unreachable")
    return [answer.body, wire.exactly(int(tunnel.one("content-length")))]


@pytest.mark.parametrize("status", [407, 403, 502, 302])
def test_its_refusal_is_told_without_what_it_was_told(
    make_world: MakeWorld, corporate: CorporateProxy, status: int
) -> None:
    world = behind(make_world, corporate)
    corporate.answer = f"HTTP/1.1 {status} {CREDENTIALS}\r\nX: {PASSWORD}\r\n\r\n{PASSWORD}".encode()
    for body in refused_twice(world):
        assert f"the upstream proxy {corporate.address} answered {status}".encode() in body
        assert PASSWORD.encode() not in body
        assert CREDENTIALS.encode() not in body
        assert (b"HTTPS_PROXY" in body) == (status == 407)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"", b"closed the connection"),
        (b"HTTP/1.1 200 OK\r\n", b"closed the connection"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", b"does not answer in HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70000, b"endless head"),
    ],
)
def test_nonsense_of_its_is_told(make_world: MakeWorld, corporate: CorporateProxy, answer: bytes, told: bytes) -> None:
    world = behind(make_world, corporate)
    corporate.answer = answer
    assert all(told in body for body in refused_twice(world))


def test_one_that_does_not_answer_is_not_waited_for(make_world: MakeWorld, corporate: CorporateProxy) -> None:
    world = behind(make_world, corporate, limits=Limits(connect_time=0.4))
    corporate.answer = Wire.rest  # silence
    for body in refused_twice(world):
        assert f"the upstream proxy {corporate.address}: it does not answer".encode() in body


def test_one_that_is_not_there_is_named(make_world: MakeWorld, corporate: CorporateProxy) -> None:
    world = behind(make_world, corporate, Egress.of(Settings(home="/", upstream_proxy="127.0.0.1:9")))
    for body in refused_twice(world):
        assert b"the upstream proxy 127.0.0.1:9: Connection refused" in body


def test_authsomes_own_port_is_never_its_upstream_proxy(make_world: MakeWorld, corporate: CorporateProxy) -> None:
    port = int(corporate.address.rpartition(":")[2])
    world = behind(make_world, corporate, own_ports=frozenset({port}))
    resolver = direct(world, corporate)
    assert world.open().ask(get("/", BEARER)).status == 200
    assert resolver.dialled == [f"{PUBLIC}:443"]
    assert not corporate.connections


def test_a_runs_own_proxy_is_never_the_upstream_proxy(make_world: MakeWorld, corporate: CorporateProxy) -> None:
    world = behind(make_world, corporate, corporate.egress(credentials="run:0123456789abcdef@"))
    resolver = direct(world, corporate)
    assert world.open().ask(get("/", BEARER)).status == 200
    assert resolver.dialled == [f"{PUBLIC}:443"]
    assert not corporate.connections


def test_a_socks_proxy_is_refused_by_name_and_not_gone_past(make_world: MakeWorld, corporate: CorporateProxy) -> None:
    settings = Settings(home="/", upstream_proxy=f"socks5://alex:{PASSWORD}@127.0.0.1:1080",
                        upstream_proxy_setting="ALL_PROXY")  # fmt: skip
    world = behind(make_world, corporate, Egress.of(settings))
    resolver = direct(world, corporate)
    for body in refused_twice(world):
        assert b"ALL_PROXY cannot be used: it names a socks5:// proxy" in body
        assert b"alex" not in body
    assert not resolver.dialled


# ── calls to authorization servers ─────────────────────────────────────────────────────────────


@pytest.fixture
def server(corporate: CorporateProxy) -> Iterator[Upstream]:
    """A TLS server that the corporate proxy leads to, trusted by `call`."""
    pki = Authority("Upstream CA")
    server = Upstream(pki.leaf("login.mock.test").context())
    server.pem = pki.pem  # type: ignore[attr-defined]
    corporate.leads["login.mock.test:443"] = server.address
    yield server
    server.close()


def call(server: Upstream, egress: Egress, url: str = "https://login.mock.test/token", **step: object) -> Fetched:
    with bundle_of(server.pem) as bundle:  # type: ignore[attr-defined]
        fetcher = Fetcher((str(bundle),), {}, egress)
        return asyncio.run(fetcher(Fetch(url=url, **step)))  # type: ignore[arg-type]


def test_a_call_goes_through_it(corporate: CorporateProxy, server: Upstream) -> None:  # P14
    answer = call(server, corporate.egress(), method="POST", form=(("code", Secret("CANARY")),))
    assert answer.body == b"hello"
    (asked,) = corporate.asked
    assert (asked.target, asked.one("proxy-authorization")) == ("login.mock.test:443", CREDENTIALS)
    (request,) = server.requests
    assert (request.start, request.one("host"), request.body) == (
        "POST /token HTTP/1.1", "login.mock.test", b"code=CANARY",
    )  # fmt: skip
    assert not request.all("proxy-authorization")
    assert b"CANARY" not in corporate.seen


@pytest.mark.parametrize("status", [407, 403, 502])
def test_a_call_that_it_refuses_tells_no_secret(corporate: CorporateProxy, server: Upstream, status: int) -> None:
    corporate.answer = f"HTTP/1.1 {status} {PASSWORD}\r\nContent-Length: 0\r\n\r\n".encode()
    with pytest.raises(Unreachable) as caught:
        call(server, corporate.egress())
    assert f"through the upstream proxy {corporate.address}: it answered {status}" in caught.value.message
    assert "HTTPS_PROXY" in str(caught.value.hint)
    assert PASSWORD not in str(caught.value.to_json())


def test_a_call_does_not_wait_for_one_that_is_silent(
    corporate: CorporateProxy, server: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "TIME_LIMIT", 0.4)
    corporate.answer = Wire.rest
    with pytest.raises(Unreachable, match=r"did not answer|cannot be reached"):
        call(server, corporate.egress())


def test_a_call_verifies_the_server_itself(corporate: CorporateProxy, server: Upstream) -> None:  # P14
    forged = Upstream(Authority("Corporate inspection").leaf("login.mock.test").context())
    corporate.leads["login.mock.test:443"] = forged.address
    with pytest.raises(Unreachable, match="certificate is not trusted"):
        call(server, corporate.egress(), authorization=Secret("Bearer CANARY"))
    assert not forged.requests
    forged.close()


@pytest.mark.parametrize("host", ["10.0.0.1", "169.254.169.254", "[::ffff:10.0.0.1]", "metadata.google.internal"])
def test_a_server_cannot_name_an_address_inside_of_its_network(
    corporate: CorporateProxy, server: Upstream, host: str
) -> None:  # P14, O10
    with pytest.raises(LoginFailed, match="not called on a server's word"):
        call(server, corporate.egress(), f"https://{host}/token")
    assert not corporate.connections


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_a_server_cannot_name_this_machine_either(
    corporate: CorporateProxy, server: Upstream, host: str
) -> None:  # P14
    with pytest.raises(LoginFailed, match="not called on a server's word"):
        call(server, corporate.egress(), f"https://{host}:{server.port}/token")
    assert not server.connections
    assert not corporate.connections


def test_a_call_to_this_machine_goes_directly(corporate: CorporateProxy, server: Upstream) -> None:
    plain = Upstream(None)
    assert call(server, corporate.egress(), f"http://127.0.0.1:{plain.port}/", owner_wrote=True).body == b"hello"
    assert not corporate.connections
    plain.close()


def test_a_call_to_what_no_proxy_covers_goes_directly(corporate: CorporateProxy, server: Upstream) -> None:
    async def directly() -> Fetched:
        resolver.enter(asyncio.get_running_loop())
        return await fetcher(Fetch(url="https://login.mock.test/token"))

    resolver = Resolver({"login.mock.test": [[PUBLIC]]}, {PUBLIC: server.address})
    with bundle_of(server.pem) as bundle:  # type: ignore[attr-defined]
        fetcher = Fetcher((str(bundle),), {}, corporate.egress("mock.test"))
        assert asyncio.run(directly()).status == 200
    assert resolver.dialled == [f"{PUBLIC}:443"]
    assert not corporate.connections


def test_a_call_is_not_made_past_a_proxy_that_cannot_be_used(server: Upstream) -> None:
    egress = Egress.of(Settings(home="/", upstream_proxy=f"https://alex:{PASSWORD}@proxy.test"))
    with pytest.raises(Unreachable, match="upstream_proxy cannot be used: it names a https:// proxy") as caught:
        call(server, egress)
    assert PASSWORD not in str(caught.value.to_json())
