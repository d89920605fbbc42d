"""Between the nouns and the rows that keep them: what is sealed, what is marked, what a damaged row is called."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Row, Table

from authsome.errors import VaultError
from authsome.model.connection import Client, Connection, Credential, Grant
from authsome.model.injection import Placement
from authsome.model.route import Route
from authsome.model.run import Run
from authsome.model.secret import Secret
from authsome.vault import schema
from authsome.vault.seal import LOST_HINT, Place, Sealer, Value, row_name

Secrets = Mapping[str, Secret | None]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StoredAuthority:
    """An interception CA: its certificate (PEM), and its private key (PEM), which is sealed in the store."""

    id: str
    certificate_pem: str
    private_key: Secret
    created_at: float


@dataclass(frozen=True, slots=True)
class Problem:
    """A row that cannot be used: which one, and why."""

    row: tuple[str, ...]
    message: str


class Opened(list[T]):
    """The rows that opened; `problems` tells of the others."""

    def __init__(self, good: Iterable[T], problems: Iterable[Problem]) -> None:
        super().__init__(good)
        self.problems = tuple(problems)


class Rows:
    """Seals, marks, checks and opens the rows of one vault."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    def closed(self, table: Table, values: Mapping[str, Value], secrets: Secrets | None = None) -> dict[str, Value]:
        """The row to write: `values` with the secrets sealed and the mark set. Raises VaultError."""
        row = dict(values)
        identity, write = _identity(table, row), int(row.get("version") or 0)
        for column, secret in (secrets or {}).items():
            place = Place(table.name, identity, column, write)
            row[column] = None if secret is None else self._sealer.seal(secret, place)
        return self.marked(table, row)

    def marked(self, table: Table, row: Mapping[str, Value]) -> dict[str, Value]:
        """The row with the mark that its columns have. Raises VaultError."""
        return {**row, "mark": self._sealer.mark(table.name, row)}

    def is_marked(self, table: Table, row: Mapping[str, Value]) -> bool:
        """Whether a row carries the mark that its columns have."""
        try:
            return self._sealer.mark(table.name, row) == row["mark"]
        except VaultError:
            return False

    def opened(self, table: Table, row: Row[Any]) -> dict[str, Secret | None]:
        """The secrets of a row that was read. Raises VaultError naming the row, and the column where it can."""
        values = as_mapping(table, row)
        # anything may stand in a damaged row, so the mark is looked at before a value is trusted
        whole = self.is_marked(table, values)
        identity = _identity(table, values)
        write = values.get("version", 0) if whole else _number(values.get("version"))
        secrets: dict[str, Secret | None] = {}
        for column in _sealed_columns(table):
            blob = values[column]
            place = Place(table.name, identity, column, write)
            secrets[column] = None if blob is None else self._sealer.open(blob, place)
        if not whole:
            name = row_name(table.name, identity)
            raise VaultError(f"{name}: was changed by something else than authsome", LOST_HINT)
        return secrets

    def sift(self, table: Table, found: Sequence[Row[Any]], opener: Callable[[Row[Any]], T]) -> Opened[T]:
        """The rows that open, and the problems of those that do not."""
        good: list[T] = []
        problems: list[Problem] = []
        for row in found:
            try:
                good.append(opener(row))
            except VaultError as error:
                problems.append(Problem(_identity(table, as_mapping(table, row)), error.message))
        return Opened(good, problems)


def as_mapping(table: Table, row: Row[Any]) -> dict[str, Any]:
    """All columns of a row that `select(table)` found, by name."""
    return dict(zip(_columns(table), row, strict=True))


def is_row(table: Table, *key: str) -> list[ColumnElement[bool]]:
    """The condition for the row of this primary key."""
    return [column == part for column, part in zip(table.primary_key, key, strict=True)]


def _number(value: object) -> int:
    return value if isinstance(value, int) and 0 <= value < 1 << 63 else 0


def _identity(table: Table, values: Mapping[str, Value]) -> tuple[str, ...]:
    return tuple(str(values[name]) for name in _key_columns(table))


@lru_cache
def _columns(table: Table) -> tuple[str, ...]:
    return tuple(table.columns.keys())


@lru_cache
def _key_columns(table: Table) -> tuple[str, ...]:
    return tuple(column.name for column in table.primary_key)


@lru_cache
def _sealed_columns(table: Table) -> tuple[str, ...]:
    return tuple(column.name for column in table.columns if column.info.get("sealed"))


def _pinned(c: Connection) -> str:
    """What a login pinned (P18): the routes, and with them how the credential is put on requests."""
    routes = [(route.host, route.port, route.path) for route in c.routes]
    return json.dumps(routes if c.placement is None else {"routes": routes} | c.placement.to_json())


def _unpinned(text: str) -> tuple[tuple[Route, ...], Placement | None]:
    found = json.loads(text)
    whole = isinstance(found, dict)
    routes = tuple(Route(*route) for route in (found["routes"] if whole else found))
    return routes, Placement.from_json(found) if whole else None


