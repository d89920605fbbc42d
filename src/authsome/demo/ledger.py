"""What the demo's servers know: the clients, codes and tokens they issued, and the requests that the API received."""

import os
import secrets
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from authlib.oauth2.rfc6749 import AuthorizationCodeMixin, ClientMixin, TokenMixin

from authsome.model.secret import Secret

CODE_LIFETIME = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredClient(ClientMixin):
    """A client as it registered itself (RFC 7591 §3.2.1)."""

    client_id: str
    client_secret: Secret | None
    name: str
    auth_method: str
    redirect_uris: tuple[str, ...]
    grant_types: tuple[str, ...]
    scopes: tuple[str, ...]

    def get_client_id(self) -> str:
        return self.client_id

    def get_default_redirect_uri(self) -> str:
        return self.redirect_uris[0]

    def get_allowed_scope(self, scope: Collection[str] | str | None) -> str:
        asked = scope.split() if isinstance(scope, str) else scope
        return " ".join(word for word in asked or self.scopes if word in self.scopes)

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        return redirect_uri in self.redirect_uris

    def check_client_secret(self, client_secret: str) -> bool:
        return self.client_secret is not None and self.client_secret == Secret(client_secret)

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method == self.auth_method

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type in self.grant_types


@dataclass(frozen=True, slots=True, kw_only=True)
class Code(AuthorizationCodeMixin):
    """An authorization code; the member names with `code_` are those that Authlib's PKCE extension reads."""

    client_id: str
    redirect_uri: str
    scope: str
    user: str
    code_challenge: str
    code_challenge_method: str
    issued_at: float

    def get_redirect_uri(self) -> str:
        return self.redirect_uri

    def get_scope(self) -> str:
        return self.scope


@dataclass(slots=True, kw_only=True)
class Token(TokenMixin):
    """An access token and the refresh token that came with it; `refreshed` marks a refresh token that was used."""

    access_token: Secret
    refresh_token: Secret | None
    client: RegisteredClient
    scope: str
    user: str
    expires_in: int
    issued_at: float
    refreshed: bool = False
    revoked: bool = False

    def check_client(self, client: ClientMixin) -> bool:
        return client is self.client

    def get_scope(self) -> str:
        return self.scope

    def get_expires_in(self) -> int:
        return self.expires_in

    def is_expired(self) -> bool:
        return time.time() > self.issued_at + self.expires_in

    def is_revoked(self) -> bool:
        return self.revoked

    def get_user(self) -> str:
        return self.user

    def get_client(self) -> RegisteredClient:
        return self.client


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A request at the API: its Authorization header shortened, and whether that was a token issued here."""

    path: str
    authorization: str
    issued_here: bool
    status: int


@dataclass(slots=True)
class Ledger:
    """The one store that the authorization server and the API share; it lives in memory only."""

    clients: dict[str, RegisteredClient] = field(default_factory=dict)
    tokens: list[Token] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)
    _codes: dict[str, Code] = field(default_factory=dict)

    def keep_code(self, value: str, code: Code) -> None:
        """Remember a code until it is used."""
        self._codes[value] = code

    def code(self, value: str, client: ClientMixin) -> Code | None:
        """The code, if it is that client's and still fresh."""
        code = self._codes.get(value)
        if code is None or code.client_id != client.get_client_id() or time.time() > code.issued_at + CODE_LIFETIME:
            return None
        return code

    def drop_code(self, code: Code) -> None:
        """A code is used once (RFC 6749 §4.1.2)."""
        self._codes = {value: kept for value, kept in self._codes.items() if kept is not code}

    def by_access_token(self, value: str) -> Token | None:
        """The token whose access token this is."""
        return next((token for token in self.tokens if token.access_token == Secret(value)), None)

    def by_refresh_token(self, value: str) -> Token | None:
        """The token whose refresh token this is."""
        return next((token for token in self.tokens if token.refresh_token == Secret(value)), None)

    def search(self, directory: Path) -> dict[str, object]:
        """How many files stand under a directory, and in which of them a secret issued here is readable."""
        texts = [secret.reveal().encode() for secret in self._secrets()]
        files, found = 0, []
        # os.walk passes over a directory that vanishes meanwhile, as a run's does when the run ends
        for path in sorted(Path(place, name) for place, _, names in os.walk(directory) for name in names):
            content = _content(path)
            if content is not None:
                files += 1
                found += [str(path.relative_to(directory))] if any(text in content for text in texts) else []
        return {"files": files, "found": found}

    def _secrets(self) -> list[Secret]:
        found = [token.access_token for token in self.tokens]
        found += [token.refresh_token for token in self.tokens if token.refresh_token]
        return found + [client.client_secret for client in self.clients.values() if client.client_secret]


def new_token() -> str:
    """256 random bits, 43 characters."""
    return secrets.token_urlsafe(32)


def _content(path: Path) -> bytes | None:
    """A file's bytes, None for what is none (a socket, a link) or is gone by now."""
    try:
        return path.read_bytes() if path.is_file() and not path.is_symlink() else None
    except FileNotFoundError:
        return None
