"""One host and port, parsed once: what is one destination is equal, everything else is refused (P2)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authsome.model.authority import Authority, BadAuthority, normal_host

API = Authority("api.mock.test", 443)

SAME = [  # P2, X13, X14
    "api.mock.test",
    "api.mock.test:443",
    "API.MOCK.TEST",
    "Api.mock.test:443",
    "api.mock.test.",
    "api.mock.test.:443",
    "api.mock.test:0443",
]

OTHERS = [  # X12, X15, X18, X19: good, but another destination
    ("api.mock.test:8443", Authority("api.mock.test", 8443)),
    ("\u0430pi.mock.test", Authority("xn--pi-6kc.mock.test", 443)),
    ("b\u00fccher.example", Authority("xn--bcher-kva.example", 443)),
    ("B\u00dcCHER.example", Authority("xn--bcher-kva.example", 443)),
    ("stra\u00dfe.example", Authority("xn--strae-oqa.example", 443)),
    ("127.0.0.2", Authority("127.0.0.2", 443)),
    ("127.0.0.2.", Authority("127.0.0.2", 443)),
    ("[::1]:443", Authority("::1", 443)),
    ("[::1]", Authority("::1", 443)),
    ("[0:0:0:0:0:0:0:1]:8443", Authority("::1", 8443)),
    ("[2001:DB8::A]", Authority("2001:db8::a", 443)),
    ("_dmarc.mock.test", Authority("_dmarc.mock.test", 443)),
    ("localhost:7998", Authority("localhost", 7998)),
    ("a" * 63 + ".test", Authority("a" * 63 + ".test", 443)),
]

REFUSED = [
    # X16: user information
    "api.mock.test:443@evil.mock.test:443",
    "api.mock.test:x@evil:443",
    "api@evil.mock.test",
    "@evil.mock.test",
    # X17: encodings, blanks, lengths
    "evil%00.api.mock.test:443",
    "api.mock.test%2eevil",
    "api.mock.test#@evil",
    "api.mock.test\\@evil",
    "api.mock.test/",
    "api.mock.test?",
    "api.mock.test\t",
    " api.mock.test",
    "api.mock .test",
    "api.mock.test\n",
    "api.mock.test\x00",
    "a" * 64 + ".mock.test",
    ".".join(["a" * 49] * 5) + ".test",
    "\u00fc" * 300,
    # X14: dots
    "",
    ".",
    "..",
    ".api.mock.test",
    "api..mock.test",
    "api.mock.test..",
    # X15: what UTS 46 folds to plain ASCII imitates another name
    "\uff41\uff50\uff49.mock.test",
    "api\u3002mock\u3002test",
    "a\u00adpi.mock.test",
    "api.mock.te\u200bst",
    "\u2460.mock.test",
    "api.mock.test\uff0eevil.test",
    "\u202eapi.mock.test",
    # X18: other spellings of an address
    "2130706434",
    "0x7f000002",
    "0X7F.0.0.2",
    "0177.0.0.2",
    "127.2",
    "127.0.0.256",
    "127.0.0.2.5",
    "1.2.3.0x4",
    "api.mock.0",
    # X19: brackets and zones
    "[fe80::1%eth0]:443",
    "::1:443",
    "::1",
    "[::1",
    "[::1]x",
    "[::1]443",
    "[v1.x]:1",
    "[127.0.0.1]",
    "[]",
    "[api.mock.test]",
    # ports
    "api.mock.test:",
    "[::1]:",
    "api.mock.test:0",
    "api.mock.test:65536",
    "api.mock.test:+443",
    "api.mock.test:-1",
    "api.mock.test:4 43",
    "api.mock.test:\u0664\u0664\u0663",
    "api.mock.test:443:443",
    "api.mock.test:99999999999",
    # labels
    "-api.mock.test",
    "api-.mock.test",
    "*.mock.test",
    "api,mock.test",
]


@pytest.mark.parametrize("text", SAME)
def test_one_destination_has_one_value(text: str) -> None:
    assert Authority.parse(text) == API


@pytest.mark.parametrize(("text", "expected"), OTHERS)
def test_another_destination_has_another_value(text: str, expected: Authority) -> None:
    assert Authority.parse(text) == expected
    assert expected != API


@pytest.mark.parametrize("text", REFUSED)
def test_what_could_be_read_in_two_ways_is_refused(text: str) -> None:
    with pytest.raises(BadAuthority):
        Authority.parse(text)


def test_an_ipv4_address_inside_an_ipv6_one_is_not_that_ipv4_address() -> None:  # X18
    assert Authority.parse("[::ffff:127.0.0.2]").host != "127.0.0.2"


@pytest.mark.parametrize(
    ("text", "is_ip"), [("127.0.0.1", True), ("[::1]", True), ("api.mock.test", False), ("1.example", False)]
)
def test_an_address_is_told_from_a_name(text: str, is_ip: bool) -> None:
    assert Authority.parse(text).is_ip is is_ip


@given(st.text(max_size=40) | st.from_regex(r"[a-z0-9.\[\]:%@-]{1,30}", fullmatch=True))
def test_parsing_what_was_parsed_changes_nothing(text: str) -> None:  # P2
    try:
        authority = Authority.parse(text)
    except BadAuthority:
        return
    assert Authority.parse(str(authority)) == authority
    assert Authority.parse(authority.netloc) == authority
    assert authority.host.isascii()
    assert not set(authority.host) & set("@/\\%#? \t")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://API.mock.test/v1?x#y", API),
        ("HTTPS://api.mock.test", API),
        ("https://api.mock.test:8443/", Authority("api.mock.test", 8443)),
        ("http://localhost/", Authority("localhost", 80)),
        ("https://[::1]?x", Authority("::1", 443)),
    ],
)
def test_a_url_has_the_authority_that_stands_between_its_slashes(url: str, expected: Authority) -> None:
    assert Authority.of_url(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.mock.test",
        "//api.mock.test",
        "javascript:alert(1)",
        "ftp://api.mock.test/",
        "https:api.mock.test",
        "https:///api.mock.test",
        "https://",
        "https://user@api.mock.test/",
        "https://api.mock.test\\@evil.test/",
        "https://evil.test\\.api.mock.test/",
        "https://api.mock.test/a b",
        "https://api.mock\n.test/",
        "https://api.mock.test:/",
        "https://\u0430pi.mock.test/",
    ],
)
def test_a_url_that_two_parsers_read_differently_is_refused(url: str) -> None:
    with pytest.raises(BadAuthority):
        Authority.of_url(url)


def test_a_host_alone_may_not_be_half_an_address() -> None:
    with pytest.raises(BadAuthority):
        normal_host("[::1")
