"""A private internet: well-known host names on one journaling TLS server, in network namespaces of its own.

The only interface is loopback, so nothing leaves the machine. Works as root, and for others through a user namespace.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from parts.child import Child
from parts.command import Result, run
from parts.machine import HERE, unshare
from parts.pki import Authority
from parts.servers import Servers

Trust = Literal["system", "none"]
ADDRESS = "192.0.2.10"  # TEST-NET-1; not 127.x, which some clients never send through a proxy
SPARE = "192.0.2.11"  # for a server that needs port 443 for itself
SIDE_DOOR = 8443  # the same hosts once more, so that what a proxy dials can be told from what its clients dial
HOSTS = (
    "mcp.notion.com",
    "api.notion.com",
    "api.github.com",
    "github.com",
    "api.openai.com",
    "api.anthropic.com",
    "slack.com",
    "gmail.googleapis.com",
    "www.googleapis.com",
    "oauth2.googleapis.com",
    "accounts.google.com",
    "api.stripe.com",
    "login.example.com",
    "evil.example.com",
)
CA_VARIABLES = (
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "GIT_SSL_CAINFO",
    "AWS_CA_BUNDLE",
    "PIP_CERT",
)


@dataclass(frozen=True)
class Entry:
    """A request as it reached the far end; `headers` in order and case as received."""

    time: float
    protocol: str
    scheme: str
    host: str
    method: str
    path: str
    query: str
    headers: list[list[str]]
    body: str  # its first 64 KiB, bytes as Latin-1
    authorized: bool
    port: int

    def header(self, name: str) -> list[str]:
        """All values of a header."""
        return [value for key, value in self.headers if key.lower() == name.lower()]


class FakeNet:
    """A running private internet. `ca` is the file of the authority that signs for all its hosts."""

    def __init__(self, state: Path, trust: Trust = "system", token_prefix: str = "") -> None:
        state.mkdir(parents=True, exist_ok=True)
        self._state = state
        self._hosts = {*HOSTS}
        self._authority = Authority("Fake Internet CA")
        self.ca = self._authority.write(state / "pki", *HOSTS)
        (state / "pki" / self._authority.hashed).write_bytes(self._authority.pem)
        (state / "hosts").write_text("".join(f"{ADDRESS} {name}\n" for name in HOSTS) + "127.0.0.1 localhost\n")
        (state / "resolv.conf").write_text("nameserver 127.0.0.1\n")
        self.reset()
        python = ["env", f"PYTHONPATH={HERE.parent}", sys.executable]
        argv = [*unshare(), *python, "-m", "parts.fakenet_server", str(state), trust]
        self._child = Child(argv, state / "fakenet.log")
        (first,) = Path(f"/proc/{self._child.process.pid}/task/{self._child.process.pid}/children").read_text().split()
        user = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
        self._enter = ["nsenter", f"--target={first}", *user, "--net", "--mount", "--pid", "--"]
        self.servers = Servers(state, token_prefix, self._launch)

    def reset(self) -> None:
        """Forget the journal and every rule; the namespaces and the servers inside stay."""
        self._rules: dict[str, dict[str, Any]] = {"maps": {}, "creds": {}}
        self._write_rules()
        for name in ("journal.jsonl", "greetings"):
            (self._state / name).write_text("")

    def map(self, host: str, url: str) -> None:
        """Let the HTTP server at `url`, inside, answer for `host`."""
        self.add_host(host)
        self._rules["maps"][host] = url
        self._write_rules()

    def add_host(self, host: str, address: str = ADDRESS) -> None:
        """Make one more name exist, with a certificate."""
        if host not in self._hosts:
            self._hosts.add(host)
            self._authority.leaf(host).write(self._state / "leaves" / host)
            with (self._state / "hosts").open("a") as file:
                file.write(f"{address} {host}\n")

    def play(self, host: str, argv: Sequence[str]) -> Child:
        """Let a server of its own be `host`, at SPARE. It is called with the state's directory and the host.

        It finds its certificate in leaves/HOST and the rules in rules.json, and writes to journal.jsonl, as
        fakenet_server.py does.
        """
        self.add_host(host, SPARE)
        return Child([*argv, str(self._state), host], self._state / f"{host}.log", self._launch)

    def insist(self, host: str, header: str, value: str) -> None:
        """Let `host` answer 401 to every request that lacks exactly this header."""
        self._rules["creds"][host] = [header.lower(), value]
        self._write_rules()

    def journal(self, host: str | None = None) -> list[Entry]:
        """The requests that arrived since the last reset, all or those of one host."""
        *lines, _ = (self._state / "journal.jsonl").read_text().split("\n")
        entries = [Entry(**json.loads(line)) for line in lines]
        return [entry for entry in entries if host in (None, entry.host)]

    def greeted(self, port: int = 443) -> list[str]:
        """The names to which a TLS handshake was begun since the last reset, finished or not."""
        lines = [line.split() for line in (self._state / "greetings").read_text().splitlines()]
        return [name for at, name in lines if int(at) == port]

    def command(self, argv: Sequence[str], cwd: Path | None = None) -> list[str]:
        """The command line that runs `argv` inside. Who enters a mount namespace stands in its /, hence `cwd`."""
        return [*self._enter, "env", f"--chdir={cwd or Path.cwd()}", *argv]

    def run(
        self,
        argv: Sequence[str],
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stdin: str = "",
        timeout: float = 60,
    ) -> Result:
        """Run a command inside to its end."""
        return run(self.command(argv, cwd), env, cwd, stdin, timeout)

    def trusting(self) -> dict[str, str]:
        """Every variable by which a client can be told of a CA, naming this internet's own."""
        return dict.fromkeys(CA_VARIABLES, str(self.ca))

    def close(self) -> None:
        """End the namespaces and every process in them."""
        self.servers.close()
        self._child.stop()

    def _launch(self, argv: list[str], errors: IO[bytes]) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(self.command(argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)

    def _write_rules(self) -> None:
        new = self._state / "rules.new"
        new.write_text(json.dumps(self._rules))
        new.replace(self._state / "rules.json")
