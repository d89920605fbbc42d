"""The product as its owner has it: a home on disk, and the command line run as a process of its own."""

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from parts.command import Result, run
from parts.fakenet import FakeNet

PORTS = range(12000, 30000)  # below the ports that systems give out by themselves


@dataclass
class Home:
    """An AUTHSOME_HOME (`path`), the home directory of its owner (`user`), and where its command's output is kept.

    With `net`, all that uses it runs inside that private internet.
    """

    root: Path
    port: int
    net: FakeNet | None = None
    calls: int = field(default=0, init=False)

    @property
    def path(self) -> Path:
        """AUTHSOME_HOME."""
        return self.root / "home"

    @property
    def user(self) -> Path:
        """HOME, and the directory in which commands run."""
        return self.root / "user"

    @property
    def output(self) -> Path:
        """One file for each command that was run."""
        return self.root / "out"

    def environment(self) -> dict[str, str]:
        """All that a command finds in its environment: nothing of the developer's own."""
        return {
            "AUTHSOME_HOME": str(self.path),
            "AUTHSOME_PORT": str(self.port),
            "HOME": str(self.user),
            "LANG": "C.UTF-8",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "TMPDIR": str(self.root),
        }

    def left_over(self) -> list[int]:
        """The processes, by their pids, that still have this home in their environment (Linux)."""
        mark = f"AUTHSOME_HOME={self.path}".encode()
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if mark in path.read_bytes().split(b"\0"):
                    found.append(int(path.parent.name))
        return found

    def close(self) -> None:
        """Stop its daemon. AssertionError where that fails, or where any of its processes outlives it by 10 seconds."""
        try:
            stopped = Cli(self)("daemon", "stop") if (self.path / "run" / "daemon.sock").exists() else None
        finally:
            left = self._end_what_is_left()
        assert stopped is None or stopped.code == 0, str(stopped)
        assert not left, f"processes outlived the daemon: {left}"

    def _end_what_is_left(self) -> list[int]:
        ends = time.monotonic() + 10
        while (left := self.left_over()) and time.monotonic() < ends:
            time.sleep(0.05)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return left


class Cli:
    """Calls the installed console script: `cli("list").out`."""

    def __init__(self, home: Home) -> None:
        self.home = home

    def __call__(
        self,
        *arguments: str,
        env: dict[str, str] | None = None,
        stdin: str = "",
        timeout: float = 60,
        shows_secret: bool = False,
    ) -> Result:
        """Run it to its end. What it prints is searched for the canary, unless it is meant to show a secret."""
        result = run(self.argv(*arguments), self._environment(env), self.home.user, stdin, timeout)
        if not shows_secret:
            self.home.calls += 1
            (self.home.output / f"{self.home.calls:03}.txt").write_text(str(result))
        return result

    @contextlib.contextmanager
    def started(self, *arguments: str, env: dict[str, str] | None = None) -> Iterator["subprocess.Popen[str]"]:
        """Run it beside the test, with pipes to its stdin, stdout and stderr; it is ended with the block."""
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            self.argv(*arguments),
            env=self._environment(env),
            cwd=self.home.user,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            text=True,
            start_new_session=True,
        )
        with process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)

    def argv(self, *arguments: str) -> list[str]:
        """The whole command line, through the private internet's door where the home has one."""
        program = shutil.which("authsome", path=self.home.environment()["PATH"])
        assert program, "authsome is not installed beside this Python: make test"
        return self.home.net.command([program, *arguments], self.home.user) if self.home.net else [program, *arguments]

    def _environment(self, more: dict[str, str] | None) -> dict[str, str]:
        return self.home.environment() | (more or {})


def free_port() -> int:
    """A port that no other worker or run is likely to pick too, for programs that must be told one."""
    for port in random.sample(PORTS, 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no free port")
