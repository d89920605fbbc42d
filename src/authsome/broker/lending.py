"""Lending: what every connection is worth right now, and one refresh in flight for each (P26)."""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from authsome.broker.converse import converse
from authsome.broker.fetch import Fetcher
from authsome.broker.offer import Offer
from authsome.broker.record import Recorder
from authsome.broker.store import Store
from authsome.catalog.catalog import Catalog, Entry
from authsome.errors import (
    AuthsomeError,
    CredentialMissing,
    NeedsLogin,
    StaleWrite,
    Unreachable,
    VaultError,
)
from authsome.flows.tokens import refresh
from authsome.model.connection import Connection, Status
from authsome.model.event import Refreshed, RefreshFailed
from authsome.model.placeholder import PLACEHOLDER
from authsome.model.provider import OAuth
from authsome.model.secret import Secret
from authsome.proxy.rules.table import Lendable, RouteTable
from authsome.vault.vault import Vault

log = logging.getLogger(__name__)

MARGIN = 60.0
MARGIN_SHARE = 0.1
FIRST_PAUSE = 5.0
LONGEST_PAUSE = 300.0
BETWEEN_RENEWALS = 30.0

Key = tuple[str, str]


@dataclass(slots=True)
class _Held:
    """A connection in memory. `deadline` and `next_try` are on the monotonic clock (O26)."""

    connection: Connection
    deadline: float | None
    margin: float
    next_try: float = 0.0
    failures: int = 0
    refused: bool = False


