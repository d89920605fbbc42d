"""A throw-away certificate authority for tests, in the shape that the strictest TLS clients accept."""

import datetime
import hashlib
import ipaddress
import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PEM = serialization.Encoding.PEM
USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


@dataclass(frozen=True)
class Leaf:
    """A server certificate with its chain, and its key, both PEM."""

    chain: bytes
    key: bytes

    def write(self, directory: Path) -> None:
        """server.pem and server.key, the names that the Node servers read."""
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "server.pem").write_bytes(self.chain)
        (directory / "server.key").write_bytes(self.key)

    def context(self) -> ssl.SSLContext:
        """For a server; `ssl` reads certificates from files only."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.NamedTemporaryFile() as file:
            file.write(self.chain + self.key)
            file.flush()
            context.load_cert_chain(file.name)
        return context


class Authority:
    """A CA with a new key. `pem` is its certificate, `hashed` the name under which OpenSSL finds it in a directory."""

    def __init__(self, name: str = "Test CA", days: int = 30) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        subject = _name(name)
        identifier = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        self._certificate = (
            _builder(subject, subject, self._key.public_key(), days)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
            .add_extension(_usage("key_cert_sign", "crl_sign", "digital_signature"), True)
            .add_extension(identifier, False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), False)
            .sign(self._key, hashes.SHA256())
        )
        self.pem = self._certificate.public_bytes(PEM)
        canonical = _name(name.lower()).public_bytes()[2:]  # OpenSSL hashes it in lower case, without the outer tag
        self.hashed = hashlib.sha1(canonical).digest()[3::-1].hex() + ".0"

    def leaf(self, *hosts: str, days: int = 30) -> Leaf:
        """A certificate for DNS names, wildcards or IP addresses; negative `days`: expired."""
        key = ec.generate_private_key(ec.SECP256R1())
        identifier = self._certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        certificate = (
            _builder(_name(hosts[0][:64]), self._certificate.subject, key.public_key(), days)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
            .add_extension(_usage("digital_signature"), True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)
            .add_extension(x509.SubjectAlternativeName([_general(host) for host in hosts]), False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), False)
            .sign(self._key, hashes.SHA256())
        )
        plain = key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return Leaf(certificate.public_bytes(PEM) + self.pem, plain)

    def write(self, directory: Path, *hosts: str) -> Path:
        """ca.pem, and server.pem and server.key for `hosts`; returns the path of ca.pem."""
        self.leaf(*hosts).write(directory)
        path = directory / "ca.pem"
        path.write_bytes(self.pem)
        return path


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _general(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _usage(*on: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{name: name in on for name in USAGES})


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    ends = now + datetime.timedelta(days=days)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(now, ends) - datetime.timedelta(days=1))
        .not_valid_after(ends)
    )
