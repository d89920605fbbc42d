"""The browser's door, row by row: who may come in, how fast, and what every answer carries (W01–W05, W07, W13, W14).

The rows on logins are in test_doors_login.py; real pages of other origins are in test_foreign_pages.py.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from e2e.doors import Answer, Doors, Page, head, send

from authsome.daemon.guard import HEADERS
from authsome.daemon.pages import browser_app

# P12: what is served without authentication, and what only to the browser that began the login
OPEN = {("GET", "/health"), ("GET", "/ready"), ("GET", "/static/style.css")}
BOUND = {
    ("GET", "/auth/login/{ticket}"),
    ("GET", "/auth/sessions/{number}"),
    ("POST", "/auth/sessions/{number}/client"),
    ("POST", "/auth/sessions/{number}/key"),
    ("POST", "/auth/sessions/{number}/cancel"),
    ("GET", "/auth/callback/oauth"),
}


def routes() -> set[tuple[str, str]]:
    """What the application behind the port really serves."""
    app: Any = browser_app(None)  # type: ignore[arg-type] - no request is made
    return set(_served(app.routes))


def _served(found: list[Any]) -> Iterator[tuple[str, str]]:
    """Also what was included from elsewhere; a kind of route that is new here shows up under its own name."""
    for route in found:
        if hasattr(route, "original_router"):
            yield from _served(route.original_router.routes)
        else:
            methods = getattr(route, "methods", None) or {type(route).__name__}
            yield from ((method, getattr(route, "path", "?")) for method in methods)


def at(path: str, page: Page | None = None) -> str:
    """A route's path with a login's number, or one of nobody's, in it."""
    number = page.path.rpartition("/")[2] if page else "AAAAAAAAAAAAAAAAAAAAAA"
    return path.replace("{number}", number).replace("{ticket}", "AAAAAAAAAAAAAAAAAAAAAA")


def test_w01_no_other_host_is_served_on_any_path(doors: Doors) -> None:
    port = doors.port
    foreign = [
        "evil.test",
        f"evil.test:{port}",
        "127.0.0.1.evil.test",
        f"127.0.0.1.evil.test:{port}",
        "localhost.",
        f"localhost.:{port}",
        "127.0.0.1",
        f"127.0.0.1:{port + 1}",
        f"x@127.0.0.1:{port}",
        f"127.0.0.1:{port}, evil.test",
        f"127.1:{port}",
        f"0.0.0.0:{port}",
        "",
    ]
    targets = [("GET", at(path)) for _, path in routes()] + [("POST", at(path)) for _, path in routes()]
    for method, path in [*targets, ("GET", "/nowhere"), ("OPTIONS", "/health"), ("PUT", "/health")]:
        for host in foreign:
            answer = doors.ask(method, path, {"origin": f"http://{host}"}, host=host or " ")
            assert answer.status in (403, 421), (method, path, host, answer)
            assert not answer.all("location") and "login" not in answer.text
    for host in (f"127.0.0.1:{port}", f"localhost:{port}", f"LOCALHOST:{port}", f"[::1]:{port}"):
        assert doors.ask("GET", "/health", host=host).status == 200


def test_w01_no_host_and_two_hosts_are_refused(doors: Doors) -> None:
    ours = ("Host", f"127.0.0.1:{doors.port}")
    evil = ("Host", "evil.test")
    for hosts in ([], [ours, ours], [ours, evil], [evil, ours]):
        answer = send(doors.port, head("GET", "/health", hosts))
        assert answer.status in (400, 403, 421), (hosts, answer)
    assert send(doors.port, b"GET /health HTTP/1.0\r\n\r\n").status in (400, 403, 421)
    for target in ("http://evil.test/health", f"http://127.0.0.1:{doors.port}/health", "evil.test:443", "*"):
        assert send(doors.port, head("GET", target, [ours])).status == 400, target


