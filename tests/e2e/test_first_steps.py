"""What newcomers stumble over: each is told what is wrong, where, and what to do, before anything goes wrong."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from parts.canary import Canary
from parts.product import Cli, free_port

from authsome.daemon.ports import _answers_as_ours

KEY = "sk-proj-{}abcdefgh"
SLOW_WORKERS = """
import sys, time
if "authsome.daemon.worker" in sys.orig_argv:
    time.sleep(1)
"""
ACME = {
    "schema_version": 1,
    "name": "acme",
    "display_name": "Acme",
    "auth_type": "api_key",
    "flow": "api_key",
    "api_url": "api.openai.com",
    "api_key": {},
}


@pytest.fixture
def connected(cli: Cli, canary: Canary) -> Cli:
    """A home in which openai is connected."""
    _login(cli, canary, "openai")
    return cli


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which somebody else listens."""
    with socket.create_server(("127.0.0.1", free_port())) as listener:
        yield int(listener.getsockname()[1])


@pytest.mark.parametrize("variable", ["AUTHSOME_PORT", "AUTHSOME_PROXY_PORT"])
def test_a_restart_to_a_port_that_is_taken_leaves_the_daemon_that_is_there(cli: Cli, taken: int, variable: str) -> None:
    cli("daemon", "start").ok()
    before = cli("daemon", "status").ok().out
    refused = cli("daemon", "restart", env={variable: str(taken)})
    assert refused.code == 9 and f"port {taken} is taken by" in refused.err and variable in refused.err, str(refused)
    assert cli("daemon", "status").ok().out == before
    assert cli("daemon", "restart", env={variable: str(free_port())}).ok()


def test_a_proxy_port_that_is_taken_is_told_at_the_start(cli: Cli, taken: int) -> None:
    refused = cli("daemon", "start", env={"AUTHSOME_PROXY_PORT": str(taken)})
    assert refused.code == 9 and "AUTHSOME_PROXY_PORT" in refused.err, str(refused)


def test_another_home_on_the_same_port_is_called_by_its_name(cli: Cli) -> None:
    cli("daemon", "start").ok()
    other = cli.home.root / "other"
    refused = cli("daemon", "start", env={"AUTHSOME_HOME": str(other)})
    assert refused.code == 9 and "is taken by another authsome daemon" in refused.err, str(refused)
    assert _answers_as_ours(cli.home.port)  # how it is known where the system hides whose a port is


def test_a_daemon_is_ready_when_all_its_workers_are(cli: Cli) -> None:
    slow = cli.home.root / "slow"
    slow.mkdir()
    (slow / "sitecustomize.py").write_text(SLOW_WORKERS)
    cli("daemon", "start", "--workers", "2", env={"PYTHONPATH": str(slow)}).ok()
    assert "; 2 workers serve (" in cli("doctor").ok().out


def test_a_login_does_not_pass_over_a_file_of_ones_own_that_is_broken(connected: Cli, canary: Canary) -> None:
    definition = json.loads(connected("inspect", "openai").ok().out)
    file = connected.home.path / "providers" / "openai.json"
    file.write_text(json.dumps(definition | {"api_ulr": "api.example.org", "flow": 5}))
    refused = connected("login", "openai", "--force", "--stdin", stdin=KEY.format(canary.secret))
    assert refused.code == 64 and "providers/openai.json: $.api_ulr: unknown key" in refused.err, str(refused)
    assert "\nalso:  $.flow" in refused.err
    assert connected("get", "openai", "--field", "status").ok().out == "connected\n"
    assert connected("run", "--", "true").ok()


def test_a_file_that_is_not_registered_is_told_all_its_problems(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "acme.json"
    file.write_text(json.dumps(ACME | {"display_name": 5, "flow": 5, "api_ulr": "x"}))
    refused = cli("register", str(file), "--yes", "--json")
    assert refused.code == 64
    assert [line.split(":")[1].strip() for line in refused.err.splitlines()[1:3]] == ["$.display_name", "$.flow"]
    assert len(json.loads(refused.out)["problems"]) == 3


def test_two_providers_of_one_host_are_told_at_the_login_and_by_doctor(connected: Cli, canary: Canary) -> None:
    assert "both claim" not in connected("doctor").ok().out
    _register(connected)
    said = _login(connected, canary, "acme", "--no-wait") + _login(connected, canary, "acme", "--force")
    assert said.count("both claim") == 2
    assert "acme and openai both claim api.openai.com: requests there are refused until" in said
    assert "warn  routes: acme and openai both claim api.openai.com" in connected("doctor").ok().out
    connected("logout", "openai").ok()
    assert "both claim" not in connected("doctor").ok().out


def test_after_a_logout_of_the_default_it_is_told_how_to_choose_another(connected: Cli, canary: Canary) -> None:
    for name in ("a", "b"):
        _login(connected, canary, "openai", "--connection", name)
    said = connected("logout", "openai").ok().err
    assert "none of a, b is the default of openai now" in said and "authsome set-default openai NAME" in said
    connected("set-default", "openai", "b").ok()
    assert "set-default" not in connected("logout", "openai").ok().err  # one is left, and is the default


def test_a_removed_provider_tells_which_connections_it_leaves_useless(cli: Cli, canary: Canary) -> None:
    _register(cli)
    _login(cli, canary, "acme")
    said = cli("remove", "acme").ok().err
    assert said == "acme/default cannot be used until acme is registered again\n"
    _register(cli)
    assert "cannot be used" not in cli("logout", "acme").ok().err + cli("remove", "acme").ok().err


def test_a_token_in_place_of_a_login_is_listed_as_a_key(cli: Cli, canary: Canary) -> None:
    cli("login", "github", "--stdin", stdin=f"ghp_{canary.secret:0<36}").ok()
    row = next(line for line in cli("list").ok().out.splitlines() if line.startswith("github"))
    assert row.split()[:4] == ["github", "bundled", "api_key", "default"]


def _login(cli: Cli, canary: Canary, provider: str, *options: str) -> str:
    return cli("login", provider, "--stdin", *options, stdin=KEY.format(canary.secret)).ok().err


def _register(cli: Cli) -> None:
    file = cli.home.user / "acme.json"
    file.write_text(json.dumps(ACME))
    cli("register", str(file), "--yes").ok()
