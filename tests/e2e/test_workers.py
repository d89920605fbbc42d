"""The proxy in worker processes: they lend, forget, end and come again as one (P4, P26)."""

import base64
import contextlib
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from parts.browser import Browser
from parts.machine import need
from parts.pki import Authority
from parts.product import Cli
from parts.servers import AuthorizationServer, Servers

API = "api.oidc.test"
WAITS = "import os, sys; print(os.environ['HTTPS_PROXY'], os.environ['SSL_CERT_FILE'], flush=True); sys.stdin.read()"


@pytest.fixture
def server(cli: Cli, servers: Servers, tmp_path: Path) -> AuthorizationServer:
    """An authorization server and its API on loopback, a connection to it, and a daemon with two workers."""
    Authority("Test CA").write(tmp_path / "pki", "127.0.0.1", API)
    server = servers.oidc(f"--tls-dir={tmp_path / 'pki'}")
    file = {
        "name": "oidc",
        "display_name": "OIDC",
        "auth_type": "oauth2",
        "flow": "dcr_pkce",
        "api_url": f"{API}/api",
        "oauth": {
            "issuer": server.issuer,
            "authorization_url": f"{server.issuer}/auth",
            "token_url": f"{server.issuer}/token",
            "scopes": ["openid", "offline_access"],
        },
        "export": {"env": {"access_token": "OIDC_TOKEN"}},
    }
    (cli.home.path / "providers").mkdir(mode=0o700, parents=True)
    cli.home.path.chmod(0o700)
    (cli.home.path / "providers" / "oidc.json").write_text(json.dumps(file))
    port = server.issuer.rpartition(":")[2]
    (cli.home.path / "config.toml").write_text(
        f'workers = 2\nca_file = "{tmp_path / "pki" / "ca.pem"}"\n[resolve]\n"{API}" = "127.0.0.1:{port}"\n'
    )
    return server


@pytest.fixture
def login(cli: Cli, server: AuthorizationServer, tmp_path: Path) -> Callable[[], None]:
    who = Browser(ca=tmp_path / "pki" / "ca.pem")

    def log_in() -> None:
        assert cli("login", "oidc", env=who.environment()).ok().out == "connected: oidc/default\n"
        eventually(lambda: len(workers(cli)) == 2 and "; 2 workers serve" in doctor(cli))

    return log_in


def doctor(cli: Cli) -> str:
    return cli("doctor").out


def daemon(cli: Cli) -> int:
    return int(json.loads(cli("daemon", "status", "--json").ok().out)["pid"])


def workers(cli: Cli) -> set[int]:
    """The children of the daemon."""
    parent, found = daemon(cli), set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[1]) == parent and fields[0] != "Z":
                found.add(int(path.parent.name))
    return found


def eventually(condition: Callable[[], object], seconds: float = 10.0) -> None:
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.02)


def last_event(cli: Cli) -> dict[str, object]:
    event: dict[str, object] = json.loads(cli("log", "--json").ok().out)["events"][-1]
    return event


