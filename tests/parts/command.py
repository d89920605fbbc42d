"""Runs a command as a person would: its output and exit code, and no process of it left when it takes too long."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Result:
    """How a command ended. `code` is negative for a signal, as in subprocess."""

    argv: Sequence[str]
    code: int
    out: str
    err: str

    def ok(self) -> "Result":
        """Itself; AssertionError with all it printed where it failed."""
        assert self.code == 0, str(self)
        return self

    def __str__(self) -> str:
        return f"{' '.join(self.argv)} -> {self.code}\n--- out\n{self.out}\n--- err\n{self.err}"


def run(
    argv: Sequence[str],
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str = "",
    timeout: float = 60,
) -> Result:
    """Run to the end. AssertionError after `timeout` seconds; the command's process group is then killed."""
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        argv,
        env=env,
        cwd=cwd,
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        out, err = process.communicate(stdin, timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out = err = "(held open by a process that it started)"
        with contextlib.suppress(subprocess.TimeoutExpired):
            out, err = process.communicate(timeout=5)
        raise AssertionError(f"still running after {timeout} s: {Result(argv, -9, out, err)}") from None
    return Result(argv, process.returncode, out, err)
