"""What survives: kill -9, a full disk, a lock; and what does not: a secret that was deleted."""

import os
import random
import signal
import sqlite3
import struct
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from authsome.errors import VaultError
from authsome.model.connection import Credential
from authsome.model.event import Refreshed
from authsome.model.secret import Secret
from authsome.settings import Settings
from authsome.vault import sqlite
from authsome.vault.vault import Vault

from .samples import ISSUER, REDIRECT, a_client, a_connection, content, in_child, raw, stored


def write_until_killed(settings: Settings, acknowledged: int) -> None:
    """Writes one version after the other and tells each one that is stored."""
    vault = Vault.open(settings)
    c = vault.connection("mock", "default") or vault.add_connection(a_connection())
    while True:
        token = Secret(f"token-{c.version + 1}")
        c = vault.replace_connection(replace(c, credential=Credential(access_token=token)))
        vault.record([Refreshed(at=float(c.version), provider="mock", connection="default")])
        os.write(acknowledged, struct.pack("!I", c.version))


def test_no_acknowledged_write_is_lost_by_kill_9(settings, place):  # P24, V01
    rng, last = random.Random(3), 0
    for _ in range(25):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                write_until_killed(settings, writer)
            finally:
                os._exit(1)
        os.close(writer)
        told = os.read(reader, 4)
        time.sleep(rng.uniform(0.001, 0.05))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        while more := os.read(reader, 4):
            told = more
        os.close(reader)
        (acknowledged,) = struct.unpack("!I", told)
        assert acknowledged > last
        vault = Vault.open(settings)
        c = vault.connection("mock", "default")
        last = c.version
        assert acknowledged <= last <= acknowledged + 1  # one may have been stored and not told
        assert c.credential.access_token == Secret(f"token-{last}")
        assert vault.events(limit=1)[0][1].at in (acknowledged, acknowledged + 1)
        assert vault.check() == []
        vault.close()


def test_a_change_of_several_rows_happens_whole_or_not_at_all(settings, place):  # P24, V03
    """Killed before each statement of a deletion that moves the default."""
    from sqlalchemy import Engine, event

    statements = 0
    while True:
        home = settings._replace(home=str(place / f"h{statements}"))
        vault = Vault.open(home)
        for name in ("a", "b"):
            vault.add_connection(a_connection(name))
        vault.close()

        def work(home: Settings = home, left: int = statements) -> None:
            vault = Vault.open(home)

            def count(*_: object) -> None:
                nonlocal left
                left -= 1
                if left < 0:
                    os._exit(9)

            event.listen(Engine, "before_cursor_execute", count)
            event.listen(Engine, "commit", count)
            vault.delete_connection("mock", "a")

        status = in_child(work)
        vault = Vault.open(home)
        found = [(c.name, c.is_default) for c in vault.connections()]
        assert vault.check() == []
        vault.close()
        if status == 0:
            assert found == [("b", True)]
            break
        assert found == [("a", True), ("b", False)]
        statements += 1
    assert statements >= 6


def full(vault: Vault) -> None:
    """No page more than there are."""
    raw = vault._store._raw
    raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    (pages,) = raw.execute("PRAGMA page_count").fetchone()
    raw.execute(f"PRAGMA max_page_count={pages}").fetchall()


def test_a_full_disk_is_a_clear_error_and_the_old_data_stays(vault, settings):  # V04
    kept = vault.add_connection(a_connection())
    full(vault)
    with pytest.raises(VaultError, match=r"vault\.db: no space left on the disk"):
        vault.replace_connection(replace(kept, account="x" * 100_000))
    with pytest.raises(VaultError, match="no space left"):
        vault.add_connection(a_connection("work", secret="x" * 100_000))
    assert vault.connections() == [kept]
    assert vault.check() == []
    vault._store._raw.execute("PRAGMA max_page_count=1000000").fetchall()  # room again, and no restart
    assert vault.replace_connection(kept).version == 2


def test_a_disk_that_is_full_under_the_log_is_a_clear_error(settings):  # V04
    import resource

    vault = Vault.open(settings)
    kept = vault.add_connection(a_connection())
    vault.close()

    def work() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        vault = Vault.open(settings)
        resource.setrlimit(resource.RLIMIT_FSIZE, (16_384, resource.RLIM_INFINITY))
        with pytest.raises(VaultError, match=r"failed to read or write|no space left"):
            vault.replace_connection(replace(kept, account="x" * 100_000))
        assert vault.connections() == [kept]
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert vault.replace_connection(kept).version == 2
        vault.close()

    assert in_child(work) == 0


