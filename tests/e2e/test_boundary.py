"""Whoever leaves a run's process tree, or cleans its environment, still counts as a part of it (P5, level B)."""

import sys
import time
from pathlib import Path

import pytest
from parts.canary import Canary
from parts.product import Cli

KEY = "sk-proj-{}"

# Leaves the session and the tree, forgets the environment, and calls as anybody would.
DESERTER = """
import os, subprocess, sys, time
program, home, port, out, wait, text, *rest = sys.argv[1:]
lowered = rest[0] if rest else ""
clean = {"PATH": os.environ["PATH"], "AUTHSOME_HOME": home, "AUTHSOME_PORT": port, "HOME": "/"}
if wait != "deserted":
    if os.fork():
        while wait == "root-lives" and not os.path.exists(out):
            time.sleep(0.02)
        os._exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)
    os.execve(sys.executable, [sys.executable, "-c", text, program, home, port, out, "deserted", text, wait], clean)
if lowered == "limit-lowered":
    import resource
    resource.setrlimit(resource.RLIMIT_MSGQUEUE, (4096, 4096))
time.sleep(0.5)
asked = subprocess.run([program, "export", "openai"], env=clean, capture_output=True, text=True, stdin=-3)
with open(out + ".part", "w") as file:
    file.write(f"{asked.returncode} {asked.stdout}{asked.stderr}")
os.rename(out + ".part", out)
"""


@pytest.mark.parametrize("wait", ["root-lives", "root-is-gone", "limit-lowered"])
def test_a_deserter_is_recognised(cli: Cli, canary: Canary, tmp_path: Path, wait: str) -> None:
    cli("login", "openai", "--stdin", stdin=KEY.format(canary.secret)).ok()
    program, out = cli.argv("x")[0], tmp_path / "out"
    environment = cli.home.environment()
    argv = [program, environment["AUTHSOME_HOME"], environment["AUTHSOME_PORT"], str(out), wait, DESERTER]
    cli("run", "--", sys.executable, "-c", DESERTER, *argv).ok()
    deadline = time.monotonic() + 10
    while not out.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    code, said = out.read_text().split(" ", 1)
    assert code != "0" and canary.secret not in said
    assert "inside a run" in said
