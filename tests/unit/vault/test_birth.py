import base64
import itertools
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import pytest

from authsome.errors import VaultError
from authsome.settings import Settings
from authsome.vault import birth, files, oskeyring, rootkey, sqlite
from authsome.vault.rootkey import KeySource
from authsome.vault.vault import Vault

from .samples import a_connection, content, in_child, stored

KEY = base64.b64encode(bytes(range(32))).decode()
FILES = {module.__file__ for module in (birth, files, sqlite, rootkey)}


def first_start(settings: Settings, at_line: Callable[[int], None]) -> int:
    """A first start in a process of its own, which calls `at_line` before each line of the code that makes files."""

    def work() -> None:
        count = itertools.count()

        def trace(frame: FrameType, event: str, _: object) -> object:
            if frame.f_code.co_filename not in FILES:
                return None
            if event == "line":
                at_line(next(count))
            return trace

        sys.settrace(trace)
        files.private_directory(Path(settings.home))
        birth.give_birth(settings)
        sys.settrace(None)

    return in_child(work)


def state(*places: Path) -> list[tuple[str, int]]:
    """What stands on the disk: the names, and how much is in each."""
    found = [path for place in places for path in (place, *place.rglob("*"))]
    return sorted((str(path), path.stat().st_size) for path in found if path.exists())


def cuts(settings: Settings, keyring: Path, notes: Path) -> list[int]:
    """The lines of a first start before which something on the disk has changed."""
    last: list[list[tuple[str, int]]] = []

    def at_line(line: int) -> None:
        now = state(Path(settings.home), keyring)
        if [now] != last:
            last[:] = [now]
            with notes.open("a") as file:
                file.write(f"{line} ")

    assert first_start(settings, at_line) == 0
    return [int(line) for line in notes.read_text().split()]


class Keyring:
    """Stands for the child process that asks the keyring: a file, or nothing that answers."""

    def __init__(self, file: Path | None) -> None:
        self.file = file

    def __call__(self, request: dict[str, str]) -> dict[str, object]:
        if self.file is None:
            raise oskeyring.KeyringSilent("no keyring")
        if request["verb"] == "keep":
            self.file.write_text(request["value"])
        return {"value": self.file.read_text()} if self.file.exists() else {}


def usable(settings: Settings) -> None:
    vault = Vault.open(settings)
    vault.add_connection(a_connection())
    vault.close()
    vault = Vault.open(settings)
    assert vault.connection("mock", "default") == stored(a_connection())
    assert vault.check() == []
    vault.close()


@pytest.mark.parametrize("source", KeySource)
def test_a_first_start_cut_anywhere_is_finished_by_the_next(tmp_path, monkeypatch, source):  # P24
    def fresh(name: str) -> tuple[Settings, Path]:
        keyring = tmp_path / f"keyring{name}"
        monkeypatch.setattr(oskeyring, "_ask", Keyring(keyring if source is KeySource.KEYRING else None))
        return Settings(home=str(tmp_path / name), root_key=KEY if source is KeySource.ENVIRONMENT else None), keyring

    seen: set[tuple[str, ...]] = set()
    for line in cuts(*fresh("whole"), tmp_path / "notes"):
        settings, keyring = fresh(f"home{line}")
        assert first_start(settings, lambda now, line=line: os._exit(9) if now == line else None) == 9
        left = os.listdir(settings.home) if os.path.exists(settings.home) else ["no home"]
        seen.add((*sorted(left), *(["in the keyring"] if keyring.exists() else [])))
        usable(settings)
        whole = ["root.key", "vault.db"] if source is KeySource.FILE else ["vault.db"]
        assert sorted(os.listdir(settings.home)) == whole, left
    # the cuts that matter were among them
    assert seen >= {("no home",), (), ("vault.db.new",)}
    match source:
        case KeySource.FILE:
            keeping = {("root.key.new", "vault.db.new"), ("root.key", "vault.db.new"), ("root.key", "vault.db")}
        case KeySource.KEYRING:
            keeping = {("vault.db.new", "in the keyring"), ("vault.db", "in the keyring")}
        case KeySource.ENVIRONMENT:
            keeping = {("vault.db",)}
    assert seen >= keeping


def test_a_database_that_the_kept_key_does_not_open_does_not_become_the_vault(filed, place):
    Vault.open(filed).close()
    (place / "vault.db").rename(place / "vault.db.new")
    (place / "root.key").write_text(KEY)
    before = content(place)
    with pytest.raises(VaultError, match=r"root\.key: is not the root key of .*vault\.db\.new"):
        Vault.open(filed)
    assert content(place) == before


def test_a_finished_database_gets_its_name_and_keeps_its_content(filed, place):
    vault = Vault.open(filed)
    vault.add_connection(a_connection())
    vault.close()
    (place / "vault.db").rename(place / "vault.db.new")
    vault = Vault.open(filed)
    assert vault.connection("mock", "default") == stored(a_connection())
    vault.close()
    assert sorted(os.listdir(place)) == ["root.key", "vault.db"]


@pytest.mark.parametrize("round", range(20))
def test_two_first_starts_at_once_make_one_vault(filed, place, round):  # V14
    ready, go = os.pipe()

    def start(name: str) -> None:
        os.read(ready, 1)
        vault = Vault.open(filed)
        vault.add_connection(a_connection(name))
        vault.close()

    results: list[int] = []
    threads = [threading.Thread(target=lambda n=n: results.append(in_child(lambda: start(n)))) for n in ("a", "b")]
    for thread in threads:
        thread.start()
    os.write(go, b"go")
    for thread in threads:
        thread.join()
    os.close(ready)
    os.close(go)
    assert results == [0, 0]
    vault = Vault.open(filed)
    assert [c.name for c in vault.connections()] == ["a", "b"]
    assert vault.check() == []
    vault.close()


def test_another_database_is_refused_for_now(settings):
    with pytest.raises(VaultError, match="another database than SQLite is not supported yet"):
        Vault.open(settings._replace(database_url="postgresql://x"))
