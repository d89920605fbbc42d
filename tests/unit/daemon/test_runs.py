"""Runs are watched: what ends a process ends its run, its token and its files (P4, X69)."""

import asyncio
import hashlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.requests import Request

from authsome.daemon import processes
from authsome.daemon.api.callers import pid_of
from authsome.daemon.runs import Runs, RunWish
from authsome.errors import NotAllowed
from authsome.model.event import RunEnded, RunStarted
from authsome.model.run import Run


@dataclass
class Kept:
    """The vault's part and the recorder's, as lists."""

    open: dict[str, Run] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)
    events: list[object] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)

    async def store(self, work: Callable[[Any], Any]) -> Any:
        return work(self)

    def put_run(self, run: Run) -> None:
        self.open[run.id] = run

    def end_run(self, run: str, _at: float) -> None:
        self.ended.append(run)

    def open_runs(self) -> list[Run]:
        return list(self.open.values())


@contextmanager
def process() -> Iterator["subprocess.Popen[bytes]"]:
    child = subprocess.Popen(["sleep", "60"])
    try:
        yield child
    finally:
        child.kill()
        child.wait()


def house(directory: Path, kept: Kept) -> Runs:
    runs = Runs(directory, kept.store, SimpleNamespace(record=kept.events.append))  # type: ignore[arg-type]

    async def seven() -> int:
        return 7

    runs.on_end = lambda run: kept.closed.append(run) or seven()
    return runs


def wish(pid: int) -> RunWish:
    return RunWish(pid=pid, command="sleep", choices={}, only=None, roots=())


async def eventually(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGHUP])
def test_the_end_of_a_process_ends_its_token_and_its_files(tmp_path: Path, number: signal.Signals) -> None:  # P4 X69
    async def play() -> None:
        kept = Kept()
        runs = house(tmp_path, kept)
        with process() as child:
            run, token, directory = await runs.start(wish(child.pid), "bundle")
            digest = hashlib.sha256(token.reveal().encode()).digest()
            assert runs.of_token(digest) == run
            assert any(directory.iterdir())
            child.send_signal(number)
            await eventually(lambda: runs.of_token(digest) is None)
            await eventually(lambda: not directory.exists() and kept.ended == [run.id])
        await runs.stop()
        assert kept.closed == [run.id]  # its tunnels
        started, ended = kept.events
        assert isinstance(started, RunStarted) and isinstance(ended, RunEnded)
        assert ended.requests == 7
        assert token.reveal() not in repr(kept.events)

    asyncio.run(play())


def test_the_next_start_keeps_what_lives_and_clears_the_rest_away(tmp_path: Path) -> None:  # X69
    async def play() -> None:
        kept = Kept()
        with process() as child:
            first = house(tmp_path, kept)
            run, token, directory = await first.start(wish(child.pid), "bundle")
            await first.stop()  # the daemon ends, the run does not
            gone = replace(run, id="gone", process_started=run.process_started - 1)  # its number is another's now
            kept.put_run(gone)
            (tmp_path / "gone").mkdir()
            (tmp_path / "gone" / "ca.pem").touch()
            (tmp_path / "link").symlink_to(directory)
            second = house(tmp_path, kept)
            await second.take_over()
            assert second.of_token(hashlib.sha256(token.reveal().encode()).digest()) == run
            assert any(directory.iterdir()) and (tmp_path / "link").is_symlink()
            assert not (tmp_path / "gone").exists()
            assert kept.ended == ["gone"]
            await second.stop()

    asyncio.run(play())


def test_a_process_that_is_not_there_gets_no_run(tmp_path: Path) -> None:
    async def play() -> None:
        with process() as child:
            pass
        with pytest.raises(NotAllowed):
            await house(tmp_path, Kept()).start(wish(child.pid), "bundle")

    asyncio.run(play())


@pytest.mark.parametrize("began", ["1", "None"])
def test_a_caller_whose_number_is_somebody_elses_by_now_is_nobody(began: str) -> None:  # P5
    def caller(began: str) -> int:
        return pid_of(Request({"type": "http", "client": (began, os.getpid())}))

    assert caller(str(processes.started(os.getpid()))) == os.getpid()
    assert caller(began) == 0
