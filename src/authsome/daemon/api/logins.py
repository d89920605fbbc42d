"""`/auth/sessions`: starting a login, waiting for it, answering it from the terminal, cancelling it."""

from typing import Annotated

from fastapi import APIRouter, Query

from authsome.daemon.api.callers import OWNER_ONLY, Here
from authsome.daemon.api.shapes import Body, session_json
from authsome.daemon.house import House
from authsome.daemon.sessions import LoginSession, entered_client, pasted_query
from authsome.errors import CallbackRefused, ConnectionNotFound, UsageError
from authsome.flows.steps import Choice, Key, Wish
from authsome.flows.table import FLOWS
from authsome.model.names import CONNECTION
from authsome.model.provider import Provider
from authsome.model.secret import Secret

Wait = Annotated[int, Query(ge=0, le=30)]

router = APIRouter(prefix="/auth/sessions", dependencies=OWNER_ONLY)


class LoginBody(Body):
    """What to log in to, under which name, and how; `key` is one that was read from standard input."""

    provider: str
    connection: str | None = None
    flow: str | None = None
    scopes: list[str] | None = None
    base_url: str | None = None
    force: bool = False
    browser: bool = True
    key: str | None = None


class CallbackBody(Body):
    """A pasted redirect URL."""

    url: str


class KeyBody(Body):
    """A key from the masked prompt."""

    key: str


class ClientBody(Body):
    """A client of the person's own; the secret is empty where it has none."""

    client_id: str
    client_secret: str = ""


@router.post("")
async def start(body: LoginBody, house: Here) -> dict[str, object]:
    """Begin a login. Raises ProviderNotFound, InvalidProviderFile, ConnectionExists, UsageError."""
    provider = house.catalog.sound(body.provider).provider
    name = body.connection or "default"
    if not CONNECTION.match(name):
        raise UsageError(f"not a connection name: {name!r}", "use letters, digits and . _ @ + -")
    flow = _flow(provider, body)
    wish = Wish(
        provider=provider,
        redirect_uri=house.settings.redirect_uri,
        scopes=None if body.scopes is None else tuple(scope for scope in body.scopes if scope),
        base_url=_base_url(provider, body.base_url),
    )
    if flow == "api_key" and body.scopes is not None:
        raise UsageError("--scopes: a key has the scopes that it was made with", "leave --scopes out")
    house.broker.check_free(provider.name, name, force=body.force)
    session = LoginSession(
        wish=wish,
        connection=name,
        flow=flow,
        browser=body.browser,
        key=None if body.key is None else Secret(body.key),
    )
    return _shown(house.sessions.start(session), house)


@router.get("/{number}")
async def look(number: str, house: Here, wait: Wait = 0, after: int = -1) -> dict[str, object]:
    """The session, at once or when it has moved past the step `after`."""
    session = _session(number, house)
    await session.wait(after, wait)
    return _shown(session, house)


@router.post("/{number}/callback")
async def paste(number: str, body: CallbackBody, house: Here) -> dict[str, object]:
    """Take a redirect URL that the person pasted into the terminal."""
    session = _session(number, house)
    query = pasted_query(body.url, house.settings.redirect_uri)
    try:
        taken = house.sessions.take_callback(query, cookies=None)
    except CallbackRefused as error:
        raise UsageError(error.message, "paste the address at which the browser ended for this very login") from None
    if taken is not session:
        raise UsageError("that address belongs to another login")
    return _shown(session, house)


@router.post("/{number}/key")
async def give_key(number: str, body: KeyBody, house: Here) -> dict[str, object]:
    """Take a key that the person typed at the masked prompt."""
    session = _session(number, house)
    session.give(Key(Secret(body.key)))
    return _shown(session, house)


@router.post("/{number}/client")
async def give_client(number: str, body: ClientBody, house: Here) -> dict[str, object]:
    """Take a client that the person typed at the terminal, for a server that does not register clients."""
    session = _session(number, house)
    session.give(Choice(entered_client(session, body.client_id, body.client_secret)))
    return _shown(session, house)


@router.delete("/{number}")
async def cancel(number: str, house: Here) -> dict[str, object]:
    """Cancel; nothing is stored."""
    session = _session(number, house)
    house.sessions.cancel(session)
    return _shown(session, house)


def _session(number: str, house: House) -> LoginSession:
    session = house.sessions.get(number)
    if session is None:
        raise ConnectionNotFound("there is no such login in progress", "start the login again")
    return session


def _shown(session: LoginSession, house: House) -> dict[str, object]:
    return session_json(session, house.settings.origin)


def _flow(provider: Provider, body: LoginBody) -> str:
    name = body.flow or ("api_key" if body.key is not None and provider.api_key else provider.flow)
    able = {"api_key"} if provider.api_key else set()
    if provider.oauth:
        able |= {"pkce", "dcr_pkce"}
    if name not in FLOWS or name not in able:
        raise UsageError(f"{provider.name} cannot log in by {name!r}", f"it can by: {', '.join(sorted(able))}")
    if body.key is not None and name != "api_key":
        raise UsageError(f"{provider.name} logs in by {name}, not with a key", "leave --stdin out")
    return name


def _base_url(provider: Provider, base_url: str | None) -> str | None:
    if base_url is None:
        return None
    if not base_url.startswith("https://"):
        raise UsageError("--base-url: expected an https URL", "for example https://github.example.com")
    provider.routes(base_url)
    if "{base_url}" not in provider.model_dump_json():
        raise UsageError(f"{provider.name} has one address for everybody", "leave --base-url out")
    return base_url.rstrip("/")
