"""Fixtures for every test, the canary, and the account of what could not run here."""

import collections
import os
import re
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # tests import `parts` whatever the directory they are started from

from parts.canary import Canary
from parts.machine import MISSING, need
from parts.product import Cli, Home, free_port
from parts.servers import AuthorizationServer, Servers

CANARY = pytest.StashKey[Canary]()


@pytest.fixture(scope="session")
def canary(request: pytest.FixtureRequest) -> Iterator[Canary]:
    """This run's own secret. The run fails if it is found in anything that was watched, or in any test's output."""
    canary = request.config.stash[CANARY] = Canary()
    yield canary
    leaks = canary.leaks()
    assert not leaks, "the canary secret leaked:\n" + "\n".join(leaks)


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory, canary: Canary) -> Iterator[Home]:
    """An empty home with a port of its own; its daemon is stopped afterwards, and no process may outlive it."""
    home = Home(tmp_path_factory.mktemp("h"), free_port())  # a short name: socket paths have 107 bytes
    home.user.mkdir()
    home.output.mkdir()
    canary.watch(home.path)
    canary.watch(home.output)
    yield home
    home.close()


@pytest.fixture
def cli(home: Home) -> Cli:
    """The command line, with that home."""
    return Cli(home)


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory, canary: Canary) -> Iterator[Servers]:
    """Real authorization servers on loopback, whose secrets all begin with the canary."""
    need("node")
    servers = Servers(tmp_path_factory.mktemp("servers"), canary.secret)
    yield servers
    servers.close()


@pytest.fixture
def oidc(servers: Servers) -> AuthorizationServer:
    """oidc-provider with its own pages, reset."""
    return servers.oidc()


@pytest.fixture
def cloudflare(servers: Servers) -> AuthorizationServer:
    """The current version of Cloudflare's provider, reset."""
    return servers.cloudflare()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let the canary hear what each test wrote."""
    report = yield
    if CANARY in item.config.stash:
        item.config.stash[CANARY].listen(item.nodeid, report.capstdout + report.capstderr + report.caplog)
    return report


def _reasons(config: pytest.Config) -> collections.Counter[str]:
    """Why tests were skipped, and how many for each reason."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    reasons = (report.longrepr[2] for report in skipped if isinstance(report.longrepr, tuple))
    return collections.Counter(reason.removeprefix("Skipped: ") for reason in reasons)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Under CI a test that did not run is a failure."""
    if os.environ.get("CI") and not hasattr(session.config, "workerinput") and _reasons(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_unconfigure(config: pytest.Config) -> None:
    """The last lines of a run: what did not run, by name."""
    verdict = "; under CI that is a failure" if os.environ.get("CI") else ""
    for reason, count in sorted(_reasons(config).items()):
        what = reason if reason.startswith(MISSING) else f"skipped: {reason}"
        what = re.sub(rf"^{MISSING}", "not run on this machine", what)
        sys.stdout.write(f"{what}: {count} test{'s' if count > 1 else ''}{verdict}\n")
