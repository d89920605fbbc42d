"""A part that runs as a process: says when it is ready, answers calls as JSON lines, and leaves when stdin closes."""

import contextlib
import json
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

Launch = Callable[[list[str], IO[bytes]], "subprocess.Popen[bytes]"]
PATIENCE = 60.0  # seconds to wait for an answer before the process is killed


class Child:
    """The process and the line to it. `ready` is the JSON object of its first line; `log` takes its stderr."""

    def __init__(self, argv: list[str], log: Path, launch: Launch | None = None) -> None:
        self.log = log
        self._turn = threading.Lock()
        with log.open("ab") as errors:
            self.process = (launch or _launch)(argv, errors)
        try:
            self.ready = self._read()
        except BaseException:
            self.stop()
            raise

    def call(self, name: str, argument: object = None) -> Any:
        """One question, one answer. Raises RuntimeError with the process's own message."""
        assert self.process.stdin is not None
        with self._turn:
            self.process.stdin.write(json.dumps({"call": name, "argument": argument}).encode() + b"\n")
            self.process.stdin.flush()
            answer = self._read()
        if "error" in answer:
            raise RuntimeError(f"{name}: {answer['error']}")
        return answer["answer"]

    def stop(self) -> None:
        """Close its stdin and wait; kill it, by its pid, only if it stays."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        watch = threading.Timer(PATIENCE, self.process.kill)
        watch.start()
        try:
            line = self.process.stdout.readline()
        finally:
            watch.cancel()
        if not line:
            raise RuntimeError(f"{self.process.args!r} ended: {self.log.read_text(errors='replace')[-2000:]}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def _launch(argv: list[str], errors: IO[bytes]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
