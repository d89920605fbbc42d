"""Every failure a user can meet: one tree, each with a stable code, an exit status and an HTTP status.

A message is lower case and says what and where; the hint says what next. Neither ever
holds a secret. This module imports nothing, because the command line pays for it on every start.
"""


class AuthsomeError(Exception):
    """The root. `code` is stable and machine readable; `details` is extra JSON for the caller."""

    code = "unexpected"
    exit_status = 1
    http_status = 500

    def __init__(self, message: str, hint: str | None = None, **details: object) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details

    def to_json(self) -> dict[str, object]:
        """The shape that travels: `{"error", "message", "hint"?, "exit", …details}`."""
        body: dict[str, object] = {"error": self.code, "message": self.message, "exit": self.exit_status}
        if self.hint:
            body["hint"] = self.hint
        body.update(self.details)
        return body

    @classmethod
    def from_json(cls, body: dict[str, object], http_status: int = 500) -> "AuthsomeError":
        """The error that another process described with `to_json`."""
        kind = _by_code(AuthsomeError).get(str(body.get("error")), AuthsomeError)
        details = {k: v for k, v in body.items() if k not in ("error", "message", "hint", "exit")}
        hint = body.get("hint")
        error = kind(str(body.get("message", "unknown failure")), str(hint) if hint else None, **details)
        error.http_status = http_status
        return error


def _by_code(root: type[AuthsomeError]) -> dict[str, type[AuthsomeError]]:
    found = {root.code: root}
    for kind in root.__subclasses__():
        found.update(_by_code(kind))
    return found


class UsageError(AuthsomeError):
    """The command or the request does not make sense as given."""

    code, exit_status, http_status = "usage", 64, 400


class InvalidProviderFile(UsageError):
    """A provider file breaks the schema; the message names the place as `$.oauth.scopes[0]`."""

    code = "invalid_provider_file"


class LoginFailed(AuthsomeError):
    """The authorization server, or what it answered, did not lead to a credential."""

    code, exit_status, http_status = "login_failed", 2, 400


class LoginCancelled(LoginFailed):
    """The person closed, denied or interrupted the login, or it ran out of time."""

    code = "login_cancelled"


class CallbackRefused(LoginFailed):
    """A callback that is not the answer to a login in progress in that browser (RFC 6749 §10.12, RFC 9207)."""

    code = "callback_refused"


class ConnectionNotFound(AuthsomeError):
    """No connection of that name."""

    code, exit_status, http_status = "connection_not_found", 3, 404


class ConnectionChoiceNeeded(AuthsomeError):
    """Several connections, none of them the default: the names are in the message."""

    code, exit_status, http_status = "connection_choice_needed", 3, 409


class ProviderNotFound(AuthsomeError):
    """No provider of that name."""

    code, exit_status, http_status = "provider_not_found", 4, 404


class NotAllowed(AuthsomeError):
    """The operation is refused to this caller or for this thing."""

    code, exit_status, http_status = "not_allowed", 4, 403


class ApprovalNeeded(NotAllowed):
    """The owner has to say yes first; `details` has the id of the question."""

    code = "approval_needed"


class CredentialMissing(AuthsomeError):
    """The connection has no usable credential, or not the field that was asked for."""

    code, exit_status, http_status = "credential_missing", 5, 404


class NeedsLogin(CredentialMissing):
    """The credential is dead and cannot be refreshed: the owner has to log in again."""

    code, http_status = "needs_login", 401


class ConnectionExists(AuthsomeError):
    """A login would replace a working connection."""

    code, exit_status, http_status = "connection_exists", 6, 409


class ProviderExists(AuthsomeError):
    """A registration would replace a provider file."""

    code, exit_status, http_status = "provider_exists", 7, 409


class Unreachable(AuthsomeError):
    """An endpoint could not be reached or did not answer in time."""

    code, exit_status, http_status = "endpoint_unreachable", 8, 502


class DaemonUnavailable(AuthsomeError):
    """The daemon is not there and could not be started, or it is busy stopping."""

    code, exit_status, http_status = "daemon_unavailable", 9, 503


class PortTaken(DaemonUnavailable):
    """Somebody else listens on the port that the daemon needs."""

    code = "port_taken"


class VaultError(DaemonUnavailable):
    """The vault or its root key is missing, damaged or unreadable; nothing was changed."""

    code = "vault_unusable"


class StaleWrite(AuthsomeError):
    """Compare and swap lost: the stored row is newer than the one that was read."""

    code, http_status = "stale_write", 409