class Lender:
    """The one place that decides on credentials. A changed connection replaces the route table whole.

    `on_change` is called after each change of the table or of what is offered.
    """

    on_change: Callable[[], None] = staticmethod(lambda: None)

    def __init__(self, store: Store, catalog: Catalog, fetch: Fetcher, recorder: Recorder) -> None:
        self._store = store
        self._catalog = catalog
        self._fetch = fetch
        self._recorder = recorder
        self._held: dict[Key, _Held] = {}
        self._refreshing: dict[Key, asyncio.Task[None]] = {}
        self._unsaved: dict[Key, asyncio.Task[None]] = {}
        self._table = RouteTable(())
        self.damaged: dict[Key, str] = {}
        self._renewals: dict[Key, float] = {}

    async def load(self) -> None:
        """Read all connections from the vault; those that cannot be opened are named in `damaged`."""
        rows = await self._store(lambda vault: vault.connections())
        self._held = {c.key: _hold(c) for c in rows}
        self.damaged = {(problem.row[0], problem.row[1]): problem.message for problem in rows.problems}
        self.rebuild()

    def connections(self) -> list[Connection]:
        """All of them, by provider and name."""
        return [self._held[key].connection for key in sorted(self._held)]

    def get(self, key: Key) -> Connection | None:
        """One of them."""
        held = self._held.get(key)
        return held.connection if held else None

    def put(self, connections: Iterable[Connection]) -> None:
        """Take stored connections over, newer over older only (P27); the default is not part of a version."""
        for connection in connections:
            self.damaged.pop(connection.key, None)
            held = self._held.get(connection.key)
            if held is None or held.connection.version < connection.version:
                self._held[connection.key] = _hold(connection)
            else:
                held.connection = replace(held.connection, is_default=connection.is_default)
        self.rebuild()

    def drop(self, key: Key) -> None:
        """Forget one; the very next request no longer gets it (X70)."""
        self._held.pop(key, None)
        self.damaged.pop(key, None)
        self.rebuild()

    # ── what the proxy asks ────────────────────────────────────────────────────────────────

    def table(self) -> RouteTable:
        """The routes as they are now."""
        return self._table

    def rebuild(self) -> None:
        """Make the route table anew from the connections and the provider files."""
        now, entries = time.time(), self._catalog.named(provider for provider, _ in self._held)
        lendable = (
            _lendable(held.connection, entries.get(held.connection.provider), now) for held in self._held.values()
        )
        self._table = RouteTable(tuple(entry for entry in lendable if entry is not None))
        self.on_change()

    def offers(self) -> dict[Key, Offer]:
        """What can be lent without asking here, for processes that lend too."""
        return {k: self._offer(k, held) for k, held in self._held.items() if not held.connection.needs_login}

    def _offer(self, key: Key, held: _Held) -> Offer:
        credential = held.connection.credential
        until = None if held.deadline is None else held.deadline - held.margin
        return Offer(
            credential.value,
            fresh_until=0.0 if held.refused else until,
            renewable_from=self._renewals.get(key, 0.0) if credential.refresh_token is not None else None,
        )

    def lend_now(self, provider: str, connection: str) -> Secret | None:
        """A fresh value without waiting, or None where `lend` has to be asked."""
        held = self._held.get((provider, connection))
        if held is None or held.connection.needs_login or not _is_fresh(held):
            return None
        return held.connection.credential.value

    async def lend(self, provider: str, connection: str) -> Secret:
        """A fresh value, refreshed first where it is about to expire.

        A server that cannot be reached is no reason to refuse a token that is still good (O22).
        Raises NeedsLogin, CredentialMissing, Unreachable, LoginFailed.
        """
        key = (provider, connection)
        held = self._need(key)
        if not _is_fresh(held) and held.connection.credential.refresh_token is not None:
            await self._refreshed(key, held)
            held = self._need(key)
        value = held.connection.credential.value
        if value is None or _is_over(held):
            raise NeedsLogin(f"the credential of {held.connection} has expired", _login_hint(held.connection))
        return value

    def can_renew(self, provider: str, connection: str, refused: Secret) -> bool:
        """See `Offer.can_replace`. An API that refuses fresh tokens too must not cause a refresh for each request."""
        held = self._held.get((provider, connection))
        if held is None or held.connection.needs_login:
            return False
        return self._offer((provider, connection), held).can_replace(refused)

    async def renew(self, provider: str, connection: str, refused: Secret) -> Secret:
        """A credential in place of a refused one (O27). Raises NeedsLogin, CredentialMissing, Unreachable."""
        key = (provider, connection)
        held = self._need(key)
        if held.connection.credential.value == refused:
            self._renewals[key] = time.monotonic() + BETWEEN_RENEWALS
            held.refused = True
            self.on_change()
            try:
                await self._refreshed(key, held)
            finally:
                held.refused = False
                self.on_change()
        value = self._need(key).connection.credential.value
        if value is None or value == refused:
            raise NeedsLogin(f"{provider} refuses the credential of {held.connection}", _login_hint(held.connection))
        return value

    async def quiet(self, key: Key) -> None:
        """Wait for the refresh of one connection that is in flight, however it ends."""
        task = self._refreshing.get(key)
        if task is not None:
            await asyncio.wait([task])

    async def settle(self, seconds: float) -> None:
        """Wait for refreshes in flight and unsaved pairs, so that a stop loses no rotated token."""
        tasks = [*self._refreshing.values(), *self._unsaved.values()]
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)

    # ── refreshing ─────────────────────────────────────────────────────────────────────────

    async def _refreshed(self, key: Key, held: _Held) -> None:
        """Join the refresh in flight, or start it. Callers may die: it goes on without them."""
        task = self._refreshing.get(key)
        if task is None:
            if held.next_try > time.monotonic() and not _is_over(held):
                return
            if held.next_try > time.monotonic():
                raise Unreachable(
                    f"the last refresh of {held.connection} failed", f"it is tried again in {FIRST_PAUSE:.0f} s"
                )
            task = asyncio.get_running_loop().create_task(self._refresh(key))
            self._refreshing[key] = task
            task.add_done_callback(lambda _: self._refreshing.pop(key, None))
        try:
            await asyncio.shield(task)
        except NeedsLogin:
            raise
        except AuthsomeError:
            if _is_over(self._need(key)):
                raise

    async def _refresh(self, key: Key) -> None:
        """Decide after re-reading; store the new pair before anyone gets it (P26)."""
        stored = await self._store(lambda vault: vault.connection(*key))
        if stored is None:
            self.drop(key)
            raise NeedsLogin(f"{key[0]}/{key[1]} was logged out", f"log in again: authsome login {key[0]}")
        self.put([stored])
        held = self._need(key)
        if _is_fresh(held):
            return
        try:
            fresh = await self._exchange(held.connection)
        except NeedsLogin as error:
            await self._mark(replace(held.connection, needs_login=True))
            self._failed(held, error.code)
            raise NeedsLogin(error.message, _login_hint(held.connection)) from None
        except AuthsomeError as error:
            held.failures += 1
            pause = min(FIRST_PAUSE * 2 ** (held.failures - 1), LONGEST_PAUSE)
            held.next_try = time.monotonic() + pause * random.uniform(1.0, 1.25)  # noqa: S311 - jitter
            self._failed(held, error.code)
            raise
        try:
            await self._mark(fresh)
        except VaultError as error:  # the old pair is dead at the server: the new one must not be lost (O25)
            log.error("the refreshed credential of %s is not stored yet: %s", held.connection, error.message)
            self._held[key] = _hold(fresh)
            self.on_change()
            self._unsaved[key] = asyncio.get_running_loop().create_task(self._keep_trying(fresh))
        self._recorder.record(Refreshed(at=time.time(), provider=key[0], connection=key[1]))

    async def _keep_trying(self, fresh: Connection) -> None:
        """Store a pair that the vault would not take, as soon as it takes it."""
        while True:
            await asyncio.sleep(1.0)
            held = self._held.get(fresh.key)
            if held is None or held.connection.credential is not fresh.credential:
                return None  # logged out, or replaced by a newer one
            try:
                return await self._mark(fresh)
            except VaultError:
                continue

    async def _exchange(self, connection: Connection) -> Connection:
        oauth = self._oauth(connection)
        issuer, redirect_uri = connection.grant.issuer, connection.grant.redirect_uri
        if issuer is None or redirect_uri is None:
            raise CredentialMissing(f"{connection} does not say where it is refreshed", _login_hint(connection))
        client = await self._store(lambda vault: vault.client(issuer, redirect_uri))
        if client is None:
            raise NeedsLogin(f"the client of {connection} is gone", _login_hint(connection))
        credential = await converse(refresh(oauth, connection, client), self._fetch.perform)
        return replace(connection, credential=credential)

    async def _mark(self, connection: Connection) -> None:
        def write(vault: Vault) -> Connection:
            there = vault.connection(*connection.key)
            if there is None or there.created_at != connection.created_at:
                raise StaleWrite(f"{connection} was made anew")  # version 1 again, but another login's
            return vault.replace_connection(replace(connection, updated_at=time.time()))

        try:
            stored = await self._store(write)
        except StaleWrite:  # a login was faster: its credential is the newer one
            newer = await self._store(lambda vault: vault.connection(*connection.key))
            if newer is None:
                self.drop(connection.key)
                return
            stored = newer
        self.put([stored])

    def _failed(self, held: _Held, code: str) -> None:
        provider, name = held.connection.key
        log.warning("the refresh of %s failed: %s", held.connection, code)
        self._recorder.record(RefreshFailed(at=time.time(), provider=provider, connection=name, error=code))

    def _need(self, key: Key) -> _Held:
        held = self._held.get(key)
        if held is None:
            raise NeedsLogin(f"{key[0]}/{key[1]} is not connected", f"log in: authsome login {key[0]}")
        if held.connection.needs_login:
            raise NeedsLogin(f"{held.connection} needs a new login", _login_hint(held.connection))
        return held

    def _oauth(self, connection: Connection) -> OAuth:
        oauth = self._catalog.get(connection.provider).provider.oauth
        if oauth is None:
            raise CredentialMissing(
                f"{connection.provider} no longer describes an OAuth login", _login_hint(connection)
            )
        return oauth


