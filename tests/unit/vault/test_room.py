"""Which events make room for new ones: their own kind's oldest, and of a run's requests and refusals its own first."""

from collections import Counter
from collections.abc import Iterator

import pytest

from authsome.errors import VaultError
from authsome.model.event import Denied, Event, Exported, Injected, LoggedIn
from authsome.settings import Settings
from authsome.vault import trail
from authsome.vault.vault import Vault

from .samples import raw

LOGIN = LoggedIn(at=1.0, provider="p", connection="c", flow="f", scopes="")
EXPORT = Exported(at=2.0, provider="p", connection="c", how="export")


def injected(path: object, run: str = "r") -> Injected:
    return Injected(at=3.0, run=run, provider="p", connection="c", method="GET", host="h", path=f"/{path}", status=200)


def denied(host: object, run: str = "r") -> Denied:
    return Denied(at=4.0, run=run, host=f"h{host}", error="e")


def told(vault: Vault) -> list[Event]:
    return [each for _, each in vault.events(limit=1_000_000)]


def runs(vault: Vault) -> Counter[str]:
    return Counter(each.run for each in told(vault) if isinstance(each, Injected | Denied))


@pytest.fixture(autouse=True)
def little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """So little that every row too many is noticed at once."""
    monkeypatch.setattr(trail, "KEPT_OF_A_KIND", 50)
    monkeypatch.setattr(trail, "KEPT_OF_A_RUN", 20)


@pytest.fixture
def again(settings: Settings) -> Iterator[Vault]:
    """The vault as a daemon finds it that starts later."""
    Vault.open(settings).close()
    later = Vault.open(settings)
    yield later
    later.close()


def test_a_run_cannot_push_out_what_the_owner_did(vault: Vault) -> None:
    vault.record([LOGIN, EXPORT])
    for batch in range(20):
        vault.record([denied(f"{batch}.{n}") for n in range(30)] + [injected(f"{batch}/{n}") for n in range(30)])
    assert told(vault)[:2] == [LOGIN, EXPORT]


def test_refusals_push_out_no_request(vault: Vault) -> None:
    vault.record([injected("deed")])
    for batch in range(20):
        vault.record([denied(f"{batch}.{n}", run=f"r{batch}") for n in range(10)])
    assert told(vault) == [injected("deed")] + [denied(f"{b}.{n}", f"r{b}") for b in range(15, 20) for n in range(10)]


def test_a_run_pushes_out_its_own_requests_before_those_of_others(vault: Vault) -> None:
    for batch in range(15):
        vault.record([injected(f"{batch}/{n}", "loud") for n in range(7)] + [injected(batch, "quiet")])
        assert runs(vault)["quiet"] == batch + 1 and runs(vault)["loud"] <= 20
    vault.record([injected(n, "another") for n in range(14)])
    vault.record([injected(f"15/{n}", "loud") for n in range(40)])  # more than both have room for, at once
    assert runs(vault) == {"quiet": 15, "another": 14, "loud": 20}
    assert [each.path for each in told(vault)[-20:]] == [f"/15/{n}" for n in range(20, 40)]


def test_together_runs_push_out_the_oldest_of_their_kind(vault: Vault) -> None:
    for run in "abcde":
        vault.record([injected(n, run) for n in range(15)])
    assert runs(vault) == {"b": 5, "c": 15, "d": 15, "e": 15}
    vault.record([injected(n, "b") for n in range(15)])  # what was pushed out of it no longer counts against a run
    assert runs(vault) == {"b": 15, "c": 5, "d": 15, "e": 15}


def test_a_path_that_looks_like_a_run_is_no_run(vault: Vault) -> None:
    vault.record([injected("first", "loud"), injected('"run": "loud"', "quiet"), injected("loud", "quiet")])
    vault.record([injected(n, "loud") for n in range(40)])
    assert runs(vault) == {"quiet": 2, "loud": 20}


def test_what_was_there_before_a_start_counts(vault: Vault, again: Vault) -> None:
    vault.record([LOGIN] + [injected(n, f"r{n}") for n in range(45)])
    again.record([injected(n, "new") for n in range(15)])
    assert told(again)[0] == LOGIN
    assert [each.path for each in told(again)[1:]] == [f"/{n}" for n in (*range(10, 45), *range(15))]


def test_of_a_run_that_goes_on_after_a_start_what_came_since_counts(vault: Vault, again: Vault) -> None:
    vault.record([injected(n, "r") for n in range(10)] + [injected(n, f"before{n}") for n in range(30)])
    again.record([injected(n, "r") for n in range(15)] + [injected(n, "after") for n in range(5)])
    assert (runs(again)["r"], runs(again)["before0"], runs(again).total()) == (15, 1, 50)
    again.record([injected(n, "r") for n in range(10)])
    assert (runs(again)["r"], runs(again)["before4"], runs(again)["before5"], runs(again).total()) == (20, 0, 1, 50)


def test_a_failure_to_write_is_not_counted(vault: Vault, place, monkeypatch: pytest.MonkeyPatch) -> None:
    vault.record([injected(n) for n in range(15)])
    with raw(place) as db:
        db.execute("CREATE TRIGGER stuck BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'stuck'); END")
    with pytest.raises(VaultError):
        vault.record([injected(n) for n in range(15)])
    with raw(place) as db:
        db.execute("DROP TRIGGER stuck")
    vault.record([injected(n) for n in range(15, 20)])
    assert told(vault) == [injected(n) for n in range(20)]


def test_a_row_that_was_tampered_with_does_not_stand_in_the_way(vault: Vault, place) -> None:
    with raw(place) as db:
        db.execute("INSERT INTO events(at, kind, fields) VALUES (2.0, 'Injected', x'ff'), (2.0, x'ff', '{')")
    vault.record([injected(n, f"r{n}") for n in range(60)])
    assert told(vault) == [injected(n, f"r{n}") for n in range(10, 60)]
