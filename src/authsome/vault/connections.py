"""The connections of a vault: compare and swap on writes, one default per provider, and the ledger of them all."""

from dataclasses import replace
from typing import Any

from sqlalchemy import Connection as Transaction
from sqlalchemy import Row, delete, insert, select, update

from authsome.errors import ConnectionExists, ConnectionNotFound, StaleWrite, VaultError
from authsome.model.connection import Connection
from authsome.vault.identity import Ledger
from authsome.vault.rows import Opened, Problem, Rows, as_mapping, close_connection, is_row, open_connection
from authsome.vault.schema import connections as table
from authsome.vault.seal import LOST_HINT, Value, row_name
from authsome.vault.sqlite import Store

Entries = dict[str, str]


class Connections:
    """`Vault` documents the methods; each is one transaction that begins with the ledger."""

    def __init__(self, store: Store, rows: Rows, ledger: Ledger) -> None:
        self._store = store
        self._rows = rows
        self._ledger = ledger

    def all(self) -> Opened[Connection]:
        """By provider and name; rows that are damaged, planted or missing are in `.problems`."""
        with self._store.reading() as tx:
            entries = self._ledger.read(tx)
            found = tx.execute(select(table).order_by(table.c.provider, table.c.name)).all()
        opened = self._rows.sift(table, found, lambda row: self._open(row, entries))
        missing = entries.keys() - {f"{row.provider}/{row.name}" for row in found}
        gone = [(provider, name) for provider, _, name in (key.partition("/") for key in sorted(missing))]
        return Opened(opened, [*opened.problems, *(Problem(key, _missing(*key).message) for key in gone)])

    def get(self, provider: str, name: str) -> Connection | None:
        """One, None where there is none."""
        with self._store.reading() as tx:
            return self._one(tx, provider, name, self._ledger.read(tx))

    def add(self, c: Connection) -> Connection:
        """Version 1; the first of its provider becomes the default. Raises ConnectionExists."""
        with self._store.writing(scrub=True) as tx:
            entries = self._ledger.read(tx, for_update=True)
            others = tx.execute(select(table.c.name).where(table.c.provider == c.provider)).scalars().all()
            if c.name in others:
                raise ConnectionExists(f"{c} exists already", "authsome login --force replaces it")
            stored = replace(c, version=1, is_default=not others)
            row = close_connection(self._rows, stored)
            tx.execute(insert(table).values(row))
            self._ledger.write(tx, {**entries, str(stored): _start(row["mark"])})
        return stored

    def replace(self, c: Connection) -> Connection:
        """The next version, where `c.version` is the stored one; the default stays. Raises StaleWrite (P27)."""
        with self._store.writing(scrub=True) as tx:
            entries = self._ledger.read(tx, for_update=True)
            before = self._one(tx, c.provider, c.name, entries)
            if before is None or before.version != c.version:
                raise StaleWrite(f"{c} was changed or deleted in the meantime", "read it again")
            stored = replace(c, version=c.version + 1, is_default=before.is_default)
            row = close_connection(self._rows, stored)
            tx.execute(update(table).where(*is_row(table, *c.key)).values(row))
            self._ledger.write(tx, {**entries, str(c): _start(row["mark"])})
        return stored

    def delete(self, provider: str, name: str) -> None:
        """Damaged or not; a last one that is left alone becomes the default. Raises ConnectionNotFound."""
        with self._store.writing(scrub=True) as tx:
            entries = dict(self._ledger.read(tx, for_update=True))
            gone = tx.execute(delete(table).where(*is_row(table, provider, name))).rowcount
            if not gone and f"{provider}/{name}" not in entries:
                raise _not_found(provider, name)
            entries.pop(f"{provider}/{name}", None)
            left = tx.execute(select(table).where(table.c.provider == provider)).all()
            if len(left) == 1 and left[0].is_default == 0:
                self._set_flag(tx, left[0], 1, entries)
            self._ledger.write(tx, entries)

    def set_default(self, provider: str, name: str) -> None:
        """One default per provider. Raises ConnectionNotFound."""
        with self._store.writing(scrub=True) as tx:
            entries = dict(self._ledger.read(tx, for_update=True))
            if self._one(tx, provider, name, entries) is None:
                raise _not_found(provider, name)
            # the old default first: the index allows one at a time
            found = tx.execute(select(table).where(table.c.provider == provider).order_by(table.c.is_default.desc()))
            for row in found.all():
                if row.is_default != (row.name == name):
                    self._set_flag(tx, row, int(row.name == name), entries)
            self._ledger.write(tx, entries)

    def _one(self, tx: Transaction, provider: str, name: str, entries: Entries) -> Connection | None:
        row = tx.execute(select(table).where(*is_row(table, provider, name))).one_or_none()
        if row is not None:
            return self._open(row, entries)
        if f"{provider}/{name}" in entries:
            raise _missing(provider, name)
        return None

    def _open(self, row: Row[Any], entries: Entries) -> Connection:
        opened = open_connection(self._rows, row)
        if entries.get(str(opened)) != _start(row.mark):
            name = row_name("connections", opened.key)
            raise VaultError(f"{name}: is an older copy that was put back, or was added elsewhere", LOST_HINT)
        return opened

    def _set_flag(self, tx: Transaction, row: Row[Any], value: int, entries: Entries) -> None:
        """Sets whether a row is the default. A damaged row stays damaged: it gets no new mark."""
        values: dict[str, Value] = {"is_default": value}
        key = f"{row.provider}/{row.name}"
        before = as_mapping(table, row)
        if self._rows.is_marked(table, before) and entries.get(key) == _start(row.mark):
            values = self._rows.marked(table, {**before, **values})
            entries[key] = _start(values["mark"])
        tx.execute(update(table).where(*is_row(table, row.provider, row.name)).values(values))


def _start(mark: object) -> str:
    return mark[:8].hex() if isinstance(mark, bytes) else ""


def _missing(provider: str, name: str) -> VaultError:
    row = row_name("connections", (provider, name))
    return VaultError(f"{row}: was removed by something else than authsome", LOST_HINT)


def _not_found(provider: str, name: str) -> ConnectionNotFound:
    return ConnectionNotFound(f"{provider} has no connection {name}", "authsome list shows them")
