"""The `Vault`: connections, clients, interception CAs, runs, settings and events, with every secret sealed.

Synchronous; each method is one transaction, on the disk when it returns (P24). Any thread may call it,
one at a time does its work.
"""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from sqlalchemy import delete, insert, select, update

from authsome.errors import StaleWrite, VaultError
from authsome.model.connection import Client, Connection
from authsome.model.event import Event
from authsome.model.run import Run
from authsome.model.secret import Secret
from authsome.settings import Settings
from authsome.vault import birth, files, identity, rootkey, schema, trail
from authsome.vault.connections import Connections
from authsome.vault.identity import Ledger
from authsome.vault.rootkey import KeySource
from authsome.vault.rows import (
    Opened,
    Rows,
    StoredAuthority,
    close_authority,
    close_client,
    close_run,
    is_row,
    open_authority,
    open_client,
    open_run,
)
from authsome.vault.sqlite import Store

RUNS_KEPT_SECONDS = 30 * 86400.0

_log = logging.getLogger(__name__)


class Vault:
    """Where credentials are kept sealed. Every method raises VaultError where the store or a row is unusable."""

    def __init__(self, store: Store, rows: Rows, ledger: Ledger, key_source: KeySource) -> None:
        self._store = store
        self._rows = rows
        self._connections = Connections(store, rows, ledger)
        self._trail = trail.Trail(store)
        self.key_source = key_source
        self.path = str(store.path)

    @classmethod
    def open(cls, settings: Settings) -> "Vault":
        """The vault of this home, made on the first start.

        Raises VaultError, with the data untouched: no key, the wrong one, one that others can read; a
        database that is missing, damaged, read-only, or of a newer version.
        """
        if settings.database_url is not None:
            raise VaultError("AUTHSOME_DATABASE_URL: another database than SQLite is not supported yet", "unset it")
        path = birth.vault_path(settings)
        files.private_directory(path.parent)
        birth.give_birth(settings)
        store = Store.existing(path)
        try:
            revision = schema.revision(store)
            told = identity.recall(store)
            key = rootkey.find(settings, told.key_source, told.key_account)
            sealer = told.sealer(key, path)
            if revision != schema.HEAD:
                schema.upgrade(store)
            ledger = Ledger(sealer, told.id)
            with store.reading() as tx:
                ledger.read(tx)
        except VaultError:
            store.close()
            raise
        return cls(store, Rows(sealer), ledger, key.source)

    # connections

    def connections(self) -> Opened[Connection]:
        """All, by provider and name; those that cannot be opened are in `.problems` instead."""
        return self._connections.all()

    def connection(self, provider: str, name: str) -> Connection | None:
        """One of them, None where there is none of that name."""
        return self._connections.get(provider, name)

    def add_connection(self, c: Connection) -> Connection:
        """Stores it as version 1; the first of a provider becomes its default. Raises ConnectionExists."""
        return self._connections.add(c)

    def replace_connection(self, c: Connection) -> Connection:
        """Stores it as the next version if `c.version` is still the stored one, else raises StaleWrite (P27).

        Which connection is the default stays as it is stored.
        """
        return self._connections.replace(c)

    def delete_connection(self, provider: str, name: str) -> None:
        """Deletes it, damaged or not; where one connection is left without a default, that one becomes it.

        Raises ConnectionNotFound.
        """
        self._connections.delete(provider, name)

    def set_default(self, provider: str, name: str) -> None:
        """Makes it its provider's default; no version changes. Raises ConnectionNotFound."""
        self._connections.set_default(provider, name)

    # clients

    def client(self, issuer: str, redirect_uri: str) -> Client | None:
        """The client for an issuer and a redirect URI."""
        table = schema.clients
        with self._store.reading() as tx:
            row = tx.execute(select(table).where(*is_row(table, issuer, redirect_uri))).one_or_none()
        return None if row is None else open_client(self._rows, row)

    def put_client(self, client: Client) -> Client:
        """Stores it: version 0 where there is none yet, else the stored version. Raises StaleWrite."""
        table = schema.clients
        key = is_row(table, client.issuer, client.redirect_uri)
        stored = replace(client, version=client.version + 1)
        row = close_client(self._rows, stored)
        with self._store.writing(scrub=True) as tx:
            version = tx.execute(select(table.c.version).where(*key).with_for_update()).scalar()
            if (version or 0) != client.version:
                raise StaleWrite(f"the client for {client.issuer} was changed in the meantime", "read it again")
            tx.execute(insert(table).values(row) if version is None else update(table).where(*key).values(row))
        return stored

    def delete_client(self, issuer: str, redirect_uri: str) -> None:
        """Deletes it, where there is one."""
        table = schema.clients
        with self._store.writing(scrub=True) as tx:
            tx.execute(delete(table).where(*is_row(table, issuer, redirect_uri)))

    # interception CAs

    def authority_keys(self) -> Opened[StoredAuthority]:
        """All, oldest first; those that cannot be opened are in `.problems` instead."""
        table = schema.authorities
        with self._store.reading() as tx:
            found = tx.execute(select(table).order_by(table.c.created_at, table.c.id)).all()
        return self._rows.sift(table, found, lambda row: open_authority(self._rows, row))

    def add_authority(self, certificate_pem: str, private_key: Secret, created_at: float) -> StoredAuthority:
        """Stores a CA; its id is the SHA-256 of the certificate's text."""
        stored = StoredAuthority(
            hashlib.sha256(certificate_pem.encode()).hexdigest(), certificate_pem, private_key, created_at
        )
        with self._store.writing(scrub=True) as tx:
            tx.execute(insert(schema.authorities).values(close_authority(self._rows, stored)))
        return stored

    def drop_authority(self, id: str) -> None:
        """Deletes it, where there is one."""
        with self._store.writing(scrub=True) as tx:
            tx.execute(delete(schema.authorities).where(schema.authorities.c.id == id))

    # settings

    def setting(self, name: str) -> str | None:
        """A small fact that is no secret."""
        table = schema.settings
        with self._store.reading() as tx:
            row = tx.execute(select(table).where(table.c.name == name)).one_or_none()
        if row is None:
            return None
        self._rows.opened(table, row)
        return str(row.value)

    def keep_setting(self, name: str, value: str) -> None:
        """Stores or replaces it."""
        table = schema.settings
        row = self._rows.closed(table, {"name": name, "value": value})
        with self._store.writing() as tx:
            if not tx.execute(update(table).where(table.c.name == name).values(row)).rowcount:
                tx.execute(insert(table).values(row))

    # runs

    def put_run(self, run: Run) -> None:
        """Stores a run that begins."""
        with self._store.writing() as tx:
            tx.execute(insert(schema.runs).values(close_run(self._rows, run)))

    def end_run(self, id: str, at: float) -> None:
        """Notes its end; runs that ended a month ago are forgotten. An unknown run is no error."""
        table = schema.runs
        with self._store.writing() as tx:
            row = tx.execute(select(table).where(table.c.id == id)).one_or_none()
            if row is not None:
                ended = close_run(self._rows, replace(open_run(self._rows, row), ended_at=at))
                tx.execute(update(table).where(table.c.id == id).values(ended))
            tx.execute(delete(table).where(table.c.ended_at < at - RUNS_KEPT_SECONDS))

    def open_runs(self) -> list[Run]:
        """Those without an end, oldest first. A row that was tampered with gives nobody a token: it is left out."""
        table = schema.runs
        with self._store.reading() as tx:
            found = tx.execute(select(table).where(table.c.ended_at.is_(None)).order_by(table.c.started_at)).all()
        runs = self._rows.sift(table, found, lambda row: open_run(self._rows, row))
        for problem in runs.problems:
            _log.warning("%s", problem.message)
        return list(runs)

    # events

    def record(self, events: Sequence[Event]) -> None:
        """Appends them in one transaction; of each kind the newest are kept (`trail`)."""
        if events:
            self._trail.append(events)

    def events(self, *, limit: int, after: int = 0) -> list[tuple[int, Event]]:
        """The newest `limit` in ascending order; with `after`, the next `limit` whose id is greater.

        Kinds that this version does not know are skipped.
        """
        with self._store.reading() as tx:
            return trail.read(tx, limit, after)

    # the whole

    def backup(self, path: str) -> None:
        """A consistent copy, sealed under the same root key; replaces a file of that name."""
        self._store.backup(Path(path))

    def check(self) -> list[str]:
        """What is wrong: with the file, and with each row that does not open. Empty where all is well."""
        problems = list(self.connections().problems)
        for table in (schema.clients, schema.authorities, schema.settings, schema.runs):
            with self._store.reading() as tx:
                found = tx.execute(select(table)).all()
            problems += self._rows.sift(table, found, partial(self._rows.opened, table)).problems
        return self._store.integrity() + [problem.message for problem in problems]

    def close(self) -> None:
        """Lets go of the file."""
        self._store.close()
