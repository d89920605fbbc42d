"""The interception authority: short-lived, in memory, and one leaf certificate for each run and host (X76, X78)."""

import contextlib
import datetime
import os
import secrets
import ssl
import tempfile
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from authsome.model.authority import BadAuthority, normal_host
from authsome.model.run import Run
from authsome.model.secret import Secret

_DAY = 86400.0
_LIFE = 30 * _DAY
_OVERLAP = 10 * _DAY  # before its end, an authority gets a successor
_BACKDATED = 3600.0  # for clients whose clock is late
_LEAF_LIFE = 3 * _DAY
_CONTEXTS = 256


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate that signs leaves. `begins` and `ends` are seconds since the epoch."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    pem: str
    begins: float
    ends: float


class Trust:
    """The authorities of a home, oldest first, and the server contexts that they have signed for."""

    def __init__(self, authorities: Iterable[tuple[str, Secret]] = (), now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._authorities: list[Authority] = []
        self._contexts: OrderedDict[tuple[str, str], tuple[ssl.SSLContext, float]] = OrderedDict()
        for certificate_pem, key in authorities:
            self.adopt(certificate_pem, key)

    def adopt(self, certificate_pem: str, key: Secret) -> None:
        """One more authority; one that has ended is left out. Raises ValueError for what is not a P-256 pair."""
        certificate = x509.load_pem_x509_certificate(certificate_pem.encode())
        private = serialization.load_pem_private_key(key.reveal().encode(), None)
        if not isinstance(private, ec.EllipticCurvePrivateKey) or private.public_key() != certificate.public_key():
            raise ValueError("the key does not belong to the certificate")
        ends = certificate.not_valid_after_utc.timestamp()
        if ends > self._now():
            begins = certificate.not_valid_before_utc.timestamp() + _BACKDATED
            self._authorities.append(Authority(certificate, private, certificate_pem, begins, ends))
            self._authorities.sort(key=lambda each: each.begins)

    @property
    def is_due(self) -> bool:
        """Whether a successor should be made and adopted now."""
        return not self._authorities or self._authorities[-1].ends - self._now() < _OVERLAP

    @property
    def bundle_pem(self) -> str:
        """The certificates that a new run has to trust."""
        now = self._now()
        return "".join(each.pem for each in self._authorities if each.ends > now)

    def context_for(self, run: Run, host: str) -> ssl.SSLContext:
        """The server side of TLS for one host in one run; it refuses any other server name (X04).

        `host` is normal. Raises LookupError where there is no authority.
        """
        now, key = self._now(), (run.id, host)
        found = self._contexts.get(key)
        if found is not None and found[1] > now:
            self._contexts.move_to_end(key)
            return found[0]
        context, ends = _context(self._authority_of(run), host, now)
        self._contexts[key] = context, ends - _DAY / 24
        self._contexts.move_to_end(key)
        if len(self._contexts) > _CONTEXTS:
            self._contexts.popitem(last=False)
        return context

    def forget(self, run_id: str) -> None:
        """Drop what was made for a run."""
        for key in [key for key in self._contexts if key[0] == run_id]:
            del self._contexts[key]

    def _authority_of(self, run: Run) -> Authority:
        """The newest one that was there when the run got its bundle."""
        valid = [each for each in self._authorities if each.ends > self._now()]
        if not valid:
            raise LookupError("no interception authority is valid")
        known = [each for each in valid if each.begins <= run.started_at]
        return known[-1] if known else valid[-1]


def new_authority(now: float) -> tuple[str, Secret]:
    """A fresh authority, as certificate and private key in PEM. `now` is seconds since the epoch."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "authsome"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"authsome interception {secrets.token_hex(4)}"),
        ]
    )
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        _builder(name, name, key.public_key(), now - _BACKDATED, now - _BACKDATED + _LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode(), Secret(_key_pem(key).decode())


def leaf_pem(authority: Authority, host: str, now: float) -> tuple[bytes, bytes, float]:
    """A leaf for exactly one host: certificate and key in PEM, and when it ends."""
    key = ec.generate_private_key(ec.SECP256R1())
    begins = max(now - _BACKDATED, authority.certificate.not_valid_before_utc.timestamp())
    ends = min(now + _LEAF_LIFE, authority.ends)
    names = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "authsome run")]
    if len(host) <= 64:  # the bound of a common name (RFC 5280, appendix A)
        names.append(x509.NameAttribute(NameOID.COMMON_NAME, host))
    issuer = authority.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    certificate = (
        _builder(x509.Name(names), authority.certificate.subject, key.public_key(), begins, ends)
        .add_extension(x509.SubjectAlternativeName([_general_name(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer), critical=False)
        .sign(authority.key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM), _key_pem(key), ends


def _context(authority: Authority, host: str, now: float) -> tuple[ssl.SSLContext, float]:
    certificate, key, ends = leaf_pem(authority, host, now)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.num_tickets = 1
    context.set_alpn_protocols(["http/1.1", "h2"])  # the fast path for whoever speaks both
    context.sni_callback = _only(host)
    _load(context, certificate + authority.pem.encode() + key)
    return context, ends


def _only(host: str) -> Callable[[ssl.SSLObject, str | None, ssl.SSLContext], int | None]:
    """A check of the server name: the host of the CONNECT, or none at all."""

    def check(_tls: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> int | None:
        try:
            if name is None or name == host or normal_host(name) == host:
                return None
        except BadAuthority:
            pass
        return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME

    return check


def _load(context: ssl.SSLContext, pem: bytes) -> None:
    """`load_cert_chain` reads files only, and a private key must not be on a disk."""
    if hasattr(os, "memfd_create"):
        handle = os.memfd_create("authsome-leaf", os.MFD_CLOEXEC)
        with contextlib.suppress(OSError), os.fdopen(handle, "wb") as file:
            file.write(pem)
            file.flush()
            context.load_cert_chain(f"/proc/self/fd/{handle}")
            return
    with tempfile.NamedTemporaryFile() as file:  # created 0600, removed at once
        file.write(pem)
        file.flush()
        context.load_cert_chain(file.name)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, begins: float, ends: float
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.datetime.fromtimestamp(int(begins), datetime.UTC))
        .not_valid_after(datetime.datetime.fromtimestamp(int(ends), datetime.UTC))
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
