"""A broker on a real vault and catalogue; only the authorization server is a stand-in, at the fetch."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from authsome.broker.broker import Broker
from authsome.broker.record import Recorder
from authsome.broker.store import Store
from authsome.catalog.catalog import Catalog
from authsome.errors import AuthsomeError
from authsome.flows.steps import Fetch, Fetched, Outcome, Step, Wish
from authsome.model.connection import Client, Connection, Credential, Grant
from authsome.model.secret import Secret
from authsome.settings import Settings
from authsome.vault.vault import Vault

AS = "https://mcp.example.com"
REDIRECT = "http://127.0.0.1:7998/auth/callback/oauth"
FILE = {
    "name": "example",
    "display_name": "Example",
    "auth_type": "oauth2",
    "flow": "dcr_pkce",
    "api_url": "mcp.example.com",
    "oauth": {"authorization_url": f"{AS}/authorize", "token_url": f"{AS}/token"},
    "export": {"env": {"access_token": "EXAMPLE_TOKEN", "refresh_token": "EXAMPLE_REFRESH_TOKEN"}},
}


@dataclass
class Server:
    """Answers token requests: rotates `rt1 → rt2 → …` and refuses a used one, or fails as told."""

    calls: int = 0
    delay: float = 0.0
    failure: AuthsomeError | Fetched | None = None
    lifetime: float = 3600.0
    started: asyncio.Event = field(default_factory=asyncio.Event)
    revoked: list[str] = field(default_factory=list)

    async def __call__(self, step: Fetch) -> Fetched:
        form = {n: v.reveal() if isinstance(v, Secret) else v for n, v in step.form or ()}
        if "token" in form:
            self.revoked.append(form["token"])
            return _answer(200, {})
        self.calls += 1
        self.started.set()
        await asyncio.sleep(self.delay)
        if isinstance(self.failure, Fetched):
            return self.failure
        if self.failure is not None:
            raise self.failure
        number = int(form["refresh_token"].removeprefix("rt"))
        if number != self.calls:
            return _answer(400, {"error": "invalid_grant"})
        tokens = {"access_token": f"at{number + 1}", "refresh_token": f"rt{number + 1}", "token_type": "Bearer"}
        return _answer(200, tokens | {"expires_in": self.lifetime})

    async def perform(self, step: Step) -> Fetched:
        assert isinstance(step, Fetch)
        return await self(step)


def _answer(status: int, body: object) -> Fetched:
    return Fetched(status=status, headers={}, body=json.dumps(body).encode(), at=time.time())


def bad_grant() -> Fetched:
    return _answer(400, {"error": "invalid_grant"})


@dataclass
class Scene:
    """A broker with one client kept; `connect` makes connections as a login would."""

    broker: Broker
    server: Server
    store: Store

    async def connect(self, name: str = "default", *, left: float = 3600.0, lifetime: float = 3600.0) -> Connection:
        now = time.time()
        credential = Credential(
            access_token=Secret("at1"),
            refresh_token=Secret("rt1"),
            expires_at=now + left,
            obtained_at=now + left - lifetime,
        )
        grant = Grant(issuer=AS, token_url=f"{AS}/token", revocation_url=f"{AS}/revoke", redirect_uri=REDIRECT)
        wish = Wish(provider=self.broker.catalog.get("example").provider, redirect_uri=REDIRECT)
        return await self.broker.adopt(wish, name, "dcr_pkce", Outcome(credential=credential, grant=grant))


@pytest.fixture
def play(tmp_path: Path) -> Callable[[Callable[[Scene], Awaitable[None]]], None]:
    """`play(scenario)` runs an async scenario on a fresh broker."""

    def run(scenario: Callable[[Scene], Awaitable[None]]) -> None:
        async def whole() -> None:
            home = tmp_path / "home"
            (home / "providers").mkdir(parents=True, mode=0o700)
            home.chmod(0o700)
            (home / "providers" / "example.json").write_text(json.dumps(FILE))
            settings = Settings(home=str(home), root_key="00" * 32)
            store, server = Store(Vault.open(settings)), Server()
            catalog = Catalog(home / "providers")
            broker = Broker(store, catalog, server, Recorder(store), redirect_uri=REDIRECT)  # type: ignore[arg-type]
            await broker.lender.load()
            await broker.keep_client("example", Client(issuer=AS, redirect_uri=REDIRECT, client_id="c"), None)
            try:
                await scenario(Scene(broker, server, store))
            finally:
                await broker.lender.settle(2)
                await broker.recorder.flush()
                store.close()

        asyncio.run(whole())

    return run
