"""The variables of a run's command, against what was measured of real clients."""

import subprocess
from pathlib import Path

import pytest

from authsome.cli.client import Answer
from authsome.cli.environment import BUNDLES, PROXIES, REMOVED, compose, own_bundles, own_wgetrc

PROXY = "http://run:token@127.0.0.1:4001"


def lent(*hosts: str, **placeholders: str) -> Answer:
    return {
        "run": "r1",
        "proxy": PROXY,
        "ca_bundle": "/run/r1/ca.pem",
        "directory": "/run/r1",
        "hosts": list(hosts or ("mcp.notion.com",)),
        "placeholders": placeholders or {"NOTION_ACCESS_TOKEN": "authsome-proxy-managed"},
    }


def composed(inherited: dict[str, str], *hosts: str) -> dict[str, str]:
    return compose(inherited, lent(*hosts))[0]


def test_the_child_holds_a_placeholder_and_not_what_the_caller_held() -> None:
    environment = composed({"NOTION_ACCESS_TOKEN": "a real one", "LANG": "C"})
    assert environment["NOTION_ACCESS_TOKEN"] == "authsome-proxy-managed"
    assert environment["LANG"] == "C"
    assert environment["AUTHSOME_RUN"] == "r1"


@pytest.mark.parametrize("name", PROXIES)
def test_an_inherited_proxy_is_replaced(name: str) -> None:
    assert composed({name: "socks5://127.0.0.1:1"})[name] == PROXY


@pytest.mark.parametrize("name", BUNDLES)
def test_an_inherited_ca_file_is_replaced_by_the_bundle_that_holds_it(name: str) -> None:
    inherited = {name: "/etc/ssl/certs/ca-certificates.crt"}
    assert composed(inherited)[name] == "/run/r1/ca.pem"
    assert own_bundles(inherited) == ["/etc/ssl/certs/ca-certificates.crt"]


@pytest.mark.parametrize("name", REMOVED)
def test_what_would_lead_past_the_proxy_or_into_the_vault_is_removed(name: str) -> None:
    assert name not in composed({name: "something"})


@pytest.mark.parametrize(
    "name", ["NPM_CONFIG_HTTPS_PROXY", "npm_config_https-proxy", "Npm_Config_NoProxy", "WSS_PROXY", "Https_Proxy"]
)
def test_any_case_of_a_variable_is_caught(name: str) -> None:
    assert "elsewhere" not in composed({name: "elsewhere"}).values()


@pytest.mark.parametrize("name", ["SSLKEYLOGFILE", "NODE_OPTIONS", "JAVA_TOOL_OPTIONS", "AUTHSOME_HOME", "PATH"])
def test_what_is_the_callers_own_business_stays(name: str) -> None:
    assert composed({name: "as it was"})[name] == "as it was"


def test_node_uses_the_proxy_without_node_options() -> None:
    environment = composed({})
    assert environment["NODE_USE_ENV_PROXY"] == "1"
    assert "NODE_OPTIONS" not in environment


@pytest.mark.parametrize(("before", "after"), [(None, ":/run/r1/php"), ("/own", "/own:/run/r1/php")])
def test_php_reads_our_settings_after_its_own(before: str | None, after: str) -> None:
    inherited = {} if before is None else {"PHP_INI_SCAN_DIR": before}
    assert composed(inherited)["PHP_INI_SCAN_DIR"] == after


def test_a_lent_placeholder_never_takes_the_place_of_a_proxy() -> None:
    environment, _ = compose({}, lent("a.test", HTTPS_PROXY="http://elsewhere", AUTHSOME_RUN="none"))
    assert environment["HTTPS_PROXY"] == PROXY
    assert environment["AUTHSOME_RUN"] == "r1"


def test_the_callers_own_environment_is_left_alone() -> None:
    inherited = {"NO_PROXY": "*"}
    compose(inherited, lent())
    assert inherited == {"NO_PROXY": "*"}


