"""What a connection is worth right now, as far as it can be told without waiting."""

import time
from dataclasses import dataclass

from authsome.model.secret import Secret


@dataclass(frozen=True, slots=True)
class Offer:
    """Times are on the monotonic clock, which is one for all processes of a machine.

    `fresh_until` is None for a credential that does not expire, `renewable_from` where it cannot be refreshed.
    """

    value: Secret | None
    fresh_until: float | None = None
    renewable_from: float | None = None

    @property
    def fresh(self) -> Secret | None:
        """The credential, where it can be lent as it is."""
        return self.value if self.fresh_until is None or self.fresh_until > time.monotonic() else None

    def can_replace(self, refused: Secret) -> bool:
        """Whether there is, or can be by a refresh, another credential than one that the API answered 401 to."""
        if self.value != refused:
            return self.value is not None
        return self.renewable_from is not None and self.renewable_from < time.monotonic()
