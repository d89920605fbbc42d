"""The browser's door, row by row: what binds a login to the one who began it (W06, W08–W12)."""

import collections
import json
import math
import re
import socket
import time
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from urllib.parse import parse_qs, quote, urljoin, urlsplit

import pytest
from e2e.doors import Answer, Doors, Page, head, read, ticket_path
from parts.canary import Canary
from parts.product import Cli

KEY = "sk-proj-{}abcdefgh"
UNKNOWN = "AAAAAAAAAAAAAAAAAAAAAA"
AS = "https://login.doors.example"


def consent(doors: Doors) -> tuple[Page, str]:
    """A login that waits for the redirect of an authorization server: its page, and its `state`."""
    page, address = doors.consent("doors")
    assert address.startswith(f"{AS}/authorize?"), address
    return page, parse_qs(urlsplit(address).query)["state"][0]


@pytest.fixture(scope="module", autouse=True)
def provider(doors: Doors) -> None:
    """One whose endpoints are in its file, so that a login comes to its consent without a network."""
    register(doors, definition("doors"))


def definition(name: str, **changes: object) -> dict[str, object]:
    return {
        "name": name,
        "display_name": "Doors",
        "auth_type": "oauth2",
        "flow": "pkce",
        "api_url": f"api.{name}.example",
        "oauth": {"authorization_url": f"{AS}/authorize", "token_url": f"{AS}/token"},
    } | changes


def register(doors: Doors, file: dict[str, object]) -> int:
    return doors.call("POST", "/providers", {"text": json.dumps(file), "force": True})[0]


def test_w06_the_number_of_a_login_opens_nothing_by_itself(doors: Doors) -> None:
    session = doors.begin()
    page, before = doors.enter(session), doors.look(session)
    for cookie in ("", "authsome_login=x", page.cookie[:-1], page.cookie.partition("=")[0] + "=", f"x{page.cookie}"):
        shown = doors.ask("GET", page.path, {"cookie": cookie})
        assert shown.status in (400, 403) and page.token not in shown.text
        for action in ("key", "client", "cancel"):
            body = f"form_token={page.token}&api_key=sk-proj-abcdefghijkl&client_id=x"
            headers = doors.same_site(cookie=cookie)
            assert doors.ask("POST", f"{page.path}/{action}", headers, body).status in (400, 403)
    assert doors.look(session) == before
    other = doors.enter(doors.begin())  # the cookie of another login, under either name
    renamed = f"{page.cookie.partition('=')[0]}={other.cookie.partition('=')[2]}"
    for cookie in (other.cookie, renamed):
        assert doors.ask("GET", page.path, {"cookie": cookie}).status in (400, 403)


def test_w06_a_form_and_a_link_count_once(doors: Doors, canary: Canary) -> None:
    session = doors.begin()
    page = doors.enter(session)
    assert doors.ask("GET", ticket_path(session)).status in (400, 403)
    assert doors.post(page, "key", api_key="not-a-key").status == 303
    assert doors.post(page, "key", api_key=KEY.format(canary.secret)).status in (400, 403)  # the token of the old form
    shown = doors.ask("GET", page.path, page.cookie_header)
    token = re.search(r'name="form_token" value="([^"]+)"', shown.text)
    assert token and token[1] != page.token
    again = Page(page.path, page.cookie, token[1])
    assert doors.post(again, "key", api_key=KEY.format(canary.secret)).status == 303
    assert doors.look(session)[0] == "done"
    for form in (page, again):
        for action in ("key", "client", "cancel"):
            assert doors.post(form, action, api_key=KEY.format(canary.secret)).status in (400, 403)
    assert doors.look(session)[0] == "done"


