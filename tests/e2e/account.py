"""Whose command line it is: that of whoever runs the tests, or of an ordinary user where root runs them."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from parts.canary import Canary
from parts.command import Result, run
from parts.fakenet import FakeNet
from parts.machine import MISSING, need
from parts.product import Cli, Home, free_port

import authsome

UID = 1234
# A checkout below /tmp is out of sight in an isolated run, like everything there.
CHECKOUT = Path(authsome.__file__).parents[2]
SEEN = (f"--allow-read={CHECKOUT}",) if CHECKOUT.is_relative_to("/tmp") else ()
NAMES = ("own", "ordinary") if os.geteuid() == 0 else ("own",)


class Account(Cli):
    """A command line inside the private internet, with a project's directory. `cli("list")` stands in HOME."""

    def __init__(self, home: Home, net: FakeNet, name: str) -> None:
        super().__init__(home)
        self.net = net
        self.name = name
        self.project = home.root / "project"
        self.python = sys.executable
        self.more: dict[str, str] = {}

    @property
    def program(self) -> list[str]:
        """What starts authsome."""
        return [self.python, "-m", "authsome"]

    def argv(self, *arguments: str) -> list[str]:
        """As `Cli.argv`, by the account's user."""
        return self.command([*self.program, *arguments], self.home.user)

    def command(self, argv: Sequence[str], cwd: Path) -> list[str]:
        """Any command, by the account's user. `env` in between, for who becomes another keeps the right to one exec."""
        if self.name == "ordinary":
            argv = ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "env", *argv]
        return self.net.command(argv, cwd)

    def environment(self, more: dict[str, str] | None = None) -> dict[str, str]:
        """What a command of the account finds."""
        return self._environment({**self.more, **(more or {})})

    def _environment(self, more: dict[str, str] | None) -> dict[str, str]:
        return super()._environment({**self.more, **(more or {})})

    def at_project(self, *argv: str, env: dict[str, str] | None = None, timeout: float = 120) -> Result:
        """Run a command line of authsome's, standing in the project."""
        command = self.command([*self.program, *argv], self.project)
        return run(command, self.environment(env), self.project, timeout=timeout)

    def isolated(self, *argv: str, options: Sequence[str] = (), env: dict[str, str] | None = None) -> Result:
        """Run a command in isolation, standing in the project."""
        return self.at_project("run", "--isolate", *SEEN, *options, "--", *argv, env=env)

    def owns(self, *paths: Path) -> None:
        """Hand files over to the account's user."""
        owner = self.home.root.stat()
        for path in paths:
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)

    def usable(self, program: str) -> str:
        """A program that the account's user may start: this one, or the system's of that name. Skips without one."""
        for path in (program, shutil.which(os.path.basename(program), path="/usr/local/bin:/usr/bin:/bin") or ""):
            argv = self.command([path, "--version"], self.home.root)
            if path and subprocess.run(argv, env=self.environment(), capture_output=True, check=False).returncode == 0:
                return path
        pytest.skip(f"{MISSING}: {os.path.basename(program)} (none that an ordinary user may start)")

    def find_python(self) -> bool:
        """Whether there is a Python that the user may start: the tests' own, or the system's of the same version."""
        library = next(path for path in sys.path if path.endswith("site-packages"))
        source = Path(authsome.__file__).parents[1]
        system = f"/usr/bin/python3.{sys.version_info.minor}"
        for python, more in ((sys.executable, {}), (system, {"PYTHONPATH": f"{source}:{library}"})):
            self.python, self.more = python, more
            argv = self.command([python, "-c", "import authsome.daemon.daemon"], self.home.root)
            if subprocess.run(argv, env=self.environment(), capture_output=True, check=False).returncode == 0:
                return True
        return False


@contextlib.contextmanager
def account(name: str, net: FakeNet, canary: Canary) -> Iterator[Account]:
    """An account with an empty home; skips where there can be none."""
    need("setpriv", "isolation")
    root = Path(tempfile.mkdtemp(prefix="iso", dir="/var/tmp"))  # /tmp is another one in an isolated run
    try:
        home = Home(root, free_port(), net)
        made = Account(home, net, name)
        for path in (home.user, home.output, made.project):
            path.mkdir()
        if name == "ordinary":
            root.chmod(0o755)
            for path in (root, *root.iterdir()):
                os.chown(path, UID, UID)
        if not made.find_python():
            pytest.skip(f"{MISSING}: a Python that an ordinary user may start")
        yield made
        made("daemon", "stop").ok()
        ends = time.monotonic() + 10
        while home.left_over() and time.monotonic() < ends:
            time.sleep(0.05)
        assert not home.left_over()
        search = Canary()  # at once, for the directory goes
        search.secret = canary.secret
        search.watch(home.path)
        search.watch(home.output)
        assert not search.leaks()
    finally:
        shutil.rmtree(root, ignore_errors=True)
