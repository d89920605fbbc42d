"""Runs: a token each, watched by pidfd, gone with their process (P4)."""

import asyncio
import hashlib
import logging
import os
import secrets
import shutil
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from authsome import run_mark
from authsome.broker.record import Recorder
from authsome.broker.store import Store
from authsome.daemon import processes
from authsome.daemon.bundle import write_run_files
from authsome.errors import AuthsomeError, NotAllowed
from authsome.model.event import RunEnded, RunStarted
from authsome.model.run import Run
from authsome.model.secret import Secret

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunWish:
    """What `authsome run` asks for. `roots` are files of CA certificates that the person's own tools trust."""

    pid: int
    command: str
    choices: dict[str, str]
    only: frozenset[str] | None
    roots: Sequence[str]
    scrub: bool = True


class Runs:
    """The live runs. `on_end` is told of each that ends, at once; it tells later how many requests were served."""

    on_end: Callable[[str], Awaitable[int]]

    def __init__(self, directory: Path, store: Store, recorder: Recorder) -> None:
        self._directory = directory
        self._store = store
        self._recorder = recorder
        self._by_digest: dict[bytes, Run] = {}
        self._watches: dict[str, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def of_token(self, digest: bytes) -> Run | None:
        """The live run that a token's SHA-256 belongs to."""
        return self._by_digest.get(digest)

    def live(self) -> list[Run]:
        """All of them."""
        return list(self._by_digest.values())

    def around(self, pid: int) -> str | None:
        """The id of the run whose process tree a process stands in, or that any of its ancestors was started in.

        A process that is gone, while somebody holds its connection, or that hides what it was started with,
        could be anybody's, and so could one that carries the mark of a run and nothing else: "unknown".
        """
        line = processes.ancestry(pid)
        blocks = [processes.environment(each) for each in line]
        if not blocks or blocks[0] is None:
            return "unknown"
        for run in self._by_digest.values():
            if run.pid in line:
                return run.id
        marks = (processes.variable(block, "AUTHSOME_RUN") for block in blocks if block is not None)
        left_tree = "unknown" if any(map(run_mark.is_on, line)) else None
        return next((mark for mark in marks if mark), left_tree)

    async def start(self, wish: RunWish, bundle: str) -> tuple[Run, Secret, Path]:
        """Begin a run for a live process of ours: the run, its token, its directory. Raises NotAllowed."""
        began = processes.started(wish.pid)
        if began is None:
            raise NotAllowed("the calling process cannot be seen", "start authsome on the machine itself")
        token = Secret(secrets.token_urlsafe(32))
        run = Run(
            id=secrets.token_hex(8),
            token_digest=hashlib.sha256(token.reveal().encode()).digest(),
            pid=wish.pid,
            process_started=began,
            command=wish.command,
            only=wish.only,
            choices=wish.choices,
            scrub=wish.scrub,
            started_at=time.time(),
        )
        directory = self._directory / run.id
        await asyncio.to_thread(write_run_files, directory, bundle, wish.roots)
        self._watch(run)
        self._later(self._store(lambda vault: vault.put_run(run)))
        self._recorder.record(RunStarted(at=run.started_at, run=run.id, pid=run.pid, command=run.command))
        return run, token, directory

    async def take_over(self) -> None:
        """After a restart: runs whose very process still lives go on, the rest are closed."""
        for run in await self._store(lambda vault: vault.open_runs()):
            if processes.started(run.pid) == run.process_started:
                self._watch(run)
            else:
                await self._store(lambda vault, gone=run.id: vault.end_run(gone, time.time()))  # type: ignore[misc]
        live = {run.id for run in self._by_digest.values()}
        await asyncio.to_thread(_sweep, self._directory, live)

    async def stop(self) -> None:
        """Stop watching. The runs stay open in the vault for the next daemon."""
        loop = asyncio.get_running_loop()
        for fd in self._watches.values():
            loop.remove_reader(fd)
            os.close(fd)
        self._watches.clear()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5)

    def _watch(self, run: Run) -> None:
        try:
            fd = os.pidfd_open(run.pid)
        except OSError:
            raise NotAllowed(f"process {run.pid} cannot be watched") from None
        self._by_digest[run.token_digest] = run
        self._watches[run.id] = fd
        asyncio.get_running_loop().add_reader(fd, self._ended, run)

    def _ended(self, run: Run) -> None:
        fd = self._watches.pop(run.id)
        asyncio.get_running_loop().remove_reader(fd)
        os.close(fd)
        self._by_digest.pop(run.token_digest, None)
        now = time.time()
        self._later(self._count(run, now, self.on_end(run.id)))
        self._later(self._store(lambda vault: vault.end_run(run.id, now)))
        self._later(asyncio.to_thread(shutil.rmtree, self._directory / run.id, ignore_errors=True))

    async def _count(self, run: Run, ended_at: float, requests: Awaitable[int]) -> None:
        self._recorder.record(RunEnded(at=ended_at, run=run.id, requests=await requests))

    def _later(self, work: Awaitable[None]) -> None:
        async def carry_out() -> None:
            try:
                await work
            except AuthsomeError as error:
                log.error("a run could not be kept in the vault: %s", error.message)

        task = asyncio.get_running_loop().create_task(carry_out())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _sweep(directory: Path, live: set[str]) -> None:
    """Remove what runs of an earlier daemon left behind."""
    for entry in directory.iterdir():
        if entry.is_dir() and not entry.is_symlink() and entry.name not in live:
            shutil.rmtree(entry, ignore_errors=True)
