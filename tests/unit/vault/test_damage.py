"""Damage and tampering, at the level of rows and of bytes."""

import contextlib
import itertools
import os
import pickle
import random
import shutil
import sqlite3
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from authsome.errors import AuthsomeError, ConnectionNotFound, VaultError
from authsome.model.connection import Connection
from authsome.model.secret import Secret
from authsome.settings import Settings
from authsome.vault.vault import Vault

from .samples import ISSUER, REDIRECT, a_client, a_connection, a_key_connection, a_run, content, in_child, raw, stored

PAGE = 4096


@pytest.fixture
def lived_in(settings: Settings) -> Settings:
    """A vault of some fifteen pages with something in every table, closed."""
    vault = Vault.open(settings)
    for name in ("a", "b", "work"):
        vault.add_connection(a_connection(name, "notion_dcr", secret=name * 900))
    vault.add_connection(a_key_connection())
    vault.put_client(a_client())
    vault.add_authority("-----BEGIN CERTIFICATE-----", Secret("PRIVATE KEY" * 50), 1000)
    vault.keep_setting("proxy_port", "4711")
    vault.put_run(a_run())
    vault.close()
    return settings


def columns(home: Path, table: str) -> list[str]:
    with raw(home) as db:
        return [row[1] for row in db.execute(f"PRAGMA table_info({table})")]


def test_swapped_secrets_are_refused_and_named(lived_in, place):  # P21, V07
    with raw(place) as db:
        values = dict(db.execute("SELECT name, access_token FROM connections WHERE name IN ('a', 'b')"))
        for name, other in (("a", "b"), ("b", "a")):
            db.execute("UPDATE connections SET access_token = ? WHERE name = ?", (values[other], name))
    vault = Vault.open(lived_in)
    for name in ("a", "b"):
        with pytest.raises(VaultError, match=rf"^connections notion_dcr/{name} access_token: .*changed, or belongs"):
            vault.connection("notion_dcr", name)
    assert vault.connection("notion_dcr", "work") is not None
    vault.close()


def test_secrets_swapped_within_a_row_are_refused_and_named(lived_in, place):  # V07
    with raw(place) as db:
        db.execute("UPDATE connections SET access_token = refresh_token, refresh_token = access_token WHERE name = 'a'")
    vault = Vault.open(lived_in)
    with pytest.raises(VaultError, match=r"^connections notion_dcr/a access_token: "):
        vault.connection("notion_dcr", "a")
    vault.close()


def test_an_older_secret_of_the_same_row_is_refused(lived_in, place):  # V07
    with raw(place) as db:
        (old,) = db.execute("SELECT refresh_token FROM connections WHERE name = 'a'").fetchone()
    vault = Vault.open(lived_in)
    vault.replace_connection(vault.connection("notion_dcr", "a"))
    with raw(place) as db:
        db.execute("UPDATE connections SET refresh_token = ? WHERE name = 'a'", (old,))
    with pytest.raises(VaultError, match=r"^connections notion_dcr/a refresh_token: "):
        vault.connection("notion_dcr", "a")
    vault.close()


def test_a_whole_older_row_put_back_is_refused_and_named(lived_in, place):  # V07
    with raw(place) as db:
        old = db.execute("SELECT * FROM connections WHERE name = 'a'").fetchone()
    vault = Vault.open(lived_in)
    vault.replace_connection(vault.connection("notion_dcr", "a"))
    vault.delete_connection("notion_dcr", "b")
    with raw(place) as db:
        db.execute(f"INSERT OR REPLACE INTO connections VALUES ({','.join('?' * len(old))})", old)
    with pytest.raises(VaultError, match=r"^connections notion_dcr/a: is an older copy that was put back"):
        vault.connection("notion_dcr", "a")
    assert [c.name for c in vault.connections() if c.provider == "notion_dcr"] == ["work"]
    assert [p.row for p in vault.connections().problems] == [("notion_dcr", "a")]
    vault.close()


