"""Hostile code in a run, plain and isolated, as root and as an ordinary user (P5). `make attacks` writes the table."""

import json
import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from e2e.account import NAMES, SEEN, Account, account
from e2e.attacks import ATTEMPTS
from parts.canary import Canary
from parts.fakenet import ADDRESS, FakeNet
from parts.product import free_port

pytestmark = pytest.mark.isolation  # by make isolation: not every machine allows namespaces within namespaces

THREATS = Path(__file__).parents[2] / "docs" / "threat-model.md"
BEGIN, END = "<!-- attacks: begin -->\n", "<!-- attacks: end -->\n"
KEY = "sk-proj-{}abcdefgh"

# What a plain run holds against all the same (level B)
HELD_BY_B = {"the credential by the command line", "the cloud's metadata"}


@contextmanager
def outside(who: Account, aims: dict[str, object], file: Path) -> Iterator[None]:
    """Services of the same user, outside of any run, and another run."""
    ready = Path(str(aims["ready"]))
    script = str(who.project / "attacks.py")
    env = who.environment({"OUTSIDE": str(aims["outside_secret"])})
    services = subprocess.Popen(who.command([who.python, script, "serve", str(file)], who.project), env=env)
    said = who.home.root / "other"
    other = subprocess.Popen(
        who.command([*who.program, "run", "--", "sh", "-c", f"echo $HTTPS_PROXY > {said}; exec cat"], who.project),
        env=who.environment(),
        stdin=subprocess.PIPE,
    )
    assert other.stdin is not None
    try:
        ends = time.monotonic() + 20
        while not (ready.exists() and ready.read_text() and said.exists() and said.read_text()):
            assert time.monotonic() < ends, "the services did not start"
            time.sleep(0.05)
        aims["outside"] = int(ready.read_text())
        aims["other_proxy"] = said.read_text().strip()
        yield
    finally:
        ready.unlink(missing_ok=True)
        other.stdin.close()
        services.wait(10)
        other.wait(10)


@pytest.fixture(scope="module", params=NAMES)
def reached(request: pytest.FixtureRequest, internet: FakeNet, canary: Canary) -> dict[str, dict[str, bool]]:
    """For each attempt whether it led anywhere, in a plain run and in an isolated one."""
    internet.reset()
    with account(request.param, internet, canary) as who:
        return attacked(who, internet, canary)


def attacked(who: Account, net: FakeNet, canary: Canary) -> dict[str, dict[str, bool]]:
    net.add_host("rebinding.example.com", "127.0.0.1")
    net.add_host("front.example.com")
    home = who.home
    who("login", "openai", "--stdin", stdin=KEY.format(canary.secret)).ok()
    (home.path / "victim").touch()
    for path, text in ((home.user / ".ssh" / "id_test", "a key"), (home.user / ".bashrc", "")):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    (home.root / "service").mkdir()
    shutil.copy(Path(__file__).parent / "attacks.py", who.project)
    shutil.copy(net.ca, who.project / "ca.pem")
    who.owns(home.user / ".ssh", *home.user.rglob("*"), home.root / "service", home.path / "victim")
    aims: dict[str, object] = {
        "home": str(home.path),
        "here": str(home.root),
        "person": str(home.user),
        "ssh_key": str(home.user / ".ssh" / "id_test"),
        "program": who.program,
        "port": home.port,
        "daemon": json.loads(who("daemon", "status", "--json").ok().out)["pid"],
        "tcp": free_port(),
        "udp": free_port(),
        "abstract": secrets.token_hex(8),
        "agent": str(home.user / ".ssh" / "agent.sock"),
        "service": str(home.root / "service" / "s.sock"),
        "outside_secret": secrets.token_hex(8),
        "ready": str(home.root / "ready"),
        "address": ADDRESS,
        "evil": "evil.example.com",
        "allowed": "front.example.com",
        "rebinding": "rebinding.example.com",
        "ca": str(who.project / "ca.pem"),
    }
    file = who.project / "aims.json"
    file.write_text(json.dumps(aims))
    found = {}
    with outside(who, aims, file):
        for name, options in (
            ("plain", []),
            ("isolated", ["--isolate", *SEEN, "--allow-host=front.example.com", "--allow-host=rebinding.example.com"]),
        ):
            file.write_text(json.dumps(aims | {"plain": name == "plain"}))
            (home.path / "victim").touch()
            command = [who.python, "attacks.py", "attack", "aims.json"]
            env = {"SSH_AUTH_SOCK": str(aims["agent"])}
            said = who.at_project("run", *options, "--", *command, env=env).ok().out
            results = [json.loads(line) for line in said.splitlines()]
            print(name, *(f"{r['attempt']}: {r['why']}" for r in results), sep="\n  ")
            found[name] = {each["attempt"]: each["reached"] for each in results}
            assert found[name].keys() == ATTEMPTS.keys()
    return found


def test_nothing_is_reached_from_an_isolated_run(reached: dict[str, dict[str, bool]]) -> None:  # X80
    assert len(ATTEMPTS) > 25
    assert [name for name, success in reached["isolated"].items() if success] == []


def test_a_plain_run_holds_what_level_b_promises(reached: dict[str, dict[str, bool]]) -> None:
    plain = reached["plain"]
    assert [name for name in HELD_BY_B if plain[name]] == []
    # an attempt that never leads anywhere would prove nothing
    assert sum(plain.values()) > 25


def test_the_threat_model_has_this_table(reached: dict[str, dict[str, bool]], request: pytest.FixtureRequest) -> None:
    before, begins, rest = THREATS.read_text().partition(BEGIN)
    table, ends, after = rest.partition(END)
    assert begins and ends, "the table has lost its place"
    if os.environ.get("WRITE_ATTACKS"):
        if request.node.callspec.params["reached"] != NAMES[-1]:
            return
        table = written(reached)
        THREATS.write_text(before + BEGIN + table + END + after)
    rows = [line.split(" | ") for line in table.splitlines()[2:]]
    assert [row[0].removeprefix("| ") for row in rows] == list(ATTEMPTS), "run: make attacks"
    assert {row[2].removesuffix(" |") for row in rows} == {"blocked"}


def written(reached: dict[str, dict[str, bool]]) -> str:
    word = {True: "reached", False: "blocked"}
    lines = ["| attempt | plain run | `--isolate` |", "|---|---|---|"]
    lines += [f"| {each} | {word[reached['plain'][each]]} | {word[reached['isolated'][each]]} |" for each in ATTEMPTS]
    return "\n".join(lines) + "\n"
