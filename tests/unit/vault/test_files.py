import os
import stat
from pathlib import Path

import pytest

from authsome.errors import VaultError
from authsome.settings import Settings
from authsome.vault.vault import Vault

from .samples import a_connection, in_child, stored


def modes(home: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in (home, *home.iterdir())}


def test_everything_is_private_from_its_creation(filed, place, open_umask, monkeypatch):  # P11
    for name in ("chmod", "fchmod", "lchmod"):
        monkeypatch.setattr(os, name, lambda *a, name=name, **k: pytest.fail(f"os.{name} was called"), raising=False)
    monkeypatch.setattr(Path, "chmod", lambda *a, **k: pytest.fail("Path.chmod was called"))
    vault = Vault.open(filed._replace(home=str(place / "deep" / "home")))
    vault.add_connection(a_connection())
    vault.backup(str(place / "copy.db"))
    home = place / "deep" / "home"
    assert modes(home) == {
        "home": 0o700,
        "vault.db": 0o600,
        "vault.db-wal": 0o600,
        "vault.db-shm": 0o600,
        "root.key": 0o600,
    }
    assert modes(place) == {"home": 0o700, "deep": 0o700, "copy.db": 0o600}
    vault.close()


def test_no_file_is_open_to_others_even_for_a_moment(filed, place, open_umask):  # P11
    import sys

    seen: list[str] = []
    wrong: list[str] = []

    def watch(event: str, _: tuple[object, ...]) -> None:
        if event in ("os.rename", "os.remove", "sqlite3.connect", "open", "os.listdir") and place.is_dir():
            for path in place.glob("*"):
                seen.append(path.name)
                if path.lstat().st_mode & 0o077:
                    wrong.append(path.name)

    def work() -> None:
        sys.addaudithook(watch)
        vault = Vault.open(filed)
        vault.add_connection(a_connection())
        vault.close()
        assert {"vault.db.new", "root.key.new", "vault.db"} <= set(seen)
        assert not wrong, wrong

    assert in_child(work) == 0


@pytest.mark.parametrize(
    "name",
    ["vault.db", "vault.db-wal", "vault.db-shm", "vault.db-journal", "vault.db.new", "root.key", "root.key.new",
     "vault.db.new-journal", "vault.db.new-wal"],
)  # fmt: skip
@pytest.mark.parametrize("exists", [True, False])
def test_a_planted_link_is_not_followed(filed, place, tmp_path, name, exists):  # P11, V12
    target = tmp_path / "target"
    if exists:
        target.write_bytes(b"precious")
        target.chmod(0o600)
    place.mkdir(mode=0o700)
    (place / name).symlink_to(target)
    try:
        vault = Vault.open(filed)
        vault.add_connection(a_connection())
        vault.close()
    except VaultError as error:
        assert name in error.message
    else:
        assert not (place / name).is_symlink()
    assert target.exists() == exists
    assert not exists or target.read_bytes() == b"precious"


def test_a_copy_does_not_follow_a_planted_link(vault, place, tmp_path):  # V12
    target = tmp_path / "target"
    for name in ("copy.db", "copy.db.part"):
        (tmp_path / name).symlink_to(target)
    vault.backup(str(tmp_path / "copy.db"))
    assert not target.exists()
    assert not (tmp_path / "copy.db").is_symlink()


@pytest.mark.parametrize("name", ["vault.db", "vault.db-wal", "vault.db-shm"])
def test_links_planted_beside_a_vault_that_lives_are_refused(filed, place, tmp_path, name):  # V12
    Vault.open(filed).close()
    if name == "vault.db":
        (place / name).rename(tmp_path / "target")
    else:
        (tmp_path / "target").touch()
    (place / name).symlink_to(tmp_path / "target")
    with pytest.raises(VaultError, match=f"{name}: is a symbolic link"):
        Vault.open(filed)


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_a_home_that_others_can_write_to_is_refused(settings, place, mode):  # V11
    place.mkdir()
    place.chmod(mode)
    with pytest.raises(VaultError, match="others can write to it") as caught:
        Vault.open(settings)
    assert caught.value.hint == f"chmod 700 {place}"
    assert os.listdir(place) == []


def test_a_database_that_others_can_read_is_refused(settings, place, vault):  # P11
    vault.close()
    (place / "vault.db").chmod(0o644)
    with pytest.raises(VaultError, match=r"others can read it \(mode 0644\)"):
        Vault.open(settings)


