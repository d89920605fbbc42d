"""The TLS handshake with a server: verified, in time, resumed where a session is kept."""

import asyncio
import ssl
from collections import OrderedDict
from typing import Protocol

from authsome.proxy.engine.dial import Origin, unreachable, untrusted
from authsome.proxy.engine.tls import TlsLayer

_LIFE = 3600.0  # a resumed session skips the certificate, so it is not used for longer
_WITHOUT = 60.0  # before a server that gave none is asked again
_MOST = 1024


class Resumable(Protocol):
    """A connection, as far as its TLS session is concerned."""

    @property
    def session(self) -> ssl.SSLSession | None: ...


class Sessions:
    """The last session of each host and port. Times are those of the event loop, in seconds."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[object, ...], tuple[ssl.SSLSession | None, float]] = OrderedDict()

    def of(self, origin: Origin, now: float) -> ssl.SSLSession | None:
        """A session that may be resumed."""
        session, since = self._kept.get(origin[:2], (None, 0.0))
        return session if since + _LIFE > now else None

    def renew(self, origin: Origin, connection: Resumable, now: float) -> None:
        """Keep a connection's session where none is kept, or none that will do for long.

        TLS 1.3 sends its ticket after the handshake, so this is called after an exchange. A session is read seldom,
        even from servers that give no tickets: CPython loses 6 KB each time.
        """
        place = origin[:2]
        before = self._kept.get(place)
        if before is not None and before[1] + (_LIFE / 2 if before[0] is not None else _WITHOUT) >= now:
            return
        session = connection.session
        self._kept[place] = session if session is not None and session.has_ticket else None, now
        self._kept.move_to_end(place)
        if len(self._kept) > _MOST:
            self._kept.popitem(last=False)


async def shake_hands(
    layer: TlsLayer, ready: asyncio.Future[None], origin: Origin, seconds: float, version: str
) -> None:
    """Wait until `ready` says that the connection can be used. Raises CannotDial."""
    try:
        async with asyncio.timeout(seconds):
            await ready
    except TimeoutError:
        layer.abort()
        raise unreachable(origin, "its TLS handshake takes too long") from None
    except ssl.SSLError as error:
        if error.reason == "TLSV1_ALERT_NO_APPLICATION_PROTOCOL":
            raise unreachable(origin, f"it does not speak {version}") from None
        raise untrusted(origin, error) from None
    except OSError as error:
        raise unreachable(origin, error.strerror or str(error)) from None
    except BaseException:
        layer.abort()
        raise
