"""The roots by which servers are verified: the system's and the owner's own, the same for every outgoing connection.

Why not by truststore: docs/adr/0015-roots.md.
"""

import asyncio
import codecs
import contextlib
import os
import re
import ssl
import stat
from collections.abc import Callable, Iterable

from authsome.errors import DaemonUnavailable, UsageError

# Where systems keep their roots, for an OpenSSL that was built to look elsewhere.
_USUAL = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
MOST_BYTES = 8 << 20
"""A file of every CA there is has a fortieth of it."""

_CERTIFICATE = re.compile(
    rb"^-----BEGIN ((?:X509 |TRUSTED )?CERTIFICATE)-----\s([A-Za-z0-9+/=\s]+\n)-----END \1-----", re.MULTILINE
)
"""One of a PEM file as OpenSSL finds it (RFC 7468 §3 and its own two labels)."""


def verified_context(ca_files: Iterable[str]) -> ssl.SSLContext:
    """Verified TLS 1.2 or later for a client, the system's roots and those of `ca_files` trusted.

    Built by hand: `ssl.create_default_context` would obey SSLKEYLOGFILE (X65). Raises DaemonUnavailable where
    one of the files holds no certificates.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    paths = ssl.get_default_verify_paths()
    for path in (paths.openssl_cafile, *_USUAL):
        with contextlib.suppress(UsageError):
            if certificates(path):
                context.load_verify_locations(cafile=path)
                break
    with contextlib.suppress(OSError):
        context.load_verify_locations(capath=paths.openssl_capath)
    if os.name == "nt":
        context.load_default_certs()
    _add(context, ca_files)
    return context


def check_ca_files(ca_files: Iterable[str]) -> None:
    """What `verified_context` would raise because of them, without the system's roots, which take a megabyte."""
    _add(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), ca_files)


def _add(context: ssl.SSLContext, ca_files: Iterable[str]) -> None:
    for path in ca_files:
        try:
            context.load_verify_locations(cafile=path)
        except (OSError, ssl.SSLError):
            raise DaemonUnavailable(
                f"{path}: no CA certificates can be read from it", "AUTHSOME_CA_FILE and SSL_CERT_FILE name PEM files"
            ) from None


class LaterContext:
    """A context that takes some milliseconds and a megabyte to make, made in a thread when it is first needed."""

    def __init__(self, make: Callable[[], ssl.SSLContext]) -> None:
        self._make = make
        self._made: asyncio.Future[ssl.SSLContext] | None = None

    async def get(self) -> ssl.SSLContext:
        """The context. Raises what making it raises."""
        if self._made is None:
            self._made = asyncio.ensure_future(asyncio.to_thread(self._make))
        return await asyncio.shield(self._made)


def system_roots() -> bytes:
    """The roots of the system as PEM; empty where none are found."""
    for path in (ssl.get_default_verify_paths().openssl_cafile, *_USUAL):
        with contextlib.suppress(UsageError):
            content = certificates(path)
            if content:
                return content
    return b""


def certificates(path: str) -> bytes:
    """The certificates of a PEM file and nothing else of it; empty for anything else.

    What stands around them may be a key or a password. Raises UsageError for what is never read whole.
    """
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise UsageError(f"{path}: expected a file of CA certificates, and this is no regular file")
            content = file.read(MOST_BYTES + 1)
    except (OSError, ValueError):
        return b""
    if len(content) > MOST_BYTES:
        raise UsageError(f"{path}: a file of CA certificates may have {MOST_BYTES >> 20} MiB, and this has more")
    content = content.removeprefix(codecs.BOM_UTF8)  # OpenSSL looks past it too
    return b"".join(found[0] + b"\n" for found in _CERTIFICATE.finditer(content))


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a pipe would wait for its other end
