"""Where a credential may go, and that it goes nowhere else (promises 2.1)."""

import ssl

import pytest
from wire_world import Message, Wire, World, bundle_of, eventually, get, lendable

from authsome.model.event import Denied, Injected
from authsome.model.injection import HeaderInjection
from authsome.model.placeholder import PLACEHOLDER

BEARER = f"Authorization: Bearer {PLACEHOLDER}"


def test_a_routed_request_leaves_with_the_credential_exactly_once(world: World) -> None:  # X01
    answer = world.open().ask(get("/x?q=1", BEARER))
    assert (answer.status, answer.body) == (200, b"hello")
    (request,) = world.upstream.requests
    assert request.one("authorization") == f"Bearer {world.secret}"
    assert request.start == "GET /x?q=1 HTTP/1.1"
    assert request.one("host") == "api.mock.test"
    (event,) = world.house.events
    assert isinstance(event, Injected)
    assert (event.provider, event.connection, event.method, event.path, event.status) == (
        "mock", "default", "GET", "/x", 200,
    )  # fmt: skip


def test_a_request_without_a_placeholder_gets_the_credential_too(world: World) -> None:
    world.open().ask(get("/x"))
    assert world.upstream.requests[0].one("authorization") == f"Bearer {world.secret}"


def test_a_host_header_for_another_host_is_refused(world: World) -> None:  # X02 P2
    answer = world.open().ask(get("/x", BEARER, host="evil.mock.test"))
    assert answer.status == 421
    assert answer.one("x-authsome-error") == "host_mismatch"
    assert not world.upstream.requests
    assert [type(e) for e in world.house.events] == [Denied]


def test_a_server_name_for_another_host_is_refused(world: World) -> None:  # X04 P2
    with pytest.raises(ssl.SSLError, match=r"UNRECOGNIZED_NAME|unrecognized name"):
        world.open(name="other.mock.test")
    assert not world.upstream.requests
    assert eventually(lambda: [e.error for e in world.house.events if isinstance(e, Denied)] == ["host_mismatch"])


def test_a_routed_server_name_in_a_tunnel_to_another_host_is_refused(world: World) -> None:  # X05 X18 P2
    for authority in ("other.mock.test:443", f"127.0.0.1:{world.upstream.port}"):
        before = world.upstream.wires[:]
        with pytest.raises((OSError, ssl.SSLError)), bundle_of(world.pki.pem) as bundle:
            world.open(authority, name="api.mock.test", bundle=bundle)
        assert world.upstream.wires == before  # no handshake got through
    assert not world.upstream.requests


def test_an_unrouted_host_is_tunnelled_unread(world: World) -> None:  # X06 X79
    with bundle_of(world.pki.pem) as bundle:
        wire = world.open("evil.mock.test:443", bundle=bundle)  # the real certificate, by the real authority
    answer = wire.ask(get("https://api.mock.test/", BEARER, host="api.mock.test"))
    assert answer.status == 200
    assert world.upstream.requests[0].one("authorization") == f"Bearer {PLACEHOLDER}"


def test_an_absolute_form_for_elsewhere_is_refused_inside(world: World) -> None:  # X07
    wire = world.open()
    assert wire.ask(get("https://evil.mock.test/abs", BEARER)).status == 400
    assert wire.is_closed()
    assert not world.upstream.requests


def test_an_absolute_form_for_the_same_origin_is_understood(world: World) -> None:
    assert world.open().ask(get("https://API.mock.test/abs?x", BEARER)).status == 200
    assert world.upstream.requests[0].start == "GET /abs?x HTTP/1.1"


def test_without_a_server_name_the_connect_decides(world: World) -> None:  # X08
    assert world.open(name=None).ask(get("/", BEARER)).status == 200
    assert world.upstream.requests[0].one("host") == "api.mock.test"


def test_clear_text_to_a_routed_host_is_told_to_use_https(world: World) -> None:  # X09
    wire = world.dial()
    wire.send(b"GET http://api.mock.test/ HTTP/1.1\r\nHost: api.mock.test\r\n" + world.auth() + b"\r\n")
    answer = wire.message(answers="GET")
    assert answer.status == 403
    assert b"https" in answer.body
    assert answer.one("x-authsome-error") == "https_required"


def test_an_absolute_https_url_is_told_to_use_connect(world: World) -> None:  # X10
    for host in (b"api.mock.test", b"evil.mock.test"):
        wire = world.dial()
        wire.send(b"GET https://api.mock.test/ HTTP/1.1\r\nHost: " + host + b"\r\n" + world.auth() + b"\r\n")
        assert wire.message(answers="GET").status == 400
    assert not world.upstream.requests


def test_clear_text_inside_a_connect_is_refused(world: World) -> None:  # X11
    wire, answer = world.connect("api.mock.test:80")
    assert answer.status == 403
    wire, answer = world.connect()
    assert answer.status == 200
    assert wire.ask(get("/", BEARER)).status == 400
    assert wire.is_closed()
    assert not world.upstream.requests