def test_a_home_may_be_a_link_of_ones_own(settings, place, tmp_path):  # V11
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    place.symlink_to(tmp_path / "elsewhere")
    Vault.open(settings).close()
    assert os.listdir(tmp_path / "elsewhere") == ["vault.db"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_home_of_another_user_and_a_link_by_another_user_are_refused(settings, place, tmp_path):  # V11
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    place.symlink_to(tmp_path / "elsewhere")
    os.lchown(place, 4711, -1)
    with pytest.raises(VaultError, match=r"is a symbolic link made by another user \(uid 4711\)"):
        Vault.open(settings)
    os.lchown(place, 0, -1)
    os.chown(tmp_path / "elsewhere", 4711, -1)
    with pytest.raises(VaultError, match=r"belongs to another user \(uid 4711\)"):
        Vault.open(settings)
    assert os.listdir(tmp_path / "elsewhere") == []


@pytest.mark.parametrize("name", ["a b", "50%25", "what?mode=ro#x", "ünïcode", os.fsdecode(b"not utf-8 \xff")])
def test_a_home_may_have_any_name(filed, tmp_path, name):
    Vault.open(filed._replace(home=str(tmp_path / name))).close()
    Vault.open(filed._replace(home=str(tmp_path / name))).close()
    assert sorted(os.listdir(tmp_path / name)) == ["root.key", "vault.db"]
    assert os.listdir(tmp_path) == [name]


def test_a_home_that_is_a_file_is_refused(settings, place):
    place.touch()
    with pytest.raises(VaultError, match="home: is not a directory"):
        Vault.open(settings)
    with pytest.raises(VaultError, match="not a directory"):
        Vault.open(settings._replace(home=str(place / "deeper")))


def without_privileges(settings: Settings, directory: Path, work: object) -> int:
    """Runs `work` as a user whom permissions bind; the home goes with it."""

    def child() -> None:
        if os.geteuid() == 0:
            for path in (directory, *directory.rglob("*")):
                os.chown(path, 65534, 65534)
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
        work()

    return in_child(child)


@pytest.fixture
def reachable(tmp_path: Path) -> Path:
    """A directory that another user can reach: pytest's own cannot be."""
    import shutil
    import tempfile

    directory = Path(tempfile.mkdtemp())
    yield directory
    shutil.rmtree(directory)


@pytest.mark.parametrize("lived_in", [True, False])
def test_a_read_only_home_is_one_clear_error(settings, reachable, lived_in):  # V05
    settings = settings._replace(home=str(reachable / "home"))
    home = Path(settings.home)
    home.mkdir(mode=0o700)
    if lived_in:
        Vault.open(settings).close()

    def work() -> None:
        home.chmod(0o500)
        for path in home.iterdir():
            path.chmod(0o400)
        try:
            Vault.open(settings)
        except VaultError as error:
            assert str(home) in error.message
            assert error.hint
        else:
            raise AssertionError("a read-only home was opened")
        home.chmod(0o700)

    assert without_privileges(settings, reachable, work) == 0


def test_a_database_that_cannot_be_read_is_one_clear_error(settings, reachable):
    settings = settings._replace(home=str(reachable / "home"))
    Vault.open(settings).close()

    def work() -> None:
        Path(settings.home, "vault.db").chmod(0)
        with pytest.raises(VaultError, match=r"vault\.db: permission denied"):
            Vault.open(settings)

    assert without_privileges(settings, reachable, work) == 0


def test_a_copy_is_a_vault_of_its_own(vault, settings, place, tmp_path):  # P22
    vault.add_connection(a_connection())
    vault.backup(str(tmp_path / "copy.db"))
    vault.delete_connection("mock", "default")
    (tmp_path / "restored").mkdir(mode=0o700)
    (tmp_path / "copy.db").rename(tmp_path / "restored" / "vault.db")
    restored = Vault.open(settings._replace(home=str(tmp_path / "restored")))
    assert restored.connection("mock", "default") == stored(a_connection())
    assert restored.check() == []
    restored.close()


def test_a_copy_that_cannot_be_made_leaves_nothing(vault, tmp_path):
    (tmp_path / "copy.db").mkdir()
    with pytest.raises(VaultError, match=r"copy\.db"):
        vault.backup(str(tmp_path / "copy.db"))
    with pytest.raises(VaultError, match="nowhere"):
        vault.backup(str(tmp_path / "nowhere" / "copy.db"))
    assert not list(tmp_path.glob("*.part"))
