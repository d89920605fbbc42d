"""Variables as text, one format per reader: `export` writes them, `run --env-file` reads dotenv back."""

import json
from collections.abc import Callable

from authsome.errors import UsageError

Variables = dict[str, str]

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:@%+,=-")
_POWERSHELL_QUOTES = "'\u2018\u2019\u201a\u201b"  # each of them ends a quoted text there


def _shell(value: str) -> str:
    return "'" + value.replace("'", "'\\''") + "'"


def _dotenv(value: str) -> str:
    if value and not _PLAIN.issuperset(value):
        if "'" not in value:
            return f"'{value}'"
        for special in '\\"$`':
            value = value.replace(special, "\\" + special)
        return f'"{value}"'
    return value


def _fish(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _powershell(value: str) -> str:
    return "'" + "".join(c * 2 if c in _POWERSHELL_QUOTES else c for c in value) + "'"


_LINES: dict[str, Callable[[str, str], str]] = {
    "env": lambda name, value: f"export {name}={_shell(value)}",
    "shell": lambda name, value: f"export {name}={_shell(value)}",
    "dotenv": lambda name, value: f"{name}={_dotenv(value)}",
    "fish": lambda name, value: f"set -gx {name} {_fish(value)}",
    "powershell": lambda name, value: f"$Env:{name} = {_powershell(value)}",
}


def write(variables: Variables, format: str) -> str:
    """The variables in a format of `export`, a line each; `json` is one object."""
    if format == "json":
        return json.dumps(variables, indent=2) + "\n"
    line = _LINES[format]
    return "".join(line(name, value) + "\n" for name, value in variables.items())


def read_dotenv(text: str, where: str) -> Variables:
    """`NAME=value` lines, `export` before them, comments, and both kinds of quotes, over several lines too.

    Raises UsageError with the place; never with the value.
    """
    variables: Variables = {}
    at = 0
    while at < len(text):
        end = _line_end(text, at)
        line = text[at:end].strip()
        if not line or line.startswith("#"):
            at = end + 1
            continue
        name, equals, _ = line.removeprefix("export ").partition("=")
        name = name.strip()
        place = f"{where}:{text.count(chr(10), 0, at) + 1}"
        if not equals or not (name.isascii() and name.isidentifier()):
            raise UsageError(f"{place}: expected NAME=value")
        variables[name], at = _read_value(text, text.index("=", at) + 1, place)
    return variables


def _read_value(text: str, at: int, place: str) -> tuple[str, int]:
    """The value that begins at an index, and the index of the next line."""
    while text[at : at + 1] in (" ", "\t"):
        at += 1
    quote = text[at : at + 1]
    end = _line_end(text, at)
    if quote not in ("'", '"') or not quote:
        return text[at:end].partition(" #")[0].strip(), end + 1
    value, at = _read_quoted(text, at + 1, quote, place)
    end = _line_end(text, at)
    after = text[at:end].strip()
    if after and not after.startswith("#"):
        raise UsageError(f"{place}: something follows the closing quote")
    return value, end + 1


def _read_quoted(text: str, at: int, quote: str, place: str) -> tuple[str, int]:
    characters = []
    while at < len(text) and text[at] != quote:
        if quote == '"' and text[at] == "\\" and text[at + 1 : at + 2] in tuple('\\"$`n'):
            at += 1
            characters.append("\n" if text[at] == "n" else text[at])
        else:
            characters.append(text[at])
        at += 1
    if at >= len(text):
        raise UsageError(f"{place}: the closing quote is missing")
    return "".join(characters), at + 1


def _line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end
