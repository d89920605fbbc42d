"""How a credential is put on a request: a closed set of kinds."""

from dataclasses import dataclass
from typing import Literal


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
class FixedHeader:
    """A header without a secret that goes with the credential, set only where the child sent none."""

    name: str
    value: str


Injection = HeaderInjection | BasicInjection | QueryInjection | FixedHeader
