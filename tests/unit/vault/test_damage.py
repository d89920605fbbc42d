"""Damage and tampering, at the level of rows and of bytes."""

import os
import pickle
import random
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from authsome.errors import AuthsomeError, ConnectionNotFound, VaultError
from authsome.model.secret import Secret
from authsome.settings import Settings
from authsome.vault.vault import Vault

from .samples import ISSUER, REDIRECT, a_client, a_connection, a_key_connection, a_run, content, raw, stored

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


def told(vault: Vault) -> object:
    """All that a vault gives away."""
    return (
        list(vault.connections()),
        vault.client(ISSUER, REDIRECT),
        list(vault.authority_keys()),
        vault.setting("proxy_port"),
        vault.open_runs(),
    )


def test_swapped_secrets_are_refused_and_named(lived_in, place):  # P21, V07
    with raw(place) as db:
        values = dict(db.execute("SELECT name, access_token FROM connections WHERE name IN ('a', 'b')"))
        for name, other in (("a", "b"), ("b", "a")):
            db.execute("UPDATE connections SET access_token = ? WHERE name = ?", (values[other], name))
    vault = Vault.open(lived_in)
    for name in ("a", "b"):
        with pytest.raises(VaultError, match=f"^connections notion_dcr/{name} access_token: .*changed, or belongs"):
            vault.connection("notion_dcr", name)
    assert vault.connection("notion_dcr", "work") is not None
    vault.close()


def test_secrets_swapped_within_a_row_are_refused_and_named(lived_in, place):  # V07
    with raw(place) as db:
        db.execute("UPDATE connections SET access_token = refresh_token, refresh_token = access_token WHERE name = 'a'")
    vault = Vault.open(lived_in)
    with pytest.raises(VaultError, match="^connections notion_dcr/a access_token: "):
        vault.connection("notion_dcr", "a")
    vault.close()


def test_an_older_secret_of_the_same_row_is_refused(lived_in, place):  # V07
    with raw(place) as db:
        (old,) = db.execute("SELECT refresh_token FROM connections WHERE name = 'a'").fetchone()
    vault = Vault.open(lived_in)
    vault.replace_connection(vault.connection("notion_dcr", "a"))
    with raw(place) as db:
        db.execute("UPDATE connections SET refresh_token = ? WHERE name = 'a'", (old,))
    with pytest.raises(VaultError, match="^connections notion_dcr/a refresh_token: "):
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
    with pytest.raises(VaultError, match="^connections notion_dcr/a: is an older copy that was put back"):
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
    with pytest.raises(VaultError, match="^connections notion_dcr/b: .*was added elsewhere"):
        vault.connection("notion_dcr", "b")
    vault.close()


def test_a_row_that_was_removed_is_missed(lived_in, place):  # V07
    with raw(place) as db:
        db.execute("DELETE FROM connections WHERE name = 'b'")
    vault = Vault.open(lived_in)
    with pytest.raises(VaultError, match="^connections notion_dcr/b: was removed by something else"):
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
    with pytest.raises(VaultError, match="^connections notion_dcr/a access_token: "):
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
    with pytest.raises(VaultError, match="^connections notion_dcr/a"):
        vault.connection("notion_dcr", "a")
    opened = vault.connections()
    assert len(opened) == 3
    assert [p.row for p in opened.problems] == [("notion_dcr", "a")]
    assert len(vault.check()) == 1
    vault.close()


