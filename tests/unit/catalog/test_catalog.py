"""The providers in force: bundled files, the owner's over them, hot, and one bad file alone."""

import os
import stat
from pathlib import Path

import pytest

from authsome.catalog.catalog import Catalog, Entry, Source
from authsome.catalog.reader import MAX_BYTES, write_provider
from authsome.errors import InvalidProviderFile, NotAllowed, ProviderExists, ProviderNotFound
from catalog.files import file


@pytest.fixture
def custom(tmp_path: Path) -> Path:
    """The owner's folder, empty."""
    path = tmp_path / "providers"
    path.mkdir(mode=0o700)
    return path


@pytest.fixture
def catalog(custom: Path) -> Catalog:
    return Catalog(custom)


def _problems(catalog: Catalog) -> dict[str, str]:
    return {bad.path: bad.message for bad in catalog.problems()}


def test_the_bundled_providers_are_there_sorted(catalog: Catalog) -> None:
    entries = catalog.entries()
    assert list(entries) == sorted(entries)
    assert {"notion_dcr", "notion", "github", "openai"} <= entries.keys()
    assert {entry.source for entry in entries.values()} == {Source.BUNDLED}
    assert catalog.get("notion_dcr") == entries["notion_dcr"]
    assert catalog.problems() == ()


def test_an_owner_without_a_folder_has_the_bundled_ones(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path / "nothing" / "here")
    assert catalog.get("notion_dcr").source is Source.BUNDLED
    assert catalog.problems() == ()


def test_the_override_recipe_of_the_page(catalog: Catalog, custom: Path) -> None:
    # authsome inspect notion_dcr > ~/.authsome/providers/notion_dcr.json
    bundled = catalog.get("notion_dcr").provider
    target = custom / "notion_dcr.json"
    target.write_text(write_provider(bundled))
    assert catalog.get("notion_dcr") == Entry(bundled, Source.CUSTOM)
    # edit scopes, base_url, or anything else
    target.write_text(target.read_text().replace('"scopes": []', '"scopes": ["read"]'))
    entry = catalog.entries()["notion_dcr"]
    assert entry.source is Source.CUSTOM
    assert entry.provider.oauth is not None
    assert entry.provider.oauth.scopes == ("read",)
    assert list(catalog.entries()).count("notion_dcr") == 1
    # and back
    target.unlink()
    assert catalog.get("notion_dcr") == Entry(bundled, Source.BUNDLED)


def test_a_changed_file_is_seen_even_in_the_same_instant_and_size(catalog: Catalog, custom: Path) -> None:
    for name in ["Aaa", "Bbb", "Ccc", "Ddd"] * 5:
        (custom / "sample.json").write_text(file(display_name=name))
        assert catalog.get("sample").provider.display_name == name


def test_a_change_back_in_time_is_seen(catalog: Catalog, custom: Path) -> None:
    path = custom / "sample.json"
    path.write_text(file(display_name="Aaa"))
    os.utime(path, ns=(0, 0))
    assert catalog.get("sample").provider.display_name == "Aaa"
    path.write_text(file(display_name="Bbb"))
    os.utime(path, ns=(0, 0))
    assert catalog.get("sample").provider.display_name == "Bbb"


def test_the_entries_given_out_are_the_callers_own(catalog: Catalog) -> None:
    catalog.entries().clear()
    assert "notion_dcr" in catalog.entries()


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("bad.json", b"{", "line 1, column 2: expecting property name enclosed in double quotes"),
        ("bad.json", b"", "line 1, column 1: expecting value"),
        ("bad.json", b"\xff", "not UTF-8 (byte 1)"),
        ("bad.json", b" " * (MAX_BYTES + 1), "the file has more than 256 KiB"),
        ("bad.json", file().encode(), "$.name: is 'sample', so the file has to be called sample.json"),
        ("bad.json", file(name="bad", flow="x").encode(), "$.flow: expected 'dcr_pkce', 'pkce' or 'api_key'"),
        ("Bad.json", file(name="bad").encode(), "the file's name is not a provider's"),
        ("b d.json", file().encode(), "the file's name is not a provider's"),
    ],
)
def test_a_bad_file_disables_itself_alone(catalog: Catalog, custom: Path, name: str, content: bytes, why: str) -> None:
    before = set(catalog.entries())
    (custom / "sample.json").write_text(file())
    (custom / name).write_bytes(content)
    assert set(catalog.entries()) == before | {"sample"}
    [(path, message)] = _problems(catalog).items()
    assert path == f"providers/{name}"
    assert message.startswith(why)


