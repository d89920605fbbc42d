"""What a plain command loads: the start-up budget depends on it."""

import os
import subprocess
import sys

import pytest

from cli.daemon import FakeDaemon

HEAVY = {
    "click", "rich", "argparse", "subprocess", "pathlib", "http", "urllib", "dataclasses", "asyncio", "ssl", "email",
    "inspect", "typing_extensions", "pydantic", "logging", "select", "tempfile", "shutil",
}  # fmt: skip
# The standard library's own `socket` needs this one.
ALLOWED = {"select"}


@pytest.mark.parametrize(
    "words",
    [["get", "x", "--field", "status"], ["export"], ["list"], ["whoami"], ["run", "--only", "x", "--", "true"]],
    ids=lambda words: words[0],
)
def test_a_plain_command_loads_nothing_heavy(daemon: FakeDaemon, words: list[str]) -> None:
    daemon.answer("GET /connections/x/fields/status", {"value": "connected"})
    daemon.answer("POST /exports", {"variables": [], "skipped": []})
    daemon.answer("GET /providers", {"providers": [], "problems": []})
    daemon.answer("GET /whoami", {})
    daemon.answer(
        "POST /runs",
        {"run": "r", "proxy": "http://p", "ca_bundle": "c", "directory": "d", "placeholders": {}, "hosts": []},
    )
    script = (
        "import sys; before = set(sys.modules); import os\n"
        "from authsome.cli.main import main\n"
        "def report(*_): os.write(2, ' '.join(set(sys.modules) - before).encode()); os._exit(0)\n"
        f"os.execve = report; main({words!r}); report()"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-S", "-c", script]
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in said.stderr.split()}
    assert "authsome" in loaded, said.stderr
    assert "authsome.cli.isolate" not in said.stderr
    assert loaded & (HEAVY - ALLOWED) == set()
