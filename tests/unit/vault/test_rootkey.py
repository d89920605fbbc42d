import base64
import os
import shutil
from pathlib import Path

import pytest

from authsome.errors import VaultError
from authsome.settings import Settings
from authsome.vault.rootkey import KeySource
from authsome.vault.vault import Vault

from .samples import a_connection, content, stored

KEY = bytes(range(200, 232))
B64 = base64.b64encode(KEY).decode()


def in_use(settings: Settings) -> KeySource:
    vault = Vault.open(settings)
    try:
        assert vault.check() == []
        return vault.key_source
    finally:
        vault.close()


def refused(settings: Settings, *parts: str) -> VaultError:
    """Opening is refused with all of `parts` in what is said, and a hint; nothing in the home changes."""
    before = content(Path(settings.home))
    with pytest.raises(VaultError) as caught:
        Vault.open(settings)
    said = f"{caught.value.message} | {caught.value.hint}"
    assert all(part in said for part in parts), said
    assert caught.value.hint
    assert content(Path(settings.home)) == before
    return caught.value


@pytest.fixture
def lived_in(filed: Settings) -> Settings:
    """A vault in file mode with something in it."""
    vault = Vault.open(filed)
    vault.add_connection(a_connection())
    vault.close()
    return filed


@pytest.fixture
def key_file(lived_in: Settings) -> Path:
    return Path(lived_in.home, "root.key")


@pytest.mark.parametrize(
    "text",
    [B64, B64.rstrip("="), base64.urlsafe_b64encode(KEY).decode(), KEY.hex(), KEY.hex().upper(), f" {B64}\n"],
)
def test_the_environment_holds_the_key_as_base64_or_hex(settings, text):
    assert in_use(settings._replace(root_key=B64)) is KeySource.ENVIRONMENT
    assert in_use(settings._replace(root_key=text)) is KeySource.ENVIRONMENT


@pytest.mark.parametrize(
    "content",
    [B64, B64 + "\n", B64 + "\r\n", "\ufeff" + B64, "\ufeff" + KEY.hex() + "\r\n"],
)
def test_a_key_file_may_end_in_one_newline_and_begin_with_a_byte_order_mark(settings, tmp_path, content):  # V10
    file = tmp_path / "key"
    file.touch(mode=0o600)
    file.write_text(content, newline="")
    assert in_use(settings._replace(root_key=B64)) is KeySource.ENVIRONMENT
    assert in_use(settings._replace(root_key=None, root_key_file=str(file))) is KeySource.ENVIRONMENT


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("", "empty"),
        ("\n", "empty"),
        (base64.b64encode(KEY[:31]).decode(), "holds 31 bytes"),
        (base64.b64encode(KEY + b"!").decode(), "holds 33 bytes"),
        (KEY[:31].hex(), "bytes"),
        (KEY.hex() + "0", "base64 nor hex"),
        ("z" * 64, "base64 nor hex"),
        (B64[:20] + "\n" + B64[20:], "more than one line"),
        (B64 + "\n\n", "more than one line"),
        (f"{B64} ", "blanks"),
        (f"{B64}\n{B64}\n", "more than one line"),
        ("päßword", "base64 nor hex"),
    ],
)
def test_a_key_that_is_none_is_refused_with_its_place(lived_in, key_file, wrong, said):  # V10
    key_file.write_text(wrong, encoding="latin-1", newline="")
    refused(lived_in, str(key_file), "not text" if "ß" in wrong else said)
    if wrong.strip() and wrong.isascii() and wrong == wrong.strip():
        refused(lived_in._replace(root_key=wrong), "AUTHSOME_ROOT_KEY", said)


@pytest.mark.parametrize("wrong", [KEY, b"\0" * 45, B64.encode("utf-16")])
def test_bytes_that_are_no_text_are_refused(lived_in, key_file, wrong):  # V10
    key_file.write_bytes(wrong)
    refused(lived_in, str(key_file))


def test_the_key_of_another_vault_is_refused_and_both_stay(lived_in, key_file):  # V10
    right = key_file.read_bytes()
    key_file.write_text(B64)
    refused(lived_in, f"{key_file}: is not the root key of", "vault.db")
    refused(lived_in._replace(root_key=B64), "AUTHSOME_ROOT_KEY: is not the root key of")
    key_file.write_bytes(right)
    vault = Vault.open(lived_in)
    assert vault.connection("mock", "default") == stored(a_connection())
    vault.close()