def test_a_bad_file_with_a_bundled_name_leaves_the_bundled_one_in_force(catalog: Catalog, custom: Path) -> None:
    (custom / "notion_dcr.json").write_text("{")
    assert catalog.get("notion_dcr").source is Source.BUNDLED
    assert list(_problems(catalog)) == ["providers/notion_dcr.json"]


def test_a_repaired_file_is_no_problem_any_more(catalog: Catalog, custom: Path) -> None:
    (custom / "sample.json").write_text("{")
    with pytest.raises(ProviderNotFound) as refused:
        catalog.get("sample")
    assert "providers/sample.json: line 1" in str(refused.value.hint)
    (custom / "sample.json").write_text(file())
    assert catalog.get("sample").source is Source.CUSTOM
    assert catalog.problems() == ()


def test_what_is_not_a_regular_file_is_not_read(catalog: Catalog, custom: Path, tmp_path: Path) -> None:  # P11, V12
    outside = tmp_path / "outside.json"
    outside.write_text(file(name="planted"))
    (custom / "planted.json").symlink_to(outside)
    (custom / "dangling.json").symlink_to(tmp_path / "nowhere")
    (custom / "loop.json").symlink_to(custom / "loop.json")
    (custom / "zero.json").symlink_to("/dev/zero")
    (custom / "folder.json").mkdir()
    os.mkfifo(custom / "pipe.json")
    assert "planted" not in catalog.entries()
    assert _problems(catalog) == {
        "providers/planted.json": "a symbolic link, which is not followed",
        "providers/dangling.json": "a symbolic link, which is not followed",
        "providers/loop.json": "a symbolic link, which is not followed",
        "providers/zero.json": "a symbolic link, which is not followed",
        "providers/folder.json": "not a regular file",
        "providers/pipe.json": "not a regular file",
    }


def test_other_files_in_the_folder_are_left_alone(catalog: Catalog, custom: Path) -> None:
    for name in ("notes.txt", "sample.json~", ".sample.json.swp", ".hidden.json", "sample.JSON"):
        (custom / name).write_text("{")
    assert catalog.problems() == ()


def test_an_odd_file_name_is_shown_without_its_oddities(catalog: Catalog, custom: Path) -> None:  # P16
    (custom / "a\x1b[2J\u202e.json").write_text("{}")
    Path(os.fsdecode(os.fsencode(custom) + b"/\xff.json")).write_text("{}")
    assert list(_problems(catalog)) == ["providers/?.json", "providers/a?[2J?.json"]


def test_a_folder_that_is_a_file_or_a_link_is_one_problem(tmp_path: Path, custom: Path) -> None:  # P11
    (custom / "sample.json").write_text(file())
    link, plain = tmp_path / "link", tmp_path / "plain"
    link.symlink_to(custom)
    plain.write_text("")
    assert _problems(Catalog(link)) == {"link": "a symbolic link, which is not followed"}
    assert _problems(Catalog(plain)) == {"plain": "not a directory"}
    assert "sample" not in Catalog(link).entries()
    assert "notion_dcr" in Catalog(plain).entries()


def test_a_folder_that_becomes_unusable_leaves_in_force_what_was_read(catalog: Catalog, custom: Path) -> None:
    (custom / "github.json").write_text(file(name="github"))
    assert catalog.get("github").source is Source.CUSTOM
    custom.rename(custom.with_name("elsewhere"))
    custom.write_text("")
    assert catalog.get("github").source is Source.CUSTOM
    assert _problems(catalog) == {"providers": "not a directory"}


def test_a_bad_bundled_file_is_a_problem_and_hides_no_other(custom: Path, tmp_path: Path) -> None:
    bundled = tmp_path / "bundled"
    bundled.mkdir()
    (bundled / "good.json").write_text(file(name="good"))
    (bundled / "bad.json").write_text("{")
    (bundled / "other.json").write_text(file(name="good"))
    catalog = Catalog(custom, bundled)
    assert list(catalog.entries()) == ["good"]
    assert list(_problems(catalog)) == ["bundled/bad.json", "bundled/other.json"]


def test_a_name_that_is_nearly_right_is_guessed(catalog: Catalog, custom: Path) -> None:
    (custom / "sample.json").write_text(file())
    near = {"githubb": "github", "gihub": "github", "opnai": "openai", "notion-dcr": "notion_dcr", "sampel": "sample"}
    for asked, meant in near.items():
        with pytest.raises(ProviderNotFound) as refused:
            catalog.get(asked)
        assert refused.value.hint == f"did you mean '{meant}'?"


@pytest.mark.parametrize("name", ["nope", "none", "nap"])
def test_a_name_that_is_far_from_all_is_not_guessed(tmp_path: Path, name: str) -> None:
    with pytest.raises(ProviderNotFound) as refused:
        Catalog(tmp_path / "providers").get(name)
    assert refused.value.hint == "authsome list shows every provider"


