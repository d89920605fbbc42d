"""An isolated run: which hosts it reaches, which addresses its names lead to, and the answers of its resolver (P5)."""

import ipaddress

import pytest

from authsome.model.authority import Authority
from authsome.model.injection import HeaderInjection
from authsome.model.route import Route
from authsome.proxy.rules.address import Purpose, refuse_address
from authsome.proxy.rules.decide import (
    INTERCEPT,
    TUNNEL,
    Deny,
    Request,
    Terms,
    decide_connect,
    decide_plain,
    may_reach,
)
from authsome.proxy.rules.dns import Question, Verdict, answer, read_question
from authsome.proxy.rules.table import Lendable, RouteTable
from authsome.proxy.rules.target import parse_absolute


def table(**routes: str) -> RouteTable:
    return RouteTable(
        Lendable(
            provider=provider,
            connection="default",
            is_default=True,
            usable=True,
            routes=(Route.parse(route),),
            injections=(HeaderInjection("Authorization", "Bearer"),),
        )
        for provider, route in routes.items()
    )


TABLE = table(mock="api.mock.test", other="*.other.test")
HOSTS = frozenset({"plain.test", "*.wild.test", "192.0.2.1"})


@pytest.mark.parametrize(
    ("host", "reached"),
    [
        ("plain.test", True),
        ("sub.plain.test", False),
        ("a.wild.test", True),
        ("a.b.wild.test", True),
        ("wild.test", False),
        ("evilwild.test", False),
        ("192.0.2.1", True),
        ("192.0.2.2", False),
        ("api.mock.test", True),
        ("x.other.test", True),
        ("evil.test", False),
    ],
)
def test_only_what_is_routed_or_allowed_is_reached(host: str, reached: bool) -> None:  # X80
    terms = Terms(hosts=HOSTS)
    assert terms.isolated and not Terms().isolated
    assert may_reach(TABLE, terms, host) is reached
    assert may_reach(TABLE, Terms(), host)
    decision = decide_connect(TABLE, terms, Authority(host, 443))
    assert isinstance(decision, Deny) is not reached
    if isinstance(decision, Deny):
        assert (decision.status, decision.error) == (403, "host_not_allowed") and host in decision.hint


def test_what_is_not_lent_is_not_routed_for_it() -> None:
    terms = Terms(only=frozenset({"mock"}), hosts=frozenset())
    assert decide_connect(TABLE, terms, Authority("api.mock.test", 443)) is INTERCEPT
    assert isinstance(decide_connect(TABLE, terms, Authority("x.other.test", 443)), Deny)
    assert decide_connect(TABLE, Terms(hosts=HOSTS), Authority("plain.test", 8443)) is TUNNEL


def test_what_was_routed_when_it_began_stays_in_reach() -> None:
    assert may_reach(RouteTable(), Terms(hosts=frozenset(), began=TABLE), "api.mock.test")


@pytest.mark.parametrize(("url", "error"), [("http://plain.test/", ""), ("http://evil.test/", "host_not_allowed")])
def test_clear_text_obeys_the_same_policy(url: str, error: str) -> None:
    _, authority, target = parse_absolute(url)
    decision = decide_plain(TABLE, Terms(hosts=HOSTS), Request("GET", authority, target, [], b""))
    assert (decision.error if isinstance(decision, Deny) else "") == error


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "127.9.9.9"])
def test_no_name_leads_an_isolated_run_to_this_machine(address: str) -> None:  # X24
    for purpose in Purpose:
        refused = refuse_address(address, 6379, purpose, frozenset()) != ""
        assert refused is (purpose not in (Purpose.TUNNEL, Purpose.CLEAR))
        assert refuse_address("192.0.2.1", 443, purpose, frozenset()) == ""
    assert [purpose for purpose in Purpose if purpose.is_clear] == [Purpose.CLEAR, Purpose.ISOLATED_CLEAR]


def query(name: str, kind: int = 1, space: int = 1, flags: int = 0x0100, count: int = 1) -> bytes:
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split(".") if part)
    head = b"\x12\x34" + flags.to_bytes(2) + count.to_bytes(2) + bytes(6)
    return head + labels + b"\0" + kind.to_bytes(2) + space.to_bytes(2)


@pytest.mark.parametrize(
    ("name", "host"),
    [("Api.Mock.Test", "api.mock.test"), ("a_b.test", "a_b.test"), ("bad-.test", ""), ("b\u00fccher.test", "")],
)
def test_a_question_has_one_host_or_none(name: str, host: str) -> None:
    message = query(name) if name.isascii() else query("xxxxxx.test").replace(b"xxxxxx", b"\xc3\xbcx\xc3\xbcx"[:6])
    question = read_question(message)
    assert isinstance(question, Question)
    assert (question.host, question.wants_address, question.number) == (host, True, b"\x12\x34")


def test_only_addresses_of_the_internet_are_wanted() -> None:
    for kind, space, wanted in ((1, 1, True), (28, 1, False), (65, 1, False), (1, 3, True)):
        question = read_question(query("api.mock.test", kind, space))
        assert isinstance(question, Question)
        assert question.wants_address is wanted
        assert question.host == ("api.mock.test" if space == 1 else "")


@pytest.mark.parametrize(
    ("message", "verdict"),
    [
        (b"", None),
        (query("a.test")[:11], None),
        (query("a.test", flags=0x8100), None),  # an answer
        (query("a.test", flags=0x2800), Verdict.NOT_DONE),  # an update
        (query("a.test", count=0), Verdict.MALFORMED),
        (query("a.test", count=2), Verdict.MALFORMED),
        (query("a.test")[:-1], Verdict.MALFORMED),
        (query("a.test")[:14], Verdict.MALFORMED),
        (query("a.test")[:12] + b"\xc0\x0c\0\1\0\1", Verdict.MALFORMED),  # a pointer
    ],
)
def test_what_is_no_question_is_answered_as_such(message: bytes, verdict: Verdict | None) -> None:
    reply = read_question(message)
    if verdict is None:
        assert reply is None
    else:
        assert isinstance(reply, bytes)
        assert reply[:2] == b"\x12\x34" and reply[2] & 0x80 and reply[3] & 0x0F == verdict
        assert len(reply) == 12 and reply[4:] == bytes(8)


def test_an_answer_repeats_the_question_and_holds_one_address() -> None:
    message = query("api.mock.test")
    question = read_question(message)
    assert isinstance(question, Question)
    found = answer(question, Verdict.FOUND, "198.18.0.7")
    assert found[:4] == b"\x12\x34\x81\x80" and found[4:12] == b"\0\1\0\1" + bytes(4)
    assert found[12 : 12 + len(message) - 12] == message[12:]
    record = found[len(message) :]
    assert record[:6] == b"\xc0\x0c\0\1\0\1" and int.from_bytes(record[6:10]) == 5
    assert ipaddress.ip_address(record[12:]) == ipaddress.ip_address("198.18.0.7")
    none = answer(question, Verdict.NO_SUCH_NAME)
    assert none[3] & 0x0F == 3 and none[6:8] == b"\0\0" and none[12:] == message[12:]
