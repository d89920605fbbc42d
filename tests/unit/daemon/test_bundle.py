"""The files of a run are written whole or not at all."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from authsome.broker.roots import MOST_BYTES
from authsome.daemon.api.runs import RunBody
from authsome.daemon.bundle import write_run_files
from authsome.errors import UsageError

OWN = "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n"


def test_every_file_of_the_persons_is_in_the_bundle(tmp_path: Path) -> None:
    roots = [tmp_path / f"{number}.pem" for number in range(18)]  # as many as there are variables
    for number, path in enumerate(roots):
        path.write_text(f"password {number}\n" + OWN.format(f"own{number:02}"))
    write_run_files(tmp_path / "run", "ours", [str(path) for path in (*roots, tmp_path / "gone")])
    held = (tmp_path / "run" / "ca.pem").read_text()
    assert all(OWN.format(f"own{number:02}") in held for number in range(18))
    assert "password" not in held and held.endswith("ours")
    with pytest.raises(ValidationError):
        RunBody(command="x", roots=["/own.pem"] * 65)


def test_a_run_whose_files_are_refused_leaves_none(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_text(OWN.format("A" * (MOST_BYTES // 2)))
    with pytest.raises(UsageError, match=r"two: the files of CA certificates have more than 8 MiB together"):
        write_run_files(tmp_path / "run", "ours", [str(tmp_path / "one"), str(tmp_path / "two")])
    assert not (tmp_path / "run").exists()
