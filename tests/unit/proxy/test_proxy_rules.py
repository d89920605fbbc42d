"""Properties of the decision, the addresses that are dialled, and the server name in a ClientHello."""

import ssl
import string

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from authsome.model.authority import Authority
from authsome.model.injection import HeaderInjection, Injection, QueryInjection
from authsome.model.placeholder import PLACEHOLDER
from authsome.model.route import Route
from authsome.model.secret import Secret
from authsome.proxy.rules.address import Purpose, refuse_address, refuse_name
from authsome.proxy.rules.decide import Deny, Inject, Request, Terms, Tunnel, decide, decide_plain
from authsome.proxy.rules.framing import frame_request
from authsome.proxy.rules.head import BadMessage, RequestReader
from authsome.proxy.rules.hello import Hello, server_name
from authsome.proxy.rules.inject import outline, plain_head
from authsome.proxy.rules.table import Lendable, Places, RouteTable
from authsome.proxy.rules.target import BadTarget, parse_origin

HOSTS = ["api.mock.test", "b.mock.test", "mock.test", "evil.test", "a.b.mock.test", "192.0.2.1"]
PATHS = ["/", "/v1", "/v1/x", "/v1x", "/v2", "//v1", "/v1/../v2", "/v1/%2e%2e/x", "/v1%2fx", "/v1;a/..", "/V1"]
ROUTES = ["api.mock.test", "api.mock.test/v1", "*.mock.test", "*.mock.test/v1", "192.0.2.1", "api.mock.test:8443"]
PLACEHOLDERS = [PLACEHOLDER, f"{PLACEHOLDER}:work", "sk-shaped-a", "sk-shaped-b", f"{PLACEHOLDER}-", "own"]

routes = st.lists(st.sampled_from(ROUTES), min_size=1, max_size=3, unique=True)
injections: st.SearchStrategy[tuple[Injection, ...]] = st.sampled_from(
    [(HeaderInjection("Authorization"),), (HeaderInjection("X-Api-Key", ""),), (QueryInjection("key"),)]
)


@st.composite
def tables(draw: st.DrawFn) -> RouteTable:
    return RouteTable(
        Lendable(
            provider=provider,
            connection=connection,
            is_default=connection == "default",
            usable=draw(st.booleans()),
            routes=tuple(Route.parse(text) for text in draw(routes)),
            injections=draw(injections),
            placeholder={"a": "sk-shaped-a", "b": "sk-shaped-b"}.get(provider, PLACEHOLDER),
        )
        for provider in draw(st.lists(st.sampled_from("abc"), unique=True, max_size=3))
        for connection in draw(st.lists(st.sampled_from(["default", "work"]), unique=True, min_size=1))
    )


values = st.one_of(
    st.builds("{}{}".format, st.sampled_from(["Bearer ", "", "token ", "a="]), st.sampled_from(PLACEHOLDERS)),
    st.text(string.ascii_letters + string.digits + " =:;,/", max_size=20),
)
names = st.sampled_from(["Authorization", "X-Api-Key", "Cookie", "X-Authsome-Connection", "Connection", "X-Other"])


@st.composite
def requests(draw: st.DrawFn) -> tuple[Authority, bytes]:
    authority = Authority(draw(st.sampled_from(HOSTS)), draw(st.sampled_from([443, 8443])))
    query = draw(
        st.one_of(st.just(""), st.builds("?{}={}".format, st.sampled_from(["key", "q"]), st.sampled_from(PLACEHOLDERS)))
    )
    path = draw(st.sampled_from(PATHS)) + draw(st.sampled_from(["", "", f"/{PLACEHOLDER}"]))
    fields = draw(st.lists(st.tuples(names, values), max_size=4))
    lines = [f"GET {path}{query} HTTP/1.1", "Host: x", *(f"{name}: {value}" for name, value in fields), "", ""]
    return authority, "\r\n".join(lines).encode()


