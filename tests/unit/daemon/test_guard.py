"""The browser's door, asked as a browser, a stranger and an attacker would (P7–P9, W01–W05, V24)."""

import asyncio
import json
import re
from typing import Any

import pytest

from authsome.daemon import guard
from authsome.daemon.guard import BODY_LIMIT, BodyLimit, BodyRefused, Guard, crowded
from authsome.daemon.pages import browser_app

HOST = "127.0.0.1:7998"
ORIGIN = f"http://{HOST}"


async def _page(scope: Any, receive: Any, send: Any) -> None:
    if scope["path"] == "/broken":
        raise ValueError("CANARY in a traceback")
    more = True
    while more:
        more = (await receive()).get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"referrer-policy", b"unsafe-url")]})
    await send({"type": "http.response.body", "body": b"page"})


def ask(
    method: str = "GET",
    path: str = "/",
    headers: dict[str, str] | list[tuple[str, str]] | None = None,
    body: bytes = b"",
    *,
    app: Any = _page,
    query: str = "",
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of one request."""
    pairs = list((headers or {}).items()) if not isinstance(headers, list) else headers
    if not any(name == "host" for name, _ in pairs):
        pairs.append(("host", HOST))
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in pairs if value],
    }
    sent: list[Any] = []
    parts = [body[i : i + 65536] for i in range(0, len(body), 65536)] or [b""]

    async def receive() -> Any:
        part = parts.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(parts)}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(Guard(app, [HOST, "localhost:7998", "[::1]:7998"])(scope, receive, send))
    assert [m["type"] for m in sent].count("http.response.start") == 1
    found = {n.decode(): v.decode() for n, v in sent[0]["headers"]}
    return sent[0]["status"], found, b"".join(m.get("body", b"") for m in sent[1:])


def form(**changes: str) -> dict[str, str]:
    return {
        "origin": ORIGIN,
        "sec-fetch-site": "same-origin",
        "content-type": "application/x-www-form-urlencoded",
    } | {k.replace("_", "-"): v for k, v in changes.items()}


@pytest.mark.parametrize("host", [HOST, "localhost:7998", "LOCALHOST:7998", "[::1]:7998"])
def test_loopback_names_with_our_port_are_served(host: str) -> None:
    assert ask(headers={"host": host})[0] == 200


FOREIGN = ["evil.test", "evil.test:7998", "127.0.0.1.evil.test:7998", "localhost.:7998"]


@pytest.mark.parametrize("host", [*FOREIGN, "127.0.0.1", "127.0.0.1:80", "x@127.0.0.1:7998"])
def test_any_other_host_is_refused_before_routing(host: str) -> None:  # P7, W01
    assert ask(headers={"host": host})[0] == 403


def test_no_host_and_two_hosts_are_refused() -> None:  # W01
    assert ask(headers=[("host", "")])[0] == 403
    assert ask(headers=[("host", HOST), ("host", HOST)])[0] == 403


def test_a_form_of_this_site_is_accepted() -> None:
    assert ask("POST", headers=form())[0] == 200
    assert ask("POST", headers=form(sec_fetch_site=""))[0] == 200  # an older browser; its Origin still speaks


@pytest.mark.parametrize(
    "changes",
    [
        {"origin": "https://evil.test"},
        {"origin": "null"},
        {"origin": ""},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "http://localhost:7998"},  # ours, but not the page's own
        {"origin": "https://127.0.0.1:7998"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"sec_fetch_site": "none"},
    ],
)
def test_a_form_of_another_site_is_refused(changes: dict[str, str]) -> None:  # P8, W02
    assert ask("POST", headers=form(**changes))[0] == 403


@pytest.mark.parametrize("kind", ["text/plain", "application/json", "multipart/form-data", ""])
def test_only_forms_are_posted_here(kind: str) -> None:  # W03
    assert ask("POST", headers=form(content_type=kind))[0] == 415


@pytest.mark.parametrize("method", ["OPTIONS", "PUT", "DELETE", "PATCH", "TRACE"])
def test_other_methods_get_no_cors_headers(method: str) -> None:  # P8, W04
    status, headers, _ = ask(method, headers=form(access_control_request_private_network="true"))
    assert status == 405
    assert not [name for name in headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/", {}, 200),
        ("GET", "/", {"host": "evil.test"}, 403),
        ("PUT", "/", {}, 405),
        ("GET", "/broken", {}, 500),
    ],
)
def test_every_answer_carries_the_headers(method: str, path: str, headers: dict[str, str], status: int) -> None:
    # P9, W05
    found = ask(method, path, headers)
    assert found[0] == status
    assert "default-src 'none'" in found[1]["content-security-policy"]
    assert "frame-ancestors 'none'" in found[1]["content-security-policy"]
    assert "script" not in found[1]["content-security-policy"]
    assert found[1]["x-frame-options"] == "DENY"
    assert found[1]["x-content-type-options"] == "nosniff"
    assert found[1]["referrer-policy"] == "no-referrer"
    assert found[1]["cache-control"] == "no-store"


def test_a_broken_page_shows_no_traceback(caplog: pytest.LogCaptureFixture) -> None:  # X75
    status, _, body = ask(path="/broken")
    assert status == 500
    assert b"CANARY" not in body and b"Traceback" not in body


def test_a_body_over_the_limit_is_refused() -> None:  # V24
    assert ask("POST", headers=form(content_length=str(BODY_LIMIT + 1)))[0] == 413
    assert ask("POST", headers=form(), body=b"x" * (BODY_LIMIT + 1))[0] == 413
    assert ask("POST", headers=form(content_length="-5"))[0] == 413


@pytest.mark.parametrize("path", ["/auth/login/x", "/auth/sessions/x", "/auth/callback/oauth?code=c"])
def test_a_page_that_breaks_shows_the_number_by_which_the_log_names_it(
    caplog: pytest.LogCaptureFixture, path: str
) -> None:  # X75
    """The real pages, over something that has nothing of what they ask for."""
    scope_path, _, query = path.partition("?")
    status, headers, body = ask(path=scope_path, app=browser_app(object()), query=query)  # type: ignore[arg-type]
    assert status == 500 and b"Traceback" not in body and b"AttributeError" not in body
    assert "frame-ancestors 'none'" in headers["content-security-policy"] and headers["cache-control"] == "no-store"
    number = re.search(rb"the log names it ([0-9a-f]{8})", body)
    assert number
    (record,) = caplog.records  # once
    assert number[1].decode() in record.getMessage() and record.exc_info


def test_a_body_has_ten_seconds_as_a_whole_and_not_for_each_part(monkeypatch: pytest.MonkeyPatch) -> None:  # W13
    monkeypatch.setattr(guard, "BODY_TIME", 0.2)

    async def receive() -> Any:
        await asyncio.sleep(0.05)
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def read() -> int:
        parts, limited = 0, guard.bounded(receive)
        try:
            while True:
                await limited()
                parts += 1
        except BodyRefused as refused:
            assert refused.status_code == 408 and refused.headers == {"connection": "close"}
        return parts

    assert 0 < asyncio.run(asyncio.wait_for(read(), 20)) < 5


def test_a_body_that_came_whole_may_be_worked_on_for_as_long_as_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "BODY_TIME", 0.05)
    messages = [{"type": "http.request", "body": b"x", "more_body": False}, {"type": "http.disconnect"}]

    async def receive() -> Any:
        await asyncio.sleep(0.02 if len(messages) == 2 else 0.2)
        return messages.pop(0)

    async def read() -> str:
        limited = guard.bounded(receive)
        await limited()
        return str((await limited())["type"])

    assert asyncio.run(read()) == "http.disconnect"


def test_who_finds_no_room_is_told_so_in_the_callers_own_terms() -> None:  # P28
    status, headers, body = ask(app=crowded)
    assert status == 503 and headers["x-frame-options"] == "DENY"
    assert json.loads(body)["error"] == "daemon_unavailable" and json.loads(body)["exit"] == 9


def test_a_failure_of_the_owners_calls_that_was_answered_is_not_told_twice() -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/answered":
            await send({"type": "http.response.start", "status": 500, "headers": []})
            await send({"type": "http.response.body", "body": b"told"})
        raise ValueError("x")

    async def send(message: Any) -> None:
        """Nobody reads it."""

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    asyncio.run(BodyLimit(broken)({"path": "/answered"}, receive, send))
    with pytest.raises(ValueError, match="x"):
        asyncio.run(BodyLimit(broken)({"path": "/silent"}, receive, send))
