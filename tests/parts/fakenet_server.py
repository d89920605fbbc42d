"""The far end of the private internet: the first process inside its namespaces, and one TLS server for all hosts.

`python -m parts.fakenet_server STATE TRUST`: raises the loopback interface, lays its own files over /etc, serves, and
leaves with all that runs beside it when stdin closes. rules.json (maps, creds) is read anew at each request.
What well-known hosts answer is in fakenet_answers.py. Any host: /echo /status/N /bytes?n= /sse?n=&gap=
/chunked?n=&gap= /reflect (request headers as response headers), and a WebSocket that echoes.
"""

import asyncio
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import httpx2
from hypercorn.asyncio import serve
from hypercorn.config import Config

from parts.fakenet_answers import ANSWERS, GREETINGS

ADDRESS, SPARE = "192.0.2.10", "192.0.2.11"
PORT, SIDE_DOOR = 443, 8443
DIRECTORIES = (ssl.get_default_verify_paths().openssl_capath, "/etc/ssl/certs", "/etc/pki/tls/certs")
BODY_KEPT = 65536
BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
HOP_BY_HOP = {b"connection", b"keep-alive", b"transfer-encoding", b"te", b"upgrade", b"proxy-connection"}

Message = dict[str, Any]
Headers = Iterable[tuple[bytes, bytes]]


class Reply:
    """The ASGI messages of an answer."""

    def __init__(self, send: Callable[[Message], Awaitable[None]]) -> None:
        self._send = send

    async def start(self, status: int, headers: Headers) -> None:
        """Status and header fields."""
        await self._send({"type": "http.response.start", "status": status, "headers": list(headers)})

    async def chunk(self, data: bytes, more: bool = True) -> None:
        """A piece of the body; the last one has `more` False."""
        await self._send({"type": "http.response.body", "body": data, "more_body": more})

    async def whole(self, status: int, body: bytes, kind: bytes, extra: Headers = ()) -> None:
        """An answer of known length."""
        await self.start(status, [(b"content-type", kind), (b"content-length", b"%d" % len(body)), *extra])
        await self.chunk(body, more=False)

    async def json(self, value: object, status: int = 200, extra: Headers = ()) -> None:
        """A JSON answer."""
        await self.whole(status, json.dumps(value).encode(), b"application/json", extra)


class FarEnd:
    """The ASGI application: journals each request, checks the credential asked for, forwards or answers."""

    def __init__(self, state: Path) -> None:
        self._rules = state / "rules.json"
        self._journal = (state / "journal.jsonl").open("a", buffering=1)
        self._client = httpx2.AsyncClient(trust_env=False, timeout=60)

    async def __call__(self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Any) -> None:
        """One request, or the server's start and stop."""
        if scope["type"] == "lifespan":
            while (message := await receive())["type"] != "lifespan.shutdown":
                await send({"type": f"{message['type']}.complete"})
            await send({"type": "lifespan.shutdown.complete"})
        elif scope["type"] == "http":
            body, more = b"", True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return
                body += message["body"]
                more = message.get("more_body", False)
            await self._answer(scope, body, Reply(send))
        elif scope["type"] == "websocket":
            await self._converse(scope, receive, send)

    async def _answer(self, scope: Message, body: bytes, reply: Reply) -> None:
        host, headers, rules = self._read(scope)
        authorized = _is_authorized(host, headers, rules)
        self._record(scope, host, body, authorized)
        answer = ANSWERS.get((host, scope["path"]))
        if not authorized:
            await reply.json({"error": {"message": "bad credential"}}, 401)
        elif host in rules["maps"]:
            await self._forward(scope, body, reply, rules["maps"][host])
        elif answer is not None:
            await _prepared(answer(body), reply)
        else:
            await _generic(scope, host, headers, body, reply)

    async def _converse(self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Any) -> None:
        host, headers, rules = self._read(scope)
        authorized = _is_authorized(host, headers, rules)
        self._record(scope | {"method": "GET"}, host, b"", authorized)
        await receive()
        if not authorized:
            await send({"type": "websocket.close"})  # before it is accepted: 403
            return
        await send({"type": "websocket.accept"})
        if host in GREETINGS:
            await send({"type": "websocket.send", "text": GREETINGS[host]})
        while (message := await receive())["type"] == "websocket.receive":
            await send(message | {"type": "websocket.send"})

    def _read(self, scope: Message) -> tuple[str, dict[str, str], dict[str, Any]]:
        headers = {name.lower().decode("latin1"): value.decode("latin1") for name, value in scope["headers"]}
        return headers.get("host", "").rsplit(":", 1)[0].lower(), headers, json.loads(self._rules.read_text())

    def _record(self, scope: Message, host: str, body: bytes, authorized: bool) -> None:
        entry = {
            "time": time.time(),
            "protocol": f"h{scope['http_version']}",
            "scheme": scope["scheme"],
            "host": host,
            "method": scope["method"],
            "path": scope["raw_path"].decode("latin1"),
            "query": scope["query_string"].decode("latin1"),
            "headers": [[name.decode("latin1"), value.decode("latin1")] for name, value in scope["headers"]],
            "body": body[:BODY_KEPT].decode("latin1"),
            "authorized": authorized,
            "port": scope["server"][1],
        }
        self._journal.write(json.dumps(entry) + "\n")

    async def _forward(self, scope: Message, body: bytes, reply: Reply, base: str) -> None:
        query = b"?" + scope["query_string"] if scope["query_string"] else b""
        headers = [(k, v) for k, v in scope["headers"] if k.lower() not in HOP_BY_HOP | {b"content-length"}]
        headers.append((b"x-forwarded-proto", scope["scheme"].encode()))
        url = base + (scope["raw_path"] + query).decode("latin1")
        request = httpx2.Request(scope["method"], url, content=body, headers=headers)  # no default headers of a client
        answer = await self._client.send(request, stream=True)
        kept = [(name.lower(), value) for name, value in answer.headers.raw if name.lower() not in HOP_BY_HOP]
        await reply.start(answer.status_code, kept)
        async for chunk in answer.aiter_raw():
            await reply.chunk(chunk)
        await reply.chunk(b"", more=False)


