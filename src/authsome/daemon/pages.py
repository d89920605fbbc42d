"""What the person's browser is shown: the login pages and the OAuth callback, and nothing that acts without them."""

import secrets
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, FastAPI, Form, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

from authsome import __version__
from authsome.daemon.guard import POLICY, BodyRefused, logged
from authsome.daemon.sessions import LoginSession, Phase, Sessions, cookie_name, entered_client, is_same
from authsome.errors import AuthsomeError, CallbackRefused, UsageError
from authsome.flows.documents import origin
from authsome.flows.steps import AskKey, Choice, ChooseClient, Key, OpenBrowser
from authsome.model.secret import Secret

if TYPE_CHECKING:
    from jinja2 import Environment

PATIENCE = 12.0  # a callback waits this long for the exchange before it shows that it is still working
COOKIE_SECONDS = 900

_style = files("authsome.daemon").joinpath("static/style.css")

Field = Annotated[str, Form(max_length=16_384)]


def browser_app(sessions: Sessions) -> FastAPI:
    """The application behind 127.0.0.1:7998; `Guard` stands before it."""
    app = FastAPI(
        title="authsome", version=__version__, docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False
    )
    app.include_router(_router(sessions))
    app.add_exception_handler(AuthsomeError, _refused)
    app.add_exception_handler(HTTPException, _not_here)
    app.add_exception_handler(Exception, _broken)
    app.add_exception_handler(RequestValidationError, _invalid)
    return app


def _router(sessions: Sessions) -> APIRouter:
    router = APIRouter()

    @router.get("/health")
    async def health() -> JSONResponse:
        return JSONResponse({"ok": True, "version": __version__})

    @router.get("/ready")
    async def ready() -> JSONResponse:
        return JSONResponse({"ok": True})

    @router.get("/static/style.css")
    async def style() -> Response:
        return Response(_style.read_bytes(), media_type="text/css")

    @router.get("/auth/login/{ticket}")
    async def enter(ticket: str) -> Response:
        """The one-time hop: it binds this browser to the login before anything else is shown (O03)."""
        session = sessions.open_ticket(ticket)
        if session is None:
            raise CallbackRefused("this link was used already, or its login is over", "start the login again")
        answer = RedirectResponse(f"/auth/sessions/{session.id}", 303)
        answer.set_cookie(
            cookie_name(session), session.cookie, max_age=COOKIE_SECONDS, path="/auth", httponly=True, samesite="lax"
        )
        return answer

    @router.get("/auth/sessions/{number}")
    async def show(request: Request, number: str) -> Response:
        session = _of_browser(sessions, request, number)
        if session.phase is Phase.WORKING:
            await session.wait(session.step, PATIENCE)
        return _page_of(session)

    @router.post("/auth/sessions/{number}/client")
    async def client(
        request: Request, number: str, form_token: Field = "", client_id: Field = "", client_secret: Field = ""
    ) -> Response:
        session = _of_form(sessions, request, number, form_token)
        try:
            chosen = Choice(entered_client(session, client_id, client_secret) if client_id.strip() else None)
            asked = session.asked
            if chosen.entered is None and not (isinstance(asked, ChooseClient) and asked.can_register):
                raise UsageError("a client_id is needed: this server does not register clients")
        except UsageError as error:
            return _page_of(session, problem=error.message)
        step = session.step
        session.give(chosen)
        await session.wait(step, PATIENCE)
        if session.phase is Phase.WORKING:
            await session.wait(session.step, PATIENCE)
        return _onward(session)

    @router.post("/auth/sessions/{number}/key")
    async def key(request: Request, number: str, form_token: Field = "", api_key: Field = "") -> Response:
        session = _of_form(sessions, request, number, form_token)
        step = session.step
        session.give(Key(Secret(api_key)))
        await session.wait(step + 1, PATIENCE)
        return RedirectResponse(f"/auth/sessions/{session.id}", 303)

    @router.post("/auth/sessions/{number}/cancel")
    async def cancel(request: Request, number: str, form_token: Field = "") -> Response:
        session = _of_form(sessions, request, number, form_token)
        sessions.cancel(session, "the login was cancelled in the browser")
        return RedirectResponse(f"/auth/sessions/{session.id}", 303)

    @router.get("/auth/callback/oauth")
    async def callback(request: Request) -> Response:
        """The redirect of the authorization server; the answer moves on so that no code stays in the address."""
        session = sessions.take_callback(request.url.query, cookies=request.cookies)
        await session.wait(session.step, PATIENCE)
        return RedirectResponse(f"/auth/sessions/{session.id}", 303)

    return router


