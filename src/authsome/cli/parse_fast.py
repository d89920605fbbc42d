"""The parser for plain command lines, in microseconds; it answers None for all that is odd.

Help, mistakes, joined short options and everything else that is None goes to `parse_full`, which
reads the same table. A property test holds the two to the same answers.
"""

from authsome.cli.given import Given
from authsome.cli.table import FLAG, GROUPS, MANY, NUMBER, Argument, Command, Option, find


def parse_fast(words: list[str]) -> Given | None:
    """What the words say, if they are a complete and plain command line."""
    if not words:
        return None
    depth = 2 if words[0] in GROUPS else 1
    command = find(" ".join(words[:depth]))
    if command is None:
        return None
    values = command.defaults()
    places = _read_options(command, words[depth:], values)
    if places is None or not _place(command.arguments, places, values):
        return None
    return Given(command, values)


def _read_options(command: Command, words: list[str], values: dict[str, object]) -> list[str] | None:
    """Take the options into `values` and return the other words, None if something is odd."""
    by_flag = {flag: option for option in command.options for flag in option.flags}
    places: list[str] = []
    rest = iter(words)
    for word in rest:
        if command.rest and word == "--":
            return list(rest)
        if not word.startswith("-"):
            if command.rest:
                return [word, *rest]
            places.append(word)
            continue
        flag, joined, value = word.partition("=")
        option = by_flag.get(flag)
        if option is None or (joined and not flag.startswith("--")):
            return None
        if option.kind != FLAG and not joined:
            value = next(rest, "-")
        if not _take(option, value if option.kind != FLAG else joined, values):
            return None
    return places


def _take(option: Option, value: str, values: dict[str, object]) -> bool:
    if option.kind == FLAG:
        values[option.name] = True
        return value == ""
    if value.startswith("-") or (option.choices and value not in option.choices):
        return False
    if option.kind == MANY:
        before = values[option.name]
        assert isinstance(before, tuple)
        values[option.name] = (*before, value)
    elif option.kind == NUMBER:
        if not value.isdecimal() or len(value) > 6:
            return False
        values[option.name] = int(value)
    else:
        values[option.name] = value
    return True


def _place(arguments: tuple[Argument, ...], places: list[str], values: dict[str, object]) -> bool:
    """Give the words by place to the arguments; False if there are too few, too many or wrong ones."""
    if arguments and arguments[-1].many:
        values[arguments[-1].name] = tuple(places)
        return bool(places)
    if len(places) > len(arguments):
        return False
    for argument, word in zip(arguments, places, strict=False):
        if argument.choices and word not in argument.choices:
            return False
        values[argument.name] = word
    return not any(argument.required for argument in arguments[len(places) :])
