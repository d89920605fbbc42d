"""The commands, one by one, against a daemon that says what it is told to."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from authsome import __version__
from authsome.cli.commands.log import sentence
from cli.daemon import FakeDaemon, connection, failure


def provider(name: str, *connections: dict[str, object], source: str = "bundled") -> dict[str, object]:
    return {
        "name": name, "display_name": name.title(), "source": source, "auth_type": "oauth2", "flow": "dcr_pkce",
        "connections": list(connections),
    }  # fmt: skip


@pytest.fixture
def providers(daemon: FakeDaemon) -> FakeDaemon:
    daemon.answer(
        "GET /providers",
        {
            "providers": [
                provider("github"),
                provider(
                    "notion_dcr",
                    connection("personal", default=False, expires_at=1.0, status="expired"),
                    connection("work"),
                    source="custom",
                ),
                provider("slack", connection(status="needs_login", auth_type="api_key")),
            ],
            "problems": [{"path": "providers/x.json", "message": "$.name: expected\x1b[2J a string"}],
        },
    )
    return daemon


# ── list ───────────────────────────────────────────────────────────────────────────────────────


def test_list_begins_with_the_totals(call, providers: FakeDaemon) -> None:
    said = call("list")
    assert said.out.splitlines() == [
        "Providers: 3 total, 1 connected",
        "PROVIDER    SOURCE   AUTH     CONNECTION  STATUS       EXPIRES",
        "github      bundled  oauth2   -           -            -",
        "notion_dcr  custom   oauth2   personal    expired      expired",
        "notion_dcr  custom   oauth2   work *      connected    -",
        "slack       bundled  api_key  default *   needs_login  -",  # as it was made, not as the provider would
    ]
    assert said.err == "warning: providers/x.json: $.name: expected\ufffd[2J a string\n"
    assert said.status == 0


def test_list_names_bad_files_even_when_quiet(call, providers: FakeDaemon) -> None:
    assert "providers/x.json" in call("list", "--quiet").err


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["--connected"], ["notion_dcr", "slack"]),
        (["--filter", "HUB"], ["github"]),
        (["--filter", "Notion"], ["notion_dcr"]),
        (["--filter", "nothing"], []),
    ],
)
def test_list_shows_what_is_asked_for(call, providers: FakeDaemon, words: list[str], names: list[str]) -> None:
    said = call("list", "--json", *words).json
    assert [p["name"] for p in said["providers"]] == names
    assert (said["v"], said["total"], said["connected"], len(said["problems"])) == (1, 3, 1, 1)
    assert call("list", *words).out.startswith("Providers: 3 total, 1 connected\n")


def test_connections_list_shows_providers_with_connections(call, providers: FakeDaemon) -> None:
    assert "github" not in call("connections", "list").out
    assert "github" in call("provider", "list").out


# ── get ────────────────────────────────────────────────────────────────────────────────────────


def test_get_prints_the_bare_status(call, daemon: FakeDaemon) -> None:
    daemon.answer("GET /connections/notion_dcr/fields/status", {"value": "connected"})
    assert call("get", "notion_dcr", "--field", "status").out == "connected\n"
    assert call("get", "notion_dcr", "--field", "status", "--json").json == {
        "v": 1,
        "provider": "notion_dcr",
        "field": "status",
        "value": "connected",
    }


def test_get_asks_for_a_secret_only_when_told_to(call, daemon: FakeDaemon) -> None:
    daemon.answer("GET /connections/notion_dcr/fields/access_token", {"value": "x"})
    call("get", "notion_dcr", "--field", "access_token", "--connection", "a+b")
    call("get", "notion_dcr", "--field", "access_token", "--show-secret")
    assert [asked for asked, _ in daemon.asked] == [
        "GET /connections/notion_dcr/fields/access_token?connection=a%2Bb",
        "GET /connections/notion_dcr/fields/access_token?show_secret=1",
    ]


def test_get_shows_the_metadata_as_lines(call, daemon: FakeDaemon) -> None:
    shown = {**connection(), "fields": {"access_token": "***", "status": "connected"}}
    daemon.answer("GET /connections/notion_dcr", shown)
    lines = call("get", "notion_dcr").out.splitlines()
    assert lines[0] == "provider: notion_dcr"
    assert "access_token: ***" in lines
    assert "default: yes" in lines
    assert "account: -" in lines
    assert "routes: mcp.notion.com" in lines
    assert "status: connected" in lines
    assert lines.count("status: connected") == 1
    assert call("connections", "inspect", "notion_dcr", "--json").json == {"v": 1, **shown}


def test_get_shows_no_secret_without_a_field(call, daemon: FakeDaemon) -> None:
    said = call("get", "notion_dcr", "--show-secret")
    assert said.status == 64
    assert daemon.asked == []


def test_get_passes_the_daemons_refusal_on(call, daemon: FakeDaemon) -> None:
    daemon.answer("GET /connections/x", failure("connection_not_found", "no connection x/default", "log in", 404, 3))
    said = call("get", "x", "--json")
    assert said.status == 3
    assert said.err == "error: no connection x/default\nhint: log in\n"
    assert said.json == {
        "v": 1,
        "error": "connection_not_found",
        "message": "no connection x/default",
        "hint": "log in",
    }


# ── inspect ────────────────────────────────────────────────────────────────────────────────────


def test_inspect_prints_the_provider_file_and_nothing_else(call, daemon: FakeDaemon) -> None:
    text = '{\n  "name": "notion_dcr",\n  "display_name": "é"\n}\n'
    definition = json.loads(text)
    daemon.answer("GET /providers/notion_dcr", {"source": "custom", "definition": definition, "text": text})
    said = call("inspect", "notion_dcr")
    assert said.out == text
    assert said.err == "source: custom\n"
    assert call("provider", "inspect", "notion_dcr", "--json").json == {
        "v": 1,
        "source": "custom",
        "definition": definition,
    }


def test_inspect_escapes_what_would_steer_a_terminal(call, daemon: FakeDaemon) -> None:  # P16
    definition = {"name": "x", "display_name": "a\u202eb\x9b"}
    text = json.dumps(definition, ensure_ascii=False)
    daemon.answer("GET /providers/x", {"source": "custom", "definition": definition, "text": text})
    said = call("inspect", "x")
    assert said.out.isascii()
    assert json.loads(said.out) == definition


# ── export ─────────────────────────────────────────────────────────────────────────────────────

EXPORTS = {
    "variables": [{"name": "NOTION_ACCESS_TOKEN", "value": "it's", "provider": "notion_dcr", "connection": "work"}],
    "skipped": [{"provider": "slack", "connection": "default", "reason": "needs a login"}],
}


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "export NOTION_ACCESS_TOKEN='it'\\''s'\n"),
        (["--format", "env"], "export NOTION_ACCESS_TOKEN='it'\\''s'\n"),
        (["--format", "dotenv"], 'NOTION_ACCESS_TOKEN="it\'s"\n'),
        (["--format=json"], '{\n  "NOTION_ACCESS_TOKEN": "it\'s"\n}\n'),
    ],
)
def test_export_prints_the_format_that_is_asked_for(call, daemon: FakeDaemon, words: list[str], text: str) -> None:
    daemon.answer("POST /exports", EXPORTS)
    said = call("export", *words)
    assert said.out == text
    assert said.err == "skipped slack/default: needs a login\n"


def test_export_names_provider_and_connection_to_the_daemon(call, daemon: FakeDaemon) -> None:
    daemon.answer("POST /exports", EXPORTS)
    call("export", "notion_dcr", "--connection", "work")
    said = call("export", "--json")
    assert daemon.bodies("POST /exports") == [
        {"provider": "notion_dcr", "connection": "work"},
        {"provider": None, "connection": None},
    ]
    assert said.json == {"v": 1, "variables": {"NOTION_ACCESS_TOKEN": "it's"}, "skipped": EXPORTS["skipped"]}


def test_export_of_a_connection_needs_its_provider(call, daemon: FakeDaemon) -> None:
    assert call("export", "--connection", "work").status == 64


def test_export_of_nothing_says_so_and_prints_nothing(call, daemon: FakeDaemon) -> None:
    daemon.answer("POST /exports", {"variables": [], "skipped": []})
    said = call("export")
    assert (said.status, said.out, said.err) == (0, "", "there is nothing to export\n")


# ── logout, revoke, remove, set-default ────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("revoked", "detail", "err"),
    [
        (True, "", "revoked at the provider\n"),
        (None, "the provider offers no revocation", "the provider offers no revocation\n"),
        (False, "HTTP 503", "warning: not revoked at the provider: HTTP 503\n"),
    ],
)
def test_logout_says_whether_the_provider_took_part(
    call, daemon: FakeDaemon, revoked: bool | None, detail: str, err: str
) -> None:
    daemon.answer("POST /connections/x/logout", {"connection": "work", "revoked": revoked, "detail": detail})
    said = call("logout", "x", "--connection", "work")
    assert (said.out, said.err) == ("logged out: x/work\n", err)
    assert daemon.bodies("POST /connections/x/logout") == [{"connection": "work"}]
    assert call("logout", "x", "--json").json["revoked"] is revoked


def test_revoke_lists_what_went(call, daemon: FakeDaemon) -> None:
    answer = {
        "connections": [{"connection": "work", "revoked": False, "detail": "HTTP 503"}],
        "client": {"deleted": True, "detail": "deleted at the server"},
    }
    daemon.answer("POST /providers/x/revoke", answer)
    said = call("revoke", "x")
    assert said.out == "revoked: x/work\nrevoked: the client of x\n"
    assert said.err == "warning: not revoked at the provider: HTTP 503\ndeleted at the server\n"
    assert call("provider", "revoke", "x", "--json").json == {"v": 1, "provider": "x", **answer}


@pytest.mark.parametrize(("now", "err"), [("bundled", "the bundled definition of x is in force again\n"), (None, "")])
def test_remove_says_what_is_in_force(call, daemon: FakeDaemon, now: str | None, err: str) -> None:
    daemon.answer("DELETE /providers/x", {"name": "x", "now": now})
    said = call("remove", "x")
    assert (said.out, said.err) == ("removed: x\n", err)
    assert call("provider", "remove", "x", "--json").json == {"v": 1, "name": "x", "now": now}


def test_set_default_names_the_new_one(call, daemon: FakeDaemon) -> None:
    daemon.answer("POST /connections/notion_dcr/default", connection("work"))
    assert call("set-default", "notion_dcr", "work").out == "default: notion_dcr/work\n"
    assert call("connections", "set-default", "notion_dcr", "work", "--json").json["connection"] == "work"
    assert daemon.bodies("POST /connections/notion_dcr/default") == [{"connection": "work"}] * 2


def test_a_name_with_a_slash_is_no_provider(call, daemon: FakeDaemon) -> None:
    assert call("logout", "a/../b").status == 4
    assert daemon.asked == []


# ── register ───────────────────────────────────────────────────────────────────────────────────


def test_register_sends_the_file_as_it_is(call, daemon: FakeDaemon, tmp_path: Path) -> None:
    daemon.answer("POST /providers", {"name": "acme", "source": "custom"})
    file = tmp_path / "acme.json"
    file.write_text('{"name": "acme"}  ')
    said = call("register", str(file), "--yes", "--force")
    assert (said.status, said.out) == (0, "registered: acme\n")
    assert daemon.bodies("POST /providers") == [{"text": '{"name": "acme"}  ', "force": True}]


def asked_at_a_terminal(home: Path, file: Path, answer: str) -> tuple[int, str]:
    """`register` on a terminal of its own, where the person types the answer."""
    import pty

    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(AUTHSOME_HOME=str(home), PYTHONPATH=os.pathsep.join(sys.path))
        os.execv(sys.executable, [sys.executable, "-m", "authsome", "register", str(file)])
    said = b""
    while b"[y/N]" not in said:
        said += os.read(terminal, 1000)
    os.write(terminal, answer.encode())
    try:
        while part := os.read(terminal, 1000):
            said += part
    except OSError:
        pass  # the terminal's end
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said.decode()


def test_register_shows_where_a_credential_would_go_and_asks(daemon: FakeDaemon, tmp_path: Path) -> None:
    daemon.answer("POST /providers", {"name": "acme", "source": "custom"})
    file = tmp_path / "acme.json"
    file.write_text(
        json.dumps(
            {
                "name": "acme",
                "display_name": "Acme\x1b[2J",
                "api_url": ["api.acme.test", "*.acme.test"],
                "oauth": {"authorization_url": "https://acme.test/a", "token_url": "https://acme.test/t"},
            }
        )
    )
    status, said = asked_at_a_terminal(daemon.home, file, "n\n")
    assert status == 4
    assert daemon.asked == []
    assert "its credential goes to: api.acme.test, *.acme.test" in said
    assert "logging in, refreshing and revoking use: https://acme.test/a, https://acme.test/t" in said
    assert "\x1b" not in said.replace("\x1b[31m", "").replace("\x1b[0m", "")
    status, said = asked_at_a_terminal(daemon.home, file, "y\n")
    assert status == 0
    assert len(daemon.asked) == 1


def test_register_without_a_terminal_needs_yes(call, daemon: FakeDaemon, tmp_path: Path, monkeypatch) -> None:
    file = tmp_path / "acme.json"
    file.write_text('{"name": "acme"}')
    with open(os.devnull) as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        assert call("register", str(file)).status == 4
    assert daemon.asked == []


def test_register_lets_the_daemon_judge_what_is_no_json(call, daemon: FakeDaemon, tmp_path: Path) -> None:
    daemon.answer("POST /providers", failure("invalid_provider_file", "acme.json: not JSON", None, 400, 64))
    file = tmp_path / "acme.json"
    file.write_text("{")
    assert call("register", str(file)).status == 64


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_register_names_a_file_that_it_cannot_read(call, tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "acme.json"
    if content is not None:
        file.write_bytes(content)
    said = call("register", str(file), "--yes")
    assert said.status == 64
    assert str(file) in said.err


# ── whoami, doctor, log ────────────────────────────────────────────────────────────────────────


def test_whoami_tells_whose_vault_it_is(call, daemon: FakeDaemon) -> None:
    answer = {
        "owner": "ada", "home": "/h", "pid": 7, "version": "1", "started_at": 1_700_000_000.0, "port": 7998,
        "proxy_port": 4001, "root_key": "file", "vault": "/h/vault.db", "run": None,
    }  # fmt: skip
    daemon.answer("GET /whoami", answer)
    lines = call("whoami").out.splitlines()
    assert lines[0] == "owner: ada"
    assert "root key: file" in lines
    assert not any(line.startswith("inside run") for line in lines)
    assert call("whoami", "--json").json == {"v": 1, **answer}


def doctor(daemon: FakeDaemon, *checks: dict[str, object], version: str = __version__) -> None:
    daemon.answer("GET /health", {"ok": True, "pid": 7, "version": version})
    daemon.answer("GET /doctor", {"checks": list(checks)})


def test_doctor_marks_each_check_and_gives_hints(call, daemon: FakeDaemon) -> None:
    doctor(
        daemon,
        {"name": "home", "ok": True, "detail": "/h"},
        {"name": "vault", "ok": None, "detail": "no backup", "hint": "make one"},
    )
    said = call("doctor")
    assert said.status == 0
    assert said.out.splitlines() == [
        "ok    daemon: process 7 answers",
        "ok    home: /h",
        "warn  vault: no backup",
        "      hint: make one",
    ]


def test_doctor_fails_if_a_check_does(call, daemon: FakeDaemon) -> None:
    doctor(daemon, {"name": "vault", "ok": False, "detail": "row 3 does not open"})
    said = call("doctor", "--json")
    assert said.status == 1
    assert said.json["ok"] is False
    assert call("doctor").out.splitlines()[1] == "fail  vault: row 3 does not open"


def test_doctor_notices_a_daemon_of_another_version(call, daemon: FakeDaemon) -> None:
    doctor(daemon, version="0.0.0")
    said = call("doctor")
    assert said.status == 0
    assert said.out.startswith("warn  daemon: version 0.0.0 answers, but this command is version")


def test_doctor_counts_a_daemon_that_does_not_start_as_a_check(call, place: Path, monkeypatch) -> None:
    monkeypatch.setattr(sys, "executable", str(place / "nothing"))
    said = call("doctor", "--json")
    assert said.status == 1
    assert [(c["name"], c["ok"]) for c in said.json["checks"]] == [("daemon", False)]
    assert "daemon.log" in said.json["checks"][0]["hint"]


EVENTS = [
    {"id": 1, "at": 0.0, "kind": "LoggedIn", "provider": "x", "connection": "work", "flow": "pkce", "scopes": ""},
    {"id": 2, "at": 0.0, "kind": "LoggedOut", "provider": "x", "connection": "work", "revoked": True},
    {"id": 3, "at": 0.0, "kind": "Invented", "what": "a\x1bb"},
    {"id": 4, "at": 0.0, "kind": "Denied", "run": "r1"},
]


def test_log_says_what_happened_in_plain_words(call, daemon: FakeDaemon) -> None:
    daemon.answer("GET /events", {"events": EVENTS})
    said = call("log", "-n", "4")
    assert [line[21:] for line in said.out.splitlines()] == [
        "logged in to x/work (pkce)",
        "logged out of x/work, revoked at the provider",
        "Invented what=a\ufffdb",
        "Denied run=r1",
    ]
    assert daemon.asked[0][0] == "GET /events?limit=4"
    assert call("log", "--json").json == {"v": 1, "events": EVENTS}


def test_log_knows_every_event_there_is() -> None:
    from dataclasses import fields

    from authsome.model.event import Event, Repeatable

    for kind in [*Event.__subclasses__(), *Repeatable.__subclasses__()]:
        if kind.__name__ != Repeatable.__name__:
            event = {**{f.name: f"<{f.name}>" for f in fields(kind)}, "id": 1, "at": 0.0, "kind": kind.__name__}
            assert kind.__name__ not in sentence(event)


def test_log_says_how_often_the_same_happened() -> None:
    event = {"id": 1, "at": 0.0, "kind": "Denied", "run": "r1", "host": "h", "error": "e", "times": 3}
    assert sentence(event).endswith("refused a request to h: e (3 times)")
    assert sentence({**event, "times": 1}).endswith("refused a request to h: e")


def test_log_says_what_was_withheld_from_whom_and_why() -> None:
    event = {"id": 1, "at": 0.0, "kind": "Withheld", "provider": "x", "connection": "work", "how": "export"}
    event |= {"why": "you said no", "caller": "authsome export x, started by bash", "times": 1}
    words = "did not hand out x/work in clear (export: authsome export x, started by bash): you said no"
    assert sentence(event).endswith(words)


def test_log_says_what_was_not_answered_and_counts_one_request() -> None:
    run = {"id": 1, "at": 0.0, "kind": "RunEnded", "run": "r1", "requests": 1}
    assert sentence(run).endswith("run r1 ended after 1 request")
    assert sentence({**run, "requests": 0}).endswith("after 0 requests")
    told = {"run": "r1", "provider": "p", "connection": "c", "method": "GET", "host": "h", "path": "/", "times": 1}
    asked = {"id": 1, "at": 0.0, "kind": "Injected", **told}
    assert sentence({**asked, "status": 0}).endswith("GET h/ with p/c, not answered")
    assert sentence({**asked, "status": 201}).endswith("GET h/ with p/c, answered 201")
    refused = {"id": 1, "at": 0.0, "kind": "Denied", "run": "r1", "host": "h", "error": "host_not_allowed", "times": 1}
    assert "--allow-host h" in sentence(refused)


def test_log_follows_until_interrupted(call, daemon: FakeDaemon) -> None:
    rounds = iter([{"events": EVENTS[:1]}, {"events": []}, {"events": EVENTS[1:2]}, failure("x", "the end")])
    daemon.answer("GET /events", lambda _body: next(rounds))
    said = call("log", "-f", "--json")
    assert [json.loads(line)["id"] for line in said.out.splitlines()[:2]] == [1, 2]
    assert [asked for asked, _ in daemon.asked] == ["GET /events?limit=50"] + [
        f"GET /events?limit=500&after={after}" for after in (1, 1, 2)
    ]


# ── daemon ─────────────────────────────────────────────────────────────────────────────────────


def test_status_does_not_start_it(call, place: Path) -> None:
    said = call("daemon", "status", "--json")
    assert said.status == 9
    assert said.json["error"] == "daemon_unavailable"
    assert list(place.iterdir()) == []


def test_status_of_one_that_runs(call, daemon: FakeDaemon) -> None:
    daemon.answer("GET /health", {"ok": True, "pid": 7, "version": "1"})
    assert call("daemon", "status").out == "running: process 7, version 1\n"
    daemon.answer("GET /health", {"ok": True, "pid": 7, "version": "1", "workers": 2})
    assert call("daemon", "status").out == "running: process 7, version 1, 2 workers\n"


def test_a_number_of_workers_is_for_a_daemon_that_is_started(call, daemon: FakeDaemon) -> None:
    daemon.answer("GET /health", {"ok": True, "pid": 7, "version": "1", "workers": 2})
    said = call("daemon", "start", "--workers", "3")
    assert said.out == "already running: process 7\n" and "authsome daemon restart --workers 3" in said.err
    assert call("daemon", "start", "--workers", "2").err == ""


@pytest.mark.parametrize("command", ["start", "restart"])
@pytest.mark.parametrize("number", ["0", "65"])
def test_an_impossible_number_of_workers_stops_nothing(call, daemon: FakeDaemon, command: str, number: str) -> None:
    said = call("daemon", command, "--workers", number)
    assert said.status == 64 and "from 1 to 64" in said.err
    assert daemon.asked == []


def test_stop_waits_until_the_process_is_gone(call, daemon: FakeDaemon) -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)

    def stop(_body: object) -> dict[str, object]:
        process.communicate(b"\n")
        return {"ok": True}

    daemon.answer("GET /health", {"ok": True, "pid": process.pid, "version": "1"})
    daemon.answer("POST /daemon/stop", stop)
    assert call("daemon", "stop").out == f"stopped: process {process.pid}\n"
    assert process.returncode == 0


def test_stop_without_a_daemon_is_no_failure(call, place: Path) -> None:
    said = call("daemon", "stop")
    assert (said.status, said.out) == (0, "not running\n")


def test_logs_shows_the_end_of_the_file(call, place: Path) -> None:
    (place / "logs").mkdir()
    (place / "logs" / "daemon.log").write_text("one\ntwo\x1b\nthree\n")
    assert call("daemon", "logs", "-n", "2").out == "two\ufffd\nthree\n"
    assert call("daemon", "logs", "--json").json["lines"] == ["one", "two\x1b", "three"]


def test_logs_without_a_file_says_why(call, place: Path) -> None:
    assert call("daemon", "logs").status == 9


def test_serve_is_refused_inside_a_run(call, place: Path, monkeypatch) -> None:
    monkeypatch.setenv("AUTHSOME_RUN", "r1")
    assert call("daemon", "serve").status == 4


# ── the rest ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script_for_the_shell(call, shell: str) -> None:
    said = call("completion", shell)
    assert said.status == 0
    assert "_AUTHSOME_COMPLETE" in said.out
    assert call("completion", shell, "--json").json["script"].strip() in said.out


def test_completion_knows_commands_and_providers(call, providers: FakeDaemon, monkeypatch) -> None:
    monkeypatch.setenv("_AUTHSOME_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "authsome lo")
    monkeypatch.setenv("COMP_CWORD", "1")
    assert set(call().out.split()) == {"plain,login", "plain,logout", "plain,log"}
    monkeypatch.setenv("COMP_WORDS", "authsome get no")
    monkeypatch.setenv("COMP_CWORD", "2")
    assert call().out.split() == ["plain,notion_dcr"]


def test_completion_does_not_start_the_daemon(call, place: Path, monkeypatch) -> None:
    monkeypatch.setenv("_AUTHSOME_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "authsome get no")
    monkeypatch.setenv("COMP_CWORD", "2")
    assert call().out.strip() == ""
    assert list(place.iterdir()) == []


def test_an_unexpected_failure_is_a_line_and_leaves_places_but_no_values(call, daemon: FakeDaemon) -> None:  # P23, X75
    (daemon.home / "logs").mkdir()
    daemon.answer("GET /whoami", lambda _body: {"started_at": "a secret"})
    said = call("whoami")
    log = daemon.home / "logs" / "cli.log"
    assert said.status == 1
    assert said.err == f"error: something unexpected went wrong (TypeError)\nhint: details are in {log}\n"
    assert "times.py" in log.read_text()
    assert "a secret" not in log.read_text()
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_an_unexpected_failure_without_a_home_is_a_line_too(call, daemon: FakeDaemon) -> None:
    daemon.answer("GET /whoami", {"started_at": "x"})
    assert call("whoami").err.endswith("hint: run: authsome doctor\n")


def test_a_reader_that_leaves_early_is_no_failure(providers: FakeDaemon) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-m", "authsome", "list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    )
    process.stdout.close()
    err = process.stderr.read()
    assert process.wait() == 141
    assert err == b""


def test_the_module_is_the_command_line_too(place: Path) -> None:
    said = subprocess.run(
        [sys.executable, "-m", "authsome", "--version"], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert said.stdout == f"authsome {__version__}\n"


def test_no_command_is_the_help(call) -> None:
    said = call()
    assert said.status == 0
    assert "Commands:" in said.out


@pytest.mark.parametrize("words", [["--json", "get"], ["get", "--json"], ["nothing", "--json"]])
def test_a_mistake_is_an_object_too(call, words: list[str]) -> None:
    said = call(*words)
    assert said.status == 64
    assert said.json["error"] == "usage"
    assert said.err.startswith("error: ")


def test_json_after_the_double_dash_is_not_ours(call, place: Path) -> None:
    assert call("run", "--connection", "odd", "--", "ls", "--json").out == ""
