"""Taking the injected value out of answers, however they are cut (P6)."""

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authsome.model.injection import BasicInjection, BodyInjection, HeaderInjection, PathInjection, QueryInjection
from authsome.model.secret import Secret
from authsome.proxy.rules.head import BadMessage
from authsome.proxy.rules.scrub import (
    Passage,
    TokenPassage,
    check_token_answer,
    coding_of,
    needles_of,
    overwrite,
    passage_kind,
)

VALUE = "abcabcabd-secret/value"
NEEDLES = (VALUE.encode(),)


def passed(pieces: list[bytes], **options: object) -> bytes:
    passage = Passage(NEEDLES, **options)  # type: ignore[arg-type]
    return b"".join([*(passage.feed(piece) for piece in pieces), passage.finish()])


def cut(whole: bytes, at: list[int]) -> list[bytes]:
    places = sorted({min(place, len(whole)) for place in at})
    return [whole[a:b] for a, b in zip([0, *places], [*places, len(whole)], strict=True)]


PART = st.one_of(st.sampled_from([VALUE.encode(), VALUE[:7].encode(), b"abcabc", b"a"]), st.binary(max_size=8))


@given(st.lists(PART, max_size=12), st.lists(st.integers(0, 200), max_size=20))
def test_however_a_body_is_cut_no_value_comes_through_and_no_length_changes(parts: list[bytes], at: list[int]) -> None:
    whole = b"".join(parts)
    seen = passed(cut(whole, at))
    assert seen == overwrite(whole, NEEDLES) == Passage(NEEDLES).whole(whole)
    assert VALUE.encode() not in seen and len(seen) == len(whole)


def test_a_value_is_covered_by_a_mark_of_its_length() -> None:
    assert passed([f"<{VALUE}>".encode()]) == b"<[redacted]" + b"*" * (len(VALUE) - 10) + b">"


def test_a_stream_is_not_held_back() -> None:  # X62
    passage = Passage(NEEDLES)
    assert passage.feed(b"data: event\n\n") == b"data: event\n\n"
    assert passage.feed(b"data: abc") == b"data: "  # could be the beginning
    assert passage.feed(b"d\n\n") == b"abcd\n\n"


@given(st.lists(st.integers(0, 400), max_size=20))
def test_a_coded_body_is_decoded_and_searched(at: list[int]) -> None:
    whole = b"before " * 20 + VALUE.encode() + b" after"
    for coded in (gzip.compress(whole), zlib.compress(whole)):
        assert passed(cut(coded, at), coding=b"gzip") == overwrite(whole, NEEDLES)


def test_chunks_are_made_anew() -> None:
    passage = Passage(NEEDLES, chunked=True)
    assert passage.feed(b"hello abc") == b"6\r\nhello \r\n"
    assert passage.finish([(b"x-sum", b"X-Sum", VALUE.encode())]) == (
        b"3\r\nabc\r\n0\r\nX-Sum: " + overwrite(VALUE.encode(), NEEDLES) + b"\r\n\r\n"
    )


def test_a_bomb_is_not_unpacked() -> None:  # X50
    with pytest.raises(BadMessage):
        passed([gzip.compress(bytes(64 << 20))], coding=b"gzip")
    with pytest.raises(BadMessage):
        passed([b"this is not gzip"], coding=b"gzip")


def test_a_bomb_of_many_small_members_is_not_unpacked() -> None:  # X50
    with pytest.raises(BadMessage):
        passed([gzip.compress(b"") * 2000], coding=b"gzip")
    with pytest.raises(BadMessage):
        passed([gzip.compress(bytes(16 << 20)) * 2], coding=b"gzip")


def test_zeros_may_pad_a_coded_body() -> None:
    whole = gzip.compress(b"content")
    assert passed([whole + bytes(40)], coding=b"gzip") == passed([whole, bytes(40)], coding=b"gzip") == b"content"


@given(st.lists(st.integers(0, 400), max_size=20))
def test_a_second_member_of_gzip_was_lost(at: list[int]) -> None:
    """RFC 1952 §2.2: a gzip file is a series of members."""
    parts = [b"before " * 3 + VALUE.encode()[:9], VALUE.encode()[9:] + b" after", b""]
    coded = b"".join(map(gzip.compress, parts))
    assert passed(cut(coded + bytes(40), at), coding=b"gzip") == overwrite(b"".join(parts), NEEDLES)


@pytest.mark.parametrize("values", [["br"], ["zstd"], ["compress"], ["gzip, br"], ["gzip", "gzip"]])
def test_a_coding_that_cannot_be_read_is_refused(values: list[str]) -> None:
    with pytest.raises(BadMessage):
        coding_of([(b"content-encoding", b"Content-Encoding", value.encode()) for value in values])


def test_a_coding_that_can_be_read_is_told() -> None:
    for value, coding in ((b"GZIP", b"gzip"), (b"deflate", b"deflate"), (b"identity", b""), (b"", b"")):
        assert coding_of([(b"content-encoding", b"Content-Encoding", value)]) == coding
        assert Passage(NEEDLES, coding=coding).decodes == bool(coding)
    assert coding_of([(b"content-type", b"Content-Type", b"gzip")]) == b""


