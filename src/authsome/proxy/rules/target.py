"""Reading a request-target (RFC 9112 §3.2) into one authority, one normalised path and the query as sent."""

import re
from typing import NamedTuple

from authsome.model.authority import Authority, BadAuthority


class BadTarget(ValueError):
    """A request-target that two parsers could read differently; the message says why."""


class Target(NamedTuple):
    """`path` is normalised and starts with `/`; `query` is as sent, with its `?`, or empty."""

    path: str
    query: str = ""

    def __str__(self) -> str:
        return self.path + self.query


# What needs no work: segments that start with no dot and hold nothing encoded, no backslash, no parameter.
_PLAIN = re.compile(r"(?:/(?:[A-Za-z0-9_~!$&'()*+,=:@-][A-Za-z0-9._~!$&'()*+,=:@-]*)?)+")
_VISIBLE = re.compile(r"[!-~]*")
_ESCAPE = re.compile(r"%(..?|$)", re.DOTALL)
_ABSOLUTE = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)([^#]*)(#.*)?")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def parse_origin(text: str) -> Target:
    """`/path?query`. Raises BadTarget."""
    path, mark, query = text.partition("?")
    if _PLAIN.fullmatch(path) is None:
        path = _normal_path(path)
    if query and (_VISIBLE.fullmatch(query) is None or "#" in query):
        raise BadTarget("the query holds a character that must be encoded")
    return Target(path, mark + query)


def parse_absolute(text: str) -> tuple[str, Authority, Target]:
    """`scheme://authority/path?query`, the scheme in lower case. Raises BadTarget."""
    match = _ABSOLUTE.fullmatch(text)
    if match is None:
        raise BadTarget("not an absolute URL")
    scheme, netloc, rest, fragment = match.groups()
    if fragment is not None:
        raise BadTarget("a fragment does not belong in a request")
    scheme = scheme.lower()
    if scheme not in ("http", "https"):
        raise BadTarget("neither http nor https")
    authority = _authority(netloc, 443 if scheme == "https" else 80)
    return scheme, authority, parse_origin(rest if rest.startswith("/") else "/" + rest)


def parse_authority(text: str) -> Authority:
    """`host:port` of a CONNECT; the port must be there (RFC 9110 §9.3.6). Raises BadTarget."""
    if not text.rpartition(":")[2].isdigit():
        raise BadTarget("CONNECT needs a host and a port")
    return _authority(text, 443)


def _authority(text: str, default_port: int) -> Authority:
    try:
        return Authority.parse(text, default_port)
    except BadAuthority as error:
        raise BadTarget(str(error)) from None


def _normal_path(path: str) -> str:
    """RFC 3986 §6.2.2: unreserved characters decoded, dot segments removed; what is ambiguous is refused."""
    if not path.startswith("/"):
        raise BadTarget("the path does not start with a slash")
    if _VISIBLE.fullmatch(path) is None or "\\" in path or "#" in path:
        raise BadTarget("the path holds a character that must be encoded")
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        plain = _ESCAPE.sub(_decode, segment) if "%" in segment else segment
        _refuse_hidden_dots(segment, plain)
        if plain == "..":
            if kept:
                kept.pop()
        elif plain != ".":
            kept.append(plain)
    if plain in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)


def _decode(match: re.Match[str]) -> str:
    digits = match[1]
    try:
        code = int(digits, 16) if len(digits) == 2 and digits.isalnum() else -1
    except ValueError:
        code = -1
    if code < 0:
        raise BadTarget("a percent sign is not followed by two hexadecimal digits")
    char = chr(code)
    if code < 0x20 or code == 0x7F or char == "\\":
        raise BadTarget("the path holds an encoded control character or backslash")
    return char if char in _UNRESERVED else match[0]


def _refuse_hidden_dots(segment: str, plain: str) -> None:
    """A dot segment that only some servers would see: encoded, before a parameter, between encoded slashes."""
    if plain in (".", "..") and plain == segment:
        return
    for part in re.split("%2[fF]", plain):
        if re.split(";|%3[bB]", part)[0] in (".", ".."):
            raise BadTarget("the path hides a dot segment")
