"""Reading what authorization servers answer: JSON held to a shape, or a named failure (P14, O11–O15)."""

import json
import math
from collections.abc import Iterable
from urllib.parse import urlsplit

from authsome.errors import LoginFailed
from authsome.flows.steps import Fetched
from authsome.model.route import is_loopback_url
from authsome.model.secret import Secret

MAX_DEPTH = 32
MAX_VALUE = 16 * 1024
TEN_YEARS = 10 * 365 * 86400


class Document:
    """A JSON object with typed access; a member of the wrong type is a LoginFailed that names it."""

    def __init__(self, members: dict[str, object], source: str) -> None:
        self._members = members
        self._source = source

    @classmethod
    def read(cls, answer: Fetched, source: str) -> "Document":
        """The body as a JSON object. Raises LoginFailed."""
        try:
            value = json.loads(answer.body.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            raise LoginFailed(f"{source} sent an invalid answer (HTTP {answer.status}, not JSON)") from None
        if not isinstance(value, dict) or _depth(value) > MAX_DEPTH:
            raise LoginFailed(f"{source} sent an invalid answer (HTTP {answer.status}, not a plain JSON object)")
        return cls(value, source)

    def text(self, name: str) -> str | None:
        """A string of visible ASCII, or None where the member is missing or null."""
        value = self._members.get(name)
        if value is None:
            return None
        if not isinstance(value, str) or not value or len(value) > MAX_VALUE or not _is_visible(value):
            raise self._bad(name)
        return value

    def need(self, name: str) -> str:
        """As `text`, but the member must be there."""
        value = self.text(name)
        if value is None:
            raise self._bad(name)
        return value

    def secret(self, name: str) -> Secret | None:
        """As `text`, wrapped at the door."""
        value = self.text(name)
        return None if value is None else Secret(value)

    def words(self, name: str) -> tuple[str, ...] | None:
        """A list of strings, or None where it is missing."""
        value = self._members.get(name)
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(v, str) and _is_visible(v) for v in value):
            raise self._bad(name)
        return tuple(value)

    def flag(self, name: str) -> bool:
        """Whether a member is true."""
        return self._members.get(name) is True

    def seconds(self, name: str) -> float | None:
        """A positive span or instant of at most ten years from its origin; anything odd counts as unknown (O15)."""
        value = self._members.get(name)
        if isinstance(value, str) and len(value) < 20:
            try:
                value = float(value)
            except ValueError:
                return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return None
        return float(value) if value > 0 else None

    def scopes(self, name: str, separator: str) -> tuple[str, ...] | None:
        """Granted scopes: one string, or a list as some servers send it. GitHub answers with commas."""
        value = self._members.get(name)
        if isinstance(value, str):
            words = value.replace(separator, " ").split()
            value = words[0].split(",") if len(words) == 1 else words
        if not isinstance(value, list):
            return None
        return tuple(v for v in value if isinstance(v, str) and _is_visible(v))

    def url(self, name: str, *, near: str) -> str | None:
        """An endpoint: https, or http on loopback beside a server that is itself there by the owner's word.

        `near` is the URL that the owner wrote or that was already accepted.
        """
        value = self.text(name)
        if value is None:
            return None
        why = refuses(value, near)
        if why:
            raise LoginFailed(f"{self._source}: {name} {why}")
        return value

    def _bad(self, name: str) -> LoginFailed:
        return LoginFailed(f"{self._source} sent an invalid answer: {name}")


def refuses(url: str, near: str) -> str | None:
    """Why a server's URL is not followed, or None (P14, O10)."""
    try:
        parts, local = urlsplit(url), is_loopback_url(url)
    except ValueError:
        return "is not a URL"
    safe = parts.scheme == "https" or (parts.scheme == "http" and local)
    if not safe or not parts.hostname or parts.username is not None or parts.fragment:
        return "is not an https URL"
    return "points to this machine" if local and not is_loopback_url(near) else None


def clean(text: str | None, limit: int = 200) -> str:
    """Text of a server, fit to be shown: printable, one line, bounded (P16)."""
    return "".join(c if c.isprintable() else " " for c in (text or ""))[:limit].strip()


def origin(url: str) -> str:
    """`https://host[:port]`, lower case."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()


def _is_visible(value: str) -> bool:
    return all("!" <= c <= "~" for c in value)


def _unique(pairs: Iterable[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError("a member is given twice")
        found[name] = value
    return found


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _depth(value: object) -> int:
    deepest, todo = 0, [(value, 1)]
    while todo:
        item, depth = todo.pop()
        deepest = max(deepest, depth)
        if isinstance(item, dict):
            todo.extend((v, depth + 1) for v in item.values())
        elif isinstance(item, list):
            todo.extend((v, depth + 1) for v in item)
    return deepest
