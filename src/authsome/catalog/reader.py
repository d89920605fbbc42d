"""Reading and writing one provider file: a strict JSON document, every flaw named with its place."""

import difflib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from authsome.errors import InvalidProviderFile
from authsome.model.provider import ApiKey, Export, OAuth, Provider

MAX_BYTES = 256 * 1024
MAX_DEPTH = 8  # a valid file has 4
MOST_TOLD = 20  # flaws of one file

# Members that are written even where they have their default, because a person looks for them or edits them.
_SHOWN: Mapping[str, frozenset[str]] = {
    "": frozenset({"schema_version", "export"}),
    "oauth": frozenset({"base_url", "scopes", "pkce", "supports_device_code", "supports_dcr"}),
    "api_key": frozenset({"header_name", "header_prefix"}),
    "export": frozenset({"env"}),
}
_MODELS: Mapping[tuple[str, ...], type[BaseModel]] = {
    (): Provider,
    ("oauth",): OAuth,
    ("api_key",): ApiKey,
    ("export",): Export,
}
_WORDS = {
    "missing": "is missing",
    "string_type": "expected a string",
    "string_unicode": "holds a character that is not valid Unicode",
    "bool_type": "expected true or false",
    "tuple_type": "expected a list",
    "dict_type": "expected an object",
    "model_type": "expected an object",
    "model_attributes_type": "expected an object",
    "string_too_long": "has more than {max_length} characters",
    "string_too_short": "has fewer than {min_length} characters",
    "too_long": "has more than {max_length} members",
    "too_short": "has fewer than {min_length} members",
    "literal_error": "expected {expected}",
    "value_error": "{error}",
}
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


class Flaw(Exception):
    """What is wrong with a provider file; the text begins with the place, `$.oauth.scopes[0]: …`.

    `every` has all flaws as texts of that kind where there are more than the one that is told.
    """

    def __init__(self, text: str, every: tuple[str, ...] = ()) -> None:
        super().__init__(text)
        self.every = every


@dataclass(frozen=True, slots=True)
class BadFile:
    """A file that is not used. `path` is fit to be shown; `message` begins with the place inside the file."""

    path: str
    message: str
    every: tuple[str, ...] = ()

    @classmethod
    def of(cls, path: str, flaw: Flaw) -> "BadFile":
        """The file with this flaw."""
        return cls(path, str(flaw), flaw.every)

    def error(self) -> InvalidProviderFile:
        """As `read_provider` raises it. What is told of many is the first of them, and all in `problems`."""
        hint = "docs/providers.md describes each field"
        if not self.every:
            return InvalidProviderFile(f"{self.path}: {self.message}", hint)
        return InvalidProviderFile(f"{self.path}: {self.message}", hint, problems=list(self.every))


def read_provider(text: str | bytes, where: str) -> Provider:
    """The provider that a file describes; `where` names the file in the message.

    Raises InvalidProviderFile, e.g. `providers/x.json: $.oauth.scopes[0]: expected a string`; where there is more
    than that, its `problems` lists all of them, at most 20.
    """
    try:
        return parse_provider(text)
    except Flaw as flaw:
        raise BadFile.of(where, flaw).error() from None


def parse_provider(text: str | bytes) -> Provider:
    """As `read_provider`, for callers that name the file themselves. Raises Flaw."""
    document = _decode(text)
    if not isinstance(document, dict):
        raise Flaw("$: expected an object")
    try:
        return Provider.model_validate(document)
    except ValidationError as error:
        flaws = error.errors(include_url=False, include_input=False)
        told = _describe(flaws, document)
        more = f" (and {len(told) - 1} more)" if len(told) > 1 else ""
        cut = (*told[:MOST_TOLD], *([f"and {len(told) - MOST_TOLD} more"] if len(told) > MOST_TOLD else []))
        raise Flaw(told[0] + more, cut if more else ()) from None


def write_provider(provider: Provider) -> str:
    """The provider as a file: valid for `read_provider`, stable in its order, two blanks of indent."""
    return json.dumps(_shape(provider, ""), indent=2, ensure_ascii=False) + "\n"


def _shape(model: BaseModel, place: str) -> dict[str, object]:
    shaped: dict[str, object] = {}
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            shaped[name] = _shape(value, name)
        elif field.is_required() or name in _SHOWN[place] or value != field.get_default():
            shaped[name] = value
    routes = shaped.get("api_url")
    if isinstance(routes, tuple) and len(routes) == 1:
        shaped["api_url"] = routes[0]
    return shaped


# ── JSON, held to what a provider file needs ───────────────────────────────────────────────────


