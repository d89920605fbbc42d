"""The door to the browser: who may come in, and what every answer carries (P7–P9, V24)."""

import asyncio
import json
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, TypeAlias

from starlette.exceptions import HTTPException

from authsome.errors import DaemonUnavailable

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

log = logging.getLogger(__name__)

BODY_LIMIT = 1 << 20
BODY_TIME = 10.0
FORM = b"application/x-www-form-urlencoded"
POLICY = "default-src 'none'; style-src 'self'; form-action {}; base-uri 'none'; frame-ancestors 'none'"
CSP = b"content-security-policy"
HEADERS = (
    (b"x-frame-options", b"DENY"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)


class BodyRefused(HTTPException):
    """A body over the limit, or one that does not come. It is an HTTPException, or FastAPI would make a 400 of it."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(status, message, {"connection": "close"})  # else its sender could go on and on


class Guard:
    """Wraps the browser's application. It refuses before anything is routed, and dresses every answer."""

    def __init__(self, app: App, hosts: Iterable[str]) -> None:
        self._app = app
        self._hosts = frozenset(host.encode() for host in hosts)
        self._origins = frozenset(b"http://" + host for host in self._hosts)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        answer = _Answer(send)
        refusal = self._refusal(scope["method"], scope["headers"])
        if refusal is not None:
            await answer.plain(*refusal)
            return
        try:
            await self._app(scope, bounded(receive), answer)
        except BodyRefused as refused:
            await answer.plain(refused.status_code, refused.detail)
        except Exception as error:  # noqa: BLE001 - a browser is never shown a traceback (X75)
            if not answer.started:  # else the application told of it itself
                await answer.plain(500, f"something broke; the log names it {logged(error)}")

    def _refusal(self, method: str, headers: list[tuple[bytes, bytes]]) -> tuple[int, str] | None:
        found: dict[bytes, list[bytes]] = {}
        for name, value in headers:
            found.setdefault(name, []).append(value)
        host = found.get(b"host", [])
        if len(host) != 1 or host[0].lower() not in self._hosts:
            return 403, "this address is not served here"
        if method in ("GET", "HEAD"):
            return None
        if method != "POST":
            return 405, "that method is not served here"
        sites = found.get(b"sec-fetch-site", [b"same-origin"])
        origin = found.get(b"origin", [])
        if sites != [b"same-origin"] or len(origin) != 1 or origin[0].lower() not in self._origins:
            return 403, "the form was not sent from this site"
        if origin[0].lower() != b"http://" + host[0].lower():
            return 403, "the form was sent from another address of this site"
        if found.get(b"content-type", [b""])[0].partition(b";")[0].strip().lower() != FORM:
            return 415, "a form is expected"
        length = found.get(b"content-length", [b"0"])[0]
        if not length.isdigit() or int(length) > BODY_LIMIT:
            return 413, "the body is too large"
        return None


class _Answer:
    """Sends, adding the headers that every answer of the pages carries."""

    def __init__(self, send: Send, *, dressed: bool = True) -> None:
        self._send = send
        self._dressed = dressed
        self.started = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
        if message["type"] == "http.response.start" and self._dressed:
            ours = {name for name, _ in HEADERS}
            headers = [(n, v) for n, v in message.get("headers", []) if n.lower() not in ours]
            if not any(name.lower() == CSP for name, _ in headers):
                headers.append((CSP, POLICY.format("'self'").encode()))
            message["headers"] = [*headers, *HEADERS]
        await self._send(message)

    async def plain(self, status: int, text: str) -> None:
        """A short answer of our own."""
        await self.whole(status, b"text/plain; charset=utf-8", f"{text}\n".encode())

    async def whole(self, status: int, kind: bytes, body: bytes) -> None:
        """An answer of that content type."""
        headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
        await self({"type": "http.response.start", "status": status, "headers": headers})
        await self({"type": "http.response.body", "body": body})


async def crowded(_: MutableMapping[str, Any], __: Receive, send: Send) -> None:
    """The application in place of either, where too many are there already (P28)."""
    error = DaemonUnavailable("too many connections are open", "try again in some seconds")
    await _Answer(send).whole(error.http_status, b"application/json", json.dumps(error.to_json()).encode())


def plain_head(status_line: bytes, length: int) -> bytes:
    """The head of an answer to what is no request, as bytes: it carries what every other does (W05)."""
    fields = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(length).encode()),
        (b"connection", b"close"),
        (CSP, POLICY.format("'self'").encode()),
        *HEADERS,
    ]
    return status_line + b"".join(b"%s: %s\r\n" % field for field in fields) + b"\r\n"


def logged(error: Exception) -> str:
    """Write down what nobody foresaw; the number by which the log names it."""
    number = secrets.token_hex(4)
    log.error("something broke (%s)", number, exc_info=error)
    return number


class BodyLimit:
    """The same bound for the owner's application (promises, §3), which tells of every failure itself."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        answer = _Answer(send, dressed=False)
        try:
            await self._app(scope, bounded(receive), answer)
        except Exception:
            if not answer.started:
                raise


def bounded(receive: Receive) -> Receive:
    """A body of at most 1 MiB that is whole within ten seconds (V24, W13). Reading on raises BodyRefused."""
    seen, whole, ends = 0, False, 0.0

    async def read() -> Message:
        nonlocal seen, whole, ends
        ends = ends or asyncio.get_running_loop().time() + BODY_TIME
        try:
            async with asyncio.timeout_at(None if whole else ends):
                message = await receive()
        except TimeoutError:
            raise BodyRefused(408, "the body did not come in time") from None
        seen += len(message.get("body", b""))
        whole = not message.get("more_body", False)
        if seen > BODY_LIMIT:
            raise BodyRefused(413, "the body is too large")
        return message

    return read
