"""What a provider makes of its file: URLs, routes, injections, variables."""

import pytest

from authsome.errors import UsageError
from authsome.model.injection import BasicInjection, FixedHeader, HeaderInjection, QueryInjection
from authsome.model.provider import ApiKey, Export, OAuth, Provider
from authsome.model.route import Route


def _provider(**changes: object) -> Provider:
    members: dict[str, object] = {
        "name": "x",
        "display_name": "X",
        "auth_type": "oauth2",
        "flow": "pkce",
        "api_url": "{base_url}/api",
        "oauth": OAuth(authorization_url="{base_url}/authorize", token_url="{base_url}/token"),
    }
    return Provider.model_validate(members | changes)


def test_the_base_url_of_the_login_takes_the_place_of_the_files_own() -> None:
    oauth = OAuth(authorization_url="{base_url}/a", token_url="{base_url}/t", base_url="https://own.test/")
    provider = _provider(oauth=oauth)
    assert provider.fill(oauth.token_url) == "https://own.test/t"
    assert provider.fill(oauth.token_url, "https://other.test/sub/") == "https://other.test/sub/t"
    assert provider.routes() == (Route("own.test", path="/api"),)
    assert provider.routes("https://other.test:8443") == (Route("other.test", 8443, "/api"),)


def test_a_provider_that_needs_a_base_url_says_so() -> None:
    with pytest.raises(UsageError) as refused:
        _provider().routes()
    assert "--base-url" in str(refused.value.hint)


@pytest.mark.parametrize(
    "base_url",
    [
        "http://other.test",
        "other.test",
        "javascript:alert(1)",
        "https://user@other.test",
        "https://other.test?x=",
        "https://other.test#x",
        "https://other.test\\@evil.test",
        "https://other.test\n",
        "https://{base_url}",
        "",
    ],
)
def test_a_base_url_is_a_plain_https_url(base_url: str) -> None:  # P14, O31
    with pytest.raises(UsageError):
        _provider().fill("{base_url}/token", base_url)


def test_a_credential_never_goes_to_a_plain_http_base_url() -> None:  # P1
    with pytest.raises(UsageError):
        _provider().routes("http://127.0.0.1:8080")


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({}, (HeaderInjection("Authorization", "Bearer"),)),
        ({"header_name": "x-api-key", "header_prefix": ""}, (HeaderInjection("x-api-key", ""),)),
        ({"query_param": "key"}, (QueryInjection("key"),)),
        ({"username": "api"}, (BasicInjection("password", "api"),)),
        ({"username": ""}, (BasicInjection("password", ""),)),
        ({"username": "{api_key}"}, (BasicInjection("username", ""),)),
        (
            {"extra_headers": {"X-Version": "1"}},
            (HeaderInjection("Authorization", "Bearer"), FixedHeader("X-Version", "1")),
        ),
    ],
)
def test_a_key_goes_where_the_file_says(how: dict[str, object], expected: tuple[object, ...]) -> None:
    assert _provider(api_key=ApiKey.model_validate(how)).placement(api_key=True).injections == expected


def test_an_access_token_is_a_bearer_token() -> None:
    provider = _provider(api_key=ApiKey(header_name="x-api-key", header_prefix=""))
    assert provider.placement(api_key=False).injections == (HeaderInjection("Authorization", "Bearer"),)


def test_a_refresh_token_has_no_variable() -> None:
    export = Export(env={"access_token": "A_TOKEN", "refresh_token": "R_TOKEN", "api_key": "A_KEY"})
    provider = _provider(export=export, api_key=ApiKey(env_var="OTHER_KEY"))
    assert provider.variables(api_key=False) == ("A_TOKEN",)
    assert provider.variables(api_key=True) == ("A_KEY",)


def test_the_keys_own_variable_is_used_where_export_names_none() -> None:
    provider = _provider(api_key=ApiKey(env_var="OTHER_KEY"))
    assert provider.variables(api_key=True) == ("OTHER_KEY",)
    assert provider.variables(api_key=False) == ()


def test_a_key_is_held_to_its_declared_form() -> None:
    how = ApiKey(key_pattern=r"^sk-[a-z0-9]{4,}$")
    assert how.accepts("sk-abc1")
    assert not how.accepts("sk-abc")
    assert not how.accepts("xsk-abc1")
    assert ApiKey().accepts("anything")


def test_a_provider_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        _provider().name = "y"
