"""The JSON shapes that more than one route speaks."""

import time

from pydantic import BaseModel, ConfigDict

from authsome.daemon.sessions import LoginSession
from authsome.flows.steps import OpenBrowser
from authsome.model.connection import Connection
from authsome.model.secret import MASK


class Body(BaseModel):
    """A request's JSON: strict, unknown members refused."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Failure(BaseModel):
    """Every answer but a good one (`AuthsomeError.to_json`); some have further members. `exit` is the exit status."""

    model_config = ConfigDict(extra="allow")

    error: str
    message: str
    exit: int
    hint: str | None = None


def connection_json(connection: Connection) -> dict[str, object]:
    """A connection without its secrets."""
    credential, grant = connection.credential, connection.grant
    return {
        "provider": connection.provider,
        "connection": connection.name,
        "default": connection.is_default,
        "status": connection.status(time.time()).value,
        "auth_type": "api_key" if credential.api_key is not None else "oauth2",
        "flow": connection.flow,
        "scopes": list(connection.scopes),
        "routes": [str(route) for route in connection.routes],
        "issuer": grant.issuer,
        "resource": grant.resource,
        "account": connection.account,
        "base_url": connection.base_url,
        "expires_at": credential.expires_at,
        "obtained_at": credential.obtained_at,
        "created_at": connection.created_at,
        "updated_at": connection.updated_at,
    }


def masked_secrets(connection: Connection) -> dict[str, object]:
    """Which secrets there are, never what they are."""
    credential = connection.credential
    there = {
        "access_token": credential.access_token,
        "refresh_token": credential.refresh_token,
        "api_key": credential.api_key,
    }
    return {name: MASK for name, value in there.items() if value is not None}


def session_json(session: LoginSession, origin: str) -> dict[str, object]:
    """A login in progress, as the waiting command line sees it."""
    asked = session.asked
    has_page = session.ticket is not None and session.key is None and not session.has_ended
    return {
        "id": session.id,
        "provider": session.provider,
        "connection": session.connection,
        "step": session.step,
        "phase": session.phase.value,
        "message": session.message,
        "url": f"{origin}/auth/login/{session.ticket}" if has_page else None,
        "authorization_url": asked.url if isinstance(asked, OpenBrowser) and not session.browser else None,
        "error": session.error.to_json() if session.error else None,
        "result": connection_json(session.result) if session.result else None,
        "notes": list(session.notes),
    }
