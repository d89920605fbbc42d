"""The demo's authorization server: Authlib's framework-free server classes, fitted to Starlette's requests.

It keeps to RFC 6749 (code and refresh), 7591 (registration), 7636 (PKCE, S256 only), 7009 (revocation),
8414 (metadata) and 9207 (`iss`).
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from authlib.common.urls import add_params_to_uri
from authlib.oauth2 import AuthorizationServer, JsonRequest, OAuth2Error, OAuth2Request
from authlib.oauth2.rfc6749 import ClientMixin, InvalidRequestError, JsonPayload, OAuth2Payload, TokenMixin
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant, RefreshTokenGrant
from authlib.oauth2.rfc6750 import BearerTokenGenerator
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7591 import ClientRegistrationEndpoint
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oauth2.rfc9207 import IssuerParameter
from starlette.responses import Response

from authsome.demo.ledger import Code, Ledger, RegisteredClient, Token, new_token
from authsome.demo.names import SCOPES
from authsome.model.secret import Secret

ACCESS_TOKEN_LIFETIME = 3600
PERSON = "Alex Example"
AUTH_METHODS = ["none", "client_secret_basic", "client_secret_post"]


@dataclass(frozen=True, slots=True)
class Arrived:
    """A request whose body has been read: Authlib's classes are synchronous and cannot wait for it."""

    method: str
    url: str
    query: str
    headers: Mapping[str, str]
    body: bytes = b""


