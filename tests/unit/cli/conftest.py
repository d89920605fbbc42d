"""A home with a scripted daemon, and the command line called in this process."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from authsome.cli.main import main
from cli.daemon import FakeDaemon


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty home whose path is short enough for a socket."""
    home = Path(tempfile.mkdtemp(prefix="h"))
    for name in [name for name in os.environ if name.startswith("AUTHSOME_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AUTHSOME_HOME", str(home))
    yield home
    shutil.rmtree(home)


@pytest.fixture
def daemon(place: Path) -> Iterator[FakeDaemon]:
    """A daemon that runs in that home."""
    daemon = FakeDaemon(place)
    yield daemon
    daemon.close()


class Said:
    """What a command left behind."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status = status
        self.out = out
        self.err = err

    @property
    def json(self) -> dict[str, object]:
        """The one object on stdout."""
        body = json.loads(self.out)
        assert isinstance(body, dict)
        return body


class Caller:
    """`caller("get", "x")` runs a command line here."""

    def __init__(self, capfd: pytest.CaptureFixture[str]) -> None:
        self._capfd = capfd

    def __call__(self, *words: str) -> Said:
        self._capfd.readouterr()
        status = main(list(words))
        out, err = self._capfd.readouterr()
        return Said(status, out, err)


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str], place: Path) -> Caller:
    """The command line."""
    return Caller(capfd)