def test_a_connection_that_was_logged_out_does_not_come_back(lived_in, place):  # V07, V20
    with raw(place) as db:
        old = db.execute("SELECT * FROM connections WHERE name = 'b'").fetchone()
    vault = Vault.open(lived_in)
    vault.delete_connection("notion_dcr", "b")
    with raw(place) as db:
        db.execute(f"INSERT INTO connections VALUES ({','.join('?' * len(old))})", old)
    with pytest.raises(VaultError, match=r"^connections notion_dcr/b: .*was added elsewhere"):
        vault.connection("notion_dcr", "b")
    vault.close()


def test_a_row_that_was_removed_is_missed(lived_in, place):  # V07
    with raw(place) as db:
        db.execute("DELETE FROM connections WHERE name = 'b'")
    vault = Vault.open(lived_in)
    with pytest.raises(VaultError, match=r"^connections notion_dcr/b: was removed by something else"):
        vault.connection("notion_dcr", "b")
    assert [p.row for p in vault.connections().problems] == [("notion_dcr", "b")]
    vault.delete_connection("notion_dcr", "b")
    assert vault.check() == []
    vault.close()


def test_a_row_of_another_vault_is_refused(lived_in, place, tmp_path):  # V07
    other = Vault.open(lived_in._replace(home=str(tmp_path / "other")))  # the same root key
    other.add_connection(a_connection("a", "notion_dcr"))
    other.close()
    with raw(tmp_path / "other") as db:
        row = db.execute("SELECT * FROM connections").fetchone()
    with raw(place) as db:
        db.execute("DELETE FROM connections WHERE name = 'a'")
        db.execute(f"INSERT INTO connections VALUES ({','.join('?' * len(row))})", row)
    vault = Vault.open(lived_in)
    with pytest.raises(VaultError, match=r"^connections notion_dcr/a access_token: "):
        vault.connection("notion_dcr", "a")
    vault.close()


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("routes", '[["evil.mock.test", 443, "/"]]'),
        ("token_url", "https://evil.mock.test/token"),
        ("issuer", "https://evil.mock.test"),
        ("expires_at", 4e9),
        ("needs_login", 1),
        ("is_default", 0),
        ("version", 7),
        ("access_token", None),
        ("account", None),
    ],
)
def test_no_column_can_be_changed_from_outside(lived_in, place, column, value):  # P18, P21
    with raw(place) as db:
        db.execute(f"UPDATE connections SET {column} = ? WHERE name = 'a'", (value,))
    vault = Vault.open(lived_in)
    with pytest.raises(VaultError, match=r"^connections notion_dcr/a"):
        vault.connection("notion_dcr", "a")
    opened = vault.connections()
    assert len(opened) == 3
    assert [p.row for p in opened.problems] == [("notion_dcr", "a")]
    assert len(vault.check()) == 1
    vault.close()


@pytest.mark.parametrize("column", ["account", "issuer", "name", "token_type"])
def test_a_text_that_is_none_spoils_its_own_row_only(lived_in, place, column):  # V08
    with raw(place) as db:
        db.execute(f"UPDATE connections SET {column} = CAST(x'61ff62' AS TEXT) WHERE name = 'a'")
    vault = Vault.open(lived_in)
    opened = vault.connections()
    assert len(opened) == 3
    assert all("notion_dcr/a" in p.message for p in opened.problems)
    with pytest.raises(VaultError, match=r"^connections notion_dcr/a"):
        vault.connection("notion_dcr", "a")
    vault.close()


