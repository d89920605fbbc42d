"""How an attempt is written down, and the calls that many of them make. Standard library alone, and no tests."""

import base64
import ctypes
import os
import socket
import ssl
import subprocess
from collections.abc import Callable
from typing import Any

BANNER = b"you are in\n"
LIBC = ctypes.CDLL(None, use_errno=True)
X86 = os.uname().machine == "x86_64"
NEW_USER_AND_MOUNTS = 0x10000000 | 0x20000

Action = Callable[[], object]
ATTEMPTS: dict[str, Action] = {}
CONTROLS: dict[str, Action] = {}
HELD: set[str] = set()
AIMS: dict[str, Any] = {}


class Blocked(Exception):
    """The attempt led nowhere."""


def attempt(name: str, *, held: bool = False) -> Callable[[Action], Action]:
    """Each attempt gives something true, or raises. `held` ones lead nowhere in a plain run either (level B)."""

    def keep(action: Action) -> Action:
        assert name not in ATTEMPTS, name
        ATTEMPTS[name] = action
        if held:
            HELD.add(name)
        return action

    return keep


def control(name: str) -> Callable[[Action], Action]:
    """What has to succeed in every run."""

    def keep(action: Action) -> Action:
        CONTROLS[name] = action
        return action

    return keep


def call(*arguments: Any) -> int:
    """A system call. Raises OSError."""
    result = LIBC.syscall(*(ctypes.c_long(each) if isinstance(each, int) else each for each in arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return int(result)


def number(x86_64: int, aarch64: int) -> int:
    """The number of a call on this machine."""
    return x86_64 if X86 else aarch64


def vault() -> bytes:
    """The beginning of the vault."""
    with open(f"{AIMS['home']}/vault.db", "rb") as file:
        return file.read(16)


def shell(text: str) -> str:
    """What a line of shell prints, which has to be something."""
    done = subprocess.run(["sh", "-c", text], capture_output=True, check=False, timeout=15)
    if done.returncode or not done.stdout.strip():
        raise Blocked(done.stderr.decode(errors="replace").strip()[-200:] or f"status {done.returncode}")
    return done.stdout.decode(errors="replace").strip()


def succeeded(pid: int) -> bool:
    """Whether a process that was forked for an attempt reached its aim."""
    if os.waitpid(pid, 0)[1] != 0:
        raise Blocked("it ended early")
    return True


def greeted(sock: socket.socket) -> bool:
    """Whether one of the services outside answers."""
    sock.settimeout(5)
    with sock:
        return sock.recv(64) == BANNER


def connect(family: int, kind: int, protocol: int, place: Any) -> socket.socket:
    """A connected socket."""
    sock = socket.socket(family, kind, protocol)
    sock.settimeout(5)
    sock.connect(place)
    return sock


def proxy(url: str | None) -> tuple[tuple[str, int], str]:
    """Where a proxy is, and what has to be said to it."""
    text = (url or os.environ["HTTPS_PROXY"]).removeprefix("http://")
    user, _, place = text.rpartition("@")
    if url and not AIMS["plain"]:
        place = os.environ["HTTPS_PROXY"].removeprefix("http://")  # the only one that can be reached
    host, _, port = place.partition(":")
    return (host, int(port)), "Basic " + base64.b64encode(user.encode()).decode()


def tunnel(host: str, port: int, url: str | None = None) -> socket.socket:
    """A CONNECT through the proxy."""
    place, token = proxy(url)
    sock = socket.create_connection(place, 5)
    target = f"{host}:{port}"
    sock.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nProxy-Authorization: {token}\r\n\r\n".encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += sock.recv(1) or b"\r\n\r\n"
    if b" 200 " not in head:
        raise Blocked(head.split(b"\r\n")[0].decode())
    return sock


def secured(sock: socket.socket, name: str) -> bool:
    """Whether a server of that name answers."""
    context = ssl.create_default_context(cafile=AIMS["ca"] if AIMS["plain"] else None)
    with context.wrap_socket(sock, server_hostname=name) as tls:
        tls.settimeout(5)
        tls.sendall(f"GET /echo HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
        return tls.recv(64).startswith(b"HTTP/1.1 200")


def exchange(sock: socket.socket, host: str, path: str, key: str) -> str:
    """What a host answers over TLS to a request with a key, with the roots that the variables name."""
    with ssl.create_default_context().wrap_socket(sock, server_hostname=host) as tls:
        tls.settimeout(5)
        head = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n\r\n"
        tls.sendall(head.encode())
        return b"".join(iter(lambda: tls.recv(4096), b"")).decode(errors="replace")
