"""What the owner can choose, and what no choice can make of the daemon."""

import re
from pathlib import Path

import pytest

from authsome.errors import UsageError
from authsome.settings import read_settings

ELSEWHERE = ["0.0.0.0", "::", "192.168.1.5", "example.com", "127.0.0.1.example.com", "127.1"]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own, and nothing of the developer's."""
    monkeypatch.setenv("AUTHSOME_HOME", str(tmp_path))
    monkeypatch.delenv("AUTHSOME_HOST", raising=False)
    return tmp_path


@pytest.mark.parametrize("host", ELSEWHERE)
def test_no_setting_opens_a_port_to_the_network(place: Path, monkeypatch: pytest.MonkeyPatch, host: str) -> None:  # P13
    (place / "config.toml").write_text(f'host = "{host}"\n')
    with pytest.raises(UsageError, match="is not a loopback address"):
        read_settings()
    (place / "config.toml").unlink()
    monkeypatch.setenv("AUTHSOME_HOST", host)
    with pytest.raises(UsageError, match="is not a loopback address"):
        read_settings()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_a_loopback_name_is_taken(place: Path, host: str) -> None:
    (place / "config.toml").write_text(f'host = "{host}"\n')
    assert read_settings().host == host


def test_the_keys_that_count_are_those_of_the_documentation(place: Path) -> None:
    (place / "config.toml").write_text('database_url = "postgresql://x"\n')
    with pytest.raises(UsageError, match="unknown key 'database_url'") as caught:
        read_settings()
    page = (Path(__file__).parents[3] / "docs" / "configuration.md").read_text()
    table = next(part for part in page.split("\n\n") if part.startswith("| variable |"))
    shown = [re.findall(r"`\[?(\w+)\]?`", row.split("|")[2]) for row in table.splitlines()[2:]]
    assert sorted(key for keys in shown for key in keys) == str(caught.value.hint).removeprefix("known keys: ").split(
        ", "
    )
