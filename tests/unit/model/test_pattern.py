"""Patterns from files: the usual meaning, matched in linear time (P17)."""

import string

import pytest

from authsome.model.pattern import BadPattern, Pattern


@pytest.mark.parametrize(
    ("text", "good", "bad"),
    [
        (r"^sk-[A-Za-z0-9_\-]{3,}$", "sk-a_-", "sk-a_"),
        (r"^(secret_|ntn_)[a-z]{2}$", "ntn_ab", "ntn_a"),
        (r"^a|b$", "b", "ab"),
        (r"(?:ab|c)+", "abcab", "abca"),
        (r"[^a]", "b", "a"),
        (r"[a\]-]", "-", "b"),
        (r"a{0,2}b", "aab", "aaab"),
        (r"x", "x", ""),
        (r"x*", "", "y"),
        (r"a$", "a", "a\n"),
        (r"A", "A", "a"),
        (r"a+?", "aa", "aab"),
    ],
)
def test_the_whole_text_is_matched(text: str, good: str, bad: str) -> None:
    pattern = Pattern.parse(text)
    assert pattern.matches(good)
    assert not pattern.matches(bad)
    assert not pattern.matches(good + "\u00fc")


@pytest.mark.parametrize("text", [".*", "[^a]*", r"(?s).*", r"(?m)^.*$[^a]*", r"\W*", r"[\s\S]*", r"\C*", r"\pL*"])
@pytest.mark.parametrize("sample", ["x y", "x\r\ny", "x\n", "x\0", "\u00fc", "\u212a", "\udc80", "\x7f"])
def test_nothing_but_visible_ascii_ever_matches(text: str, sample: str) -> None:
    assert not Pattern.parse(text).matches(sample)


@pytest.mark.parametrize("char", string.punctuation)
def test_an_escaped_character_stands_for_itself(char: str) -> None:
    pattern = Pattern.parse(f"[\\{char}]\\{char}")
    assert pattern.matches(char * 2)
    assert not pattern.matches(f"x{char}")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("(?=a)b", "invalid perl operator: (?="),
        ("(?!a)b", "invalid perl operator: (?!"),
        ("(?<=a)b", "invalid"),
        ("(?<!a)b", "invalid perl operator: (?<!"),
        ("(?>a)b", "invalid perl operator: (?>"),
        (r"(a)\1", "invalid escape sequence: \\1"),
        (r"(?P<n>a)(?P=n)", "invalid"),
        (r"a\Z", "invalid escape sequence: \\Z"),
        (r"a++", "bad repetition operator: ++"),
        ("(a", "missing )"),
        ("a)", "unexpected )"),
        ("[a", "missing ]"),
        ("[z-a]", "invalid character class range: z-a"),
        ("*a", "no argument for repetition operator: *"),
        ("a{3,2}", "invalid repetition size: {3,2}"),
        ("a\\", "trailing \\"),
        ("a b", "visible ASCII alone"),
        ("\u00fc", "visible ASCII alone"),
        ("\udc80", "visible ASCII alone"),
        ("a\n", "visible ASCII alone"),
        ("a\x00b", "visible ASCII alone"),
    ],
)
def test_what_has_no_linear_match_or_no_meaning_is_refused_with_its_reason(text: str, why: str) -> None:
    with pytest.raises(BadPattern) as refused:
        Pattern.parse(text)
    assert why in str(refused.value)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a" * 257, "at most 256 characters"),
        ("a{1001}", "invalid repetition size"),
        ("(a{99}){99}", "invalid repetition size"),
        ("a{1000}" * 9, "too large"),
        ("a{0,1000}" * 27, "too large"),
        (r"(\w{30}|[^a]{30}){30}" * 12, "too large"),
    ],
)
def test_a_pattern_has_a_bounded_size(text: str, why: str) -> None:  # X81: nor may compiling take long
    with pytest.raises(BadPattern, match=why):
        Pattern.parse(text)


@pytest.mark.parametrize(
    ("text", "length"), [("a" * 256, 256), ("a{1000}", 1000), (r"^[A-Za-z0-9_\-]{500,}$", 16_384), (".{0,256}", 256)]
)
def test_the_bounds_leave_room_for_keys(text: str, length: int) -> None:
    assert Pattern.parse(text).matches("a" * length)


@pytest.mark.parametrize(
    "text",
    ["(a+)+b", "(a|a)*b", "(a*)*b", "(.*a){20}b", "a?" * 50 + "a{50}b", "(a{0,50}){2}b", "(.*a){200}b", "(a*){900}b"],
)
def test_a_hostile_pattern_comes_to_an_end(text: str) -> None:  # P17, X81: a matcher that tries again would never
    assert not Pattern.parse(text).matches("a" * 16_384)


@pytest.mark.parametrize("text", ["(a+)+b", "(a|a)*b", "((a*)*)*b", "(.*a){20}b"])
def test_ten_thousand_matches_of_a_hostile_pattern_come_to_an_end(text: str) -> None:  # P17, X81
    pattern = Pattern.parse(text)
    assert not any(pattern.matches("a" * 250) for _ in range(10_000))
    assert pattern.matches("a" * 249 + "b")


def test_nothing_of_a_pattern_goes_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BadPattern):
        Pattern.parse("(?=marker)")
    Pattern.parse(f"(.*marker){'.*a' * 50}({'b?' * 20}){{20}}").matches("marker" * 2000)
    assert capfd.readouterr() == ("", "")
