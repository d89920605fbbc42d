"""The trail of events as rows: the kind by its class's name, the fields as JSON, nothing that could run code."""

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select

from authsome.model import event
from authsome.model.event import Denied, Event, Injected, Repeatable
from authsome.vault.schema import events as table
from authsome.vault.seal import Value
from authsome.vault.sqlite import Store

KEPT_OF_A_KIND = 100_000
KEPT_OF_A_RUN = 20_000  # of its requests, and of its refusals

_KINDS: dict[str, type[Event]] = {
    name: kind
    for name, kind in vars(event).items()
    if isinstance(kind, type) and issubclass(kind, Event) and kind not in (Event, Repeatable)
}
_NAMES = {kind: tuple(field.name for field in fields(kind) if field.name != "at") for kind in _KINDS.values()}
_ENCODER = json.JSONEncoder(sort_keys=True)
_RUN = re.compile('"run": "([^"]*)"')  # in the fields of a row: within a value each quote has a backslash before it


@dataclass(slots=True)
class _Share:
    """How many rows there are of a kind, or of a kind and a run, with ids greater than `gone`."""

    rows: int
    gone: int = 0


class Trail:
    """The rows. A kind pushes out its own oldest ones and no others, and a run's requests and refusals first their own.

    They are counted once and then known, since nobody else writes them; of runs those count that came since.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._shares: dict[tuple[str, str], _Share] | None = None  # by kind and run; the whole kind is that of no run

    def append(self, events: Sequence[Event]) -> None:
        """Adds them in one transaction, and forgets what is too old. Raises VaultError."""
        try:
            with self._store.writing() as tx:
                self._append(tx, events)
        except BaseException:
            self._shares = None  # what was counted has not happened
            raise

    def _append(self, tx: Connection, events: Sequence[Event]) -> None:
        if self._shares is None:
            found = tx.execute(select(table.c.kind, func.count()).group_by(table.c.kind)).all()
            self._shares = {(kind, ""): _Share(rows) for kind, rows in found}
        before = tx.execute(select(func.max(table.c.id))).scalar_one() or 0
        tx.execute(insert(table), [close_event(each) for each in events])
        added = Counter((type(each).__name__, each.run) for each in events if isinstance(each, Injected | Denied))
        added.update((type(each).__name__, "") for each in events)
        for key, number in added.items():
            share = self._shares.setdefault(key, _Share(0, before))
            share.rows += number
        for kind, run in sorted(added, reverse=True):  # the runs of a kind before the whole of it
            self._make_room(tx, self._shares, kind, run)

    def _make_room(self, tx: Connection, shares: dict[tuple[str, str], _Share], kind: str, run: str) -> None:
        """Many at once, so that it costs little."""
        share = shares.get((kind, run))
        kept = KEPT_OF_A_RUN if run else KEPT_OF_A_KIND
        if share is None or share.rows - kept <= kept // 100:
            return
        these = (table.c.kind == kind) & (table.c.id > share.gone)
        if run:
            these &= table.c.fields.contains(f'"run": "{run}"', autoescape=True)
        oldest = select(table.c.id, table.c.fields).where(these).order_by(table.c.id).limit(share.rows - kept)
        rows = tx.execute(oldest).all()
        if not rows:
            return
        last = rows[-1].id
        tx.execute(delete(table).where(these, table.c.id <= last))
        for row in rows:
            for each in {"", run or _run_in(row.fields)}:
                of = shares.get((kind, each))
                if of is not None and row.id > of.gone:
                    of.rows -= 1
                    if each and not of.rows:
                        del shares[kind, each]
        share.gone = last


def read(tx: Connection, limit: int, after: int) -> list[tuple[int, Event]]:
    """The newest `limit`, or with `after` the next ones whose id is greater; ascending."""
    if after:
        found = tx.execute(select(table).where(table.c.id > after).order_by(table.c.id).limit(limit)).all()
    else:
        found = tx.execute(select(table).order_by(table.c.id.desc()).limit(limit)).all()[::-1]
    told = [(row.id, open_event(row)) for row in found]
    return [(id, each) for id, each in told if each is not None]


def close_event(told: Event) -> dict[str, Value]:
    """The row of an event."""
    values = {name: getattr(told, name) for name in _NAMES[type(told)]}
    return {"at": float(told.at), "kind": type(told).__name__, "fields": _ENCODER.encode(values)}


def open_event(row: Row[Any]) -> Event | None:
    """The event of a row; None for one that this version cannot tell: of a newer version, or damaged."""
    kind = _KINDS.get(row.kind) if isinstance(row.kind, str) else None
    if kind is None or not isinstance(row.at, float) or not isinstance(row.fields, str):
        return None
    try:
        told = json.loads(row.fields)
    except (ValueError, RecursionError):
        return None
    if not isinstance(told, dict):
        return None
    known: dict[str, Any] = {"at": row.at}
    for f in fields(kind):
        # fields that a newer version added are left out, those that an older one did not know may be missing
        if f.name != "at" and (f.name in told or f.default is MISSING):
            if not isinstance(f.type, type) or type(told.get(f.name)) is not f.type:
                return None
            known[f.name] = told[f.name]
    return kind(**known)


def _run_in(fields: object) -> str:
    found = _RUN.search(fields) if isinstance(fields, str) else None
    return found[1] if found else ""
