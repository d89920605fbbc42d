"""Refusals: answers that an agent can act on, each with its code in `X-Authsome-Error` (contract §3)."""

import json
import logging
import secrets
import traceback
from dataclasses import dataclass
from http import HTTPStatus

from authsome.errors import AuthsomeError
from authsome.proxy.rules.decide import Deny

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Refusal:
    """One answer of our own. `closes` tells that the connection cannot go on after it."""

    status: int
    error: str
    message: str
    hint: str = ""
    login_url: str | None = None
    closes: bool = False

    @classmethod
    def of_decision(cls, deny: Deny) -> "Refusal":
        """What a denied request is told."""
        return cls(deny.status, deny.error, deny.message, deny.hint, deny.login_url)

    @classmethod
    def of_error(cls, error: AuthsomeError) -> "Refusal":
        """What a request is told whose credential could not be had."""
        url = error.details.get("login_url")
        status = error.http_status if 400 <= error.http_status <= 599 else 500
        return cls(status, error.code, error.message, error.hint or "", url if isinstance(url, str) else None)

    def to_bytes(self, *, head_only: bool, close: bool) -> bytes:
        """The whole HTTP/1.1 answer; `head_only` for a HEAD request."""
        content = self._content()
        lines = [f"HTTP/1.1 {self.status} {_phrase(self.status)}"]
        lines += [f"{name.title()}: {value}" for name, value in self._fields(content)]
        if self.status == 407:
            lines.append('Proxy-Authenticate: Basic realm="authsome"')
        if close or self.closes:
            lines.append("Connection: close")
        head = "\r\n".join(lines).encode() + b"\r\n\r\n"
        return head if head_only else head + content

    def to_fields(self) -> tuple[list[tuple[bytes, bytes]], bytes]:
        """The HTTP/2 answer: its fields and its content."""
        content = self._content()
        fields = [(b":status", b"%d" % self.status)]
        fields += [(name.encode(), value.encode()) for name, value in self._fields(content)]
        return fields, content

    def _fields(self, content: bytes) -> list[tuple[str, str]]:
        return [
            ("content-type", "application/json"),
            ("content-length", str(len(content))),
            ("x-authsome-error", self.error),
            ("cache-control", "no-store"),
        ]

    def _content(self) -> bytes:
        body: dict[str, str] = {"error": self.error, "message": self.message}
        if self.hint:
            body["hint"] = self.hint
        if self.login_url:
            body["login_url"] = self.login_url
        return json.dumps(body).encode() + b"\n"


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Refused"


def bad_request(message: str, status: int = 400) -> Refusal:
    """A request that cannot be read in one way only; nothing after it can be trusted."""
    return Refusal(status, "bad_request", message, closes=True)


def broken(error: BaseException, what: str = "something broke inside authsome") -> Refusal:
    """A failure that nobody foresaw. The log has its kind and its place under the number that the child is told."""
    number = secrets.token_hex(4)
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    log.error("a request broke (%s): %s%s", number, type(error).__name__, place)  # what it says may be a secret
    return Refusal(500, "unexpected", f"{what} ({number})", "authsome daemon logs")


def host_mismatch(asked: str, tunnel: str) -> Refusal:
    """A request for another host than the connection is for (P2; RFC 9110 §15.5.20)."""
    return Refusal(421, "host_mismatch", f"the request is for {asked}, the connection for {tunnel}", closes=True)


def too_busy(origin: str) -> Refusal:
    """A request beyond those that may wait for one server (P28)."""
    return Refusal(503, "too_busy", f"too many requests wait for {origin}")


RUN_TOO_BUSY = Refusal(
    503, "too_busy", "this run has as many connections open as one may have", "close some, then try again", closes=True
)
UNAUTHENTICATED = Refusal(
    407, "proxy_authentication_required", "this proxy serves the programs of an authsome run", "authsome run -- COMMAND"
)
BAD_GATEWAY = Refusal(502, "bad_upstream_answer", "the server's answer is not valid HTTP", closes=True)
BODY_TOO_LARGE = Refusal(413, "body_too_large", "a body in which placeholders are replaced holds at most 1 MiB")
NO_SHARE = Refusal(503, "too_busy", "too much of this run waits in memory already", "send fewer bodies at once")
TOO_SLOW = Refusal(504, "upstream_timeout", "the server has not answered in time", closes=True)
HEAD_TOO_SLOW = Refusal(408, "request_timeout", "the request took too long to arrive", closes=True)
