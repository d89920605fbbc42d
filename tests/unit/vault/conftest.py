"""A home of its own for every test, without the keyring of whoever runs them."""

import base64
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from authsome.settings import Settings
from authsome.vault.vault import Vault

KEY = base64.b64encode(bytes(range(32))).decode()


@pytest.fixture(autouse=True)
def no_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    """The keyring of this machine stays out of it."""
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where the home is going to be."""
    return tmp_path / "home"


@pytest.fixture
def settings(place: Path) -> Settings:
    """Settings with a root key from the environment, the quickest to open."""
    return Settings(home=str(place), root_key=KEY)


@pytest.fixture
def filed(place: Path) -> Settings:
    """Settings with which the root key is a file of the home, as on a machine without a keyring."""
    return Settings(home=str(place))


@pytest.fixture
def vault(settings: Settings) -> Iterator[Vault]:
    """A new vault."""
    vault = Vault.open(settings)
    yield vault
    vault.close()


@pytest.fixture
def open_umask() -> Iterator[None]:
    """The umask of somebody who thinks that everything is everybody's."""
    before = os.umask(0)
    yield
    os.umask(before)