def _is_authorized(host: str, headers: dict[str, str], rules: dict[str, Any]) -> bool:
    wanted = rules["creds"].get(host)
    return wanted is None or headers.get(wanted[0]) == wanted[1]


async def _prepared(answer: tuple[bytes, list[bytes]], reply: Reply) -> None:
    kind, pieces = answer
    await reply.start(200, [(b"content-type", kind)])
    for piece in pieces:
        await reply.chunk(piece)
        await asyncio.sleep(0)
    await reply.chunk(b"", more=False)


async def _generic(scope: Message, host: str, headers: dict[str, str], body: bytes, reply: Reply) -> None:
    path = urllib.parse.unquote(scope["path"])
    query = dict(urllib.parse.parse_qsl(scope["query_string"].decode("latin1")))
    echo = {
        "host": host,
        "method": scope["method"],
        "path": path,
        "query": query,
        "headers": headers,
        "size": len(body),
    }
    if path.startswith("/status/"):
        await reply.json({"status": path}, int(path.split("/")[2]))
    elif path == "/bytes":
        await reply.whole(200, b"x" * int(query.get("n", 1000)), b"application/octet-stream")
    elif path in ("/sse", "/chunked"):
        kind, form = (b"text/event-stream", "data: %d\n\n") if path == "/sse" else (b"text/plain", "%d\n")
        await reply.start(200, [(b"content-type", kind)])
        for i in range(int(query.get("n", 3))):
            await reply.chunk((form % i).encode())
            await asyncio.sleep(float(query.get("gap", 0.01)))
        await reply.chunk(b"", more=False)
    elif path == "/reflect":
        back = [(f"x-echo-{name}".encode(), value.encode("latin1")) for name, value in headers.items()]
        await reply.json(echo, 200, back)
    else:
        await reply.json(echo)


class Tls(Config):
    """Hypercorn's settings; a host that was added later has a certificate of its own in leaves/."""

    def __init__(self, state: Path, port: int, insecure: int | None = None) -> None:
        super().__init__()
        self._leaves = state / "leaves"
        self._greetings = (state / "greetings").open("a", buffering=1)
        self._port = port
        self.bind = [f"{ADDRESS}:{port}"]
        self.insecure_bind = [] if insecure is None else [f"{ADDRESS}:{insecure}"]
        self.certfile = str(state / "pki" / "server.pem")
        self.keyfile = str(state / "pki" / "server.key")
        self.alpn_protocols = ["h2", "http/1.1"]
        self.h11_pass_raw_headers = True
        self.h11_max_incomplete_size = self.h2_max_header_list_size = 1 << 20
        self.include_server_header = False

    def create_ssl_context(self) -> ssl.SSLContext | None:
        """The context for all hosts, with the choice by SNI."""
        context = super().create_ssl_context()
        if context is not None:
            context.sni_callback = self._choose
        return context

    def _choose(self, connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        self._greetings.write(f"{self._port} {name or '-'}\n")
        leaf = self._leaves / (name or "-")
        if leaf.is_dir():
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.set_alpn_protocols(self.alpn_protocols)
            context.load_cert_chain(leaf / "server.pem", leaf / "server.key")
            connection.context = context


def furnish(state: Path, trust: str) -> None:
    """The interface, the names and, for trust "system", the CA among the system's roots; seen in here only."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for address in (ADDRESS, SPARE):
        subprocess.run(["ip", "addr", "add", f"{address}/32", "dev", "lo"], check=True)
    for name in ("hosts", "resolv.conf"):
        subprocess.run(["mount", "--bind", str(state / name), os.path.realpath(f"/etc/{name}")], check=True)
    if trust != "system":
        return
    for directory in {os.path.realpath(path) for path in DIRECTORIES if any(Path(path).glob("*.0"))}:
        ours = state / directory.replace("/", "_")
        shutil.copytree(directory, ours, symlinks=True)
        for hashed in (state / "pki").glob("*.0"):
            shutil.copy(hashed, ours)
        subprocess.run(["mount", "--bind", str(ours), directory], check=True)
    for bundle in {os.path.realpath(path) for path in BUNDLES if Path(path).is_file()}:
        ours = state / bundle.replace("/", "_")
        ours.write_bytes(Path(bundle).read_bytes() + b"\n" + (state / "pki" / "ca.pem").read_bytes())
        subprocess.run(["mount", "--bind", str(ours), bundle], check=True)


async def main() -> None:
    """Serve until stdin closes."""
    state, trust = Path(sys.argv[1]), sys.argv[2]
    furnish(state, trust)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # as the first process it inherits orphans: the kernel reaps them
    stop = asyncio.Event()
    asyncio.get_running_loop().add_reader(0, stop.set)  # nobody writes: readable means closed
    far_end: Any = FarEnd(state)
    doors = [Tls(state, PORT, insecure=80), Tls(state, SIDE_DOOR)]
    servers = [asyncio.create_task(serve(far_end, door, shutdown_trigger=stop.wait)) for door in doors]
    for port in (80, SIDE_DOOR):
        await _listening(port)
    print(json.dumps({"ready": ADDRESS}), flush=True)
    await asyncio.gather(*servers)


async def _listening(port: int) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection(ADDRESS, port)
            writer.close()
            return
        except ConnectionRefusedError:
            await asyncio.sleep(0.02)


if __name__ == "__main__":
    asyncio.run(main())
