"""The two faces of the demo's server: the authorization server's routes, and the API that its tokens open."""

import html
import secrets
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from authlib.oauth2 import OAuth2Error, OAuth2Request, ResourceProtector
from authlib.oauth2.rfc6750 import BearerTokenValidator
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from authsome.demo.issuer import PERSON, Arrived, Issuer, metadata
from authsome.demo.ledger import Ledger, Received, Token
from authsome.demo.names import SCOPES

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",  # under "no-referrer" a browser sends the form with `Origin: null`
}
_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>body{{font:1.1rem/1.6 system-ui,sans-serif;max-width:32rem;margin:15vh auto;padding:0 1rem;color:#222}}
button{{font:inherit;padding:.5rem 1.2rem;margin-right:.5rem}}</style>
<h1>{title}</h1>{body}</html>"""
_CONSENT = """<p><b>{client}</b> asks to act for you, <b>{person}</b>, with the scopes <b>{scopes}</b>.
This page stands for a provider's own: it is served by the demo, on this machine.</p>
<form method="post" action="/consent"><input type="hidden" name="ticket" value="{ticket}">
<button name="answer" value="allow">Allow</button><button name="answer" value="deny">Deny</button></form>"""


class Desk:
    """Where the person consents. A page's ticket is good for one answer from that page."""

    def __init__(self, issuer: Issuer) -> None:
        self._issuer = issuer
        self._pending: dict[str, Arrived] = {}

    async def ask(self, request: Request) -> Response:
        """GET /authorize: validates the request and shows the consent page (RFC 6749 §4.1.1)."""
        arrived = await _arrived(request)
        try:
            grant = self._issuer.consent_grant(arrived)
        except OAuth2Error as error:
            return self._issuer.refuse(arrived, error)
        ticket = secrets.token_urlsafe(16)
        self._pending[ticket] = arrived
        body = _CONSENT.format(
            client=html.escape(grant.client.name), person=PERSON, scopes=html.escape(grant.request.scope), ticket=ticket
        )
        return HTMLResponse(_PAGE.format(title="Demo provider", body=body), headers=_HEADERS)

    async def answer(self, request: Request) -> Response:
        """POST /consent: sends the browser back to the client, with a code or with `access_denied`."""
        form = self._issuer.create_oauth2_request(await _arrived(request)).form
        arrived = self._pending.pop(form.get("ticket", ""), None)
        if request.headers.get("origin") != self._issuer.url or arrived is None:
            body = "<p>This answer does not belong to a page that was shown here.</p>"
            return HTMLResponse(_PAGE.format(title="Refused", body=body), HTTPStatus.FORBIDDEN, _HEADERS)
        return self._issuer.consent(self._issuer.consent_grant(arrived), allowed=form.get("answer") == "allow")


def authorization_server(issuer: Issuer) -> Starlette:
    """The routes of the authorization server, plain HTTP on a loopback port."""
    desk = Desk(issuer)

    async def show_metadata(request: Request) -> Response:
        return JSONResponse(metadata(issuer.url))

    def endpoint(respond: Callable[[Arrived], Response]) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            return respond(await _arrived(request))

        return answer

    return Starlette(
        routes=[
            Route("/.well-known/oauth-authorization-server", show_metadata),
            Route("/register", endpoint(issuer.register), methods=["POST"]),
            Route("/authorize", desk.ask),
            Route("/consent", desk.answer, methods=["POST"]),
            Route("/token", endpoint(issuer.token), methods=["POST"]),
            Route("/revoke", endpoint(issuer.revoke), methods=["POST"]),
        ]
    )


class _Bearer(BearerTokenValidator):
    def __init__(self, ledger: Ledger) -> None:
        super().__init__(realm="demo")
        self._ledger = ledger

    def authenticate_token(self, token_string: str) -> Token | None:
        return self._ledger.by_access_token(token_string)


def api(host: str, issuer: Issuer) -> Starlette:
    """The protected API, served over TLS under `host`; it writes down each request that it gets."""
    ledger = issuer.ledger
    protector = ResourceProtector()
    protector.register_token_validator(_Bearer(ledger))
    place = f"https://{host}/.well-known/oauth-protected-resource"

    async def show_metadata(request: Request) -> Response:
        """RFC 9728 §2."""
        return JSONResponse(
            {
                "resource": f"https://{host}",
                "authorization_servers": [issuer.url],
                "scopes_supported": list(SCOPES),
                "bearer_methods_supported": ["header"],
            }
        )

    async def whoami(request: Request) -> Response:
        try:
            arrived = OAuth2Request("GET", str(request.url), headers=request.headers)
            token = protector.validate_request(["profile"], arrived)
        except OAuth2Error as error:
            response = JSONResponse(dict(error.get_body()), error.status_code)
            told = f'error="{error.error}", ' if "authorization" in request.headers else ""
            response.headers["WWW-Authenticate"] = f'Bearer {told}resource_metadata="{place}"'
        else:
            response = JSONResponse({"name": token.user, "client": token.client.name, "scope": token.scope})
        ledger.received.append(_describe(request, response.status_code, ledger))
        return response

    return Starlette(routes=[Route("/.well-known/oauth-protected-resource", show_metadata), Route("/whoami", whoami)])


def _describe(request: Request, status: int, ledger: Ledger) -> Received:
    header = request.headers.get("authorization", "")
    scheme, _, value = header.partition(" ")
    issued_here = bool(value) and ledger.by_access_token(value) is not None
    shown = f"{scheme} {value[:4]}… ({len(value)} characters)" if issued_here else header[:60]
    return Received(path=request.url.path, authorization=shown, issued_here=issued_here, status=status)


async def _arrived(request: Request) -> Arrived:
    return Arrived(request.method, str(request.url), request.url.query, request.headers, await request.body())