def test_w06_what_is_handed_out_cannot_be_guessed(doors: Doors) -> None:
    """Measured over what the daemon really gave: 22 characters of which none is more likely than another."""
    given: dict[str, list[str]] = {"number": [], "ticket": [], "cookie": [], "form": [], "state": []}
    for _ in range(24):
        session = doors.begin()
        page = doors.enter(session)
        given["number"].append(session["id"])
        given["ticket"].append(ticket_path(session).rpartition("/")[2])
        given["cookie"].append(page.cookie.partition("=")[2])
        given["form"].append(page.token)
        doors.post(page, "cancel")
        page, state = consent(doors)
        given["state"].append(state)
        doors.call("DELETE", page.path)
    for what, texts in given.items():
        assert len(set(texts)) == len(texts), what
        length = min(map(len, texts))
        assert length >= 22, what
        # the last character of 22 carries two bits only
        columns = ["".join(text[place] for text in texts) for place in range(length - 1)]
        assert min(len(set(column)) for column in columns) >= 8, (what, columns)
        pool = collections.Counter("".join(columns))
        total = sum(pool.values())
        each = -sum(n / total * math.log2(n / total) for n in pool.values())
        assert each * (length - 1) > 115, (what, each, length)  # a sample of some hundred shows 5.8 of 6 bits


def test_w08_the_cookie_is_hidden_short_lived_and_of_one_login(doors: Doors) -> None:
    """Lax, not Strict as the row says: the callback is a navigation from another site, and goes without Strict ones."""
    session = doors.begin()
    hop = doors.ask("GET", ticket_path(session))
    (cookie,) = hop.all("set-cookie")
    name, *flags = cookie.split("; ")
    told = {flag.partition("=")[0].lower(): flag.partition("=")[2] for flag in flags}
    assert set(told) == {"httponly", "max-age", "path", "samesite"}  # no Domain: it is this host's alone
    assert told["samesite"].lower() in ("lax", "strict") and told["path"] == "/auth"
    assert 0 < int(told["max-age"]) <= 900
    assert session["id"].startswith(name.partition("=")[0].removeprefix("authsome_login_"))
    value = name.partition("=")[2]
    page = doors.ask("GET", hop.location, {"cookie": name.partition(";")[0]})
    assert value not in page.text + hop.location  # cookies are of a host, not of a port: others see it, pages need not


def test_w08_no_ticket_and_no_code_stays_in_an_address(doors: Doors) -> None:
    session = doors.begin()
    ticket = ticket_path(session).rpartition("/")[2]
    hop = doors.ask("GET", ticket_path(session))
    assert hop.status == 303 and ticket not in hop.location
    assert ticket not in json.dumps(doors.call("GET", f"/auth/sessions/{session['id']}")[1])
    page, state = consent(doors)
    back = doors.ask("GET", f"/auth/callback/oauth?error=access_denied&state={state}", page.cookie_header)
    assert (back.status, back.location) == (303, page.path)


def test_w08_a_cookie_that_another_port_planted_opens_nothing(doors: Doors) -> None:
    session = doors.begin()
    page = doors.enter(session)
    name = page.cookie.partition("=")[0]
    for planted in (f"{name}=evil", f"{name}={UNKNOWN}", f"__Host-{page.cookie}", f'{name}="{UNKNOWN}"'):
        assert doors.ask("GET", page.path, {"cookie": planted}).status in (400, 403)
    answer = doors.ask("GET", "/auth/callback/oauth?code=x&state=y", {"cookie": f"{name}=evil"})
    assert answer.status == 400 and not answer.all("set-cookie")
    assert doors.look(session)[0] == "key"


# There is no password here. What could be guessed are tickets, numbers of logins with their cookies, and `state`.
def guesses(doors: Doors, known: Page) -> dict[str, tuple[str, dict[str, str]]]:
    """Each kind of guess: path and headers. The first two differ in whether there is such a login at all."""
    return {
        "the number of a login": (known.path, {}),
        "a number of none": (f"/auth/sessions/{UNKNOWN}", {}),
        "a cookie": (known.path, {"cookie": f"{known.cookie.partition('=')[0]}={UNKNOWN}"}),
        "a ticket": (f"/auth/login/{UNKNOWN}", {}),
        "a state": (f"/auth/callback/oauth?code=x&state={UNKNOWN}", {}),
    }


def many(doors: Doors, path: str, headers: dict[str, str], times: int) -> Iterator[tuple[Answer, float]]:
    """The same question on one connection, with the seconds that each answer took."""
    fields = [("Host", f"127.0.0.1:{doors.port}"), *headers.items()]
    with socket.create_connection(("127.0.0.1", doors.port), timeout=30) as sock:
        for _ in range(times):
            began = time.perf_counter()
            sock.sendall(head("GET", path, fields))
            answer = read(sock)
            yield answer, time.perf_counter() - began


