"""A small world for the proxy: real sockets and TLS, servers that record every byte, a house with a fixed table."""

import asyncio
import base64
import hashlib
import secrets
import select
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

from parts.pki import Authority

from authsome.broker.egress import Egress
from authsome.errors import AuthsomeError
from authsome.model.event import Event
from authsome.model.injection import HeaderInjection, Injection
from authsome.model.placeholder import PLACEHOLDER
from authsome.model.route import Route
from authsome.model.run import Run
from authsome.model.secret import Secret
from authsome.model.waiting import Noted
from authsome.proxy.engine.ports import Limits, ProxySettings
from authsome.proxy.engine.proxy import Proxy
from authsome.proxy.engine.trust import Trust, new_authority
from authsome.proxy.rules.table import Lendable, RouteTable

TIMEOUT = 20.0


@dataclass
class Message:
    """A request or a response as received: start line, fields as sent, body."""

    start: str
    fields: list[tuple[str, str]]
    body: bytes = b""
    raw: bytes = b""
    trailers: list[tuple[str, str]] = field(default_factory=list)

    @property
    def status(self) -> int:
        return int(self.start.split(" ")[1])

    @property
    def method(self) -> str:
        return self.start.split(" ")[0]

    @property
    def target(self) -> str:
        return self.start.split(" ")[1]

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def one(self, name: str) -> str:
        values = self.all(name)
        assert len(values) == 1, f"{name}: {values}"
        return values[0]


T = TypeVar("T")


class Closed(Exception):
    """The other side closed."""


class SharedTls(ssl.SSLSocket):
    """TLS that one thread may read from while another writes: OpenSSL allows one call at a time."""

    def share(self, seconds: float) -> None:
        """From here on; the handshake is done."""
        self._one = threading.Lock()
        self._patience = seconds
        self.setblocking(False)

    def recv(self, size: int = 1024, flags: int = 0) -> bytes:
        return self._patiently(lambda: ssl.SSLSocket.recv(self, size))

    def sendall(self, data: bytes, flags: int = 0) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[self._patiently(lambda part=rest[:65536]: ssl.SSLSocket.send(self, part)) :]

    def unwrap(self) -> socket.socket:
        self.settimeout(self._patience)
        return super().unwrap()

    def _patiently(self, work: Callable[[], T]) -> T:
        ends = time.monotonic() + self._patience
        while True:
            try:
                with self._one:
                    return work()
            except ssl.SSLWantReadError:
                event = select.POLLIN
            except ssl.SSLWantWriteError:
                event = select.POLLOUT
            poll = select.poll()
            poll.register(self, event)
            if not poll.poll(max(0.0, ends - time.monotonic()) * 1000):
                raise TimeoutError("nothing came, or went, in time")