def metadata(issuer: str) -> dict[str, object]:
    """The document of RFC 8414 §2."""
    return {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/authorize",
        "token_endpoint": f"{issuer}/token",
        "registration_endpoint": f"{issuer}/register",
        "revocation_endpoint": f"{issuer}/revoke",
        "scopes_supported": list(SCOPES),
        "response_types_supported": ["code"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_methods_supported": AUTH_METHODS,
        "revocation_endpoint_auth_methods_supported": AUTH_METHODS,
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": True,
    }


class Issuer(AuthorizationServer):
    """An authorization server for one issuer URL. Its responses are Starlette's."""

    def __init__(self, url: str, ledger: Ledger) -> None:
        super().__init__(scopes_supported=SCOPES)
        self.url = url
        self.ledger = ledger
        self.register_token_generator(
            "default", BearerTokenGenerator(_token, _token, lambda client, grant_type: ACCESS_TOKEN_LIFETIME)
        )
        self.register_grant(_CodeGrant, [_Challenge(required=True)])
        self.register_grant(_RefreshGrant)
        self.register_endpoint(_Registration)  # type: ignore[arg-type]  # the stubs know only Endpoint's subclasses
        self.register_endpoint(_Revocation)
        self._iss = _Iss(url)
        self.register_extension(self._iss)

    def consent_grant(self, request: Arrived) -> AuthorizationCodeGrant:
        """The authorization request, valid and not yet answered. Raises OAuth2Error."""
        grant = AuthorizationServer.get_consent_grant(self, request, PERSON)
        assert isinstance(grant, AuthorizationCodeGrant)
        return grant

    def consent(self, grant: AuthorizationCodeGrant, *, allowed: bool) -> Response:
        """The redirect back to the client, with a code or with `access_denied` (RFC 6749 §4.1.2)."""
        return _whole(
            super().create_authorization_response(grant.request, grant_user=PERSON if allowed else None, grant=grant)
        )

    def refuse(self, request: Arrived, error: OAuth2Error) -> Response:
        """The redirect or the answer that tells of an error (RFC 6749 §4.1.2.1)."""
        response = _whole(super().handle_error_response(self.create_oauth2_request(request), error))
        self._iss.add_issuer_parameter(self, response)
        return response

    def register(self, request: Arrived) -> Response:
        """The registration endpoint (RFC 7591 §3)."""
        return _whole(AuthorizationServer.create_endpoint_response(self, "client_registration", request))

    def token(self, request: Arrived) -> Response:
        """The token endpoint (RFC 6749 §3.2)."""
        return _whole(super().create_token_response(request))

    def revoke(self, request: Arrived) -> Response:
        """The revocation endpoint (RFC 7009 §2)."""
        return _whole(AuthorizationServer.create_endpoint_response(self, "revocation", request))

    # ── what Authlib asks for ──────────────────────────────────────────────────────────────────

    def query_client(self, client_id: str) -> ClientMixin | None:  # type: ignore[override]  # Authlib allows None
        return self.ledger.clients.get(client_id)

    def save_token(self, token: dict[str, str | int], request: OAuth2Request) -> None:
        client = request.client
        assert isinstance(client, RegisteredClient)
        refresh_token = token.get("refresh_token")
        self.ledger.tokens.append(
            Token(
                access_token=Secret(str(token["access_token"])),
                refresh_token=Secret(str(refresh_token)) if refresh_token else None,
                client=client,
                scope=str(token.get("scope", "")),
                user=str(request.user),
                expires_in=ACCESS_TOKEN_LIFETIME,
                issued_at=time.time(),
            )
        )

    def create_oauth2_request(self, request: Arrived) -> OAuth2Request:
        return _FormRequest(request)

    def create_json_request(self, request: Arrived) -> JsonRequest:
        asked = JsonRequest(request.method, request.url, request.headers)
        asked.payload = _JsonBody(request.body)
        return asked

    def handle_response(self, status: int, body: object, headers: Any) -> Response:
        content = json.dumps(body) if isinstance(body, dict) else str(body)
        return Response(content, status, dict(headers))

    def send_signal(self, name: str, *args: object, **kwargs: object) -> None:
        """Nobody listens."""


def _token(**_: object) -> str:
    return new_token()


def _whole(response: object) -> Response:
    assert isinstance(response, Response)
    return response


class _Form(OAuth2Payload):
    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self._pairs = pairs

    @property
    def data(self) -> dict[str, str]:
        return dict(self._pairs)

    @property
    def datalist(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name, value in self._pairs:
            found.setdefault(name, []).append(value)
        return found


class _FormRequest(OAuth2Request):
    """Query and form parameters as Authlib wants them, each kept apart and together."""

    def __init__(self, request: Arrived) -> None:
        super().__init__(request.method, request.url, headers=request.headers)
        self._query = parse_qsl(request.query, keep_blank_values=True)
        self._body_pairs = parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True)
        self.payload = _Form(self._query + self._body_pairs)

    @property
    def args(self) -> dict[str, str | None]:
        return dict(self._query)

    @property
    def form(self) -> dict[str, str]:
        return dict(self._body_pairs)


class _JsonBody(JsonPayload):
    def __init__(self, body: bytes) -> None:
        self._body = body

    @property
    def data(self) -> dict[str, object]:
        try:
            value = json.loads(self._body)
        except ValueError:
            raise InvalidRequestError("The body is not JSON.") from None
        if not isinstance(value, dict):
            raise InvalidRequestError("The body is not a JSON object.")
        return value


class _Challenge(CodeChallenge):
    """PKCE without the two loopholes of the RFC: no `plain`, and no leaving it out."""

    SUPPORTED_CODE_CHALLENGE_METHOD = ["S256"]  # noqa: RUF012 (declared so by Authlib)

    def validate_code_challenge(self, grant: AuthorizationCodeGrant, redirect_uri: str) -> None:
        payload = grant.request.payload
        assert payload is not None
        if payload.data.get("code_challenge_method") != "S256":
            raise InvalidRequestError("PKCE with S256 is required.")
        super().validate_code_challenge(grant, redirect_uri)


class _Iss(IssuerParameter):
    def __init__(self, url: str) -> None:
        self._url = url

    def get_issuer(self) -> str:
        return self._url

    def add_issuer_parameter(self, authorization_server: AuthorizationServer, response: Response) -> None:
        location = response.headers.get("location")
        if location:
            response.headers["location"] = add_params_to_uri(location, {"iss": self._url})


class _CodeGrant(AuthorizationCodeGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = AUTH_METHODS

    def save_authorization_code(self, code: str, request: OAuth2Request) -> None:
        assert request.client is not None and request.payload is not None
        self._ledger.keep_code(
            code,
            Code(
                client_id=request.client.get_client_id(),
                redirect_uri=request.payload.redirect_uri,
                scope=request.scope,
                user=str(request.user),
                code_challenge=request.payload.data["code_challenge"],
                code_challenge_method=request.payload.data["code_challenge_method"],
                issued_at=time.time(),
            ),
        )

    def query_authorization_code(self, code: str, client: ClientMixin) -> Code | None:
        return self._ledger.code(code, client)

    def delete_authorization_code(self, authorization_code: Code) -> None:
        self._ledger.drop_code(authorization_code)

    def authenticate_user(self, authorization_code: Code) -> str:
        return authorization_code.user

    @property
    def _ledger(self) -> Ledger:
        ledger: Ledger = self.server.ledger
        return ledger


class _RefreshGrant(RefreshTokenGrant):
    """Rotation: every refresh token works once."""

    TOKEN_ENDPOINT_AUTH_METHODS = AUTH_METHODS
    INCLUDE_NEW_REFRESH_TOKEN = True

    def authenticate_refresh_token(  # type: ignore[override]  # Authlib allows None
        self, refresh_token: str
    ) -> Token | None:
        token: Token | None = self.server.ledger.by_refresh_token(refresh_token)
        return token if token and not token.refreshed and not token.revoked else None

    def authenticate_user(self, refresh_token: Token) -> str:
        return refresh_token.user

    def revoke_old_credential(self, refresh_token: TokenMixin) -> None:
        assert isinstance(refresh_token, Token)
        refresh_token.refreshed = True


class _Registration(ClientRegistrationEndpoint):
    """Open registration; a public client gets no secret."""

    def authenticate_token(self, request: JsonRequest) -> str:
        return "anyone"

    def get_server_metadata(self) -> dict[str, object]:
        return metadata(self.server.url)

    def generate_client_info(self, request: JsonRequest) -> dict[str, object]:
        info = super().generate_client_info(request)
        assert request.payload is not None
        if request.payload.data.get("token_endpoint_auth_method") == "none":
            del info["client_secret"], info["client_secret_expires_at"]
        return info

    def save_client(
        self, client_info: dict[str, Any], client_metadata: dict[str, Any], request: JsonRequest
    ) -> RegisteredClient:
        redirect_uris = client_metadata.get("redirect_uris")
        if not redirect_uris:
            raise InvalidRequestError("redirect_uris is missing.")
        secret = client_info.get("client_secret")
        client = RegisteredClient(
            client_id=client_info["client_id"],
            client_secret=Secret(secret) if secret else None,
            name=str(client_metadata.get("client_name") or client_info["client_id"]),
            auth_method=client_metadata["token_endpoint_auth_method"],
            redirect_uris=tuple(redirect_uris),
            grant_types=tuple(client_metadata.get("grant_types") or ["authorization_code"]),
            scopes=tuple(str(client_metadata.get("scope") or " ".join(SCOPES)).split()),
        )
        self.server.ledger.clients[client.client_id] = client
        return client


class _Revocation(RevocationEndpoint):
    """Revoking either token of a pair ends both."""

    CLIENT_AUTH_METHODS = AUTH_METHODS

    def query_token(self, token_string: str, token_type_hint: str | None) -> Token | None:
        ledger: Ledger = self.server.ledger
        return ledger.by_refresh_token(token_string) or ledger.by_access_token(token_string)

    def revoke_token(self, token: Token, request: OAuth2Request) -> None:
        token.revoked = True
