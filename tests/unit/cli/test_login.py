"""A login as the person at the terminal sees it, against a session that moves as each test says."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from authsome.cli.browser import has_browser, is_web_address
from cli.daemon import FakeDaemon, connection, failure, run_command

PAGE = "http://127.0.0.1:7998/auth/login/ticket"
CONSENT = "https://mcp.notion.com/authorize?state=s"
BACK = "http://127.0.0.1:7998/auth/callback/oauth?code=c&state=s"


class FakeSession:
    """One session at the daemon; `step` moves it on and wakes who waits."""

    def __init__(self, daemon: FakeDaemon) -> None:
        self._changed = threading.Condition()
        self.shown: dict[str, object] = {
            "id": "s1", "provider": "notion_dcr", "connection": "work", "step": 0, "phase": "working",
            "message": "preparing the login", "url": None, "authorization_url": None, "error": None, "result": None,
            "notes": [],
        }  # fmt: skip
        daemon.answer("POST /auth/sessions", lambda _body: dict(self.shown))
        daemon.answer("GET /auth/sessions/s1", lambda _body: self._wait())
        daemon.answer("DELETE /auth/sessions/s1", lambda _body: self.step(phase="failed"))
        self.seen = 0

    def step(self, **changes: object) -> dict[str, object]:
        with self._changed:
            self.shown = {**self.shown, "step": int(str(self.shown["step"])) + 1, **changes}
            self._changed.notify_all()
            return dict(self.shown)

    def done(self) -> dict[str, object]:
        return self.step(phase="done", message="connected", result=connection("work"), notes=["registered a client"])

    def _wait(self) -> dict[str, object]:
        with self._changed:
            self._changed.wait_for(lambda: int(str(self.shown["step"])) > self.seen, timeout=5)
            self.seen = int(str(self.shown["step"]))
            return dict(self.shown)


@pytest.fixture
def session(daemon: FakeDaemon) -> FakeSession:
    return FakeSession(daemon)


class Person:
    """`authsome login` in a process of its own, and what is typed into it."""

    def __init__(self, home: Path, *words: str, **variables: str) -> None:
        environment = run_command(home, PYTHONPATH=os.pathsep.join(sys.path), **variables)
        for name in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY", "SSH_CONNECTION", "SSH_TTY"):
            if name not in variables:
                environment.pop(name, None)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "authsome", "login", "notion_dcr", *words],
            env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0,
        )  # fmt: skip
        self.err = ""

    def until(self, text: str) -> None:
        """Read stderr up to a text."""
        while text not in self.err:
            line = self.process.stderr.readline()
            assert line, f"{text!r} never came: {self.err}"
            self.err += line.decode()

    def types(self, text: str) -> None:
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def end(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=20)
        self.err += err.decode()
        return self.process.returncode, out.decode(), self.err


def browser(tmp_path: Path, body: str = "") -> str:
    """A browser that writes down what it was started with."""
    path = tmp_path / "browser.py"
    path.write_text(
        f"import json, os, sys\nprint('noise')\nopen({str(tmp_path / 'seen')!r}, 'w').write("
        f"json.dumps({{'argv': sys.argv[1:], 'key': os.environ.get('AUTHSOME_ROOT_KEY')}}))\n{body}"
    )
    return f"{sys.executable} {path} %s"


def test_the_browser_is_opened_and_the_login_waited_for(
    daemon: FakeDaemon, session: FakeSession, tmp_path: Path
) -> None:
    person = Person(
        daemon.home, "--connection", "work", "--scopes", "a,b", BROWSER=browser(tmp_path), AUTHSOME_ROOT_KEY="k"
    )
    session.step(phase="client", message="waiting for your choice", url=PAGE)
    person.until("noise")
    session.step(phase="consent", message="waiting for your consent at https://mcp.notion.com")
    person.until("waiting for your consent")
    session.done()
    status, out, err = person.end()
    assert (status, out) == (0, "connected: notion_dcr/work\n")
    assert err.count(PAGE) == 1
    assert err.endswith("registered a client\n")
    assert json.loads((tmp_path / "seen").read_text()) == {"argv": [PAGE], "key": None}
    assert daemon.bodies("POST /auth/sessions") == [
        {
            "provider": "notion_dcr", "connection": "work", "flow": None, "scopes": ["a", "b"], "base_url": None,
            "force": False, "browser": True, "key": None,
        }
    ]  # fmt: skip


def test_a_browser_that_does_not_open_is_told(daemon: FakeDaemon, session: FakeSession, tmp_path: Path) -> None:
    person = Person(daemon.home, BROWSER=browser(tmp_path, "sys.exit(1)"), DISPLAY="", PATH=str(tmp_path))
    session.step(phase="client", message="waiting", url=PAGE)
    person.until("open this address yourself")
    session.done()
    assert person.end()[0] == 0


def test_json_is_the_connection_with_the_notes(daemon: FakeDaemon, session: FakeSession) -> None:
    session.done()
    status, out, _ = Person(daemon.home, "--json").end()
    assert status == 0
    assert json.loads(out) == {"v": 1, **connection("work"), "notes": ["registered a client"]}


@pytest.mark.parametrize(
    "url",
    ["javascript:alert(1)", "file:///etc/passwd", "https://x.test/a b", "https://x.test/\x1b[2J", "-x", "ftp://x"],
)
@pytest.mark.parametrize("words", [[], ["--no-browser"], ["--no-wait"]])
def test_nothing_but_a_web_page_is_opened_or_shown(
    daemon: FakeDaemon, session: FakeSession, tmp_path: Path, url: str, words: list[str]
) -> None:  # P16, O29
    session.step(phase="consent", url=url, authorization_url=url)
    status, out, err = Person(daemon.home, *words, BROWSER=browser(tmp_path)).end()
    assert (status, out) == (2, "")
    assert not (tmp_path / "seen").exists()
    assert url not in err.replace("-x", "") or url == "-x"


def test_without_a_browser_the_redirect_is_pasted(daemon: FakeDaemon, session: FakeSession) -> None:
    daemon.answer("POST /auth/sessions/s1/callback", lambda _body: session.done())
    person = Person(daemon.home)
    session.step(phase="consent", message="waiting for your consent", url=PAGE, authorization_url=CONSENT)
    person.until("then paste here")
    person.types(f"  {BACK}\n")
    status, out, err = person.end()
    assert (status, out) == (0, "connected: notion_dcr/work\n")
    assert "there is no browser here" in err
    assert CONSENT in err
    assert PAGE not in err
    assert daemon.bodies("POST /auth/sessions/s1/callback") == [{"url": BACK}]
    assert daemon.bodies("POST /auth/sessions")[0]["browser"] is False


def test_a_wrong_paste_is_explained_and_asked_for_again(daemon: FakeDaemon, session: FakeSession) -> None:
    answers = iter([failure("usage", "that is not the address to paste", "it starts with X")])
    daemon.answer("POST /auth/sessions/s1/callback", lambda _body: next(answers, None) or session.done())
    person = Person(daemon.home, "--no-browser", "--quiet")
    session.step(phase="consent", authorization_url=CONSENT)
    person.until("then paste here")
    person.types("the code is 12\n\n")
    person.until("begins with http://127.0.0.1:7998/auth/callback/oauth?")
    person.types("http://elsewhere/\n")
    person.until("hint: it starts with X")
    person.types(f"{BACK}\n")
    status, _, err = person.end()
    assert status == 0
    assert err.count("then paste here") == 3
    assert daemon.bodies("POST /auth/sessions/s1/callback") == [{"url": "http://elsewhere/"}, {"url": BACK}]


def test_the_callback_may_arrive_by_itself_while_a_paste_is_awaited(daemon: FakeDaemon, session: FakeSession) -> None:
    person = Person(daemon.home, "--no-browser")
    session.step(phase="consent", authorization_url=CONSENT)
    person.until("then paste here")
    session.done()
    assert person.end()[:2] == (0, "connected: notion_dcr/work\n")


def test_without_anything_to_type_on_it_waits_for_the_callback(daemon: FakeDaemon, session: FakeSession) -> None:
    person = Person(daemon.home, "--no-browser")
    person.process.stdin.close()
    person.process.stdin = None
    session.step(phase="consent", authorization_url=CONSENT)
    person.until(CONSENT)
    time.sleep(0.1)
    session.done()
    assert person.end()[0] == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_cancels_the_login_at_the_daemon(
    daemon: FakeDaemon, session: FakeSession, number: signal.Signals
) -> None:
    person = Person(daemon.home, "--no-browser", "--json")
    session.step(phase="consent", authorization_url=CONSENT)
    person.until("then paste here")
    person.process.send_signal(number)
    status, out, _ = person.end()
    assert status == 2
    assert json.loads(out)["error"] == "login_cancelled"
    assert ("DELETE /auth/sessions/s1", None) in daemon.asked


def test_a_failed_login_keeps_its_error(daemon: FakeDaemon, session: FakeSession) -> None:
    error = {"error": "endpoint_unreachable", "message": "mcp.notion.com: timeout", "exit": 8}
    session.step(phase="failed", message="timeout", error=error)
    status, out, err = Person(daemon.home).end()
    assert (status, out) == (8, "")
    assert "error: mcp.notion.com: timeout\n" in err


def test_a_session_that_is_refused_is_no_login(daemon: FakeDaemon) -> None:
    daemon.answer("POST /auth/sessions", failure("connection_exists", "it exists", "add --force", 409, 6))
    status, _, err = Person(daemon.home).end()
    assert status == 6
    assert err.endswith("error: it exists\nhint: add --force\n")


def test_no_wait_prints_the_address_and_leaves_the_session(
    daemon: FakeDaemon, session: FakeSession, tmp_path: Path
) -> None:
    session.step(phase="client", url=PAGE)
    for words, expected in (([], PAGE), (["--json"], {"v": 1, "session": "s1", "url": PAGE, "phase": "client"})):
        session.seen = 0
        status, out, _ = Person(daemon.home, "--no-wait", *words, BROWSER=browser(tmp_path)).end()
        assert status == 0
        assert (json.loads(out) if words else out.strip()) == expected
    assert not (tmp_path / "seen").exists()
    assert not any(asked.startswith("DELETE") for asked, _ in daemon.asked)
    assert daemon.bodies("POST /auth/sessions")[0]["browser"] is True


def test_no_wait_waits_for_the_address(daemon: FakeDaemon, session: FakeSession) -> None:
    person = Person(daemon.home, "--no-wait", "--no-browser")
    while not daemon.asked:
        time.sleep(0.01)
    session.step(phase="consent", authorization_url=CONSENT)
    assert person.end()[1] == CONSENT + "\n"


def test_a_key_comes_from_standard_input(daemon: FakeDaemon, session: FakeSession) -> None:
    person = Person(daemon.home, "--stdin")
    person.types("sk-canary-key\n")
    session.done()
    status, out, err = person.end()
    assert status == 0
    assert daemon.bodies("POST /auth/sessions")[0]["key"] == "sk-canary-key"
    assert "sk-canary-key" not in out + err


def test_an_empty_key_is_not_sent(daemon: FakeDaemon, session: FakeSession) -> None:
    person = Person(daemon.home, "--stdin")
    person.types(" \n")
    assert person.end()[0] == 64
    assert daemon.asked == []


def test_without_a_terminal_a_key_cannot_be_asked_for(daemon: FakeDaemon, session: FakeSession) -> None:
    session.step(phase="key", message="waiting for your key", url=PAGE)
    status, _, err = Person(daemon.home, "--no-browser").end()
    assert status == 64
    assert "--stdin" in err
    assert ("DELETE /auth/sessions/s1", None) in daemon.asked


def test_a_key_is_asked_for_at_the_terminal_without_showing_it(daemon: FakeDaemon, session: FakeSession) -> None:
    import pty

    def take(body: dict[str, object] | None) -> object:
        if body == {"key": "sk-wrong-canary"}:
            return session.step(message="a key begins with ok-")
        return session.done()

    daemon.answer("POST /auth/sessions/s1/key", take)
    session.step(phase="key", message="waiting for your key", url=PAGE)
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(AUTHSOME_HOME=str(daemon.home), PYTHONPATH=os.pathsep.join(sys.path))
        os.execv(sys.executable, [sys.executable, "-m", "authsome", "login", "notion_dcr", "--no-browser"])
    said = b""
    for number, key in enumerate((b"sk-wrong-canary\n", b"ok-right-canary\n"), 1):
        while said.count(b"is not shown): ") < number:
            said += os.read(terminal, 1000)
        time.sleep(0.05)  # the prompt is there before the echo is off
        os.write(terminal, key)
    try:
        while part := os.read(terminal, 1000):
            said += part
    except OSError:
        pass  # the terminal's end
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert b"canary" not in said
    assert b"a key begins with ok-" in said
    assert b"connected: notion_dcr/work" in said


@pytest.mark.parametrize(
    ("environ", "platform", "there"),
    [
        ({}, "linux", False),
        ({"DISPLAY": ":0"}, "linux", True),
        ({"WAYLAND_DISPLAY": "w"}, "linux", True),
        ({"DISPLAY": ":10", "SSH_CONNECTION": "a"}, "linux", False),
        ({"SSH_TTY": "/dev/pts/1"}, "darwin", False),
        ({}, "darwin", True),
        ({"BROWSER": "x", "SSH_CONNECTION": "a"}, "linux", True),
        ({"BROWSER": ""}, "linux", False),
    ],
)
def test_whether_there_is_a_browser(environ: dict[str, str], platform: str, there: bool) -> None:
    assert has_browser(environ, platform) is there


@pytest.mark.parametrize(
    ("url", "fine"),
    [
        (PAGE, True),
        (CONSENT, True),
        ("https://x.test/é", False),
        ("HTTPS://x", False),
        ("", False),
        (" https://x", False),
    ],
)
def test_what_a_web_address_is(url: str, fine: bool) -> None:  # P16
    assert is_web_address(url) is fine