def test_a_port_that_is_not_routed_is_refused(world: World) -> None:  # X12
    _, answer = world.connect("api.mock.test:8443")
    assert answer.status == 403
    assert answer.one("x-authsome-error") == "port_not_routed"


@pytest.mark.parametrize("spelling", ["API.MOCK.TEST", "Api.mock.test", "api.mock.test."])
def test_spellings_of_one_host_are_one_host(world: World, spelling: str) -> None:  # X13 X14
    wire = world.open(f"{spelling}:443", name="api.mock.test")
    assert wire.ask(get("/", BEARER, host=spelling)).status == 200
    assert world.open(name=spelling.upper().rstrip(".")).ask(get("/", BEARER)).status == 200
    assert [r.one("host") for r in world.upstream.requests] == ["api.mock.test"] * 2


@pytest.mark.parametrize(
    "authority",
    [
        "api.mock.test:443@evil.mock.test:443",  # X16
        "api.mock.test:x@evil.mock.test:443",
        "evil%00.api.mock.test:443",  # X17
        "api.mock.test%2eevil:443",
        "api.mock.test#@evil:443",
        "api.mock.test\\@evil:443",
        "api.mock\ttest:443",
        "a" * 64 + ".test:443",
        "a." * 127 + "ab:443",
        "2130706434:443",  # X18
        "0x7f000002:443",
        "0177.0.0.2:443",
        "[fe80::1%eth0]:443",  # X19
        "::1:443",
        "[::1",
        "[v1.x]:1",
        "api.mock.test",
        "api.mock.test:0",
        "api.mock.test:65536",
        "аpi.mock.test:443",  # X15: a Cyrillic letter, raw
    ],
)
def test_an_authority_that_can_be_misread_is_refused(world: World, authority: str) -> None:
    wire = world.dial()
    wire.send(b"CONNECT " + authority.encode() + b" HTTP/1.1\r\nHost: x\r\n" + world.auth() + b"\r\n")
    assert wire.head().status == 400
    assert not world.upstream.connections


def test_a_wildcard_covers_one_label(world: World) -> None:  # X20
    world.lend(lendable("mock", routes=("*.mock.test",)))
    world.token = world.run("r2")
    world.options.resolve["a.b.mock.test"] = world.upstream.address
    assert world.open("evil.mock.test:443").ask(get("/", host="evil.mock.test")).status == 200
    _, answer = world.connect("a.b.mock.test:443")
    assert answer.status == 200
    with pytest.raises(ssl.SSLCertVerificationError), bundle_of(world.pki.pem) as bundle:  # a tunnel: the real one
        world.open("a.b.mock.test:443", bundle=bundle)


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("/v1/../admin", "/admin"),
        ("/v1/./x", "/v1/x"),
        ("//v1", "//v1"),
        ("/V1", "/V1"),
        ("/v1x", "/v1x"),
        ("/v1;x/..", "/"),
    ],
)
def test_what_is_decided_on_is_what_is_sent(world: World, path: str, sent: str) -> None:  # X21
    world.lend(lendable("mock", routes=("api.mock.test/v1",)))
    assert world.open().ask(get(path)).status == 200
    assert world.upstream.requests[0].target == sent
    assert bool(world.upstream.requests[0].all("authorization")) == sent.startswith("/v1/")


@pytest.mark.parametrize("path", ["/v1%2f..%2fadmin", "/v1/%2e%2e/admin", "/v1\\..\\admin", "/v1/%00", "/v1/..;/x"])
def test_a_path_that_can_be_misread_is_refused(world: World, path: str) -> None:  # X21
    world.lend(lendable("mock", routes=("api.mock.test/v1",)))
    assert world.open().ask(get(path, BEARER)).status == 400
    assert not world.upstream.requests


def test_two_providers_of_one_route_are_refused_by_name(world: World) -> None:  # X22 P19
    world.lend(lendable("mock"), lendable("twin"))
    answer = world.open().ask(get("/", BEARER))
    assert answer.status == 409
    assert b"mock" in answer.body
    assert b"twin" in answer.body
    assert not world.upstream.requests


def test_a_redirect_does_not_carry_the_credential_along(world: World) -> None:  # X23 P3
    def redirect(wire: Wire, _: Message) -> None:
        wire.send(b"HTTP/1.1 302 Found\r\nLocation: https://api.mock.test/out\r\nContent-Length: 0\r\n\r\n")

    world.upstream.handler = redirect
    world.lend(lendable("mock", routes=("api.mock.test/v1",)))
    wire = world.open()
    assert wire.ask(get("/v1", BEARER)).status == 302
    answer = wire.ask(get("/out", BEARER))  # the client follows, placeholder and all
    assert answer.status == 403
    assert answer.one("x-authsome-error") == "placeholder_refused"
    assert len(world.upstream.requests) == 1


