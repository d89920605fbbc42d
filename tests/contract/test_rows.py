"""The threat model's table of attacks is true: each row is named by a test in every file that the table gives."""

import json
import re
import tokenize
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
_ROW = re.compile(r"\bX\d\d\b")
_FILE = re.compile(r"`([a-z0-9_/]+\.(?:py|json))`")


def claimed() -> dict[str, list[str]]:
    """The files of each row."""
    text = (TESTS.parent / "docs" / "threat-model.md").read_text()
    rows: dict[str, list[str]] = {}
    for line in re.findall(r"^\| (X\d\d.*) \|$", text, re.MULTILINE):
        ids, _, places = line.split(" | ")
        for row in _ROW.findall(ids):
            assert row not in rows, f"{row} stands in the table twice"
            rows[row] = _FILE.findall(places)
    return rows


def named(file: Path) -> set[str]:
    """The rows that a file names: in comments of a test file, in the names of vectors."""
    if file.suffix == ".json":
        return {row for case in json.loads(file.read_text()) for row in _ROW.findall(case.get("name", ""))}
    with file.open("rb") as source:
        comments = [token.string for token in tokenize.tokenize(source.readline) if token.type == tokenize.COMMENT]
    return {row for comment in comments for row in _ROW.findall(comment)}


CLAIMED = claimed()


@pytest.mark.parametrize(("row", "files"), CLAIMED.items(), ids=CLAIMED)
def test_a_row_of_the_threat_model_is_named_where_it_is_said_to_be_tried(row: str, files: list[str]) -> None:
    assert files, f"{row} is tried nowhere"
    assert [file for file in files if row not in named(TESTS / file)] == []


def test_a_row_that_a_test_names_is_in_the_threat_model() -> None:
    files = [*TESTS.glob("unit/*/test_*.py"), *TESTS.glob("*/test_*.py"), *TESTS.glob("vectors/*.json")]
    assert set().union(*map(named, files)) - CLAIMED.keys() == set()