def flips(value: object) -> list[object]:
    """The value with each of its bits flipped, as far as a column can hold the result."""
    if isinstance(value, bytes):
        return [bytes(b ^ (1 << bit) if i == at else b for i, b in enumerate(value)) for at in range(len(value)) for bit in range(8)]  # fmt: skip
    if isinstance(value, str):
        flipped = [bytes(each) for each in flips(value.encode())]  # type: ignore[call-overload]
        return [text.decode() for text in flipped if _is_text(text)]
    if isinstance(value, int):
        return [value ^ (1 << bit) for bit in range(63)]
    return []


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def test_every_bit_of_a_row_counts(vault, place):  # V08
    vault.add_connection(a_connection("a", secret="x"))
    other = vault.add_connection(a_connection("b"))
    with raw(place) as db:
        row = db.execute("SELECT * FROM connections WHERE name = 'a'").fetchone()
    tried = 0
    for column, value in zip(columns(place, "connections"), row, strict=True):
        for flipped in flips(value):
            if column == "is_default" and flipped == 1:
                continue
            with raw(place) as db:
                db.execute(f"UPDATE connections SET {column} = ? WHERE mark = ? OR name = 'a'", (flipped, row[-1]))
            opened = vault.connections()
            assert list(opened) == [other]
            assert opened.problems
            with pytest.raises(VaultError, match="^connections mock/a"):
                vault.connection("mock", "a")
            with raw(place) as db:
                db.execute("DELETE FROM connections WHERE name <> 'b' OR provider <> 'mock'")
                db.execute(f"INSERT INTO connections VALUES ({','.join('?' * len(row))})", row)
            tried += 1
    assert tried > 5000
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
        db.execute("INSERT INTO runs SELECT 'planted', ?, pid, process_started, command, only, choices, 1, NULL, mark FROM runs", (bytes(32),))  # fmt: skip
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
    with pytest.raises(VaultError, match="^connections notion_dcr/a: was changed"):
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
    for table in ("connections", "clients", "authorities", "settings", "runs"):
        for column in columns(place, table):
            for value in crafted:
                copy = tmp_path / "copy"
                shutil.copytree(place, copy, dirs_exist_ok=True)
                with raw(copy) as db:
                    db.execute(f"UPDATE OR IGNORE {table} SET {column} = ? WHERE rowid > 0" if table not in ("connections", "clients") else f"UPDATE OR IGNORE {table} SET {column} = ?", (value,))  # fmt: skip
                    db.execute("INSERT INTO events(at, kind, fields) VALUES (1, ?, ?)", (value, value))
                vault = Vault.open(lived_in._replace(home=str(copy)))
                assert vault.check()
                vault.events(limit=10)
                vault.open_runs()
                vault.close()
                shutil.rmtree(copy)
    assert not (tmp_path / "exploded").exists()


# ── the file ──────────────────────────────────────────────────────────────────────────────


def refused_or_whole(settings: Settings, before: object) -> bool:
    """Whether opening is refused, naming the file; else everything must be as it was. Nothing is changed by looking."""
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
        assert told(vault) == before
    finally:
        vault.close()
    return False


@pytest.fixture
def damaged(lived_in, place, tmp_path):
    """A copy of the home, made anew for each damage; what it tells when whole; and its size."""
    vault = Vault.open(lived_in)
    before = told(vault)
    vault.close()

    def damage(change: object) -> bool:
        copy = tmp_path / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(place, copy)
        change(copy / "vault.db")
        return refused_or_whole(lived_in._replace(home=str(copy)), before)

    return damage, (place / "vault.db").stat().st_size


def test_a_truncated_database_is_refused_at_every_boundary(damaged):  # V06
    damage, size = damaged
    assert size >= 15 * PAGE
    for length in [*range(0, size, PAGE), 1, 99, 100, size - 1, size - 512]:
        assert damage(lambda path, length=length: os.truncate(path, length)), length


def overwrite(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def test_a_lost_page_is_refused_wherever_it_is(damaged):  # V06
    damage, size = damaged
    rng = random.Random(7)
    for at in range(0, size, PAGE):
        for data in (b"\0" * PAGE, rng.randbytes(PAGE), b"\xff" * PAGE):
            assert damage(lambda path, at=at, data=data: overwrite(path, at, data)), at


def test_two_pages_that_changed_places_are_refused_or_harmless(damaged, place):  # V06
    damage, size = damaged
    data = (place / "vault.db").read_bytes()
    for at in range(PAGE, size - PAGE, PAGE):
        damage(lambda path, at=at: overwrite(path, at, data[at + PAGE : at + 2 * PAGE] + data[at : at + PAGE]))


def test_a_file_of_another_kind_is_refused(damaged, tmp_path):  # V06
    damage, _ = damaged
    import sqlite3

    foreign = tmp_path / "foreign.db"
    with sqlite3.connect(foreign) as db:
        db.execute("CREATE TABLE connections(provider, name)")
    db.close()
    for data in (foreign.read_bytes(), b"", b"\0" * 65536, b"hello\n", random.Random(1).randbytes(65536)):
        assert damage(lambda path, data=data: path.write_bytes(data))


def test_a_flipped_bit_anywhere_in_the_file_is_refused_or_named_or_harmless(damaged, lived_in, tmp_path):  # V08
    """Never a wrong value, never an error without a name; other connections stay."""
    damage, size = damaged
    rng = random.Random(11)
    path = tmp_path / "copy" / "vault.db"
    outcomes = {"refused": 0, "named": 0, "harmless": 0}
    vault = Vault.open(lived_in)
    before = {c.key: c for c in vault.connections()}
    vault.close()
    for bit in rng.sample(range(size * 8), 400):
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
    from .samples import in_child

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
