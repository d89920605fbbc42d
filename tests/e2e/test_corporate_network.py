"""The proxy of a network, as its owner sets it: named by doctor, and its password by nothing."""

from pathlib import Path

import pytest
from parts.product import Cli

PASSWORD = "corporate-hidden"


def said(cli: Cli, **env: str) -> str:
    """All that the owner can get to see of it."""
    result = cli("doctor", env=env)
    return result.out + result.err + (cli.home.path / "logs" / "daemon.log").read_text()


def configure(cli: Cli, text: str) -> Path:
    cli.home.path.mkdir(mode=0o700)
    file = cli.home.path / "config.toml"
    file.write_text(text)
    return file


def test_doctor_names_the_proxy_in_force(cli: Cli) -> None:  # P23
    configure(cli, f'upstream_proxy = "http://alex:{PASSWORD}@127.0.0.1:9"\nno_proxy = ["a.test"]\n')
    shown = said(cli, HTTPS_PROXY=f"http://{PASSWORD}.test:1")
    assert "connections go through 127.0.0.1:9 (upstream_proxy)" in shown
    assert PASSWORD not in shown
    assert cli("doctor").code == 0


@pytest.mark.parametrize("url", [f"socks5://alex:{PASSWORD}@127.0.0.1:1080", f"http://alex:{PASSWORD}"])
def test_a_proxy_that_cannot_be_used_is_named_and_does_not_stop_the_start(cli: Cli, url: str) -> None:  # P23
    shown = said(cli, ALL_PROXY=url)
    assert shown.count("ALL_PROXY cannot be used: ") == 2  # by doctor, and in the log
    assert PASSWORD not in shown
    assert cli("doctor").code == 1


def test_the_proxy_of_another_run_is_not_taken_for_it(cli: Cli) -> None:
    shown = said(cli, HTTPS_PROXY="http://run:0123456789abcdef@127.0.0.1:9")
    assert "listening on" in shown
    assert "upstream proxy" not in shown
    assert "0123456789abcdef" not in shown