def _lendable(connection: Connection, entry: Entry | None, now: float) -> Lendable | None:
    """A connection as the proxy's rules see it; None where its provider's file is gone."""
    if entry is None:
        return None
    is_key = connection.credential.api_key is not None
    placement = connection.placement or entry.provider.placement(api_key=is_key)
    return Lendable(
        provider=connection.provider,
        connection=connection.name,
        is_default=connection.is_default,
        usable=connection.status(now) is not Status.NEEDS_LOGIN,
        routes=connection.routes,
        injections=placement.injections,
        placeholder=entry.provider.placeholder or PLACEHOLDER,
        credential_headers=placement.credential_headers,
        scrub=placement.scrub,
        token_url=connection.grant.token_url,
        since=connection.created_at,
    )


def client_key(connection: Connection) -> tuple[str, str] | None:
    """Issuer and redirect URI of the client that a connection was made with."""
    issuer, redirect_uri = connection.grant.issuer, connection.grant.redirect_uri
    return (issuer, redirect_uri) if issuer and redirect_uri else None


def _hold(connection: Connection) -> _Held:
    credential = connection.credential
    if credential.expires_at is None:
        return _Held(connection, None, 0.0)
    lifetime = max(credential.expires_at - credential.obtained_at, 0.0)
    deadline = time.monotonic() + credential.expires_at - time.time()
    return _Held(connection, deadline, min(MARGIN, lifetime * MARGIN_SHARE))


def _is_fresh(held: _Held) -> bool:
    if held.refused:
        return False
    return held.deadline is None or held.deadline - held.margin > time.monotonic()


def _is_over(held: _Held) -> bool:
    return held.deadline is not None and held.deadline <= time.monotonic()


def _login_hint(connection: Connection) -> str:
    return f"log in again: authsome login {connection.provider} --connection {connection.name} --force"