def flips(value: object) -> Iterator[object]:
    """The value with each of its bits flipped, as far as a column can hold the result."""
    match value:
        case bytes():
            for bit in range(len(value) * 8):
                flipped = bytearray(value)
                flipped[bit // 8] ^= 1 << bit % 8
                yield bytes(flipped)
        case str():
            for flipped in flips(value.encode()):
                with contextlib.suppress(UnicodeDecodeError):
                    yield flipped.decode()
        case int():
            yield from (value ^ (1 << bit) for bit in range(63))
        case float():
            yield from (struct.unpack("d", flipped)[0] for flipped in flips(struct.pack("d", value)))


def test_every_bit_of_a_row_counts(vault, place):  # V08
    vault.add_connection(a_connection("a", secret="x"))
    other = vault.add_connection(a_connection("b"))
    tried = 0
    with contextlib.closing(sqlite3.connect(place / "vault.db", isolation_level=None)) as db:
        db.execute("PRAGMA synchronous=OFF")
        row = db.execute("SELECT * FROM connections WHERE name = 'a'").fetchone()
        again = f"INSERT INTO connections VALUES ({','.join('?' * len(row))})"
        for column, value in zip(columns(place, "connections"), row, strict=True):
            for flipped in flips(value):
                db.execute("DELETE FROM connections WHERE name <> 'b' OR provider <> 'mock'")
                db.execute(again, row)
                db.execute(f"UPDATE OR IGNORE connections SET {column} = ? WHERE name = 'a'", (flipped,))
                opened = vault.connections()
                assert list(opened) == [other], (column, flipped)
                assert all(p.message.startswith("connections ") for p in opened.problems)
                assert opened.problems
                with pytest.raises(VaultError, match=r"^connections mock/a"):
                    vault.connection("mock", "a")
                tried += 1
        db.execute("DELETE FROM connections WHERE name <> 'b' OR provider <> 'mock'")
        db.execute(again, row)
    assert tried > 3000
    assert vault.check() == []


@pytest.mark.parametrize(
    ("table", "name", "where"),
    [
        ("clients", "client_secret", f"clients {ISSUER} {REDIRECT} client_secret"),
        ("clients", "registration_url", f"clients {ISSUER} {REDIRECT}: was changed"),
        ("settings", "value", "settings proxy_port: was changed"),
    ],
)
def test_other_rows_are_as_safe(lived_in, place, table, name, where):  # P21
    with raw(place) as db:
        db.execute(f"UPDATE {table} SET {name} = CAST({name} || 'x' AS BLOB)")
    vault = Vault.open(lived_in)
    ask = {"clients": lambda: vault.client(ISSUER, REDIRECT), "settings": lambda: vault.setting("proxy_port")}
    with pytest.raises(VaultError) as caught:
        ask[table]()
    assert caught.value.message.startswith(where)
    assert len(vault.check()) == 1
    assert len(vault.connections()) == 4
    vault.close()


def test_a_planted_run_gives_nobody_a_token(lived_in, place, caplog):  # P4, P21
    with raw(place) as db:
        run = list(db.execute("SELECT * FROM runs").fetchone())
        run[:2] = ["planted", bytes(32)]
        db.execute(f"INSERT INTO runs VALUES ({','.join('?' * len(run))})", run)
    vault = Vault.open(lived_in)
    assert [run.id for run in vault.open_runs()] == ["run-1"]
    assert "runs planted: was changed" in caplog.text
    vault.close()


def test_a_damaged_ca_leaves_the_others(lived_in, place):
    vault = Vault.open(lived_in)
    good = vault.add_authority("second", Secret("KEY"), 2000)
    with raw(place) as db:
        db.execute("UPDATE authorities SET private_key = x'00' WHERE id <> ?", (good.id,))
    opened = vault.authority_keys()
    assert list(opened) == [good]
    assert "private_key: the sealed value is cut short" in opened.problems[0].message
    vault.close()


def test_a_damaged_connection_can_be_logged_out_and_logged_in_again(lived_in, place):
    with raw(place) as db:
        db.execute("UPDATE connections SET refresh_token = x'00' WHERE name = 'a'")
    vault = Vault.open(lived_in)
    with pytest.raises(VaultError, match="refresh_token") as caught:
        vault.replace_connection(replace(a_connection("a", "notion_dcr"), version=1))
    assert "authsome logout and authsome login" in caught.value.hint
    vault.delete_connection("notion_dcr", "a")
    vault.add_connection(a_connection("a", "notion_dcr"))
    assert vault.check() == []
    with pytest.raises(ConnectionNotFound):
        vault.delete_connection("notion_dcr", "never was")
    vault.close()


def test_a_damaged_row_is_not_made_good_by_moving_the_default(lived_in, place):
    with raw(place) as db:
        db.execute("UPDATE connections SET routes = '[[\"evil.mock.test\", 443, \"/\"]]' WHERE name = 'a'")
    vault = Vault.open(lived_in)
    vault.set_default("notion_dcr", "b")
    with pytest.raises(VaultError):
        vault.set_default("notion_dcr", "a")
    vault.delete_connection("notion_dcr", "b")
    vault.delete_connection("notion_dcr", "work")  # a is the only one left
    with pytest.raises(VaultError, match=r"^connections notion_dcr/a: was changed"):
        vault.connection("notion_dcr", "a")
    vault.close()


class Exploding:
    """Leaves a mark where a deserialiser builds it."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.mkdir, (str(Path(os.environ["EXPLODED"])),))


def test_nothing_that_is_stored_can_run_code(lived_in, place, tmp_path, monkeypatch):  # V09
    monkeypatch.setenv("EXPLODED", str(tmp_path / "exploded"))
    crafted: list[object] = [
        pickle.dumps(Exploding()),
        f"!!python/object/apply:os.mkdir ['{tmp_path}/exploded']",
        f'{{"py/reduce": [{{"py/function": "os.mkdir"}}, ["{tmp_path}/exploded"]]}}',
        f"__import__('os').mkdir('{tmp_path}/exploded')",
    ]
    values = itertools.cycle(crafted)
    for table in ("connections", "clients", "authorities", "settings", "runs"):
        for column in columns(place, table):
            value = next(values)
            copy = tmp_path / f"{table} {column}"
            shutil.copytree(place, copy)
            with raw(copy) as db:
                db.execute(f"UPDATE OR IGNORE {table} SET {column} = ?", (value,))
                db.execute("INSERT INTO events(at, kind, fields) VALUES (1, ?, ?)", (value, value))
            vault = Vault.open(lived_in._replace(home=str(copy)))
            assert vault.check(), column
            assert vault.events(limit=10) == []
            vault.open_runs()
            vault.close()
    assert not (tmp_path / "exploded").exists()


# ── the file ──────────────────────────────────────────────────────────────────────────────


def refused_or_named(settings: Settings, before: dict[tuple[str, str], Connection]) -> bool:
    """Whether opening is refused, naming the file, with nothing changed on the disk.

    Else each connection is as it was or named as a problem: none is wrong, none is silently gone.
    """
    home = Path(settings.home)
    bytes_before = content(home)
    try:
        vault = Vault.open(settings)
    except VaultError as error:
        assert str(home / "vault.db") in error.message
        assert error.hint
        assert "backup" in error.hint
        assert content(home) == bytes_before
        return True
    try:
        opened = vault.connections()
        assert all(before[c.key] == c for c in opened)
        assert {c.key for c in opened} | {p.row for p in opened.problems} == set(before)
        assert (len(opened.problems) > 0) <= (len(vault.check()) > 0)
    finally:
        vault.close()
    return False


@pytest.fixture
def damaged(lived_in, place, tmp_path):
    """A copy of the home, made anew for each damage; what it tells when whole; and its size."""
    vault = Vault.open(lived_in)
    before = {c.key: c for c in vault.connections()}
    vault.close()

    def damage(change: object) -> bool:
        copy = tmp_path / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(place, copy)
        change(copy / "vault.db")
        return refused_or_named(lived_in._replace(home=str(copy)), before)

    return damage, (place / "vault.db").stat().st_size


def test_a_truncated_database_is_refused_at_every_boundary(damaged):  # V06
    damage, size = damaged
    assert size >= 15 * PAGE
    for length in [*range(0, size, PAGE), 1, 99, 100, PAGE - 1]:
        assert damage(lambda path, length=length: os.truncate(path, length)), length
    for length in (size - 1, size - 512, size - PAGE + 1):  # the end of a page may be empty
        damage(lambda path, length=length: os.truncate(path, length))


def overwrite(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def test_a_lost_page_is_refused_or_costs_its_own_row(damaged):  # V06
    damage, size = damaged
    rng = random.Random(7)
    refused = 0
    for at in range(0, size, PAGE):
        for data in (b"\0" * PAGE, rng.randbytes(PAGE), b"\xff" * PAGE):
            refused += damage(lambda path, at=at, data=data: overwrite(path, at, data))
    assert refused > size // PAGE * 3 * 0.8  # the others hold nothing but the end of one long value


def test_two_pages_that_changed_places_are_refused_or_cost_their_own_rows(damaged, place):  # V06
    damage, size = damaged
    data = (place / "vault.db").read_bytes()
    for at in range(PAGE, size - PAGE, PAGE):
        damage(lambda path, at=at: overwrite(path, at, data[at + PAGE : at + 2 * PAGE] + data[at : at + PAGE]))


def test_a_file_of_another_kind_is_refused(damaged, tmp_path):  # V06
    damage, _ = damaged
    foreign = tmp_path / "foreign.db"
    with sqlite3.connect(foreign) as db:
        db.execute("CREATE TABLE connections(provider, name)")
    db.close()
    for data in (foreign.read_bytes(), b"", b"\0" * 65536, b"hello\n", random.Random(1).randbytes(65536)):
        assert damage(lambda path, data=data: path.write_bytes(data))


def test_a_flipped_bit_anywhere_in_the_file_is_refused_or_named_or_harmless(damaged, lived_in, tmp_path):  # V08
    """Never a wrong value, never an error without a name; other connections stay."""
    _, size = damaged
    rng = random.Random(11)
    path = tmp_path / "copy" / "vault.db"
    outcomes = {"refused": 0, "named": 0, "harmless": 0}
    vault = Vault.open(lived_in)
    before = {c.key: c for c in vault.connections()}
    vault.close()
    for bit in rng.sample(range(size * 8), 200):
        shutil.rmtree(path.parent, ignore_errors=True)
        shutil.copytree(lived_in.home, path.parent)
        byte = path.read_bytes()[bit // 8]
        overwrite(path, bit // 8, bytes([byte ^ (1 << bit % 8)]))
        try:
            vault = Vault.open(lived_in._replace(home=str(path.parent)))
        except AuthsomeError as error:
            assert type(error) is VaultError
            outcomes["refused"] += 1
            continue
        try:
            opened = vault.connections()
            assert all(before[c.key] == c for c in opened)
            assert len(opened) + len(opened.problems) >= len(before)
            assert len(opened) >= len(before) - 1
            outcomes["named" if vault.check() else "harmless"] += 1
        except VaultError as error:
            assert "vault.db" in error.message
            outcomes["refused"] += 1
        finally:
            vault.close()
    assert min(outcomes.values()) > 0, outcomes


def test_the_row_that_tells_the_vault_is_checked(lived_in, place):
    for column in columns(place, "vault"):
        if column == "ledger":
            continue
        with raw(place) as db:
            before = db.execute("SELECT * FROM vault").fetchone()
            db.execute(f"UPDATE vault SET {column} = 'x'")
        with pytest.raises(VaultError, match="the row that tells what the vault is, is damaged"):
            Vault.open(lived_in)
        with raw(place) as db:
            db.execute("DELETE FROM vault")
            db.execute(f"INSERT INTO vault VALUES ({','.join('?' * len(before))})", before)
    with raw(place) as db:
        db.execute("UPDATE vault SET ledger = x'00'")
    with pytest.raises(VaultError, match="ledger: the sealed value is cut short"):
        Vault.open(lived_in)
    with raw(place) as db:
        db.execute("DELETE FROM vault")
    with pytest.raises(VaultError, match="the row that tells what the vault is, is damaged"):
        Vault.open(lived_in)


def test_log_and_index_of_the_log_may_be_lost_after_a_crash(settings, place):  # V06
    def work() -> None:
        vault = Vault.open(settings)
        vault.add_connection(a_connection())
        os._exit(9)  # as by kill -9

    assert in_child(work) == 9
    assert {"vault.db-shm", "vault.db-wal"} <= set(os.listdir(place))
    for suffix in ("-wal", "-shm"):
        (place / f"vault.db{suffix}").unlink()
    vault = Vault.open(settings)
    assert vault.connection("mock", "default") == stored(a_connection())
    vault.close()
