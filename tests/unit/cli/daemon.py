"""A real HTTP server on a real Unix socket that says what a test tells it to."""

import json
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

Body = dict[str, object] | None
Reply = dict[str, object] | tuple[int, dict[str, object]]
Script = Callable[[Body], Reply]


class FakeDaemon:
    """Answers by `METHOD /path`, without the query; keeps what it was asked."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.asked: list[tuple[str, Body]] = []
        self._answers: dict[str, Script] = {}
        (home / "run").mkdir(mode=0o700, parents=True, exist_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(home / "run" / "daemon.sock"))
        self._listener.listen(16)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def answer(self, call: str, reply: Reply | Script) -> None:
        """From now on."""
        self._answers[call] = reply if callable(reply) else lambda _body: reply

    def bodies(self, call: str) -> list[Body]:
        """The bodies of every call that begins so."""
        return [body for asked, body in self.asked if asked.startswith(call)]

    def close(self) -> None:
        """Serve no more."""
        if self._thread.is_alive():
            self._listener.shutdown(socket.SHUT_RDWR)
            self._thread.join(5)
        self._listener.close()
        (self.home / "run" / "daemon.sock").unlink(missing_ok=True)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._exchange, args=(connection,), daemon=True).start()

    def _exchange(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream:
            first = stream.readline()
            if not first:
                return  # a caller that only looked whether we are here
            method, target, _ = first.decode().split(" ")
            length = 0
            while (line := stream.readline()) not in (b"\r\n", b""):
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            body = json.loads(stream.read(length)) if length else None
            self.asked.append((f"{method} {target}", body))
            script = self._answers.get(f"{method} {target.partition('?')[0]}")
            reply: Reply = script(body) if script else (404, {"detail": "Not Found"})
            status, answer = reply if isinstance(reply, tuple) else (200, reply)
            payload = json.dumps(answer).encode()
            head = f"HTTP/1.1 {status} Said\r\ncontent-type: application/json\r\ncontent-length: {len(payload)}\r\n\r\n"
            try:
                connection.sendall(head.encode() + payload)
            except OSError:
                return  # the caller gave the answer up


def failure(code: str, message: str, hint: str | None = None, status: int = 400, exit: int = 1) -> Reply:
    """An error as the daemon describes it."""
    return status, {"error": code, "message": message, "exit": exit, **({"hint": hint} if hint else {})}


def connection(name: str = "default", **changes: object) -> dict[str, object]:
    """A connection as the daemon shows it."""
    shown: dict[str, object] = {
        "provider": "notion_dcr", "connection": name, "default": True, "status": "connected", "auth_type": "oauth2",
        "flow": "dcr_pkce", "scopes": [], "routes": ["mcp.notion.com"], "issuer": "https://mcp.notion.com",
        "account": None, "base_url": None, "resource": None, "expires_at": None, "obtained_at": 1_700_000_000.0,
        "created_at": 1_700_000_000.0, "updated_at": 1_700_000_000.0,
    }  # fmt: skip
    return {**shown, **changes}


def run_command(home: Path, **variables: str) -> dict[str, str]:
    """The environment for a command of its own process."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("AUTHSOME_")}
    return {**inherited, "AUTHSOME_HOME": str(home), **variables}
