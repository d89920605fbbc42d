"""Bad input of every kind: the right exit code, a message with a hint, and nothing lost (contract §1)."""

import json
import os
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from parts.canary import Canary
from parts.product import Cli

KEY = "sk-proj-{}abcdefgh"


@pytest.fixture
def connected(cli: Cli, canary: Canary) -> Cli:
    """A home in which openai is connected by a key that is the canary."""
    cli("login", "openai", "--stdin", stdin=KEY.format(canary.secret)).ok()
    return cli


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (["login", "no_such"], 4, "no_such"),
        (["get", "no_such"], 4, "no_such"),
        (["inspect", "no_such"], 4, "no_such"),
        (["export", "no_such"], 4, "no_such"),
        (["logout", "no_such"], 4, "no_such"),
        (["revoke", "no_such"], 4, "no_such"),
        (["inspect", "opena"], 4, "openai"),  # did you mean
        (["get", "notion_dcr"], 3, "authsome login notion_dcr"),
        (["get", "openai", "--connection", "work"], 3, "default"),
        (["export", "openai", "--connection", "work"], 3, "default"),
        (["run", "--connection", "openai=work", "--", "true"], 3, "default"),
        (["run", "--connection", "openai", "--", "true"], 64, "PROVIDER=NAME"),
        (["run", "--only", "no_such", "--", "true"], 4, "no_such"),
        (["set-default", "openai", "work"], 3, "default"),
        (["get", "openai", "--field", "no_such"], 64, "no_such"),
        (["export", "openai", "--format", "xml"], 64, "xml"),
        (["get", "openai", "--field", "refresh_token"], 5, "refresh_token"),
        (["login", "openai", "--stdin"], 6, "--force"),
        (["login", "notion_dcr", "--stdin"], 64, "key"),
        (["login", "notion_dcr", "--flow", "magic"], 64, "dcr_pkce"),
        (["login", "notion_dcr", "--connection", "../x"], 64, "connection"),
        (["login", "notion_dcr", "--base-url", "https://x.example"], 64, "base-url"),
        (["login", "openai", "--connection", "work", "--scopes", "a", "--stdin"], 64, "--scopes"),
        (["remove", "openai"], 4, "bundled"),
        (["register", "/no/such/file.json"], 64, "/no/such/file.json"),
        (["run"], 64, "COMMAND"),
        (["run", "--isolate", "--allow-read", "/nowhere", "--", "true"], 64, "/nowhere"),
        (["no-such-command"], 64, "no-such-command"),
        (["get"], 64, "PROVIDER"),
        (["list", "--no-such-option"], 64, "--no-such-option"),
    ],
)
def test_each_mistake_has_its_exit_code_and_a_word(connected: Cli, argv: list[str], code: int, said: str) -> None:
    result = connected(*argv, stdin="sk-proj-anotherkeyabcdefgh\n")
    assert (result.code, said in result.err) == (code, True), str(result)
    assert "Traceback" not in result.err and result.out == ""
    assert connected("get", "openai", "--field", "status").ok().out == "connected\n"


def test_a_failure_is_json_where_json_is_asked_for(connected: Cli) -> None:
    result = connected("get", "no_such", "--json")
    told = json.loads(result.out)
    assert (result.code, told["v"], told["error"]) == (4, 1, "provider_not_found")
    assert told["message"] and told["hint"]


@pytest.mark.parametrize("key", ["nonsense-that-is-no-key", "short", "sk-proj-with a blank inside it", "", "sk-\x00-x"])
def test_a_key_of_the_wrong_form_is_refused_and_not_shown(cli: Cli, key: str) -> None:
    result = cli("login", "openai", "--stdin", stdin=key)
    assert result.code in (2, 64), str(result)
    assert "hint:" in result.err and (len(key) < 6 or key not in result.err)
    assert cli("get", "openai").code == 3


# ── provider files ─────────────────────────────────────────────────────────────────────────────


def test_one_bad_file_hides_no_other(connected: Cli) -> None:
    directory = connected.home.path / "providers"
    definition = json.loads(connected("inspect", "github").ok().out)
    (directory / "github.json").write_text(json.dumps(definition | {"display_name": "Ours"}))
    (directory / "broken.json").write_text('{"name": "broken", ')
    (directory / "wrong.json").write_text(json.dumps(definition | {"name": "wrong", "colour": "red"}))
    listed = connected("list").ok()
    assert "broken.json" in listed.err and "wrong.json" in listed.err and "$.colour" in listed.err
    assert "custom" in next(line for line in listed.out.splitlines() if line.startswith("github"))
    doctor = connected("doctor")
    assert doctor.code == 1 and "broken.json" in doctor.out + doctor.err


