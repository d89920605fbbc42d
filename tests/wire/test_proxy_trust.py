"""The interception certificates, judged by OpenSSL and by a handshake (X76, X78)."""

import ssl
import subprocess
import time
from pathlib import Path

import pytest
from wire_world import World, get, lendable

from authsome.model.run import Run
from authsome.proxy.engine.trust import Trust, leaf_pem, new_authority

HOSTS = ["api.mock.test", "under_score.mock.test", "a" * 60 + "." + "b" * 60 + ".test", "192.0.2.10", "2001:db8::1"]


def run(name: str) -> Run:
    return Run(id=name, token_digest=b"", pid=1, process_started=1, command="x", started_at=time.time())


@pytest.mark.parametrize("host", HOSTS)
def test_openssl_accepts_authority_and_leaf_strictly(tmp_path: Path, host: str) -> None:
    trust = Trust([new_authority(time.time())])
    certificate, _, _ = leaf_pem(trust._authorities[0], host, time.time())
    (tmp_path / "ca.pem").write_text(trust.bundle_pem)
    (tmp_path / "leaf.pem").write_bytes(certificate)
    name = ["-verify_ip", host] if ":" in host or host[0].isdigit() else ["-verify_hostname", host]
    shown = subprocess.run(
        ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", tmp_path / "ca.pem", *name,
         tmp_path / "leaf.pem"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert shown.returncode == 0, shown.stdout + shown.stderr
    own = subprocess.run(
        ["openssl", "verify", "-x509_strict", "-CAfile", tmp_path / "ca.pem", tmp_path / "ca.pem"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert own.returncode == 0, own.stdout + own.stderr


def test_the_authority_cannot_sign_another_authority(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text(new_authority(time.time())[0])
    shown = subprocess.run(
        ["openssl", "x509", "-noout", "-text", "-in", tmp_path / "ca.pem"], capture_output=True, text=True, check=True
    ).stdout
    assert "CA:TRUE, pathlen:0" in shown
    assert "Key Usage: critical" in shown
    assert "Basic Constraints: critical" in shown


@pytest.mark.parametrize("host", ["under_score.mock.test", "a" * 60 + "." + "b" * 60 + ".test"])
def test_odd_hosts_are_served_to_a_strict_client(world: World, host: str) -> None:  # X78
    world.lend(lendable("mock", routes=(host,)))
    world.options.resolve[host] = world.upstream.address
    token = world.run("r2")
    context = world.client_context()
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    wire, answer = world.connect(f"{host}:443", token)
    assert answer.status == 200
    sock = context.wrap_socket(wire.sock, server_hostname=host)
    (name,) = sock.getpeercert()["subjectAltName"]  # type: ignore[index,misc]
    assert name == ("DNS", host)


def test_each_run_and_host_has_its_own_leaf(world: World) -> None:  # X78
    def serial(token: str | None = None) -> str:
        return str(world.open(token=token).sock.getpeercert()["serialNumber"])  # type: ignore[attr-defined]

    first = serial()
    assert serial() == first  # kept for the run
    assert serial(world.run("r2")) != first


def test_a_run_is_served_by_the_authority_that_it_trusts(world: World) -> None:  # X76
    wire = world.open()
    world.call(world.trust.adopt, *new_authority(time.time() + 60))  # a renewal during the run
    world.call(world.trust.forget, "r1")
    assert wire.ask(get("/")).status == 200
    assert world.open().ask(get("/")).status == 200


def test_no_key_is_left_in_a_file(world: World) -> None:  # X76
    world.open().ask(get("/"))
    assert "PRIVATE" not in world.bundle.read_text()
    handles = [str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.exists()]
    assert not [name for name in handles if "authsome-leaf" in name]
