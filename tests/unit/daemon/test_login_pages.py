"""Logging in through the pages, as the person's browser and as an attacker (P8, P9, P12, P15; O01–O03, W06, W11)."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import httpx2
import pytest

from authsome.broker.broker import Broker
from authsome.broker.record import Recorder
from authsome.broker.store import Store
from authsome.catalog.catalog import Catalog
from authsome.daemon.guard import Guard
from authsome.daemon.pages import browser_app
from authsome.daemon.sessions import LoginSession, Phase, Sessions
from authsome.errors import CallbackRefused
from authsome.flows.steps import Fetch, Fetched, Step, Wish
from authsome.model.secret import Secret
from authsome.settings import Settings
from authsome.vault.vault import Vault

AS = "https://mcp.example.com"
HERE = "http://127.0.0.1:7998"
REDIRECT = f"{HERE}/auth/callback/oauth"
EXAMPLE = {
    "name": "example",
    "display_name": "Example <b>&amp;",
    "auth_type": "oauth2",
    "flow": "dcr_pkce",
    "api_url": "mcp.example.com",
    "oauth": {"authorization_url": f"{AS}/authorize", "token_url": f"{AS}/token", "issuer": AS},
}
KEYED = {
    "name": "keyed",
    "display_name": "Keyed",
    "auth_type": "api_key",
    "flow": "api_key",
    "api_url": "api.keyed.example",
    "api_key": {"key_pattern": "^sk-[a-z]+$", "key_pattern_hint": "a key starts with sk-"},
}
METADATA = {
    "issuer": AS,
    "authorization_endpoint": f"{AS}/authorize",
    "token_endpoint": f"{AS}/token",
    "registration_endpoint": f"{AS}/register",
    "token_endpoint_auth_methods_supported": ["none", "client_secret_post"],
}
PAGES: dict[str, tuple[int, object]] = {
    f"GET {AS}/.well-known/oauth-authorization-server": (200, METADATA),
    f"POST {AS}/register": (201, {"client_id": "client-1", "token_endpoint_auth_method": "none"}),
    f"GET {AS}/authorize": (200, {}),
    f"POST {AS}/token": (200, {"access_token": "CANARY-at", "refresh_token": "CANARY-rt", "token_type": "bearer"}),
}


class Server:
    """The authorization server as far as the daemon calls it."""

    def __init__(self) -> None:
        self.pages = dict(PAGES)
        self.calls: list[str] = []
        self.forms: list[dict[str, str]] = []

    async def __call__(self, step: Fetch) -> Fetched:
        name = f"{step.method} {step.url.partition('?')[0]}"
        self.calls.append(name)
        if step.form is not None:
            self.forms.append({n: v.reveal() if isinstance(v, Secret) else v for n, v in step.form})
        status, body = self.pages.get(name, (404, {}))
        return Fetched(status=status, headers={}, body=json.dumps(body).encode(), at=1.0)

    async def perform(self, step: Step) -> Fetched:
        assert isinstance(step, Fetch)
        return await self(step)

    @property
    def exchanges(self) -> int:
        return self.calls.count(f"POST {AS}/token")


class Browser(httpx2.AsyncClient):
    """A browser at the pages: cookies, and forms sent as browsers send them."""

    def __init__(self, sessions: Sessions) -> None:
        guard = Guard(browser_app(sessions), ["127.0.0.1:7998"])
        super().__init__(transport=httpx2.ASGITransport(app=guard), base_url=HERE)
        self.seen: list[str] = []

    async def see(self, url: str) -> httpx2.Response:
        page = await self.get(url)
        self.seen.append(page.text)
        return page

    async def send_form(self, page: httpx2.Response, action: str, **fields: str) -> httpx2.Response:
        token = re.search(r'name="form_token" value="([^"]+)"', page.text)
        assert token, page.text
        whole = {"form_token": token.group(1)} | fields
        return await self.post(action, data=whole, headers={"origin": HERE, "sec-fetch-site": "same-origin"})


@dataclass
class Scene:
    sessions: Sessions
    server: Server
    broker: Broker

    def start(self, provider: str = "example", *, browser: bool = True) -> LoginSession:
        there = self.broker.catalog.get(provider).provider
        wish = Wish(provider=there, redirect_uri=REDIRECT)
        return self.sessions.start(LoginSession(wish=wish, connection="default", flow=there.flow, browser=browser))

    async def enter(self, session: LoginSession, browser: Browser | None = None) -> tuple[Browser, httpx2.Response]:
        """Open the one-time link, and the page behind it."""
        browser = browser or Browser(self.sessions)
        hop = await browser.see(f"/auth/login/{session.ticket}")
        assert hop.status_code == 303, hop.text
        return browser, await browser.see(hop.headers["location"])

    async def reach_consent(self, session: LoginSession) -> tuple[Browser, dict[str, str]]:
        browser, page = await self.enter(session)
        onward = await browser.send_form(page, f"/auth/sessions/{session.id}/client")
        assert onward.status_code == 303
        assert onward.headers["location"].startswith(f"{AS}/authorize?")
        return browser, dict(parse_qsl(urlsplit(onward.headers["location"]).query))


Play = Callable[[Callable[[Scene], Awaitable[None]]], None]


@pytest.fixture
def play(tmp_path: Path) -> Play:
    def run(scenario: Callable[[Scene], Awaitable[None]]) -> None:
        async def whole() -> None:
            home = tmp_path / "home"
            (home / "providers").mkdir(parents=True, mode=0o700)
            home.chmod(0o700)
            for file in (EXAMPLE, KEYED):
                (home / "providers" / f"{file['name']}.json").write_text(json.dumps(file))
            store, server = Store(Vault.open(Settings(home=str(home), root_key="00" * 32))), Server()
            broker = Broker(
                store,
                Catalog(home / "providers"),
                server,  # type: ignore[arg-type]
                Recorder(store),
                redirect_uri=REDIRECT,
            )
            sessions = Sessions(broker, server, REDIRECT)  # type: ignore[arg-type]
            try:
                await scenario(Scene(sessions, server, broker))
            finally:
                await sessions.stop()
                await broker.recorder.flush()
                store.close()

        asyncio.run(whole())

    return run


def test_the_first_login_registers_a_client_and_says_what_was_connected(play: Play) -> None:
    async def scenario(scene: Scene) -> None:
        session = scene.start()
        browser, page = await scene.enter(session)
        for shown in ("Register and continue", "Use your own client", AS, REDIRECT, "example/default"):
            assert shown in page.text
        onward = await browser.send_form(page, f"/auth/sessions/{session.id}/client")
        state = dict(parse_qsl(urlsplit(onward.headers["location"]).query))["state"]
        back = await browser.see(f"/auth/callback/oauth?code=CANARY-code&state={state}")
        assert back.headers["location"] == f"/auth/sessions/{session.id}"  # no code stays in the address
        result = await browser.see(back.headers["location"])
        assert "Connected: example/default" in result.text and "may close" in result.text
        assert session.phase is Phase.DONE
        assert session.notes == [f"registered a client with {AS}"]
        assert not any("CANARY" in text for text in browser.seen)  # P9

    play(scenario)


def test_a_client_of_ones_own_is_taken_and_not_shown_again(play: Play) -> None:
    async def scenario(scene: Scene) -> None:
        session = scene.start()
        browser, page = await scene.enter(session)
        onward = await browser.send_form(
            page, f"/auth/sessions/{session.id}/client", client_id="mine", client_secret="CANARY-secret"
        )
        query = dict(parse_qsl(urlsplit(onward.headers["location"]).query))
        assert query["client_id"] == "mine" and f"POST {AS}/register" not in scene.server.calls
        await browser.see(f"/auth/callback/oauth?code=x&state={query['state']}")
        kept = await scene.broker.find_client(AS, REDIRECT)
        assert kept is not None and kept.client_secret == Secret("CANARY-secret") and not kept.registered
        assert "CANARY" not in onward.headers["location"] + "".join(browser.seen)

    play(scenario)


def test_the_second_login_asks_for_no_client(play: Play) -> None:
    async def scenario(scene: Scene) -> None:
        browser, query = await scene.reach_consent(scene.start())
        await browser.see(f"/auth/callback/oauth?code=x&state={query['state']}")
        _, page = await scene.enter(scene.start())
        assert page.status_code == 303 and page.headers["location"].startswith(f"{AS}/authorize?")

    play(scenario)


@pytest.mark.parametrize(
    "query", ["", "code=x", "code=x&state=", "code=x&state=unknown", "code=x&state=" + "s" * 60_000]
)
def test_a_callback_of_no_login_is_refused(play: Play, query: str) -> None:  # O01
    async def scenario(scene: Scene) -> None:
        browser, _ = await scene.reach_consent(scene.start())
        answer = await browser.see(f"/auth/callback/oauth?{query}")
        assert answer.status_code == 400 and scene.server.exchanges == 0

    play(scenario)


def test_a_state_given_twice_is_refused(play: Play) -> None:  # O01
    async def scenario(scene: Scene) -> None:
        session = scene.start()
        browser, query = await scene.reach_consent(session)
        answer = await browser.see(f"/auth/callback/oauth?code=x&state={query['state']}&state=evil")
        assert answer.status_code == 400 and scene.server.exchanges == 0
        assert session.phase is Phase.CONSENT  # the true one can still come

    play(scenario)


@pytest.mark.parametrize("again", ["code=x", "code=other", "error=access_denied"])
def test_a_callback_counts_once(play: Play, again: str) -> None:  # O02
    async def scenario(scene: Scene) -> None:
        browser, query = await scene.reach_consent(scene.start())
        await browser.see(f"/auth/callback/oauth?code=x&state={query['state']}")
        (before,) = scene.broker.lender.connections()
        answer = await browser.see(f"/auth/callback/oauth?{again}&state={query['state']}")
        assert answer.status_code == 400 and scene.server.exchanges == 1
        assert scene.broker.lender.connections() == [before]

    play(scenario)


def test_a_callback_in_another_browser_is_refused(play: Play) -> None:  # O03
    async def scenario(scene: Scene) -> None:
        session = scene.start()
        browser, query = await scene.reach_consent(session)
        stranger = Browser(scene.sessions)
        url = f"/auth/callback/oauth?code=x&state={query['state']}"
        assert (await stranger.see(url)).status_code == 400
        assert scene.server.exchanges == 0 and session.phase is Phase.CONSENT
        assert (await browser.see(url)).status_code == 303

    play(scenario)


def test_a_callback_for_a_login_begun_in_a_terminal_is_to_be_pasted_there(play: Play) -> None:  # O03
    async def scenario(scene: Scene) -> None:
        session = scene.start(browser=False)
        await session.wait(0, 2)
        assert session.phase is Phase.CONSENT and session.state
        page = await Browser(scene.sessions).see(f"/auth/callback/oauth?code=x&state={session.state}")
        assert page.status_code == 400 and "paste it into the terminal" in page.text
        assert scene.server.exchanges == 0
        scene.sessions.take_callback(f"code=x&state={session.state}", cookies=None)
        await session.wait(session.step, 2)
        assert session.phase is Phase.DONE

    play(scenario)


def test_the_link_works_once(play: Play) -> None:  # W06
    async def scenario(scene: Scene) -> None:
        session = scene.start()
        ticket = session.ticket
        await scene.enter(session)
        again = await Browser(scene.sessions).see(f"/auth/login/{ticket}")
        assert again.status_code == 400 and "set-cookie" not in again.headers

    play(scenario)


def test_knowing_the_number_of_a_login_opens_nothing(play: Play) -> None:  # W06
    async def scenario(scene: Scene) -> None:
        session = scene.start()
        _, page = await scene.enter(session)
        stranger = Browser(scene.sessions)
        assert (await stranger.see(f"/auth/sessions/{session.id}")).status_code == 400
        answer = await stranger.send_form(page, f"/auth/sessions/{session.id}/client")
        assert answer.status_code == 400 and session.phase is Phase.CLIENT

    play(scenario)


def test_a_form_counts_once(play: Play) -> None:  # P8
    async def scenario(scene: Scene) -> None:
        session = scene.start()
        browser, page = await scene.enter(session)
        await browser.send_form(page, f"/auth/sessions/{session.id}/client")
        again = await browser.send_form(page, f"/auth/sessions/{session.id}/client")
        assert again.status_code == 400

    play(scenario)


def test_a_form_without_its_token_is_refused(play: Play) -> None:  # P8
    async def scenario(scene: Scene) -> None:
        session = scene.start()
        browser, _ = await scene.enter(session)
        answer = await browser.post(
            f"/auth/sessions/{session.id}/client", data={"form_token": ""}, headers={"origin": HERE}
        )
        assert answer.status_code == 400 and session.phase is Phase.CLIENT

    play(scenario)


def test_the_cookie_is_kept_from_scripts_and_other_sites(play: Play) -> None:  # W08
    async def scenario(scene: Scene) -> None:
        session = scene.start()
        hop = await Browser(scene.sessions).see(f"/auth/login/{session.ticket}")
        cookie = hop.headers["set-cookie"].lower()
        assert "httponly" in cookie and "samesite=lax" in cookie and "path=/auth" in cookie

    play(scenario)


def test_a_denied_consent_is_said(play: Play) -> None:
    async def scenario(scene: Scene) -> None:
        session = scene.start()
        browser, query = await scene.reach_consent(session)
        await browser.see(f"/auth/callback/oauth?error=access_denied&state={query['state']}")
        page = await browser.see(f"/auth/sessions/{session.id}")
        assert "not connected" in page.text and "denied" in page.text
        assert session.error is not None and session.error.exit_status == 2
        assert scene.server.exchanges == 0

    play(scenario)


def test_two_logins_at_once_share_a_client_and_keep_their_states_apart(play: Play) -> None:  # O04
    async def scenario(scene: Scene) -> None:
        one, other = scene.start(), scene.start()
        first, query = await scene.reach_consent(one)
        second, _ = await scene.reach_consent(other)
        assert (await second.see(f"/auth/callback/oauth?code=x&state={query['state']}")).status_code == 400
        assert other.phase is Phase.CONSENT and one.phase is Phase.CONSENT
        assert (await first.see(f"/auth/callback/oauth?code=x&state={query['state']}")).status_code == 303

    play(scenario)


def test_a_cancelled_login_takes_no_callback(play: Play) -> None:
    async def scenario(scene: Scene) -> None:
        session = scene.start()
        browser, query = await scene.reach_consent(session)
        scene.sessions.cancel(session)
        assert (await browser.see(f"/auth/callback/oauth?code=x&state={query['state']}")).status_code == 400
        assert scene.server.exchanges == 0 and scene.broker.lender.connections() == []

    play(scenario)


def test_markup_in_a_provider_file_is_text(play: Play) -> None:  # W11
    async def scenario(scene: Scene) -> None:
        _, page = await scene.enter(scene.start())
        assert "Example &lt;b&gt;&amp;amp;" in page.text and "<b>" not in page.text

    play(scenario)


def test_the_client_page_alone_lets_its_form_lead_to_other_servers(play: Play) -> None:  # P9
    async def scenario(scene: Scene) -> None:
        session = scene.start()
        _, page = await scene.enter(session)
        assert "form-action 'self' https:;" in page.headers["content-security-policy"]
        _, key_page = await scene.enter(scene.start("keyed"))
        assert "form-action 'self';" in key_page.headers["content-security-policy"]
        assert page.headers["referrer-policy"] == "no-referrer"
        assert '<meta name="referrer" content="same-origin">' in page.text  # else browsers send Origin: null

    play(scenario)


def test_a_key_of_the_wrong_form_is_asked_for_again(play: Play) -> None:
    async def scenario(scene: Scene) -> None:
        session = scene.start("keyed")
        browser, page = await scene.enter(session)
        back = await browser.send_form(page, f"/auth/sessions/{session.id}/key", api_key="CANARY-wrong")
        page = await browser.see(back.headers["location"])
        assert "a key starts with sk-" in page.text
        back = await browser.send_form(page, f"/auth/sessions/{session.id}/key", api_key="sk-canaryright")
        page = await browser.see(back.headers["location"])
        assert "Connected: keyed/default" in page.text
        assert not any("CANARY" in text or "canaryright" in text for text in browser.seen)

    play(scenario)


def test_nothing_else_is_served_without_authentication(play: Play) -> None:  # P12, W07
    async def scenario(scene: Scene) -> None:
        browser = Browser(scene.sessions)
        assert (await browser.see("/health")).json()["ok"] is True
        for path in (
            "/connections",
            "/providers",
            "/runs",
            "/events",
            "/docs",
            "/openapi.json",
            "/whoami",
            "/auth/sessions",
        ):
            assert (await browser.see(path)).status_code in (404, 405), path

    play(scenario)


def test_a_pasted_address_of_another_place_is_refused(play: Play) -> None:  # O08
    from authsome.daemon.sessions import pasted_query
    from authsome.errors import UsageError

    assert pasted_query(f"{REDIRECT}?code=a&state=b\n", REDIRECT) == "code=a&state=b"
    for url in (
        "http://127.0.0.1:9999/auth/callback/oauth?code=a",
        f"{HERE}/other?code=a",
        "https://evil.example/?code=a",
        "",
    ):
        with pytest.raises(UsageError):
            pasted_query(url, REDIRECT)

    async def scenario(scene: Scene) -> None:
        with pytest.raises(CallbackRefused):
            scene.sessions.take_callback("code=a&state=b", cookies=None)

    play(scenario)


def test_a_form_that_cannot_be_read_is_not_repeated(play: Play) -> None:  # P9
    async def scenario(scene: Scene) -> None:
        session = scene.start("keyed")
        browser, page = await scene.enter(session)
        answer = await browser.send_form(page, f"/auth/sessions/{session.id}/key", api_key="CANARY" + "x" * 20_000)
        assert answer.status_code == 400 and "CANARY" not in answer.text

    play(scenario)


@pytest.mark.parametrize("path", ["/auth/login/%C3%A9", "/auth/callback/oauth?code=c&state=%C3%A9"])
def test_characters_that_are_never_sent_are_refused_like_any_other(play: Play, path: str) -> None:
    async def scenario(scene: Scene) -> None:
        browser, _ = await scene.reach_consent(scene.start())
        scene.start()
        assert (await browser.see(path)).status_code == 400

    play(scenario)
