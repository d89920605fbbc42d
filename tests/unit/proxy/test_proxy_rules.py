"""What a path is normalised to, the addresses that are dialled, the table, and the server name in a ClientHello."""

import dataclasses
import ssl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authsome.model.authority import Authority
from authsome.model.injection import HeaderInjection
from authsome.model.route import Route
from authsome.proxy.rules.address import Purpose, refuse_address, refuse_name
from authsome.proxy.rules.decide import Deny, Request, Terms, decide
from authsome.proxy.rules.hello import Hello, server_name
from authsome.proxy.rules.table import Lendable, Places, RouteTable
from authsome.proxy.rules.target import BadTarget, parse_origin


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


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("https://api.mock.test/oauth/token", "/oauth/token"),
        ("https://API.mock.test:443/oauth/token?tenant=a", "/oauth/token"),
        ("https://api.mock.test", "/"),
        ("https://api.mock.test/%7Eme/./token", "/~me/token"),  # paths are compared in their normal form
    ],
)
def test_a_token_endpoint_is_known_by_its_place(url: str, path: str) -> None:
    table = RouteTable([Lendable("a", "default", True, True, (), (), token_url=url)])
    assert table.hands_out_tokens("api.mock.test", path)
    assert not table.hands_out_tokens("b.mock.test", path)
    assert not table.hands_out_tokens("api.mock.test", path + "x")


def test_what_is_no_url_is_no_token_endpoint() -> None:
    table = RouteTable(Lendable("a", "x", True, True, (), (), token_url=url) for url in (None, "", "https://[/token"))
    assert not table.hands_out_tokens("", "/token")


def test_a_provider_without_a_connection_has_no_places() -> None:
    assert RouteTable().places("nobody") == Places(frozenset(), frozenset())


@pytest.mark.parametrize(
    ("routes", "path", "clash"),
    [
        ({"a": ["api.mock.test"], "b": ["api.mock.test"]}, "/x", "a and b both claim api.mock.test"),
        ({"a": ["*.mock.test"], "b": ["*.mock.test"]}, "/x", "a and b both claim *.mock.test"),
        ({"a": ["api.mock.test/v1", "api.mock.test"], "b": ["api.mock.test/v1"]}, "/v1/x",
         "a and b both claim api.mock.test/v1"),
        ({name: ["api.mock.test"] for name in "cab"}, "/x", "a, b and c all claim api.mock.test"),
        ({"a": ["api.mock.test"], "b": ["*.mock.test"]}, "/x", None),
        ({"a": ["api.mock.test"], "b": ["api.mock.test/v1"]}, "/v1", None),
        ({"a": ["api.mock.test"], "b": ["api.mock.test:8443"]}, "/x", None),
        ({"a": ["api.mock.test"]}, "/x", None),
    ],
)  # fmt: skip
def test_what_clashes_is_what_is_refused_as_ambiguous(
    routes: dict[str, list[str]], path: str, clash: str | None
) -> None:  # X22
    table = RouteTable(
        Lendable(provider, connection, False, True, tuple(map(Route.parse, texts)), ())
        for provider, texts in routes.items()
        for connection in ("one", "two")  # connections of one provider are no clash
    )
    decision = decide(
        table, Terms(), Request("GET", Authority("api.mock.test", 443), parse_origin(path), [], path.encode())
    )
    assert isinstance(decision, Deny)  # without a clash because no connection is the default
    assert [str(each) for each in table.clashes()] == ([clash] if decision.error == "ambiguous_provider" else [])
    assert (clash is None) == (decision.error != "ambiguous_provider")


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({}, True),
        ({"usable": False, "is_default": False, "placeholder": "x"}, True),
        ({"since": 2.0}, False),
        ({"connection": "work"}, False),
        ({"routes": (Route("other.mock.test"),)}, False),
        ({"injections": ()}, False),
    ],
)
def test_a_login_anew_or_one_that_goes_elsewhere_is_another(change: dict[str, object], same: bool) -> None:  # P18
    before = Lendable("mock", "default", True, True, (Route("api.mock.test"),), (HeaderInjection("Authorization"),))
    assert dataclasses.replace(before, **change).is_as_before(before) is same  # type: ignore[arg-type]
