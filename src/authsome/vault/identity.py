"""What a vault is: its id, where its key is kept, and the check that tells a wrong key from damage."""

import hashlib
import json
import uuid
from dataclasses import dataclass

from sqlalchemy import Connection, select

from authsome.errors import VaultError
from authsome.model.secret import Secret
from authsome.vault import schema
from authsome.vault.rootkey import KeySource, RootKey
from authsome.vault.seal import Place, Sealer
from authsome.vault.sqlite import RESTORE_HINT, Store

_KNOWN_TEXT = Secret("the root key is right")
_FIRST_KEY_VERSION = 1


@dataclass(frozen=True, slots=True)
class Identity:
    """The one row of the table `vault`, without the ledger."""

    id: str
    created_at: float
    key_version: int
    key_source: KeySource
    key_account: str | None
    key_check: bytes

    @property
    def checksum(self) -> bytes:
        """Tells damage to this row from a wrong key; keeps nobody from forging it, which the key check does."""
        told = [self.id, self.created_at, self.key_version, self.key_source, self.key_account, self.key_check.hex()]
        return hashlib.sha256(json.dumps(told).encode()).digest()

    def sealer(self, key: RootKey, path: object) -> Sealer:
        """The sealer of this vault. Raises VaultError where it is another vault's key."""
        sealer = Sealer(key.material, self.id, self.key_version)
        try:
            sealer.open(self.key_check, _check_place(self.id))
        except VaultError:
            raise VaultError(
                f"{key.where}: is not the root key of {path}",
                f"it was made with a key from the {self.key_source.value}; both were left as they are",
            ) from None
        return sealer


def establish(connection: Connection, key: RootKey, account: str | None, now: float) -> None:
    """Writes the row of a new vault."""
    vault_id = uuid.uuid4().hex
    sealer = Sealer(key.material, vault_id, _FIRST_KEY_VERSION)
    check = sealer.seal(_KNOWN_TEXT, _check_place(vault_id))
    told = Identity(vault_id, now, _FIRST_KEY_VERSION, key.source, account, check)
    connection.execute(
        schema.vault.insert().values(
            id=told.id,
            created_at=told.created_at,
            key_version=told.key_version,
            key_source=told.key_source.value,
            key_account=told.key_account,
            key_check=told.key_check,
            checksum=told.checksum,
            ledger=Ledger(sealer, vault_id).sealed({}),
        )
    )


def recall(store: Store) -> Identity:
    """The row as it is stored. Raises VaultError where it is missing or damaged."""
    columns = [c for c in schema.vault.columns if c.name != "ledger"]
    with store.reading() as connection:
        found = connection.execute(select(*columns)).all()
    problem = VaultError(f"{store.path}: the row that tells what the vault is, is damaged", RESTORE_HINT)
    if len(found) != 1:
        raise problem
    row = found[0]
    try:
        told = Identity(
            row.id, row.created_at, row.key_version, KeySource(row.key_source), row.key_account, row.key_check
        )
        if told.checksum != row.checksum:
            raise problem
    except (ValueError, TypeError, AttributeError):
        raise problem from None
    return told


def _check_place(vault_id: str) -> Place:
    return Place("vault", (vault_id,), "key_check")


class Ledger:
    """Which connections there are, and the start of each one's mark, sealed as one value (V07).

    Every row is bound to its place; the ledger tells when a row is missing, or an older copy of it was
    put back. What it cannot tell is a whole older file.
    """

    def __init__(self, sealer: Sealer, vault_id: str) -> None:
        self._sealer = sealer
        self._place = Place("vault", (vault_id,), "ledger")
        self._last: tuple[bytes, dict[str, str]] = (b"", {})

    def sealed(self, entries: dict[str, str]) -> bytes:
        """The entries as the column holds them."""
        return self._sealer.seal(Secret(json.dumps(entries)), self._place)

    def read(self, connection: Connection, *, for_update: bool = False) -> dict[str, str]:
        """The entries, `provider/name` to the start of the mark; to be changed in a copy. Raises VaultError."""
        query = select(schema.vault.c.ledger)
        blob = connection.execute(query.with_for_update() if for_update else query).scalar_one()
        if blob != self._last[0]:
            self._last = (blob, json.loads(self._sealer.open(blob, self._place).reveal()))
        return self._last[1]

    def write(self, connection: Connection, entries: dict[str, str]) -> None:
        """Replaces the entries, within the caller's transaction."""
        connection.execute(schema.vault.update().values(ledger=self.sealed(entries)))
