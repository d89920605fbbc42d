"""A daemon in a home of its own, a provider with a key, and the server that is the provider's."""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from parts.canary import Canary
from parts.command import Result
from parts.machine import HERE
from parts.pki import Authority
from parts.product import Cli, Home, free_port
from wire.wire_world import Upstream, Wire, hello

API = "api.mock.test"
PLACEHOLDER = "authsome-proxy-managed"


@dataclass(frozen=True)
class Answer:
    """What a program in a run got; names of fields in lower case. `status` is 0 where the connection was closed."""

    status: int
    fields: list[tuple[str, str]]
    body: bytes

    @property
    def error(self) -> str:
        """The code of a refusal of authsome's, "" for an answer of the server."""
        return dict(self.fields).get("x-authsome-error", "")

    def all(self, name: str) -> list[str]:
        """The values of a field."""
        return [value for key, value in self.fields if key == name]

    def holds(self, text: str) -> bool:
        """Whether a text stands anywhere in it."""
        return text.encode() in repr(self.fields).encode() + self.body


class Agent:
    """A program in a run (rows_child.py). `environment` is what it was started with."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        assert process.stdout is not None and process.stderr is not None
        line = process.stdout.readline()
        assert line, process.stderr.read()
        self.environment: dict[str, str] = json.loads(line)

    @property
    def files(self) -> Path:
        """The directory of its run."""
        return Path(self.environment["SSL_CERT_FILE"]).parent

    def raw(self, text: str, on: str = "") -> Answer:
        """What the proxy itself answers to a text, on a connection that stays open under the name `on`."""
        return _answer(self._tell({"do": "raw", "text": text, "on": on}))

    def connect(self, authority: str, on: str = "") -> Answer:
        """What a CONNECT is answered."""
        return self.raw(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{{auth}}\r\n", on)

    def ask(
        self, *texts: str, host: str = API, port: int = 443, on: str = "", strict: bool = False, direct: bool = False
    ) -> list[Answer]:
        """Requests one after the other on one connection, which stays open under the name `on`."""
        told = {"host": host, "port": port, "texts": texts, "on": on, "strict": strict, "direct": direct}
        shown = self._tell({"do": "ask", **told})
        self.certificate = str(shown["certificate"]).encode("latin-1")
        return [_answer(each) for each in shown["answers"]]

    def get(self, path: str = "/", *fields: str, host: str = API, on: str = "") -> Answer:
        """One request, and its answer."""
        return self.ask(request(path, *fields, host=host), host=host, on=on)[0]

    def _tell(self, told: dict[str, Any]) -> Any:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(told) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, self.process.stderr and self.process.stderr.read()
        return json.loads(line)


def request(path: str = "/", *fields: str, host: str = API, method: str = "GET", body: str = "") -> str:
    """A request as text."""
    length = (f"Content-Length: {len(body)}",) if body else ()
    return "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {host}", *fields, *length, "", body])


def _answer(shown: dict[str, Any]) -> Answer:
    fields = [(str(name), str(value)) for name, value in shown["fields"]]
    return Answer(int(shown["status"]), fields, str(shown["body"]).encode("latin-1"))


class Site:
    """`server` is the provider's, `leaf` its certificate, for `*.mock.test` and `hosts`; `key` is the credential."""

    def __init__(self, root: Path, canary: Canary, *hosts: str) -> None:
        self.home = Home(root, free_port())
        for path in (self.home.user, self.home.output, root / "pki"):
            path.mkdir()
        (self.home.path / "providers").mkdir(mode=0o700, parents=True)
        self.home.path.chmod(0o700)
        canary.watch(self.home.path)
        canary.watch(self.home.output)
        self.cli = Cli(self.home)
        self.key = f"mk-{canary.secret}"
        self.pki = Authority("Provider CA")
        self.ca = root / "pki" / "ca.pem"
        self.ca.write_bytes(self.pki.pem)
        self.leaf = self.pki.leaf(API, "*.mock.test", "127.0.0.1", *hosts)
        self.server = Upstream(self.leaf.context())
        self.servers = [self.server]
        self.resolve = {API: self.server.address}
        self.provider("mock", API)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.home.close()
        finally:
            for server in self.servers:
                server.close()

    def provider(self, name: str, *api_url: str, **more: object) -> None:
        """Write a provider file, as its owner would: one that logs in by a key, unless `more` says otherwise."""
        file: dict[str, object] = {
            "name": name,
            "display_name": name,
            "auth_type": "api_key",
            "flow": "api_key",
            "api_url": api_url,
        }
        if "oauth" not in more:
            file["api_key"] = {"env_var": f"{name.upper()}_TOKEN"}
        file |= more
        (self.home.path / "providers" / f"{name}.json").write_text(json.dumps(file))

    def listen(self, host: str, upstream: Upstream) -> Upstream:
        """Another server, to which a host leads; before `start`."""
        self.servers.append(upstream)
        self.resolve[host] = upstream.address
        return upstream

    def start(self, env: dict[str, str] | None = None, *, ca_file: bool = True) -> None:
        """Write config.toml, start the daemon with an environment, and store the key."""
        text = f'ca_file = "{self.ca}"\n' if ca_file else ""
        text += "[resolve]\n" + "".join(f'"{host}" = "{place}"\n' for host, place in self.resolve.items())
        (self.home.path / "config.toml").write_text(text)
        self.cli("daemon", "start", env=env).ok()
        self.login("mock", self.key)

    def login(self, provider: str, key: str, *options: str) -> Result:
        """Store a key."""
        return self.cli("login", provider, "--stdin", *options, stdin=key).ok()

    def run(self, *command: str, options: tuple[str, ...] = (), env: dict[str, str] | None = None) -> Result:
        """A command in a run; its output is searched for the canary at the end of all tests."""
        return self.cli("run", *options, "--", *command, env=env)

    @contextlib.contextmanager
    def agent(self, *options: str, env: dict[str, str] | None = None) -> Iterator[Agent]:
        """A program in a run of its own, for as long as the block lasts."""
        command = [*options, "--", sys.executable, str(HERE / "rows_child.py")]
        with self.cli.started("run", *command, env=env) as process:
            yield Agent(process)

    def daemon(self) -> int:
        """Its process id."""
        return int(json.loads(self.cli("daemon", "status", "--json").ok().out)["pid"])

    def log(self) -> str:
        """What the daemon had to say."""
        return (self.home.path / "logs" / "daemon.log").read_text()

    def fresh(self) -> Self:
        """As a test expects it: a server that says hello and has heard nothing."""
        for server in self.servers:
            server.handler, server.raw = hello, None
            server.requests.clear()
            for wire in server.wires:
                wire.seen = b""
        return self


def send(wire: Wire, body: bytes, *fields: str, status: str = "200 OK", sized: bool = True) -> None:
    """An answer of the server's; with `sized`, the length of its body is said."""
    lines = [f"HTTP/1.1 {status}", *fields, *([f"Content-Length: {len(body)}"] if sized else []), "", ""]
    wire.send("\r\n".join(lines).encode() + body)


def eventually(condition: Callable[[], object], seconds: float = 20.0) -> bool:
    """Whether it comes true in time; generous, for a machine that is busy."""
    ends = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > ends:
            return False
        time.sleep(0.02)
    return True
