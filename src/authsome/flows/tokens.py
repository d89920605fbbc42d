"""Token requests and answers: code exchange, refresh, revocation (RFC 6749 §4.1.3, §5, §6; RFC 7009)."""

import base64
from urllib.parse import parse_qsl, quote_plus

from authlib.oauth2.rfc6749.parameters import prepare_token_request
from authlib.oauth2.rfc7009 import prepare_revoke_token_request

from authsome.errors import CredentialMissing, LoginFailed, NeedsLogin
from authsome.flows.documents import TEN_YEARS, Document, clean, origin
from authsome.flows.steps import Dialogue, Fetch, Fetched, Form, ask
from authsome.model.connection import Client, Connection, Credential, Grant
from authsome.model.provider import OAuth
from authsome.model.route import is_loopback_url
from authsome.model.secret import Secret

# Slack says "bot" or "user" where RFC 6749 §7.1 says "bearer"; they are used in the same way.
BEARER_TYPES = frozenset({"bearer", "bot", "user"})


class ClientRefused(LoginFailed):
    """The token endpoint does not know the client any more: `invalid_client` (RFC 6749 §5.2)."""

    code = "client_refused"


def exchange(
    oauth: OAuth, grant: Grant, client: Client, code: Secret, verifier: Secret, *, owner_wrote: bool
) -> Dialogue[tuple[Credential, tuple[str, ...] | None]]:
    """An authorization code for a credential and the granted scopes. Raises LoginFailed, ClientRefused."""
    assert grant.token_url is not None
    extra = _extra(oauth, grant) | {"code_verifier": verifier.reveal(), "code": code.reveal()}
    body = prepare_token_request("authorization_code", redirect_uri=grant.redirect_uri, **extra)
    answer = yield from _ask(oauth, grant.token_url, client, body, owner_wrote=owner_wrote)
    document = _read(answer, grant.token_url)
    scopes = document.scopes("scope", oauth.scope_separator)
    return _credential(document, answer, grant.token_url, None), scopes


def refresh(oauth: OAuth, connection: Connection, client: Client) -> Dialogue[Credential]:
    """A fresh credential. A missing refresh token in the answer keeps the old one (RFC 6749 §6).

    Raises NeedsLogin where the grant is dead for good; Unreachable and LoginFailed otherwise.
    """
    old, grant = connection.credential, connection.grant
    if old.refresh_token is None or grant.token_url is None:
        raise CredentialMissing(
            f"{connection} cannot be refreshed", f"log in again: authsome login {connection.provider}"
        )
    extra = _extra(oauth, grant) | {"refresh_token": old.refresh_token.reveal()}
    body = prepare_token_request("refresh_token", **extra)
    answer = yield from _ask(oauth, grant.token_url, client, body, owner_wrote=True)
    try:
        document = _read(answer, grant.token_url)
    except ClientRefused as error:
        raise NeedsLogin(error.message) from None
    return _credential(document, answer, grant.token_url, old.refresh_token)


def revoke(oauth: OAuth, connection: Connection, client: Client) -> Dialogue[bool]:
    """Revoke at the provider, the refresh token first (RFC 7009 §2); whether the server confirmed it."""
    url = connection.grant.revocation_url
    if url is None:
        return False
    credential = connection.credential
    for token, hint in ((credential.refresh_token, "refresh_token"), (credential.access_token, "access_token")):
        if token is None:
            continue
        body, _ = prepare_revoke_token_request(token.reveal(), token_type_hint=hint)
        answer = yield from _ask(oauth, url, client, body, owner_wrote=True)
        if answer.status != 200:
            return False
    return True


def _extra(oauth: OAuth, grant: Grant) -> dict[str, str]:
    """The file's own parameters and the resource (RFC 8707 §2.2); what the dialogue sets comes after and wins."""
    taken = {"grant_type", "redirect_uri", "client_id", "client_secret"}
    params = {name: value for name, value in oauth.token_params.items() if name not in taken}
    return params | ({"resource": grant.resource} if grant.resource else {})


def _ask(oauth: OAuth, url: str, client: Client, body: str, *, owner_wrote: bool) -> Dialogue[Fetched]:
    """One authenticated call to a token-like endpoint: exactly one client authentication (RFC 6749 §2.3)."""
    form: Form = tuple((name, Secret(value)) for name, value in parse_qsl(body))
    authorization = None
    if client.auth_method == "client_secret_basic" and client.client_secret is not None:
        # RFC 6749 §2.3.1: both are form-encoded before base64, which Authlib's client does not do
        pair = f"{quote_plus(client.client_id)}:{quote_plus(client.client_secret.reveal())}"
        authorization = Secret("Basic " + base64.b64encode(pair.encode()).decode())
    else:
        form += (("client_id", client.client_id),)
        if client.auth_method == "client_secret_post" and client.client_secret is not None:
            form += (("client_secret", client.client_secret),)
    json = dict(form) if oauth.token_request_format == "json" else None
    trusted = owner_wrote and (is_loopback_url(url) or origin(url) == origin(client.issuer))
    return (
        yield from ask(
            Fetch(
                url=url,
                method="POST",
                form=None if json else form,
                json=dict(json) if json else None,
                authorization=authorization,
                owner_wrote=trusted,
            ),
            Fetched,
        )
    )


def _read(answer: Fetched, url: str) -> Document:
    """The document of a good answer. GitHub reports errors with HTTP 200."""
    source = f"the token endpoint at {origin(url)}"
    if 300 <= answer.status < 400:
        raise LoginFailed(f"{source} redirects, which is not followed")
    try:
        document = Document.read(answer, source)
        error = document.text("error")
    except LoginFailed:
        if answer.status == 200:
            raise
        raise LoginFailed(f"{source} answered HTTP {answer.status}") from None
    if error is None and answer.status == 200:
        return document
    shown = clean(error) or f"HTTP {answer.status}"
    if error == "invalid_client":
        raise ClientRefused(f"{source} does not accept the client any more")
    if error == "invalid_grant":
        raise NeedsLogin(f"{source} refused the grant: {shown}", "log in again")
    raise LoginFailed(f"{source} answered {shown}")


def _credential(document: Document, answer: Fetched, url: str, kept: Secret | None) -> Credential:
    token_type = document.text("token_type")
    if token_type is None or token_type.lower() not in BEARER_TYPES:
        raise LoginFailed(
            f"the token endpoint at {origin(url)} sent a token_type that is not supported: {clean(token_type)}"
        )
    lifetime = document.seconds("expires_in")
    return Credential(
        access_token=Secret(document.need("access_token")),
        refresh_token=document.secret("refresh_token") or kept,
        token_type="Bearer",
        expires_at=answer.at + lifetime if lifetime is not None and lifetime < TEN_YEARS else None,
        obtained_at=answer.at,
    )
