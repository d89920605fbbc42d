"""The page of notion_dcr, line by line, against the software that really runs at mcp.notion.com."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from parts.browser import Browser
from parts.canary import Canary
from parts.fakenet import Entry, FakeNet
from parts.machine import node
from parts.product import Cli
from parts.servers import AuthorizationServer

HOST = "mcp.notion.com"
MCP = f"https://{HOST}/mcp"
HELLO = json.dumps(
    {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
    }
)
CURL = [
    "curl", "-sS", MCP, "-H", "content-type: application/json", "-H", "accept: application/json, text/event-stream",
    "-d", HELLO,
]  # fmt: skip
# What a program can find out about itself: its environment, its arguments, and the files of its run.
NOSY = """
import os, pathlib, sys, json
found = dict(os.environ)
found["ARGV"] = " ".join(sys.argv)
for name in os.listdir("/proc/self/fd"):
    pass
for value in list(os.environ.values()):
    path = pathlib.Path(value)
    if value.startswith("/") and path.is_file() and path.stat().st_size < 2_000_000:
        found["FILE " + value] = path.read_bytes().decode("latin-1")
print(json.dumps(found))
"""


def login(cli: Cli, who: Browser, *more: str) -> None:
    result = cli("login", "notion_dcr", *more, env=who.environment()).ok()
    name = more[more.index("--connection") + 1] if "--connection" in more else "default"
    assert result.out == f"connected: notion_dcr/{name}\n"


def sent(net: FakeNet, path: str = "/mcp") -> list[Entry]:
    """The API calls that reached the server with a credential."""
    return [e for e in net.journal(HOST) if e.path.startswith(path) and e.header("authorization")]


def test_the_page_of_notion_dcr_with_chromium(
    cli: Cli, net: FakeNet, notion: AuthorizationServer, chromium: Browser, canary: Canary
) -> None:
    login(cli, chromium)
    assert cli("get", "notion_dcr", "--field", "status").ok().out == "connected\n"
    assert notion.stats().registrations == 1

    # another account each time: this server ends the older grant of an account that logs in again
    login(cli, replace(chromium, login="bob"), "--connection", "personal")
    login(cli, replace(chromium, login="carol"), "--connection", "work")
    assert notion.stats().registrations == 1  # the second login asks for no client
    table = cli("list", "--connected").ok().out
    assert "personal" in table and "work" in table and " total, 1 connected" in table

    answer = cli("run", "--", *CURL).ok()
    assert '"cloudflare-mcp"' in answer.out
    (call,) = sent(net)
    (header,) = call.header("authorization")
    assert canary.secret in header  # the real token, there and only there


def test_a_program_holds_a_placeholder_and_nothing_else(
    cli: Cli, net: FakeNet, notion: AuthorizationServer, person: Browser, canary: Canary
) -> None:  # level A, P23
    login(cli, person)
    seen = cli("run", "--", sys.executable, "-c", NOSY).ok()
    held = json.loads(seen.out)
    assert held["NOTION_ACCESS_TOKEN"] == "authsome-proxy-managed"
    assert "NOTION_REFRESH_TOKEN" not in held
    assert canary.secret not in seen.out


@pytest.mark.parametrize("who", ["person", "chromium"])
def test_every_version_of_the_server_logs_in_and_serves(
    cli: Cli, net: FakeNet, any_notion: AuthorizationServer, who: str, request: pytest.FixtureRequest
) -> None:
    login(cli, request.getfixturevalue(who))
    assert '"cloudflare-mcp"' in cli("run", "--", *CURL).ok().out
    assert len(sent(net)) == 1


def test_python_and_node_programs_are_served_too(
    cli: Cli, net: FakeNet, notion: AuthorizationServer, person: Browser
) -> None:
    login(cli, person)
    ask = f"('{MCP}/plain').text)"
    programs = {
        "requests": [sys.executable, "-c", f"import requests; print(requests.get{ask}"],
        "httpx2": [sys.executable, "-c", f"import httpx2; print(httpx2.get{ask}"],
        "node fetch": [node(), "-e", f"fetch('{MCP}/plain').then(r => r.text()).then(console.log)"],
    }
    for name, argv in programs.items():
        net.reset()
        net.map(HOST, notion.local)
        answer = cli("run", "--", *argv, shows_secret=True).ok()  # /mcp/plain echoes the request's headers
        assert '"user":"alice"' in answer.out, name
        assert len(sent(net)) == 1, name


def test_connections_stand_side_by_side_and_are_chosen(
    cli: Cli, net: FakeNet, notion: AuthorizationServer, person: Browser
) -> None:
    login(cli, replace(person, login="alice"), "--connection", "personal")
    login(cli, replace(person, login="bob"), "--connection", "work")

    def caller(*options: str, headers: tuple[str, ...] = ()) -> str:
        extra = [part for header in headers for part in ("-H", header)]
        out = cli("run", *options, "--", "curl", "-sS", *extra, f"{MCP}/plain", shows_secret=True).ok().out
        return str(json.loads(out)["user"])

    assert caller() == "alice"
    assert caller("--connection", "notion_dcr=work") == "bob"
    assert caller(headers=("x-authsome-connection: work",)) == "bob"
    assert caller(headers=("authorization: Bearer authsome-proxy-managed:work",)) == "bob"
    cli("set-default", "notion_dcr", "work").ok()
    assert caller() == "bob"
    assert all(not e.header("x-authsome-connection") for e in net.journal(HOST))
    assert cli("get", "notion_dcr", "--connection", "personal", "--field", "status").ok().out == "connected\n"


def test_export_reaches_a_child_process_and_never_holds_a_refresh_token(
    cli: Cli, net: FakeNet, notion: AuthorizationServer, person: Browser, canary: Canary
) -> None:
    login(cli, person)
    program, *_ = cli.argv("list")[-2:]
    script = f'eval "$({program} export notion_dcr --format env)"; sh -c "env"'
    result = net.run(["sh", "-c", script], cli.home.environment(), cli.home.user).ok()
    variables = dict(line.partition("=")[::2] for line in result.out.splitlines())
    assert canary.secret in variables["NOTION_ACCESS_TOKEN"]
    assert "NOTION_REFRESH_TOKEN" not in variables
    for style in ("env", "shell", "dotenv", "json", "fish", "powershell"):
        out = cli("export", "notion_dcr", "--format", style, shows_secret=True).ok().out
        assert "NOTION_ACCESS_TOKEN" in out and "REFRESH" not in out, style


def test_the_override_recipe(cli: Cli, net: FakeNet, notion: AuthorizationServer, person: Browser) -> None:
    definition = cli("inspect", "notion_dcr").ok().out
    file = cli.home.path / "providers" / "notion_dcr.json"
    file.write_text(definition)
    assert "custom" in cli("list", "--filter", "notion_dcr").ok().out
    edited = json.loads(definition)
    edited["oauth"]["scopes"] = ["read", "write"]
    file.write_text(json.dumps(edited))
    login(cli, person)
    assert any("scope=read+write" in entry.query for entry in net.journal(HOST))
    shown = json.loads(cli("get", "notion_dcr", "--json").ok().out)
    assert shown["scopes"] == ["read", "write"]
    cli("remove", "notion_dcr").ok()
    assert "custom" not in cli("list", "--filter", "notion_dcr").ok().out


def test_no_browser_registers_by_itself_and_takes_a_pasted_address(
    cli: Cli, net: FakeNet, notion: AuthorizationServer, person: Browser
) -> None:
    # a browser that never saw our link: it ends at a page that says where to paste its address
    visit = f"import sys; from parts.person import Person; print(Person(ca={str(net.ca)!r}).visit(sys.argv[1]).url)"
    with cli.started("login", "notion_dcr", "--no-browser") as process:
        assert process.stderr and process.stdin and process.stdout
        lines = (line for line in process.stderr if "https://mcp.notion.com/authorize" in line)
        url = next(word for word in next(lines).split() if word.startswith("https://"))
        env = cli.home.environment() | {"PYTHONPATH": str(Path(__file__).parent.parent)}
        back = net.run([sys.executable, "-c", visit, url], env, cli.home.user).ok().out.strip()
        assert back.startswith("http://127.0.0.1:") and "/auth/callback/oauth?" in back
        process.stdin.write(f"https://example.org/wrong\n{back}\n")
        process.stdin.flush()
        assert process.wait(30) == 0
        assert process.stdout.read() == "connected: notion_dcr/default\n"
    assert notion.stats().registrations == 1


def test_a_denied_consent_exits_2_and_stores_nothing(
    cli: Cli, net: FakeNet, notion: AuthorizationServer, person: Browser
) -> None:
    result = cli("login", "notion_dcr", env=replace(person, deny="https://mcp.notion.com").environment())
    assert result.code == 2 and "denied" in result.err and result.out == ""
    assert cli("get", "notion_dcr", "--field", "status").code == 3


def test_a_forgotten_client_is_registered_again(
    cli: Cli, net: FakeNet, notion: AuthorizationServer, person: Browser
) -> None:
    login(cli, person)
    notion.forget_clients()
    login(cli, person, "--connection", "work")
    assert notion.stats().registrations == 2


def test_logout_revokes_and_forgets(
    cli: Cli, net: FakeNet, notion: AuthorizationServer, person: Browser, canary: Canary
) -> None:  # V20, X70
    login(cli, person)
    result = cli("logout", "notion_dcr").ok()
    assert "revoked at the provider" in result.out + result.err
    assert cli("get", "notion_dcr").code == 3
    assert cli("export", "notion_dcr").code == 3
    cli("daemon", "stop").ok()
    stored = b"".join(p.read_bytes() for p in cli.home.path.iterdir() if p.is_file())
    assert canary.secret.encode() not in stored


def test_an_account_that_logs_in_again_ends_its_older_grant_and_that_is_said(
    cli: Cli, net: FakeNet, notion: AuthorizationServer, person: Browser
) -> None:  # O27: this server keeps one grant for an account and a client
    login(cli, person)
    login(cli, person, "--connection", "again")
    answer = cli("run", "--", "curl", "-sS", "-w", "%{http_code}", f"{MCP}/plain").ok().out
    assert answer.endswith("401") and "authsome login notion_dcr" in answer
    assert cli("get", "notion_dcr", "--field", "status").ok().out == "needs_login\n"
    assert cli("get", "notion_dcr", "--connection", "again", "--field", "status").ok().out == "connected\n"
    login(cli, person)  # and it is mended without --force