@pytest.mark.parametrize("action", ["client", "key", "cancel"])
def test_w02_a_form_of_another_site_is_refused_even_with_cookie_and_token(doors: Doors, action: str) -> None:
    session = doors.begin()
    page, before = doors.enter(session), doors.look(session)
    assert ("POST", f"/auth/sessions/{{number}}/{action}") in routes()
    for changes in (
        {"origin": "https://evil.test"},
        {"origin": "null"},
        {"origin": ""},
        {"origin": f"https://127.0.0.1:{doors.port}"},
        {"origin": f"http://127.0.0.1:{doors.port + 1}"},
        {"origin": f"http://localhost:{doors.port}"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"sec_fetch_site": "none"},
        {"origin": "https://evil.test", "sec_fetch_site": "cross-site"},
    ):
        headers = doors.same_site(cookie=page.cookie, **changes)
        if not headers["origin"]:
            del headers["origin"]
        body = f"form_token={page.token}&api_key=sk-proj-of-the-attacker-abcdefgh&client_id=evil"
        answer = doors.ask("POST", f"{page.path}/{action}", headers, body)
        assert answer.status == 403, (changes, answer)
        assert doors.look(session) == before
    assert doors.post(page, "cancel").status == 303  # the very same, sent by the page itself
    assert doors.look(session)[0] == "failed"


def test_w02_every_route_that_changes_something_was_tried() -> None:
    posts = {path.rpartition("/")[2] for method, path in routes() if method not in ("GET", "HEAD")}
    assert posts == {"client", "key", "cancel"}


@pytest.mark.parametrize("kind", ["text/plain", "application/json", "multipart/form-data; boundary=x", None])
def test_w03_only_forms_are_taken(doors: Doors, kind: str | None) -> None:
    session = doors.begin()
    page, before = doors.enter(session), doors.look(session)
    headers = doors.same_site(cookie=page.cookie, content_type=kind or "")
    if kind is None:
        del headers["content-type"]
    body = f'{{"form_token": "{page.token}", "api_key": "sk-proj-abcdefghijkl"}}'
    assert doors.ask("POST", f"{page.path}/key", headers, body).status == 415
    foreign = headers | {"origin": "https://evil.test", "sec-fetch-site": "cross-site"}
    assert doors.ask("POST", f"{page.path}/key", foreign, body).status in (403, 415)
    assert doors.look(session) == before
    doors.post(page, "cancel")


def test_w04_no_answer_lets_another_origin_read_it(doors: Doors) -> None:
    asked = {
        "origin": "https://evil.test",
        "access-control-request-method": "POST",
        "access-control-request-headers": "content-type",
        "access-control-request-private-network": "true",
        "access-control-request-local-network": "true",
    }
    for method, path in [*sorted(routes()), ("GET", "/nowhere")]:
        for tried in ("OPTIONS", method, "HEAD"):
            answer = doors.ask(tried, at(path), asked)
            assert not [name for name, _ in answer.headers if name.startswith("access-control")], (tried, path)
            assert tried != "OPTIONS" or answer.status in (403, 405)


def test_w05_every_answer_carries_the_headers(doors: Doors) -> None:
    session = doors.begin()
    page = doors.enter(session)
    ours = ("Host", f"127.0.0.1:{doors.port}")
    big = doors.same_site(cookie=page.cookie, content_length=str(2 << 20))
    seen: dict[str, Answer] = {
        "health": doors.ask("GET", "/health"),
        "a file": doors.ask("GET", "/static/style.css"),
        "a page": doors.ask("GET", page.path, page.cookie_header),
        "a refusal": doors.ask("GET", page.path),
        "an unknown page": doors.ask("GET", "/nowhere"),
        "a HEAD": doors.ask("HEAD", "/health"),
        "a method of no use": doors.ask("PUT", "/health"),
        "a wrong method": doors.ask("POST", "/health", doors.same_site(), ""),
        "another host": doors.ask("GET", "/health", host="evil.test"),
        "another site": doors.ask("POST", "/health", {"origin": "https://evil.test"}, ""),
        "no form": doors.ask("POST", f"{page.path}/key", doors.same_site(content_type="text/plain"), ""),
        "a large body": send(doors.port, head("POST", f"{page.path}/key", [ours, *big.items()])),
        "a form too long": doors.post(page, "key", api_key="x" * 20_000),
        "a callback": doors.ask("GET", "/auth/callback/oauth?code=x&state=y"),
        "a redirect": doors.post(page, "cancel"),
        "an end": doors.ask("GET", page.path, page.cookie_header),
        "garbage": send(doors.port, b"GARBAGE\r\n\r\n"),
        "no path": send(doors.port, head("GET", "http://x/", [ours])),
        "a bad header": send(doors.port, b"GET / HTTP/1.1\r\nHost : x\r\n\r\n"),
        "a bad length": send(doors.port, head("GET", "/", [ours, ("Content-Length", "-1")])),
        "two lengths": send(doors.port, head("GET", "/", [ours, ("Content-Length", "1"), ("Content-Length", "2")])),
        "another version": send(doors.port, b"GET / HTTP/3.9\r\n\r\n"),
        "TLS": send(doors.port, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 64),
    }
    for what, answer in seen.items():
        check_headers(what, answer)
    assert {answer.status for answer in seen.values()} >= {200, 303, 400, 403, 404, 405, 413, 415}


