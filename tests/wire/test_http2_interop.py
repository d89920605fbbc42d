"""Implementations that are not ours: Node's client and server, Hypercorn, and h2 as a client of each."""

import asyncio
import json
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from http2_wire import Server, client
from parts.machine import node
from wire_world import Options, World, lendable

from authsome.model.placeholder import PLACEHOLDER

MB = 1 << 20
BEARER = ("authorization", f"Bearer {PLACEHOLDER}")

NODE_CLIENT = """
const http2 = require("http2"), net = require("net"), tls = require("tls"), fs = require("fs");
const [port, auth, ca, placeholder] = process.argv.slice(1);
const socket = net.connect(Number(port), "127.0.0.1");
socket.write("CONNECT api.mock.test:443 HTTP/1.1\\r\\nHost: api.mock.test:443\\r\\n" + auth + "\\r\\n\\r\\n");
socket.once("data", () => {
  const secure = tls.connect({ socket, servername: "api.mock.test", ca: fs.readFileSync(ca), ALPNProtocols: ["h2"] });
  const session = http2.connect("https://api.mock.test", { createConnection: () => secure });
  const ask = (path, body) => new Promise((resolve, reject) => {
    const stream = session.request({ ":path": path, ":method": body ? "POST" : "GET",
                                     authorization: "Bearer " + placeholder });
    let head, size = 0, trailers = {};
    stream.on("response", (h) => { head = h; });
    stream.on("data", (d) => { size += d.length; });
    stream.on("trailers", (t) => { trailers = { ...t }; });
    stream.on("end", () => resolve([head[":status"], size, trailers["x-end"] ?? ""]));
    stream.on("error", reject);
    stream.end(body);
  });
  (async () => {
    const small = await Promise.all(Array.from({ length: 150 }, (_, n) => ask("/small/" + n)));
    const large = await ask("/large", Buffer.alloc(3 << 20));
    const reset = await ask("/reset").then(() => "answered", (e) => e.code);
    const pinged = await new Promise((resolve) => session.ping((error) => resolve(error === null)));
    console.log(JSON.stringify({ small, large, reset, pinged }));
    session.close();
    secure.end();
  })();
});
"""

NODE_SERVER = """
const http2 = require("http2"), fs = require("fs");
const [at] = process.argv.slice(1);
const [key, cert] = ["/server.key", "/server.pem"].map((name) => fs.readFileSync(at + name));
const server = http2.createSecureServer({ key, cert });
server.on("stream", (stream, headers) => {
  stream.on("error", () => {});
  if (headers[":path"] === "/reset") { stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR); return; }
  stream.respond({ ":status": 200, "x-authorization": headers["authorization"] }, { waitForTrailers: true });
  stream.on("wantTrailers", () => stream.sendTrailers({ "x-end": "yes" }));
  stream.pipe(stream);
});
server.on("sessionError", (error) => { console.error(error.code); });
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
process.stdin.on("end", () => process.exit(0)).resume();
"""


def test_nodes_client_is_served(world: World) -> None:
    def answer(peer: Any, stream: Any) -> None:
        if stream.one(b":path") == b"/reset":
            peer.reset(stream.number, 2)
            return
        peer.head(stream.number, 200)
        peer.send(stream.number, bytes(4 * MB) if stream.body else b"hello")
        peer.trailers(stream.number, ("x-end", "yes"))

    server = Server(world, answer)
    arguments = [str(world.port), world.auth().decode().strip(), str(world.bundle), PLACEHOLDER]
    shown = subprocess.run(
        [node(), "-e", NODE_CLIENT, "--", *arguments], capture_output=True, text=True, timeout=20, check=False
    )
    assert shown.returncode == 0, shown.stderr
    assert json.loads(shown.stdout) == {
        "small": [[200, 5, "yes"]] * 150,
        "large": [200, 4 * MB, "yes"],
        "reset": "ERR_HTTP2_STREAM_ERROR",
        "pinged": True,
    }
    assert {stream.one(b"authorization") for stream in server.asked} == {b"Bearer " + world.secret.encode()}


def _upload_and_download(world: World) -> None:
    """What any server that echoes is asked."""
    peer = client(world)
    for size in (0, 1, 70_000, 2 * MB):
        number = peer.ask(BEARER, method="POST", path="/echo", end=False)
        peer.send(number, bytes(size), end=True)
        answer = peer.answer(number)
        assert (answer.status, len(answer.body)) == (200, size)
        assert world.secret.encode() not in answer.one(b"x-authorization")
    numbers = [peer.ask(BEARER, path=f"/{n}") for n in range(60)]
    assert all(peer.answer(number).status == 200 for number in numbers)


def test_nodes_server_is_asked(make_world: Callable[[Options], World], tmp_path: Path) -> None:
    world = make_world(Options())
    world.pki.leaf("api.mock.test").write(tmp_path)
    child = subprocess.Popen(
        [node(), "-e", NODE_SERVER, "--", str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout is not None and child.stdin is not None and child.stderr is not None
    try:
        _dial(world, int(child.stdout.readline()))
        _upload_and_download(world)
        peer = client(world)
        assert peer.get(BEARER, path="/reset").reset == 2
        assert peer.get(BEARER, path="/").trailers == [(b"x-end", b"yes")]
    finally:
        child.stdin.close()
        child.wait(10)
        assert child.stderr.read() == ""


def test_hypercorn_is_asked(make_world: Callable[[Options], World], tmp_path: Path) -> None:
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        token = dict(scope["headers"]).get(b"authorization", b"")
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-authorization", token)]})
        more = True
        while more:
            event = await receive()
            more = event.get("more_body", False)
            await send({"type": "http.response.body", "body": event.get("body", b""), "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    world = make_world(Options())
    world.pki.leaf("api.mock.test").write(tmp_path)
    listener = socket.create_server(("127.0.0.1", 0))
    config = Config()
    config.bind = [f"fd://{listener.fileno()}"]
    config.certfile, config.keyfile = str(tmp_path / "server.pem"), str(tmp_path / "server.key")
    config.accesslog = config.errorlog = None
    config.alpn_protocols = ["h2"]
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    def run() -> None:
        with suppress(ssl.SSLError):  # it does not like to be left while it shuts down
            loop.run_until_complete(serve(app, config, shutdown_trigger=stop.wait))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        _dial(world, listener.getsockname()[1])
        _upload_and_download(world)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)


def _dial(world: World, port: int) -> None:
    """Have the world's own connections go there."""
    assert world.proxy._core is not None
    world.lend(lendable("mock"))
    world.proxy._core.dialler.resolve["api.mock.test"] = f"127.0.0.1:{port}"  # type: ignore[index]
