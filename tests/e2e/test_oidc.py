"""Another maker's authorization server, over http and over https, and what happens when a token expires (P26, O18)."""

import json
import time
from pathlib import Path

import pytest
from parts.browser import Browser
from parts.canary import Canary
from parts.fakenet import FakeNet
from parts.pki import Authority
from parts.product import Cli
from parts.servers import AuthorizationServer, Servers

API = "api.oidc.test"
WHOAMI = f"https://{API}/api/whoami"


def describe(cli: Cli, server: AuthorizationServer, **oauth: object) -> None:
    """Write the provider file of a server, as its owner would."""
    file = {
        "name": "oidc",
        "display_name": "OIDC",
        "auth_type": "oauth2",
        "flow": "dcr_pkce",
        "api_url": f"{API}/api",
        "oauth": {
            "issuer": server.issuer,
            "authorization_url": f"{server.issuer}/auth",
            "token_url": f"{server.issuer}/token",
            "scopes": ["openid", "offline_access"],
            **oauth,
        },
        "export": {"env": {"access_token": "OIDC_TOKEN"}},
    }
    directory = cli.home.path / "providers"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    cli.home.path.chmod(0o700)
    (directory / "oidc.json").write_text(json.dumps(file))


@pytest.fixture
def over_http(cli: Cli, net: FakeNet) -> AuthorizationServer:
    """The issuer on loopback in clear, which the owner's file allows; its API behind TLS."""
    server = net.servers.oidc()
    net.map(API, server.local)
    describe(cli, server)
    return server


@pytest.fixture
def over_https(cli: Cli, servers: Servers, tmp_path: Path) -> AuthorizationServer:
    """The whole of it on loopback behind TLS, with a CA that only AUTHSOME_CA_FILE names."""
    Authority("Test CA").write(tmp_path / "pki", "127.0.0.1", API)
    server = servers.oidc(f"--tls-dir={tmp_path / 'pki'}")
    describe(cli, server)
    port = server.issuer.rpartition(":")[2]
    (cli.home.path / "config.toml").write_text(
        f'ca_file = "{tmp_path / "pki" / "ca.pem"}"\n[resolve]\n"{API}" = "127.0.0.1:{port}"\n'
    )
    return server


def login(cli: Cli, who: Browser) -> None:
    assert cli("login", "oidc", env=who.environment()).ok().out == "connected: oidc/default\n"


def test_over_http(cli: Cli, net: FakeNet, over_http: AuthorizationServer, person: Browser, canary: Canary) -> None:
    login(cli, person)
    assert cli("get", "oidc", "--field", "status").ok().out == "connected\n"
    assert '"sub":"alice"' in cli("run", "--", "curl", "-sS", WHOAMI, shows_secret=True).ok().out
    (call,) = net.journal(API)
    assert canary.secret in call.header("authorization")[0]


def test_over_https_with_a_ca_of_ones_own(cli: Cli, over_https: AuthorizationServer, tmp_path: Path) -> None:
    login(cli, Browser(ca=tmp_path / "pki" / "ca.pem"))
    assert '"sub":"alice"' in cli("run", "--", "curl", "-sS", WHOAMI, shows_secret=True).ok().out
    assert over_https.stats().api_ok == 1


# X64
def test_a_ca_that_nobody_named_is_not_trusted(cli: Cli, over_https: AuthorizationServer, tmp_path: Path) -> None:
    config = cli.home.path / "config.toml"
    config.write_text("".join(line for line in config.read_text().splitlines(True) if "ca_file" not in line))
    result = cli("login", "oidc", env=Browser(ca=tmp_path / "pki" / "ca.pem").environment())
    assert result.code == 8 and "AUTHSOME_CA_FILE" in result.err


def test_thirty_requests_at_expiry_cause_one_refresh(
    cli: Cli, net: FakeNet, over_http: AuthorizationServer, person: Browser
) -> None:  # P26, O18
    over_http.set(access_ttl=5)
    login(cli, person)
    time.sleep(5.1)
    over_http.set(token_delay_ms=500, access_ttl=60)
    shape = ["-Z", "--parallel-immediate", "--parallel-max", "30", "-o", "/dev/null", "-w", "%{http_code}\n"]
    answers = cli("run", "--", "curl", "-sS", *shape, f"{WHOAMI}?[1-30]").ok().out.split()
    assert answers == ["200"] * 30
    stats = over_http.stats()
    assert (stats.refreshes, stats.refresh_refused) == (1, 0)
    over_http.set(token_delay_ms=0)
    assert '"sub":"alice"' in cli("run", "--", "curl", "-sS", WHOAMI, shows_secret=True).ok().out
    assert over_http.stats().refreshes == 1


def test_a_grant_that_was_revoked_asks_for_a_login(
    cli: Cli, net: FakeNet, over_http: AuthorizationServer, person: Browser
) -> None:  # O23
    over_http.set(access_ttl=2)
    login(cli, person)
    over_http.set(fail_next_token=400)
    time.sleep(2.1)
    answer = cli("run", "--", "curl", "-sS", "-w", "%{http_code}", WHOAMI).ok().out
    assert answer.endswith("401") and "needs_login" in answer and "authsome login oidc" in answer
    assert cli("get", "oidc", "--field", "status").ok().out == "needs_login\n"
    assert cli("export", "oidc").code == 5
    login(cli, person)  # no --force is needed to mend it
    assert cli("get", "oidc", "--field", "status").ok().out == "connected\n"


def test_an_api_in_clear_never_gets_the_credential(
    cli: Cli, net: FakeNet, over_http: AuthorizationServer, person: Browser
) -> None:  # P1, X09
    login(cli, person)
    answer = cli("run", "--", "curl", "-sS", "-w", "%{http_code}", f"http://{API}/api/whoami").ok().out
    assert answer.endswith("403") and "https" in answer
    assert net.journal(API) == []
