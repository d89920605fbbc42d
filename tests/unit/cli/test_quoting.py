"""Variables as text: whatever the value, the reader gets exactly it back."""

import json
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authsome.cli.quoting import read_dotenv, write
from authsome.errors import UsageError

HARD = [
    "plain", "", "it's", 'say "hi"', "a b", "$HOME", "`id`", "$(id)", "a\\b", "a\\\\b", "\\'", "two\nlines", "\n",
    "'\n\"", "!x", "#x", " # y", "a=b", "é", "’quoted’", "; rm -rf x", "tab\there", "'", '"', "\\", "%PATH%", "-n", "~",
    "\\n", "'\\n\"$`",
]  # fmt: skip
TEXTS = st.text(st.characters(exclude_characters="\0\r", exclude_categories=["Cs"]), max_size=30) | st.sampled_from(
    HARD
)
SHELLS = [shell for shell in ("sh", "dash", "bash", "zsh", "ksh") if shutil.which(shell)]


def evaluated(shell: str, script: str) -> str:
    """What a child process of the shell finds in the variable after the script."""
    program = f'eval "$1"; exec {shutil.which("env")} -0'
    said = subprocess.run([shell, "-c", program, "x", script], env={"HOME": "/h"}, capture_output=True, check=True)
    return dict(entry.split("=", 1) for entry in said.stdout.decode().split("\0") if "=" in entry)["SECRET"]


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("format", ["env", "shell"])
@pytest.mark.parametrize("value", HARD)
def test_a_shell_hands_the_exact_value_to_its_children(shell: str, format: str, value: str) -> None:
    assert evaluated(shell, write({"SECRET": value}, format)) == value


@pytest.mark.parametrize("value", HARD)
def test_a_shell_can_read_a_dotenv_file_too(value: str) -> None:
    assert evaluated("sh", "set -a\n" + write({"SECRET": value}, "dotenv")) == value


@given(st.dictionaries(st.sampled_from(["A", "B_2", "_C"]), TEXTS))
def test_dotenv_comes_back_as_it_was(variables: dict[str, str]) -> None:
    assert read_dotenv(write(variables, "dotenv"), "file") == variables


@given(st.dictionaries(st.sampled_from(["A", "B"]), TEXTS))
def test_json_comes_back_as_it_was(variables: dict[str, str]) -> None:
    assert json.loads(write(variables, "json")) == variables


@pytest.mark.parametrize(
    ("format", "value", "text"),
    [
        ("env", "it's", "export SECRET='it'\\''s'\n"),
        ("fish", "it's a \\ $x", "set -gx SECRET 'it\\'s a \\\\ $x'\n"),
        ("fish", "two\nlines", "set -gx SECRET 'two\nlines'\n"),
        ("powershell", "it's $x `n", "$Env:SECRET = 'it''s $x `n'\n"),
        ("powershell", "a’b‘c‚d‛e", "$Env:SECRET = 'a’’b‘‘c‚‚d‛‛e'\n"),
        ("dotenv", "user:grant:secret", "SECRET=user:grant:secret\n"),
        ("dotenv", "a b", "SECRET='a b'\n"),
        ("dotenv", "it's $x", 'SECRET="it\'s \\$x"\n'),
    ],
)
def test_each_format_quotes_in_its_own_way(format: str, value: str, text: str) -> None:
    assert write({"SECRET": value}, format) == text


@pytest.mark.skipif(not shutil.which("fish"), reason="not on this machine: fish")
@pytest.mark.parametrize("value", HARD)
def test_fish_hands_the_exact_value_on(value: str) -> None:
    script = write({"SECRET": value}, "fish") + "env -0"
    said = subprocess.run(["fish", "-c", script], capture_output=True, check=True)
    assert f"SECRET={value}" in said.stdout.decode().split("\0")


@pytest.mark.parametrize(
    ("text", "variables"),
    [
        ("A=1\nB=2\n", {"A": "1", "B": "2"}),
        ("export A=1", {"A": "1"}),
        ("# note\n\n  A = spaced  \n", {"A": "spaced"}),
        ("A=1 # note\nB=x#y\n", {"A": "1", "B": "x#y"}),
        ("A='# kept' # note\n", {"A": "# kept"}),
        ('A="two\\nlines"\r\nB=2\r\n', {"A": "two\nlines", "B": "2"}),
        ("A='two\nlines'\nB=2", {"A": "two\nlines", "B": "2"}),
        ("A=\nB=''\n", {"A": "", "B": ""}),
        ("A=x=y\n", {"A": "x=y"}),
        ("A=1\nA=2\n", {"A": "2"}),
    ],
)
def test_the_usual_forms_of_dotenv_are_read(text: str, variables: dict[str, str]) -> None:
    assert read_dotenv(text, "file") == variables


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A=1\nsecret\n", "file:2: expected NAME=value"),
        ("1A=secret\n", "file:1: expected NAME=value"),
        ("A='secret\n", "file:1: the closing quote is missing"),
        ("\nA='x'secret\n", "file:2: something follows the closing quote"),
        ("É=secret\n", "file:1: expected NAME=value"),
    ],
)
def test_a_mistake_is_named_by_its_place_and_never_by_its_value(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_dotenv(text, "file")
    assert caught.value.message == message
