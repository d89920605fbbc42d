"""Sealing: AES-256-GCM under keys derived from the root key, each value bound to the place where it stands (P21).

The envelope is `format (1 byte) | key version (4) | nonce (12) | ciphertext and tag`, numbers in
network order. What is authenticated with it names vault, table, row, column and write, so that a value
opens nowhere but where it was put.
"""

import hmac
import json
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from authsome.errors import VaultError
from authsome.model.secret import Secret

FORMAT = 1
KEY_BYTES = 32
_HEAD = struct.Struct("!BI")
_NONCE = 12
_SHORTEST = _HEAD.size + _NONCE + 16

Value = str | int | float | bytes | None

# one text for one row: a number, a text and bytes that look alike stay apart
_ENCODER = json.JSONEncoder(
    ensure_ascii=False,
    sort_keys=True,
    allow_nan=False,
    separators=(",", ":"),
    default=lambda blob: {"bytes": blob.hex()},
)

LOST_HINT = "authsome logout and authsome login replace it, or restore vault.db from a backup"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a sealed value stands. `write` is the row's version: an older value of the same place is refused."""

    table: str
    row: tuple[str, ...]
    column: str
    write: int = 0

    def __str__(self) -> str:
        return f"{row_name(self.table, self.row)} {self.column}"


def row_name(table: str, row: tuple[str, ...]) -> str:
    """How errors name a row: `connections notion_dcr/work`. A damaged name is shown escaped."""
    parts = [part if part.isprintable() else ascii(part)[1:-1] for part in row]
    return f"{table} {(' ' if any('/' in part for part in parts) else '/').join(parts)}"


class Sealer:
    """Seals and opens values, and marks whole rows, under one root key for one vault.

    The root key itself encrypts nothing: one key for sealing and one for marks are derived from it
    (HKDF-SHA256, RFC 5869) with the vault's id as the salt. Under one sealing key random 96-bit nonces
    are good for 2^32 values (NIST SP 800-38D §8.3), far beyond what a vault writes in its life.
    """

    def __init__(self, root: bytes, vault_id: str, key_version: int = 1) -> None:
        if len(root) != KEY_BYTES:
            raise ValueError(f"a root key has {KEY_BYTES} bytes")
        self._head = _HEAD.pack(FORMAT, key_version)
        self._aead = AESGCM(_derive(root, vault_id, b"seal", key_version))
        self._mark_key = _derive(root, vault_id, b"mark", key_version)

    def seal(self, value: Secret, place: Place) -> bytes:
        """The envelope. Raises VaultError for text that is not Unicode."""
        try:
            clear = value.reveal().encode()
        except UnicodeEncodeError:
            raise VaultError(f"{place}: the value is not valid text") from None
        nonce = os.urandom(_NONCE)
        return self._head + nonce + self._aead.encrypt(nonce, clear, self._bound_to(place))

    def open(self, blob: bytes, place: Place) -> Secret:
        """The value. Raises VaultError naming the place: changed, cut, moved, or sealed by another version."""
        if not isinstance(blob, bytes) or len(blob) < _SHORTEST:
            raise VaultError(f"{place}: the sealed value is cut short", LOST_HINT)
        if blob[:1] > self._head[:1]:
            raise VaultError(f"{place}: sealed in format {blob[0]}, which this version does not know")
        if blob[: _HEAD.size] != self._head:
            raise VaultError(f"{place}: sealed with another key version, or damaged", LOST_HINT)
        nonce, sealed = blob[_HEAD.size : _HEAD.size + _NONCE], blob[_HEAD.size + _NONCE :]
        try:
            return Secret(self._aead.decrypt(nonce, sealed, self._bound_to(place)).decode())
        except (InvalidTag, UnicodeDecodeError):
            raise VaultError(f"{place}: the sealed value was changed, or belongs elsewhere", LOST_HINT) from None

    def mark(self, table: str, row: Mapping[str, Value]) -> bytes:
        """A MAC over the columns of a row, sealed or not, so that no column can be changed alone.

        The column `mark` itself and those that are NULL do not count: a column added later leaves older
        marks good. Raises VaultError for text that is not Unicode and for numbers that are none.
        """
        told = {name: value for name, value in row.items() if value is not None and name != "mark"}
        try:
            return hmac.digest(self._mark_key, f"{table} {_ENCODER.encode(told)}".encode(), "sha256")
        except ValueError:  # UnicodeEncodeError is one
            raise VaultError(f"{table}: a value is not valid text, or not a number") from None

    def _bound_to(self, place: Place) -> bytes:
        names = (place.table, *place.row, place.column)
        lengths = struct.pack(f"!QB{len(names)}I", place.write, len(names), *map(len, names))
        return self._head + lengths + "".join(names).encode("utf-8", "surrogatepass")


def _derive(root: bytes, vault_id: str, purpose: bytes, key_version: int) -> bytes:
    info = b"authsome vault %s %d" % (purpose, key_version)
    return HKDF(SHA256(), KEY_BYTES, vault_id.encode(), info).derive(root)
