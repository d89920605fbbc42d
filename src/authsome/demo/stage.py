"""Where the demo plays: a temporary home for authsome, the demo's servers as a process, and real command lines.

Everything is taken down again by `close`: the daemon, the server, the files.
"""

import base64
import contextlib
import json
import os
import random
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from authsome.demo.names import API_HOST, LOOPBACK, PROVIDER, SCOPES, VARIABLE
from authsome.errors import AuthsomeError

PERSON = f"{shlex.quote(sys.executable)} -P -m authsome.demo.person %s"
SOCKET_PATH_LIMIT = 100
PATIENCE = 30.0

# What would steer the demo's own processes: the owner's authsome, and proxies and roots that the demo has no use for.
_FOREIGN = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "FTP_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")


class DemoFailed(AuthsomeError):
    """Something of the demo did not come out as it must; the message says what."""

    code = "demo_failed"


@dataclass(frozen=True, slots=True)
class Said:
    """What a command printed (both streams in their order) and its exit status."""

    text: str
    status: int


class Stage:
    """Use as a context manager. `issuer` and `api` say where the servers listen; `work` is where the agent runs."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="authsome-demo-", dir=_short_directory()))
        self.home = self.directory / "home"
        self.work = self.directory / "work"
        self.issuer = self.api = ""
        self._environment: dict[str, str] = {}
        self._server: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        try:
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _build(self) -> None:
        servers, key = self.directory / "servers", self.directory / "root.key"
        for directory in (self.home, self.home / "providers", self.work, servers):
            directory.mkdir(mode=0o700)
        self._environment = _clean_environment()
        self._server = subprocess.Popen(  # noqa: S603 (our own interpreter and module)
            [sys.executable, "-P", "-m", "authsome.demo.server", str(servers)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=self._environment,
            start_new_session=True,  # Ctrl-C is for the demo, which then takes its stage down in order
        )
        places = self._hear()
        self.issuer, self.api = str(places["issuer"]), str(places["api"])
        (self.home / "providers" / f"{PROVIDER}.json").write_text(json.dumps(provider_file(self.issuer), indent=2))
        (self.home / "config.toml").write_text(f'[resolve]\n"{API_HOST}" = "{self.api}"\n')
        key.touch(mode=0o600)
        key.write_text(base64.b64encode(os.urandom(32)).decode() + "\n")
        self._environment |= {
            "AUTHSOME_HOME": str(self.home),
            "AUTHSOME_PORT": str(_free_port()),
            "AUTHSOME_CA_FILE": str(places["ca_file"]),
            "AUTHSOME_ROOT_KEY_FILE": str(key),  # keeps the demo away from the owner's keyring
        }

    def authsome(self, *arguments: str, browser: str | None = None, quiet: bool = True) -> Said:
        """Runs one command line of authsome in the agent's directory; unless `quiet`, the person sees it live.

        Raises DemoFailed if it takes too long.
        """
        command = [sys.executable, "-P", "-m", "authsome", *arguments]
        environment = self._environment | ({"BROWSER": browser} if browser else {})
        if not quiet:
            return Said("", subprocess.run(command, env=environment, cwd=self.work, check=False).returncode)  # noqa: S603
        try:
            done = subprocess.run(  # noqa: S603
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=self.work,
                timeout=PATIENCE,
                text=True,
                errors="replace",
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise DemoFailed(f"authsome {arguments[0]} did not end within {PATIENCE:.0f} seconds") from None
        return Said(done.stdout, done.returncode)

    def ask(self, **question: str) -> dict[str, Any]:
        """A question to the demo's server (see its head). Raises DemoFailed if it is gone."""
        server = self._server
        assert server is not None and server.stdin is not None
        try:
            print(json.dumps(question), file=server.stdin, flush=True)
        except BrokenPipeError:
            raise DemoFailed("the demo's server has ended") from None
        return self._hear()

    def _hear(self) -> dict[str, Any]:
        assert self._server is not None and self._server.stdout is not None
        line = self._server.stdout.readline()
        if not line:
            raise DemoFailed("the demo's server has ended")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def daemon_log(self) -> list[str]:
        """The last lines of the daemon's log, for a failure."""
        log = self.home / "logs" / "daemon.log"
        return log.read_text(errors="replace").splitlines()[-15:] if log.exists() else []

    def close(self) -> None:
        """Ends the daemon and the server, and removes the files. Raises DemoFailed if the daemon goes on."""
        try:
            if (self.home / "run" / "daemon.sock").exists():
                stopped = self.authsome("daemon", "stop")
                if stopped.status:
                    raise DemoFailed(f"the demo's daemon did not stop: {stopped.text.strip()}")
        finally:
            _end_daemons(self.home)
            if self._server is not None:
                self._server.terminate()
                self._server.communicate()
            shutil.rmtree(self.directory, ignore_errors=True)


def provider_file(issuer: str) -> dict[str, object]:
    """The provider as its file describes it; `issuer` is the URL of the demo's authorization server."""
    return {
        "schema_version": 1,
        "name": PROVIDER,
        "display_name": "Demo provider",
        "auth_type": "oauth2",
        "flow": "dcr_pkce",
        "api_url": API_HOST,
        "oauth": {
            "issuer": issuer,
            "authorization_url": f"{issuer}/authorize",
            "token_url": f"{issuer}/token",
            "revocation_url": f"{issuer}/revoke",
            "registration_endpoint": f"{issuer}/register",
            "scopes": list(SCOPES),
            "pkce": True,
            "supports_dcr": True,
        },
        "export": {"env": {"access_token": VARIABLE}},
    }


def _clean_environment() -> dict[str, str]:
    def is_ours(name: str) -> bool:
        return name.startswith("AUTHSOME_") or name.upper() in _FOREIGN or name == VARIABLE

    return {name: value for name, value in os.environ.items() if not is_ours(name)}


def _free_port() -> int:
    """Below the ports that systems give out by themselves, so that nobody gets it before the daemon does."""
    for port in random.sample(range(12000, 30000), 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((LOOPBACK, port))
            return port
    raise DemoFailed("there is no free port")


def _end_daemons(home: Path) -> None:
    """Ends what `daemon stop` cannot reach: a daemon that was still starting when the demo was interrupted (Linux)."""
    mark, deadline = f"AUTHSOME_HOME={home}".encode(), time.monotonic() + 5
    while time.monotonic() < deadline:
        found = False
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                is_daemon = b"authsome.daemon" in (process / "cmdline").read_bytes().split(b"\0")
                if is_daemon and mark in (process / "environ").read_bytes().split(b"\0"):
                    found = True
                    os.kill(int(process.name), signal.SIGTERM)
        if not found:
            return
        time.sleep(0.05)


def _short_directory() -> str | None:
    """The path of a Unix socket has a limit of about 104 bytes; a long TMPDIR would break it."""
    longest = os.path.join(tempfile.gettempdir(), "authsome-demo-12345678", "home", "run", "daemon.sock")  # noqa: PTH118
    return "/tmp" if len(os.fsencode(longest)) > SOCKET_PATH_LIMIT and Path("/tmp").is_dir() else None  # noqa: S108
