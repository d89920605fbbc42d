"""Temporary homes for the time of a measurement, and the servers beside them."""

import base64
import contextlib
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Self

PROVIDER = "bench"
DOMAIN = "bench.test"
HOST, FAR_HOST, LIVE_HOST = (f"{name}.{DOMAIN}" for name in ("api", "far", "live"))
KEY = "bench-key-0123456789abcdef0123456789abcdef"
LOOPBACK = "127.0.0.1"
LARGE = 1_000_000


class Home:
    """A temporary home and what its daemon needs; a context manager. Every measured process gets `environment`."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="authsome-bench-"))
        self.home = self.directory / "home"
        self.servers = self.directory / "servers"
        self.ca_file = self.servers / "ca.pem"
        ours = {name: value for name, value in os.environ.items() if not name.startswith("AUTHSOME_")}
        odd = {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"}
        self.environment = {name: value for name, value in ours.items() if name.upper() not in odd}
        self._processes: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Self:
        try:
            self.build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def build(self) -> None:
        """Makes the home; a subclass starts its servers before and logs in after."""
        (self.home / "providers").mkdir(parents=True, mode=0o700)
        self.home.chmod(0o700)
        self.servers.mkdir()
        key = self.directory / "root.key"
        key.touch(mode=0o600)
        key.write_text(base64.b64encode(os.urandom(32)).decode() + "\n")
        self.environment |= {
            "AUTHSOME_HOME": str(self.home),
            "AUTHSOME_PORT": str(free_port()),
            "AUTHSOME_CA_FILE": str(self.ca_file),
            "AUTHSOME_ROOT_KEY_FILE": str(key),
        }

    def provide(self, file: dict[str, object]) -> None:
        """Writes a provider file."""
        (self.home / "providers" / f"{file['name']}.json").write_text(json.dumps({"schema_version": 1, **file}))

    def resolve(self, hosts: dict[str, str]) -> None:
        """Writes the configuration: where the daemon dials for a host."""
        lines = [f'"{host}" = "{address}"' for host, address in hosts.items()]
        (self.home / "config.toml").write_text("\n".join(["[resolve]", *lines, ""]))

    def serve(self, module: str, *arguments: str) -> subprocess.Popen[str]:
        """Starts a server of ours, which ends with its stdin."""
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._processes.append(process)
        return process

    def call(self, *arguments: str, text: str = "", more: dict[str, str] | None = None) -> str:
        """What one authsome command prints. Raises RuntimeError with what it complained about."""
        command = [*authsome(), *arguments]
        environment = self.environment | (more or {})
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, env=environment, timeout=60, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr}")
        return done.stdout

    def daemon(self) -> Path:
        """The daemon's directory in /proc."""
        return Path("/proc", (self.home / "run" / "daemon.lock").read_text().strip())

    def memory(self) -> int:
        """What the daemon has in memory, in bytes."""
        status = (self.daemon() / "status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS:"))

    def close(self) -> None:
        """Ends the daemon and the servers, removes the files."""
        try:
            if (self.home / "run" / "daemon.sock").exists():
                self.call("daemon", "stop")
        finally:
            for process in self._processes:
                process.terminate()
                process.communicate()
            shutil.rmtree(self.directory, ignore_errors=True)


class Place(Home):
    """With one `api_key` connection, whose three hosts have local TLS upstreams.

    `upstream` says where one of ours listens for all of them until `lead` sends the daemon elsewhere.
    """

    upstream = ""

    def build(self) -> None:
        """As `Home.build`."""
        super().build()
        self.upstream = heard(self.serve("bench.upstream", str(self.servers), f"*.{DOMAIN}", str(LARGE)))
        hosts = [HOST, FAR_HOST, LIVE_HOST]
        self.resolve(dict.fromkeys(hosts, self.upstream))
        self.provide(
            {
                "name": PROVIDER,
                "display_name": "Bench",
                "auth_type": "api_key",
                "flow": "api_key",
                "api_url": hosts,
                "api_key": {"header_name": "Authorization", "header_prefix": "Bearer", "env_var": "BENCH_API_KEY"},
                "export": {"env": {"api_key": "BENCH_API_KEY"}},
            }
        )
        self.call("login", PROVIDER, "--stdin", text=KEY)

    def lead(self, hosts: dict[str, str]) -> None:
        """Changes where the daemon dials, which it then is a new one for."""
        self.resolve(hosts)
        self.call("daemon", "restart")


def heard(server: subprocess.Popen[str]) -> str:
    """The address of a server that prints its port."""
    assert server.stdout is not None
    return f"{LOOPBACK}:{server.stdout.readline().strip()}"


def authsome() -> list[str]:
    """The command line as a user has it: the console script of this environment, else the module."""
    script = Path(sys.executable).with_name("authsome")
    return [str(script)] if script.exists() else [sys.executable, "-P", "-m", "authsome"]


def free_port() -> int:
    """Below the ports that systems give out by themselves, so that nobody gets it before its user does."""
    for port in random.sample(range(12000, 30000), 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((LOOPBACK, port))
            return port
    raise RuntimeError("there is no free port")
