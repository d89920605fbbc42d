import sys
from dataclasses import replace

import pytest

from authsome.errors import ConnectionExists, ConnectionNotFound, StaleWrite
from authsome.model.connection import Credential
from authsome.model.secret import Secret
from authsome.vault.vault import Vault

from .samples import a_connection, a_key_connection, stored


def defaults(vault: Vault) -> set[str]:
    return {str(c) for c in vault.connections() if c.is_default}


def test_a_connection_comes_back_as_it_was(vault, settings):
    for c in (a_connection(), a_key_connection(), a_connection("work")):
        vault.add_connection(c)
    vault.close()
    again = Vault.open(settings)
    assert again.connection("mock", "default") == stored(a_connection())
    assert again.connections() == [
        stored(a_key_connection()),
        stored(a_connection()),
        stored(a_connection("work"), is_default=False),
    ]
    assert again.connections().problems == ()
    again.close()


def test_what_is_not_there_is_none(vault):
    vault.add_connection(a_connection())
    assert vault.connection("mock", "work") is None
    assert vault.connection("other", "default") is None


def test_a_second_one_of_that_name_is_refused(vault):
    vault.add_connection(a_connection())
    with pytest.raises(ConnectionExists):
        vault.add_connection(a_connection(secret="other"))
    assert vault.connection("mock", "default") == stored(a_connection())


def test_a_replacement_is_the_next_version(vault):
    first = vault.add_connection(a_connection())
    second = vault.replace_connection(replace(first, needs_login=True, credential=Credential()))
    assert second == replace(first, version=2, needs_login=True, credential=Credential())
    assert vault.connection("mock", "default") == second


def test_a_stale_record_never_overwrites_a_newer_one(vault):  # P27
    first = vault.add_connection(a_connection())
    newer = vault.replace_connection(replace(first, credential=Credential(api_key=Secret("newer"))))
    for version in (0, 1, 3):
        with pytest.raises(StaleWrite):
            vault.replace_connection(replace(first, version=version))
    assert vault.connection("mock", "default") == newer


def test_a_deleted_one_is_not_brought_back_by_a_late_refresh(vault):  # P27
    first = vault.add_connection(a_connection())
    vault.delete_connection("mock", "default")
    with pytest.raises(StaleWrite):
        vault.replace_connection(first)
    assert vault.connections() == []


def test_deleting_what_is_not_there_says_so(vault):
    with pytest.raises(ConnectionNotFound):
        vault.delete_connection("mock", "default")


def test_the_first_of_a_provider_is_its_default(vault):
    assert vault.add_connection(a_connection("work")).is_default
    assert not vault.add_connection(replace(a_connection("home"), is_default=True)).is_default
    assert vault.add_connection(a_key_connection()).is_default
    assert defaults(vault) == {"mock/work", "keyed/default"}


def test_the_default_is_chosen_and_no_version_changes(vault):
    work, home = vault.add_connection(a_connection("work")), vault.add_connection(a_connection("home"))
    vault.set_default("mock", "home")
    assert defaults(vault) == {"mock/home"}
    vault.set_default("mock", "home")
    assert vault.connection("mock", "work") == replace(work, is_default=False)
    assert vault.connection("mock", "home") == replace(home, is_default=True)


def test_the_choice_of_a_default_survives_a_refresh_that_began_before(vault):  # P27
    vault.add_connection(a_connection("work"))
    home = vault.add_connection(a_connection("home"))
    vault.set_default("mock", "home")
    assert vault.replace_connection(home).is_default
    assert defaults(vault) == {"mock/home"}


def test_nothing_can_be_the_default_that_is_not_there(vault):
    vault.add_connection(a_connection("work"))
    with pytest.raises(ConnectionNotFound):
        vault.set_default("mock", "home")
    assert defaults(vault) == {"mock/work"}


def test_a_connection_that_is_left_alone_is_the_default(vault):
    for name in ("a", "b", "c"):
        vault.add_connection(a_connection(name))
    vault.delete_connection("mock", "a")
    assert defaults(vault) == set()  # two are left: the owner chooses
    vault.delete_connection("mock", "c")
    assert defaults(vault) == {"mock/b"}
    vault.delete_connection("mock", "b")
    assert vault.connections() == []
    assert vault.add_connection(a_connection("d")).is_default


def test_deleting_another_leaves_the_default_alone(vault):
    for name in ("a", "b"):
        vault.add_connection(a_connection(name))
    vault.delete_connection("mock", "b")
    assert defaults(vault) == {"mock/a"}


def test_names_that_look_alike_are_kept_apart(vault):
    vault.add_connection(a_connection("a.b", provider="x"))
    vault.add_connection(a_connection("b", provider="x.a"))
    vault.add_connection(a_connection("A.b", provider="x"))
    assert [str(c) for c in vault.connections()] == ["x/A.b", "x/a.b", "x.a/b"]
    assert not vault.check()


def test_ten_thousand_connections_are_read_in_one_go(vault):  # V21
    statements = []
    with vault._store.writing() as tx:  # ten thousand transactions would only test the patience of who waits
        from authsome.vault.connections import _start
        from authsome.vault.rows import close_connection
        from authsome.vault.schema import connections as table

        rows = [
            close_connection(vault._connections._rows, stored(a_connection(provider=f"p{n}"))) for n in range(10_000)
        ]
        tx.execute(table.insert(), rows)
        vault._connections._ledger.write(tx, {f"p{n}/default": _start(row["mark"]) for n, row in enumerate(rows)})
    vault._store._raw.set_trace_callback(statements.append)
    assert len(vault.connections()) == 10_000
    assert len([s for s in statements if s.startswith("SELECT")]) == 2


def test_no_keyring_is_imported_where_the_environment_holds_the_key(vault):  # V28
    assert "keyring" not in sys.modules