def test_every_form_in_which_it_was_sent_is_known() -> None:
    secret = Secret("pass word/+=1")
    plain = needles_of([HeaderInjection("X", "")], secret)
    assert b"pass word/+=1" in plain
    for escaped in (b"pass word\\/+=1", b"pass%20word%2F%2B%3D1", b"pass word\\u002f\\u002b\\u003d1"):
        assert escaped in plain  # as JSON for a page, or a URL, would have it
    assert needles_of([HeaderInjection("X", "")], Secret("ordinary-token_1")) == (b"ordinary-token_1",)
    assert b"pass%20word%2F%2B%3D1" in needles_of([QueryInjection("key")], secret)
    assert b"dXNlcjpwYXNzIHdvcmQvKz0x" in needles_of([BasicInjection("password", "user")], secret)


def test_the_forms_of_a_path_and_of_a_body_are_known_as_they_were_sent() -> None:
    """A segment keeps what RFC 3986 §3.3 allows in it, so its form is neither the plain nor the wholly encoded one."""
    secret = Secret('1234:ab/cd"é')
    assert b"1234:ab%2Fcd%22%C3%A9" in needles_of([PathInjection("bot")], secret)
    assert {b"1234%3Aab%2Fcd%22%C3%A9", b'1234:ab/cd\\"\\u00e9'} <= set(needles_of([BodyInjection("token")], secret))


@pytest.mark.parametrize("value", ["a", "1", "abc", "true", "1234567"])
def test_a_value_that_is_ordinary_text_is_left_alone(value: str) -> None:  # X63
    for injection in (HeaderInjection("X", ""), QueryInjection("key"), PathInjection("bot"), BodyInjection("token")):
        assert needles_of([injection], Secret(value)) == ()


def test_a_value_outside_latin_1_was_cut_down_to_ordinary_text() -> None:  # X63
    known = needles_of([HeaderInjection("X", "")], Secret("пароль12"))
    assert "пароль12".encode() in known and all(len(needle) > 8 for needle in known)
    both = needles_of([HeaderInjection("X", "")], Secret("clé-secrète"))
    assert {"clé-secrète".encode(), "clé-secrète".encode("latin-1")} <= set(both)


TOKEN_ANSWERS = [  # what a token endpoint answers, and what of it the child gets
    (
        b'{"access_token": "abcdefghijklmnop", "token_type":"Bearer","refresh_token" : "xyz"}',
        b'{"access_token": "[redacted]******", "token_type":"Bearer","refresh_token" : "***"}',
    ),
    (b'{"id_token":"abcdefgh\\"ijk","scope":"access_token"}', b'{"id_token":"[redacted]***","scope":"access_token"}'),
    (b"access_token=abc%2Bdefghijk&scope=a&refresh_token=x", b"access_token=[redacted]****&scope=a&refresh_token=*"),
    (b'{"uri":"https://a.test/?b=1&access_token=abc"}', b'{"uri":"https://a.test/?b=1&access_token=***"}'),
    (b"my_access_token=abc&access_token=", b"my_access_token=abc&access_token="),
    (b'{"error": "invalid_grant"}', b'{"error": "invalid_grant"}'),
]


@pytest.mark.parametrize(("answer", "shown"), TOKEN_ANSWERS)
@pytest.mark.parametrize("coding", [b"", b"gzip"])
def test_new_tokens_are_covered_in_the_answer_of_a_token_endpoint(answer: bytes, shown: bytes, coding: bytes) -> None:
    sent = gzip.compress(answer) if coding else answer
    passage = TokenPassage(NEEDLES, coding=coding)
    assert b"".join(passage.feed(sent[at : at + 5]) for at in range(0, len(sent), 5)) == b""
    assert passage.finish() == shown


def test_a_new_token_with_an_ampersand_was_covered_only_up_to_it() -> None:
    """RFC 6749 §A.12: a token is any visible ASCII."""
    passage = TokenPassage(())
    passage.feed(b'{"access_token":"one&two","a":"b"}')
    assert passage.finish() == b'{"access_token":"*******","a":"b"}'


def test_the_lent_credential_is_covered_there_too_and_chunks_are_made_anew() -> None:
    passage = TokenPassage(NEEDLES, chunked=True)
    assert passage.feed(VALUE.encode()) == b""
    covered = overwrite(VALUE.encode(), NEEDLES)
    assert passage.finish() == b"%x\r\n%b\r\n0\r\n\r\n" % (len(covered), covered)


def test_an_endless_answer_of_a_token_endpoint_is_not_kept() -> None:  # X50
    passage = TokenPassage(NEEDLES)
    with pytest.raises(BadMessage):
        for _ in range(32):
            passage.feed(bytes(1 << 16))


@pytest.mark.parametrize(
    "kind", [b"application/json; charset=utf-8", b"application/x-www-form-urlencoded", b"a/b+json"]
)
def test_a_token_endpoint_may_answer_in_what_is_searched(kind: bytes) -> None:
    fields = [(b"content-type", b"Content-Type", kind), (b"x", b"X", b"1")]
    check_token_answer(fields)
    check_token_answer([])
    assert passage_kind(fields, hides_tokens=True) is TokenPassage
    assert passage_kind(fields, hides_tokens=False) is Passage


@pytest.mark.parametrize("kind", [b"application/xml", b"application/octet-stream", b""])
def test_a_token_endpoint_may_not_answer_in_anything_else(kind: bytes) -> None:
    with pytest.raises(BadMessage):
        check_token_answer([(b"content-type", b"Content-Type", kind)])
