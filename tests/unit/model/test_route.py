"""Where a credential may go: three kinds of host, a port, a path prefix (P1, P17)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authsome.model.authority import Authority, BadAuthority
from authsome.model.route import Route, is_loopback_url

GOOD = [
    ("api.mock.test", Route("api.mock.test")),
    ("API.mock.test.", Route("api.mock.test")),
    ("https://api.mock.test", Route("api.mock.test")),
    ("https://api.mock.test/", Route("api.mock.test")),
    ("api.mock.test/v1/", Route("api.mock.test", path="/v1")),
    ("https://api.mock.test:8443/v1/x", Route("api.mock.test", 8443, "/v1/x")),
    ("api.mock.test/api/1.0", Route("api.mock.test", path="/api/1.0")),
    ("*.mock.test", Route("*.mock.test")),
    ("https://*.mock.test/v1", Route("*.mock.test", path="/v1")),
    ("*.example.co.uk", Route("*.example.co.uk")),
    ("[::1]:8443/v1", Route("::1", 8443, "/v1")),
    (r"regex:^[a-z0-9-]+\.mock\.test$", Route(r"regex:^[a-z0-9-]+\.mock\.test$")),
]

BAD = [
    "",
    "http://api.mock.test",
    "HTTPS://api.mock.test",
    "ftp://api.mock.test",
    "https:api.mock.test",
    "//api.mock.test",
    "user@api.mock.test",
    "api.mock.test?x",
    "api.mock.test#x",
    "api.mock.test/a b",
    "api.mock.test/v1%2fx",
    "api.mock.test/../x",
    "api.mock.test/./x",
    "api.mock.test/v1/..",
    "api.mock.test//x",
    "api.mock.test/v1\\x",
    "api.mock.test/v1;x",
    "api.mock.test/\u00fc",
    "api.mock.test/a\x00",
    "api.mock.test/*/x",
    "api.mock.test:0",
    # P17: a wildcard is the whole first label over at least two that one owner holds
    "*",
    "*.",
    "*.test",
    "*.co.uk",
    "*.com.au",
    "*mock.test",
    "a*.mock.test",
    "api.*.test",
    "*.*.mock.test",
    "**.mock.test",
    "*.127.0.0.1",
    "*.0.0.1",
    "*.[::1]",
]

BAD_PATTERNS = [
    (r"regex:", "between ^ and $"),
    (r"regex:api\.mock\.test", "between ^ and $"),
    (r"regex:^.*\.mock\.test", "between ^ and $"),
    (r"regex:.*\.mock\.test$", "between ^ and $"),
    (r"regex:^.*\.mock\.test\$", "between ^ and $"),
    (r"regex:^.*$", "literal domain"),
    (r"regex:^.*mock.test$", "literal domain"),
    (r"regex:^.*\.test$", "two literal labels"),
    (r"regex:^.*\.mock\.(test|example)$", "literal domain"),
    (r"regex:^api\.mock\.test|evil$", "literal domain"),
    (r"regex:^(api|evil\.test|x)\.co\.uk$", "many owners"),
    (r"regex:^.*\.mock\.tes?t$", "literal domain"),
    (r"regex:^.*\.mock\.test+$", "literal domain"),
    (r"regex:^.*\.Mock\.test$", "plain form"),
    (r"regex:^.*\.0\.1$", "usual form"),
    (r"regex:^.*[.]mock[.]test$", "literal domain"),
    (r"regex:^.*\\.mock\.test$", "two literal labels"),
    (r"regex:^.*\\\.mock\.test$", "two literal labels"),
    (r"regex:^(.*\.mock\.test)$", "literal domain"),
    (r"regex:^(.*\.mock\.test$", "missing )"),
    (r"regex:^[^\.mock\.test$", "missing ]"),
    (r"regex:^(a|b\.evil)\.mock\.test$", "within its first label"),
    (r"regex:^[a-z\.]+\.mock\.test$", "within its first label"),
    (r"regex:^a\.[a-z]+\.mock\.test$", "within its first label"),
    (r"regex:^[A-Z]+\.mock\.test$", "lower case"),
    (r"regex:^(?=x).*\.mock\.test$", "invalid perl operator"),
    (r"regex:^(a)\1\.mock\.test$", "invalid escape sequence"),
    (r"regex:^(a+)++\.mock\.test$", "bad repetition operator"),
    (r"regex:^" + "a" * 256 + r"\.mock\.test$", "at most 256 characters"),
]


@pytest.mark.parametrize(("text", "expected"), GOOD)
def test_a_route_is_read_and_written_the_same(text: str, expected: Route) -> None:
    route = Route.parse(text)
    assert route == expected
    assert Route.parse(str(route)) == route


@pytest.mark.parametrize("text", BAD)
def test_a_route_that_says_too_much_or_too_little_is_refused(text: str) -> None:
    with pytest.raises(BadAuthority):
        Route.parse(text)


@pytest.mark.parametrize(("text", "why"), BAD_PATTERNS)
def test_a_host_pattern_is_anchored_and_ends_in_a_literal_domain(text: str, why: str) -> None:  # P17
    with pytest.raises(BadAuthority) as refused:
        Route.parse(text)
    assert why in str(refused.value)


def _covers(route: str, host: str) -> bool:
    return Route.parse(route).covers_host(Authority.parse(host))


@pytest.mark.parametrize("host", ["a.mock.test", "A.Mock.Test", "a-b.mock.test.", "xn--pi-7kc.mock.test"])
def test_a_wildcard_matches_one_label(host: str) -> None:  # X20
    assert _covers("*.mock.test", host)


@pytest.mark.parametrize(
    "host", ["a.b.mock.test", "mock.test", "evilmock.test", "x.mock.test.evil.com", "mock.test.evil.com", "127.0.0.1"]
)
def test_a_wildcard_matches_nothing_else(host: str) -> None:  # X20
    assert not _covers("*.mock.test", host)


@pytest.mark.parametrize(
    ("host", "covered"),
    [
        ("eu-1.api.mock.test", True),
        ("EU-1.API.mock.test", True),
        ("eu.api.mock.test", False),
        ("x.eu-1.api.mock.test", False),
        ("eu-1.apixmock.test", False),
        ("eu-1.api.mock.test.evil.com", False),
        ("eu-11.api.mock.test", False),
    ],
)
def test_a_host_pattern_matches_the_whole_host(host: str, covered: bool) -> None:
    assert _covers(r"regex:^[a-z]{2}-\d\.api\.mock\.test$", host) is covered


@pytest.mark.parametrize(
    "part", [".*", r"[^x]*", ".+", "(a|.)*", "[.a-z]+", r"\D+", r"(?:a|\x2e|b)+", r"[!-~]+", "a|.*"]
)
def test_what_varies_in_a_host_pattern_stays_within_a_label(part: str) -> None:  # X20
    route = rf"regex:^{part}\.mock\.test$"
    assert _covers(route, "ab.mock.test")
    assert not _covers(route, "a.b.mock.test")
    assert not _covers(route, "evil.test.mock.test")


@pytest.mark.parametrize("host", ["evil.test", "evil", "b.evil.test", "evil.mock.test.evil.test"])
@pytest.mark.parametrize("text", [r"^evil|b\.mock\.test$", r"^evil\x2etest|b\.mock\.test$", r"^.*|b\.mock\.test$"])
def test_a_branch_of_a_host_pattern_does_not_lead_out_of_its_domain(text: str, host: str) -> None:  # P17, X20
    assert _covers(f"regex:{text}", "b.mock.test")
    assert not _covers(f"regex:{text}", host)


def test_a_hostile_host_pattern_comes_to_an_end() -> None:  # P17, X81
    route = Route.parse(r"regex:^(a+)+b\.mock\.test$")
    assert not route.covers_host(Authority.parse(f"{'a' * 60}.{'a' * 60}.mock.test"))
    assert route.covers_host(Authority.parse(f"{'a' * 60}b.mock.test"))


def test_ten_thousand_long_hosts_pass_a_hostile_host_pattern() -> None:  # P17, X81
    domain = ".".join(["a" * 61] * 3)
    route = Route.parse(rf"regex:^(a+)+b\.{domain.replace('.', chr(92) + '.')}$")
    long = Authority.parse(f"{'a' * 63}.{domain}")
    assert len(long.host) == 249
    assert not any(route.covers_host(long) for _ in range(10_000))
    assert route.covers_host(Authority.parse(f"{'a' * 62}b.{domain}"))


@pytest.mark.parametrize("text", ["api.mock.test", "*.mock.test", r"regex:^.+\.mock\.test$"])
def test_the_port_belongs_to_the_destination(text: str) -> None:  # X12
    route = Route.parse(text)
    assert route.covers_host(Authority("api.mock.test", 443))
    assert not route.covers_host(Authority("api.mock.test", 8443))
    assert not route.covers_host(Authority("api.mock.test", 80))


@pytest.mark.parametrize(
    ("path", "covered"),
    [
        ("/v1", True),
        ("/v1/", True),
        ("/v1/x", True),
        ("/v1x", False),
        ("/V1", False),
        ("/", False),
        ("/v2", False),
        ("//v1", False),
    ],
)
def test_a_path_prefix_ends_at_a_segment(path: str, covered: bool) -> None:  # X21
    assert Route.parse("api.mock.test/v1").covers_path(path) is covered


def test_the_more_specific_route_ranks_higher() -> None:
    texts = [
        "api.mock.test/v1/long",
        "api.mock.test/v1",
        "api.mock.test",
        "*.mock.test/v1/very/long/path",
        "*.mock.test",
        r"regex:^.+\.mock\.test$",
    ]
    routes = [Route.parse(text) for text in texts]
    assert sorted(routes, key=lambda route: route.rank, reverse=True) == routes


@given(st.from_regex(r"(\*\.)?[a-z0-9.-]{1,20}(:[0-9]{1,5})?(/[a-z.;%*]{0,6}){0,3}", fullmatch=True))
def test_what_a_connection_pins_reads_back_as_the_same_route(text: str) -> None:  # P18
    try:
        route = Route.parse(text)
    except BadAuthority:
        return
    assert Route.parse(str(route)) == route
    assert route.covers_path(route.path)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8080/x",
        "http://127.9.9.9",
        "http://localhost",
        "https://LOCALHOST./",
        "http://x.localhost:1",
        "http://[::1]:80/",
        "https://[::ffff:127.0.0.1]/",
    ],
)
def test_this_machine_is_known_by_its_names(url: str) -> None:
    assert is_loopback_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.evil.test",
        "http://127.0.0.1.evil.test",
        "http://localhost.evil.test",
        "http://evillocalhost",
        "http://10.0.0.1",
        "http://0.0.0.0",
        "http://user@127.0.0.1",
        "http://127.0.0.1\\.evil.test",
        "http://127.0.0.1\n.evil.test",
        "127.0.0.1",
        "",
    ],
)
def test_no_other_host_is_taken_for_this_machine(url: str) -> None:
    assert not is_loopback_url(url)