def test_a_key_file_that_others_can_read_stops_the_start(lived_in, key_file):  # P11, V11
    for mode in (0o644, 0o640, 0o604, 0o660, 0o777):
        key_file.chmod(mode)
        refused(lived_in, str(key_file), f"others can read it (mode {mode:04o})", f"chmod 600 {key_file}")
    key_file.chmod(0o400)
    assert in_use(lived_in) is KeySource.FILE


def test_a_key_file_that_is_a_link_is_not_followed(lived_in, key_file, tmp_path):  # P11, V11
    key_file.rename(tmp_path / "elsewhere")
    key_file.symlink_to(tmp_path / "elsewhere")
    refused(lived_in, str(key_file), "symbolic link")
    key_file.unlink()
    os.link(tmp_path / "elsewhere", key_file)
    refused(lived_in, str(key_file), "hard link")


def test_a_key_file_that_is_a_directory_or_a_pipe_or_a_device_is_refused(lived_in, key_file, tmp_path):  # V10
    key_file.unlink()
    key_file.mkdir(mode=0o700)
    refused(lived_in, str(key_file), "not a plain file")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    refused(lived_in._replace(root_key_file=str(pipe)), str(pipe), "not a plain file")
    refused(lived_in._replace(root_key_file="/dev/zero"), "/dev/zero", "not a plain file")


def test_a_huge_key_file_is_refused_unread(lived_in, key_file):  # V10
    key_file.chmod(0o600)
    os.truncate(key_file, 10 * 2**30)
    with pytest.raises(VaultError, match="has 10737418240 bytes"):
        Vault.open(lived_in)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_key_file_of_another_user_is_refused(lived_in, key_file):  # V11
    os.chown(key_file, 4711, -1)
    refused(lived_in, str(key_file), "belongs to another user (uid 4711)")


def test_a_key_file_named_by_the_environment_must_be_there_and_absolute(settings):
    settings = settings._replace(root_key=None)
    with pytest.raises(VaultError, match="/nowhere/key: no such file"):
        Vault.open(settings._replace(root_key_file="/nowhere/key"))
    with pytest.raises(VaultError, match="key is not an absolute path"):
        Vault.open(settings._replace(root_key_file="key"))


def test_a_lost_key_is_named_and_never_made_anew(lived_in, key_file):
    kept = key_file.read_bytes()
    key_file.unlink()
    refused(lived_in, "the root key of this vault is not there", f"{key_file} is missing", "restore it")
    assert not key_file.exists()
    # the same key from another source is as good
    assert in_use(lived_in._replace(root_key=kept.decode().strip())) is KeySource.ENVIRONMENT


def test_a_key_that_is_missing_in_the_environment_is_named(settings, vault):
    vault.close()
    refused(settings._replace(root_key=None), "AUTHSOME_ROOT_KEY and AUTHSOME_ROOT_KEY_FILE are not set")


def test_a_lost_vault_is_never_replaced_by_an_empty_one(lived_in, key_file):  # V06
    path = Path(lived_in.home, "vault.db")
    path.rename(path.with_name("away"))
    refused(lived_in, f"{path}: is missing, but {key_file} is there: there was a vault", "restore")
    refused(lived_in._replace(root_key=B64), "there was a vault")
    path.with_name("away").rename(path)
    assert in_use(lived_in) is KeySource.FILE


@pytest.mark.parametrize("trace", ["vault.db-wal", "vault.db-journal", "vault.db.before-r0002"])
def test_what_a_lost_vault_left_behind_tells_of_it(settings, place, trace):  # V06
    place.mkdir(mode=0o700)
    (place / trace).write_bytes(b"x")
    refused(settings, f"vault.db: is missing, but {trace} is there")


def test_a_home_can_be_moved(lived_in, tmp_path):
    shutil.move(lived_in.home, tmp_path / "moved")
    vault = Vault.open(lived_in._replace(home=str(tmp_path / "moved")))
    assert vault.connection("mock", "default") == stored(a_connection())
    vault.close()


def test_the_key_is_shown_nowhere():
    from authsome.vault.rootkey import RootKey

    key = RootKey(KEY, KeySource.FILE, "here")
    assert repr(key) == "RootKey(source=<KeySource.FILE: 'file'>, where='here')"
    assert f"{key.text}" == "***"
