"""The door to the browser: who may come in, and what every answer carries (P7–P9, V24)."""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, TypeAlias

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


class TooLarge(Exception):
    """The body of a request is over the limit."""


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
        except TooLarge:
            await answer.plain(413, "the body is too large")
        except TimeoutError:
            await answer.plain(408, "the body did not come in time")
        except Exception:  # a browser is never shown a traceback (X75)
            number = secrets.token_hex(4)
            log.exception("a page broke (%s)", number)
            if not answer.started:
                await answer.plain(500, f"something broke; the log names it {number}")

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
    """Sends, adding the headers that every answer carries."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.started = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            ours = {name for name, _ in HEADERS}
            headers = [(n, v) for n, v in message.get("headers", []) if n.lower() not in ours]
            if not any(name.lower() == CSP for name, _ in headers):
                headers.append((CSP, POLICY.format("'self'").encode()))
            message["headers"] = [*headers, *HEADERS]
        await self._send(message)

    async def plain(self, status: int, text: str) -> None:
        """A short answer of our own."""
        body = f"{text}\n".encode()
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
        await self({"type": "http.response.start", "status": status, "headers": headers})
        await self({"type": "http.response.body", "body": body})


class BodyLimit:
    """The same bound for the owner's application (promises, §3)."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, bounded(receive), send)
        except (TooLarge, TimeoutError):
            body = b'{"error": "usage", "message": "the body is too large or too slow", "exit": 64}\n'
            headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
            await send({"type": "http.response.start", "status": 413, "headers": headers})
            await send({"type": "http.response.body", "body": body})


def bounded(receive: Receive) -> Receive:
    """A body of at most 1 MiB, each part of which comes within ten seconds (V24, W13)."""
    seen, whole = 0, False

    async def read() -> Message:
        nonlocal seen, whole
        async with asyncio.timeout(None if whole else BODY_TIME):
            message = await receive()
        seen += len(message.get("body", b""))
        whole = not message.get("more_body", False)
        if seen > BODY_LIMIT:
            raise TooLarge
        return message

    return read
