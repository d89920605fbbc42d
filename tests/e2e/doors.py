"""A running daemon as strangers meet it: raw bytes on its port, calls on its socket, and a login page in a browser."""

import contextlib
import http.client
import json
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from parts.product import Cli, Home

FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Answer:
    """What came back; header names are in lower case, repeated ones are all there."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        """The values of a header."""
        return [value for found, value in self.headers if found == name]

    @property
    def location(self) -> str:
        """Where it leads, or an empty text."""
        return (self.all("location") or [""])[0]

    @property
    def text(self) -> str:
        """The body."""
        return self.body.decode()


def read(sock: socket.socket, method: str = "GET") -> Answer:
    """The next answer; http.client.HTTPException or OSError where none comes."""
    response = http.client.HTTPResponse(sock, method=method)
    response.begin()
    body = response.read()
    return Answer(response.status, [(n.lower(), v) for n, v in response.getheaders()], body)


def send(port: int, request: bytes) -> Answer:
    """Bytes on a connection of their own, and the answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it may have answered before the end
            sock.sendall(request)
        return read(sock, request.partition(b" ")[0].decode("latin-1"))


def head(method: str, target: str, headers: Iterable[tuple[str, str]]) -> bytes:
    """A request's head, exactly as told: no Host but those among the headers."""
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers), "", ""]
    return "\r\n".join(lines).encode("latin-1")


@dataclass(frozen=True)
class Page:
    """What a browser holds of a login: the session's address, its cookie, and the token of the form that it shows."""

    path: str
    cookie: str
    token: str

    @property
    def cookie_header(self) -> dict[str, str]:
        """As the browser sends it."""
        return {"cookie": self.cookie}


class Doors:
    """The two doors of the daemon of a home: `ask` at the browser's, `call` at the owner's."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.port = home.port
        self.origin = f"http://127.0.0.1:{home.port}"

    def ask(
        self,
        method: str,
        target: str,
        headers: dict[str, str] | None = None,
        body: str | None = None,
        *,
        host: str | None = None,
    ) -> Answer:
        """One request with one Host, by default the right one."""
        fields = [("Host", host or f"127.0.0.1:{self.port}"), *(headers or {}).items()]
        content = b"" if body is None else body.encode()
        if body is not None:
            fields.append(("Content-Length", str(len(content))))
        return send(self.port, head(method, target, fields) + content)

    def same_site(self, **changes: str) -> dict[str, str]:
        """The headers with which a browser sends a form of ours."""
        usual = {"origin": self.origin, "sec-fetch-site": "same-origin", "content-type": FORM}
        return usual | {name.replace("_", "-"): value for name, value in changes.items()}

    def post(self, page: Page, action: str, **fields: str) -> Answer:
        """Send the form of a page."""
        body = "&".join(f"{name}={value}" for name, value in ({"form_token": page.token} | fields).items())
        return self.ask("POST", f"{page.path}/{action}", self.same_site(cookie=page.cookie), body)

    def call(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Status and JSON of a call on the owner's socket, made by this process."""
        return self.send_raw(method, path, b"" if body is None else json.dumps(body).encode(), "application/json")

    def send_raw(self, method: str, path: str, body: bytes, kind: str) -> tuple[int, Any]:
        """The same with any bytes as the body, and any content type."""
        connection = OwnerConnection(self.home)
        try:
            connection.request(method, path, body or None, {"Content-Type": kind} if body and kind else {})
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def begin(self, provider: str = "openai") -> dict[str, Any]:
        """A login that waits for its person, as the waiting command sees it."""
        status, session = self.call("POST", "/auth/sessions", {"provider": provider, "force": True})
        assert status == 200, session
        status, session = self.call("GET", f"/auth/sessions/{session['id']}?wait=10&after={session['step']}")
        assert session["phase"] in ("key", "client", "consent"), session
        return dict(session)

    def look(self, session: dict[str, Any]) -> tuple[str, int]:
        """Phase and step of a login now."""
        status, now = self.call("GET", f"/auth/sessions/{session['id']}")
        assert status == 200, now
        return now["phase"], now["step"]

    def enter(self, session: dict[str, Any]) -> Page:
        """Open its link, as the person's browser does; the page has a form."""
        page, shown = self._open(session)
        token = re.search(r'name="form_token" value="([^"]+)"', shown.text)
        assert token, shown
        return replace(page, token=token[1])

    def consent(self, provider: str) -> tuple[Page, str]:
        """A login up to the authorization server: its page, which has no form now, and its address there."""
        page, shown = self._open(self.begin(provider))
        token = re.search(r'name="form_token" value="([^"]+)"', shown.text)
        if token:  # the first one asks for a client
            shown = self.post(replace(page, token=token[1]), "client", client_id="mine")
        assert shown.status == 303, shown
        return page, shown.location

    def _open(self, session: dict[str, Any]) -> tuple[Page, Answer]:
        hop = self.ask("GET", ticket_path(session))
        assert hop.status == 303, hop
        page = Page(hop.location, hop.all("set-cookie")[0].partition(";")[0], "")
        return page, self.ask("GET", page.path, page.cookie_header)

    def restart(self) -> None:
        """Another daemon in its place."""
        Cli(self.home)("daemon", "restart").ok()


class OwnerConnection(http.client.HTTPConnection):
    """HTTP to the daemon's Unix socket."""

    def __init__(self, home: Home) -> None:
        super().__init__("localhost", timeout=60)
        self._path = home.path / "run" / "daemon.sock"

    def connect(self) -> None:
        """See http.client."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def ticket_path(session: dict[str, Any]) -> str:
    """The path of the one-time link."""
    return "/" + str(session["url"]).partition("://")[2].partition("/")[2]
