"""How the measuring clients reach a host: straight, or by CONNECT through the proxy that their environment names."""

import asyncio
import base64
import os
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar, cast
from urllib.parse import urlsplit

Kind = TypeVar("Kind", bound=asyncio.BaseProtocol)


@dataclass(frozen=True, slots=True)
class Target:
    """`authority` is what the proxy is asked for and what `Host` says; `address` is dialled in place of a proxy."""

    authority: str
    address: str | None

    @property
    def host(self) -> str:
        """The name alone."""
        return self.authority.partition(":")[0]

    def request(self, path: str, more: str = "", *, method: str = "GET") -> bytes:
        """A head as a child of `run` sends it: with a placeholder for the key."""
        return (
            f"{method} {path} HTTP/1.1\r\nHost: {self.authority}\r\nAuthorization: Bearer {held()}\r\n{more}\r\n"
        ).encode()


def held() -> str:
    """What this process has in place of the key."""
    return os.environ.get("BENCH_API_KEY", "none")


def trust(protocol: str = "http/1.1") -> ssl.SSLContext:
    """TLS as the environment wants it verified."""
    tls = ssl.create_default_context(cafile=os.environ.get("SSL_CERT_FILE"))
    tls.set_alpn_protocols([protocol])
    return tls


def dial(target: Target) -> socket.socket:
    """A TCP connection on which TLS can begin."""
    if target.address:
        name, _, port = target.address.rpartition(":")
        return _plain(name, int(port))
    proxy = urlsplit(os.environ["HTTPS_PROXY"])
    assert proxy.hostname and proxy.port
    connection = _plain(proxy.hostname, proxy.port)
    host = target.authority if ":" in target.authority else f"{target.authority}:443"
    lines = [f"CONNECT {host} HTTP/1.1", f"Host: {host}"]
    if proxy.username:
        token = base64.b64encode(f"{proxy.username}:{proxy.password}".encode()).decode()
        lines.append(f"Proxy-Authorization: Basic {token}")
    connection.sendall("\r\n".join([*lines, "", ""]).encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        received = connection.recv(4096)
        if not received:
            raise RuntimeError("the proxy closed the connection")
        answer += received
    if b" 200 " not in answer.split(b"\r\n")[0]:
        raise RuntimeError(answer.decode())
    return connection


def secure(target: Target, tls: ssl.SSLContext) -> ssl.SSLSocket:
    """A TLS connection for a client that does one thing after the other."""
    return tls.wrap_socket(dial(target), server_hostname=target.host)


async def connect(target: Target, tls: ssl.SSLContext, make: Callable[[], Kind]) -> Kind:
    """A TLS connection for one that does many at once."""
    loop = asyncio.get_running_loop()
    connection = await loop.run_in_executor(None, dial, target)
    connection.setblocking(False)
    # typeshed wants a transport protocol to be one of two classes; both are BaseProtocol
    _, protocol = await loop.create_connection(
        cast("Callable[[], asyncio.Protocol]", make), sock=connection, ssl=tls, server_hostname=target.host
    )
    return cast("Kind", protocol)


def _plain(host: str, port: int) -> socket.socket:
    connection = socket.create_connection((host, port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection
