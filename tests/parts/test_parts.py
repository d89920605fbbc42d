"""The parts, on their own: each starts, answers, and a person can complete a consent at it."""

import base64
import contextlib
import functools
import json
import shlex
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from parts import chromium, machine, person
from parts.browser import Browser
from parts.canary import Canary
from parts.client import Client
from parts.command import run
from parts.fakenet import ADDRESS, SIDE_DOOR, FakeNet
from parts.listener import Listener, Request
from parts.machine import HERE, need
from parts.pki import Authority
from parts.servers import LIBRARIES, AuthorizationServer, Library, Servers


@pytest.fixture
def listener() -> Iterator[Listener]:
    with Listener() as listener:
        yield listener


@pytest.fixture(params=[False, True], ids=["by HTTP", "at Chromium"])
def browser(request: pytest.FixtureRequest, tmp_path: Path) -> Browser:
    if request.param:
        need("chromium")
    return Browser(chromium=request.param, log=tmp_path / "trail")


def browse(browser: Browser, url: str) -> None:
    """As a program opens a link: $BROWSER with the URL in place of %s."""
    env = {"PATH": "/usr/bin:/bin", "HOME": "/", **browser.environment()}
    run([url if word == "%s" else word for word in shlex.split(env["BROWSER"])], env).ok()


def test_a_person_logs_in_at_oidc_provider(oidc: AuthorizationServer, listener: Listener, browser: Browser) -> None:
    client = Client(oidc.issuer, listener)
    browse(replace(browser, login="erin"), client.url())
    tokens = client.finish()
    seen = httpx2.get(f"{oidc.issuer}/api/whoami", headers={"authorization": f"Bearer {tokens['access_token']}"})
    assert seen.json()["sub"] == "erin"
    assert (oidc.stats().registrations, oidc.stats().codes) == (1, 1)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_person_logs_in_at_each_version_of_cloudflares_provider(
    servers: Servers, listener: Listener, library: Library
) -> None:
    server = servers.cloudflare(library=library)
    client = Client(server.issuer, listener)
    browse(Browser(login="frank"), client.url())
    tokens = client.finish()
    seen = httpx2.get(f"{server.issuer}/mcp/plain", headers={"authorization": f"Bearer {tokens['access_token']}"})
    assert seen.json()["user"] == "frank"
    assert server.stats().codes == 1
    assert [(s.path, s.auth) for s in server.seen() if s.grant] == [("/token", "none")]


@pytest.mark.parametrize("kind", ["oidc", "cloudflare"])
def test_a_person_who_refuses_comes_back_with_access_denied(
    servers: Servers, listener: Listener, browser: Browser, kind: str
) -> None:
    server = servers.oidc() if kind == "oidc" else servers.cloudflare()
    client = Client(server.issuer, listener)
    browse(replace(browser, deny=server.issuer), client.url())
    assert client.callback()["error"] == "access_denied"


def test_the_secrets_that_the_servers_make_begin_with_the_canary(
    servers: Servers, listener: Listener, canary: Canary
) -> None:
    for server in (servers.oidc(), servers.cloudflare()):
        client = Client(server.issuer, listener)
        browse(Browser(), client.url())
        code, tokens = client.callback()["code"], client.finish()
        assert all(s.startswith(canary.secret) for s in (code, tokens["access_token"], tokens["refresh_token"]))


@pytest.mark.parametrize("kind", ["oidc", "cloudflare"])
def test_a_servers_behaviour_can_be_changed_and_is_reset(servers: Servers, listener: Listener, kind: str) -> None:
    server = servers.oidc() if kind == "oidc" else servers.cloudflare()
    client = Client(server.issuer, listener)
    browse(Browser(), client.url())
    refresh = {"grant_type": "refresh_token", "refresh_token": client.finish()["refresh_token"]}
    server.set(fail_next_token=503)
    assert client.token(**refresh).status_code == 503
    assert client.token(**refresh).status_code == 200
    assert server.stats().refreshes == 1
    server.forget_clients()
    assert client.token(**refresh).json()["error"] == "invalid_client"
    assert getattr(servers, kind)() is server
    assert server.stats().refreshes == 0
    assert server.seen() == []