terms = st.builds(
    Terms,
    st.one_of(st.none(), st.frozensets(st.sampled_from("abc"))),
    st.dictionaries(st.sampled_from("abc"), st.sampled_from(["default", "work"])),
    tables(),
)


def naive_cover(route: Route, authority: Authority, path: str) -> bool:
    """What a route covers, written a second time and simply."""
    labels, wanted = authority.host.split("."), route.host.split(".")
    if wanted[0] == "*" and len(labels) == len(wanted):
        labels[0] = "*"
    segments, prefix = path.split("/"), route.path.rstrip("/").split("/")
    return labels == wanted and authority.port == route.port and segments[: len(prefix)] == prefix


@settings(max_examples=1500, deadline=None)
@given(tables(), terms, requests())
@example(
    RouteTable([Lendable("a", "default", True, True, (Route.parse("api.mock.test/v1"),), ())]),
    Terms(),
    (Authority("api.mock.test", 443), b"GET /v1%2f..%2fx HTTP/1.1\r\nHost: x\r\n\r\n"),
)
def test_nothing_is_injected_where_no_route_leads_and_no_placeholder_leaves(
    table: RouteTable, terms: Terms, asked: tuple[Authority, bytes]
) -> None:  # P1 P3
    authority, text = asked
    try:
        head = RequestReader().read(text)
        target = parse_origin(head.target)
        framing = frame_request(head)
    except (BadTarget, BadMessage):
        return
    request = Request("GET", authority, target, head.fields, head.text)
    decision = decide(table, terms, request)
    if isinstance(decision, Deny):
        return
    if isinstance(decision, Tunnel):
        sent = plain_head(request, framing, b"x")
    else:
        lendable = decision.lendable
        assert lendable in table.lendables
        assert lendable.usable
        assert any(naive_cover(route, authority, target.path) for route in lendable.routes)
        assert terms.only is None or lendable.provider in terms.only
        assert terms.choices.get(lendable.provider, lendable.connection) == lendable.connection
        sent = outline(request, framing, decision).complete(Secret("the-credential"))
        assert sent.count(b"the-credential") == 1
    assert b"authsome-proxy-managed" not in sent
    assert not any(each.placeholder.encode() in sent for each in table.lendables)


@settings(max_examples=500, deadline=None)
@given(tables(), terms, requests())
def test_clear_text_never_gets_a_credential(table: RouteTable, terms: Terms, asked: tuple[Authority, bytes]) -> None:
    authority, text = asked
    try:
        head = RequestReader().read(text)
        request = Request("GET", authority, parse_origin(head.target), head.fields, head.text)
    except (BadTarget, BadMessage):
        return
    decision = decide_plain(table, terms, request)
    assert not isinstance(decision, Inject)
    if isinstance(decision, Tunnel):
        assert not table.claims(authority.host)


@settings(max_examples=2000, deadline=None)
@given(st.text("/.%2eEfF5cC;aV1\\?#\x00 é", max_size=24))
def test_a_normalised_path_stays_what_it_is(text: str) -> None:  # X21
    try:
        target = parse_origin("/" + text)
    except BadTarget:
        return
    assert parse_origin(target.path) == (target.path, "")
    segments = target.path.replace("%2f", "/").replace("%2F", "/").split("/")
    assert not {".", ".."} & {segment.partition(";")[0] for segment in segments}
    assert "\\" not in target.path
    assert target.path.isascii()


