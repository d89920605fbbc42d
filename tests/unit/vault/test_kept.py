"""Clients, interception CAs, settings, runs and events."""

from dataclasses import replace

import pytest

from authsome.errors import StaleWrite
from authsome.model import event
from authsome.model.secret import Secret
from authsome.vault import trail
from authsome.vault.trail import close_event

from .samples import ISSUER, REDIRECT, a_client, a_run, raw


def test_a_client_comes_back_as_it_was(vault):
    assert vault.client(ISSUER, REDIRECT) is None
    kept = vault.put_client(a_client())
    assert kept == replace(a_client(), version=1)
    assert vault.client(ISSUER, REDIRECT) == kept
    assert vault.client(ISSUER, REDIRECT + "/") is None


def test_a_client_without_secrets_comes_back_without_secrets(vault):
    public = replace(a_client(), client_secret=None, registration_token=None, registered=False)
    assert vault.put_client(public) == vault.client(ISSUER, REDIRECT)


def test_a_client_is_replaced_by_whoever_read_the_newest(vault):  # P27
    first = vault.put_client(a_client())
    second = vault.put_client(replace(first, client_id="client-2"))
    assert (second.version, vault.client(ISSUER, REDIRECT)) == (2, second)
    for stale in (a_client(), first, replace(second, version=3)):
        with pytest.raises(StaleWrite):
            vault.put_client(stale)
    assert vault.client(ISSUER, REDIRECT) == second


def test_a_client_that_is_gone_is_not_replaced(vault):  # P27
    first = vault.put_client(a_client())
    vault.delete_client(ISSUER, REDIRECT)
    vault.delete_client(ISSUER, REDIRECT)
    assert vault.client(ISSUER, REDIRECT) is None
    with pytest.raises(StaleWrite):
        vault.put_client(first)


def test_interception_cas_come_back_oldest_first(vault, place):  # X76
    second = vault.add_authority("-----BEGIN CERTIFICATE----- 2", Secret("PRIVATE KEY 2"), 2000)
    first = vault.add_authority("-----BEGIN CERTIFICATE----- 1", Secret("PRIVATE KEY 1"), 1000.5)
    assert vault.authority_keys() == [first, second]
    assert first.private_key.reveal() == "PRIVATE KEY 1"
    vault.drop_authority(first.id)
    vault.drop_authority(first.id)
    assert vault.authority_keys() == [second]


def test_a_setting_is_kept_and_replaced(vault):
    assert vault.setting("proxy_port") is None
    vault.keep_setting("proxy_port", "4711")
    vault.keep_setting("proxy_port", "4712")
    vault.keep_setting("other", "")
    assert (vault.setting("proxy_port"), vault.setting("other")) == ("4712", "")


def test_runs_are_open_until_they_end(vault):
    vault.put_run(a_run("one"))
    vault.put_run(replace(a_run("two"), only=None, choices={}, started_at=1_600_000_000))
    assert vault.open_runs() == [replace(a_run("two"), only=None, choices={}, started_at=1_600_000_000), a_run("one")]
    vault.end_run("two", 1_700_000_100)
    vault.end_run("never was", 1_700_000_100)
    assert vault.open_runs() == [a_run("one")]


def test_runs_that_ended_long_ago_are_forgotten(vault, place):
    vault.put_run(a_run("one"))
    vault.put_run(a_run("two"))
    vault.end_run("one", 1_700_000_000)
    vault.end_run("two", 1_700_000_000 + 31 * 86400)
    with raw(place) as db:
        assert db.execute("SELECT id FROM runs").fetchall() == [("two",)]


ROOTS = (event.Event, event.Repeatable)
KINDS = [k for k in vars(event).values() if isinstance(k, type) and issubclass(k, event.Event) and k not in ROOTS]


def sample(kind: type[event.Event], at: float) -> event.Event:
    values = {str: "text", int: 7, bool: True}
    fields = {f.name: values[f.type] for f in kind.__dataclass_fields__.values() if f.name != "at"}
    return kind(at=at, **fields)


def test_every_kind_of_event_comes_back_as_it_was(vault):
    told = [sample(kind, n + 0.5) for n, kind in enumerate(KINDS)]
    vault.record(told)
    assert vault.events(limit=100) == list(enumerate(told, start=1))


def test_the_newest_events_are_read_in_ascending_order_or_those_after_one(vault):
    vault.record([sample(event.Refreshed, n) for n in range(10)])
    vault.record([])
    assert [id for id, _ in vault.events(limit=3)] == [8, 9, 10]
    assert [id for id, _ in vault.events(limit=3, after=4)] == [5, 6, 7]
    assert vault.events(limit=3, after=10) == []


def test_old_events_make_room_and_no_id_is_given_twice(vault, monkeypatch):
    monkeypatch.setattr(trail, "KEPT_OF_A_KIND", 5)
    vault.record([sample(event.Refreshed, n) for n in range(12)])
    assert [id for id, _ in vault.events(limit=100)] == [8, 9, 10, 11, 12]
    vault.record([sample(event.Refreshed, 12)])
    assert [id for id, _ in vault.events(limit=1)] == [13]


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("FromTheFuture", '{"provider": "mock"}'),
        ("Refreshed", '{"provider": "mock"}'),
        ("Refreshed", '{"provider": "mock", "connection": 7}'),
        ("Refreshed", '{"provider": "mock", "connection": ["a"]}'),
        ("Refreshed", "[]"),
        ("Refreshed", "{"),
        ("Refreshed", "[" * 100_000),
        ("Event", "{}"),
        ("RunEnded", '{"run": "r", "requests": true}'),
    ],
)
def test_an_event_that_this_version_cannot_tell_is_skipped(vault, place, kind, fields):
    known = sample(event.Refreshed, 1.0)
    vault.record([known])
    with raw(place) as db:
        db.execute("INSERT INTO events(at, kind, fields) VALUES (2.0, ?, ?)", (kind, fields))
    assert vault.events(limit=10) == [(1, known)]


def test_a_field_that_a_newer_version_added_is_left_out(vault, place):
    with raw(place) as db:
        fields = '{"provider": "mock", "connection": "work", "why": "new"}'
        db.execute("INSERT INTO events(at, kind, fields) VALUES (2.0, 'Refreshed', ?)", (fields,))
    assert vault.events(limit=10) == [(1, event.Refreshed(at=2.0, provider="mock", connection="work"))]


def test_an_event_of_before_they_were_counted_happened_once(vault, place):
    with raw(place) as db:
        fields = '{"run": "r", "host": "h", "error": "e"}'
        db.execute("INSERT INTO events(at, kind, fields) VALUES (2.0, 'Denied', ?)", (fields,))
    assert vault.events(limit=10) == [(1, event.Denied(at=2.0, run="r", host="h", error="e", times=1))]


def test_an_event_is_stored_as_its_name_and_json():
    row = close_event(event.RunEnded(at=1, run="r", requests=2))
    assert row == {"at": 1.0, "kind": "RunEnded", "fields": '{"requests": 2, "run": "r"}'}
