"""The verbs on connections: resolve, adopt, export, log out, revoke, choose the default."""

import logging
import time
from dataclasses import dataclass, replace

from authsome.broker.converse import converse
from authsome.broker.fetch import Fetcher
from authsome.broker.lending import Lender, client_key
from authsome.broker.record import Recorder
from authsome.broker.store import Store
from authsome.catalog.catalog import Catalog
from authsome.errors import (
    AuthsomeError,
    ConnectionChoiceNeeded,
    ConnectionExists,
    ConnectionNotFound,
    CredentialMissing,
    NeedsLogin,
    ProviderNotFound,
    StaleWrite,
    VaultError,
)
from authsome.flows.documents import origin
from authsome.flows.steps import Fetch, Outcome, Wish
from authsome.flows.tokens import revoke
from authsome.model.connection import Client, Connection, Credential, Status
from authsome.model.event import ClientRegistered, Exported, LoggedIn, LoggedOut
from authsome.model.provider import Provider
from authsome.model.secret import Secret

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """A credential under the name that programs look for."""

    name: str
    value: Secret
    provider: str
    connection: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Farewell:
    """How a logout went: `revoked` is None where the provider has no way to revoke."""

    connection: str
    revoked: bool | None
    detail: str


class Broker:
    """What the owner can do with connections. The proxy's side of it is `Lender`."""

    def __init__(
        self, store: Store, catalog: Catalog, fetch: Fetcher, recorder: Recorder, *, redirect_uri: str
    ) -> None:
        self.store = store
        self.catalog = catalog
        self.recorder = recorder
        self.redirect_uri = redirect_uri
        self.lender = Lender(store, catalog, fetch, recorder)
        self._fetch = fetch

    # ── looking ────────────────────────────────────────────────────────────────────────────

    def of_provider(self, provider: str) -> list[Connection]:
        """The connections of one provider, by name."""
        return [c for c in self.lender.connections() if c.provider == provider]

    def resolve(self, provider: str, name: str | None) -> Connection:
        """The connection that is meant: the named one, else the default, else the only one.

        Raises ProviderNotFound, ConnectionNotFound, ConnectionChoiceNeeded.
        """
        there = self.of_provider(provider)
        if not there:
            self.catalog.get(provider)  # an unknown provider is the better message
            wanted = f"{provider}/{name}" if name else provider
            raise ConnectionNotFound(f"{wanted} is not connected", f"log in: authsome login {provider}")
        if name is not None:
            for connection in there:
                if connection.name == name:
                    return connection
            names = ", ".join(c.name for c in there)
            raise ConnectionNotFound(f"no connection {provider}/{name}", f"there is: {names}")
        chosen = [c for c in there if c.is_default] or there
        if len(chosen) > 1:
            names = ", ".join(c.name for c in there)
            raise ConnectionChoiceNeeded(
                f"{provider} has several connections and no default: {names}",
                f"choose one: authsome set-default {provider} {there[0].name}, or pass --connection",
            )
        return chosen[0]

    # ── logging in ─────────────────────────────────────────────────────────────────────────

    def check_free(self, provider: str, name: str, *, force: bool) -> None:
        """Refuse to log in over a connection that still works. Raises ConnectionExists."""
        there = self.lender.get((provider, name))
        if there is not None and not force and there.status(time.time()) is Status.CONNECTED:
            raise ConnectionExists(
                f"{there} is connected already", "pass --force to log in anew, or --connection NAME for another account"
            )

    async def find_client(self, issuer: str, redirect_uri: str) -> Client | None:
        """The client kept for an authorization server; one that cannot be opened is given up, to be made anew."""
        try:
            return await self.store(lambda vault: vault.client(issuer, redirect_uri))
        except VaultError as error:
            log.error("a client is forgotten: %s", error.message)
            await self.store(lambda vault: vault.delete_client(issuer, redirect_uri))
            return None

    async def keep_client(self, provider: str, client: Client, replaces: Client | None) -> Client | None:
        """Seal a client and return the one in force: a concurrent login that kept one first wins."""
        wanted = replace(client, version=replaces.version if replaces else 0)
        try:
            await self.store(lambda vault: vault.put_client(wanted))
        except StaleWrite:
            return await self.find_client(client.issuer, client.redirect_uri)
        how = "registered" if client.registered else "entered"
        self.recorder.record(ClientRegistered(at=time.time(), provider=provider, issuer=client.issuer, how=how))
        return client

    async def adopt(self, wish: Wish, name: str, flow: str, outcome: Outcome) -> Connection:
        """Store what a login ended with; where the credential goes, and how, is pinned (P18)."""
        now = time.time()
        fresh = Connection(
            provider=wish.provider.name,
            name=name,
            flow=flow,
            scopes=outcome.scopes,
            routes=wish.provider.routes(wish.base_url),
            placement=wish.provider.placement(api_key=outcome.credential.api_key is not None),
            base_url=wish.base_url,
            grant=outcome.grant,
            credential=outcome.credential,
            created_at=now,
            updated_at=now,
        )
        stored = await self._put(fresh)
        await self.reload(stored.provider)
        self.recorder.record(
            LoggedIn(at=now, provider=stored.provider, connection=name, flow=flow, scopes=" ".join(stored.scopes))
        )
        return self.lender.get(stored.key) or stored

    async def _put(self, fresh: Connection) -> Connection:
        """Insert, or replace what is there; a refresh that came in between only costs one more try."""
        if fresh.key in self.lender.damaged:  # nothing can be read from it: the new one takes its place
            await self.store(lambda vault: vault.delete_connection(*fresh.key))
        for _ in range(3):
            there = await self.store(lambda vault: vault.connection(*fresh.key))
            try:
                if there is None:
                    return await self.store(lambda vault: vault.add_connection(fresh))
                wanted = replace(fresh, version=there.version, is_default=there.is_default)
                return await self.store(lambda vault, wanted=wanted: vault.replace_connection(wanted))  # type: ignore[misc]
            except (StaleWrite, ConnectionExists):
                continue
        raise StaleWrite(f"{fresh} is being changed by somebody else", "try again")

    async def reload(self, provider: str) -> None:
        """Take over what the vault says of one provider: a write may have moved its default."""
        rows = await self.store(lambda vault: vault.connections())
        mine = [c for c in rows if c.provider == provider]
        gone = {c.key for c in self.of_provider(provider)} - {c.key for c in mine}
        for key in gone:
            self.lender.drop(key)
        self.lender.put(mine)

    # ── handing out ────────────────────────────────────────────────────────────────────────

    async def fresh(self, connection: Connection) -> Credential:
        """Its credential, refreshed where needed. Raises NeedsLogin, CredentialMissing, Unreachable."""
        await self.lender.lend(*connection.key)
        there = self.lender.get(connection.key)
        if there is None:
            raise NeedsLogin(f"{connection} was logged out", f"log in again: authsome login {connection.provider}")
        return there.credential

    async def export(self, provider: str, name: str | None, caller: str) -> list[Variable]:
        """The variables of one connection, for the audit with who gets them; never a refresh token.

        Raises what `resolve` and `fresh` raise, and CredentialMissing where the file names no variable.
        """
        connection = self.resolve(provider, name)
        is_key = connection.credential.api_key is not None
        names = self.catalog.get(provider).provider.variables(api_key=is_key)
        if not names:
            raise CredentialMissing(
                f"the file of {provider} names no variable to export", "add export.env to it: see docs/providers.md"
            )
        value = (await self.fresh(connection)).value
        if value is None:
            raise CredentialMissing(f"{connection} has nothing to export", f"log in again: authsome login {provider}")
        self.handed_out(connection, "export", caller)
        return [
            Variable(name=variable, value=value, provider=provider, connection=connection.name) for variable in names
        ]

    def handed_out(self, connection: Connection, how: str, caller: str) -> None:
        """Audit that a credential left in clear, and to whom."""
        provider, name = connection.key
        self.recorder.record(Exported(at=time.time(), provider=provider, connection=name, how=how, caller=caller))

    # ── ending ─────────────────────────────────────────────────────────────────────────────

    async def logout(self, provider: str, name: str | None) -> Farewell:
        """Revoke as far as the provider lets us, then delete whatever came of it (O33)."""
        if name is not None and (provider, name) in self.lender.damaged:
            return await self._forget(provider, name, False, "it could not be read, so nothing was revoked")
        await self.lender.quiet(self.resolve(provider, name).key)  # or its new tokens would outlive the logout
        connection = self.resolve(provider, name)
        revoked, detail = await self._revoke(connection)
        return await self._forget(provider, connection.name, revoked, detail)

    async def _forget(self, provider: str, name: str, revoked: bool | None, detail: str) -> Farewell:
        await self.store(lambda vault: vault.delete_connection(provider, name))
        self.lender.drop((provider, name))
        await self.reload(provider)
        self.recorder.record(LoggedOut(at=time.time(), provider=provider, connection=name, revoked=revoked is True))
        return Farewell(connection=name, revoked=revoked, detail=detail)

    async def revoke(self, provider: str) -> tuple[list[Farewell], bool, str]:
        """Log every connection of a provider out and give its client up: (farewells, deleted, detail)."""
        there = self.of_provider(provider)
        keys = {key for key in map(client_key, there) if key is not None}
        try:
            keys |= self._likely_clients(self.catalog.get(provider).provider, {key[1] for key in keys})
        except ProviderNotFound:
            if not there:
                raise
        farewells = [await self.logout(provider, connection.name) for connection in there]
        in_use = {client_key(c) for c in self.lender.connections()}
        deleted, detail = False, "no client was kept"
        for issuer, redirect_uri in sorted(keys - in_use):
            client = await self.find_client(issuer, redirect_uri)
            if client is not None:
                detail = await self._give_up(client)
                deleted = True
        return farewells, deleted, detail

    def _likely_clients(self, provider: Provider, redirects: set[str]) -> set[tuple[str, str]]:
        """Where a client of this provider can be kept although no connection is left to tell."""
        oauth = provider.oauth
        if oauth is None:
            return set()
        issuers = {origin(provider.fill(oauth.token_url)), *([provider.fill(oauth.issuer)] if oauth.issuer else [])}
        return {(issuer, redirect) for issuer in issuers for redirect in redirects | {self.redirect_uri}}

    async def _give_up(self, client: Client) -> str:
        """Delete a client, at the server too where it lets us (RFC 7592 §2.3)."""
        detail = "the client was forgotten here; its server has no way to delete it"
        if client.registration_url and client.registration_token:
            bearer = Secret(f"Bearer {client.registration_token.reveal()}")
            step = Fetch(url=client.registration_url, method="DELETE", authorization=bearer, owner_wrote=True)
            try:
                answer = await self._fetch(step)
                done = answer.status in (200, 204)
                detail = "the client was deleted at its server" if done else f"its server answered HTTP {answer.status}"
            except AuthsomeError as error:
                detail = f"its server could not be told: {error.message}"
        await self.store(lambda vault: vault.delete_client(client.issuer, client.redirect_uri))
        return detail

    async def _revoke(self, connection: Connection) -> tuple[bool | None, str]:
        key = client_key(connection)
        if connection.grant.revocation_url is None or key is None:
            return None, "the provider has no way to revoke: delete the access in its settings"
        client = await self.find_client(*key)
        oauth = self.catalog.get(connection.provider).provider.oauth if self._has_file(connection.provider) else None
        if client is None or oauth is None:
            return False, "nothing to revoke it with: delete the access in the provider's settings"
        try:
            if await converse(revoke(oauth, connection, client), self._fetch.perform):
                return True, "revoked at the provider"
            return False, "the provider did not confirm the revocation: delete the access in its settings"
        except AuthsomeError as error:
            return False, f"not revoked: {error.message}"

    def _has_file(self, provider: str) -> bool:
        return provider in self.catalog.entries()

    async def set_default(self, provider: str, name: str) -> Connection:
        """Make one connection the default of its provider. Raises ConnectionNotFound."""
        connection = self.resolve(provider, name)
        await self.store(lambda vault: vault.set_default(provider, name))
        await self.reload(provider)
        return self.lender.get(connection.key) or connection
