"""What passes between the gate, which decides on a request, and the exchange, which carries it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from authsome.proxy.engine.dial import Origin
from authsome.proxy.engine.refusals import Refusal
from authsome.proxy.rules.decide import Deny


@dataclass(slots=True, kw_only=True)
class Asked:
    """What an exchange needs to know of its request. `answered` is told the status of the final answer.

    `needles` are the forms of the injected credential that are taken out of the answer (P6), `hides_tokens` tells of
    an answer that hands out others. `renew` is told that the provider answered 401; where it says yes, the exchange
    will be given another head, or told that there is none. The body of a request that `holds_body` is sent once it is
    complete, as `substitute` returns it.
    """

    origin: Origin
    method: str
    answered: Callable[[int], None] | None = None
    injected: bool = False
    needles: tuple[bytes, ...] = ()
    hides_tokens: bool = False
    renew: Callable[[], bool] | None = None
    holds_body: bool = False
    substitute: Callable[[bytes], bytes | Deny] | None = None


class Borrower(Protocol):
    """An exchange that gets the head of its request with the credential, or hears that there is none.

    It cancels `lending` when it ends before.
    """

    lending: asyncio.Task[None] | None

    def lent(self, head: bytes) -> None: ...

    def not_lent(self, refusal: Refusal) -> None: ...
