"""Calls to authorization servers over real sockets: bounded, not redirected, not led astray (P14, O12, O13, O30)."""

import asyncio
import contextlib
import gzip
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from authsome.broker import fetch
from authsome.broker.fetch import Fetcher
from authsome.errors import AuthsomeError, LoginFailed, Unreachable
from authsome.flows.steps import Fetch, Fetched
from authsome.model.secret import Secret


class Handler(BaseHTTPRequestHandler):
    """Behaves as its path says."""

    protocol_version = "HTTP/1.1"
    seen: list[str]

    def do_GET(self) -> None:
        match self.path.partition("?")[0]:
            case "/redirect":
                self._head(307, Location="/evil")
            case "/endless":
                self._head(200)
                try:
                    while True:
                        self.wfile.write(b"x" * 65536)
                except OSError:
                    return
            case "/slow":
                self._head(200)
                for _ in range(100):
                    self.wfile.write(b"x")
                    time.sleep(0.1)
            case "/bomb":
                self._body(gzip.compress(b"0" * (64 << 20)), Content_Encoding="gzip")
            case "/gzip":
                self._body(gzip.compress(b'{"a":1}'), Content_Encoding="gzip")
            case "/strange":
                self._body(b"x", Content_Encoding="br")
            case _:
                self._body(b"{}")

    do_POST = do_GET

    def _head(self, status: int, **headers: str) -> None:
        self.server.seen.append(f"{self.command} {self.path}")  # type: ignore[attr-defined]
        self.server.headers.append(dict(self.headers))  # type: ignore[attr-defined]
        self.close_connection = True
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def _body(self, body: bytes, **headers: str) -> None:
        self._head(200, Content_Length=str(len(body)), **headers)
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.seen, server.headers = [], []  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def call(server: ThreadingHTTPServer, path: str, **step: object) -> Fetched:
    url = f"http://127.0.0.1:{server.server_port}{path}"
    return asyncio.run(Fetcher((), {})(Fetch(url=url, **{"owner_wrote": True, **step})))  # type: ignore[arg-type]


def test_a_redirect_is_an_answer_and_not_followed(server: ThreadingHTTPServer) -> None:  # O12
    assert call(server, "/redirect", method="POST", form=(("code", Secret("CANARY")),)).status == 307
    assert server.seen == ["POST /redirect"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", ["/endless", "/bomb"])
def test_an_answer_without_end_stops_at_the_limit(server: ThreadingHTTPServer, path: str) -> None:  # O13
    with pytest.raises(LoginFailed, match="more than 1 MiB"):
        call(server, path)


def test_a_server_that_dribbles_runs_out_of_time(
    server: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:  # O13
    monkeypatch.setattr(fetch, "TIME_LIMIT", 0.5)
    with pytest.raises(Unreachable, match="did not answer"):
        call(server, "/slow")


def test_a_slow_server_delays_no_other(server: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:  # O30
    monkeypatch.setattr(fetch, "TIME_LIMIT", 3.0)
    base = f"http://127.0.0.1:{server.server_port}"

    async def both() -> list[str]:
        fetcher, order = Fetcher((), {}), []

        async def one(path: str) -> None:
            with contextlib.suppress(AuthsomeError):
                await fetcher(Fetch(url=base + path, owner_wrote=True))
            order.append(path)

        await asyncio.gather(one("/slow"), *(one(f"/quick?{n}") for n in range(5)))
        return order

    assert asyncio.run(both())[-1] == "/slow"


def test_an_encoding_that_was_not_asked_for_is_read_or_refused(server: ThreadingHTTPServer) -> None:
    assert call(server, "/gzip").body == b'{"a":1}'
    with pytest.raises(LoginFailed, match="coding"):
        call(server, "/strange")
    assert server.headers[0]["Accept-Encoding"] == "identity"  # type: ignore[attr-defined]


INSIDE = ["127.0.0.1", "localhost", "127.1", "2130706433", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254"]


@pytest.mark.parametrize("host", [*INSIDE, "10.0.0.1", "0.0.0.0", "[64:ff9b::a9fe:a9fe]"])
def test_a_server_cannot_name_an_address_inside(server: ThreadingHTTPServer, host: str) -> None:  # P14, O10
    for scheme in ("http", "https"):
        step = Fetch(url=f"{scheme}://{host}:{server.server_port}/")
        with pytest.raises(LoginFailed):
            asyncio.run(Fetcher((), {})(step))
    assert server.seen == []  # type: ignore[attr-defined]


def test_the_metadata_address_is_not_called_on_the_owners_word_either() -> None:
    with pytest.raises(LoginFailed):
        asyncio.run(Fetcher((), {})(Fetch(url="https://169.254.169.254/", owner_wrote=True)))


def test_metadata_is_asked_for_once(server: ThreadingHTTPServer) -> None:
    async def twice() -> None:
        fetcher = Fetcher((), {})
        for _ in range(2):
            await fetcher(Fetch(url=f"http://127.0.0.1:{server.server_port}/m", owner_wrote=True, cacheable=True))

    asyncio.run(twice())
    assert server.seen == ["GET /m"]  # type: ignore[attr-defined]


def test_a_port_that_nobody_serves_is_unreachable() -> None:
    with pytest.raises(Unreachable):
        asyncio.run(Fetcher((), {})(Fetch(url="http://127.0.0.1:9/", owner_wrote=True)))
