"""Which files of CA certificates are replaced in isolation: no others of the person's, whatever a project says."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from authsome.cli.isolate import trusted
from authsome.errors import UsageError

BEGUN = "# Mozilla's\n-----BEGIN CERTIFICATE-----\n"


class Project:
    """A directory with a virtual environment in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.library = self.make("python3.12")

    def make(self, version: str) -> Path:
        """A directory of packages."""
        library = self.root / ".venv" / "lib" / version / "site-packages"
        (library / "certifi").mkdir(parents=True)
        return library

    def find(self) -> list[str]:
        """What is found in there."""
        every = trusted.find("true", {"PATH": "/nowhere", "HOME": "/nowhere"}, str(self.root))
        return [path for path in every if path.startswith(str(self.root.parent))]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    root = tmp_path.resolve() / "project"
    root.mkdir()
    return Project(root)


def test_a_bundle_is_found_by_its_real_path(project: Project) -> None:
    real = project.library / "certifi" / "real.pem"
    real.write_text(BEGUN)
    (project.library / "certifi" / "cacert.pem").symlink_to("real.pem")
    (project.library / "botocore").symlink_to("certifi")
    (project.root / ".venv" / "lib64").symlink_to("lib")
    assert project.find() == [str(real)]


@pytest.mark.parametrize("link", ["certifi/cacert.pem", "certifi"])
def test_a_link_of_a_project_replaces_no_file_outside_its_packages(project: Project, link: str) -> None:
    for place in (project.root, project.root.parent, Path(f"{project.library}-of-another")):
        place.mkdir(exist_ok=True)
        (place / "cacert.pem").write_text(BEGUN)
        path = project.library / link
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
        path.symlink_to(place / "cacert.pem" if link.endswith("pem") else place)
        assert path.exists() and project.find() == [], place


@pytest.mark.parametrize("content", ["", "root:x:0:0\n", "-----BEGIN OPENSSH PRIVATE KEY-----\n", "x" * 20_000 + BEGUN])
def test_what_does_not_begin_like_certificates_is_left_alone(project: Project, content: str) -> None:
    (project.library / "certifi" / "cacert.pem").write_text(content)
    assert project.find() == []


def test_a_pipe_in_the_place_of_a_bundle_is_not_waited_for(project: Project) -> None:
    os.mkfifo(project.library / "certifi" / "cacert.pem")
    assert project.find() == []
    with pytest.raises(UsageError, match="no regular file"):
        trusted.check_named(str(project.library / "certifi" / "cacert.pem"))


def test_a_project_with_many_pythons_is_not_searched_for_long(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(100, 140):
        (project.make(f"python3.{number}") / "certifi" / "cacert.pem").write_text(BEGUN)
    found = project.find()
    assert len(found) == 16 and found[0].endswith("python3.100/site-packages/certifi/cacert.pem")
    for number in range(5000):
        (project.root / ".venv" / "lib" / str(number)).touch()
    looked = watched(monkeypatch)
    project.find()
    assert max(looked) < 5000


def watched(monkeypatch: pytest.MonkeyPatch) -> Sequence[int]:
    """How many names each listing gave."""
    counts: list[int] = []
    real = os.scandir

    class Listing:
        def __init__(self, path: str) -> None:
            self._entries = real(path)

        def __enter__(self) -> "Listing":
            counts.append(0)
            return self

        def __exit__(self, *_: object) -> None:
            self._entries.close()

        def __iter__(self) -> "Listing":
            return self

        def __next__(self) -> os.DirEntry[str]:
            entry = next(self._entries)
            counts[-1] += 1
            return entry

    monkeypatch.setattr(os, "scandir", Listing)
    return counts


def test_a_huge_file_that_is_named_is_refused_and_not_read(project: Project) -> None:
    path = project.root / "own.pem"
    path.write_text(BEGUN)
    trusted.check_named(str(path))
    os.truncate(path, 64 << 30)
    with pytest.raises(UsageError, match=r"--trust-file .*own.pem: a file of CA certificates may have 8 MiB"):
        trusted.check_named(str(path))
