"""`python -m bench.soak_server DIRECTORY`: the soak's authorization server, and an API that opens to its tokens.

A request's path says how it goes: `/KIND/ID` (see `soak_plan`). Prints `{"issuer", "api"}`, then answers the
lines of stdin, `open` with how many connections there are and `all` with all that it has seen, and ends with stdin.
"""

import asyncio
import gzip
import hashlib
import json
import random
import socket
import struct
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, cast

import httptools
import uvicorn
import uvloop
from starlette.responses import Response

from authsome.demo import issuer as demo
from authsome.demo.ledger import Ledger
from authsome.demo.pages import authorization_server
from bench.soak_plan import ECHOES, GRACE, HOST, LARGE, LIFETIME, body_of, size_of
from bench.upstream import accept_key, context, unmask

if TYPE_CHECKING:
    from authlib.oauth2 import OAuth2Request

LOOPBACK = "127.0.0.1"
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER with no time: the kernel sends RST
_OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
_CHUNKED = _OK + b"Transfer-Encoding: chunked\r\n\r\n"


class Seen:
    """All that is counted."""

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self.issued: dict[str, float] = {}
        self.bad_tokens: list[str] = []
        self.refresh_tokens: Counter[str] = Counter()
        self.open = 0

    def check(self, token: str) -> None:
        """Whether a request's token is valid now."""
        issued = self.issued.get(token)
        if issued is None:
            self.bad_tokens.append("unknown")
        elif time.monotonic() > issued + LIFETIME + GRACE:
            self.bad_tokens.append(f"{time.monotonic() - issued:.1f} s old")

    def tell(self) -> str:
        """Everything, as a line."""
        return json.dumps(
            {
                "requests": self.requests,
                "bad_tokens": self.bad_tokens[:1000],
                "refreshes": sum(self.refresh_tokens.values()),
                "doubled": sum(count - 1 for count in self.refresh_tokens.values()),
            }
        )


class Issuer(demo.Issuer):
    """The demo's, with tokens that soon expire, and that writes down when each was issued and refreshed."""

    def __init__(self, url: str, seen: Seen) -> None:
        super().__init__(url, Ledger())
        self._seen = seen

    def save_token(self, token: dict[str, str | int], request: "OAuth2Request") -> None:
        super().save_token(token, request)
        self._seen.issued[str(token["access_token"])] = time.monotonic()

    def token(self, request: demo.Arrived) -> Response:
        """The token endpoint."""
        form = self.create_oauth2_request(request).form
        if form.get("grant_type") == "refresh_token":
            self._seen.refresh_tokens[str(form["refresh_token"])] += 1
        return super().token(request)


class Api(asyncio.Protocol):
    """One connection."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen
        self._parser = httptools.HttpRequestParser(self)
        self._kind = self._id = ""
        self._key = self._got = b""
        self._digest = hashlib.sha256()
        self._echoing = False
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's TLS transports are transports in all but their class
        self._transport = cast("asyncio.Transport", transport)
        self._seen.open += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self._seen.open -= 1
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        if self._echoing:
            self._echo(data)
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._echoing = True
            answer = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            self._transport.write(answer + b"Sec-WebSocket-Accept: " + accept_key(self._key) + b"\r\n\r\n")

    def on_url(self, url: bytes) -> None:
        """Called by the parser."""
        _, self._kind, self._id = url.decode().split("/")
        self._seen.requests[self._id] += 1
        self._token = ""
        self._digest = hashlib.sha256()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser."""
        if name.lower() == b"authorization":
            self._token = value.decode().removeprefix("Bearer ")
        elif name.lower() == b"sec-websocket-key":
            self._key = value

    def on_headers_complete(self) -> None:
        """Called by the parser."""
        self._seen.check(self._token)

    def on_body(self, data: bytes) -> None:
        """Called by the parser."""
        self._digest.update(data)

    def on_message_complete(self) -> None:
        """Called by the parser."""
        match self._kind:
            case "socket":
                return
            case "upload" | "leave-sending":
                self._answer(self._digest.hexdigest().encode())
            case "coded":
                body = gzip.compress(body_of(self._id, size_of(self._id)), 1)
                self._answer(body, b"Content-Encoding: gzip\r\n")
            case "large" | "leave-reading":
                self._answer(body_of(self._id, LARGE))
            case "last":
                self._answer(body_of(self._id, size_of(self._id)))
                self._transport.close()
            case "reset" | "reset-post":
                self._reset()
            case "reset-once":
                if self._seen.requests[self._id] == 1:
                    self._reset()
                else:
                    self._answer(body_of(self._id, size_of(self._id)))
            case "slow" | "leave-waiting" | "stream" | "cut":
                self._task = asyncio.get_running_loop().create_task(self._take_time())
            case _:
                self._answer(body_of(self._id, size_of(self._id)))

    async def _take_time(self) -> None:
        body = body_of(self._id, 20_000)
        if self._kind in ("slow", "leave-waiting"):
            await asyncio.sleep(random.uniform(0.2, 1.0))
            self._answer(body_of(self._id, size_of(self._id)))
            return
        measured = self._kind == "cut" and random.random() < 0.5
        self._transport.write(_OK + b"Content-Length: 20000\r\n\r\n" if measured else _CHUNKED)
        for at in range(0, len(body), 1000):
            await asyncio.sleep(random.uniform(0, 0.04))
            if self._kind == "cut" and at == 10_000:
                self._reset()
                return
            piece = body[at : at + 1000]
            self._transport.write(piece if measured else b"%x\r\n%b\r\n" % (len(piece), piece))
        self._transport.write(b"0\r\n\r\n")

    def _answer(self, body: bytes, more: bytes = b"") -> None:
        self._transport.write(_OK + more + b"Content-Length: %d\r\n\r\n%b" % (len(body), body))

    def _reset(self) -> None:
        """Sometimes by RST, sometimes by an end without TLS's own."""
        if random.random() < 0.5:
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._transport.abort()

    def _echo(self, data: bytes) -> None:
        messages, self._got = unmask(self._got + data)
        self._transport.write(b"".join(b"\x82" + bytes([len(message)]) + message for message in messages))
        self._seen.requests[f"{self._id}/echoes"] += len(messages)
        if self._seen.requests[f"{self._id}/echoes"] >= ECHOES:
            self._transport.close()


def _serve_issuer(seen: Seen) -> str:
    """The URL of the authorization server, which runs in a thread of its own."""
    demo.ACCESS_TOKEN_LIFETIME = LIFETIME
    listener = socket.create_server((LOOPBACK, 0))
    issuer = Issuer(f"http://{LOOPBACK}:{listener.getsockname()[1]}", seen)
    config = uvicorn.Config(
        authorization_server(issuer), http="httptools", ws="none", lifespan="off", log_config=None, access_log=False
    )
    threading.Thread(target=uvicorn.Server(config).run, args=([listener],), daemon=True).start()
    return issuer.url


async def serve(directory: Path) -> None:
    """Serves until stdin ends."""
    seen, loop = Seen(), asyncio.get_running_loop()
    server = await loop.create_server(lambda: Api(seen), LOOPBACK, 0, ssl=context(directory, HOST), backlog=1024)
    address = f"{LOOPBACK}:{server.sockets[0].getsockname()[1]}"
    print(json.dumps({"issuer": _serve_issuer(seen), "api": address}), flush=True)
    while question := await loop.run_in_executor(None, sys.stdin.readline):
        print(seen.tell() if question == "all\n" else json.dumps({"open": seen.open}), flush=True)


if __name__ == "__main__":
    uvloop.run(serve(Path(sys.argv[1])))