def _of_browser(sessions: Sessions, request: Request, number: str) -> LoginSession:
    """The session, if this browser is the one that began it (W06)."""
    session = sessions.get(number)
    shown = request.cookies.get(cookie_name(session), "") if session else ""
    if session is None or not is_same(shown, session.cookie):
        raise CallbackRefused("this login is not open in this browser", "start the login again")
    return session


def _of_form(sessions: Sessions, request: Request, number: str, form_token: str) -> LoginSession:
    session = _of_browser(sessions, request, number)
    if not is_same(form_token, session.form_token) or session.answer is None:
        raise CallbackRefused("this form was used already", "go back to the terminal and start the login again")
    session.form_token = secrets.token_urlsafe(16)
    return session


def _onward(session: LoginSession) -> Response:
    """To consent, or to our own page where something else comes first."""
    if isinstance(session.asked, OpenBrowser):
        return RedirectResponse(session.asked.url, 303)
    return RedirectResponse(f"/auth/sessions/{session.id}", 303)


def _page_of(session: LoginSession, problem: str | None = None) -> Response:
    provider = session.wish.provider
    shown: dict[str, object] = {"session": session, "provider": provider, "problem": problem}
    match session.asked:
        case OpenBrowser():
            return _onward(session)
        case ChooseClient() as asked:
            shown |= {"asked": asked, "server": origin(asked.issuer), "redirect_uri": session.wish.redirect_uri}
            return _html("client.html", shown, form_action=_form_action(asked.issuer))
        case AskKey() as asked:
            shown |= {"asked": asked, "routes": [str(route) for route in provider.routes(session.wish.base_url)]}
            return _html("key.html", shown)
        case None:
            return _html("result.html" if session.has_ended else "working.html", shown)


def _form_action(issuer: str) -> str:
    """The main button leads to the authorization server, which may lead on: browsers hold every hop to this list."""
    local = f" {origin(issuer)}" if urlsplit(issuer).scheme == "http" else ""
    return f"'self' https:{local}"


@cache
def _pages() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined  # 2 MB that most daemons never need

    return Environment(
        loader=PackageLoader("authsome.daemon"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )


def _html(template: str, shown: dict[str, object], *, form_action: str = "'self'", status: int = 200) -> HTMLResponse:
    body = _pages().get_template(template).render(shown)
    return HTMLResponse(body, status, headers={"content-security-policy": POLICY.format(form_action)})


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, AuthsomeError)
    return _html("refused.html", {"message": error.message, "hint": error.hint or ""}, status=error.http_status)


async def _invalid(_: Request, __: Exception) -> Response:
    """What was sent is not repeated: it may be a key."""
    return _html("refused.html", {"message": "that form cannot be read", "hint": "it may be too long"}, status=400)


async def _not_here(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    unread = error.detail if isinstance(error, BodyRefused) else "the request cannot be read"
    message = "there is no such page" if error.status_code in (404, 405) else unread
    answer = _html("refused.html", {"message": message, "hint": ""}, status=error.status_code)
    answer.headers.update(error.headers or {})
    return answer


async def _broken(_: Request, error: Exception) -> Response:
    shown: dict[str, object] = {
        "message": f"something broke; the log names it {logged(error)}",
        "hint": "authsome daemon logs",
    }
    return _html("refused.html", shown, status=500)
