"""Whom the real daemon trusts, and whom the programs in its runs are asked to trust (X64, X65, X76 to X80)."""

import base64
import datetime
import json
import os
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from e2e.rows_site import API, PLACEHOLDER, Agent, Site, request, send
from parts.canary import Canary
from parts.machine import need, node
from parts.pki import Authority, Leaf
from parts.rows_certificates import MUST_STAPLE, by_openssl, lenient
from wire.wire_world import Message, Upstream, Wire

from authsome.broker.roots import system_roots
from authsome.proxy.engine.trust import new_authority
from authsome.settings import Settings
from authsome.vault.vault import Vault

UNROUTED = "open.mock.test"
ODD = ["under_score.odd.test", "x" * 55 + ".odd.test", "x" * 56 + ".odd.test"]  # the last two: 64 and 65 bytes
BAD = {  # the reason that the refusal has to name
    "unknown": "signed certificate in certificate chain",
    "alone": "signed certificate",
    "expired": "certificate has expired",
    "renamed": "hostname mismatch",
    "sha1": "digest algorithm too weak",
    "old": "protocol version",
}


def alone() -> Leaf:
    """A certificate that nobody but itself vouches for."""
    authority = Authority("alone.bad.test")
    key = authority._key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Leaf(authority.pem, key)


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory, canary: Canary) -> Iterator[Site]:
    need("openssl", "curl")
    with Site(tmp_path_factory.mktemp("r"), canary, *ODD) as site:
        pki = site.pki
        contexts = {
            "unknown": Authority("Unknown CA").leaf("unknown.bad.test").context(),
            "alone": alone().context(),
            "expired": pki.leaf("expired.bad.test", days=-1).context(),
            "renamed": pki.leaf("another.bad.test").context(),
            "sha1": lenient(by_openssl(pki, "sha1.bad.test", "sha1")),
            "old": lenient(pki.leaf("old.bad.test"), ssl.TLSVersion.TLSv1_1),
            "revoked": lenient(by_openssl(pki, "revoked.bad.test", "sha256", MUST_STAPLE)),
        }
        for name, context in contexts.items():
            site.listen(f"{name}.bad.test", Upstream(context))
        site.resolve |= dict.fromkeys((UNROUTED, *ODD), site.server.address)
        site.provider("mock", API, "*.bad.test", "*.odd.test")
        site.start()
        yield site


@pytest.fixture
def site(started: Site) -> Site:
    return started.fresh()


def server_of(site: Site, host: str) -> Upstream:
    return next(each for each in site.servers if each.address == site.resolve[host])


@pytest.mark.parametrize("name", BAD)
def test_x64_a_server_that_does_not_prove_who_it_is_gets_no_byte(site: Site, canary: Canary, name: str) -> None:  # X64
    host = f"{name}.bad.test"
    shown = site.run("curl", "-sSi", "--http1.1", f"https://{host}/v1").ok().out
    assert "HTTP/1.1 502" in shown, shown
    head, _, body = shown.split("HTTP/1.1 502", 1)[1].partition("\n\n")
    assert "X-Authsome-Error: endpoint_unreachable" in head
    told = json.loads(body)
    assert f"{host}:443 cannot be trusted: " in told["message"] and BAD[name] in told["message"].lower(), told
    assert canary.secret not in shown
    server = server_of(site, host)
    assert server.connections  # it was asked for its certificate
    assert not server.requests and not any(wire.seen for wire in server.wires)


def test_x64_whether_a_certificate_was_revoked_is_not_asked(site: Site) -> None:  # X64
    # Python's ssl neither asks for a stapled proof (RFC 6066 §8) nor minds its absence where a certificate demands
    # one (RFC 7633), and no list of revoked ones is fetched. The threat model says so, and this keeps it true.
    assert site.run("curl", "-sS", "https://revoked.bad.test/").ok().out == "hello"


