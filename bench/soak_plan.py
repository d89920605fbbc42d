"""What the soak's clients and its upstream agree on: the kinds of requests, and what is in the bodies."""

from dataclasses import dataclass
from enum import Enum

HOST = "api.soak.test"
PROVIDER = "soak"
VARIABLE = "SOAK_ACCESS_TOKEN"
LIFETIME = 5
GRACE = 2.0
LARGE = 1 << 19
ECHOES = 5


class Due(Enum):
    """How a request has to end at the client."""

    ANSWERED = "answered"
    RESET = "an error, because the upstream reset the connection"
    EITHER = "an answer where it was repeated, else an error"
    BROKEN = "a body that breaks off"
    LEFT = "given up by the client"


@dataclass(frozen=True, slots=True)
class Kind:
    """One way in which a request goes; `share` is how often, of a hundred."""

    share: int
    due: Due
    method: str = "GET"


KINDS = {
    "plain": Kind(44, Due.ANSWERED),
    "coded": Kind(5, Due.ANSWERED),
    "upload": Kind(12, Due.ANSWERED, "POST"),
    "slow": Kind(5, Due.ANSWERED),
    "stream": Kind(8, Due.ANSWERED),
    "large": Kind(4, Due.ANSWERED),
    "socket": Kind(3, Due.ANSWERED),
    "last": Kind(2, Due.ANSWERED),  # the upstream closes the connection after it, and does not say so
    "reset": Kind(3, Due.RESET),
    "reset-once": Kind(3, Due.EITHER),
    "reset-post": Kind(2, Due.RESET, "POST"),
    "cut": Kind(3, Due.BROKEN),
    "leave-waiting": Kind(2, Due.LEFT),
    "leave-reading": Kind(2, Due.LEFT),
    "leave-sending": Kind(2, Due.LEFT, "POST"),
}


def body_of(identity: str, size: int) -> bytes:
    """A body that no other request has."""
    one = identity.encode() + b"\n"
    return (one * (size // len(one) + 1))[:size]


def size_of(identity: str) -> int:
    """Of the answer to a plain request."""
    return 40 + sum(identity.encode()) * 7919 % 5000
