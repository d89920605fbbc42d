"""The root key: where it comes from, and when a source is refused.

In order: the environment, `root.key` in the home, the operating system's keyring. Which of them a new
vault takes is decided in `birth`; here an existing key is found, read and checked.
"""

import base64
import binascii
import os
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from authsome.errors import VaultError
from authsome.model.secret import Secret
from authsome.settings import Settings
from authsome.vault import oskeyring
from authsome.vault.files import read_private, write_private
from authsome.vault.seal import KEY_BYTES

FILE_NAME = "root.key"
_LARGEST_FILE = 1024
_FORMS = f"expected {KEY_BYTES} bytes as base64 or hex; head -c {KEY_BYTES} /dev/urandom | base64 makes one"


class KeySource(StrEnum):
    """Where a root key is kept."""

    FILE = "file"
    KEYRING = "keyring"
    ENVIRONMENT = "environment"


@dataclass(frozen=True, slots=True)
class RootKey:
    """The key, and in words where it came from, for errors."""

    material: bytes = field(repr=False)
    source: KeySource
    where: str

    @classmethod
    def fresh(cls, source: KeySource, where: str) -> "RootKey":
        """A new random key."""
        return cls(os.urandom(KEY_BYTES), source, where)

    @property
    def text(self) -> Secret:
        """How it is written down: base64."""
        return Secret(base64.b64encode(self.material).decode())


def key_path(settings: Settings) -> Path:
    """The key file of the home."""
    return Path(settings.home, FILE_NAME)


def from_environment(settings: Settings) -> RootKey | None:
    """AUTHSOME_ROOT_KEY, else the file that AUTHSOME_ROOT_KEY_FILE names. Raises VaultError."""
    if settings.root_key is not None:
        where = "AUTHSOME_ROOT_KEY"
        return RootKey(_parse(settings.root_key.strip(), where), KeySource.ENVIRONMENT, where)
    if settings.root_key_file is None:
        return None
    path = Path(settings.root_key_file)
    if not path.is_absolute():
        raise VaultError(f"AUTHSOME_ROOT_KEY_FILE: {path} is not an absolute path")
    try:
        return RootKey(_read(path), KeySource.ENVIRONMENT, str(path))
    except FileNotFoundError:
        raise VaultError(f"{path}: no such file", "AUTHSOME_ROOT_KEY_FILE names it") from None


def from_file(settings: Settings) -> RootKey | None:
    """`root.key` of the home, None where there is none. Raises VaultError."""
    path = key_path(settings)
    try:
        return RootKey(_read(path), KeySource.FILE, str(path))
    except FileNotFoundError:
        return None


def from_keyring(account: str) -> RootKey | None:
    """What the keyring holds for this account. Raises VaultError, after five seconds at the latest."""
    return in_keyring(account, oskeyring.read(account))


def in_keyring(account: str, found: oskeyring.Found) -> RootKey | None:
    """An answer of the keyring as a key. Raises VaultError."""
    if found.value is None:
        return None
    where = keyring_name(account)
    return RootKey(_parse(found.value.reveal(), where), KeySource.KEYRING, where)


def keyring_name(account: str) -> str:
    """How errors name an entry of the keyring."""
    return f"the keyring's entry {oskeyring.SERVICE!r} {account!r}"


def find(settings: Settings, source: KeySource, account: str | None) -> RootKey:
    """The key of a vault that exists; never a new one.

    `source` and `account` are what the vault remembers of its making: the keyring is asked only
    where it was the source. Raises VaultError saying what is missing and what next.
    """
    key = from_environment(settings) or from_file(settings)
    if key is None and source is KeySource.KEYRING and account is not None:
        key = from_keyring(account)
    if key is not None:
        return key
    match source:
        case KeySource.FILE:
            lost, again = f"{key_path(settings)} is missing", "restore it from a backup"
        case KeySource.KEYRING:
            lost, again = f"{keyring_name(account or '')} is missing", f"restore it, or put the key into {FILE_NAME}"
        case KeySource.ENVIRONMENT:
            lost, again = "AUTHSOME_ROOT_KEY and AUTHSOME_ROOT_KEY_FILE are not set", "set the one it was made with"
    raise VaultError(f"the root key of this vault is not there: {lost}", f"{again}; the vault was left as it is")


def keep_in_file(settings: Settings, key: RootKey) -> None:
    """Writes `root.key`, whole or not at all. Raises VaultError."""
    write_private(key_path(settings), key.text.reveal().encode() + b"\n")


def _read(path: Path) -> bytes:
    content = read_private(path, _LARGEST_FILE)
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise VaultError(f"{path}: is UTF-16 text", "save it as plain ASCII")
    content = content.removeprefix(b"\xef\xbb\xbf")
    try:
        text = content.decode("ascii")
    except UnicodeDecodeError:
        raise VaultError(f"{path}: is not text", _FORMS) from None
    return _parse(text.removesuffix("\n").removesuffix("\r"), str(path))


def _parse(text: str, where: str) -> bytes:
    """32 bytes as hex, or as base64 of either alphabet with or without padding."""
    if not text:
        raise VaultError(f"{where}: is empty", _FORMS)
    if not text.isascii() or not text.isprintable() or " " in text:
        raise VaultError(f"{where}: holds more than one line, or blanks", _FORMS)
    try:
        if len(text) == 2 * KEY_BYTES:
            return bytes.fromhex(text)
        plain = text.rstrip("=").replace("-", "+").replace("_", "/")
        key = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (ValueError, binascii.Error):
        raise VaultError(f"{where}: is neither base64 nor hex", _FORMS) from None
    if len(key) != KEY_BYTES:
        raise VaultError(f"{where}: holds {len(key)} bytes", _FORMS)
    return key
