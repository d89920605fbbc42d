"""Fixtures for tests of the whole product against a private internet."""

from collections.abc import Iterator

import pytest
from e2e.doors import Doors
from parts.browser import Browser
from parts.canary import Canary
from parts.fakenet import FakeNet
from parts.machine import need
from parts.product import Cli, Home, free_port
from parts.servers import LIBRARIES, AuthorizationServer, Library


@pytest.fixture(scope="session")
def internet(tmp_path_factory: pytest.TempPathFactory, canary: Canary) -> Iterator[FakeNet]:
    """One private internet for all tests of this worker; its CA is in the system's bundle."""
    need("namespaces")
    net = FakeNet(tmp_path_factory.mktemp("net"), token_prefix=canary.secret)
    yield net
    net.close()


@pytest.fixture
def net(internet: FakeNet, home: Home) -> FakeNet:
    """The private internet without rules or history; it puts this test's home and command line inside."""
    internet.reset()
    home.net = internet
    return internet


@pytest.fixture
def notion(net: FakeNet) -> AuthorizationServer:
    """https://mcp.notion.com, played by the software that really runs there, in its current version."""
    return _notion(net, "1")


@pytest.fixture(params=LIBRARIES)
def any_notion(net: FakeNet, request: pytest.FixtureRequest) -> AuthorizationServer:
    """The same, in each of four versions."""
    return _notion(net, request.param)


def _notion(net: FakeNet, library: Library) -> AuthorizationServer:
    need("node")
    server = net.servers.cloudflare(library=library, origin="https://mcp.notion.com")
    net.map("mcp.notion.com", server.local)
    return server


@pytest.fixture
def login_example(net: FakeNet) -> AuthorizationServer:
    """https://login.example.com, an OpenID provider with an API at /api/whoami."""
    need("node")
    server = net.servers.oidc(origin="https://login.example.com")
    net.map("login.example.com", server.local)
    return server


@pytest.fixture
def person(net: FakeNet) -> Browser:
    """Who consents to everything, by HTTP."""
    return Browser(ca=net.ca)


@pytest.fixture
def chromium(net: FakeNet) -> Browser:
    """Who consents to everything, at Chromium."""
    need("chromium", "certutil")
    return Browser(ca=net.ca, chromium=True)


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory, canary: Canary) -> Iterator[Doors]:
    """One running daemon for a whole file of tests that ask at its doors."""
    home = Home(tmp_path_factory.mktemp("h"), free_port())
    home.user.mkdir()
    home.output.mkdir()
    canary.watch(home.path)
    canary.watch(home.output)
    Cli(home)("daemon", "start").ok()
    yield Doors(home)
    home.close()
