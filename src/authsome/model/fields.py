"""The texts a provider file is made of: each a type that lets nothing in that could act elsewhere (P16, P20, W11)."""

import re
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, StringConstraints

from authsome.model.authority import Authority, BadAuthority
from authsome.model.names import PROVIDER, is_exportable, is_header_value, is_settable_header
from authsome.model.pattern import BadPattern, Pattern
from authsome.model.route import Route, is_loopback_url

BASE_URL = "{base_url}"

_EXAMPLE = "https://base.invalid"  # stands in for the base URL while a template is checked
_SCOPE = re.compile(r"[!#-\[\]-~]+\Z")  # RFC 6749 §3.3
_PARAMETER = re.compile(r"[A-Za-z0-9._~$\[\]-]+\Z")
_PLACEHOLDER = re.compile(r"[A-Za-z0-9._~-]+\Z")
KEY_IN_SEGMENT = "{api_key}"
_SEGMENT = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9._~-]{0,63}" + re.escape(KEY_IN_SEGMENT) + r"\Z")


def checked_url(value: str) -> str:
    """An https URL in visible ASCII, or http on loopback; no user information, no fragment (P14, P16).

    Raises ValueError.
    """
    if not value.startswith(("https://", "http://")) or "#" in value or "{" in value or "}" in value:
        raise ValueError("expected an https URL")
    try:
        Authority.of_url(value)
    except BadAuthority as error:
        raise ValueError(f"expected an https URL ({error})") from None
    if value.startswith("http:") and not is_loopback_url(value):
        raise ValueError("expected an https URL (http only for a loopback address)")
    return value


def _segment(value: str) -> str:
    if _SEGMENT.match(value) is None:
        raise ValueError(f"expected a beginning and {KEY_IN_SEGMENT}, for example bot{KEY_IN_SEGMENT}")
    return value


def _link(value: str) -> str:
    """As `checked_url`, but a page may be opened at a fragment."""
    checked_url(value.partition("#")[0])
    if not all("!" <= c <= "~" for c in value):
        raise ValueError("expected an https URL in visible ASCII")
    return value


def checked_base_url(value: str) -> str:
    """What may take the place of `{base_url}`: a URL without a query and without its last slash.

    Raises ValueError.
    """
    if "?" in checked_url(value):
        raise ValueError("expected an https URL without a query")
    return value.rstrip("/")


def _printable(value: str) -> str:
    """No control, bidirectional-override or unassigned character, and no blank at an end."""
    if not value.isprintable():
        raise ValueError("holds a control or an invisible character")
    if value != value.strip():
        raise ValueError("begins or ends with a blank")
    return value


def _template(value: str) -> str:
    if not value.startswith(BASE_URL):
        return checked_url(value)
    if value != BASE_URL and not value.startswith(f"{BASE_URL}/"):
        raise ValueError(f"a path has to follow {BASE_URL}")
    checked_url(value.replace(BASE_URL, _EXAMPLE, 1))
    return value


def _route(value: str) -> str:
    text = value
    if value.startswith(BASE_URL):
        text = _template(value).replace(BASE_URL, _EXAMPLE, 1)
    try:
        Route.parse(text)
    except BadAuthority as error:
        raise ValueError(f"{value!r}: {error}") from None
    return value


def _header(value: str) -> str:
    if not is_settable_header(value):
        raise ValueError(f"{value!r} is not a header that a provider file may set")
    return value


def _header_text(value: str) -> str:
    if not value.isascii() or not is_header_value(value):
        raise ValueError("expected the value of a header: visible ASCII, blanks inside alone")
    return value


def _variable(value: str) -> str:
    if not is_exportable(value):
        raise ValueError(f"{value!r} cannot be the name of an exported variable: expected one like ACME_API_KEY")
    return value


def _provider_name(value: str) -> str:
    if not PROVIDER.match(value):
        raise ValueError("expected at most 64 lower-case letters, digits, '_', '-' and '.', a letter or digit first")
    return value


def _scope(value: str) -> str:
    if not _SCOPE.match(value):
        raise ValueError("expected one scope: visible ASCII without blanks, quotes and backslashes")
    return value


def _parameter(value: str) -> str:
    if not _PARAMETER.match(value):
        raise ValueError(f"{value!r} is not the name of a parameter")
    return value


def _placeholder(value: str) -> str:
    if not _PLACEHOLDER.match(value):
        raise ValueError("expected letters, digits, '.', '_', '~' and '-'")
    return value


def _user_name(value: str) -> str:
    if ":" in value or not value.isascii() or not value.isprintable():
        raise ValueError("expected the user name of Basic authentication: ASCII without ':'")
    return value


def _pattern(value: str) -> str:
    try:
        Pattern.parse(value)
    except BadPattern as error:
        raise ValueError(str(error)) from None
    return value


ProviderName: TypeAlias = Annotated[str, StringConstraints(max_length=64), AfterValidator(_provider_name)]
Title: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=80), AfterValidator(_printable)]
Sentence: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=500), AfterValidator(_printable)]
Link: TypeAlias = Annotated[str, StringConstraints(max_length=2000), AfterValidator(_link)]
Url: TypeAlias = Annotated[str, StringConstraints(max_length=2000), AfterValidator(checked_url)]
UrlTemplate: TypeAlias = Annotated[str, StringConstraints(max_length=2000), AfterValidator(_template)]
BaseUrl: TypeAlias = Annotated[str, StringConstraints(max_length=2000), AfterValidator(checked_base_url)]
RouteText: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=500), AfterValidator(_route)]
Scope: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=300), AfterValidator(_scope)]
PathSegment: TypeAlias = Annotated[str, StringConstraints(max_length=100), AfterValidator(_segment)]
ParameterName: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=100), AfterValidator(_parameter)]
ParameterValue: TypeAlias = Annotated[str, StringConstraints(max_length=1000), AfterValidator(_printable)]
HeaderName: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=100), AfterValidator(_header)]
HeaderText: TypeAlias = Annotated[str, StringConstraints(max_length=500), AfterValidator(_header_text)]
UserName: TypeAlias = Annotated[str, StringConstraints(max_length=200), AfterValidator(_user_name)]
Variable: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=128), AfterValidator(_variable)]
KeyPattern: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=256), AfterValidator(_pattern)]
ShapedPlaceholder: TypeAlias = Annotated[
    str, StringConstraints(min_length=16, max_length=256), AfterValidator(_placeholder)
]
