"""How an attempt is judged, and that the table and the clients' programs name the same clients."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from parts.fakenet import SIDE_DOOR, Entry

from compatibility.judging import Attempt, Row, judge
from compatibility.table import CLIENTS, PROGRAMS, Client, Outcome

HERE = Path(__file__).resolve().parent
CLIENT = Client("Python", "one", "One", "one")
REFUSED = "SSLError: certificate verify failed: self-signed certificate in certificate chain"


def entry(authorization: str, port: int = SIDE_DOOR, authorized: bool = True) -> Entry:
    headers = [["Authorization", authorization]]
    return Entry(0.0, "h1.1", "https", "api.example.com", "GET", "/", "", headers, "", authorized, port)


SERVED = entry("Bearer real")
BYPASSED = entry("Bearer authsome-proxy-managed", port=443, authorized=False)
SIGNED = entry("AWS4-HMAC-SHA256 Credential=authsome-proxy-managed/…", authorized=False)


@pytest.mark.parametrize(
    ("code", "errors", "entries", "greeted", "proxied", "outcome"),
    [
        (0, "", [SERVED, SERVED], [], True, Outcome.WORKS),
        (1, "", [SERVED], [], True, Outcome.FAILS),
        (0, "", [], [], None, Outcome.FAILS),
        (0, "", [entry("Bearer real", port=443)], [], False, Outcome.FAILS),
        (0, "", [entry("Bearer authsome-proxy-managed")], [], True, Outcome.FAILS),
        (1, "", [entry("Bearer authsome-proxy-managed", authorized=False)], [], True, Outcome.FAILS),
        (1, "", [BYPASSED], ["api.example.com"], False, Outcome.DIRECT),
        (0, "", [BYPASSED], ["api.example.com"], False, Outcome.FAILS),
        (0, "", [SERVED, BYPASSED], ["api.example.com"], False, Outcome.FAILS),
        (1, REFUSED, [], [], True, Outcome.OWN_CA),
        (1, REFUSED, [], ["api.example.com"], False, Outcome.FAILS),
        (1, "refused", [], [], None, Outcome.FAILS),
        (1, "", [SIGNED], [], True, Outcome.SIGNS),
    ],
)
def test_a_client_is_judged_by_how_it_ended_and_by_what_arrived(
    code: int, errors: str, entries: Sequence[Entry], greeted: Sequence[str], proxied: bool | None, outcome: Outcome
) -> None:
    attempt = Attempt(code, errors, entries, greeted)
    row = judge(CLIENT, "1.0", attempt, attempt)
    assert (row.proxied, row.outcome) == (proxied, outcome)
    passed_by = bool(greeted) or any(each.port != SIDE_DOOR for each in entries)
    assert row.isolated == (Outcome.FAILS if passed_by else outcome)


def test_a_row_says_what_happened() -> None:
    row = judge(CLIENT, "1.0", Attempt(1, "", [BYPASSED], []), Attempt(0, "", [SERVED], []))
    assert str(row) == "| One | 1.0 | no | HTTP/1.1 | ignores proxy variables | works |"


@pytest.mark.parametrize("known", Outcome)
@pytest.mark.parametrize("confined", [SERVED, SIGNED])
def test_how_a_client_fares_in_isolation_is_known_too(known: Outcome, confined: Entry) -> None:
    client = replace(CLIENT, expected=known)
    code = 0 if confined is SERVED else 1
    row = Row(
        client,
        "1.0",
        None,
        (),
        known,
        judge(client, "", Attempt(0, "", [], []), Attempt(code, "", [confined], [])).isolated,
    )
    assert row.is_as_known is ((confined is SIGNED) == (known is Outcome.SIGNS))


def test_every_client_of_the_table_has_a_program_and_the_other_way_round() -> None:
    written = {
        "Python": re.findall(r"^@client\n(?:async )?def (\w+)", (HERE / "clients" / "client.py").read_text(), re.M),
        "Node": re.findall(r"^  async (\w+)\(\)", (HERE / "clients" / "client.mjs").read_text(), re.M),
        "Programs": [*PROGRAMS],
    }
    for kind, names in written.items():
        assert sorted(names) == sorted({client.name for client in CLIENTS if client.kind == kind})
