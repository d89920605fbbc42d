"""Taking the injected value out of answers, however they are cut (P6)."""

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authsome.model.injection import BasicInjection, HeaderInjection, QueryInjection
from authsome.model.secret import Secret
from authsome.proxy.rules.head import BadMessage
from authsome.proxy.rules.scrub import Passage, coding_of, needles_of, overwrite

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
    assert seen == overwrite(whole, NEEDLES)
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


@pytest.mark.parametrize("value", ["br", "zstd", "compress", "gzip, br"])
def test_a_coding_that_cannot_be_read_is_refused(value: str) -> None:
    with pytest.raises(BadMessage):
        coding_of([(b"content-encoding", b"Content-Encoding", value.encode())])


def test_every_form_in_which_it_was_sent_is_known() -> None:
    secret = Secret("pass word/+=1")
    assert needles_of([HeaderInjection("X", "")], secret) == (b"pass word/+=1",)
    assert b"pass%20word%2F%2B%3D1" in needles_of([QueryInjection("key")], secret)
    assert b"dXNlcjpwYXNzIHdvcmQvKz0x" in needles_of([BasicInjection("password", "user")], secret)


def test_a_value_that_is_ordinary_text_is_left_alone() -> None:  # X63
    assert needles_of([HeaderInjection("X", "")], Secret("true")) == ()