class Connection:
    """A kept-alive connection to the API through the proxy of a run."""

    def __init__(self, proxy: str, bundle: str) -> None:
        url = urlsplit(proxy)
        self.sock = socket.create_connection(("127.0.0.1", url.port or 0), timeout=20)
        pair = base64.b64encode(f"{url.username}:{url.password}".encode()).decode()
        host = f"{API}:443"
        self.send(f"CONNECT {host} HTTP/1.1\r\nHost: {host}\r\nProxy-Authorization: Basic {pair}\r\n\r\n")
        self.connected = self.status()
        if self.connected == 200:
            context = ssl.create_default_context(cafile=bundle)
            self.sock = context.wrap_socket(self.sock, server_hostname=API)

    def send(self, text: str) -> None:
        self.sock.sendall(text.encode())

    def ask(self) -> None:
        self.send(f"GET /api/whoami HTTP/1.1\r\nHost: {API}\r\n\r\n")

    def status(self) -> int:
        """Of the next answer, 0 where the connection was cut."""
        data = b""
        try:
            while b"\r\n\r\n" not in data:
                part = self.sock.recv(65536)
                if not part:
                    return 0
                data += part
            head, _, body = data.partition(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: *(\d+)", head)
            while length and len(body) < int(length[1]):
                body += self.sock.recv(65536)
        except OSError:
            return 0
        return int(head.split(b" ")[1])

    def get(self) -> int:
        try:
            self.ask()
        except OSError:
            return 0
        return self.status()


@dataclass
class Program:
    """A program in a run, and what it would use."""

    process: "subprocess.Popen[str]"
    proxy: str
    bundle: str
    stack: ExitStack

    def connect(self) -> Connection:
        connection = Connection(self.proxy, self.bundle)
        self.stack.callback(connection.sock.close)
        return connection

    def spread(self, pids: set[int]) -> dict[int, list[Connection]]:
        """Fifteen to each worker: the others are stopped while they are opened."""
        found = {}
        for pid in pids:
            for other in pids - {pid}:
                os.kill(other, signal.SIGSTOP)
            try:
                found[pid] = [self.connect() for _ in range(15)]
            finally:
                for other in pids - {pid}:
                    os.kill(other, signal.SIGCONT)
        return found

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(10)


def statuses(connections: dict[int, list[Connection]]) -> list[int]:
    """Of a request on each."""
    return [each.get() for some in connections.values() for each in some]


@contextmanager
def program(cli: Cli) -> Iterator[Program]:
    with ExitStack() as stack, cli.started("run", "--", sys.executable, "-c", WAITS) as process:
        assert process.stdout is not None and process.stderr is not None
        words = process.stdout.readline().split()
        assert len(words) == 2, process.stderr.read()
        run = Program(process, *words, stack)
        yield run
        run.end()


def test_both_serve_and_one_that_is_killed_is_replaced(cli: Cli, login: Callable[[], None]) -> None:
    login()
    before = workers(cli)
    killed, other = before
    with program(cli) as run:
        connections = run.spread(before)
        assert statuses(connections) == [200] * 30
        time.sleep(0.2)  # what it has not told yet dies with it
        os.kill(killed, signal.SIGKILL)
        assert [each.get() for each in connections[killed]] == [0] * 15
        assert [each.get() for each in connections[other]] == [200] * 15
        assert run.connect().get() == 200  # at once: the port is not the dead one's
        eventually(lambda: len(workers(cli)) == 2)
        assert before & workers(cli) == {other}
        eventually(lambda: "; 2 workers serve" in doctor(cli))
        assert [run.connect().get() for _ in range(20)] == [200] * 20
    log = (cli.home.path / "logs" / "daemon.log").read_text()
    assert len(re.findall(rf"worker {killed} ended \(signal 9\)", log)) == 1
    events = json.loads(cli("log", "-n", "500", "--json").ok().out)["events"]
    assert sum(event["times"] for event in events if event["kind"] == "Injected") == 30 + 15 + 21


def test_the_requests_of_a_run_are_those_of_all_workers(cli: Cli, login: Callable[[], None]) -> None:
    login()
    with program(cli) as run:
        assert statuses(run.spread(workers(cli))) == [200] * 30
    eventually(lambda: last_event(cli)["kind"] == "RunEnded")
    assert last_event(cli)["requests"] == 30


def test_thirty_requests_at_expiry_cause_one_refresh(
    cli: Cli, server: AuthorizationServer, login: Callable[[], None]
) -> None:  # P26, O18
    server.set(access_ttl=8)
    login()
    began = time.monotonic()
    with program(cli) as run:
        connections = [each for some in run.spread(workers(cli)).values() for each in some]
        time.sleep(max(0.0, began + 8.1 - time.monotonic()))
        refreshes = server.stats().refreshes
        server.set(token_delay_ms=500, access_ttl=60)
        for each in connections:
            each.ask()
        assert [each.status() for each in connections] == [200] * 30
        assert (server.stats().refreshes - refreshes, server.stats().refresh_refused) == (1, 0)


def test_after_a_logout_none_lends(cli: Cli, login: Callable[[], None]) -> None:  # X70
    login()
    with program(cli) as run:
        connections = run.spread(workers(cli))
        assert statuses(connections) == [200] * 30
        cli("logout", "oidc").ok()
        assert statuses(connections) == [401] * 30


def test_with_the_end_of_a_run_all_its_connections_end(cli: Cli, login: Callable[[], None]) -> None:  # P4
    login()
    with program(cli) as run:
        connections = run.spread(workers(cli))
        assert statuses(connections) == [200] * 30
        run.end()
        ended = time.monotonic()
        assert {each.status() for some in connections.values() for each in some} == {0}
        assert {run.connect().connected for _ in range(20)} == {407}
        assert time.monotonic() - ended < 1


def test_a_run_is_known_to_every_worker_before_it_begins(cli: Cli, login: Callable[[], None]) -> None:
    login()
    for _ in range(5):
        with program(cli) as run:
            assert {run.connect().connected for _ in range(8)} == {200}


def test_they_end_with_the_daemon_however_it_ends(cli: Cli, login: Callable[[], None]) -> None:
    login()
    for end in (signal.SIGKILL, signal.SIGTERM):
        there, parent = workers(cli), daemon(cli)
        os.kill(parent, end)
        eventually(lambda there=there: not any(Path(f"/proc/{pid}").exists() for pid in there), 2)  # type: ignore[misc]
        eventually(lambda parent=parent: not Path(f"/proc/{parent}").exists())  # type: ignore[misc]
        cli("daemon", "start").ok()
        eventually(lambda: len(workers(cli)) == 2)
    there = workers(cli)
    cli("daemon", "stop").ok()
    assert not any(Path(f"/proc/{pid}").exists() for pid in there)


def test_a_run_outlives_a_restart_and_the_option_goes_before_the_file(cli: Cli, login: Callable[[], None]) -> None:
    login()
    with program(cli) as run:
        assert run.connect().get() == 200
        cli("daemon", "restart", "--workers", "3").ok()
        assert ", 3 workers" in cli("daemon", "status").ok().out
        eventually(lambda: len(workers(cli)) == 3)
        assert {run.connect().get() for _ in range(12)} == {200}
        assert "restart --workers 1" in cli("daemon", "start", "--workers", "1").ok().err
        cli("daemon", "restart", "--workers", "1").ok()
        assert workers(cli) == set() and "workers" not in cli("daemon", "status").ok().out
        assert {run.connect().get() for _ in range(4)} == {200}


def test_what_no_number_of_workers_is_is_refused(cli: Cli) -> None:
    for value in ("0", "65"):
        result = cli("daemon", "restart", "--workers", value)
        assert result.code == 64 and "--workers: expected a number from 1 to 64" in result.err
    cli.home.path.mkdir(mode=0o700)
    for text in ("0", "65", "true", '"2"', "1.5"):
        (cli.home.path / "config.toml").write_text(f"workers = {text}\n")
        result = cli("daemon", "start")
        assert result.code == 64 and "workers: expected a number from 1 to 64" in result.err


def test_one_that_hangs_serves_nobody_and_is_replaced(cli: Cli, login: Callable[[], None]) -> None:
    login()
    hung = min(workers(cli))
    os.kill(hung, signal.SIGSTOP)
    with program(cli) as run:  # a run would not begin before it knows it
        eventually(lambda: len(workers(cli) - {hung}) == 2)
        assert {run.connect().get() for _ in range(10)} == {200}
    assert f"worker {hung} does not answer" in (cli.home.path / "logs" / "daemon.log").read_text()


@pytest.mark.usefixtures("server")
def test_nothing_can_be_learned_of_them_from_outside(cli: Cli) -> None:  # P23
    key = base64.b64encode(os.urandom(32)).decode()
    cli("daemon", "start", env={"AUTHSOME_ROOT_KEY": key, "https_proxy": "http://u:password@127.0.0.1:9"}).ok()
    eventually(lambda: len(workers(cli)) == 2)
    for pid in workers(cli):
        found = Path(f"/proc/{pid}/environ").read_bytes() + Path(f"/proc/{pid}/cmdline").read_bytes()
        assert key.encode() not in found and b"password" not in found
        limits = Path(f"/proc/{pid}/limits").read_text()
        assert re.search(r"Max core file size +0 +0", limits)
        assert os.stat(f"/proc/{pid}/mem").st_uid == 0  # not dumpable: it is nobody's to read but root's


def test_an_isolated_run_is_served_beside_them(cli: Cli, login: Callable[[], None]) -> None:
    need("namespaces")
    login()
    isolated = cli("run", "--isolate", "--", "curl", "-sS", "-w", "%{http_code}", f"https://{API}/api/whoami")
    assert isolated.ok().out.endswith("200")