def test_a_file_of_ones_own_that_cannot_be_used_is_not_passed_over_at_a_login(catalog: Catalog, custom: Path) -> None:
    (custom / "github.json").write_text(file(name="github", colour="red"))
    assert catalog.get("github").source is Source.BUNDLED  # what is connected goes on
    with pytest.raises(InvalidProviderFile) as refused:
        catalog.sound("github")
    assert refused.value.message == "providers/github.json: $.colour: unknown key"
    (custom / "github.json").unlink()
    assert catalog.sound("github").source is Source.BUNDLED


@pytest.mark.parametrize("name", ["", "..", "../providers/sample", "a/b", "\x1b[2J", "x\x00", "\u202e", "x" * 5000])
def test_an_impossible_name_is_not_found_and_not_echoed_raw(catalog: Catalog, custom: Path, name: str) -> None:  # P16
    (custom / "sample.json").write_text(file())
    for call in (catalog.get, catalog.remove):
        with pytest.raises(ProviderNotFound) as refused:
            call(name)
        assert refused.value.message.isprintable()
        assert len(refused.value.message) < 500


# ── register and remove ────────────────────────────────────────────────────────────────────────


def test_a_registered_file_is_in_force_and_kept_as_it_was_written(catalog: Catalog, custom: Path) -> None:  # P11
    before = os.umask(0)
    try:
        entry = catalog.install(text := file())
    finally:
        os.umask(before)
    assert entry == catalog.get("sample")
    assert entry.source is Source.CUSTOM
    path = custom / "sample.json"
    assert path.read_text() == text
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(custom) == ["sample.json"]


def test_the_folder_is_made_private_when_it_is_needed(tmp_path: Path) -> None:  # P11
    catalog = Catalog(tmp_path / "providers")
    before = os.umask(0)
    try:
        catalog.install(file().encode())
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "providers").stat().st_mode) == 0o700


def test_an_invalid_file_is_not_registered(catalog: Catalog, custom: Path) -> None:
    with pytest.raises(InvalidProviderFile, match=r"provider file: \$\.flow"):
        catalog.install(file(flow="x"))
    assert os.listdir(custom) == []


def test_a_name_that_is_taken_needs_force(catalog: Catalog, custom: Path) -> None:
    catalog.install(file())
    with pytest.raises(ProviderExists):
        catalog.install(file(display_name="New"))
    with pytest.raises(ProviderExists) as refused:
        catalog.install(file(name="github"))
    assert "--force" in str(refused.value.hint)
    assert catalog.install(file(display_name="New"), force=True).provider.display_name == "New"
    assert catalog.install(file(name="github"), force=True).source is Source.CUSTOM


def test_a_bad_file_of_that_name_counts_as_taken(catalog: Catalog, custom: Path) -> None:
    (custom / "sample.json").write_text("{ my edits")
    with pytest.raises(ProviderExists):
        catalog.install(file())
    assert (custom / "sample.json").read_text() == "{ my edits"


def test_a_planted_link_is_replaced_not_followed(catalog: Catalog, custom: Path, tmp_path: Path) -> None:  # P11, V12
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (custom / "sample.json").symlink_to(victim)
    with pytest.raises(ProviderExists):
        catalog.install(file())
    catalog.install(file(), force=True)
    assert victim.read_text() == "precious"
    assert not (custom / "sample.json").is_symlink()


def test_a_folder_that_cannot_be_written_is_a_clear_refusal(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    with pytest.raises(NotAllowed, match=r"plain/sample\.json cannot be written: "):
        Catalog(tmp_path / "plain").install(file())


def test_a_failed_write_leaves_nothing_behind(catalog: Catalog, custom: Path) -> None:
    (custom / "sample.json").mkdir()
    with pytest.raises(NotAllowed):
        catalog.install(file(), force=True)
    assert os.listdir(custom) == ["sample.json"]


def test_removing_a_custom_file_brings_the_bundled_one_back(catalog: Catalog, custom: Path) -> None:
    catalog.install(file(name="github"), force=True)
    assert catalog.remove("github") == catalog.get("github")
    assert catalog.get("github").source is Source.BUNDLED
    catalog.install(file())
    assert catalog.remove("sample") is None
    assert os.listdir(custom) == []


def test_a_bundled_provider_stays(catalog: Catalog) -> None:
    with pytest.raises(NotAllowed):
        catalog.remove("github")
    with pytest.raises(ProviderNotFound):
        catalog.remove("nowhere")


def test_a_bad_file_can_be_removed(catalog: Catalog, custom: Path) -> None:
    (custom / "sample.json").write_text("{")
    assert catalog.remove("sample") is None
    assert catalog.problems() == ()
