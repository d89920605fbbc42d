"""The TLS handshake with a server: verified, in time, resumed where a session is kept."""

import asyncio
import ssl
from collections import OrderedDict

from authsome.proxy.engine.dial import Origin, unreachable, untrusted
from authsome.proxy.engine.tls import TlsLayer

_LIFE = 3600.0  # a resumed session skips the certificate, so it is not used for longer
_MOST = 1024


class Sessions:
    """The last session of each origin. Times are those of the event loop, in seconds."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Origin, tuple[ssl.SSLSession, float]] = OrderedDict()

    def of(self, origin: Origin, now: float) -> ssl.SSLSession | None:
        """A session that may be resumed."""
        session, since = self._kept.get(origin, (None, 0.0))
        return session if since + _LIFE > now else None

    def wants(self, origin: Origin, now: float) -> bool:
        """Whether none is kept, or none for long. Asked first, because CPython loses 6 KB with each session read."""
        return origin not in self._kept or self._kept[origin][1] + _LIFE / 2 < now

    def keep(self, origin: Origin, session: ssl.SSLSession | None, now: float) -> bool:
        """Keep a session if it can be resumed, and tell whether it can.

        TLS 1.3 sends its ticket after the handshake, so this is called after an exchange.
        """
        if session is None or not session.has_ticket:
            return session is None
        self._kept[origin] = session, now
        self._kept.move_to_end(origin)
        if len(self._kept) > _MOST:
            self._kept.popitem(last=False)
        return True


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
