"""The trail of events as rows: the kind by its class's name, the fields as JSON, nothing that could run code."""

import json
from collections.abc import Sequence
from dataclasses import MISSING, fields
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select

from authsome.model import event
from authsome.model.event import Event, Repeatable
from authsome.vault.schema import events as table
from authsome.vault.seal import Value

EVENTS_KEPT = 100_000

_KINDS: dict[str, type[Event]] = {
    name: kind
    for name, kind in vars(event).items()
    if isinstance(kind, type) and issubclass(kind, Event) and kind not in (Event, Repeatable)
}
_NAMES = {kind: tuple(field.name for field in fields(kind) if field.name != "at") for kind in _KINDS.values()}
_ENCODER = json.JSONEncoder(sort_keys=True)


def append(tx: Connection, events: Sequence[Event]) -> None:
    """Adds them, and forgets all but the newest EVENTS_KEPT."""
    tx.execute(insert(table), [close_event(each) for each in events])
    last = tx.execute(select(func.max(table.c.id))).scalar_one()
    tx.execute(delete(table).where(table.c.id <= last - EVENTS_KEPT))


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
