"""A throw-away certificate authority with one server certificate, in the shape that strict TLS clients demand."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFETIME = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerCertificate:
    """PEM: the authority's certificate, the server's chain, the server's private key (not a secret that lasts)."""

    authority: bytes
    chain: bytes
    key: bytes


def certify(host: str) -> ServerCertificate:
    """A certificate for one host by an authority whose key is forgotten at once."""
    authority_key, server_key = generate_private_key(SECP256R1()), generate_private_key(SECP256R1())
    authority = _sign(_authority(authority_key), authority_key, authority_key)
    server = _sign(_server(host, server_key), server_key, authority_key)
    return ServerCertificate(
        authority=authority.public_bytes(Encoding.PEM),
        chain=server.public_bytes(Encoding.PEM) + authority.public_bytes(Encoding.PEM),
        key=server_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )


_AUTHORITY = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authsome demo authority")])


def _authority(key: EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    return (
        _begin(_AUTHORITY, key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
    )


def _server(host: str, key: EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    return (
        _begin(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)]), key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
    )


def _begin(subject: x509.Name, key: EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(_AUTHORITY)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + LIFETIME)
    )


def _sign(
    builder: x509.CertificateBuilder, key: EllipticCurvePrivateKey, authority_key: EllipticCurvePrivateKey
) -> x509.Certificate:
    """Both key identifiers are added here because strict verification asks every certificate for them."""
    authority_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    return (
        builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(authority_id, critical=False)
        .sign(authority_key, hashes.SHA256())
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
