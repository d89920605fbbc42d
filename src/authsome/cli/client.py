"""The daemon as the command line calls it: one HTTP/1.1 exchange per connection over its Unix socket.

Before a byte is sent the socket's directory has proved to be ours alone and the peer to run as us (P10).
"""

import json
import os
import socket
import stat
import sys
from typing import Any

from authsome.errors import AuthsomeError, DaemonUnavailable, ProviderNotFound

Answer = dict[str, Any]

_LOG_HINT = "look into logs/daemon.log of the home, or run: authsome doctor"
_CONNECT_SECONDS = 5.0
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


class Daemon:
    """The daemon of one home. `start` says whether to start it where it does not run."""

    def __init__(self, home: str, *, start: bool = True) -> None:
        self.home = home
        self._start = start

    def get(self, path: str, *, seconds: float = 60.0) -> Answer:
        """GET; the answer's JSON object. Raises what the daemon reports, or DaemonUnavailable."""
        return self.send("GET", path).receive(seconds)

    def post(self, path: str, body: dict[str, object] | None = None, *, seconds: float = 60.0) -> Answer:
        """POST with a JSON body; see `get`."""
        return self.send("POST", path, body or {}).receive(seconds)

    def delete(self, path: str, *, seconds: float = 60.0) -> Answer:
        """DELETE; see `get`."""
        return self.send("DELETE", path).receive(seconds)

    def send(self, method: str, path: str, body: dict[str, object] | None = None) -> "Exchange":
        """Send a request without waiting for the answer."""
        payload = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAccept: application/json\r\n"
        if body is not None:
            head += f"Content-Type: application/json\r\nContent-Length: {len(payload)}\r\n"
        sock = self._connect()
        try:
            sock.sendall(head.encode("ascii") + b"\r\n" + payload)
        except OSError as error:
            sock.close()
            raise DaemonUnavailable(f"the daemon does not listen: {error.strerror or error}", _LOG_HINT) from None
        return Exchange(sock, f"{method} {path.partition('?')[0]}")

    def _connect(self) -> socket.socket:
        sock = connect(self.home)
        if sock is None and self._start:
            from authsome.cli.start import start_daemon  # a cold start can afford its imports

            start_daemon(self.home)
            sock = connect(self.home)
        if sock is None:
            raise DaemonUnavailable("the daemon is not running", "start it with: authsome daemon start")
        return sock


class Exchange:
    """A request that was sent. `fileno` is readable once the answer has begun."""

    def __init__(self, sock: socket.socket, what: str) -> None:
        self._socket = sock
        self._what = what

    def fileno(self) -> int:
        """For `select`."""
        return self._socket.fileno()

    def close(self) -> None:
        """Give the answer up."""
        self._socket.close()

    def receive(self, seconds: float = 60.0) -> Answer:
        """The answer's JSON object. Raises what the daemon reports, or DaemonUnavailable."""
        try:
            self._socket.settimeout(seconds)
            status, payload = _read_answer(self._socket)
        except TimeoutError:
            raise DaemonUnavailable(f"the daemon did not answer within {seconds:.0f} s", _LOG_HINT) from None
        except (OSError, ValueError):
            raise DaemonUnavailable("the daemon broke off its answer", _LOG_HINT) from None
        finally:
            self._socket.close()
        return self._judge(status, payload)

    def _judge(self, status: int, payload: bytes) -> Answer:
        try:
            body = json.loads(payload)
        except ValueError:
            body = None
        if isinstance(body, dict) and status < 400:
            return body
        if isinstance(body, dict) and "error" in body:
            raise reported(body, status)
        raise AuthsomeError(
            f"the daemon answered {self._what} with HTTP {status}",
            "it may be of another version: authsome daemon restart",
        )


def reported(body: dict[str, object], status: int = 500) -> AuthsomeError:
    """The error that a daemon described, with its code and exit status even if we do not know them."""
    error = AuthsomeError.from_json(body, status)
    error.code = str(body["error"])
    exit_status = body.get("exit")
    if isinstance(exit_status, int) and 0 < exit_status < 126:
        error.exit_status = exit_status
    return error


