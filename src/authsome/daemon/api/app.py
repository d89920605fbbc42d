"""The owner's application: the routers, and how failures are told."""

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from authsome import __version__
from authsome.daemon.api import approvals, connections, house, logins, providers, runs
from authsome.daemon.api.shapes import Failure
from authsome.daemon.guard import BodyRefused, logged
from authsome.daemon.house import House
from authsome.errors import AuthsomeError, UsageError


def owner_app(the_house: House) -> FastAPI:
    """The application behind the Unix socket."""
    app = FastAPI(
        title="authsome",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses={status: {"model": Failure, "description": "what, and what next"} for status in ("4XX", "5XX")},
    )
    app.state.house = the_house
    for module in (house, approvals, providers, connections, logins, runs):
        app.include_router(module.router)
    app.add_exception_handler(AuthsomeError, _known)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(Exception, _unknown)
    return app


async def _known(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, AuthsomeError)
    return JSONResponse(error.to_json(), error.http_status)


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    """Names the place and the rule, never the value: it may be a secret."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"][1:])
    return await _known(_, UsageError(f"{place}: {first['msg'].lower()}"))


async def _refused(_: Request, error: Exception) -> JSONResponse:
    """What the framework refuses: no such path or method, or a body that cannot be read."""
    assert isinstance(error, HTTPException)
    if error.status_code in (404, 405):
        answer = UsageError("there is no such call", "the command line and the daemon may be of different versions")
    elif isinstance(error, BodyRefused):
        answer = UsageError(error.detail)
    else:
        answer = UsageError("the request cannot be read")
    return JSONResponse(answer.to_json(), error.status_code, error.headers)


async def _unknown(_: Request, error: Exception) -> JSONResponse:
    answer = AuthsomeError(f"something broke inside the daemon ({logged(error)})", "see authsome daemon logs")
    return JSONResponse(answer.to_json(), 500)
