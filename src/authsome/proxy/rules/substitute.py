"""Placeholders in bodies: replaced in the members of JSON, or the fields of a form, that a provider's file names.

Elsewhere in a body a placeholder is text like any other: it is no secret, and nothing takes its place.
"""

import json
from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple
from urllib.parse import quote_plus, unquote_plus, unquote_to_bytes

from authsome.model.injection import BodyInjection
from authsome.model.secret import Secret
from authsome.proxy.rules.decide import Deny, Inject, misplaced
from authsome.proxy.rules.head import Field
from authsome.proxy.rules.placeholders import Placeholders

LARGEST_BODY = 1 << 20

_MOST_FIELDS = 1000
_FORM = b"application/x-www-form-urlencoded"


class Kind(Enum):
    """What a body is."""

    JSON = "json"
    FORM = "form"


class Substitution(NamedTuple):
    """What to look for in one request's body, once it is complete."""

    kind: Kind
    names: frozenset[str]
    placeholders: Placeholders
    provider: str
    connection: str

    def apply(self, body: bytes, credential: Secret) -> bytes | Deny:
        """The body with the credential in it, or a refusal where a placeholder stands for another (P3)."""
        if self.kind is Kind.FORM:
            return self._in_form(body, credential)
        return self._in_json(body, credential) if self.placeholders.count(body) else body

    def _in_form(self, body: bytes, credential: Secret) -> bytes | Deny:
        if body.count(b"&") > _MOST_FIELDS:
            if not self.placeholders.count(unquote_to_bytes(body)):
                return body
            return misplaced(f"a form of more than {_MOST_FIELDS} fields with a placeholder")
        parts = body.split(b"&")
        for at, part in enumerate(parts):
            name, _, value = part.partition(b"=")
            if unquote_plus(name.decode("latin-1")) in self.names:
                stands = self._stands(unquote_plus(value.decode("latin-1")))
                if isinstance(stands, Deny):
                    return stands
                if stands:
                    parts[at] = name + b"=" + quote_plus(credential.reveal()).encode()
        return b"&".join(parts)

    def _in_json(self, body: bytes, credential: Secret) -> bytes | Deny:
        try:
            document = json.loads(body, parse_int=str)  # a number may have any length (RFC 8259 §6)
        except (ValueError, RecursionError):
            return body
        standing: list[str] = []
        for name in self.names if isinstance(document, dict) else ():
            value = document.get(name)
            stands = self._stands(value) if isinstance(value, str) else False
            if isinstance(stands, Deny):
                return stands
            if stands:
                standing.append(value)
        if not standing:
            return body
        value = json.dumps(credential.reveal()).encode()
        filled = body
        for text in set(standing):
            # only the value is written anew, so that every other byte stays as the child wrote it
            literal = json.dumps(text).encode()
            if filled.count(literal) != standing.count(text):
                return misplaced("a placeholder in several places of its body")
            filled = filled.replace(literal, value)
        # what was replaced may have stood elsewhere, the placeholder itself being spelled in another way
        wanted = document | {name: credential.reveal() for name in self.names if document.get(name) in standing}
        if json.dumps(json.loads(filled, parse_int=str)) != json.dumps(wanted):
            return misplaced("a placeholder in an unusual spelling in its body")
        return filled

    def _stands(self, value: str) -> bool | Deny:
        """Whether a value is a placeholder of this connection."""
        text = value.encode("latin-1", "replace")
        found = self.placeholders.whole(text)
        if found is None and not self.placeholders.count(text):
            return False
        if found is None or not found.stands_for(self.provider) or found.connection not in ("", self.connection):
            return misplaced(f"a placeholder that does not stand for {self.provider}/{self.connection}")
        return True


def substitution_of(fields: Iterable[Field], decision: Inject, length: int | None) -> Substitution | None:
    """What is to be replaced in a body of this length (None where it is not known before its end), if anything."""
    if length == 0 or (length is not None and length > LARGEST_BODY):
        return None
    lendable = decision.lendable
    names = frozenset(each.field for each in lendable.injections if isinstance(each, BodyInjection))
    kind = _kind_of(fields) if names else None
    if kind is None:
        return None
    return Substitution(kind, names, decision.placeholders, lendable.provider, lendable.connection)


def _kind_of(fields: Iterable[Field]) -> Kind | None:
    kind = None
    for name, _, value in fields:
        if name == b"content-encoding" and value.lower() != b"identity":
            return None
        if name == b"content-type":
            text = value.partition(b";")[0].strip().lower()
            if text == _FORM:
                kind = Kind.FORM
            elif text == b"application/json" or text.endswith(b"+json"):
                kind = Kind.JSON
    return kind
