import os

import pytest

from authsome.errors import VaultError
from authsome.model.secret import Secret
from authsome.vault.seal import Place, Sealer, row_name

ROOT = bytes(range(32))
PLACE = Place("connections", ("notion_dcr", "work"), "access_token", 3)


def sealer(root: bytes = ROOT, vault: str = "v1", key_version: int = 1) -> Sealer:
    return Sealer(root, vault, key_version)


@pytest.mark.parametrize("text", ["", "x", "t\0ken", "ünïcode 🔑", "a" * 100_000])
def test_what_is_sealed_opens_to_the_same(text):
    assert sealer().open(sealer().seal(Secret(text), PLACE), PLACE).reveal() == text


def test_the_same_value_never_seals_to_the_same_bytes():
    assert len({sealer().seal(Secret("x"), PLACE) for _ in range(1000)}) == 1000


def test_the_envelope_is_format_key_version_nonce_and_ciphertext():
    blob = sealer(key_version=7).seal(Secret("token"), PLACE)
    assert blob[:5] == b"\x01\x00\x00\x00\x07"
    assert len(blob) == 5 + 12 + len("token") + 16


def test_every_flipped_bit_is_refused_with_the_place():  # P21, V08
    blob = sealer().seal(Secret("token"), PLACE)
    for bit in range(len(blob) * 8):
        flipped = bytearray(blob)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(VaultError, match=r"^connections notion_dcr/work access_token: "):
            sealer().open(bytes(flipped), PLACE)


def test_every_truncation_and_extension_is_refused():  # P21
    blob = sealer().seal(Secret("token"), PLACE)
    for changed in [blob[:n] for n in range(len(blob))] + [blob + b"\0", blob + blob]:
        with pytest.raises(VaultError, match="connections notion_dcr/work access_token"):
            sealer().open(changed, PLACE)


@pytest.mark.parametrize(
    "other",
    [
        Place("clients", ("notion_dcr", "work"), "access_token", 3),
        Place("connections", ("notion_dcr", "home"), "access_token", 3),
        Place("connections", ("notion_dcrw", "ork"), "access_token", 3),
        Place("connections", ("notion_dcr",), "workaccess_token", 3),
        Place("connections", ("notion_dcr", "work"), "refresh_token", 3),
        Place("connections", ("notion_dcr", "work"), "access_token", 2),
    ],
)
def test_a_value_opens_in_its_own_place_only(other):  # P21, V07
    blob = sealer().seal(Secret("token"), PLACE)
    with pytest.raises(VaultError, match="was changed, or belongs elsewhere"):
        sealer().open(blob, other)


@pytest.mark.parametrize("other", [sealer(root=os.urandom(32)), sealer(vault="v2"), sealer(key_version=2)])
def test_another_key_another_vault_and_another_key_version_do_not_open_it(other):  # V07, P25
    blob = sealer().seal(Secret("token"), PLACE)
    with pytest.raises(VaultError, match="connections notion_dcr/work access_token"):
        other.open(blob, PLACE)


def test_a_format_of_the_future_is_named():
    blob = b"\x02" + sealer().seal(Secret("token"), PLACE)[1:]
    with pytest.raises(VaultError, match="format 2, which this version does not know"):
        sealer().open(blob, PLACE)


def test_no_error_shows_the_value():
    with pytest.raises(VaultError) as caught:
        sealer().seal(Secret("half a pair \ud800"), PLACE)
    assert "half a pair" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1}, {"a": 1.0}),
        ({"a": 1}, {"a": "1"}),
        ({"a": b"1"}, {"a": "31"}),
        ({"a": b"1"}, {"a": '{"bytes":"31"}'}),
        ({"a": "x", "b": "y"}, {"a": 'x","b":"y'}),
        ({"a": "x"}, {"b": "x"}),
        ({"a": ""}, {"a": None}),
    ],
)
def test_two_rows_that_differ_have_two_marks(one, other):  # P21
    assert sealer().mark("t", one) != sealer().mark("t", other)


def test_a_column_that_is_null_does_not_change_the_mark():
    assert sealer().mark("t", {"a": 1}) == sealer().mark("t", {"b": None, "a": 1, "mark": b"old"})


def test_a_mark_belongs_to_a_table_a_vault_and_a_key():
    marks = [sealer().mark("t", {}), sealer().mark("u", {}), sealer(vault="v2").mark("t", {})]
    assert len({*marks, sealer(root=os.urandom(32)).mark("t", {})}) == 4


def test_a_number_that_is_none_is_not_marked():
    with pytest.raises(VaultError, match="not a number"):
        sealer().mark("t", {"a": float("nan")})


def test_a_damaged_name_cannot_move_the_cursor():  # P16
    assert row_name("connections", ("no\x1btion", "wörk")) == "connections no\\x1btion/wörk"