def test_the_http_person_sends_what_chromium_sends(listener: Listener) -> None:
    need("chromium")
    form = "<form method=post action=/sent><input name=q value=1><button>Go</button></form>"
    cookies = {"set-cookie": "strict=1; SameSite=Strict; HttpOnly; Path=/"}
    silent = {**cookies, "referrer-policy": "no-referrer"}
    with Listener() as other:
        foreign = other.origin.replace("127.0.0.1", "localhost")  # another site
        listener.pages = {
            "/open": (200, cookies, form),
            "/silent": (200, silent, form),
            "/said": (200, silent, f"<meta name=referrer content=same-origin>{form}"),
            "/abroad": (200, {"referrer-policy": "same-origin"}, form.replace("/sent", f"{foreign}/sent")),
            "/wait": (200, {}, "<meta http-equiv=refresh content='0; url=/open'>"),
            "/leave": (200, cookies, f"<form method=post action={foreign}/ask><button>Go</button></form>"),
            "/bounce": (200, cookies, f"<form method=post action={foreign}/hop><button>Go</button></form>"),
        }
        other.pages = {
            "/ask": (200, {}, f"<form method=post action={foreign}/yes><button>Yes</button></form>"),
            "/yes": (302, {"location": f"{listener.origin}/back"}, ""),
            "/hop": (302, {"location": f"{listener.origin}/back"}, ""),
        }
        with chromium.opened(machine.chromium()) as browser:
            for start in listener.pages:
                trails = []
                for visit in (person.Person().visit, functools.partial(chromium.Person().visit, browser)):
                    listener.requests.clear()
                    other.requests.clear()
                    visit(listener.origin + start)
                    both = [*listener.requests, *other.requests]
                    trails.append([told(request) for request in both if request.path != "/favicon.ico"])
                assert trails[0] == trails[1], start


def told(request: Request) -> tuple[str, str, list[str | None]]:
    """What a server can tell a browser's intent by."""
    names = ("origin", "sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest", "sec-fetch-user", "cookie")
    return request.method, request.path, [request.headers.get(name) for name in names]


def test_a_person_fills_in_the_form_that_has_the_fields_given(listener: Listener, browser: Browser) -> None:
    listener.pages["/two"] = (
        200,
        {},
        "<form method=post action=/first><button type=submit>Register</button></form>"
        "<form method=get action=/second><input name=client_id><button type=submit>Use my own</button></form>",
    )
    browse(browser, f"{listener.origin}/two")
    assert listener.last("/first").method == "POST"
    browse(replace(browser, fill={"client_id": "mine"}), f"{listener.origin}/two")
    assert listener.last("/second").query == {"client_id": "mine"}


@pytest.fixture(scope="module")
def internet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeNet]:
    need("namespaces", "curl")
    net = FakeNet(tmp_path_factory.mktemp("net"))
    yield net
    net.close()


def test_the_private_internet_answers_for_its_hosts_over_trusted_tls(internet: FakeNet) -> None:
    internet.reset()
    done = internet.run(["curl", "-sS", "--http1.1", "-H", "X-Case: Kept", "https://api.github.com/echo?a=b"]).ok()
    assert json.loads(done.out)["query"] == {"a": "b"}
    (entry,) = internet.journal("api.github.com")
    assert (entry.protocol, entry.method, entry.path, entry.authorized) == ("h1.1", "GET", "/echo", True)
    assert ["X-Case", "Kept"] in entry.headers
    assert internet.run(["curl", "-sS", "https://api.openai.com/"]).ok()
    assert internet.journal()[-1].protocol == "h2"


@pytest.mark.parametrize("roots", ["cafile", "capath"])
def test_the_private_internets_authority_is_among_the_systems_roots_in_either_form(
    internet: FakeNet, roots: str
) -> None:
    where = getattr(ssl.get_default_verify_paths(), f"openssl_{roots}")
    code = (
        "import socket, ssl, sys; context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT);"
        f"context.load_verify_locations({roots}={where!r});"
        "context.wrap_socket(socket.create_connection(('github.com', 443)), server_hostname='github.com')"
    )
    internet.run([sys.executable, "-c", code]).ok()


