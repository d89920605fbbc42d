"""A `Connection` is a named result of a login; its `Credential` is the secret part."""

from dataclasses import dataclass, field
from enum import StrEnum

from authsome.model.injection import Placement
from authsome.model.route import Route
from authsome.model.secret import Secret


class Status(StrEnum):
    """What a connection is good for."""

    CONNECTED = "connected"
    EXPIRED = "expired"
    NEEDS_LOGIN = "needs_login"


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """The secret part. Times are seconds since the epoch; `expires_at` is None where it is unknown."""

    access_token: Secret | None = None
    refresh_token: Secret | None = None
    api_key: Secret | None = None
    token_type: str = "Bearer"
    expires_at: float | None = None
    obtained_at: float = 0.0

    @property
    def value(self) -> Secret | None:
        """What goes on a request: the access token or the key."""
        return self.access_token or self.api_key


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Where the credential came from, and so where it is refreshed and revoked (all None for a key)."""

    issuer: str | None = None
    token_url: str | None = None
    revocation_url: str | None = None
    redirect_uri: str | None = None
    resource: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """One account at one provider, `provider/name`.

    `routes` and `placement` are pinned at login (P18); a connection made before placements were kept has none.
    `version` counts the writes of the stored row (P27).
    """

    provider: str
    name: str
    flow: str
    is_default: bool = False
    needs_login: bool = False
    scopes: tuple[str, ...] = ()
    routes: tuple[Route, ...] = ()
    placement: Placement | None = None
    base_url: str | None = None
    account: str | None = None
    grant: Grant = field(default_factory=Grant)
    credential: Credential = field(default_factory=Credential)
    created_at: float = 0.0
    updated_at: float = 0.0
    version: int = 0

    @property
    def key(self) -> tuple[str, str]:
        """What identifies it: provider and name."""
        return (self.provider, self.name)

    def status(self, now: float) -> Status:
        """`needs_login` once a refresh was refused for good, `expired` where none is possible."""
        if self.needs_login or self.credential.value is None:
            return Status.NEEDS_LOGIN
        expires_at = self.credential.expires_at
        if expires_at is not None and expires_at <= now and self.credential.refresh_token is None:
            return Status.EXPIRED
        return Status.CONNECTED

    def __str__(self) -> str:
        return f"{self.provider}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """An OAuth client, keyed by issuer and redirect URI (RFC 7591 §3.2.1, RFC 7592 §3).

    `registered` tells one that we registered from one that the owner entered.
    `secret_expires_at` is None where the secret never expires.
    """

    issuer: str
    redirect_uri: str
    client_id: str
    client_secret: Secret | None = None
    auth_method: str = "none"
    registered: bool = True
    secret_expires_at: float | None = None
    registration_url: str | None = None
    registration_token: Secret | None = None
    version: int = 0
