"""Getting a client: kept from an earlier login, entered by the person, or registered (RFC 7591)."""

from urllib.parse import urlsplit

from authsome.errors import LoginFailed
from authsome.flows.discovery import Server
from authsome.flows.documents import Document, clean, origin
from authsome.flows.steps import (
    Choice,
    ChooseClient,
    Dialogue,
    Done,
    Fetch,
    Fetched,
    FindClient,
    FoundClient,
    KeepClient,
    Note,
    ask,
)
from authsome.model.connection import Client

METHODS = ("none", "client_secret_basic", "client_secret_post")
EXPIRY_MARGIN = 600.0


def obtain_client(
    server: Server, redirect_uri: str, scopes: tuple[str, ...], now: float, refused: Client | None = None
) -> Dialogue[Client]:
    """The client to log in with. One that the server `refused`, or that expires, is replaced.

    Raises LoginFailed, Unreachable, LoginCancelled.
    """
    found = yield from ask(FindClient(issuer=server.issuer, redirect_uri=redirect_uri), FoundClient)
    kept = found.client
    if kept is not None and not _is_over(kept, now) and not _same(kept, refused):
        return kept
    can_register = server.registration_url is not None
    if kept is not None and kept.registered and can_register:
        client = yield from register(server, redirect_uri, scopes)
    else:
        choice = yield from ask(ChooseClient(issuer=server.issuer, scopes=scopes, can_register=can_register), Choice)
        client = choice.entered or (yield from register(server, redirect_uri, scopes))
    in_force = yield from ask(KeepClient(client=client, replaces=kept), FoundClient)
    return in_force.client or client


def register(server: Server, redirect_uri: str, scopes: tuple[str, ...]) -> Dialogue[Client]:
    """Register a native client (RFC 7591 §2, RFC 8252 §8.4). The server's answer decides, not our wish."""
    if server.registration_url is None:
        raise LoginFailed(f"{server.issuer} does not register clients", "enter a client_id of your own")
    method = next((m for m in METHODS if m in server.auth_methods), "client_secret_basic")
    wanted: dict[str, object] = {
        "client_name": "authsome",
        "application_type": "native",
        "redirect_uris": [redirect_uri],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": method,
    }
    if scopes:
        wanted["scope"] = " ".join(scopes)
    answer = yield from ask(
        Fetch(url=server.registration_url, method="POST", json=wanted, owner_wrote=server.owner_wrote), Fetched
    )
    source = f"the registration at {origin(server.registration_url)}"
    if answer.status not in (200, 201):
        raise LoginFailed(f"{source} failed: {_reason(answer)}", "enter a client_id of your own in the local form")
    document = Document.read(answer, source)
    redirects = document.words("redirect_uris")
    if redirects is not None and redirect_uri not in redirects:
        raise LoginFailed(f"{source} changed redirect_uris")
    secret = document.secret("client_secret")
    granted = document.text("token_endpoint_auth_method") or ("client_secret_basic" if secret else "none")
    if granted not in METHODS:
        raise LoginFailed(f"{source} asks for a token_endpoint_auth_method that is not supported: {clean(granted)}")
    expires_at = document.seconds("client_secret_expires_at") if secret else None
    if expires_at is not None and expires_at <= answer.at:
        raise LoginFailed(f"{source} gave a client that has expired already")
    management = document.text("registration_client_uri")
    client = Client(
        issuer=server.issuer,
        redirect_uri=redirect_uri,
        client_id=document.need("client_id"),
        client_secret=secret,
        auth_method=granted,
        secret_expires_at=expires_at,
        registration_url=management if management and _is_near(management, server.registration_url) else None,
        registration_token=document.secret("registration_access_token"),
    )
    yield from ask(Note(f"registered a client with {server.issuer}"), Done)
    return client


def _is_over(client: Client, now: float) -> bool:
    return client.secret_expires_at is not None and client.secret_expires_at - EXPIRY_MARGIN <= now


def _same(client: Client, other: Client | None) -> bool:
    return other is not None and client.client_id == other.client_id


def _is_near(url: str, registration_url: str) -> bool:
    """RFC 7592: the management URL is used only at the origin that registered."""
    return urlsplit(url).scheme in ("https", "http") and origin(url) == origin(registration_url)


def _reason(answer: Fetched) -> str:
    try:
        document = Document.read(answer, "it")
        return clean(document.text("error")) or f"HTTP {answer.status}"
    except LoginFailed:
        return f"HTTP {answer.status}"