def check_headers(what: str, answer: Answer) -> None:
    """Each is there, once."""
    for name, value in HEADERS:
        assert answer.all(name.decode()) == [value.decode()], (what, name, answer)
    (policy,) = answer.all("content-security-policy")
    rules = {rule.split()[0]: rule.split()[1:] for rule in policy.split(";")}
    assert rules["default-src"] == rules["frame-ancestors"] == rules["base-uri"] == ["'none'"], (what, policy)
    assert "script-src" not in rules and "unsafe" not in policy, (what, policy)
    assert not answer.all("server") and not answer.all("x-powered-by"), (what, answer)


def test_w05_a_refusal_for_want_of_room_carries_them_too(doors: Doors) -> None:
    with contextlib.ExitStack() as there:
        for _ in range(257):
            there.enter_context(socket.create_connection(("127.0.0.1", doors.port), timeout=30))
        answer = _eventually(lambda: doors.ask("GET", "/health"), lambda answer: answer.status == 503)
        check_headers("503", answer)
        assert doors.call("GET", "/health")[0] == 200  # the owner's door is another
    assert _eventually(lambda: doors.ask("GET", "/health"), lambda answer: answer.status == 200)


def _eventually(ask: Callable[[], Answer], is_wanted: Callable[[Answer], bool]) -> Answer:
    """The first answer that is as wanted; AssertionError if none is within ten seconds."""
    ends = time.monotonic() + 10
    while not is_wanted(answer := ask()):
        assert time.monotonic() < ends, answer
        time.sleep(0.05)
    return answer


def test_w07_the_routes_are_the_documented_ones() -> None:
    assert routes() == OPEN | BOUND


def test_w07_without_the_ticket_or_the_cookie_no_route_gives_anything(doors: Doors) -> None:
    session = doors.begin()
    page, before = doors.enter(session), doors.look(session)
    for method, path in sorted(BOUND):
        for number in (None, page):
            headers = doors.same_site() if method == "POST" else {}
            body = f"form_token={page.token}&api_key=sk-proj-abcdefghijkl" if method == "POST" else None
            answer = doors.ask(method, at(path, number), headers, body)
            assert answer.status in (400, 401, 403), (method, path, answer)
            assert not answer.all("set-cookie") and not answer.all("location")
            for told in ("openai", session["id"], page.token, page.cookie):
                assert told not in answer.text, (method, path)
    assert doors.look(session) == before
    for method, path in OPEN:
        answer = doors.ask(method, path)
        assert answer.status == 200 and not answer.all("set-cookie")
        assert "openai" not in answer.text and str(doors.home.path) not in answer.text
    assert set(doors.ask("GET", "/health").text) and '"pid"' not in doors.ask("GET", "/health").text
    doors.post(page, "cancel")


