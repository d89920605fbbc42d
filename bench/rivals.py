"""The programs of others that a measurement needs: nginx as the upstream, squid and mitmproxy to compare with.

Each runs on a free port with a directory and a configuration of its own, as the current user where it can.
"""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from bench.place import KEY, LOOPBACK, free_port

ENVIRONMENT = Path(__file__).with_name(".rivals")
PATIENCE = 20.0

_NGINX = """
{user}
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/error.log crit;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  keepalive_timeout 300s;
  keepalive_requests 1000000000;
  default_type application/json;
  server {{
    listen {address} ssl http2 backlog=4096;
    ssl_certificate {servers}/server.pem;
    ssl_certificate_key {servers}/server.key;
    ssl_protocols TLSv1.3;
    if ($http_authorization != "Bearer {key}") {{ return 401; }}
    location = /v1/things {{ return 200 '{body}'; }}
    location = /v1/large {{ alias {directory}/large; }}
    location = /v1/upload {{  # a body is read to its end only where it is to be passed on
      client_max_body_size 0;
      client_body_buffer_size 65m;
      proxy_pass_request_body off;
      proxy_set_header Content-Length "";
      proxy_pass http://unix:{directory}/sink;
    }}
  }}
  server {{
    listen unix:{directory}/sink;
    location / {{ return 200 '{body}'; }}
  }}
}}
"""

_SQUID = """
http_port {address} ssl-bump tls-cert={directory}/ca.pem tls-key={directory}/ca.key \\
  generate-host-certificates=on dynamic_cert_mem_cache_size=4MB
sslcrtd_program {certgen} -s {directory}/certificates -M 4MB
sslcrtd_children 1
ssl_bump bump all
tls_outgoing_options cafile={upstream_ca}
hosts_file {directory}/hosts
request_header_access Authorization deny all
request_header_add Authorization "Bearer {key}" all
http_access allow localhost
http_access deny all
cache deny all
# with less, squid 5 closes the connection of a large and fast upload
client_request_buffer_max_size 128 MB
workers 1
via off
forwarded_for delete
access_log none
cache_log {directory}/cache.log
cache_store_log none
pid_filename {directory}/squid.pid
coredump_dir {directory}
pinger_enable off
shutdown_lifetime 0 seconds
"""


class Missing(Exception):
    """The program is not installed; the message says what would install it."""


class Rival:
    """A program of others, while it runs. `environment` is what a client needs to go through it."""

    def __init__(self, name: str, command: list[str], address: str, log: Path, more: dict[str, str]) -> None:
        self.name = name
        self.environment: dict[str, str] = {}
        self._log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=os.environ | more
            )
        try:
            self._await(address)
        except BaseException:
            self.close()
            raise

    def _await(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        deadline = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 1):
                return
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} does not run: {self._log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)

    def close(self) -> None:
        """Ends it."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def nginx(directory: Path, servers: Path, body: bytes, large: int) -> tuple[Rival, str]:
    """An upstream that wants the real key, with the certificate that lies in `servers`, and its address."""
    program = _find("nginx", "nginx")
    directory.mkdir()
    (directory / "large").write_bytes(bytes(large))
    address = f"{LOOPBACK}:{free_port()}"
    user = f"user {pwd.getpwuid(0).pw_name};" if os.geteuid() == 0 else ""
    file = directory / "nginx.conf"
    file.write_text(
        _NGINX.format(directory=directory, servers=servers, address=address, user=user, body=body.decode(), key=KEY)
    )
    command = [program, "-c", str(file), "-p", str(directory), "-e", str(directory / "error.log")]
    return Rival("nginx", command, address, directory / "error.log", {}), address


def squid(directory: Path, upstream_ca: Path, hosts: list[str]) -> Rival:
    """A squid that opens TLS and puts the key on. The hosts are this machine."""
    program, certgen = _find("squid", "squid-openssl"), Path("/usr/lib/squid/security_file_certgen")
    if not certgen.exists():
        raise Missing("squid is there without TLS (Debian: apt install squid-openssl)")
    directory.mkdir()
    _authority(directory)
    (directory / "upstream.pem").write_bytes(upstream_ca.read_bytes())
    (directory / "hosts").write_text(f"{LOOPBACK} {' '.join(hosts)} localhost\n")
    subprocess.run(
        [certgen, "-c", "-s", directory / "certificates", "-M", "4MB"], stdout=subprocess.DEVNULL, check=True
    )
    address = f"{LOOPBACK}:{free_port()}"
    file = directory / "squid.conf"
    file.write_text(
        _SQUID.format(
            directory=directory, address=address, certgen=certgen, upstream_ca=directory / "upstream.pem", key=KEY
        )
    )
    if os.geteuid() == 0:
        _give_away(directory, "proxy")
    # a name of its own keeps it apart from another squid of this machine
    command = [program, "--foreground", "-f", str(file), "-n", f"bench{os.getpid()}"]
    rival = Rival("squid", command, address, directory / "output.log", {})
    rival.environment = {"HTTPS_PROXY": f"http://{address}", "SSL_CERT_FILE": str(directory / "ca.pem")}
    return rival


def mitmproxy(directory: Path, upstream_ca: Path, hosts: list[str]) -> Rival:
    """A mitmproxy with an add-on that puts the key on."""
    program = ENVIRONMENT / "bin" / "mitmdump"
    if not program.exists():
        raise Missing("mitmproxy is not installed (make rivals)")
    directory.mkdir()
    address = f"{LOOPBACK}:{free_port()}"
    options = {
        "confdir": directory,
        "listen_host": LOOPBACK,
        "listen_port": address.rpartition(":")[2],
        "ssl_verify_upstream_trusted_ca": upstream_ca,
        "connection_strategy": "lazy",
        "upstream_cert": "false",
        "stream_large_bodies": "64k",
    }
    command = [str(program), "--quiet", "--scripts", str(Path(__file__).with_name("inject.py"))]
    command += [word for name, value in options.items() for word in ("--set", f"{name}={value}")]
    told = {"BENCH_KEY": KEY, "BENCH_HOSTS": " ".join(hosts)}
    rival = Rival("mitmproxy", command, address, directory / "output.log", told)
    rival.environment = {
        "HTTPS_PROXY": f"http://{address}",
        "SSL_CERT_FILE": str(directory / "mitmproxy-ca-cert.pem"),
    }
    return rival


def _find(program: str, package: str) -> str:
    found = shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    if found is None:
        raise Missing(f"{program} is not installed (Debian: apt install --no-install-recommends {package})")
    return found


def _give_away(directory: Path, user: str) -> None:
    """To the user that squid becomes where root starts it; the way there must be open."""
    for place in (directory, *directory.rglob("*")):
        shutil.chown(place, user, user)
    directory.parent.chmod(0o711)


def _authority(directory: Path) -> None:
    """`ca.pem` and `ca.key` of an authority that can sign."""
    key = generate_private_key(SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authsome bench authority")])
    now = datetime.now(UTC)
    usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
    public = key.public_key()
    certificate = (
        x509.CertificateBuilder(name, name, public, x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )
    (directory / "ca.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (directory / "ca.key").touch(mode=0o600)
    (directory / "ca.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
