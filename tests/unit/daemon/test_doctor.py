"""What doctor says of [reveal]: a rule for a name that no provider has guards nothing, and is a problem."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from authsome.catalog.catalog import Catalog
from authsome.daemon.approvals import Approvals
from authsome.daemon.doctor import Check, _reveal, rules_for_nobody


def house(tmp_path: Path, rules: dict[str, str], connected: tuple[str, ...] = ()) -> Any:
    """As much of a house as these checks look at."""
    lender = SimpleNamespace(connections=lambda: [SimpleNamespace(provider=name) for name in connected])
    return SimpleNamespace(
        approvals=Approvals(rules, lambda _: None),
        catalog=Catalog(tmp_path / "providers"),
        broker=SimpleNamespace(lender=lender),
    )


def test_without_rules_there_is_nothing_to_say(tmp_path: Path) -> None:
    assert _reveal(house(tmp_path, {})) == []


def test_the_rules_in_force_are_listed(tmp_path: Path) -> None:
    rules = {"openai": "deny", "*": "ask"}
    assert _reveal(house(tmp_path, rules)) == [
        Check("reveal", True, "config.toml says who is shown credentials in clear: openai = deny, * = ask")
    ]


@pytest.mark.parametrize(
    ("name", "hint"),
    [("opena", "did you mean 'openai'?"), ("OpenAI", "did you mean 'openai'?"), ("qqqq", "authsome list")],
)
def test_a_misspelt_name_is_a_problem_with_a_hint(tmp_path: Path, name: str, hint: str) -> None:
    _, problem = _reveal(house(tmp_path, {name: "deny"}))
    assert problem.ok is False and repr(name) in problem.detail and "holds for nothing" in problem.detail
    assert problem.hint is not None and hint in problem.hint


def test_a_connection_whose_provider_file_is_gone_is_guarded_by_its_rule(tmp_path: Path) -> None:
    assert rules_for_nobody(house(tmp_path, {"gone": "deny"}, connected=("gone",))) == []