class Wire:
    """A socket that reads HTTP/1.1 messages; for either side."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.buffer = b""
        self.seen = b""
        if isinstance(sock, SharedTls):
            sock.share(TIMEOUT)
        else:
            sock.settimeout(TIMEOUT)

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def close(self) -> None:
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)  # at once, even if another thread reads from it
        with suppress(OSError):
            self.sock.close()

    def more(self) -> bytes:
        """What arrives next. Raises Closed at the end, or when it is cut off."""
        try:
            data = self.sock.recv(262144)
        except TimeoutError:
            raise
        except OSError as error:  # TLS cut off, a reset, or closed by another thread
            raise Closed(repr(error)) from None
        if not data:
            raise Closed("end")
        self.seen += data if len(self.seen) < 1_000_000 else b""
        return data

    def until(self, mark: bytes) -> bytes:
        """Up to and with a mark; the rest stays."""
        while mark not in self.buffer:
            self.buffer += self.more()
        found, _, self.buffer = self.buffer.partition(mark)
        return found + mark

    def exactly(self, size: int) -> bytes:
        parts = [self.buffer[:size]]
        have = len(parts[0])
        self.buffer = self.buffer[size:]
        while have < size:
            data = self.more()
            parts.append(data[: size - have])
            self.buffer = data[size - have :]
            have += len(parts[-1])
        return b"".join(parts)

    def head(self) -> Message:
        raw = self.until(b"\r\n\r\n")
        lines = raw[:-4].decode("latin-1").split("\r\n")
        fields = [(n, v.strip()) for n, _, v in (line.partition(":") for line in lines[1:])]
        return Message(lines[0], fields, raw=raw)

    def chunks(self, message: Message) -> Iterator[bytes]:
        """The chunks of a chunked body; its trailers end up in the message."""
        while True:
            size = int(self.until(b"\r\n").split(b";")[0], 16)
            if not size:
                break
            yield self.exactly(size)
            assert self.exactly(2) == b"\r\n"
        while (line := self.until(b"\r\n")) != b"\r\n":
            name, _, value = line.decode("latin-1").partition(":")
            message.trailers.append((name, value.strip()))

    def message(self, *, answers: str = "") -> Message:
        """A whole request, or a whole answer to a method."""
        message = self.head()
        if answers and (answers == "HEAD" or message.status in (204, 304) or message.status < 200):
            return message
        if message.all("transfer-encoding"):
            message.body = b"".join(self.chunks(message))
        elif message.all("content-length"):
            message.body = self.exactly(int(message.one("content-length")))
        elif answers:
            message.body = self.rest()
        return message

    def rest(self) -> bytes:
        """Everything to the end."""
        with suppress(Closed):
            while True:
                self.buffer += self.more()
        data, self.buffer = self.buffer, b""
        return data

    def ask(self, text: bytes) -> Message:
        """Send a request and read its answer."""
        self.send(text)
        return self.message(answers=text.split(b" ")[0].decode())

    def is_closed(self) -> bool:
        """Whether the other side closes, or has closed."""
        try:
            self.more()
        except Closed:
            return True
        return False


Handler = Callable[[Wire, Message], object]


def hello(wire: Wire, _request: Message) -> None:
    """The usual answer."""
    wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Type: text/plain\r\n\r\nhello")


class Upstream:
    """A server on loopback, a thread per connection. `handler` answers a request that was read whole.

    `raw`, if set, gets each connection instead. `requests` has every request, oldest first.
    """

    def __init__(self, context: ssl.SSLContext | None, address: str = "127.0.0.1") -> None:
        self._context = context
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._socket = socket.create_server((address, 0), family=family, backlog=256)
        self.port = int(self._socket.getsockname()[1])
        self.address = f"{address}:{self.port}"
        self.requests: list[Message] = []
        self.connections = 0
        self.resumed = 0
        self.wires: list[Wire] = []
        self.handler: Handler = hello
        self.raw: Callable[[Wire], None] | None = None
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # or who accepts goes on, at whatever gets this number
        self._socket.close()
        for wire in self.wires:
            wire.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        try:
            sock.settimeout(TIMEOUT)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._context is not None:
                self._context.sslsocket_class = SharedTls
                sock = self._context.wrap_socket(sock, server_side=True, suppress_ragged_eofs=False)
                self.resumed += bool(sock.session_reused)  # type: ignore[attr-defined]
        except OSError:
            sock.close()
            return
        wire = Wire(sock)
        self.wires.append(wire)
        with suppress(OSError, Closed):
            if self.raw is not None:
                self.raw(wire)
            while self.raw is None:
                request = wire.message()
                self.requests.append(request)
                self.handler(wire, request)
        wire.close()


class House:
    """The broker's part, as values: a table, runs by token, a credential for each connection."""

    def __init__(self) -> None:
        self.routes = RouteTable()
        self.runs: dict[bytes, Run] = {}
        self.credentials: dict[tuple[str, str], Secret | AuthsomeError] = {}
        self.slow = False  # whether lending has to wait
        self.lent = 0
        self.renewed: Secret | AuthsomeError | None = None  # what comes in place of a refused credential
        self.renewals = 0
        self.events: list[Event] = []

    def table(self) -> RouteTable:
        return self.routes

    def run_of(self, token_digest: bytes) -> Run | None:
        return self.runs.get(token_digest)

    def lend_now(self, provider: str, connection: str) -> Secret | None:
        credential = self.credentials[provider, connection]
        return credential if isinstance(credential, Secret) and not self.slow else None

    async def lend(self, provider: str, connection: str) -> Secret:
        await asyncio.sleep(0.05)
        self.lent += 1
        credential = self.credentials[provider, connection]
        if isinstance(credential, AuthsomeError):
            raise credential
        return credential

    def can_renew(self, provider: str, connection: str, refused: Secret) -> bool:
        assert refused == self.credentials[provider, connection]
        return self.renewed is not None

    async def renew(self, provider: str, connection: str, refused: Secret) -> Secret:
        await asyncio.sleep(0.05)
        self.renewals += 1
        if isinstance(self.renewed, AuthsomeError):
            raise self.renewed
        assert self.renewed is not None and refused != self.renewed
        self.credentials[provider, connection] = self.renewed
        return self.renewed

    def record(self, event: Event) -> Noted:
        self.events.append(event)
        noted = Noted(event)
        noted.waits = False  # every one is told
        return noted


