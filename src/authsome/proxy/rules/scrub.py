"""Taking the injected value out of what comes back (P6): in place, so that no framing changes and nothing waits.

A value is overwritten by as many bytes. That keeps Content-Length, chunks and ranges true, and a stream streams: only
an end that could be the beginning of a value is held back until more comes. Transformed echoes are not recognised.
"""

import base64
from collections.abc import Iterable
from urllib.parse import quote

from authsome.model.injection import BasicInjection, FixedHeader, HeaderInjection, Injection, QueryInjection
from authsome.model.secret import Secret

SHORTEST = 8  # shorter values would be found in ordinary text (X63)
_MARK = b"[redacted]"


def needles_of(injections: Iterable[Injection], credential: Secret) -> tuple[bytes, ...]:
    """Every form in which an injected value was sent: plain, percent-encoded, base64 of a Basic pair."""
    plain = credential.reveal()
    forms = {plain}
    for injection in injections:
        match injection:
            case QueryInjection():
                forms.add(quote(plain, safe=""))
            case BasicInjection(secret_is=role, other=other):
                pair = f"{plain}:{other}" if role == "username" else f"{other}:{plain}"
                forms.add(base64.b64encode(pair.encode()).decode())
            case HeaderInjection() | FixedHeader():
                pass
    return tuple(
        form.encode("latin-1", "ignore") for form in sorted(forms, key=len, reverse=True) if len(form) >= SHORTEST
    )


def overwrite(data: bytes, needles: tuple[bytes, ...]) -> bytes:
    """The same number of bytes, without the values."""
    for needle in needles:
        if needle in data:
            data = data.replace(needle, _cover(needle))
    return data


class Scrubber:
    """Overwrites values in a body that comes in pieces."""

    __slots__ = ("_held", "_needles")

    def __init__(self, needles: tuple[bytes, ...]) -> None:
        self._needles = needles
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """What can be passed on now."""
        if self._held:
            data, self._held = self._held + data, b""
        data = overwrite(data, self._needles)
        open_end = max((_open_end(data, needle) for needle in self._needles), default=0)
        if open_end:
            data, self._held = data[:-open_end], data[-open_end:]
        return data

    def finish(self) -> bytes:
        """What was held back at the end of the body: no whole value came of it."""
        held, self._held = self._held, b""
        return held


def _open_end(data: bytes, needle: bytes) -> int:
    """The length of the longest end of `data` that is a proper beginning of `needle`."""
    at = max(len(data) - len(needle) + 1, 0)
    first = needle[:1]
    while (at := data.find(first, at)) >= 0:
        if needle.startswith(data[at:]):
            return len(data) - at
        at += 1
    return 0


def _cover(needle: bytes) -> bytes:
    return _MARK.ljust(len(needle), b"*") if len(needle) >= len(_MARK) else b"*" * len(needle)