def quote(text: str) -> str:
    """Percent-encoded for a path segment or a query value (RFC 3986 §2.3)."""
    return "".join(
        chr(byte) if byte in _UNRESERVED else f"%{byte:02X}" for byte in text.encode("utf-8", "surrogateescape")
    )


def provider_path(provider: str) -> str:
    """The path segment of a provider's name. Raises ProviderNotFound for what no name can be."""
    if "/" in provider or provider in ("", ".", ".."):
        raise ProviderNotFound(f"no provider is called {provider!r}", "see them with: authsome list")
    return quote(provider)


def connect(home: str) -> socket.socket | None:
    """A connection to the daemon of a home, None if it does not run.

    Raises DaemonUnavailable where the socket could be somebody else's, and in an isolated run.
    """
    directory = os.path.join(home, "run")
    if not is_private(directory):
        refuse_in_isolation()
        return None
    path = os.path.join(directory, "daemon.sock")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(_CONNECT_SECONDS)
        sock.connect(path)
        check_peer(sock)
    except (FileNotFoundError, ConnectionRefusedError):
        sock.close()
        refuse_in_isolation()
        return None
    except OSError as error:
        sock.close()
        if len(os.fsencode(path)) > 100:
            raise DaemonUnavailable(
                f"the socket's path is too long: {path}", "choose a shorter AUTHSOME_HOME"
            ) from None
        raise DaemonUnavailable(f"{path}: {error.strerror or error}", _LOG_HINT) from None
    except DaemonUnavailable:
        sock.close()
        raise
    return sock


def refuse_in_isolation() -> None:
    """Raises DaemonUnavailable in an isolated run, where a daemon that runs is not seen."""
    if not os.environ.get("AUTHSOME_RUN"):
        return
    from authsome.cli.isolate.network import PROXY  # what sets such a run apart from a plain one

    if os.environ.get("HTTPS_PROXY") == PROXY:
        raise DaemonUnavailable(
            "inside an isolated run the daemon is out of reach", "run this command outside, in a terminal of yours"
        )


def is_private(directory: str) -> bool:
    """Whether a directory is there; raises DaemonUnavailable if it is not ours alone (P10, P11)."""
    try:
        info = os.lstat(directory)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise DaemonUnavailable(f"{directory}: {error.strerror}", "check AUTHSOME_HOME") from None
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.geteuid():
        raise DaemonUnavailable(f"{directory} is not a directory of yours", "check AUTHSOME_HOME")
    if info.st_mode & 0o077:
        raise DaemonUnavailable(f"{directory} is open to others", f"run: chmod 700 {directory}")
    return True


def check_peer(sock: socket.socket) -> None:
    """Raises DaemonUnavailable unless the process that listens runs as us (P10)."""
    if peer_uid(sock) != os.geteuid():
        raise DaemonUnavailable(
            "the process at the daemon's socket belongs to another user", "stop it, then: authsome daemon start"
        )


def peer_uid(sock: socket.socket) -> int:
    """The user id of the process at the other end: `struct ucred` on Linux, `struct xucred` elsewhere."""
    if sys.platform == "linux":
        credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    else:
        credentials = sock.getsockopt(0, 1, 76)  # SOL_LOCAL, LOCAL_PEERCRED
    return int.from_bytes(credentials[4:8], sys.byteorder)


def _read_answer(sock: socket.socket) -> tuple[int, bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        part = sock.recv(65536)
        if not part:
            raise ValueError("no head")
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    length = 0
    for line in lines[1:]:
        name, _, value = line.partition(":")
        if name.lower() == "content-length":
            length = int(value)
    parts = [body]
    missing = length - len(body)
    while missing > 0:
        part = sock.recv(min(missing, 1 << 20))
        if not part:
            raise ValueError("short body")
        parts.append(part)
        missing -= len(part)
    return int(lines[0].removeprefix("HTTP/1.1 ")[:3]), b"".join(parts)
