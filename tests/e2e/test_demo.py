"""`authsome demo` as a person starts it, and the servers and the person that it brings along."""

import base64
import hashlib
import json
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx2
import pytest
from parts.product import Cli

from authsome.demo import show
from authsome.demo.person import Lost, consent
from authsome.demo.stage import Stage

VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()


@pytest.fixture
def short_tmp() -> Iterator[Path]:
    """A temporary directory with a path short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="d") as directory:
        yield Path(directory)


def test_the_demo_lays_what_the_agent_held_beside_what_the_api_received(cli: Cli) -> None:  # P1
    done = cli("demo", timeout=120).ok()
    assert "DEMO_ACCESS_TOKEN=authsome-proxy-managed" in done.out
    shown = re.search(r"Authorization: Bearer (\S{4})… \(43 characters\)", done.out)
    assert shown, done.out
    assert not re.search(re.escape(shown[1]) + r"[A-Za-z0-9_-]", done.out + done.err), "more than its beginning"
    assert "the API received the very token that the provider had issued" in done.out
    assert done.out.rstrip().endswith("authsome login notion_dcr")
    assert "`pipx install .`" in done.out, "what no system's Python refuses comes first"
    assert "\033" not in done.out, "colour outside a terminal"


def test_the_demo_works_beside_odd_variables_and_leaves_nothing_behind(cli: Cli, short_tmp: Path) -> None:
    odd = {
        "TMPDIR": str(short_tmp),
        "AUTHSOME_PORT": "1",
        "AUTHSOME_ROOT_KEY": "not a key",
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "http_proxy": "nonsense",
        "NO_PROXY": "*",
        "SSL_CERT_FILE": "/nonexistent",
        "BROWSER": "false",
    }
    cli("demo", env=odd, timeout=120).ok()
    assert list(short_tmp.iterdir()) == []
    assert not cli.home.path.exists(), "the owner's home was touched"


def test_a_demo_whose_agent_asks_nothing_fails_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], short_tmp: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(short_tmp))
    monkeypatch.setattr(show, "AGENT", "import json, os\n")
    assert show.main() == 1
    assert "the API received 0 requests instead of one" in capsys.readouterr().err
    assert list(short_tmp.iterdir()) == []


def test_a_demo_whose_agent_got_hold_of_a_token_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = Stage.ask

    def ask(stage: Stage, **question: str) -> dict[str, Any]:
        answer = real(stage, **question)
        return answer | {"found": ["output.txt"]} if question["ask"] == "search" else answer

    monkeypatch.setattr(Stage, "ask", ask)
    assert show.main() == 1
    assert "a token stands in clear in output.txt" in capsys.readouterr().err


# ── its servers ────────────────────────────────────────────────────────────────────────────────


class Servers:
    """The demo's server as a process, and a client of it."""

    def __init__(self, directory: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "authsome.demo.server", str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.places = self._hear()
        self.issuer = self.places["issuer"]
        self.http = httpx2.Client(base_url=self.issuer, trust_env=False)

    def ask(self, **question: str) -> dict[str, Any]:
        assert self.process.stdin is not None
        print(json.dumps(question), file=self.process.stdin, flush=True)
        return self._hear()

    def _hear(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def close(self) -> None:
        assert self.process.stdin is not None
        self.http.close()
        self.process.stdin.close()
        assert self.process.wait(10) == 0

    def register(self, redirect_uri: str) -> str:
        answer = self.http.post(
            "/register",
            json={
                "redirect_uris": [redirect_uri],
                "token_endpoint_auth_method": "none",
                "grant_types": ["authorization_code", "refresh_token"],
            },
        )
        assert answer.status_code == 201
        return str(answer.json()["client_id"])

    def authorize_url(self, client_id: str, redirect_uri: str, **changes: str) -> str:
        asked = {
            "response_type": "code",
            "client_id": client_id,
            "redirect_uri": redirect_uri,
            "state": "s",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
        }
        return f"{self.issuer}/authorize?{urlencode(asked | changes)}"

    def tokens(self, callback: "Callback") -> dict[str, Any]:
        client_id = self.register(callback.url)
        consent(self.authorize_url(client_id, callback.url))
        code = callback.received[-1]["code"]
        issued: dict[str, Any] = self.exchange(client_id, code, callback.url).json()
        return {"client_id": client_id, "code": code, **issued}

    def exchange(self, client_id: str, code: str, redirect_uri: str) -> httpx2.Response:
        return self.http.post(
            "/token",
            data={
                "grant_type": "authorization_code",
                "client_id": client_id,
                "code": code,
                "redirect_uri": redirect_uri,
                "code_verifier": VERIFIER,
            },
        )

    def refresh(self, tokens: dict[str, Any]) -> httpx2.Response:
        asked = {"client_id": tokens["client_id"], "refresh_token": tokens["refresh_token"]}
        return self.http.post("/token", data={"grant_type": "refresh_token", **asked})


class Callback:
    """Where the client's redirect lands."""

    def __init__(self, location: str | None = None) -> None:
        received: list[dict[str, str]] = []

        class Page(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                received.append(dict(parse_qsl(urlsplit(self.path).query)))
                self.send_response(302 if location else 200)
                if location:
                    self.send_header("Location", location)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.received = received
        self._server = HTTPServer(("127.0.0.1", 0), Page)
        self.url = f"http://127.0.0.1:{self._server.server_port}/callback"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    started = Servers(tmp_path_factory.mktemp("servers"))
    yield started
    started.close()


@pytest.fixture
def callback() -> Iterator[Callback]:
    started = Callback()
    yield started
    started.close()


def test_its_server_wants_pkce_with_s256(servers: Servers, callback: Callback) -> None:
    client_id = servers.register(callback.url)
    for changes in ({"code_challenge_method": "plain"}, {"code_challenge_method": "", "code_challenge": ""}):
        answer = servers.http.get(servers.authorize_url(client_id, callback.url, **changes))
        told = dict(parse_qsl(urlsplit(answer.headers["location"]).query))
        assert (told["error"], told["state"], told["iss"]) == ("invalid_request", "s", servers.issuer)


def test_its_server_gives_a_code_once_and_a_refresh_token_once(servers: Servers, callback: Callback) -> None:
    tokens = servers.tokens(callback)
    assert callback.received[-1]["iss"] == servers.issuer
    assert servers.exchange(tokens["client_id"], tokens["code"], callback.url).json()["error"] == "invalid_grant"
    refreshed = servers.refresh(tokens)
    assert refreshed.json()["refresh_token"] != tokens["refresh_token"]
    assert servers.refresh(tokens).json()["error"] == "invalid_grant"


def test_its_server_takes_consent_from_its_own_page_only(servers: Servers, callback: Callback) -> None:
    page = servers.http.get(servers.authorize_url(servers.register(callback.url), callback.url)).text
    ticket = re.findall(r'name="ticket" value="([^"]+)"', page)[0]
    answer = {"ticket": ticket, "answer": "allow"}
    assert servers.http.post("/consent", data=answer, headers={"Origin": callback.url}).status_code == 403
    assert servers.http.post("/consent", data=answer, headers={"Origin": servers.issuer}).status_code == 403


def test_its_server_finds_a_token_that_stands_in_a_file(servers: Servers, callback: Callback, tmp_path: Path) -> None:
    tokens = servers.tokens(callback)
    (tmp_path / "clean.log").write_text("nothing")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "leak.log").write_text(f"Authorization: Bearer {tokens['access_token']}")
    assert servers.ask(ask="search", directory=str(tmp_path)) == {"files": 2, "found": ["deep/leak.log"]}


def test_its_person_goes_nowhere_but_this_machine() -> None:
    away = Callback("https://example.com/")
    try:
        with pytest.raises(Lost, match="not on this machine"):
            consent(away.url)
    finally:
        away.close()
