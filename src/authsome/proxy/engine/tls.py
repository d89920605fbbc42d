"""One side of a TLS connection on top of any transport, built on `ssl.MemoryBIO`.

The event loops' own `start_tls` loses a ClientHello that came together with the CONNECT, offers no
session resumption and, on plain asyncio, keeps half a megabyte of buffers per connection.
"""

import asyncio
import contextlib
import ssl
from typing import Any, cast

_RECORD = 16384  # the most that one TLS record holds (RFC 8446 §5.1)
_HANDSHAKE = 22


class Truncated(ConnectionError):
    """The connection ended without TLS's close_notify, so that what came before it may not be all."""


class NotTls(ConnectionError):
    """The client spoke clear text where a TLS handshake was due."""


class TlsLayer(asyncio.Transport, asyncio.Protocol):
    """A protocol to the transport below, and a transport to the protocol above.

    The protocol above gets `connection_made` when the handshake is done, and `connection_lost` in
    any case, with the error of a handshake that failed.
    """

    __slots__ = ("_above", "_begun", "_below", "_eof", "_in", "_lost", "_open", "_out", "_paused", "tls")

    def __init__(
        self,
        context: ssl.SSLContext,
        above: asyncio.Protocol,
        *,
        server_name: str | None = None,
        session: ssl.SSLSession | None = None,
    ) -> None:
        super().__init__()
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        server_side = server_name is None
        self.tls = context.wrap_bio(self._in, self._out, server_side, server_name, session)
        self._above = above
        self._below: asyncio.Transport | None = None
        self._begun = not server_side
        self._open = self._paused = self._eof = self._lost = False

    # the protocol to what is below

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._below = cast(asyncio.Transport, transport)
        if self._begun:
            self._shake()

    def data_received(self, data: bytes) -> None:
        if self._open:
            self._in.write(data)
            self._read()
        elif not self._begun and data[0] != _HANDSHAKE:
            self._fail(NotTls("the client did not begin a TLS handshake"))
        else:
            self._begun = True
            self._in.write(data)
            self._shake()

    def eof_received(self) -> bool:
        self._in.write_eof()
        if not self._open:
            self._fail(Truncated("the connection ended during the TLS handshake"))
        elif not self._paused:
            self._read()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc)

    def pause_writing(self) -> None:
        self._above.pause_writing()

    def resume_writing(self) -> None:
        self._above.resume_writing()

    # the transport to what is above

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._lost or self._below is None:
            return
        try:
            sent = self.tls.write(data)
            if sent < len(data):
                rest = memoryview(data)
                while sent < len(data):
                    sent += self.tls.write(rest[sent : sent + _RECORD])
        except ssl.SSLError as error:
            self._fail(error)
            return
        self._below.write(self._out.read())

    def pause_reading(self) -> None:
        self._paused = True
        if self._below is not None and not self._lost:
            self._below.pause_reading()

    def resume_reading(self) -> None:
        if not self._paused:
            return
        self._paused = False
        if self._below is not None and not self._lost:
            self._below.resume_reading()
            if self._in.pending or self._in.eof:
                asyncio.get_running_loop().call_soon(self._read)

    def is_closing(self) -> bool:
        return self._lost or self._below is None or self._below.is_closing()

    def can_write_eof(self) -> bool:
        return False  # OpenSSL may lose what the peer still sends after our close_notify

    def finish_writing(self) -> None:
        """close_notify, then the end of our half below; what still arrives is not trusted (RFC 8446 §6.1)."""
        self._notify()
        if self._below is not None and not self._lost and self._below.can_write_eof():
            self._below.write_eof()

    def close(self) -> None:
        self._notify()
        if self._below is not None:
            self._below.close()

    def abort(self) -> None:
        if self._below is not None:
            self._below.abort()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        if self._below is not None:
            self._below.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        return 0 if self._below is None else self._below.get_write_buffer_size()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default if self._below is None else self._below.get_extra_info(name, default)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._above

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._above = cast(asyncio.Protocol, protocol)

    # between the two

    def _shake(self) -> None:
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return
        except (ssl.SSLError, ssl.CertificateError) as error:
            self._flush()  # the alert that says why
            self._fail(error)
            return
        self._flush()
        self._open = True
        self._above.connection_made(self)
        if self._in.pending:
            self._read()

    def _read(self) -> None:
        if self._paused or self._lost or self._eof:
            return
        chunks: list[bytes] = []
        error: Exception | None = None
        read, pending = self.tls.read, self._in
        try:
            while True:
                chunk = read(_RECORD)
                if not chunk:
                    self._eof = True
                    break
                chunks.append(chunk)
                if not pending.pending and not pending.eof:
                    break
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLEOFError:
            self._eof, error = True, Truncated("the connection ended without a close_notify")
        except ssl.SSLError as failure:
            error = failure
        if self._out.pending:
            self._flush()  # a key update, a ticket
        if chunks:
            self._above.data_received(chunks[0] if len(chunks) == 1 else b"".join(chunks))
        if error is not None:
            self._fail(error)
        elif self._eof and not self._lost and not self._above.eof_received():
            self.close()

    def _flush(self) -> None:
        if self._out.pending and self._below is not None:
            self._below.write(self._out.read())

    def _notify(self) -> None:
        if not self._open or self._lost:
            return
        with contextlib.suppress(ssl.SSLError):  # the peer's own close_notify is not waited for
            self.tls.unwrap()
        self._flush()

    def _fail(self, error: Exception) -> None:
        self._end(error)
        if self._below is not None:
            self._below.close()

    def _end(self, error: Exception | None) -> None:
        if not self._lost:
            self._lost = True
            above, self._above = self._above, _NOBODY  # or the two would keep each other
            above.connection_lost(error)


_NOBODY = asyncio.Protocol()
