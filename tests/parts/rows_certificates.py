"""Server certificates that the library does not make: signed with SHA-1, or such as ask for a proof of validity."""

import ssl
import subprocess
import tempfile
import warnings
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from parts.pki import PEM, Authority, Leaf

MUST_STAPLE = "tlsfeature = status_request"  # RFC 7633


def by_openssl(authority: Authority, host: str, digest: str, *extensions: str) -> Leaf:
    """A certificate for a host, made by the program `openssl` with this digest and further extensions."""
    private = serialization.PrivateFormat.PKCS8
    key = authority._key.private_bytes(PEM, private, serialization.NoEncryption())
    more = "\n".join([f"subjectAltName = DNS:{host}", "extendedKeyUsage = serverAuth", *extensions, ""])
    with tempfile.TemporaryDirectory() as directory:
        for name, content in {"ca.key": key, "ca.pem": authority.pem, "more": more.encode()}.items():
            Path(directory, name).write_bytes(content)
        asked = "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout leaf.key -out leaf.req -subj /CN="
        signed = "x509 -req -in leaf.req -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile more -out leaf.pem"
        for command in ([*asked.split()[:-1], f"/CN={host[:64]}"], [*signed.split(), f"-{digest}"]):
            subprocess.run(["openssl", *command], cwd=directory, check=True, capture_output=True)
        return Leaf(Path(directory, "leaf.pem").read_bytes() + authority.pem, Path(directory, "leaf.key").read_bytes())


def lenient(leaf: Leaf, latest: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED) -> ssl.SSLContext:
    """A server that would do anything that OpenSSL still can, up to a version of TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # deprecated is what it is about
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = latest
    with tempfile.NamedTemporaryFile() as file:
        file.write(leaf.chain + leaf.key)
        file.flush()
        context.load_cert_chain(file.name)
    return context
