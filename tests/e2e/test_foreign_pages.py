"""Pages of other origins, in the browser that is logging in, achieve nothing (P7–P9, W01–W05)."""

import http.server
import os
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from parts.canary import Canary
from parts.chromium import FLAGS
from parts.machine import need
from parts.product import Cli
from playwright.sync_api import BrowserContext, Page, sync_playwright

KEY = "sk-proj-{}abcdefgh"

# What a page can try on an address of another origin; the texts say what came of it.
ATTACK = """async ([target, session]) => {
  const tried = {};
  const attempt = async (name, how) => {
    try { tried[name] = String(await how()); } catch (e) { tried[name] = 'failed'; } };
  const url = target + '/auth/sessions/' + session;
  const form = () => new URLSearchParams({api_key: 'sk-proj-of-the-attacker-abcdefgh', form_token: 'guess'});
  await attempt('read', async () => (await (await fetch(url, {credentials: 'include'})).text()).length);
  await attempt('read health', async () => (await (await fetch(target + '/health')).text()).length);
  await attempt('post', async () => (await fetch(url + '/key',
    {method: 'POST', credentials: 'include', body: form()})).status);
  await attempt('blind post', async () => (await fetch(url + '/key',
    {method: 'POST', mode: 'no-cors', credentials: 'include', body: form()})).type);
  await attempt('blind cancel', async () => (await fetch(url + '/cancel',
    {method: 'POST', mode: 'no-cors', credentials: 'include', body: form()})).type);
  await attempt('json', async () => (await fetch(target + '/runs', {method: 'POST', credentials: 'include',
    headers: {'content-type': 'application/json'}, body: '{"command": "x"}'})).status);
  await attempt('socket', () => new Promise((yes, no) => {
    const socket = new WebSocket(target.replace('http', 'ws') + '/auth/sessions/' + session);
    socket.onopen = () => yes('open'); socket.onerror = () => no(); }));
  await attempt('frame', () => new Promise((yes, no) => {
    const frame = document.createElement('iframe');
    frame.onload = () => { try { yes(frame.contentDocument.body.innerText.length); } catch (e) { no(); } };
    frame.src = url; document.body.append(frame); setTimeout(no, 3000); }));
  await attempt('script', () => new Promise((yes, no) => {
    const script = document.createElement('script'); script.onload = () => yes('loaded'); script.onerror = no;
    script.src = url; document.head.append(script); }));
  return tried;
}"""


@pytest.fixture
def context() -> Iterator[BrowserContext]:
    """A browser for which evil.test is this machine, as after a rebinding of its name."""
    need("chromium")
    with sync_playwright() as playwright:
        program = os.environ.get("CHROMIUM", "/usr/bin/chromium")
        flags = [*FLAGS, "--host-resolver-rules=MAP evil.test 127.0.0.1"]
        browser = playwright.chromium.launch(executable_path=program, args=flags)
        yield browser.new_context()
        browser.close()


@contextmanager
def site() -> Iterator[int]:
    """Somebody else's server on this machine: its port."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<title>a page</title><body>hello</body>")

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


@contextmanager
def logging_in(cli: Cli, context: BrowserContext) -> Iterator[tuple["subprocess.Popen[str]", Page, str, str]]:
    """A login that waits for a key: its command, the person's page, the daemon's origin, the session's number."""
    browser, told = cli.home.root / "browser", cli.home.root / "told"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" > {told}.part && mv {told}.part {told}\n')
    browser.chmod(0o700)
    with cli.started("login", "openai", env={"BROWSER": f"{browser} %s"}) as login:
        ends = time.monotonic() + 20
        while not told.exists() and time.monotonic() < ends:
            time.sleep(0.05)
        page = context.new_page()
        page.goto(told.read_text())
        found = re.fullmatch(r"(http://[^/]+)/auth/sessions/([^/]+)", page.url)
        assert found is not None, page.url
        yield login, page, found[1], found[2]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "evil.test"])
def test_a_page_of_another_origin_achieves_nothing(
    cli: Cli, canary: Canary, context: BrowserContext, host: str
) -> None:
    with logging_in(cli, context) as (login, page, origin, session), site() as port:
        evil = context.new_page()
        evil.goto(f"http://{host}:{port}/")
        tried = evil.evaluate(ATTACK, [origin, session])
        blind = {name: came for name, came in tried.items() if name.startswith("blind")}
        assert set(blind.values()) <= {"opaque", "failed"}
        assert {came for name, came in tried.items() if name not in blind} == {"failed"}, tried
        # a form that takes the whole window along
        evil.set_content(
            f'<form method=post action="{origin}/auth/sessions/{session}/key">'
            "<input name=api_key value=sk-proj-of-the-attacker-abcdefgh><input name=form_token value=guess></form>"
            "<script>document.forms[0].submit()</script>"
        )
        evil.wait_for_url(f"{origin}/**")
        assert "sk-proj" not in evil.content()
        # the login was not touched: the person goes on with it
        page.reload()
        page.locator("input[name=api_key]").fill(KEY.format(canary.secret))
        page.locator("form button[type=submit]:visible").first.click()
        assert login.wait(timeout=20) == 0
    assert canary.secret in cli("export", "openai", shows_secret=True).ok().out


def test_a_name_that_was_bound_to_us_gets_nothing(cli: Cli, context: BrowserContext) -> None:  # DNS rebinding
    with logging_in(cli, context) as (_, _, origin, session):
        rebound = origin.replace("127.0.0.1", "evil.test").replace("localhost", "evil.test")
        evil = context.new_page()
        for path in ("/", "/health", f"/auth/sessions/{session}", "/static/style.css"):
            answer = evil.goto(rebound + path)
            assert answer is not None and answer.status in (403, 421), (path, answer)
            assert session not in evil.content()


def test_the_cookie_of_a_login_is_hidden_from_scripts_and_ends_with_it(
    cli: Cli, context: BrowserContext
) -> None:  # W08
    with logging_in(cli, context) as (_, page, _, _):
        (cookie,) = context.cookies()
        assert cookie["httpOnly"] and cookie["sameSite"] in ("Lax", "Strict") and cookie["path"] == "/auth"
        assert page.evaluate("document.cookie") == ""
