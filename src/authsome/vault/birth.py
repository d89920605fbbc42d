"""The first start: a vault and its key come into being together, whatever moment the power fails at.

The database is built complete under the name `vault.db.new`; then its key is kept; then the database
takes its name. A key without a database therefore always means one of two things: a finished
`vault.db.new` that the key opens, which is put in its place, or a vault that got lost, which is never
replaced by an empty one.
"""

import logging
import os
import shlex
import sys
import time
from pathlib import Path

from authsome.errors import VaultError
from authsome.settings import Settings
from authsome.vault import files, identity, oskeyring, rootkey, schema, sqlite
from authsome.vault.rootkey import KeySource, RootKey
from authsome.vault.sqlite import Store

_log = logging.getLogger(__name__)


def vault_path(settings: Settings) -> Path:
    """The vault's file."""
    return Path(settings.home, "vault.db")


def give_birth(settings: Settings) -> None:
    """Makes the vault of this home, or finishes one; of several processes at once one does it.

    Raises VaultError, in particular where something says that there was a vault.
    """
    path = vault_path(settings)
    with files.alone(path.parent):
        if os.path.lexists(path):
            return
        lost = sqlite.traces(path)
        if lost:
            raise _lost(path, f"{lost[0]} is there", "move what is left of the old one away")
        given = rootkey.from_environment(settings)
        kept = rootkey.from_file(settings)
        if kept is not None:
            _finish(settings, kept, f"move {kept.where} away")
        elif given is not None:
            _make(settings, given, None)
        else:
            _with_keyring_or_file(settings)


def _with_keyring_or_file(settings: Settings) -> None:
    account = str(vault_path(settings).parent.resolve())
    try:
        held = rootkey.in_keyring(account, oskeyring.probe(account))
        if held is not None:
            forget = f"{sys.executable} -m keyring del {oskeyring.SERVICE} {shlex.quote(account)}"
            _finish(settings, held, forget)
            return
        _make(settings, RootKey.fresh(KeySource.KEYRING, rootkey.keyring_name(account)), account)
    except oskeyring.KeyringSilent as silent:
        path = rootkey.key_path(settings)
        _log.info("%s: the root key is kept in %s", silent.message, path)
        _make(settings, RootKey.fresh(KeySource.FILE, str(path)), None)


def _make(settings: Settings, key: RootKey, account: str | None) -> None:
    path = vault_path(settings)
    fresh = _fresh(path)
    store = Store.building(fresh)
    try:
        with store.writing() as connection:
            schema.create(connection)
            identity.establish(connection, key, account, time.time())
    finally:
        store.close()
    match key.source:
        case KeySource.FILE:
            rootkey.keep_in_file(settings, key)
        case KeySource.KEYRING:
            oskeyring.keep(account or "", key.text)
        case KeySource.ENVIRONMENT:
            pass  # whoever set it keeps it
    _name(fresh, path)


def _finish(settings: Settings, key: RootKey, anew: str) -> None:
    """The key was kept, the database has not got its name yet: or it is gone, and `anew` is how to do without it."""
    path = vault_path(settings)
    fresh = _fresh(path)
    if not os.path.lexists(fresh):
        raise _lost(path, f"{key.where} is there", anew)
    store = Store.existing(fresh)
    try:
        identity.recall(store).sealer(key, fresh)
    finally:
        store.close()
    _name(fresh, path)


def _fresh(path: Path) -> Path:
    return path.with_name(path.name + ".new")


def _name(fresh: Path, path: Path) -> None:
    try:
        files.sync(fresh)
        files.move(fresh, path)
        sqlite.remove(fresh)  # a log of the last look at it
    except OSError as error:
        raise files.failure(path, error) from error


def _lost(path: Path, sign: str, anew: str) -> VaultError:
    return VaultError(
        f"{path}: is missing, but {sign}: there was a vault",
        f"restore {path.name} from a backup; to begin with an empty one instead: {anew}",
    )
