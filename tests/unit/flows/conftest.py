"""Pages of a well-behaved MCP server, which tests bend one at a time."""

import json

import pytest

from authsome.flows.steps import Wish
from authsome.model.provider import Provider

from .talk import Partner, answer

AS = "https://mcp.example.com"
REDIRECT = "http://127.0.0.1:7998/auth/callback/oauth"


def provider(**changes: object) -> Provider:
    oauth = {
        "authorization_url": f"{AS}/authorize",
        "token_url": f"{AS}/token",
        "resource": f"{AS}/mcp",
        "supports_dcr": True,
    }
    oauth |= changes.pop("oauth", {})  # type: ignore[arg-type]
    whole = {
        "name": "example",
        "display_name": "Example",
        "auth_type": "oauth2",
        "flow": "dcr_pkce",
        "api_url": "mcp.example.com",
        "oauth": {k: v for k, v in oauth.items() if v is not None},
    } | changes
    return Provider.model_validate_json(json.dumps(whole))


def wish(**changes: object) -> Wish:
    return Wish(provider=provider(**changes), redirect_uri=REDIRECT)


def metadata(**changes: object) -> dict[str, object]:
    whole = {
        "issuer": AS,
        "authorization_endpoint": f"{AS}/authorize",
        "token_endpoint": f"{AS}/token",
        "registration_endpoint": f"{AS}/register",
        "revocation_endpoint": f"{AS}/token",
        "token_endpoint_auth_methods_supported": ["none", "client_secret_post"],
        "code_challenge_methods_supported": ["plain", "S256"],
        "authorization_response_iss_parameter_supported": True,
    } | changes
    return {k: v for k, v in whole.items() if v is not None}


def tokens(**changes: object) -> dict[str, object]:
    whole = {
        "access_token": "u:g:at1",
        "refresh_token": "u:g:rt1",
        "token_type": "bearer",
        "expires_in": 3600,
    } | changes
    return {k: v for k, v in whole.items() if v is not None}


def pages() -> dict[str, object]:
    return {
        f"GET {AS}/mcp": answer(401, www_authenticate='Bearer realm="OAuth", error="invalid_token"'),
        f"GET {AS}/.well-known/oauth-protected-resource/mcp": answer(
            200, {"resource": f"{AS}/mcp", "authorization_servers": [AS]}
        ),
        f"GET {AS}/.well-known/oauth-authorization-server": answer(200, metadata()),
        f"POST {AS}/register": answer(201, {"client_id": "client-1", "token_endpoint_auth_method": "none"}),
        f"GET {AS}/authorize": answer(200, b"<form>"),
        f"POST {AS}/token": answer(200, tokens()),
    }


@pytest.fixture
def partner() -> Partner:
    it = Partner(pages())
    it.callback = lambda q: {"code": "C0de", "state": q["state"], "iss": AS}
    return it
