"""The store as one SQLite file: the only place that knows it is SQLite.

A store for another database offers the same class: transactions to read and to write, a check, a copy.
"""

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool

from authsome.errors import VaultError
from authsome.vault import files

APPLICATION_ID = 0x61757468
_MAGIC = b"SQLite format 3\0"
_BESIDE = ("-wal", "-shm", "-journal")
_WAIT = 5000  # ms

RESTORE_HINT = (
    "nothing was changed: put a backup in its place (vault.db.before-* beside it are backups) and remove "
    "vault.db-wal, or move vault.db and root.key away to begin anew"
)

_PRAGMAS = (
    f"busy_timeout={_WAIT}",
    "synchronous=FULL",
    "fullfsync=ON",
    "checkpoint_fullfsync=ON",
    "secure_delete=ON",
    "foreign_keys=ON",
    "trusted_schema=OFF",
    "cell_size_check=ON",
    "temp_store=MEMORY",
)


class Store:
    """One connection to one file. Transactions of several threads wait for each other."""

    def __init__(self, path: Path, *, building: bool = False) -> None:
        """Opens a file without looking at it first; `existing` and `building` are the ways in. Raises VaultError."""
        self.path = path
        self._lock = threading.RLock()
        self._begin = "BEGIN"
        engine = create_engine(
            "sqlite://", creator=partial(_connect, path, building), poolclass=StaticPool, hide_parameters=True
        )
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(self._begin))
        with _named(path):
            self._connection = engine.connect()
        self._engine = engine

    @classmethod
    def existing(cls, path: Path) -> "Store":
        """Opens a vault after a look at its files. Raises VaultError for a damaged, foreign or read-only one."""
        _look(path)
        store = cls(path)
        try:
            problems = store.integrity()
            if problems:
                raise VaultError(f"{path}: is damaged: {problems[0]}", RESTORE_HINT)
            with store.writing():
                pass  # takes the write lock: a store that cannot be written is known now
        except VaultError:
            store.close()
            raise
        return store

    @classmethod
    def building(cls, path: Path) -> "Store":
        """A new, empty store in place of any left-over one. Raises VaultError."""
        try:
            remove(path)
        except OSError as error:
            raise files.failure(path, error) from error
        os.close(files.create_private(path))
        return cls(path, building=True)

    @contextlib.contextmanager
    def writing(self, *, scrub: bool = False) -> Iterator[Connection]:
        """A transaction: committed and on the disk when the block ends, rolled back if it raises.

        With `scrub` what was overwritten or deleted leaves the write-ahead log too. Raises VaultError.
        """
        with self._transaction("BEGIN IMMEDIATE") as connection:
            yield connection
        if scrub:
            self._empty_log()

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one state. Raises VaultError."""
        with self._transaction("BEGIN") as connection:
            yield connection

    @contextlib.contextmanager
    def _transaction(self, begin: str) -> Iterator[Connection]:
        with self._lock, _named(self.path):
            self._begin = begin
            with self._connection.begin():
                yield self._connection

    def _empty_log(self) -> None:
        # the transaction is safe in the log by now: where this fails, or a reader is in the way, the next one does it
        with self._lock, contextlib.suppress(sqlite3.Error):
            self._raw.execute("PRAGMA busy_timeout=0").fetchall()
            try:
                self._raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            finally:
                self._raw.execute(f"PRAGMA busy_timeout={_WAIT}").fetchall()

    @property
    def _raw(self) -> sqlite3.Connection:
        raw = self._connection.connection.driver_connection
        assert isinstance(raw, sqlite3.Connection)
        return raw

    def integrity(self) -> list[str]:
        """What SQLite finds wrong with the file; empty where it is whole. Raises VaultError."""
        with self._lock, _named(self.path):
            found = [str(row[0]) for row in self._raw.execute("PRAGMA integrity_check(20)")]
        return [] if found == ["ok"] else [" ".join(line.split()) for line in found]

    def backup(self, path: Path) -> None:
        """A consistent copy in a file of its own, 0600, whole or not at all; replaces one of that name.

        Raises VaultError.
        """
        part = path.with_name(path.name + ".part")
        os.close(files.create_private(part))
        try:
            with self._lock, _named(part), contextlib.closing(_open(part)) as copy:
                self._raw.backup(copy)
            files.sync(part)
            files.move(part, path)
        except OSError as error:
            raise files.failure(path, error) from error
        finally:
            part.unlink(missing_ok=True)

    def close(self) -> None:
        """Empties the log and lets go of the file."""
        with self._lock:
            self._connection.close()
            self._engine.dispose()


def remove(path: Path) -> None:
    """Removes a store's file and what stands beside it. Raises OSError."""
    for suffix in ("", *_BESIDE):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def traces(path: Path) -> list[str]:
    """The names of files that say that a store was here: a log, or copies made before upgrades."""
    beside = (path.with_name(path.name + suffix) for suffix in ("-wal", "-journal"))
    copies = path.parent.glob(path.name + ".before-*")
    return sorted(p.name for p in (*beside, *copies) if os.path.lexists(p) and p.lstat().st_size)


def _look(path: Path) -> None:
    for suffix in _BESIDE:
        beside = path.with_name(path.name + suffix)
        if os.path.lexists(beside):
            files.check_private(beside)
    files.check_private(path)
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            head = file.read(100)
    except OSError as error:
        raise files.failure(path, error) from error
    if not head.startswith(_MAGIC):
        what = "is empty" if not head else "is damaged, or not a vault"
        raise VaultError(f"{path}: {what}", RESTORE_HINT)
    if head[68:72] != APPLICATION_ID.to_bytes(4, "big"):
        raise VaultError(f"{path}: is a database, but not a vault of authsome", RESTORE_HINT)


def _open(path: Path) -> sqlite3.Connection:
    # mode=rw never creates: the file was made, or looked at, by us before
    return sqlite3.connect(
        f"file:{quote(os.fsencode(path))}?mode=rw", uri=True, isolation_level=None, check_same_thread=False
    )


def _connect(path: Path, building: bool) -> sqlite3.Connection:
    raw = _open(path)
    try:
        # a damaged text must not stop the reading of its neighbours: the row's mark finds it
        raw.text_factory = partial(str, encoding="utf-8", errors="surrogateescape")
        for pragma in _PRAGMAS:
            raw.execute(f"PRAGMA {pragma}").fetchall()
        if building:  # without a log beside it, so that the finished file can be renamed
            raw.execute(f"PRAGMA application_id={APPLICATION_ID}")
        else:
            raw.execute("PRAGMA journal_mode=WAL").fetchall()
    except sqlite3.Error:
        raw.close()
        raise
    return raw


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        raise _explained(path, error.orig) from error
    except sqlite3.Error as error:
        raise _explained(path, error) from error


def _explained(path: Path, error: BaseException | None) -> VaultError:
    """The result codes of sqlite.org/rescode.html as what they mean to the owner."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    match code:
        case sqlite3.SQLITE_FULL:
            return VaultError(f"{path}: no space left on the disk", "nothing was changed: free some space")
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return VaultError(f"{path}: another process holds it locked", "end that process, or try again")
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_AUTH:
            return VaultError(
                f"{path}: cannot be opened for writing", f"see ls -l {path.parent}; is the disk read-only?"
            )
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_FORMAT:
            return VaultError(f"{path}: is damaged", RESTORE_HINT)
        case sqlite3.SQLITE_IOERR:
            return VaultError(f"{path}: the disk failed to read or write", "nothing was changed: see the system's log")
    return VaultError(f"{path}: {error}", "this is a defect of authsome; nothing was changed")
