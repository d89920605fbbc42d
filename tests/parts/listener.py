"""A web server on loopback that serves given pages and keeps every request."""

import http.server
import threading
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Request:
    """A request as received; header names in lower case."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]


@dataclass
class Listener:
    """`pages`: path -> (status, headers, HTML), any other path is answered with 200; `requests`: oldest first."""

    pages: dict[str, tuple[int, dict[str, str], str]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)

    def __enter__(self) -> "Listener":
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer._answer(self)

            do_POST = do_GET

            def log_message(self, *_: object) -> None:
                """Nothing on stderr."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.origin = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def last(self, path: str) -> Request:
        """The newest request for a path. LookupError where there was none."""
        for request in reversed(self.requests):
            if request.path == path:
                return request
        raise LookupError(f"no request for {path}")

    def _answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.rfile.read(int(handler.headers.get("content-length", 0)))
        url = urlsplit(handler.path)
        headers = {name.lower(): value for name, value in handler.headers.items()}
        self.requests.append(Request(handler.command, url.path, dict(parse_qsl(url.query)), headers))
        status, extra, body = self.pages.get(url.path, (200, {}, "<p>done</p>"))
        handler.send_response(status)
        for name, value in {"content-type": "text/html; charset=utf-8", **extra}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body.encode())