def test_a_server_cannot_lead_the_client_past_the_proxy(world: World) -> None:  # X25
    world.upstream.handler = lambda wire, _: wire.send(
        b'HTTP/1.1 200 OK\r\nAlt-Svc: h3=":443"\r\nX-Authsome-Error: forged\r\nX-Other: y\r\nContent-Length: 0\r\n\r\n'
    )
    answer = world.open().ask(get("/"))
    assert answer.one("x-other") == "y"
    assert not answer.all("alt-svc")
    assert not answer.all("x-authsome-error")


@pytest.mark.parametrize(
    "field",
    [
        BEARER.replace(PLACEHOLDER, "sk-other-placeholder"),  # another provider's
        BEARER.replace(PLACEHOLDER, f"{PLACEHOLDER}-x"),  # of our form, but none
        BEARER.replace(PLACEHOLDER, f"{PLACEHOLDER}:nobody"),
        f"Cookie: a={PLACEHOLDER}",
        f"X-Other: {PLACEHOLDER}",
    ],
)
def test_a_placeholder_where_it_does_not_belong_goes_nowhere(world: World, field: str) -> None:  # X71 P3
    world.lend(
        lendable("mock"),
        lendable("other", routes=("other.mock.test",), placeholder="sk-other-placeholder"),
    )
    answer = world.open().ask(get("/", field))
    assert answer.status == 403
    assert not world.upstream.requests


def test_a_placeholder_for_an_unrouted_host_in_clear_text_goes_nowhere(world: World) -> None:  # X71 P3
    for target, field in (
        ("/", f"Authorization: Bearer {PLACEHOLDER}"),
        ("/", "Authorization: Basic YXV0aHNvbWUtcHJveHktbWFuYWdlZDo="),
        (f"/?key={PLACEHOLDER}", "A: b"),
        ("/%61uthsome-proxy-managed", "A: b"),
    ):
        wire = world.dial()
        wire.send(
            f"GET http://plain.mock.test{target} HTTP/1.1\r\nHost: plain.mock.test\r\n{field}\r\n".encode()
            + world.auth()
            + b"\r\n"
        )
        assert wire.message(answers="GET").status == 403
    assert not world.plain.requests


def test_an_attackers_provider_does_not_get_a_placeholder_of_ours(world: World) -> None:  # X72
    world.lend(
        lendable("mock", placeholder="mock-shaped-placeholder"),
        lendable("attacker", routes=("evil.mock.test",)),
    )
    answer = world.open("evil.mock.test:443").ask(
        get("/", "Authorization: Bearer mock-shaped-placeholder", host="evil.mock.test")
    )
    assert answer.status == 403
    assert not world.upstream.requests


def test_a_connection_is_chosen_by_suffix_header_and_default(world: World) -> None:
    world.lend(lendable("mock"), lendable("mock", "work", default=False))
    wire = world.open()
    wire.ask(get("/", BEARER))
    wire.ask(get("/", f"{BEARER}:work"))
    wire.ask(get("/", "X-Authsome-Connection: work"))
    assert [r.one("authorization") for r in world.upstream.requests] == [
        f"Bearer {world.secret}", f"Bearer {world.secret}-work", f"Bearer {world.secret}-work",
    ]  # fmt: skip
    assert not any(r.all("x-authsome-connection") for r in world.upstream.requests)


def test_a_needed_choice_is_told_with_the_names(world: World) -> None:
    world.lend(lendable("mock", "home", default=False), lendable("mock", "work", default=False))
    answer = world.open().ask(get("/", BEARER))
    assert answer.status == 409
    assert answer.one("x-authsome-error") == "connection_choice_needed"
    assert b"home, work" in answer.body


def test_a_pinned_connection_is_not_exchanged_for_another(world: World) -> None:
    world.lend(lendable("mock"), lendable("mock", "work", default=False))
    token = world.run("r2", choices={"mock": "work"})
    wire = world.open(token=token)
    assert wire.ask(get("/", f"{BEARER}:default")).status == 403
    assert wire.ask(get("/", BEARER)).status == 200
    assert world.upstream.requests[0].one("authorization") == f"Bearer {world.secret}-work"


def test_a_provider_outside_the_run_lends_nothing(world: World) -> None:
    wire = world.open(token=world.run("r2", only=frozenset({"another"})))
    assert wire.ask(get("/", BEARER)).status == 403
    assert wire.ask(get("/")).status == 200
    assert not world.upstream.requests[0].all("authorization")


def test_another_header_takes_the_place_of_every_credential_the_child_sent(world: World) -> None:
    world.lend(lendable("mock", injections=(HeaderInjection("X-Api-Key", ""),)))
    world.open().ask(get("/", BEARER, f"x-api-key: {PLACEHOLDER}", "X-API-KEY: mine", "Authorization: Basic eDp5"))
    (request,) = world.upstream.requests
    assert request.one("x-api-key") == world.secret
    assert not request.all("authorization")
