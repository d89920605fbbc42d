"""How a credential is put on a request: a closed set of kinds."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class HeaderInjection:
    """`name: prefix value`; the blank after the prefix is ours."""

    name: str
    prefix: str = "Bearer"


@dataclass(frozen=True, slots=True)
class BasicInjection:
    """`Authorization: Basic` (RFC 7617) where the secret is one role and `other` is the other."""

    secret_is: Literal["username", "password"]
    other: str


@dataclass(frozen=True, slots=True)
class QueryInjection:
    """The value stands in a query parameter."""

    parameter: str


@dataclass(frozen=True, slots=True)
class PathInjection:
    """The value takes the place of a placeholder in a segment of the path, behind `prefix`."""

    prefix: str


@dataclass(frozen=True, slots=True)
class BodyInjection:
    """The value takes the place of a placeholder in a member of a JSON body, or a field of a form."""

    field: str


@dataclass(frozen=True, slots=True)
class FixedHeader:
    """A header without a secret that goes with the credential, set only where the child sent none."""

    name: str
    value: str


Injection = HeaderInjection | BasicInjection | QueryInjection | PathInjection | BodyInjection | FixedHeader


@dataclass(frozen=True, slots=True)
class Placement:
    """How a credential is put on requests, and whether it is taken out of answers; pinned at login (P18).

    `credential_headers` are others in which clients of the provider are known to send a credential.
    """

    injections: tuple[Injection, ...]
    credential_headers: tuple[str, ...] = ()
    scrub: bool = True

    def to_json(self) -> dict[str, Any]:
        """What `from_json` reads."""
        return {
            "injections": [{"kind": _NAMES[type(each)]} | asdict(each) for each in self.injections],
            "credential_headers": list(self.credential_headers),
            "scrub": self.scrub,
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "Placement":
        """What was stored. Raises KeyError or TypeError for anything else."""
        injections = []
        for each in found["injections"]:
            members = dict(each)
            injections.append(_KINDS[members.pop("kind")](**members))
        return cls(tuple(injections), tuple(found["credential_headers"]), found["scrub"] is not False)

    def __str__(self) -> str:
        how = ", ".join(_shown(each) for each in self.injections if not isinstance(each, FixedHeader))
        return how if self.scrub else f"{how}, left in answers"


_KINDS: dict[str, type[Injection]] = {
    "header": HeaderInjection,
    "basic": BasicInjection,
    "query": QueryInjection,
    "path": PathInjection,
    "body": BodyInjection,
    "fixed": FixedHeader,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}


def _shown(injection: Injection) -> str:
    match injection:
        case HeaderInjection(name=name, prefix=prefix):
            return f"header {name}: {prefix}".rstrip(": ")
        case BasicInjection(secret_is=role):
            return f"Basic {role}"
        case QueryInjection(parameter=parameter):
            return f"query ?{parameter}="
        case PathInjection(prefix=prefix):
            return f"path /{prefix}…/"
        case BodyInjection(field=field):
            return f"body field {field}"
        case FixedHeader(name=name):
            return f"header {name}"