def test_w09_a_wrong_guess_tells_nothing_by_text_or_time(doors: Doors) -> None:
    session = doors.begin()
    page, before = doors.enter(session), doors.look(session)
    asked = guesses(doors, page)
    times: dict[str, list[float]] = {name: [] for name in asked}
    answers: dict[str, set[tuple[int, bytes]]] = {name: set() for name in asked}
    for _ in range(5):  # in turns, so that what else the machine does falls on all of them
        for name, (path, headers) in asked.items():
            for answer, took in many(doors, path, headers, 40):
                times[name].append(took)
                answers[name].add((answer.status, answer.body))
    assert all(len(different) == 1 for different in answers.values())
    assert answers["the number of a login"] == answers["a number of none"] == answers["a cookie"]
    usual = {name: median(each) for name, each in times.items()}
    alike = [usual[name] for name in ("the number of a login", "a number of none", "a cookie")]
    assert max(alike) < 3 * min(alike), usual  # the same class; the comparison itself is in constant time
    used, never = ticket_path(session), f"/auth/login/{UNKNOWN}"
    assert doors.ask("GET", used).body == doors.ask("GET", never).body  # a used one is like one that never was
    assert doors.look(session) == before


def test_w09_and_w12_memory_is_bounded_however_many_guesses_there_are(doors: Doors, cli: Cli) -> None:
    """Nothing is remembered of a guess: no list of failures, of tickets, of tokens."""
    page = doors.enter(doors.begin())
    daemon = doors.call("GET", "/health")[1]["pid"]
    for warm in (True, False):
        before = resident(daemon)
        for path, headers in guesses(doors, page).values():
            for number, (answer, _) in enumerate(many(doors, path, headers, 60 if warm else 600)):
                assert answer.status == 400, (path, number)
        for number in range(20 if warm else 200):
            assert through_proxy(doors, f"run:{UNKNOWN}{number}") == 407
    assert resident(daemon) - before < 6 << 20
    assert doors.ask("GET", page.path, page.cookie_header).status == 200  # nobody was locked out by it either


