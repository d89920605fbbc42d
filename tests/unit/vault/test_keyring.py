"""The keyring is asked by a child process; the keyrings here are `fake_keyring`'s."""

import json
import os
import sys
import time
from pathlib import Path

import pytest

import authsome
from authsome.errors import VaultError
from authsome.settings import Settings
from authsome.vault import oskeyring
from authsome.vault.rootkey import KeySource
from authsome.vault.vault import Vault

from .samples import a_connection, content, stored


class Keyring:
    """Chooses the keyring that children meet, and looks into it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
        self._monkeypatch = monkeypatch
        self.file = file
        monkeypatch.setenv("FAKE_KEYRING_FILE", str(file))
        paths = [Path(__file__).parent, Path(authsome.__file__).parent.parent]
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, paths)))
        self.use("Keeping")

    def use(self, name: str) -> None:
        self._monkeypatch.setenv("PYTHON_KEYRING_BACKEND", f"fake_keyring.{name}")

    @property
    def entries(self) -> dict[str, str]:
        return json.loads(self.file.read_text()) if self.file.exists() else {}


@pytest.fixture
def keyring(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Keyring:
    return Keyring(monkeypatch, tmp_path / "keyring.json")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The five seconds are a constant; the tests do not wait for them."""
    assert oskeyring.SECONDS == 5.0
    monkeypatch.setattr(oskeyring, "SECONDS", 0.7)


@pytest.fixture
def lived_in(filed: Settings, keyring: Keyring) -> Settings:
    """A vault in keyring mode with something in it."""
    vault = Vault.open(filed)
    assert vault.key_source is KeySource.KEYRING
    vault.add_connection(a_connection())
    vault.close()
    return filed


def refused(settings: Settings, *parts: str) -> None:
    before = content(Path(settings.home))
    with pytest.raises(VaultError) as caught:
        Vault.open(settings)
    said = f"{caught.value.message} | {caught.value.hint}"
    assert all(part in said for part in parts), said
    assert content(Path(settings.home)) == before


def test_a_keyring_that_works_holds_the_key_and_the_home_does_not(lived_in, keyring, place):
    assert sorted(os.listdir(place)) == ["vault.db"]
    assert list(keyring.entries) == [f"authsome {place}"]  # the probe is gone
    assert next(iter(keyring.entries.values())).encode() not in content(place)
    vault = Vault.open(lived_in)
    assert vault.key_source is KeySource.KEYRING
    assert vault.connection("mock", "default") == stored(a_connection())
    vault.close()
    assert "keyring" not in sys.modules


def test_a_key_file_is_used_before_a_keyring_is_even_imported(filed, keyring, impatient, monkeypatch):  # V28
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
    Vault.open(filed).close()
    monkeypatch.setattr(oskeyring, "_ask", lambda request: pytest.fail("the keyring was asked"))
    vault = Vault.open(filed)
    assert vault.key_source is KeySource.FILE
    vault.close()


@pytest.mark.parametrize(
    "name", ["Prompting", "Forgetting", "Locked", "Crashing", "Unsafe", "FullAtTheEnd", "NoSuchKeyring"]
)
def test_a_keyring_that_does_not_work_leaves_the_key_to_a_file(filed, keyring, impatient, place, name):  # V28
    keyring.use(name)
    vault = Vault.open(filed)
    assert vault.key_source is KeySource.FILE
    vault.add_connection(a_connection())
    vault.close()
    assert sorted(os.listdir(place)) == ["root.key", "vault.db"]
    vault = Vault.open(filed)
    assert vault.connection("mock", "default") == stored(a_connection())
    vault.close()


def test_a_prompt_that_nobody_answers_ends_and_makes_no_new_key(lived_in, keyring, impatient):  # V28
    keyring.use("Prompting")
    began = time.monotonic()
    refused(lived_in, "the keyring did not answer within", "unlock it", "AUTHSOME_ROOT_KEY_FILE")
    assert time.monotonic() - began < 60  # it would wait for ten minutes
    keyring.use("Keeping")
    Vault.open(lived_in).close()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Locked", "the keyring refused: KeyringLocked"),
        ("Crashing", "the keyring failed"),
        ("NoSuchKeyring", "the keyring failed"),
        ("Unsafe", "no keyring that keeps secrets safe"),
    ],
)
def test_a_keyring_that_fails_later_makes_no_new_key(lived_in, keyring, name, said):  # V28
    keyring.use(name)
    refused(lived_in, said)


def test_an_entry_that_is_gone_is_named(lived_in, keyring, place):
    keyring.file.write_text("{}")
    refused(lived_in, "the root key of this vault is not there", f"entry 'authsome' '{place}'")
    assert keyring.entries == {}


def test_an_entry_that_is_no_key_is_refused(lived_in, keyring, place):
    keyring.file.write_text(json.dumps({f"authsome {place}": "c2hvcnQ="}))
    refused(lived_in, f"'{place}': holds 5 bytes")


def test_a_lost_vault_is_not_replaced_while_the_keyring_holds_its_key(lived_in, keyring, place):  # V06
    before = keyring.entries
    (place / "vault.db").rename(place / "away")
    refused(lived_in, "vault.db: is missing, but the keyring's entry", f"-m keyring del authsome {place}")
    assert keyring.entries == before


def test_the_key_is_found_after_the_home_has_moved(lived_in, tmp_path):
    os.rename(lived_in.home, tmp_path / "moved")
    vault = Vault.open(lived_in._replace(home=str(tmp_path / "moved")))
    assert vault.connection("mock", "default") == stored(a_connection())
    vault.close()


def test_two_homes_have_two_entries(lived_in, keyring, tmp_path):
    Vault.open(lived_in._replace(home=str(tmp_path / "second"))).close()
    assert len(set(keyring.entries.values())) == 2


def test_a_key_from_the_environment_needs_no_keyring(settings, keyring, monkeypatch):  # V28
    monkeypatch.setattr(oskeyring, "_ask", lambda request: pytest.fail("the keyring was asked"))
    Vault.open(settings).close()
    Vault.open(settings).close()


def test_no_secret_is_an_argument_of_the_child(lived_in, keyring, monkeypatch):  # P23
    seen: list[object] = []
    popen = oskeyring.subprocess.Popen
    monkeypatch.setattr(oskeyring.subprocess, "Popen", lambda *a, **k: seen.append((a, k)) or popen(*a, **k))
    Vault.open(lived_in).close()
    assert len(seen) == 1
    assert next(iter(keyring.entries.values())) not in str(seen)
