"""A temporary home with one `api_key` connection and a local TLS upstream, for the time of a measurement."""

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

PROVIDER = "bench"
HOST = "api.bench.test"
KEY = "bench-key-0123456789abcdef0123456789abcdef"
LOOPBACK = "127.0.0.1"


class Place:
    """Use as a context manager; `environment` is what every measured process gets."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="authsome-bench-"))
        self.home = self.directory / "home"
        self.environment: dict[str, str] = {}
        self.ca_file = self.directory / "upstream" / "ca.pem"
        self.upstream = ""
        self._server: subprocess.Popen[str] | None = None

    def __enter__(self) -> "Place":
        try:
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _build(self) -> None:
        self.ca_file.parent.mkdir()
        (self.home / "providers").mkdir(parents=True, mode=0o700)
        self.home.chmod(0o700)
        self._server = subprocess.Popen(
            [sys.executable, "-m", "bench.upstream", str(self.ca_file.parent), HOST],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._server.stdout is not None
        self.upstream = f"{LOOPBACK}:{self._server.stdout.readline().strip()}"
        file = {
            "schema_version": 1,
            "name": PROVIDER,
            "display_name": "Bench",
            "auth_type": "api_key",
            "flow": "api_key",
            "api_url": HOST,
            "api_key": {"header_name": "Authorization", "header_prefix": "Bearer", "env_var": "BENCH_API_KEY"},
            "export": {"env": {"api_key": "BENCH_API_KEY"}},
        }
        (self.home / "providers" / f"{PROVIDER}.json").write_text(json.dumps(file))
        (self.home / "config.toml").write_text(f'[resolve]\n"{HOST}" = "{self.upstream}"\n')
        key = self.directory / "root.key"
        key.touch(mode=0o600)
        key.write_text(base64.b64encode(os.urandom(32)).decode() + "\n")
        ours = {name: value for name, value in os.environ.items() if not name.startswith("AUTHSOME_")}
        odd = {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"}
        self.environment = {name: value for name, value in ours.items() if name.upper() not in odd} | {
            "AUTHSOME_HOME": str(self.home),
            "AUTHSOME_PORT": str(_free_port()),
            "AUTHSOME_CA_FILE": str(self.ca_file),
            "AUTHSOME_ROOT_KEY_FILE": str(key),
        }
        self.call("login", PROVIDER, "--stdin", text=KEY)

    def call(self, *arguments: str, text: str = "") -> str:
        """What one authsome command prints. Raises RuntimeError with what it complained about."""
        command = [*authsome(), *arguments]
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, env=self.environment, timeout=60, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr}")
        return done.stdout

    def close(self) -> None:
        """Ends the daemon and the upstream, removes the files."""
        try:
            if (self.home / "run" / "daemon.sock").exists():
                self.call("daemon", "stop")
        finally:
            if self._server is not None:
                self._server.terminate()
                self._server.communicate()
            shutil.rmtree(self.directory, ignore_errors=True)


def authsome() -> list[str]:
    """The command line as a user has it: the console script of this environment, else the module."""
    script = Path(sys.executable).with_name("authsome")
    return [str(script)] if script.exists() else [sys.executable, "-P", "-m", "authsome"]


def _free_port() -> int:
    """Below the ports that systems give out by themselves, so that nobody gets it before the daemon does."""
    for port in random.sample(range(12000, 30000), 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((LOOPBACK, port))
            return port
    raise RuntimeError("there is no free port")