@pytest.mark.parametrize(
    ("entry", "hosts", "stays"),
    [
        ("internal.example", ["mcp.notion.com"], True),
        ("mcp.notion.com", ["mcp.notion.com"], False),
        ("MCP.Notion.COM", ["mcp.notion.com"], False),
        (".notion.com", ["mcp.notion.com"], False),
        ("notion.com", ["mcp.notion.com"], False),
        ("*.notion.com", ["mcp.notion.com"], False),
        ("com", ["mcp.notion.com"], False),
        ("ion.com", ["mcp.notion.com"], False),  # requests compares the ends of the texts
        ("api.notion.com", ["mcp.notion.com"], True),
        ("a.mcp.notion.com", ["mcp.notion.com"], True),
        ("mcp.notion.com:443", ["mcp.notion.com"], False),
        ("mcp.notion.com:8080", ["mcp.notion.com:8443"], True),
        ("mcp.notion.com:8443", ["mcp.notion.com:8443"], False),
        ("mcp.notion.com", ["mcp.notion.com/v1"], False),
        ("a.x.test", ["*.x.test"], False),
        ("x.test", ["*.x.test"], False),
        ("b.a.x.test", ["*.x.test"], False),
        ("y.test", ["*.x.test"], True),
        ("10.0.0.0/8", ["10.1.2.3"], False),
        ("10.0.0.0/8", ["192.0.2.1"], True),
        ("10.0.0.0/8", ["mcp.notion.com"], True),
        ("fd00::/8", ["[fd00::1]"], False),
        ("192.0.2.1", ["192.0.2.1"], False),
        ("not/a/network", ["192.0.2.1"], True),
    ],
)
def test_an_exception_stays_unless_it_covers_a_routed_host(entry: str, hosts: list[str], stays: bool) -> None:  # X80
    environment, remarks = compose({"NO_PROXY": entry}, lent(*hosts))
    for name in ("NO_PROXY", "no_proxy", "npm_config_noproxy"):
        assert (entry in environment[name].split(",")) is stays
    assert bool(remarks) is not stays


@pytest.mark.parametrize("star", ["*", ".", "*:443"])
def test_an_exception_for_everything_goes_and_that_is_said(star: str) -> None:  # X80
    environment, remarks = compose({"no_proxy": f"{star}, internal.example"}, lent())
    assert environment["NO_PROXY"] == "internal.example,localhost,127.0.0.1,::1"
    assert remarks == [f"NO_PROXY: left out {star!r}, it would lead past the proxy to every host"]


def test_the_exceptions_of_every_spelling_are_kept_once() -> None:
    environment = composed({"NO_PROXY": "a.test b.test", "no_proxy": "b.test,c.test", "NPM_CONFIG_NOPROXY": "d.test"})
    assert environment["no_proxy"] == "a.test,b.test,c.test,d.test,localhost,127.0.0.1,::1"


def test_loopback_is_no_exception_where_it_is_routed() -> None:
    assert composed({}, "localhost:9000")["NO_PROXY"] == "127.0.0.1,::1"
    assert composed({}, "127.0.0.1")["NO_PROXY"] == "localhost,::1"


def test_settings_for_git_follow_the_callers_own() -> None:
    own = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "http.proxy", "GIT_CONFIG_VALUE_0": "http://elsewhere"}
    environment = composed(own)
    assert environment["GIT_CONFIG_COUNT"] == "3"
    assert environment["GIT_CONFIG_VALUE_0"] == "http://elsewhere"
    assert (environment["GIT_CONFIG_KEY_1"], environment["GIT_CONFIG_VALUE_1"]) == ("http.proxy", PROXY)
    assert (environment["GIT_CONFIG_KEY_2"], environment["GIT_CONFIG_VALUE_2"]) == ("http.sslCAInfo", "/run/r1/ca.pem")


def test_git_itself_takes_our_proxy_over_any_other(tmp_path: Path) -> None:
    settings = tmp_path / "gitconfig"
    settings.write_text("[http]\n\tproxy = http://elsewhere\n")
    inherited = {"PATH": "/usr/bin:/bin", "GIT_CONFIG_GLOBAL": str(settings), "GIT_CONFIG_COUNT": "nonsense"}
    said = subprocess.run(
        ["git", "config", "--get", "http.proxy"],
        env=composed(inherited),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.strip() == PROXY


def test_the_callers_wget_settings_are_kept_but_for_proxies_and_certificates() -> None:
    own = "tries = 3\n https-proxy = http://elsewhere\nUSE_PROXY=off\ncheck_certificate = on\nca-certificate=/x\n"
    assert own_wgetrc(own, "ca_certificate = /run/ca.pem\n") == (
        "tries = 3\ncheck_certificate = on\nca_certificate = /run/ca.pem\n"
    )
