"""Every bundled provider file keeps the contract, and the published schema is the model's."""

import itertools
import json
from pathlib import Path

import pytest

from authsome.catalog.bundled import FOLDER
from authsome.catalog.reader import parse_provider, write_provider
from authsome.catalog.schema import schema_text
from authsome.model.injection import HeaderInjection
from authsome.model.names import is_exportable
from authsome.model.placeholder import PLACEHOLDER
from authsome.model.provider import ApiKey, Export, OAuth, Provider
from authsome.model.route import Route

DOCS = Path(__file__).parents[2] / "docs"
FILES = sorted(FOLDER.glob("*.json"))
PROVIDERS = {file.stem: parse_provider(file.read_bytes()) for file in FILES}

everyone = pytest.mark.parametrize("provider", PROVIDERS.values(), ids=PROVIDERS.keys())


def test_the_most_wanted_are_there() -> None:
    wanted = {"notion_dcr", "notion", "github", "google", "openai", "anthropic", "slack", "linear"}
    assert wanted <= PROVIDERS.keys()
    assert len(PROVIDERS) >= 20


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.stem))
def test_a_file_is_written_as_inspect_shows_it(file: Path) -> None:
    text = file.read_text()
    provider = parse_provider(text)
    assert file.name == f"{provider.name}.json"
    assert write_provider(provider) == text
    assert parse_provider(write_provider(provider)) == provider


@everyone
def test_its_routes_are_narrow(provider: Provider) -> None:  # P1, P17
    routes = provider.routes()
    assert routes
    assert all(route.port == 443 for route in routes)
    assert [Route.parse(str(route)) for route in routes] == list(routes)


# Where pages for people share the host with the API, only the API's paths get the credential.
@pytest.mark.parametrize(
    "host",
    [
        "gitlab.com",
        "app.asana.com",
        "slack.com",
        "discord.com",
        "openrouter.ai",
        "huggingface.co",
        "sentry.io",
        "github.com",
    ],
)
def test_pages_that_share_the_host_get_no_credential(host: str) -> None:
    shared = [route for provider in PROVIDERS.values() for route in provider.routes() if route.host == host]
    assert all(route.path != "/" for route in shared)


@everyone
def test_its_variables_can_be_exported(provider: Provider) -> None:  # P20
    assert all(map(is_exportable, provider.export.env.values()))
    for is_key in (False, True):
        able = provider.api_key if is_key else provider.oauth
        assert bool(provider.variables(api_key=is_key)) is bool(able)


@everyone
def test_its_example_key_is_told_from_others(provider: Provider) -> None:
    how = provider.api_key
    if how is None or how.key_pattern is None:
        return
    assert how.key_pattern_hint
    assert not how.accepts("")
    assert not how.accepts("x y")
    if provider.placeholder is not None:
        assert PLACEHOLDER.replace("-", "") in provider.placeholder.replace("-", "").replace("_", "")


@everyone
def test_a_login_that_needs_a_key_says_where_it_is_made(provider: Provider) -> None:
    if provider.auth_type == "api_key":
        assert provider.key_url


@everyone
def test_an_mcp_server_is_discovered_from_its_own_host(provider: Provider) -> None:
    if provider.flow != "dcr_pkce":
        return
    assert provider.oauth is not None
    assert provider.oauth.supports_dcr
    assert provider.oauth.registration_endpoint
    assert str(provider.oauth.resource).startswith(f"https://{provider.routes()[0].host}")


def test_no_two_of_them_claim_the_same_place() -> None:  # P19
    claims = [(route, name) for name, provider in PROVIDERS.items() for route in provider.routes()]
    for (route, name), (other, other_name) in itertools.combinations(claims, 2):
        assert name == other_name or (route.host, route.path) != (other.host, other.path)


def test_no_two_of_them_use_the_same_variable() -> None:
    owners: dict[str, str] = {}
    for name, provider in PROVIDERS.items():
        for variable in provider.export.env.values():
            assert owners.setdefault(variable, name) == name, variable


def test_notion_dcr_is_what_its_page_says() -> None:
    provider = PROVIDERS["notion_dcr"]
    assert provider.display_name == "Notion (DCR)"
    assert (provider.auth_type, provider.flow) == ("oauth2", "dcr_pkce")
    assert provider.oauth is not None
    assert (provider.oauth.pkce, provider.oauth.supports_device_code, provider.oauth.supports_dcr) == (
        True,
        False,
        True,
    )
    assert provider.oauth.scopes == ()
    assert provider.oauth.authorization_url == "https://mcp.notion.com/authorize"
    assert provider.oauth.resource == "https://mcp.notion.com/mcp"
    assert provider.routes() == (Route("mcp.notion.com"),)
    assert provider.export.env == {"access_token": "NOTION_ACCESS_TOKEN", "refresh_token": "NOTION_REFRESH_TOKEN"}
    assert provider.variables(api_key=False) == ("NOTION_ACCESS_TOKEN",)
    assert provider.placement(api_key=False).injections == (HeaderInjection("Authorization", "Bearer"),)
    assert provider.placeholder is None


def test_the_published_schema_is_current() -> None:
    message = "run: python -m authsome.catalog.schema > docs/provider.schema.json"
    assert (DOCS / "provider.schema.json").read_text() == schema_text(), message


def test_the_schema_knows_every_member_of_every_file() -> None:
    schema = json.loads(schema_text())
    for file in FILES:
        written = json.loads(file.read_text())
        assert written.keys() <= schema["properties"].keys()
        for name, model in (("oauth", "OAuth"), ("api_key", "ApiKey"), ("export", "Export")):
            assert written.get(name, {}).keys() <= schema["$defs"][model]["properties"].keys()


@pytest.mark.parametrize("model", [Provider, OAuth, ApiKey, Export])
def test_every_field_is_described_in_the_guide(model: type[Provider | OAuth | ApiKey | Export]) -> None:
    guide = (DOCS / "providers.md").read_text()
    for name, field in model.model_fields.items():
        assert field.description
        assert f"`{name}`" in guide, f"{model.__name__}.{name}"


def test_the_guides_example_is_a_valid_file() -> None:
    guide = (DOCS / "providers.md").read_text()
    examples = [part.split("```")[0] for part in guide.split("```json\n")[1:]]
    assert examples
    for example in examples:
        parse_provider(example)


def test_the_guides_messages_are_the_readers() -> None:
    guide = (DOCS / "providers.md").read_text()
    for what in ("did you mean 'scopes'?", "expected a string", "stands there twice", "so the file has to be called"):
        assert what in guide