@pytest.mark.parametrize(
    ("text", "said"),
    [("{", "line 1"), ("[]", "$"), ('{"name": "x"}', "$."), ('{"nmae": "x"}', "name")],
)
def test_a_malformed_file_is_not_registered(cli: Cli, tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "x.json").write_text(text)
    result = cli("register", str(tmp_path / "x.json"), "--yes")
    assert result.code == 64 and said in result.err, str(result)


def test_a_file_is_registered_once_without_force(cli: Cli, tmp_path: Path) -> None:
    definition = json.loads(cli("inspect", "github").ok().out) | {"name": "mine"}
    (tmp_path / "mine.json").write_text(json.dumps(definition))
    cli("register", str(tmp_path / "mine.json"), "--yes").ok()
    assert cli("register", str(tmp_path / "mine.json"), "--yes").code == 7
    cli("register", str(tmp_path / "mine.json"), "--yes", "--force").ok()
    cli("remove", "mine").ok()
    assert cli("inspect", "mine").code == 4


# ── authorization servers ──────────────────────────────────────────────────────────────────────


class Hostile(BaseHTTPRequestHandler):
    """Answers every request as its mode says."""

    def do_GET(self) -> None:
        mode = self.server.mode  # type: ignore[attr-defined]
        if mode == "redirecting":
            self._send(302, b"", Location="https://evil.example/")
        elif mode == "html":
            self._send(200, b"<html>welcome</html>")
        elif mode == "wrong types":
            self._send(200, b'{"issuer": 5, "token_endpoint": ["x"]}')
        elif mode == "another issuer":
            self._send(200, b'{"issuer": "https://evil.example", "token_endpoint": "https://evil.example/t"}')
        elif mode == "endless":
            self.send_response(200)
            self.end_headers()
            try:
                while True:
                    self.wfile.write(b" " * 65536)
            except OSError:
                return
        else:
            self._send(500, b"oops")

    do_POST = do_GET

    def _send(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def hostile(cli: Cli) -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hostile)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    describe(cli, f"http://127.0.0.1:{server.server_port}")
    yield server
    server.shutdown()
    server.server_close()


def describe(cli: Cli, issuer: str) -> None:
    (cli.home.path / "providers").mkdir(mode=0o700, parents=True)
    cli.home.path.chmod(0o700)
    file = {
        "name": "hostile",
        "display_name": "Hostile",
        "auth_type": "oauth2",
        "flow": "dcr_pkce",
        "api_url": "api.hostile.test",
        "oauth": {"issuer": issuer, "authorization_url": f"{issuer}/a", "token_url": f"{issuer}/t"},
    }
    (cli.home.path / "providers" / "hostile.json").write_text(json.dumps(file))


@pytest.mark.parametrize("mode", ["html", "wrong types", "another issuer", "endless"])
def test_a_hostile_server_ends_the_login(cli: Cli, hostile: ThreadingHTTPServer, mode: str) -> None:  # P14
    hostile.mode = mode  # type: ignore[attr-defined]
    result = cli("login", "hostile", "--no-browser")
    assert result.code == 2, str(result)
    assert "hostile" not in cli("list", "--connected").ok().out


def test_a_server_that_is_down_is_unreachable(cli: Cli) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        describe(cli, f"http://127.0.0.1:{reserved.getsockname()[1]}")
        result = cli("login", "hostile", "--no-browser")
    assert result.code == 8 and "hint:" in result.err, str(result)


def test_a_slow_server_runs_out_of_time(cli: Cli) -> None:  # O30
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        describe(cli, f"http://127.0.0.1:{silent.getsockname()[1]}")
        result = cli("login", "hostile", "--no-browser")
    assert result.code == 8 and "10 s" in result.err, str(result)


def test_ctrl_c_cancels_the_login(cli: Cli) -> None:
    with cli.started("login", "openai", env={"BROWSER": "true %s"}) as process:
        assert process.stderr
        next(line for line in process.stderr if "waiting" in line)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(10) == 2
    assert cli("get", "openai").code == 3


# ── the daemon and the vault ───────────────────────────────────────────────────────────────────


def test_a_taken_port_names_its_owner(cli: Cli) -> None:  # V17
    with socket.socket() as other:
        other.bind(("127.0.0.1", cli.home.port))
        other.listen()
        result = cli("list")
    assert result.code == 9, str(result)
    assert f"pid {os.getpid()}" in result.err and "AUTHSOME_PORT" in result.err