@dataclass
class Options:
    """What a world starts with."""

    loop: str = "asyncio"
    limits: Limits = field(default_factory=Limits)
    resolve: dict[str, str] = field(default_factory=dict)
    own_ports: frozenset[int] = frozenset()
    egress: Egress = field(default_factory=Egress)


class World:
    """The proxy in a thread of its own, `api.mock.test` routed to `upstream`, and a run with its token."""

    def __init__(self, directory: Path, options: Options) -> None:
        self.directory = directory
        self.pki = Authority("Upstream CA")
        self.upstream = Upstream(self.pki.leaf("api.mock.test", "*.mock.test", "127.0.0.1").context())
        self.plain = Upstream(None)
        self.secret = f"canary{secrets.token_hex(16)}"
        self.house = House()
        (directory / "upstream.pem").write_bytes(self.pki.pem)
        self.options = options
        self.options.resolve.setdefault("api.mock.test", self.upstream.address)
        self.options.resolve.setdefault("evil.mock.test", self.upstream.address)
        self.options.resolve.setdefault("other.mock.test", self.upstream.address)
        self.options.resolve.setdefault("plain.mock.test", self.plain.address)
        self.lend(lendable("mock"))
        self.token = self.run("r1")
        self.trust = Trust([new_authority(time.time())])
        self.bundle = directory / "ca.pem"
        self.bundle.write_text(self.trust.bundle_pem)

    def __enter__(self) -> Self:
        started = threading.Event()
        self.errors: list[str] = []
        self._thread = threading.Thread(target=self._run, args=(started,), daemon=True)
        self._thread.start()
        assert started.wait(TIMEOUT)
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(TIMEOUT)
        assert not self._thread.is_alive()
        self.upstream.close()
        self.plain.close()
        assert not self.errors, self.errors  # no exception got as far as the event loop

    def _run(self, started: threading.Event) -> None:
        async def main() -> None:
            self.loop = asyncio.get_running_loop()
            self.loop.set_exception_handler(lambda _, context: self.errors.append(repr(context)))
            self._stop = asyncio.Event()
            settings = ProxySettings(
                resolve=self.options.resolve,
                ca_files=(str(self.directory / "upstream.pem"),),
                limits=self.options.limits,
                own_ports=self.options.own_ports,
                egress=self.options.egress,
            )
            self.proxy = Proxy(self.house, self.trust, settings)
            self.port = await self.proxy.start(0)
            started.set()
            await self._stop.wait()
            await self.proxy.stop()

        if self.options.loop == "uvloop":
            import uvloop

            uvloop.run(main())
        else:
            asyncio.run(main())

    # the house

    def call(self, function: Callable[..., Any], *arguments: object) -> Any:
        """Call something in the proxy's thread."""

        async def wrapped() -> object:
            return function(*arguments)

        return asyncio.run_coroutine_threadsafe(wrapped(), self.loop).result(TIMEOUT)

    def lend(self, *lendables: Lendable) -> None:
        """Replace the route table."""
        for each in lendables:
            key = (each.provider, each.connection)
            value = self.secret if each.connection == "default" else f"{self.secret}-{each.connection}"
            self.house.credentials.setdefault(key, Secret(value))
        self.house.routes = RouteTable(lendables)

    def run(self, name: str, **terms: Any) -> str:
        """A run; gives its token."""
        token = secrets.token_hex(32)
        digest = hashlib.sha256(token.encode()).digest()
        self.house.runs[digest] = Run(
            id=name, token_digest=digest, pid=1, process_started=1, command="test", started_at=time.time(), **terms
        )
        return token

    def end_run(self, name: str = "r1") -> None:
        self.house.runs = {d: run for d, run in self.house.runs.items() if run.id != name}
        self.call(self.proxy.end_run, name)

    # the child

    def url(self, token: str | None = None) -> str:
        return f"http://run:{token or self.token}@127.0.0.1:{self.port}"

    def auth(self, token: str | None = None) -> bytes:
        pair = base64.b64encode(f"run:{token or self.token}".encode())
        return b"Proxy-Authorization: Basic " + pair + b"\r\n"

    def dial(self) -> Wire:
        """A connection to the proxy."""
        return Wire(socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT))

    def connect(self, authority: str = "api.mock.test:443", token: str | None = None) -> tuple[Wire, Message]:
        """A CONNECT and its answer."""
        wire = self.dial()
        wire.send(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n".encode() + self.auth(token) + b"\r\n")
        return wire, wire.head()

    def client_context(self, bundle: Path | None = None) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(bundle or self.bundle)
        return context

    def open(
        self,
        authority: str = "api.mock.test:443",
        *,
        name: str | None = "",
        token: str | None = None,
        bundle: Path | None = None,
    ) -> Wire:
        """TLS through the proxy. `name` is the server name: "" for the host of the authority, None for none."""
        wire, answer = self.connect(authority, token)
        assert answer.status == 200, answer
        context = self.client_context(bundle)
        if name is None:
            context.check_hostname = False
        host = authority.rpartition(":")[0].strip("[]") if name == "" else name
        context.sslsocket_class = SharedTls
        return Wire(context.wrap_socket(wire.sock, server_hostname=host, suppress_ragged_eofs=False))


def lendable(
    provider: str,
    connection: str = "default",
    *,
    routes: tuple[str, ...] = ("api.mock.test",),
    injections: tuple[Injection, ...] = (HeaderInjection("Authorization"),),
    default: bool = True,
    usable: bool = True,
    placeholder: str = PLACEHOLDER,
    scrub: bool = True,
    token_url: str | None = None,
) -> Lendable:
    """A connection in its usual form."""
    return Lendable(
        provider=provider,
        connection=connection,
        is_default=default,
        usable=usable,
        routes=tuple(Route.parse(text) for text in routes),
        injections=injections,
        placeholder=placeholder,
        scrub=scrub,
        token_url=token_url,
    )


def get(path: str = "/", *fields: str, host: str = "api.mock.test", method: str = "GET") -> bytes:
    """A request without a body."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *fields, "", ""]
    return "\r\n".join(lines).encode("latin-1")


def eventually(condition: Callable[[], object], seconds: float = 5.0) -> bool:
    """Whether it comes true; for what happens in another thread."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.01)
    return bool(condition())


@contextmanager
def bundle_of(*pems: bytes) -> Iterator[Path]:
    """A CA file for a client."""
    with tempfile.NamedTemporaryFile(suffix=".pem") as file:
        file.write(b"".join(pems))
        file.flush()
        yield Path(file.name)
