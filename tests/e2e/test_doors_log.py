"""What the daemon writes down: one line a record, and nothing of what it was told (P23, X75)."""

import http.server
import json
import re
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit

from e2e.doors import Doors, OwnerConnection, head, send
from parts.canary import Canary
from parts.product import Cli, Home

RECORD = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (INFO|WARNING|ERROR|CRITICAL) [a-z][\w.]*: "
    r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]+"
)


def log_of(home: Home) -> str:
    return (home.path / "logs" / "daemon.log").read_text()


@contextmanager
def authorization_server(token: str) -> Iterator[tuple[str, list[dict[str, list[str]]]]]:
    """One that grants everything: its origin, and the forms that came to its token endpoint."""
    forms: list[dict[str, list[str]]] = []

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            forms.append(parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode()))
            body = json.dumps({"access_token": f"{token}-a", "refresh_token": f"{token}-r", "token_type": "bearer"})
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", forms
    server.shutdown()
    server.server_close()


def test_nothing_of_a_login_a_run_or_a_hostile_caller_is_in_the_log(doors: Doors, canary: Canary) -> None:
    told = {"query": f"q{secrets.token_hex(8)}", "code": f"c{secrets.token_hex(8)}"}
    cli = Cli(doors.home)
    with authorization_server(canary.secret) as (origin, forms):
        file = {
            "name": "logged",
            "display_name": "Logged",
            "auth_type": "oauth2",
            "flow": "pkce",
            "api_url": "api.logged.example",
            "oauth": {"authorization_url": f"{origin}/authorize", "token_url": f"{origin}/token"},
        }
        assert doors.call("POST", "/providers", {"text": json.dumps(file)})[0] == 200
        page, address = doors.consent("logged")
        told["state"] = parse_qs(urlsplit(address).query)["state"][0]
        callback = f"/auth/callback/oauth?code={told['code']}&state={told['state']}"
        assert doors.ask("GET", callback, page.cookie_header).status == 303
        shown = doors.ask("GET", page.path, page.cookie_header).text
        assert "Connected: logged/default" in shown, shown
        told["cookie"], told["verifier"] = page.cookie.partition("=")[2], forms[0]["code_verifier"][0]
    assert doors.ask("GET", callback, page.cookie_header).status == 400  # again, and astray
    environment = cli("run", "--", "env").ok().out
    told["run"] = re.search(r"http://run:([^@]+)@", environment)[1]  # type: ignore[index]
    for path in (f"/{told['query']}", f"/health?{told['query']}={told['query']}", f"/auth/login/{told['query']}"):
        doors.ask("GET", path, {"cookie": f"x={told['query']}", "authorization": told["query"]})
        doors.call("GET", path)
        doors.call("POST", "/exports", {"provider": told["query"], told["query"]: 1})
    forged = f"{told['query']}\r\n2026-01-01 00:00:00,000 INFO authsome.daemon: forged"
    doors.call("POST", "/auth/sessions", {"provider": "logged", "connection": forged, "force": True})
    doors.call("POST", "/providers", {"text": forged})
    send(doors.port, head("GET", f"/\x01{told['query']}", []))
    doors.restart()
    log = log_of(doors.home)
    for what, value in {**told, "secret": canary.secret}.items():
        assert len(value) > 10 and value not in log, what
    assert "serving" in log and "forged" not in log
    for line in log.splitlines():
        assert RECORD.fullmatch(line), line


def test_x75_a_failure_that_nobody_foresaw_is_told_by_a_number_that_the_log_has(cli: Cli) -> None:
    """The home is moved away under the daemon's feet, and is asked for."""
    cli("daemon", "start").ok()
    home, away = cli.home.path, cli.home.root / f"away-{secrets.token_hex(8)}"
    connection = OwnerConnection(cli.home)
    connection.connect()
    home.rename(away)
    try:
        connection.request("GET", "/doctor")
        response = connection.getresponse()
        answer = response.read().decode()
    finally:
        connection.close()
        away.rename(home)
    assert response.status == 500 and json.loads(answer)["error"] == "unexpected", answer
    number = re.search(r"\(([0-9a-f]{8})\)", answer)
    assert number and not re.search(r"Traceback|Error|\.py|/home", answer), answer
    cli("doctor").ok()  # all is well again, and whatever was to be said of before is said
    records = log_of(cli.home).splitlines()
    (record,) = [line for line in records if number[1] in line]
    assert "FileNotFoundError (No such file or directory) at " in record and "doctor.py:" in record
    assert all(RECORD.fullmatch(line) for line in records)
    assert len([line for line in records if " ERROR " in line]) == 1  # told once


def test_a_misspelt_rule_of_reveal_is_said_at_the_start_and_by_doctor(cli: Cli) -> None:
    cli.home.path.mkdir(mode=0o700)
    (cli.home.path / "config.toml").write_text('[reveal]\nopena = "deny"\nopenai = "ask"\n')
    cli("daemon", "start").ok()
    assert "reveal: the rule for 'opena' holds for nothing: no provider is called opena" in log_of(cli.home)
    told = cli("doctor")
    assert told.code == 1 and "opena = deny, openai = ask" in told.out
    assert "'opena' holds for nothing" in told.out and "did you mean 'openai'?" in told.out + told.err
