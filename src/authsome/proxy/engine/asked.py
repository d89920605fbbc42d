"""What passes between the gate, which decides on a request, and the exchange, which carries it."""

import asyncio
from typing import TYPE_CHECKING, NamedTuple, Protocol

from authsome.model.secret import Secret
from authsome.proxy.engine.dial import Origin
from authsome.proxy.engine.refusals import Refusal
from authsome.proxy.rules.decide import Deny, Inject, Request
from authsome.proxy.rules.inject import Outline
from authsome.proxy.rules.substitute import Substitution
from authsome.proxy.rules.table import RouteTable

if TYPE_CHECKING:
    from authsome.proxy.engine.gate import Gate


class Judged(NamedTuple):
    """A request with what was decided on it by one table; the last three are there where it gets a credential.

    `empty` tells that it has no body. `substitution` is there where something may have to be replaced in it.
    """

    table: RouteTable
    request: Request
    empty: bool
    decision: Inject | None = None
    outline: Outline | None = None
    substitution: Substitution | None = None


class Asked:
    """What an exchange needs to know of its request, and whom it tells how it went.

    `credential` is the one that went with it, and `needles` are its forms, which are taken out of the answer (P6);
    `hides_tokens` tells of an answer that hands out others. The body of a request that `holds_body` is sent once it
    is complete, as `substituted` returns it.
    """

    __slots__ = ("_gate", "credential", "hides_tokens", "holds_body", "judged", "method", "needles", "origin")

    def __init__(
        self,
        origin: Origin,
        method: str,
        gate: "Gate | None" = None,
        judged: Judged | None = None,
        *,
        hides_tokens: bool = False,
    ) -> None:
        self.origin = origin
        self.method = method
        self.hides_tokens = hides_tokens
        self.needles: tuple[bytes, ...] = ()
        self.credential: Secret | None = None
        # what was decided, where a credential goes with it
        self.judged = judged if judged is not None and judged.decision is not None else None
        self.holds_body = judged is not None and judged.substitution is not None
        self._gate = gate

    def still_holds(self) -> Refusal | None:
        """Asked after a wait: whether the request may still go, and with this credential; or a refusal."""
        return None if self._gate is None or self.judged is None else self._gate.check_again(self.judged)

    def answered(self, status: int) -> None:
        """An answer has come; 0 tells that none will, to a request that has left."""
        if self._gate is not None and self.judged is not None:
            self._gate.answered(self.judged, status)

    def renew(self, borrower: "Borrower") -> bool:
        """The provider answered 401. Where this says yes, the exchange will get another head, or hear of none."""
        return self._gate is not None and self.judged is not None and self._gate.renew(borrower, self.judged, self)

    def substituted(self, body: bytes) -> bytes | Deny:
        """The whole body of a request with the credential in it, or a refusal."""
        if self.judged is None or self.judged.substitution is None or self.credential is None:
            return body
        return self.judged.substitution.apply(body, self.credential)


class Borrower(Protocol):
    """An exchange that gets the head of its request with the credential, or hears that there is none.

    It cancels `lending` when it ends before.
    """

    lending: asyncio.Task[None] | None

    def lent(self, head: bytes) -> None: ...

    def not_lent(self, refusal: Refusal) -> None: ...
