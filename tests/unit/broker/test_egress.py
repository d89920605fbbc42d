"""Which connections go through a proxy of the owner's network, and what the setting may say."""

from pathlib import Path

import pytest

from authsome.broker.egress import Egress
from authsome.errors import Unreachable, UsageError
from authsome.model.secret import Secret
from authsome.settings import Settings, read_settings

VARIABLES = ("https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY")


def egress(url: str, *no_proxy: str) -> Egress:
    return Egress.of(Settings(home="/", upstream_proxy=url, upstream_proxy_setting="HTTPS_PROXY", no_proxy=no_proxy))


@pytest.mark.parametrize(
    ("url", "place", "pair"),
    [
        ("http://proxy.test:3128", "proxy.test:3128", None),
        ("http://proxy.test:3128/", "proxy.test:3128", None),
        ("HTTP://Proxy.Test", "proxy.test:80", None),
        ("proxy.test:3128", "proxy.test:3128", None),
        ("http://[2001:db8::1]:3128", "[2001:db8::1]:3128", None),
        ("http://a:b@proxy.test:1", "proxy.test:1", "YTpi"),
        ("a:b@proxy.test:1", "proxy.test:1", "YTpi"),
        ("http://a@proxy.test:1", "proxy.test:1", "YTo="),
        ("http://a:@proxy.test:1", "proxy.test:1", "YTo="),
        ("http://a:b%40c%2f%25@proxy.test:1", "proxy.test:1", "YTpiQGMvJQ=="),
        ("http://a:b@c@proxy.test:1", "proxy.test:1", "YTpiQGM="),
        ("http://ü:b:c@proxy.test:1", "proxy.test:1", "w7w6Yjpj"),
    ],
)
def test_a_proxy_is_read_from_its_url(url: str, place: str, pair: str | None) -> None:
    hop = egress(url).hop_to("api.test", 443)
    assert hop is not None
    assert (str(hop), hop.setting) == (place, "HTTPS_PROXY")
    assert hop.authorization == (Secret(f"Basic {pair}") if pair else None)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("socks5://alex:hidden@proxy.test:1080", "a socks5:// proxy"),
        ("socks5h://proxy.test", "a socks5h:// proxy"),
        ("https://alex:hidden@proxy.test", "a https:// proxy"),
        ("hidden://proxy.test", "another kind of proxy"),
        ("http://alex:hid/den@proxy.test:1", "percent-encoded"),
        ("http://alex:hid#den@proxy.test:1", "percent-encoded"),
        ("http://alex:hid den@proxy.test:1", "percent-encoded"),
        ("http://alex:hid\r\nden@proxy.test:1", "percent-encoded"),
        ("http://alex:hidden@:1", "not a host name"),
        ("http://alex:hidden", "port is not a number"),
        ("http://proxy.test:hidden", "port is not a number"),
        ("http://", "not a host name"),
        ("alex://hidden:x@proxy.test", "another kind of proxy"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_refused_without_its_words(url: str, why: str) -> None:  # P23
    there = egress(url, "exempt.test")
    with pytest.raises(Unreachable) as caught:
        there.hop_to("api.test", 443)
    assert "HTTPS_PROXY cannot be used: " in caught.value.message
    assert why in caught.value.message
    for shown in (str(caught.value.to_json()), repr(there)):
        assert "hid" not in shown
        assert "alex" not in shown
    assert there.hop_to("exempt.test", 443) is None
    assert there.hop_to("localhost", 443) is None


def test_what_is_secret_does_not_print() -> None:  # P23
    settings = Settings(home="/h", root_key="hidden", upstream_proxy="http://alex:hidden@proxy.test:1")
    there = Egress.of(settings)
    for shown in (repr(settings), str(settings), repr(there), repr(there.hop_to("api.test", 443))):
        assert "hidden" not in shown
        assert "YWxleDpoaWRkZW4=" not in shown


@pytest.mark.parametrize(
    ("entry", "host", "port", "covered"),
    [
        ("*", "api.test", 443, True),
        ("*", "10.0.0.1", 443, True),
        ("*:8443", "api.test", 443, False),
        ("api.test", "api.test", 443, True),
        ("API.Test.", "api.test", 443, True),
        ("api.test", "v1.api.test", 443, True),
        (".api.test", "v1.api.test", 443, True),
        (".api.test", "api.test", 443, True),
        ("*.api.test", "v1.api.test", 443, True),
        ("api.test", "myapi.test", 443, False),
        ("api.test", "api.test.evil", 443, False),
        ("v1.api.test", "api.test", 443, False),
        ("api.test:443", "api.test", 443, True),
        ("api.test:443", "api.test", 8443, False),
        ("bücher.test", "xn--bcher-kva.test", 443, True),
        ("10.0.0.0/8", "10.1.2.3", 443, True),
        ("10.0.0.1/8", "10.1.2.3", 443, True),
        ("10.0.0.0/8", "11.1.2.3", 443, False),
        ("10.0.0.0/8", "2001:db8::1", 443, False),
        ("10.1.2.3", "10.1.2.3", 443, True),
        ("10.1.2.3:80", "10.1.2.3", 443, False),
        ("2.3", "10.1.2.3", 443, False),
        ("[2001:db8::1]", "2001:db8::1", 443, True),
        ("[2001:db8::1]:443", "2001:db8::1", 443, True),
        ("[2001:db8::1]:80", "2001:db8::1", 443, False),
        ("2001:db8::/32", "2001:db8::1", 443, True),
        ("", "api.test", 443, False),
        (".", "api.test", 443, False),
        (":443", "api.test", 443, False),
        ("no such host", "api.test", 443, False),
    ],
)
def test_an_exemption_covers_what_it_says(entry: str, host: str, port: int, covered: bool) -> None:
    assert (egress("http://proxy.test:1", "other.test", entry).hop_to(host, port) is None) == covered


@pytest.mark.parametrize("host", ["localhost", "app.localhost", "127.0.0.1", "127.9.9.9", "::1"])
def test_this_machine_is_reached_directly(host: str) -> None:
    assert egress("http://proxy.test:1").hop_to(host, 443) is None


@pytest.mark.parametrize(
    "url",
    [
        "http://run:0123456789abcdef@127.0.0.1:40001",  # as a run's programs have it, of whichever home
        "http://run:x@localhost:40001",
        "http://127.0.0.1:7998",
        "http://[::1]:7998",
    ],
)
def test_authsomes_own_proxy_does_not_count(url: str) -> None:
    assert egress(url) == Egress()


def test_a_proxy_of_another_machine_counts_whatever_its_user() -> None:
    assert egress("http://run:x@10.0.0.1:3128").hop_to("api.test", 443)
    assert egress("http://127.0.0.1:3128").hop_to("api.test", 443)
    assert egress("http://127.0.0.1:3128").without(frozenset({3128})) == Egress()


# ── where the setting comes from ───────────────────────────────────────────────────────────────


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without any setting."""
    for name in (*VARIABLES, "AUTHSOME_RUN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AUTHSOME_HOME", str(tmp_path))
    return tmp_path


def test_without_a_setting_there_is_no_proxy(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.test:1")
    monkeypatch.setenv("HTTPS_PROXY", "")
    assert Egress.of(read_settings()) == Egress()


def test_the_more_special_variable_and_the_lower_case_win(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ALL_PROXY", "all_proxy", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, f"http://{name.replace('_', '-')}.test:1")
        hop = Egress.of(read_settings()).hop_to("api.test", 443)
        assert hop is not None
        assert (hop.place.host, hop.setting) == (f"{name.replace('_', '-').lower()}.test", name)


def test_exemptions_come_from_the_environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.test:1")
    monkeypatch.setenv("NO_PROXY", "a.test, b.test c.test")
    assert read_settings().no_proxy == ("a.test", "b.test", "c.test")
    monkeypatch.setenv("no_proxy", "d.test")
    assert read_settings().no_proxy == ("d.test",)


def test_the_file_wins_over_the_environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://elsewhere.test:1")
    monkeypatch.setenv("no_proxy", "*")
    file = home / "config.toml"
    file.write_text('upstream_proxy = "http://proxy.test:1"\nno_proxy = ["a.test"]\n')
    there = Egress.of(read_settings())
    assert str(there.hop_to("api.test", 443)) == "proxy.test:1"
    assert there.hop_to("a.test", 443) is None
    file.write_text('upstream_proxy = ""\n')
    assert Egress.of(read_settings()) == Egress()
    file.write_text("no_proxy = []\n")
    assert str(Egress.of(read_settings()).hop_to("api.test", 443)) == "elsewhere.test:1"


def test_the_variables_of_a_run_do_not_count(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.test:1")
    monkeypatch.setenv("AUTHSOME_RUN", "r1")
    assert Egress.of(read_settings()) == Egress()
    (home / "config.toml").write_text('upstream_proxy = "http://proxy.test:1"\n')
    assert Egress.of(read_settings()) != Egress()


@pytest.mark.parametrize("line", ["upstream_proxy = 3128", 'no_proxy = "a.test"', "no_proxy = [1]"])
def test_a_setting_of_another_kind_is_named(home: Path, line: str) -> None:
    (home / "config.toml").write_text(line)
    with pytest.raises(UsageError, match=line.partition(" ")[0]):
        read_settings()