def test_a_lock_of_another_process_is_a_clear_error(vault, settings, place, monkeypatch):
    kept = vault.add_connection(a_connection())
    vault._store._raw.execute("PRAGMA busy_timeout=50").fetchall()
    other = sqlite3.connect(place / "vault.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(VaultError, match="another process holds it locked"):
        vault.replace_connection(kept)
    assert vault.connections() == [kept]
    monkeypatch.setattr(sqlite, "_PRAGMAS", (*sqlite._PRAGMAS, "busy_timeout=50"))
    with pytest.raises(VaultError, match="another process holds it locked"):
        Vault.open(settings)
    other.rollback()
    other.close()
    assert vault.replace_connection(kept).version == 2


def test_somebody_who_reads_is_not_in_the_way(vault, place):
    kept = vault.add_connection(a_connection())
    with raw(place) as other:
        other.execute("BEGIN")
        assert other.execute("SELECT count(*) FROM connections").fetchone() == (1,)
        assert vault.replace_connection(kept).version == 2
        assert other.execute("SELECT version FROM connections").fetchone() == (1,)


def test_several_threads_wait_for_each_other(vault):
    vault.add_connection(a_connection())
    problems: list[BaseException] = []

    def work(n: int) -> None:
        try:
            for i in range(20):
                vault.record([Refreshed(at=i, provider="mock", connection=str(n))])
                assert len(vault.connections()) == 1
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert len(vault.events(limit=1000)) == 80


# ── what must not be found ────────────────────────────────────────────────────────────────


def sealed(home: Path) -> dict[str, bytes]:
    """The sealed values of all tables, as they lie in the file."""
    found: dict[str, bytes] = {}
    with raw(home) as db:
        for table, names in {
            "connections": ("access_token", "refresh_token", "api_key"),
            "clients": ("client_secret", "registration_token"),
            "authorities": ("private_key",),
        }.items():
            for name in names:
                for n, (blob,) in enumerate(db.execute(f"SELECT {name} FROM {table} WHERE {name} IS NOT NULL")):
                    found[f"{table}.{name} {n}"] = blob
    return found


def test_no_secret_is_in_the_home_in_clear(filed, place, canary):  # P21, X74
    canary.watch(place)
    vault = Vault.open(filed)
    vault.add_connection(a_connection(secret=canary.secret))
    vault.add_connection(replace(a_connection("key"), credential=Credential(api_key=Secret(canary.secret))))
    vault.put_client(a_client(canary.secret))
    vault.add_authority("-----BEGIN CERTIFICATE-----", Secret(f"-----BEGIN PRIVATE KEY----- {canary.secret}"), 1)
    assert len(sealed(place)) == 6
    assert canary.leaks() == []  # the log included
    vault.close()
    assert canary.leaks() == []


@pytest.mark.parametrize("size", [20, 6000])  # on one page, and on pages of its own
def test_what_was_deleted_is_nowhere_not_even_sealed(vault, place, size):  # V20, X74
    secret = "x" * size
    for name in ("a", "b", "c"):
        vault.add_connection(a_connection(name, secret=secret))
    vault.put_client(a_client(secret))
    ca = vault.add_authority("-----BEGIN CERTIFICATE-----", Secret(secret), 1)
    there = sealed(place)
    assert len(there) == 9
    assert all(_starts(blob) in content(place) for blob in there.values())
    for name in ("a", "b", "c"):
        vault.delete_connection("mock", name)
    vault.delete_client(ISSUER, REDIRECT)
    vault.drop_authority(ca.id)
    assert [name for name, blob in there.items() if _starts(blob) in content(place)] == []
    vault.close()
    assert [name for name, blob in there.items() if _starts(blob) in content(place)] == []


def test_what_was_replaced_is_nowhere_either(vault, place):  # V20
    kept = vault.add_connection(a_connection(secret="x" * 6000))
    client = vault.put_client(a_client())
    there = sealed(place)
    vault.replace_connection(kept)
    vault.put_client(client)
    assert [name for name, blob in there.items() if _starts(blob) in content(place)] == []


def test_a_later_copy_does_not_hold_what_was_deleted(vault, place, tmp_path):  # V20
    vault.add_connection(a_connection())
    there = sealed(place)
    vault.delete_connection("mock", "default")
    vault.backup(str(tmp_path / "copy.db"))
    copy = (tmp_path / "copy.db").read_bytes()
    assert [name for name, blob in there.items() if _starts(blob) in copy] == []


def _starts(blob: bytes) -> bytes:
    return blob[5:25]  # the nonce and some of the ciphertext: a long one goes on in other pages


def test_no_secret_shows_in_an_error(vault, canary):  # P23
    vault.add_connection(a_connection(secret=canary.secret))
    full(vault)
    with pytest.raises(VaultError) as caught:
        vault.add_connection(a_connection("work", secret=canary.secret * 3000))
    error: BaseException | None = caught.value
    while error is not None:
        assert canary.secret not in repr(error) + str(error)
        error = error.__cause__ or error.__context__


def test_a_stored_connection_that_is_shown_shows_no_secret(vault, canary):
    vault.add_connection(a_connection(secret=canary.secret))
    assert canary.secret not in repr(vault.connections())
    assert vault.connections() == [stored(a_connection(secret=canary.secret))]
