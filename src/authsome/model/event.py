"""An `Event` is one audited fact, one class each; none of them has a field for a secret."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """The root. `at` is seconds since the epoch."""

    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeatable(Event):
    """What programs cause by the thousand: the same within a moment is told once, with the time of the first."""

    times: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedIn(Event):
    """A login ended in a connection."""

    provider: str
    connection: str
    flow: str
    scopes: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginFailedEvent(Event):
    """A login ended without one; `error` is the stable code."""

    provider: str
    connection: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientRegistered(Event):
    """A client was registered with, or entered for, an authorization server."""

    provider: str
    issuer: str
    how: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refreshed(Event):
    """An access token was replaced."""

    provider: str
    connection: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshFailed(Event):
    """A refresh did not lead to a token; `error` is the server's code or ours."""

    provider: str
    connection: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedOut(Event):
    """A connection was deleted; `revoked` tells whether the provider confirmed the revocation."""

    provider: str
    connection: str
    revoked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported(Event):
    """A credential was handed out in clear, to `export` or `get --show-secret`; `caller` says to which command."""

    provider: str
    connection: str
    how: str
    caller: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Withheld(Repeatable):
    """A credential that was asked for in clear was not handed out, or a yes to that was not taken.

    `how` and `caller` as for `Exported`; `why` for people. Provider and connection are `*` where all were asked for.
    """

    provider: str
    connection: str
    how: str
    why: str
    caller: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted(Event):
    """A run began."""

    run: str
    pid: int
    command: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnded(Event):
    """A run's process is gone and so is its token."""

    run: str
    requests: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Injected(Repeatable):
    """A request was answered that had left with a credential. The path's query is never kept."""

    run: str
    provider: str
    connection: str
    method: str
    host: str
    path: str
    status: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Denied(Repeatable):
    """A request was refused by the proxy; `error` is the code that the child saw."""

    run: str
    host: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderChanged(Event):
    """A provider file was installed or removed through authsome."""

    provider: str
    how: str