@pytest.mark.parametrize(
    ("address", "purpose", "port", "refused"),
    [
        ("192.0.2.10", Purpose.ROUTED, 443, False),
        ("10.1.2.3", Purpose.ROUTED, 443, False),
        ("2001:db8::1", Purpose.ROUTED, 443, False),
        ("127.0.0.1", Purpose.ROUTED, 443, True),
        ("::1", Purpose.ROUTED, 443, True),
        ("::ffff:127.0.0.1", Purpose.ROUTED, 443, True),
        ("127.0.0.1", Purpose.TUNNEL, 443, False),
        ("127.0.0.1", Purpose.TUNNEL, 7998, True),
        ("::ffff:7f00:1", Purpose.TUNNEL, 7998, True),
        ("192.0.2.10", Purpose.TUNNEL, 7998, False),
        ("169.254.169.254", Purpose.TUNNEL, 80, True),
        ("64:ff9b::a9fe:a9fe", Purpose.TUNNEL, 80, True),
        ("169.254.0.1", Purpose.TUNNEL, 80, True),
        ("0.0.0.0", Purpose.TUNNEL, 80, True),
        ("ff02::1", Purpose.TUNNEL, 80, True),
        ("255.255.255.255", Purpose.ROUTED, 80, True),
    ],
)
def test_an_address_is_dialled_or_not(address: str, purpose: Purpose, port: int, refused: bool) -> None:  # X24 X66
    assert bool(refuse_address(address, port, purpose, frozenset({7998}))) == refused


def test_a_metadata_name_is_not_even_resolved() -> None:  # X66
    assert refuse_name("metadata.google.internal")
    assert not refuse_name("api.mock.test")


def client_hello(name: str | None) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    outgoing = ssl.MemoryBIO()
    tls = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


def test_the_server_name_is_read_out_of_a_real_hello() -> None:  # X05
    hello = client_hello("api.mock.test")
    assert server_name(hello) == "api.mock.test"
    assert server_name(hello + b"more") == "api.mock.test"
    assert server_name(client_hello(None)) is Hello.NAMELESS
    for end in range(len(hello)):
        assert server_name(hello[:end]) is Hello.INCOMPLETE


def test_a_hello_may_lie_across_records() -> None:
    hello = client_hello("api.mock.test")
    message = hello[5:]
    halves = [message[:50], message[50:]]
    split = b"".join(hello[:3] + len(half).to_bytes(2) + half for half in halves)
    assert server_name(split) == "api.mock.test"
    assert server_name(split[:60]) is Hello.INCOMPLETE


def test_what_is_no_hello_is_told_apart() -> None:
    assert server_name(b"SSH-2.0-x\r\n") is Hello.NOT_TLS
    assert server_name(b"\x16\x03\x01\x00\x04\x02\x00\x00\x00") is Hello.NOT_TLS  # a ServerHello
    assert server_name(b"\x16\x03\x01\x00\x04\x01\x00\x00\x00") is Hello.NOT_TLS  # an empty one
    assert server_name(b"\x16\x03\x01\x00\x00" * 20000) is Hello.NOT_TLS  # never a message


@given(st.binary(max_size=200), st.binary(max_size=400))
def test_no_bytes_upset_the_reader_of_hellos(start: bytes, rest: bytes) -> None:
    server_name(start)
    message = b"\x01" + len(rest).to_bytes(3) + rest
    server_name(b"\x16\x03\x01" + len(message).to_bytes(2) + message)


@given(st.integers(0, 600), st.integers(0, 255))
def test_a_damaged_hello_does_not_upset_it(at: int, value: int) -> None:
    hello = bytearray(client_hello("api.mock.test"))
    hello[at % len(hello)] = value
    server_name(bytes(hello))


def test_a_pattern_of_hosts_is_asked_once_per_host_and_remembers_a_bounded_number() -> None:  # P17
    route = Route.parse(r"regex:^[a-z0-9-]+\.mock\.test$")
    table = RouteTable([Lendable("a", "default", True, True, (route,), ())])
    for number in range(1100):
        for _ in range(2):
            assert len(table.claims(f"h{number}.mock.test")) == 1
            assert not table.claims(f"h{number}.other.test")
    assert len(table._seen) == 1024


def test_a_provider_without_a_connection_has_no_places() -> None:
    assert RouteTable().places("nobody") == Places(frozenset(), frozenset())
