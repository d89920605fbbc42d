"""What a dialogue may ask for, and what it is answered: two closed sets."""

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, TypeVar

from authsome.model.connection import Client, Credential, Grant
from authsome.model.provider import Provider
from authsome.model.secret import Secret

T = TypeVar("T")
Form: TypeAlias = tuple[tuple[str, str | Secret], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the person asked for. `scopes` None means the provider's own."""

    provider: Provider
    redirect_uri: str
    scopes: tuple[str, ...] | None = None
    base_url: str | None = None

    def fill(self, url: str) -> str:
        """A URL of the provider's file with `{base_url}` replaced."""
        return self.provider.fill(url, self.base_url)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a login ends with."""

    credential: Credential
    grant: Grant = field(default_factory=Grant)
    scopes: tuple[str, ...] = ()


# ── asked ──────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetch:
    """One bounded HTTP call (P14). `owner_wrote` says that the owner's file, not a server, names the URL.

    At most one of `form` and `json` is given. Answered with `Fetched`; raises Unreachable.
    `cacheable` marks metadata that may be answered from memory.
    """

    url: str
    method: Literal["GET", "POST", "DELETE"] = "GET"
    form: Form | None = None
    json: dict[str, object] | None = None
    authorization: Secret | None = None
    owner_wrote: bool = False
    cacheable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FindClient:
    """The client kept for an authorization server; answered with `FoundClient`."""

    issuer: str
    redirect_uri: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepClient:
    """Seal this client, in place of the one that `replaces` names.

    Answered with `FoundClient`: the one in force, which is another where a concurrent login was faster.
    """

    client: Client
    replaces: Client | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChooseClient:
    """Ask the person: register by itself (where `can_register`), or enter a client. Answered with `Choice`."""

    issuer: str
    scopes: tuple[str, ...]
    can_register: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenBrowser:
    """Send the person to consent and wait; answered with `Callback`."""

    url: str
    state: str
    issuer: str


@dataclass(frozen=True, slots=True)
class AskKey:
    """Ask the person for an API key; answered with `Key`. `problem` says what was wrong with the last one."""

    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Random:
    """256 fresh random bits; answered with `Text`."""


@dataclass(frozen=True, slots=True)
class Note:
    """Something worth telling the person; answered with `Done`."""

    text: str


Step: TypeAlias = Fetch | FindClient | KeepClient | ChooseClient | OpenBrowser | AskKey | Random | Note

# ── answered ───────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """An answer of a server. Header names are lower case; `at` is the time of receipt, epoch seconds."""

    status: int
    headers: dict[str, str]
    body: bytes
    at: float


@dataclass(frozen=True, slots=True)
class FoundClient:
    """The kept client, or None."""

    client: Client | None


@dataclass(frozen=True, slots=True)
class Choice:
    """The client that the person entered, or None to register one."""

    entered: Client | None


@dataclass(frozen=True, slots=True)
class Callback:
    """The parameters of the redirect, each given once."""

    params: dict[str, str]


@dataclass(frozen=True, slots=True)
class Key:
    """What the person entered."""

    value: Secret


@dataclass(frozen=True, slots=True)
class Text:
    """URL-safe text."""

    value: str


@dataclass(frozen=True, slots=True)
class Done:
    """Nothing more to say."""


Reply: TypeAlias = Fetched | FoundClient | Choice | Callback | Key | Text | Done
Dialogue: TypeAlias = Generator[Step, Reply, T]


def ask(step: Step, kind: type[T]) -> Dialogue[T]:
    """Yield one step and hold the answer to its kind: `found = yield from ask(FindClient(…), FoundClient)`."""
    reply = yield step
    if not isinstance(reply, kind):
        raise TypeError(f"{type(step).__name__} was answered with {type(reply).__name__}")
    return reply
