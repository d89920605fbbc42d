"""Patterns from files: the usual meaning, matched in linear time (P17)."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authsome.model.pattern import MAX_POSITIONS, BadPattern, Pattern

_ATOMS = st.sampled_from(["a", "b", "c", r"\.", ".", "[ab]", "[^a]", "[a-c]", r"\d", r"[\w.]"])
_COUNTS = st.sampled_from(["", "", "", "*", "+", "?", "{2}", "{0,2}", "{1,}", "{2,3}", "{0,1}"])


def _grow(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    group = st.lists(inner, min_size=1, max_size=3).map(lambda branches: f"({'|'.join(branches)})")
    part = st.tuples(_ATOMS | group, _COUNTS).map("".join)
    return st.lists(part, min_size=1, max_size=3).map("".join)


_PATTERNS = st.recursive(st.tuples(_ATOMS, _COUNTS).map("".join), _grow, max_leaves=6)


@given(_PATTERNS, st.lists(st.text("abc.1", max_size=7), min_size=1, max_size=6))
def test_a_pattern_means_what_it_means_elsewhere(text: str, samples: list[str]) -> None:
    try:
        pattern = Pattern.parse(text)
    except BadPattern as error:
        assert "positions" in str(error) or "nested" in str(error)
        return
    for sample in samples:
        assert pattern.matches(sample) == bool(re.fullmatch(text, sample)), sample


@pytest.mark.parametrize(
    ("text", "good", "bad"),
    [
        (r"^sk-[A-Za-z0-9_\-]{3,}$", "sk-a_-", "sk-a_"),
        (r"^(secret_|ntn_)[a-z]{2}$", "ntn_ab", "ntn_a"),
        (r"(?:ab|c)+", "abcab", "abca"),
        (r"[^a]", "b", "a"),
        (r"[]a]|x", None, None),
        (r"[a\]-]", "-", "b"),
        (r"a{0,2}b", "aab", "aaab"),
        (r"a{0}", None, None),
        (r"x", "x", ""),
        (r"x*", "", "y"),
        (r"a$", "a", "a\n"),
        (r"A", "A", "a"),
    ],
)
def test_the_whole_text_is_matched(text: str, good: str | None, bad: str | None) -> None:
    if good is None or bad is None:
        with pytest.raises(BadPattern):
            Pattern.parse(text)
        return
    pattern = Pattern.parse(text)
    assert pattern.matches(good)
    assert not pattern.matches(bad)
    assert not pattern.matches(good + "\u00fc")


@pytest.mark.parametrize(
    "text",
    [
        "", "^$", "a|", "|a", "()", "(a", "a)", "[", "[a", "[]", "a**", "a+?", "a{2}{3}", "{2}", "*", "?a",
        "a{,2}", "a{3,2}",
        "a{x}", "a{1", "a{1000}", "\\", r"\s", r"\1", r"\b", r"\x41", "(?i)a", "(?=a)b", "(?P<n>a)", "(?<!a)b",
        "a^b", "a$b",
        "[z-a]", r"[\d-z]", "[a-[b]]", "a b", "\u00fc", "a\n", "(" * 20 + "a" + ")" * 20, "a" * 300,
        "(a{99}){99}", "}",
    ],
)  # fmt: skip
def test_what_is_not_of_the_small_language_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(BadPattern) as refused:
        Pattern.parse(text)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("text", ["(a+)+b", "(a|a)*b", "(a*)*b", "(.*a){20}b", "a?" * 50 + "a{50}b", "(a{0,50}){2}b"])
def test_a_hostile_pattern_comes_to_an_end(text: str) -> None:  # P17, X81: a matcher that tries again would never
    assert not Pattern.parse(text).matches("a" * 16_384)


def test_a_pattern_has_a_bounded_size() -> None:
    assert Pattern.parse("a{200,256}").matches("a" * MAX_POSITIONS)
    with pytest.raises(BadPattern):
        Pattern.parse("a{200,257}")


@pytest.mark.parametrize(
    ("text", "tail"),
    [
        (r".*\.mock\.test", ".mock.test"),
        ("abc", "abc"),
        ("a|b", ""),
        ("ab?c", "c"),
        ("ab+", ""),
        ("a(bc)", ""),
        ("a[b]c", "abc"),
    ],
)
def test_the_literal_end_is_what_every_match_ends_in(text: str, tail: str) -> None:
    assert Pattern.parse(text).tail == tail


@pytest.mark.parametrize(("text", "anchored"), [("^a$", True), ("^a", False), ("a$", False), (r"^a\$", False)])
def test_anchors_are_told(text: str, anchored: bool) -> None:
    assert Pattern.parse(text).anchored is anchored
