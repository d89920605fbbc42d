"""`Secret`: a string that does not print."""

import hmac
from typing import NoReturn

MASK = "***"


class Secret:
    """A credential's value. It shows as `***` wherever it is formatted; only `reveal()` opens it.

    It cannot be pickled or copied into JSON, it compares in constant time, and it has no length
    and no truth of its own, so that nothing about the value leaks by accident.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself. Every use of this method is a place where a secret leaves its type."""
        return self._value

    def __repr__(self) -> str:
        return MASK

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        ours, theirs = (s._value.encode("utf-8", "surrogatepass") for s in (self, other))
        return hmac.compare_digest(ours, theirs)

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret does not leave the process")
