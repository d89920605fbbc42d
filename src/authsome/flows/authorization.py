"""The authorization code dialogue with PKCE, shared by every flow that sends a person to consent."""

from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from authlib.oauth2.rfc7636 import create_s256_code_challenge

from authsome.errors import LoginCancelled, LoginFailed, NeedsLogin
from authsome.flows.discovery import Server
from authsome.flows.documents import clean, origin
from authsome.flows.registration import obtain_client
from authsome.flows.steps import Callback, Dialogue, Fetch, Fetched, OpenBrowser, Outcome, Random, Text, Wish, ask
from authsome.flows.tokens import ClientRefused, exchange
from authsome.model.connection import Client, Grant
from authsome.model.secret import Secret

OURS = frozenset(
    {"response_type", "client_id", "redirect_uri", "state", "scope", "resource"}
    | {"code_challenge", "code_challenge_method"}
)


def authorize(wish: Wish, server: Server, scopes: tuple[str, ...], now: float) -> Dialogue[Outcome]:
    """Client, consent, exchange. A client that the server has forgotten is replaced once.

    Raises LoginFailed, LoginCancelled, Unreachable.
    """
    oauth = wish.provider.oauth
    assert oauth is not None
    client = yield from obtain_client(server, wish.redirect_uri, scopes, now)
    if client.registered and (yield from _is_forgotten(wish, server, client, scopes)):
        client = yield from obtain_client(server, wish.redirect_uri, scopes, now, refused=client)
    try:
        return (yield from _consent(wish, server, client, scopes))
    except ClientRefused:
        if not client.registered:
            raise
    client = yield from obtain_client(server, wish.redirect_uri, scopes, now, refused=client)
    return (yield from _consent(wish, server, client, scopes))


def _consent(wish: Wish, server: Server, client: Client, scopes: tuple[str, ...]) -> Dialogue[Outcome]:
    oauth = wish.provider.oauth
    assert oauth is not None
    state = (yield from ask(Random(), Text)).value
    verifier = (yield from ask(Random(), Text)).value
    url = _url(wish, server, client, scopes, state, create_s256_code_challenge(verifier))
    params = (yield from ask(OpenBrowser(url=url, state=state, issuer=server.issuer), Callback)).params
    code = _read_callback(params, server)
    grant = Grant(
        issuer=server.issuer,
        token_url=server.token_url,
        revocation_url=server.revocation_url,
        redirect_uri=wish.redirect_uri,
        resource=server.resource,
    )
    try:
        credential, granted = yield from exchange(
            oauth, grant, client, code, Secret(verifier), owner_wrote=server.owner_wrote
        )
    except NeedsLogin as error:
        raise LoginFailed(error.message, "start the login again") from None
    return Outcome(credential=credential, grant=grant, scopes=scopes if granted is None else granted)


def _url(wish: Wish, server: Server, client: Client, scopes: tuple[str, ...], state: str, challenge: str) -> str:
    """RFC 6749 §4.1.1, RFC 7636 §4.3, RFC 8707 §2.1. Neither file nor server can set what is ours (O32)."""
    oauth = wish.provider.oauth
    assert oauth is not None
    parts = urlsplit(server.authorization_url)
    params = dict(parse_qsl(parts.query, keep_blank_values=True)) | oauth.authorization_params
    if "offline_access" in scopes and server.offers_offline_access:
        params.setdefault("prompt", "consent")  # OpenID Connect Core §11
    params = {name: value for name, value in params.items() if name not in OURS}
    params |= {
        "response_type": "code",
        "client_id": client.client_id,
        "redirect_uri": wish.redirect_uri,
        "state": state,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    if scopes:
        params["scope"] = oauth.scope_separator.join(scopes)
    if server.resource:
        params["resource"] = server.resource
    return urlunsplit(parts._replace(query=urlencode(params)))


def _read_callback(params: dict[str, str], server: Server) -> Secret:
    """RFC 6749 §4.1.2, RFC 9207 §2.4: on a wrong `iss` nothing of the response is used, nor shown.

    Denials that lack the announced `iss` are common; they end the login too, and nothing more.
    """
    issuer, error = params.get("iss"), params.get("error")
    is_theirs = issuer == server.issuer or (issuer is None and not server.sends_iss)
    if error == "access_denied" and issuer in (None, server.issuer):
        raise LoginCancelled("consent was denied", "start the login again when you want to allow it")
    if not is_theirs:
        raise LoginFailed("the answer came from another authorization server (iss)", "start the login again")
    if error is not None:
        raise LoginFailed(f"{server.issuer} answered {clean(error, 60)}: {clean(params.get('error_description'))}")
    code = params.get("code")
    if not code:
        raise LoginFailed(f"{server.issuer} sent neither a code nor an error")
    return Secret(code)


def _is_forgotten(wish: Wish, server: Server, client: Client, scopes: tuple[str, ...]) -> Dialogue[bool]:
    """Whether the server no longer knows a kept client.

    It would tell the person in its page, not us; so its answer to the same request, asked without a
    browser session, is read first. Only a plain refusal that speaks of the client counts.
    """
    probe = (yield from ask(Random(), Text)).value
    url = _url(wish, server, client, scopes, probe, create_s256_code_challenge(probe))
    trusted = server.owner_wrote and origin(url) == origin(server.issuer)
    answer = yield from ask(Fetch(url=url, owner_wrote=trusted), Fetched)
    if answer.status not in (400, 401, 403, 404):
        return False
    text = answer.body[:20_000].decode("utf-8", "replace").lower().replace("_", " ")
    return "invalid client" in text or "unknown client" in text or "client not found" in text


def with_offline_access(scopes: tuple[str, ...], server: Server) -> tuple[str, ...]:
    """`offline_access` added where the server offers it, for a refresh token (MCP 2026-07-28, SEP-2207)."""
    if server.offers_offline_access and "offline_access" not in scopes:
        return (*scopes, "offline_access")
    return scopes