def _decode(text: str | bytes) -> object:
    if len(text) > MAX_BYTES:
        raise Flaw(f"the file has more than {MAX_BYTES // 1024} KiB")
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8")
        except UnicodeDecodeError as error:
            raise Flaw(f"not UTF-8 (byte {error.start + 1})") from None
    if text.startswith("\ufeff"):
        raise Flaw("begins with a byte order mark: save it as plain UTF-8")
    _check_depth(text)
    twice: list[tuple[dict[str, object], str]] = []

    def gather(pairs: list[tuple[str, object]]) -> dict[str, object]:
        members: dict[str, object] = {}
        for name, value in pairs:
            if name in members:
                twice.append((members, name))
            members[name] = value
        return members

    try:
        document: object = json.loads(text, object_pairs_hook=gather, parse_constant=_no_constant, parse_int=_short_int)
    except json.JSONDecodeError as error:
        raise Flaw(f"line {error.lineno}, column {error.colno}: {_decapital(error.msg)}") from None
    except RecursionError:
        raise Flaw("nested too deep") from None
    if twice:
        holder, name = twice[0]
        raise Flaw(f"{_find(document, holder, '$') or '$'}: the key {_shown(name)} stands there twice")
    return document


def _check_depth(text: str) -> None:
    """Refuse deep nesting before the parser recurses into it."""
    depth = 0
    for token in re.finditer(r'"(?:[^"\\]|\\.)*+"?|[\[{]|[\]}]', text, re.DOTALL):
        if token[0] in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                line = text.count("\n", 0, token.start()) + 1
                raise Flaw(f"line {line}: nested more than {MAX_DEPTH} deep")
        elif token[0] in "]}":
            depth -= 1


def _no_constant(name: str) -> NoReturn:
    raise Flaw(f"{name} is not JSON")


def _short_int(digits: str) -> int:
    if len(digits) > 15:
        raise Flaw("holds a number of more than 15 digits")
    return int(digits)


def _find(value: object, wanted: object, place: str) -> str | None:
    """The place of an object inside a document, found by identity."""
    if value is wanted:
        return place
    children: list[tuple[str | int, object]] = []
    if isinstance(value, dict):
        children = list(value.items())
    elif isinstance(value, list):
        children = list(enumerate(value))
    found = (_find(child, wanted, place + _step(name)) for name, child in children)
    return next((there for there in found if there), None)


# ── telling what is wrong ──────────────────────────────────────────────────────────────────────


def _describe(flaws: list[ErrorDetails], document: dict[str, object]) -> list[str]:
    """One flaw for each place. Unknown keys come first: they often explain missing ones."""
    told: dict[str, str] = {}
    for flaw in sorted(flaws, key=lambda flaw: not _is_unknown_key(flaw)):
        told.setdefault(_place(flaw["loc"], document), _say(flaw))
    return [f"{place}: {what}" for place, what in told.items()]


def _is_unknown_key(flaw: ErrorDetails) -> bool:
    return flaw["type"] == "extra_forbidden" or flaw["loc"][-1:] == ("[key]",)


def _say(flaw: ErrorDetails) -> str:
    if flaw["type"] == "extra_forbidden":
        parents, name = tuple(map(str, flaw["loc"][:-1])), str(flaw["loc"][-1])
        return f"unknown key{_guess(name, parents)}"
    words = _WORDS.get(flaw["type"])
    if words is None:
        return _decapital(flaw["msg"])
    return words.format(**flaw.get("ctx", {}))


def _guess(name: str, parents: tuple[str, ...]) -> str:
    """`, did you mean 'scopes'?`: a key of this object that looks alike, or the object where it belongs."""
    model = _MODELS.get(parents)
    near = difflib.get_close_matches(name, model.model_fields, 1, 0.6) if model else []
    if near:
        return f", did you mean {near[0]!r}?"
    homes = [path for path, other in _MODELS.items() if name in other.model_fields]
    return f", it belongs to {''.join(['$', *map(_step, homes[0])])}" if homes else ""


def _place(loc: tuple[int | str, ...], document: object) -> str:
    """`$.oauth.scopes[0]`: the steps that the document itself has, and the name of one that is missing."""
    place, value = "$", document
    for step in loc:
        if isinstance(value, dict) and isinstance(step, str):
            place, value = place + _step(step), value.get(step)
        elif isinstance(value, list) and isinstance(step, int):
            place, value = place + _step(step), value[step]
        else:
            break
    return place


def _step(name: str | int) -> str:
    if isinstance(name, int):
        return f"[{name}]"
    return f".{name}" if _IDENTIFIER.match(name) and len(name) <= 64 else f"[{_shown(name)}]"


def _shown(text: str) -> str:
    """A text of the file, fit for a message: quoted, escaped and short (P16)."""
    return ascii(text if len(text) <= 40 else text[:39] + "…")


def _decapital(text: str) -> str:
    return text[:1].lower() + text[1:]
