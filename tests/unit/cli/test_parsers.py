"""The two parsers and the table they share."""

import importlib
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from authsome.cli.given import Given
from authsome.cli.parse_fast import parse_fast
from authsome.cli.parse_full import parse_full
from authsome.cli.table import COMMANDS, EVERYWHERE, FLAG, NUMBER, Command
from authsome.errors import UsageError

ODD = st.sampled_from(
    [
        "",
        "-",
        "--",
        "-7",
        "007",
        "999999",
        "1000000",
        "١",
        "²",
        "1_0",
        " 1",
        "--help",
        "-h",
        "--json=",
        "-l",
        "é",
        "x=y",
    ]
)
FLAGS = sorted({flag for command in COMMANDS for option in command.options for flag in option.flags})


def plain(command: Command) -> list[str]:
    """A complete command line of that command."""
    words = command.name.split(" ")
    if command.rest:
        return [*words, "--", "ls"]
    return [*words, *(a.choices[0] if a.choices else "x" for a in command.arguments if a.required)]


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    """Mostly what a person means, with something odd in it now and then."""
    command = draw(st.sampled_from(COMMANDS))
    pieces: list[str] = []
    for option in draw(st.lists(st.sampled_from(command.options), max_size=3)):
        flag = draw(st.sampled_from(option.flags) | st.sampled_from(FLAGS))
        value = draw(st.sampled_from([*option.choices, "3", "name", "p=n"]) | ODD)
        forms = [[flag], [flag, value], [f"{flag}={value}"], [flag + value]]
        pieces += draw(st.sampled_from(forms if option.kind == FLAG else forms[1:]))
    for argument in command.arguments:
        if argument.required or draw(st.booleans()):
            place = draw(st.integers(0, len(pieces)))
            pieces.insert(place, draw(st.sampled_from([*argument.choices, "word"]) | ODD))
    if draw(st.booleans()):
        pieces.insert(draw(st.integers(0, len(pieces))), draw(ODD))
    if draw(st.booleans()) and pieces:
        pieces.pop(draw(st.integers(0, len(pieces) - 1)))
    return [*command.name.split(" "), *pieces]


@settings(max_examples=1500, deadline=None)
@example(["log", "-n", "999999"])
@example(["log", "-n", "1000000"])
@example(["log", "-n", "007"])
@example(["log", "-n=3"])
@example(["log", "-n3", "-f"])
@example(["run", "--"])
@given(command_lines())
def test_what_the_fast_parser_understands_click_understands_in_the_same_way(words: list[str]) -> None:
    fast = parse_fast(words)
    if fast is not None:
        full = parse_full(words)
        assert isinstance(full, Given)
        assert full.command is fast.command
        assert full.values == fast.values


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c.name)
def test_the_fast_parser_understands_every_plain_command(command: Command) -> None:
    words = plain(command)
    for option in command.options:
        if command.rest:
            break
        value = option.choices[0] if option.choices else "3"
        words += [option.flags[-1]] if option.kind == FLAG else [option.flags[-1], value]
    fast = parse_fast(words)
    assert fast is not None
    assert parse_full(words).values == fast.values  # type: ignore[union-attr]  # a Given, or this fails


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c.name)
def test_every_command_has_help_with_an_example(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert parse_full([*command.name.split(" "), "--help"]) == 0
    shown = capsys.readouterr().out
    assert "Example:" in shown
    assert f"authsome {command.name}" in shown


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c.name)
def test_every_command_takes_the_options_that_hold_everywhere(command: Command) -> None:
    names = [option.name for option in command.options]
    assert [o.name for o in EVERYWHERE] == names[-3:]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c.name)
def test_every_command_has_a_handler(command: Command) -> None:
    assert callable(importlib.import_module(f"authsome.cli.commands.{command.module}").run)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c.name)
def test_every_command_is_in_the_documentation(command: Command) -> None:
    page = (Path(__file__).parents[3] / "docs" / "cli.md").read_text()
    assert f"authsome {command.name}" in page
    for option in command.options:
        assert option in EVERYWHERE or f"`{option.flags[-1]}" in page


def test_no_option_takes_a_secret() -> None:
    for command in COMMANDS:
        for option in command.options:
            secret = any(word in option.name for word in ("key", "token", "secret", "password"))
            assert not secret or option.kind == FLAG


def test_numbers_are_numbers() -> None:
    for command in COMMANDS:
        assert all(isinstance(o.default, int | None) for o in command.options if o.kind == NUMBER)


def test_the_options_may_stand_before_the_command() -> None:
    given = parse_full(["--json", "provider", "--quiet", "list"])
    assert isinstance(given, Given)
    assert given.flag("json") and given.flag("quiet") and not given.flag("no_color")


def test_everything_after_the_command_of_a_run_belongs_to_it() -> None:
    given = parse_fast(["run", "--only", "a", "sh", "-c", "x", "--", "--json"])
    assert given is not None
    assert given.many("command") == ("sh", "-c", "x", "--", "--json")
    assert not given.flag("json")


def test_only_the_first_double_dash_of_a_run_is_ours() -> None:
    given = parse_fast(["run", "--", "git", "--", "--quiet"])
    assert given is not None
    assert given.many("command") == ("git", "--", "--quiet")


def test_connections_list_shows_the_connected_ones() -> None:
    given = parse_fast(["connections", "list"])
    assert given is not None
    assert given.flag("connected")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["get"], "missing argument 'PROVIDER'"),
        (["get", "a", "--fiel", "x"], "no such option '--fiel'"),
        (["gett"], "no such command 'gett'. Did you mean 'get'?"),
        (["daemon", "restat"], "no such command 'restat'. Did you mean 'restart'?"),
        (["zzz"], "no such command 'zzz'"),
        (["run"], "missing argument 'COMMAND...'"),
        (["log", "-n", "many"], "invalid value for '-n' / '--lines': expected a number, got 'many'"),
        (["log", "-n", "-7"], "invalid value for '-n' / '--lines': expected a number, got '-7'"),
        (["log", "-n", "9" * 5000], "invalid value for '-n' / '--lines': expected a number of at most 6 digits"),
    ],
)
def test_a_mistake_is_explained_in_our_manner(words: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_full(words)
    assert caught.value.message.startswith(message)
    assert caught.value.hint is not None
    assert "--help" in caught.value.hint


def mistake(*words: str) -> UsageError:
    with pytest.raises(UsageError) as caught:
        parse_full(list(words))
    return caught.value


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["get", "openai", "--field"], "authsome get"),
        (["log", "-n"], "authsome log"),
        (["daemon", "start", "--workers"], "authsome daemon start"),
    ],
)
def test_an_option_without_its_value_leads_to_the_help_of_its_command(words: list[str], command: str) -> None:
    assert mistake(*words).hint == f"see: {command} --help"


def test_a_word_too_many_is_not_shown_and_taken_for_a_secret_only_where_one_is_read() -> None:  # P23
    for words in (["login", "openai"], ["list"], ["daemon", "stop"], ["provider", "list"]):
        told = mistake(*words, "sk-canary")
        assert "sk-canary" not in f"{told.message} {told.hint}"
        assert ("secret" in told.message) is (words[0] == "login")
        assert words[0] == "login" or told.message == f"there is a word too many after 'authsome {' '.join(words)}'"


def test_the_help_shows_no_other_range_than_what_holds(capsys: pytest.CaptureFixture[str]) -> None:
    assert parse_full(["daemon", "start", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "1 to 64" in shown and "<=" not in shown


def test_the_help_of_a_run_does_not_promise_more_than_isolation_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert parse_full(["run", "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "it reads no private places" in shown and "no files of yours" not in shown
