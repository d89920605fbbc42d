"""The threat model's tables are true: each promise and each row is named by a test in every file that they give."""

import json
import re
import tokenize
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
_ROW = re.compile(r"\b(?:[WX]\d\d|P\d{1,2})\b")
_IN_NAME = re.compile(r"test_([wx]\d\d)_")
_FILE = re.compile(r"`([a-z0-9_/]+\.(?:py|json))`")


def claimed() -> dict[str, list[str]]:
    """The files of each row."""
    text = (TESTS.parent / "docs" / "threat-model.md").read_text()
    rows: dict[str, list[str]] = {}
    for line in re.findall(r"^\| ((?:[WX]\d\d|P\d).*) \|$", text, re.MULTILINE):
        ids, _, places = line.split(" | ")
        for row in _ROW.findall(ids):
            assert row not in rows, f"{row} stands in the table twice"
            rows[row] = _FILE.findall(places)
    return rows


def named(file: Path) -> set[str]:
    """The rows that a file names: in comments, docstrings and names of tests, in the names of vectors."""
    if file.suffix == ".json":
        return {row for case in json.loads(file.read_text()) for row in _ROW.findall(case.get("name", ""))}
    with file.open("rb") as source:
        tokens = list(tokenize.tokenize(source.readline))
    told = [token.string for token in tokens if token.type == tokenize.COMMENT or token.string.startswith('"""')]
    names = [token.string for token in tokens if token.type == tokenize.NAME]
    return {row for text in told for row in _ROW.findall(text)} | {
        row.upper() for name in names for row in _IN_NAME.findall(name)
    }


CLAIMED = claimed()


@pytest.mark.parametrize(("row", "files"), CLAIMED.items(), ids=CLAIMED)
def test_a_row_of_the_threat_model_is_named_where_it_is_said_to_be_tried(row: str, files: list[str]) -> None:
    assert files, f"{row} is tried nowhere"
    assert [file for file in files if row not in named(TESTS / file)] == []


def test_a_row_that_a_test_names_is_in_the_threat_model() -> None:
    files = [*TESTS.glob("unit/*/test_*.py"), *TESTS.glob("*/test_*.py"), *TESTS.glob("vectors/*.json")]
    rows = {row for file in files for row in named(file) if not row.startswith("P")}
    assert rows - CLAIMED.keys() == set()


def test_a_row_of_access_and_of_the_pages_is_the_name_of_a_test_against_the_real_daemon() -> None:
    names = {row.upper() for file in TESTS.glob("e2e/test_*.py") for row in _IN_NAME.findall(file.read_text())}
    wanted = {row for row in CLAIMED if row.startswith("W") or row >= "X60"}
    assert len(wanted) > 30
    assert wanted - names == set()
