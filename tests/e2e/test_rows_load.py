"""What one run, or one file, may cost the others of the real daemon (X81, X82)."""

import json
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.rows_site import API, Agent, Site, eventually
from parts.canary import Canary
from parts.machine import HERE

HOSTILE = "a" * 40 + ".hostile.test"  # a matcher that goes back and forth would take 2^40 steps for it
SLOW = 5.0  # seconds; far more than a busy machine takes, and far less than those steps


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory, canary: Canary) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("r"), canary, HOSTILE) as site:
        site.resolve[HOSTILE] = site.server.address
        site.provider("hostile", r"regex:^(a+)+b\.hostile\.test$", api_key={"key_pattern": "(a+)+b"})
        for name, pattern in {"backward": r"^(a+)\1b", "ahead": "^(?=(a+))b", "vast": "^((a{99}){99}){99}b"}.items():
            site.provider(name, rf"regex:{pattern}\.hostile\.test$")
        site.start()
        yield site


@pytest.fixture
def site(started: Site) -> Site:
    return started.fresh()


def timed(agent: Agent, host: str = API) -> float:
    """How long a connection and a request take."""
    began = time.monotonic()
    assert agent.get(host=host).status == 200
    return time.monotonic() - began


def test_x81_a_hostile_pattern_costs_no_other_request_its_time(site: Site) -> None:  # X81
    listed = site.cli("list").ok()
    for name in ("backward", "ahead", "vast"):
        assert f"{name}.json" in listed.err  # refused by name, and nothing else is
    began = time.monotonic()
    refused = site.cli("login", "hostile", "--stdin", stdin="a" * 40)
    assert refused.code == 2 and time.monotonic() - began < SLOW
    site.login("hostile", "a" * 40 + "b")  # now its pattern takes part in each decision
    with site.agent(env={"SSL_CERT_FILE": str(site.ca)}) as agent, site.agent() as other:
        took = [(timed(agent, HOSTILE), timed(other)) for _ in range(20)]
        assert max(max(pair) for pair in took) < SLOW
        assert statistics.median(pair[1] for pair in took) < 0.5
    sent = [each.all("authorization") for each in site.server.requests if each.one("host") == HOSTILE]
    assert sent == [[]] * 20  # it does not match, and so is not routed


EACH = 334


def test_x82_a_thousand_slow_connections_are_closed_and_others_served(site: Site) -> None:  # X82
    pid = site.daemon()
    files = Path(f"/proc/{pid}/fd")
    before = len(list(files.iterdir()))
    script = [sys.executable, str(HERE / "rows_slow.py"), str(EACH), API, "30"]
    env = {"PYTHONPATH": str(HERE.parent)}
    with site.agent() as other, site.cli.started("run", "--", *script, env=env) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == "open\n", process.stderr.read()
        assert len(list(files.iterdir())) > before + 2 * EACH
        took = []
        ends = time.monotonic() + 9
        while time.monotonic() < ends:
            took.append(timed(other))
            time.sleep(0.05)
        closed = json.loads(process.stdout.readline())
        process.wait(10)
        assert statistics.median(took) < 0.5 and max(took) < SLOW and len(took) > 10
    assert {kind: len(times) for kind, times in closed.items()} == {
        "in the head of a CONNECT": EACH, "in the TLS hello": EACH, "in the head inside": EACH,
    }  # fmt: skip
    for kind, times in closed.items():
        assert None not in times, kind
        assert min(times) > 5 and max(times) < 16, (kind, min(times), max(times))  # ten seconds, on a busy machine
    assert eventually(lambda: len(list(files.iterdir())) < before + 50)