def test_a_home_that_is_a_file_is_said(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = cli("list", env={"AUTHSOME_HOME": str(tmp_path / "file")})
    assert result.code in (9, 64) and "hint:" in result.err, str(result)


@pytest.mark.parametrize("how", ["missing", "damaged", "truncated", "empty", "foreign"])
def test_a_vault_that_is_not_well_is_never_replaced(connected: Cli, how: str) -> None:  # V06
    connected("daemon", "stop").ok()
    home = connected.home.path
    vault = home / "vault.db"
    for leftover in home.glob("vault.db-*"):
        leftover.unlink()
    content = vault.read_bytes()
    match how:
        case "missing":
            vault.rename(connected.home.root / "elsewhere.db")
        case "damaged":
            vault.write_bytes(content[:100] + b"\0" * 4096 + content[4196:])
        case "truncated":
            vault.write_bytes(content[: len(content) // 2])
        case "empty":
            vault.write_bytes(b"")
        case "foreign":
            vault.write_bytes(b"not a database at all" * 500)
    before = vault.read_bytes() if vault.exists() else None
    result = connected("list")
    assert result.code == 9 and "vault" in result.err and "hint:" in result.err, str(result)
    assert (vault.read_bytes() if vault.exists() else None) == before
    for leftover in home.glob("vault.db-*"):
        leftover.unlink()
    vault.unlink(missing_ok=True)
    vault.touch(mode=0o600)
    vault.write_bytes(content)
    assert connected("get", "openai", "--field", "status").ok().out == "connected\n"


@pytest.mark.parametrize("how", ["missing", "wrong", "readable by others", "short", "a link"])
def test_a_root_key_that_is_not_well_stops_the_start(connected: Cli, how: str) -> None:  # P11, V10, V11
    connected("daemon", "stop").ok()
    key = connected.home.path / "root.key"
    kept = connected.home.root / "kept.key"
    shutil.copy2(key, kept)
    match how:
        case "missing":
            key.unlink()
        case "wrong":
            key.write_bytes(bytes(reversed(key.read_bytes().strip())))
        case "readable by others":
            key.chmod(0o644)
        case "short":
            key.write_bytes(key.read_bytes()[:10])
        case "a link":
            key.unlink()
            key.symlink_to(kept)
    result = connected("list")
    assert result.code == 9 and "key" in result.err and "hint:" in result.err, str(result)
    key.unlink(missing_ok=True)
    shutil.copy2(kept, key)
    assert connected("get", "openai", "--field", "status").ok().out == "connected\n"


# ── run ────────────────────────────────────────────────────────────────────────────────────────


def test_run_ends_as_its_command_does(connected: Cli) -> None:
    assert connected("run", "--", "sh", "-c", "exit 7").code == 7
    assert connected("run", "--", "sh", "-c", "kill -TERM $$").code == -signal.SIGTERM
    assert connected("run", "--", "no-such-command-here").code == 127
    assert connected("run", "--", "/etc/passwd").code == 126


def test_nothing_is_handed_out_inside_a_run(connected: Cli, canary: Canary) -> None:  # P5
    program = connected.argv("x")[0]
    for argv in (
        ["export", "openai"],
        ["get", "openai", "--field", "api_key", "--show-secret"],
        ["login", "openai", "--stdin", "--force"],
        ["logout", "openai"],
        ["revoke", "openai"],
        ["set-default", "openai", "default"],
        ["register", "/etc/hostname", "--yes"],
        ["daemon", "stop"],
        ["log"],
    ):
        result = connected("run", "--", program, *argv, stdin="sk-proj-anotherkeyabcdefgh")
        assert result.code not in (0, 1), str(result)
        assert canary.secret not in result.out + result.err
    assert connected("run", "--", program, "get", "openai", "--field", "status").ok().out == "connected\n"
    assert connected("export", "openai", shows_secret=True).ok().out.count(canary.secret) == 1


# A child connects and is gone; its parent, inside the run, goes on with the connection.
DEAD_CALLER = """
import os, socket, sys
sock = socket.socket(socket.AF_UNIX)
if os.fork() == 0:
    sock.connect(os.environ["AUTHSOME_HOME"] + "/run/daemon.sock")
    os._exit(0)
os.wait()
path = "/connections/openai/fields/api_key?show_secret=1"
sock.sendall(f"GET {path} HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n".encode())
print(sock.makefile("rb").read().decode())
"""


def test_a_caller_that_is_gone_is_not_taken_for_the_owner(connected: Cli, canary: Canary) -> None:  # P5
    answer = connected("run", "--", sys.executable, "-c", DEAD_CALLER).ok().out
    assert "not_allowed" in answer and canary.secret not in answer


def test_a_restart_with_settings_that_cannot_be_read_leaves_the_daemon_that_is_there(cli: Cli) -> None:
    cli("daemon", "start").ok()
    before = cli("daemon", "status").ok().out
    config = cli.home.path / "config.toml"
    config.write_text('workers = "many"\n')
    refused = cli("daemon", "restart")
    assert refused.code == 64 and "config.toml" in refused.err
    config.unlink()
    assert cli("daemon", "status").ok().out == before