def close_connection(rows: Rows, c: Connection) -> dict[str, Value]:
    """The row of a connection."""
    credential, grant = c.credential, c.grant
    values: dict[str, Value] = {
        "provider": c.provider,
        "name": c.name,
        "version": c.version,
        "is_default": int(c.is_default),
        "needs_login": int(c.needs_login),
        "flow": c.flow,
        "scopes": json.dumps(c.scopes),
        "routes": _pinned(c),
        "base_url": c.base_url,
        "account": c.account,
        "issuer": grant.issuer,
        "token_url": grant.token_url,
        "revocation_url": grant.revocation_url,
        "redirect_uri": grant.redirect_uri,
        "resource": grant.resource,
        "token_type": credential.token_type,
        "expires_at": _time(credential.expires_at),
        "obtained_at": _time(credential.obtained_at),
        "created_at": _time(c.created_at),
        "updated_at": _time(c.updated_at),
    }
    secrets = {
        "access_token": credential.access_token,
        "refresh_token": credential.refresh_token,
        "api_key": credential.api_key,
    }
    return rows.closed(schema.connections, values, secrets)


def open_connection(rows: Rows, row: Row[Any]) -> Connection:
    """The connection of a row. Raises VaultError."""
    secrets = rows.opened(schema.connections, row)
    routes, placement = _unpinned(row.routes)
    return Connection(
        provider=row.provider,
        name=row.name,
        flow=row.flow,
        is_default=bool(row.is_default),
        needs_login=bool(row.needs_login),
        scopes=tuple(json.loads(row.scopes)),
        routes=routes,
        placement=placement,
        base_url=row.base_url,
        account=row.account,
        grant=Grant(
            issuer=row.issuer,
            token_url=row.token_url,
            revocation_url=row.revocation_url,
            redirect_uri=row.redirect_uri,
            resource=row.resource,
        ),
        credential=Credential(
            access_token=secrets["access_token"],
            refresh_token=secrets["refresh_token"],
            api_key=secrets["api_key"],
            token_type=row.token_type,
            expires_at=row.expires_at,
            obtained_at=row.obtained_at,
        ),
        created_at=row.created_at,
        updated_at=row.updated_at,
        version=row.version,
    )


def close_client(rows: Rows, c: Client) -> dict[str, Value]:
    """The row of a client."""
    values: dict[str, Value] = {
        "issuer": c.issuer,
        "redirect_uri": c.redirect_uri,
        "version": c.version,
        "client_id": c.client_id,
        "auth_method": c.auth_method,
        "registered": int(c.registered),
        "secret_expires_at": _time(c.secret_expires_at),
        "registration_url": c.registration_url,
    }
    secrets = {"client_secret": c.client_secret, "registration_token": c.registration_token}
    return rows.closed(schema.clients, values, secrets)


def open_client(rows: Rows, row: Row[Any]) -> Client:
    """The client of a row. Raises VaultError."""
    secrets = rows.opened(schema.clients, row)
    return Client(
        issuer=row.issuer,
        redirect_uri=row.redirect_uri,
        client_id=row.client_id,
        client_secret=secrets["client_secret"],
        auth_method=row.auth_method,
        registered=bool(row.registered),
        secret_expires_at=row.secret_expires_at,
        registration_url=row.registration_url,
        registration_token=secrets["registration_token"],
        version=row.version,
    )


def close_authority(rows: Rows, a: StoredAuthority) -> dict[str, Value]:
    """The row of an interception CA."""
    values: dict[str, Value] = {"id": a.id, "certificate": a.certificate_pem, "created_at": _time(a.created_at)}
    return rows.closed(schema.authorities, values, {"private_key": a.private_key})


def open_authority(rows: Rows, row: Row[Any]) -> StoredAuthority:
    """The interception CA of a row. Raises VaultError."""
    key = rows.opened(schema.authorities, row)["private_key"]
    if key is None:
        raise VaultError(f"authorities {row.id} private_key: is missing")
    return StoredAuthority(row.id, row.certificate, key, row.created_at)


def close_run(rows: Rows, run: Run) -> dict[str, Value]:
    """The row of a run."""
    values: dict[str, Value] = {
        "id": run.id,
        "token_digest": run.token_digest,
        "pid": run.pid,
        "process_started": run.process_started,
        "command": run.command,
        "only": None if run.only is None else json.dumps(sorted(run.only)),
        "choices": json.dumps(run.choices),
        "started_at": _time(run.started_at),
        "ended_at": _time(run.ended_at),
    }
    return rows.closed(schema.runs, values)


def open_run(rows: Rows, row: Row[Any]) -> Run:
    """The run of a row. Raises VaultError."""
    rows.opened(schema.runs, row)
    return Run(
        id=row.id,
        token_digest=row.token_digest,
        pid=row.pid,
        process_started=row.process_started,
        command=row.command,
        only=None if row.only is None else frozenset(json.loads(row.only)),
        choices=json.loads(row.choices),
        started_at=row.started_at,
        ended_at=row.ended_at,
    )


def _time(seconds: float | None) -> float | None:
    """As the column gives it back: a whole number stored there returns as a float, and marks tell them apart."""
    return None if seconds is None else float(seconds)
