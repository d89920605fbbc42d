import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, event

from authsome.errors import VaultError
from authsome.settings import Settings
from authsome.vault import schema
from authsome.vault.sqlite import Store
from authsome.vault.vault import Vault

from .samples import a_connection, content, in_child, raw, stored

NEXT = '''
"""A revision for the tests."""
import sqlalchemy as sa
from alembic import op

revision = "r9999"
down_revision = "{before}"

def upgrade():
    op.add_column("connections", sa.Column("note", sa.Text))
    op.create_table("notes", sa.Column("id", sa.Integer, primary_key=True), sa.Column("text", sa.Text))
    op.execute("INSERT INTO notes(text) VALUES ('one')")
    {more}
'''


@pytest.fixture
def upgraded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """The code of the next version: one revision more."""
    first, revisions = schema.MIGRATIONS, schema.REVISIONS

    def install(more: str = "") -> None:
        scripts = tmp_path / "migrations"
        shutil.rmtree(scripts, ignore_errors=True)
        shutil.copytree(first, scripts)
        (scripts / "versions" / "r9999.py").write_text(NEXT.format(before=revisions[-1], more=more))
        monkeypatch.setattr(schema, "MIGRATIONS", scripts)
        monkeypatch.setattr(schema, "REVISIONS", (*revisions, "r9999"))
        monkeypatch.setattr(schema, "HEAD", "r9999")

    return install


@pytest.fixture
def lived_in(settings: Settings) -> Settings:
    vault = Vault.open(settings)
    vault.add_connection(a_connection())
    vault.close()
    return settings


def tables(home: Path) -> list[str]:
    with raw(home) as db:
        return [row[0] for row in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY 1")]


def test_a_new_vault_has_the_tables_that_the_migrations_make(tmp_path):
    def shape(path: Path) -> list[tuple[str, ...]]:
        with sqlite3.connect(path) as db:
            tables = [row[0] for row in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY 1")]
            columns = [(t, *map(str, row)) for t in tables for row in db.execute(f"PRAGMA table_xinfo({t})")]
            indexes = [(t, *map(str, row)) for t in tables for row in db.execute(f"PRAGMA index_list({t})")]
            kinds = [tuple(map(str, row[1:])) for row in db.execute("PRAGMA table_list")]
            return sorted(columns) + sorted(indexes) + sorted(kinds)

    made, migrated = Store.building(tmp_path / "made"), Store.building(tmp_path / "migrated")
    with made.writing() as tx:
        schema.create(tx)
    schema.upgrade(migrated)
    with migrated.reading() as tx:
        context = MigrationContext.configure(tx, opts={"compare_type": True})
        assert compare_metadata(context, schema.metadata) == []
    made.close()
    migrated.close()
    assert shape(tmp_path / "made") == shape(tmp_path / "migrated")


def test_the_known_revisions_are_the_migrations():
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(schema.MIGRATIONS))
    scripts = ScriptDirectory.from_config(config)
    assert tuple(script.revision for script in scripts.walk_revisions())[::-1] == schema.REVISIONS


def test_an_older_vault_is_upgraded_after_a_copy(lived_in, place, upgraded):  # V18
    upgraded()
    vault = Vault.open(lived_in)
    assert vault.connection("mock", "default") == stored(a_connection())
    assert vault.check() == []
    vault.close()
    assert "notes" in tables(place)
    assert sorted(os.listdir(place)) == ["vault.db", "vault.db.before-r9999"]
    assert (place / "vault.db.before-r9999").stat().st_mode & 0o777 == 0o600
    Vault.open(lived_in).close()


def test_the_copy_made_before_an_upgrade_can_be_put_back(lived_in, place, upgraded, monkeypatch):  # V18
    with monkeypatch.context():
        upgraded()
        Vault.open(lived_in).close()
        monkeypatch.undo()
        (place / "vault.db.before-r9999").replace(place / "vault.db")
        vault = Vault.open(lived_in)
        assert vault.connection("mock", "default") == stored(a_connection())
        vault.close()


def test_an_upgrade_that_fails_leaves_the_vault_as_it_was(lived_in, place, upgraded):  # V18
    upgraded(more='op.execute("INSERT INTO nowhere VALUES (1)")')
    before = tables(place)
    with pytest.raises(VaultError, match=r"vault\.db"):
        Vault.open(lived_in)
    assert tables(place) == before
    upgraded()
    vault = Vault.open(lived_in)
    assert vault.connection("mock", "default") == stored(a_connection())
    vault.close()


def test_an_upgrade_killed_at_any_statement_is_done_by_the_next_start(lived_in, place, upgraded):  # V18
    upgraded(more="op.execute(\"INSERT INTO notes(text) VALUES ('two')\")")
    before = tables(place)
    statement, done = 0, False
    while True:

        def work(left: int = statement) -> None:
            def count(*_: object) -> None:
                nonlocal left
                left -= 1
                if left < 0:
                    os._exit(9)

            event.listen(Engine, "before_cursor_execute", count)
            event.listen(Engine, "commit", count)
            Vault.open(lived_in)

        if in_child(work) == 0:
            break
        done = done or "notes" in tables(place)
        assert tables(place) == (sorted([*before, "notes"]) if done else before)
        statement += 1
    assert done
    assert statement >= 8
    vault = Vault.open(lived_in)
    assert vault.connection("mock", "default") == stored(a_connection())
    vault.close()
    with raw(place) as db:
        assert db.execute("SELECT text FROM notes ORDER BY id").fetchall() == [("one",), ("two",)]


def test_a_vault_of_a_newer_version_is_refused_by_name_and_left_alone(lived_in, place):  # V18
    with raw(place) as db:
        db.execute("UPDATE alembic_version SET version_num = 'r7777'")
    before = content(place)
    with pytest.raises(
        VaultError, match=r"newer version of authsome \(revision r7777, this one knows r0001\)"
    ) as caught:
        Vault.open(lived_in)
    assert "upgrade authsome" in caught.value.hint
    assert content(place) == before


@pytest.mark.parametrize(
    "change", ["DROP TABLE alembic_version", "DELETE FROM alembic_version", "INSERT INTO alembic_version VALUES ('r2')"]
)
def test_a_vault_without_one_revision_is_refused(lived_in, place, change):
    with raw(place) as db:
        db.execute(change)
    with pytest.raises(VaultError, match="revision"):
        Vault.open(lived_in)


def test_the_wrong_key_upgrades_nothing(lived_in, place, upgraded):
    upgraded()
    before = content(place)
    with pytest.raises(VaultError, match="is not the root key"):
        Vault.open(lived_in._replace(root_key="00" * 32))
    assert content(place) == before


def test_a_start_without_an_upgrade_imports_neither_alembic_nor_keyring(lived_in):
    program = (
        "import sys; from authsome.settings import Settings; from authsome.vault.vault import Vault;"
        f"Vault.open(Settings(home={lived_in.home!r}, root_key={lived_in.root_key!r})).close();"
        "sys.exit(','.join(n for n in ('alembic', 'keyring') if n in sys.modules) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_warm_start_asks_little(lived_in):
    """No reflection, no statement per table: what a start costs does not grow with the schema."""
    asked: list[str] = []

    def note(*args: object) -> None:
        asked.append(str(args[2]))

    event.listen(Engine, "before_cursor_execute", note)
    Vault.open(lived_in).close()
    event.remove(Engine, "before_cursor_execute", note)
    assert len([statement for statement in asked if not statement.startswith("BEGIN")]) <= 6, asked