# what a client does once it is connected: the bytes at first, and those that it then sends, one each half second
SLOW = {
    "nothing": (b"", b""),
    "a head, byte by byte": (b"GET /health HTTP/1.1\r\nX: ", b"x"),
    "empty lines": (b"\r\n", b"\r\n"),
    "a body that does not come": (b"POST {form} HTTP/1.1\r\n{fields}Content-Length: 9000\r\n\r\n", b""),
    "a body, byte by byte": (b"POST {form} HTTP/1.1\r\n{fields}Content-Length: 9000\r\n\r\n", b"x"),
    "a body in chunks": (b"POST {form} HTTP/1.1\r\n{fields}Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    "a body that nobody wants": (b"GET /health HTTP/1.1\r\n{fields}Content-Length: 9000\r\n\r\n", b"x"),
    "a refused body": (b"POST {form} HTTP/1.1\r\nHost: evil.test\r\nContent-Length: 9000\r\n\r\n", b"x"),
    "empty lines after an answer": (b"GET /health HTTP/1.1\r\n{fields}\r\n", b"\r\n"),
    "a second head": (b"GET /health HTTP/1.1\r\n{fields}\r\n", b"G"),
}


def test_w13_whoever_is_slow_is_sent_away_after_ten_seconds(doors: Doors) -> None:
    session = doors.begin()
    page = doors.enter(session)
    sent = doors.same_site(cookie=page.cookie, host=f"127.0.0.1:{doors.port}")
    fields = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
    took: dict[str, float] = {}

    def be_slow(name: str, family: int, address: Any, first: bytes, then: bytes) -> None:
        with socket.socket(family) as sock:
            sock.connect(address)
            sock.settimeout(0.5)
            began = time.monotonic()
            with contextlib.suppress(ConnectionError):
                sock.sendall(first)
                while time.monotonic() < began + 40:
                    with contextlib.suppress(TimeoutError):
                        if sock.recv(65536) == b"":
                            break
                        continue
                    sock.sendall(then)
            took[name] = time.monotonic() - began

    threads = []
    for name, (first, then) in SLOW.items():
        form = f"{page.path}/key".encode()
        opening = first.replace(b"{form}", form).replace(b"{fields}", fields.encode())
        browser = (socket.AF_INET, ("127.0.0.1", doors.port))
        owner = (socket.AF_UNIX, str(doors.home.path / "run" / "daemon.sock"))
        calls = opening.replace(form, b"/exports").replace(b"x-www-form-urlencoded", b"json")
        threads.append(threading.Thread(target=be_slow, args=(name, *browser, opening, then)))
        threads.append(threading.Thread(target=be_slow, args=(f"{name} (owner)", *owner, calls, then)))
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):  # the others are served meanwhile
        began = time.monotonic()
        assert doors.ask("GET", "/health").status == 200
        assert time.monotonic() - began < 5
        time.sleep(0.5)
    assert set(took) == {*SLOW, *(f"{name} (owner)" for name in SLOW)}
    # a second for the answer, half of one for our own beat, and some for a machine with much to do
    assert {name: seconds for name, seconds in took.items() if seconds > 25} == {}
    assert min(took["nothing"], took["a head, byte by byte"], took["a body, byte by byte"]) > 8  # and not before
    assert doors.look(session)[0] == "key"


def test_w13_a_head_without_end_is_cut_off(doors: Doors) -> None:
    with socket.create_connection(("127.0.0.1", doors.port), timeout=30) as sock:
        sock.sendall(b"GET /health HTTP/1.1\r\n")
        with pytest.raises(ConnectionError):
            for _ in range(1000):
                sock.sendall(b"X: " + b"x" * 65536 + b"\r\n")


def test_w14_no_description_of_the_api_is_served_to_browsers(doors: Doors) -> None:
    status, described = doors.call("GET", "/openapi.json")
    assert status == 200 and len(described["paths"]) > 15  # the owner's socket has it
    for path in ("/docs", "/redoc", "/openapi.json", "/docs/oauth2-redirect", "/swagger", "/api", "/api/openapi.json"):
        answer = doors.ask("GET", path)
        assert answer.status == 404 and "paths" not in answer.text, path