def test_x65_what_the_environment_of_its_start_does_to_the_daemon(
    tmp_path_factory: pytest.TempPathFactory, canary: Canary
) -> None:  # X65
    root = tmp_path_factory.mktemp("r")
    requests_ca, keys = Authority("CA of a client library"), root / "keys.log"
    (root / "requests.pem").write_bytes(requests_ca.pem)
    with Site(root, canary) as site:
        proxy = Upstream(None)  # refuses whatever it is asked
        proxy.handler = lambda wire, _: send(wire, b"", status="503 Unavailable")
        site.servers.append(proxy)
        site.listen("bundled.mock.test", Upstream(requests_ca.leaf("bundled.mock.test").context()))
        site.provider("mock", API, "bundled.mock.test", "far.mock.test")
        env = {
            "SSL_CERT_FILE": str(site.ca),
            "REQUESTS_CA_BUNDLE": str(root / "requests.pem"),
            "SSLKEYLOGFILE": str(keys),
            "HTTPS_PROXY": f"http://user:hidden-{canary.secret}@{proxy.address}",
        }
        site.start(env, ca_file=False)
        with site.agent() as agent:
            assert agent.get().status == 200  # SSL_CERT_FILE names further roots, by design
            refused = agent.get(host="bundled.mock.test")  # REQUESTS_CA_BUNDLE is another program's
            assert refused.status == 502 and b"signed certificate in certificate chain" in refused.body
            far = agent.get(host="far.mock.test")  # HTTPS_PROXY is the way, by design; TLS is verified at its end
            assert far.status == 502 and b"the upstream proxy" in far.body and not far.holds(canary.secret)
        assert "connections go through" in site.cli("doctor").out
        assert {each.start for each in proxy.requests} == {"CONNECT far.mock.test:443 HTTP/1.1"}
        assert not any(site.key.encode() in wire.seen for wire in proxy.wires)
        assert not keys.exists()  # whoever reads the keys of TLS reads the credential


# ── the interception authority ─────────────────────────────────────────────────────────────────


def authorities_of(agent: Agent) -> list[x509.Certificate]:
    """What the bundle of a run holds beside the roots of the system."""
    end = b"-----END CERTIFICATE-----"
    known, held = system_roots().split(end), Path(agent.environment["SSL_CERT_FILE"]).read_bytes().split(end)
    ours = {part.strip() for part in held} - {part.strip() for part in known}
    return [x509.load_pem_x509_certificate(part + end) for part in ours if part]


def lives(certificate: x509.Certificate) -> datetime.timedelta:
    return certificate.not_valid_after_utc - certificate.not_valid_before_utc


