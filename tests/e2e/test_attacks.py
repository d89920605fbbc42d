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
from e2e.attacks import ATTEMPTS, CONTROLS, HELD
from e2e.attacks.asking import provider_file
from parts.canary import Canary
from parts.fakenet import ADDRESS, FakeNet
from parts.product import free_port

pytestmark = pytest.mark.isolation  # by make isolation: not every machine allows namespaces within namespaces

THREATS = Path(__file__).parents[2] / "docs" / "threat-model.md"
BEGIN, END = "<!-- attacks: begin -->\n", "<!-- attacks: end -->\n"
KEY = "sk-proj-{}abcdefgh"
RUNS = ("plain", "isolated")

Found = dict[str, dict[str, bool]]
SEEN_BY: dict[str, Found] = {}
"""What was found for each account; `make attacks` runs in one process and writes it all."""


@contextmanager
def outside(who: Account, aims: dict[str, object], file: Path) -> Iterator[None]:
    """Services of the same user, outside of any run, and another run."""
    ready = Path(str(aims["ready"]))
    env = who.environment({"OUTSIDE": str(aims["outside_secret"])})
    services = subprocess.Popen(who.command([who.python, "-m", "attacks", "serve", str(file)], who.project), env=env)
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
def reached(request: pytest.FixtureRequest, internet: FakeNet, canary: Canary) -> Found:
    """For each attempt whether it led anywhere, in a plain run and in an isolated one."""
    internet.reset()
    with account(request.param, internet, canary) as who:
        SEEN_BY[request.param] = found = attacked(who, internet, canary)
    return found


def attacked(who: Account, net: FakeNet, canary: Canary) -> Found:
    net.add_host("rebinding.example.com", "127.0.0.1")
    net.add_host("front.example.com")
    home = who.home
    who("login", "openai", "--stdin", stdin=KEY.format(canary.secret)).ok()
    who("register", "-", "--yes", stdin=provider_file("mine", "mine.example.com")).ok()
    (home.path / "victim").touch()
    for path, text in ((home.user / ".ssh" / "id_test", "a key"), (home.user / ".bashrc", "")):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    (home.root / "service").mkdir()
    shutil.copytree(Path(__file__).parent / "attacks", who.project / "attacks")
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
        "own_provider": "mine",
        "lent": "api.openai.com",
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
            command = [who.python, "-m", "attacks", "attack", "aims.json"]
            env = {"SSH_AUTH_SOCK": str(aims["agent"])}
            said = who.at_project("run", *options, "--", *command, env=env).ok().out
            results = [json.loads(line) for line in said.splitlines()]
            print(name, *(f"{r['attempt']}: {r['why']}" for r in results), sep="\n  ")
            found[name] = {each["attempt"]: each["reached"] for each in results}
            assert [*found[name]] == [*CONTROLS, *ATTEMPTS]
    strangers = [entry for entry in net.journal() if entry.host != aims["lent"]]
    assert strangers and not [entry for entry in strangers if canary.secret in str(entry)]
    return found


def test_ordinary_work_is_done_in_both(reached: Found) -> None:
    assert len(CONTROLS) > 1
    assert [(run, name) for run in RUNS for name in CONTROLS if not reached[run][name]] == []


def test_nothing_is_reached_from_an_isolated_run(reached: Found) -> None:  # X80
    assert len(ATTEMPTS) > 80
    assert [name for name in ATTEMPTS if reached["isolated"][name]] == []


def test_a_plain_run_holds_what_level_b_promises(reached: Found) -> None:
    plain = reached["plain"]
    assert len(HELD) > 20
    assert [name for name in ATTEMPTS if plain[name] and name in HELD] == []
    # an attempt that never leads anywhere would prove nothing
    assert sum(plain[name] for name in ATTEMPTS) > 25


def test_the_threat_model_has_this_table(reached: Found) -> None:
    before, begins, rest = THREATS.read_text().partition(BEGIN)
    table, ends, after = rest.partition(END)
    assert begins and ends, "the table has lost its place"
    if os.environ.get("WRITE_ATTACKS"):
        assert len(NAMES) > 1, "the table has what root's runs reach too: start it as root"
        if [*SEEN_BY] != [*NAMES]:
            return  # the other account's turn comes
        table = written(SEEN_BY)
        THREATS.write_text(before + BEGIN + table + END + after)
    rows = [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]
    assert [row[0] for row in rows] == list(ATTEMPTS), "run: make attacks"
    assert {cell for row in rows for cell in row[3:]} == {"blocked"}
    assert {cell for row in rows if row[0] in HELD for cell in row[1:]} == {"blocked"}


def written(found: dict[str, Found]) -> str:
    """An ordinary user and root, in plain runs and in isolated ones."""
    word = {True: "reached", False: "blocked"}
    columns = [(who, run) for run in RUNS for who in reversed(NAMES)]
    lines = [
        "| attempt | plain run | plain run, as root | `--isolate` | `--isolate`, as root |",
        "|---|---|---|---|---|",
    ]
    for each in ATTEMPTS:
        cells = [word[found[who][run][each]] for who, run in columns]
        lines.append(f"| {' | '.join([each, *cells])} |")
    return "\n".join(lines) + "\n"
