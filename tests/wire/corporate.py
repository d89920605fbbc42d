"""A proxy as companies have it, and a resolver whose answers a test decides."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from wire_world import TIMEOUT, Closed, Message, Upstream, Wire

from authsome.broker.egress import Egress
from authsome.settings import Settings

USER, PASSWORD = "alex", "corporate-p@ss"
CREDENTIALS = "Basic YWxleDpjb3Jwb3JhdGUtcEBzcw=="


class CorporateProxy:
    """CONNECT only. `leads` says where a target leads, `asked` has every request, `seen` all that went to servers.

    `answer`, if set, is what a client gets instead of a connection; `early` is sent in one piece with a success.
    """

    def __init__(self, leads: dict[str, str]) -> None:
        self._listener = Upstream(None)
        self._listener.raw = self._serve
        self.address = self._listener.address
        self.leads = leads
        self.asked: list[Message] = []
        self.seen = b""
        self.answer: bytes | Callable[[Wire], object] | None = None
        self.early = b""

    def __enter__(self) -> "CorporateProxy":
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    @property
    def connections(self) -> int:
        return self._listener.connections

    @property
    def targets(self) -> list[str]:
        return [message.target for message in self.asked]

    def egress(self, *no_proxy: str, credentials: str = "alex:corporate-p%40ss@") -> Egress:
        """As an owner sets it."""
        return Egress.of(
            Settings(
                home="/", upstream_proxy=f"http://{credentials}{self.address}", upstream_proxy_setting="HTTPS_PROXY",
                no_proxy=no_proxy,
            )
        )  # fmt: skip

    def _serve(self, wire: Wire) -> None:
        message = wire.head()
        self.asked.append(message)
        if callable(self.answer):
            self.answer(wire)
            return
        if self.answer is not None:
            wire.send(self.answer)
            return
        host, _, port = self.leads[message.target].rpartition(":")
        server = socket.create_connection((host, int(port)), timeout=TIMEOUT)
        with server:
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            wire.send(b"HTTP/1.1 200 Connection established\r\nVia: 1.1 corporate\r\n\r\n" + self.early)
            back = threading.Thread(target=_pump, args=(server.recv, wire.send, wire.close), daemon=True)
            back.start()
            rest, wire.buffer = wire.buffer, b""
            self._pass(server, rest)
            with suppress(OSError, Closed):
                while True:
                    self._pass(server, wire.more())
            with suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            back.join(TIMEOUT)

    def _pass(self, server: socket.socket, data: bytes) -> None:
        self.seen += data
        server.sendall(data)


def _pump(read: Callable[[int], bytes], write: Callable[[bytes], object], end: Callable[[], object]) -> None:
    with suppress(OSError):
        while data := read(65536):
            write(data)
    end()


def byte_by_byte(text: bytes) -> Callable[[Wire], object]:
    """An answer that takes its time."""

    def answer(wire: Wire) -> None:
        for number in range(len(text)):
            wire.send(text[number : number + 1])
            time.sleep(0.002)
        wire.rest()

    return answer


class Resolver:
    """What the names and addresses of a network are, put into an event loop before anything is dialled.

    `answers` has a list of answers for each name, the last of which stays; `leads` tells which server an address
    leads to, and no other address is there. `asked` and `dialled` are what the code under test did.
    """

    def __init__(self, answers: dict[str, list[list[str]]], leads: dict[str, str]) -> None:
        self.answers = answers
        self.leads = leads
        self.asked: list[str] = []
        self.dialled: list[str] = []

    def enter(self, loop: asyncio.AbstractEventLoop) -> None:
        """Into a loop."""
        resolve, connect = loop.getaddrinfo, loop.sock_connect

        async def getaddrinfo(host: Any, port: Any, **options: Any) -> Any:
            if host not in self.answers:
                return await resolve(host, port, **options)
            self.asked.append(host)
            answers = self.answers[host]
            found = answers.pop(0) if len(answers) > 1 else answers[0]
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

        async def sock_connect(sock: socket.socket, address: Any) -> None:
            self.dialled.append(f"{address[0]}:{address[1]}")
            if address[0] not in self.leads:
                raise ConnectionRefusedError(111, "Connection refused")
            host, _, port = self.leads[address[0]].rpartition(":")
            await connect(sock, (host, int(port)))

        loop.getaddrinfo = getaddrinfo  # type: ignore[method-assign]
        loop.sock_connect = sock_connect  # type: ignore[method-assign]