def verify(directory: Path, *arguments: str, **certificates: x509.Certificate) -> None:
    """`openssl verify`, strictly."""
    for name, certificate in certificates.items():
        (directory / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    command = ["openssl", "verify", "-x509_strict", "-no-CApath", "-CAfile", "ca.pem", *arguments]
    shown = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stdout + shown.stderr


def test_x76_the_authority_of_a_run_signs_leaves_for_a_month_and_nothing_else(
    site: Site, tmp_path: Path
) -> None:  # X76
    with site.agent() as agent:
        (ca,) = authorities_of(agent)
    verify(tmp_path, "ca.pem", ca=ca)
    basic = ca.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (basic.critical, basic.value) == (True, x509.BasicConstraints(ca=True, path_length=0))
    usage = ca.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical and usage.value.key_cert_sign and not usage.value.digital_signature
    identifier = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    named = ca.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert named.key_identifier == identifier.digest
    assert lives(ca) <= datetime.timedelta(days=30)
    assert ca.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value == "authsome"
    assert ca.public_bytes(serialization.Encoding.PEM) not in system_roots()


def test_x76_an_authority_gets_its_successor_long_before_it_ends(
    tmp_path_factory: pytest.TempPathFactory, canary: Canary, tmp_path: Path
) -> None:  # X76
    with Site(tmp_path_factory.mktemp("r"), canary) as site:
        now, day, key = time.time(), 86400.0, base64.b64encode(os.urandom(32)).decode()
        vault = Vault.open(Settings(home=str(site.home.path), root_key=key))  # nobody's keyring is asked
        vault.add_authority(*new_authority(now - 21 * day), now - 21 * day)
        vault.close()
        site.start({"AUTHSOME_ROOT_KEY": key})
        with site.agent() as agent:
            old, new = sorted(authorities_of(agent), key=lambda each: each.not_valid_after_utc)
            assert agent.get().status == 200
            leaf = x509.load_der_x509_certificate(agent.certificate)
    assert new.not_valid_after_utc - old.not_valid_after_utc > datetime.timedelta(days=20)
    verify(tmp_path, "leaf.pem", ca=new, leaf=leaf)


def test_x76_the_key_of_the_authority_is_nowhere_on_the_disk(site: Site) -> None:  # X76
    # a P-256 key as PKCS #8, without the key itself: what every unsealed copy would begin with
    begins = bytes.fromhex("308187020100301306072a8648ce3d020106082a8648ce3d030107046d306b0201010420")
    marks = [begins, b"PRIVATE KEY", base64.b64encode(begins)[:40]]
    with site.agent() as agent:
        assert agent.get().status == 200
        files = [path for path in site.home.root.rglob("*") if path.is_file()]
        assert any(path.name == "vault.db" for path in files) and any(path.name == "ca.pem" for path in files)
        assert [path for path in files for mark in marks if mark in path.read_bytes()] == []


def test_x78_a_leaf_is_for_one_host_of_one_run(site: Site, tmp_path: Path) -> None:  # X78
    leaves = []
    for _ in range(2):
        with site.agent() as agent:
            (ca,) = authorities_of(agent)
            for host in (API, *ODD):
                assert agent.ask(request(host=host), host=host, strict=True)[0].status == 200, host
                leaf = x509.load_der_x509_certificate(agent.certificate)
                verify(tmp_path, "-purpose", "sslserver", "-verify_hostname", host, "leaf.pem", ca=ca, leaf=leaf)
                named = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
                assert list(named) == [x509.DNSName(host)]
                usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
                assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]
                basic = leaf.extensions.get_extension_for_class(x509.BasicConstraints)
                assert (basic.critical, basic.value.ca) == (True, False)
                common = [each.value for each in leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
                assert common == ([host] if len(host) <= 64 else [])  # as long as one may be
                assert lives(leaf) <= datetime.timedelta(days=30)
                leaves.append(leaf)
    assert len({leaf.serial_number for leaf in leaves}) == len(leaves)
    assert len({leaf.public_key().public_numbers() for leaf in leaves}) == len(leaves)  # type: ignore[union-attr]


@pytest.mark.parametrize("client", ["curl", "python", "node"])
def test_x78_clients_accept_what_they_are_shown(site: Site, client: str) -> None:  # X76 X78
    url = f"https://{API}/"
    strict = "import ssl, sys, urllib.request as u; c = ssl.create_default_context(); "
    strict += f"c.verify_flags |= ssl.VERIFY_X509_STRICT; print(u.urlopen('{url}', context=c).read().decode(), end='')"
    if client == "node":
        need("node")
    command = {
        "curl": ["curl", "-sS", url],
        "python": [sys.executable, "-c", strict],
        "node": [node(), "-e", f"fetch('{url}').then(r => r.text()).then(t => process.stdout.write(t))"],
    }
    assert site.run(*command[client]).ok().out == "hello"


# ── past the proxy ─────────────────────────────────────────────────────────────────────────────


def test_x79_an_unrouted_host_shows_its_own_certificate(site: Site) -> None:  # X79
    with site.agent(env={"SSL_CERT_FILE": str(site.ca)}) as agent:
        assert agent.get("/", f"Authorization: Bearer {PLACEHOLDER}", host=UNROUTED).status == 200
        real = x509.load_pem_x509_certificate(site.leaf.chain)
        assert agent.certificate == real.public_bytes(serialization.Encoding.DER)
        assert agent.get("/").status == 200  # a routed one does not
        assert agent.certificate != real.public_bytes(serialization.Encoding.DER)
    assert site.server.requests[0].one("authorization") == f"Bearer {PLACEHOLDER}"  # it was not looked at


def test_x80_a_program_that_goes_past_the_proxy_has_nothing_to_tell(site: Site) -> None:  # X80
    def echo(wire: Wire, received: Message) -> None:
        send(wire, "".join(received.all("authorization")).encode())

    site.server.handler = echo
    env = {"SSL_CERT_FILE": str(site.ca)}
    past = (
        f'curl -sS --connect-to {API}:443:{site.server.address} -H "Authorization: Bearer $MOCK_TOKEN" https://{API}/'
    )
    for script in (
        f"{past} --noproxy '*'",
        f"NO_PROXY='*' no_proxy='*' {past}",
        f"env -u https_proxy -u HTTPS_PROXY -u ALL_PROXY -u all_proxy {past}",
    ):
        assert site.run("sh", "-c", script, env=env).ok().out == f"Bearer {PLACEHOLDER}", script
    with site.agent(env=env) as agent:
        carries = request("/", f"Authorization: Bearer {agent.environment['MOCK_TOKEN']}")
        (answer,) = agent.ask(carries, port=site.server.port, direct=True)
        assert answer.body == f"Bearer {PLACEHOLDER}".encode()
    assert {each.one("authorization") for each in site.server.requests} == {f"Bearer {PLACEHOLDER}"}


def test_x80_what_would_lead_past_the_proxy_is_left_out_of_a_run(site: Site) -> None:  # X80
    env = {"NO_PROXY": "*", "no_proxy": f".test,{API}"}
    shown = site.run("sh", "-c", f"echo $NO_PROXY; curl -sS https://{API}/", env=env).ok()
    assert "*" not in shown.out.splitlines()[0] and API not in shown.out.splitlines()[0]
    assert shown.err.count("NO_PROXY: left out") == 3
    assert [each.one("authorization") for each in site.server.requests] == [f"Bearer {site.key}"]