def test_nothing_outside_is_reachable_from_the_private_internet(internet: FakeNet) -> None:
    with socket.create_server(("127.0.0.1", 0)) as outside:
        port = outside.getsockname()[1]
        assert internet.run(["curl", "-sS", f"http://127.0.0.1:{port}/"]).code == 7
    assert internet.run(["curl", "-sS", "http://192.0.2.77/"]).code != 0


def test_a_host_insists_on_a_credential(internet: FakeNet) -> None:
    internet.reset()
    internet.insist("api.openai.com", "Authorization", "Bearer right")
    for word, status in (("wrong", "401"), ("right", "200")):
        curl = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", f"Authorization: Bearer {word}"]
        assert internet.run([*curl, "https://api.openai.com/"]).ok().out == status
    assert [entry.authorized for entry in internet.journal()] == [False, True]


def test_the_side_door_leads_to_the_same_hosts_and_is_told_apart(internet: FakeNet) -> None:
    internet.reset()
    for door in ([], ["--connect-to", f"::{ADDRESS}:{SIDE_DOOR}"]):
        internet.run(["curl", "-sS", *door, "https://api.github.com/user"]).ok()
    assert [entry.port for entry in internet.journal("api.github.com")] == [443, SIDE_DOOR]
    assert internet.greeted() == internet.greeted(SIDE_DOOR) == ["api.github.com"]


def test_a_host_can_be_added_while_it_runs(internet: FakeNet) -> None:
    internet.add_host("new.example.net")
    assert internet.run(["curl", "-sS", "https://new.example.net/bytes?n=5"]).ok().out == "xxxxx"


def test_a_person_logs_in_at_real_servers_behind_well_known_names(internet: FakeNet, browser: Browser) -> None:
    need("node", *(["certutil"] if browser.chromium else []))
    internet.reset()
    served = {
        "mcp.notion.com": internet.servers.cloudflare(origin="https://mcp.notion.com"),
        "login.example.com": internet.servers.oidc(origin="https://login.example.com"),
    }
    for host, server in served.items():
        internet.map(host, server.local)
        env = {
            **internet.trusting(),
            **replace(browser, ca=internet.ca).environment(),
            "PATH": "/usr/bin:/bin",
            "HOME": "/",
        }
        done = internet.run([sys.executable, str(HERE / "client.py"), server.issuer], env).ok()
        assert json.loads(done.out)["access_token"]
        assert "/token" in {entry.path for entry in internet.journal(host)}


def test_processes_inside_end_with_the_private_internet(tmp_path: Path) -> None:
    need("namespaces")
    net = FakeNet(tmp_path / "net", trust="none")
    process = subprocess.Popen(net.command(["sleep", "600"]))
    net.close()
    assert process.wait(10) != 0


def test_a_leaf_is_accepted_by_the_strictest_verification() -> None:
    authority = Authority()
    server = authority.leaf("api.mock.test", "127.0.0.1").context()
    client = ssl.create_default_context(cadata=authority.pem.decode())
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    ends = [ssl.MemoryBIO() for _ in range(4)]
    one = client.wrap_bio(ends[0], ends[1], server_hostname="api.mock.test")
    other = server.wrap_bio(ends[2], ends[3], server_side=True)
    for _ in range(4):
        for side, sent, received in ((one, ends[1], ends[2]), (other, ends[3], ends[0])):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
            received.write(sent.read())
    assert one.version() == "TLSv1.3"


@pytest.mark.parametrize(
    "spoil", [str, lambda s: s.encode().hex(), lambda s: base64.b64encode(f"user:{s}".encode()).decode()]
)
def test_the_canary_is_found_wherever_it_lies(tmp_path: Path, spoil: Any) -> None:
    canary = Canary()
    canary.watch(tmp_path)
    (tmp_path / "clean").write_text("nothing")
    assert canary.leaks() == []
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "log").write_text(f"... {spoil(canary.secret)} ...")
    assert any("deep/log" in leak for leak in canary.leaks())


def test_the_canary_hears_what_a_test_prints() -> None:
    canary = Canary()
    canary.listen("a test", "nothing")
    assert canary.leaks() == []
    canary.listen("a test", f"token: {canary.secret}")
    assert canary.leaks() == ["a test"]


def test_a_command_that_hangs_is_ended_with_its_children() -> None:
    with pytest.raises(AssertionError, match="still running"):
        run(["sh", "-c", "sleep 600 & sleep 600"], timeout=0.2)