def resident(pid: int) -> int:
    """Bytes of memory that a process holds."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) * 1024


def through_proxy(doors: Doors, credentials: str) -> int:
    """The status with which the proxy answers a CONNECT of these credentials."""
    port = doors.call("GET", "/whoami")[1]["proxy_port"]
    fields = [("Host", "x.example:443"), ("Proxy-Authorization", f"Basic {b64encode(credentials.encode()).decode()}")]
    with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
        sock.sendall(head("CONNECT", "x.example:443", fields))
        return read(sock, "CONNECT").status


@pytest.mark.parametrize(
    "where", ["//evil.test", r"/\evil.test", "https:evil.test", "%2f%2fevil.test", "%09//evil.test"]
)
def test_w10_nothing_leads_to_another_site(doors: Doors, where: str) -> None:
    """No page takes an address to go on to; whatever looks like one changes nothing."""
    session = doors.begin()
    asked = "&".join(f"{name}={where}" for name in ("next", "url", "redirect", "redirect_uri", "return_to"))
    hop = doors.ask("GET", f"{ticket_path(session)}?{asked}")
    assert hop.status == 303 and hop.location == f"/auth/sessions/{session['id']}"
    page, state = consent(doors)
    back = doors.ask("GET", f"/auth/callback/oauth?error=x&state={state}&{asked}", page.cookie_header)
    assert back.location == page.path
    for path in (f"/{where}", f"{where}/", f"/health/{where}", f"/health{where}", f"/auth/login/{where}/.."):
        target = path if path.startswith("/") else f"/{path}"
        answer = doors.ask("GET", target)
        assert urljoin(doors.origin, answer.location).startswith(f"{doors.origin}/") or not answer.location
        assert answer.status in (400, 404), (target, answer)


MARKUP = "\"><script>alert(1)</script><img src=x onerror=alert(2)>'{{7*191}}"


def test_w11_markup_of_a_provider_is_text(doors: Doors) -> None:
    name = f"Doors {MARKUP}"
    file = definition("markup", display_name=name, docs_url="https://x.example/?a=%22&b=c'd")
    file["oauth"] = {"authorization_url": "https://x.example/authorize", "token_url": "https://x.example/token"}
    assert register(doors, file) == 200
    page = doors.enter(doors.begin("markup"))
    shown = doors.ask("GET", page.path, page.cookie_header).text
    assert_text_only(shown)
    assert "&lt;script&gt;" in shown
    refused = doors.post(page, "client", client_id=quote(f"{MARKUP} blank"))
    assert "a client_id is printable text without blanks" in refused.text
    assert_text_only(refused.text)


def assert_text_only(page: str) -> None:
    assert "<script" not in page and "<img" not in page and "1337" not in page
    assert not re.search(r"<[^>]*\son\w+=", page)
    assert set(re.findall(r'(?:href|src|action)="([a-z]+:|/)', page)) <= {"https:", "/"}


@pytest.mark.parametrize(
    "query", ["error={}", "error=access_denied&error_description={}", "error=x&error_uri={}", "code=&iss={}"]
)
def test_w11_markup_of_an_authorization_server_is_text(doors: Doors, query: str) -> None:
    for said in (MARKUP, "javascript:alert(1)", "\u202etxt.exe", "x" * 10_000, "\x1b[2J"):
        page, state = consent(doors)
        told = query.format(quote(said))
        stray = doors.ask("GET", f"/auth/callback/oauth?{told}&state={UNKNOWN}")
        doors.ask("GET", f"/auth/callback/oauth?{told}&state={state}", page.cookie_header)
        shown = doors.ask("GET", page.path, page.cookie_header)
        for answer in (stray, shown):
            assert_text_only(answer.text)
            assert len(answer.body) < 4000 and "\x1b" not in answer.text and "\u202e" not in answer.text
        assert "not connected" in shown.text


@pytest.mark.parametrize(
    "changes",
    [
        {"docs_url": "javascript:alert(1)"},
        {"docs_url": "data:text/html,x"},
        {"key_url": "http://x.example/\u202e"},
        {"key_url": " javascript:alert(1)"},
        {"display_name": "x" * 10_000},
        {"display_name": "evil \u202eexe.txt"},
        {"display_name": "two\nlines"},
    ],
)
def test_w11_a_definition_that_would_mislead_is_refused(doors: Doors, changes: dict[str, object]) -> None:
    assert register(doors, definition("misleading", **changes)) == 400
    assert doors.call("GET", "/providers/misleading")[0] == 404


# Nothing here is signed, and no clock is compared: what is replayed is a ticket, a cookie, a callback, a run's token.
def test_w12_nothing_of_a_login_outlives_the_daemon(doors: Doors) -> None:
    waiting, entered = doors.begin(), doors.begin()
    page = doors.enter(entered)
    consenting, state = consent(doors)
    doors.restart()
    assert doors.ask("GET", ticket_path(waiting)).status == 400
    assert doors.ask("GET", page.path, page.cookie_header).status == 400
    assert doors.post(page, "key", api_key="sk-proj-abcdefghijkl").status == 400
    answer = doors.ask("GET", f"/auth/callback/oauth?code=x&state={state}", consenting.cookie_header)
    assert answer.status == 400
    assert doors.call("GET", f"/auth/sessions/{entered['id']}")[0] == 404


def test_w12_a_callback_is_not_taken_twice(doors: Doors) -> None:
    page, state = consent(doors)
    query = f"/auth/callback/oauth?error=access_denied&state={state}"
    assert doors.ask("GET", query, page.cookie_header).status == 303
    assert doors.ask("GET", query, page.cookie_header).status == 400
    assert doors.ask("GET", f"/auth/callback/oauth?code=x&state={state}", page.cookie_header).status == 400


def test_w12_the_token_of_a_run_is_of_no_use_after_it(doors: Doors) -> None:
    with Cli(doors.home).started("run", "--", "sh", "-c", 'echo "$HTTPS_PROXY"; read _') as run:
        assert run.stdout and run.stdin
        credentials = urlsplit(run.stdout.readline().strip()).netloc.partition("@")[0]
        assert through_proxy(doors, credentials) != 407
        run.stdin.write("\n")
        run.stdin.flush()
        run.wait(20)
    ends = time.monotonic() + 10
    while through_proxy(doors, credentials) != 407:
        assert time.monotonic() < ends
        time.sleep(0.05)
    doors.restart()
    assert through_proxy(doors, credentials) == 407
