"""What passes between the gate, which decides on a request, and the exchange, which carries it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from authsome.proxy.engine.dial import Origin
from authsome.proxy.engine.refusals import Refusal


@dataclass(slots=True, kw_only=True)
class Asked:
    """What an exchange needs to know of its request. `answered` is told the status of the final answer.

    `needles` are the forms of the injected credential that are taken out of the answer (P6). `renew` is told that
    the provider answered 401; where it says yes, the exchange will be given another head, or told that there is none.
    """

    origin: Origin
    method: str
    answered: Callable[[int], None] | None = None
    injected: bool = False
    needles: tuple[bytes, ...] = ()
    renew: Callable[[], bool] | None = None


class Borrower(Protocol):
    """An exchange that gets the head of its request with the credential, or hears that there is none.

    It cancels `lending` when it ends before.
    """

    lending: asyncio.Task[None] | None

    def lent(self, head: bytes) -> None: ...

    def not_lent(self, refusal: Refusal) -> None: ...
