"""`login`: begin a session at the daemon, lead the person through it, and wait until the connection works."""

import os
import select
import signal
import subprocess
import sys

from authsome.cli.browser import has_browser, is_web_address, open_browser
from authsome.cli.client import Answer, Daemon, Exchange, reported
from authsome.cli.given import Given
from authsome.cli.keyboard import Keyboard
from authsome.cli.output import Output
from authsome.errors import AuthsomeError, DaemonUnavailable, LoginCancelled, LoginFailed, UsageError
from authsome.settings import read_home, read_settings

_WAIT = 20  # seconds of one long poll
_PATIENCE = _WAIT + 20.0
_GLANCE = 1.0  # how often to look whether the browser came up


def run(given: Given, out: Output) -> int:
    """0 only when the connection works. An interrupt cancels the session at the daemon too."""
    daemon = Daemon(read_home())
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    id = None
    try:
        request = _request(given, out)
        session = daemon.post("/auth/sessions", request)
        id = str(session["id"])
        dialogue = Dialogue(daemon, out, browser=bool(request["browser"]))
        if given.flag("no_wait"):
            return _leave(dialogue.until_address(session), out)
        return _report(dialogue.until_done(session), out)
    except KeyboardInterrupt:
        _cancel(daemon, id)
        raise LoginCancelled("the login was cancelled") from None
    except UsageError:
        _cancel(daemon, id)
        raise


def _request(given: Given, out: Output) -> dict[str, object]:
    browser = not given.flag("no_browser")
    if browser and not given.flag("no_wait") and not given.flag("stdin") and not has_browser(os.environ, sys.platform):
        out.note("there is no browser here, going on without one")
        browser = False
    scopes = given.text("scopes")
    return {
        "provider": given.word("provider"),
        "connection": given.text("connection"),
        "flow": given.text("flow"),
        "scopes": None if scopes is None else [scope for scope in scopes.replace(",", " ").split() if scope],
        "base_url": given.text("base_url"),
        "force": given.flag("force"),
        "browser": browser,
        "key": _key_from_stdin(given.word("provider")) if given.flag("stdin") else None,
    }


def _key_from_stdin(provider: str) -> str:
    """One line; typed at a terminal it is not shown."""
    key = _typed_key(provider) if sys.stdin.isatty() else sys.stdin.readline().strip()
    if not key:
        raise UsageError("there is no key on standard input", "for example: authsome login PROVIDER --stdin < key.txt")
    return key


def _typed_key(provider: str) -> str:
    from getpass import getpass

    try:
        return getpass(f"API key for {provider} (it is not shown): ").strip()
    except EOFError:
        raise KeyboardInterrupt from None


def _cancel(daemon: Daemon, id: str | None) -> None:
    if id is None:
        return
    try:
        daemon.delete(f"/auth/sessions/{id}", seconds=5.0)
    except AuthsomeError:
        return  # it runs out by itself


def _leave(session: Answer, out: Output) -> int:
    address = session["authorization_url"] or session["url"]
    if out.json:
        out.result({"session": session["id"], "url": address, "phase": session["phase"]})
    elif session["phase"] == "done":
        for note in session["notes"]:
            out.note(str(note))
        return _report(session, out)
    else:
        out.line(str(address))
    return 0


def _report(session: Answer, out: Output) -> int:
    if out.json:
        out.result({**session["result"], "notes": session["notes"]})
    else:
        out.line(f"connected: {session['provider']}/{session['connection']}")
    return 0


class Dialogue:
    """One session as the person sees it: what it waits for, what to open, what to type."""

    def __init__(self, daemon: Daemon, out: Output, *, browser: bool) -> None:
        self._daemon = daemon
        self._out = out
        self._browser = browser
        self._keyboard = Keyboard(sys.stdin.fileno())
        self._step = -1
        self._notes = 0
        self._held = ""
        self._opened = ""
        self._opening: subprocess.Popen[bytes] | None = None

    def until_address(self, session: Answer) -> Answer:
        """The session once there is an address to open, or nothing left to do. Raises what it failed with."""
        while not (session["url"] or session["authorization_url"] or session["phase"] == "done"):
            self._raise_failure(session)
            session = self._poll(session).receive(_PATIENCE)
        address = session["authorization_url"] or session["url"]
        if address:  # a key needs none
            _checked(address)
        return session

    def until_done(self, session: Answer) -> Answer:
        """The session once it is done. Raises what it failed with."""
        while session["phase"] != "done":
            self._raise_failure(session)
            self._show(session)
            asks = not self._browser and session["phase"]
            if asks == "key":
                session = self._ask_key(session)
            elif asks == "client" and sys.stdin.isatty():
                session = self._ask_client(session)
            else:
                session = self._next(session)
        self._tell_notes(session)
        return session

    def _raise_failure(self, session: Answer) -> None:
        if session["phase"] != "failed":
            return
        self._tell_notes(session)
        if session["error"]:
            raise reported(session["error"])
        raise LoginFailed(str(session["message"]))

    def _show(self, session: Answer) -> None:
        self._tell_notes(session)
        if session["step"] != self._step:
            self._step = session["step"]
            self._held = str(session["message"])
            if session["phase"] != "working":
                self._tell_held()
        address = session["url"] if self._browser or session["phase"] == "client" else session["authorization_url"]
        if not address or address == self._opened:
            return
        self._opened = _checked(address)
        if self._browser:
            self._out.note(f"opening {address}")
            self._opening = open_browser(address)
        elif session["phase"] == "client":
            self._tell_form(address)
        else:
            self._out.say("open this address in a browser:")
            self._out.say(address)
            self._ask_paste()

    def _tell_notes(self, session: Answer) -> None:
        for note in session["notes"][self._notes :]:
            self._out.note(str(note))
        self._notes = len(session["notes"])

    def _tell_held(self) -> None:
        """Say what is waited for. The daemon's own work is mentioned only where it takes a while."""
        if self._held:
            self._out.note(self._held)
        self._held = ""

    def _ask_paste(self) -> None:
        if self._keyboard.is_open:
            self._out.say("then paste here the address that it was sent back to, even if that page did not open:")

    def _poll(self, session: Answer) -> Exchange:
        return self._daemon.send("GET", f"/auth/sessions/{session['id']}?wait={_WAIT}&after={session['step']}")

    def _next(self, session: Answer) -> Answer:
        """Wait for the daemon, the keyboard and the browser at once."""
        listens = not self._browser and bool(self._opened)
        exchange = self._poll(session)
        try:
            while True:
                sources: list[Exchange | Keyboard] = [exchange]
                if listens and self._keyboard.is_open:
                    sources.append(self._keyboard)
                ready = select.select(sources, [], [], _GLANCE)[0]
                if exchange in ready:
                    return exchange.receive(_PATIENCE)
                if self._keyboard in ready:
                    for line in self._keyboard.lines():
                        self._take_paste(line, session)
                if not ready:
                    self._tell_held()
                self._look_after_browser()
        finally:
            exchange.close()

    def _take_paste(self, line: str, session: Answer) -> None:
        """Hand a pasted address over; a wrong one is explained and asked for again."""
        if not line:
            return
        if not is_web_address(line):
            self._out.say("that is no address: copy all of it from the browser's address bar,")
            self._out.say(f"it begins with {read_settings().redirect_uri}?")
            self._ask_paste()
            return
        try:
            self._daemon.post(f"/auth/sessions/{session['id']}/callback", {"url": line})
        except DaemonUnavailable:
            raise
        except AuthsomeError as error:
            self._explain(error)
            self._ask_paste()

    def _explain(self, error: AuthsomeError) -> None:
        self._out.say(error.message)
        if error.hint:
            self._out.say(f"hint: {error.hint}")

    def _ask_key(self, session: Answer) -> Answer:
        """Ask for the key at the terminal without showing it, until the daemon takes one."""
        if not sys.stdin.isatty():
            raise UsageError(
                "there is no terminal to ask for the key", f"authsome login {session['provider']} --stdin < key.txt"
            )
        key = _typed_key(session["provider"])
        if not key:
            return session
        try:
            self._daemon.post(f"/auth/sessions/{session['id']}/key", {"key": key})
        except DaemonUnavailable:
            raise
        except AuthsomeError as error:
            self._explain(error)
            return self._daemon.get(f"/auth/sessions/{session['id']}")
        return self._poll(session).receive(_PATIENCE)

    def _tell_form(self, address: str) -> None:
        """Where a client of one's own can be entered; the form is served on this machine alone."""
        settings = read_settings()
        self._out.say(f"this server needs a client of your own, with the redirect URI {settings.redirect_uri}")
        if not sys.stdin.isatty():
            port = settings.port
            self._out.say(f"enter it at {address}")
            self._out.say(f"from elsewhere, first: ssh -L {port}:127.0.0.1:{port} <this machine>")

    def _ask_client(self, session: Answer) -> Answer:
        """Ask for a client at the terminal, until the daemon takes one."""
        from getpass import getpass

        try:
            print("client_id: ", end="", file=sys.stderr, flush=True)
            client_id = sys.stdin.readline()
            if not client_id:
                raise KeyboardInterrupt
            secret = getpass("client_secret (empty if it has none; it is not shown): ")
        except EOFError:
            raise KeyboardInterrupt from None
        entered = {"client_id": client_id.strip(), "client_secret": secret.strip()}
        try:
            self._daemon.post(f"/auth/sessions/{session['id']}/client", entered)
        except DaemonUnavailable:
            raise
        except AuthsomeError as error:
            self._explain(error)
            return self._daemon.get(f"/auth/sessions/{session['id']}")
        return self._poll(session).receive(_PATIENCE)

    def _look_after_browser(self) -> None:
        if self._opening is not None and self._opening.poll() is not None:
            if self._opening.returncode != 0:
                self._out.say("no browser could be opened, open this address yourself:")
                self._out.say(self._opened)
            self._opening = None


def _checked(address: str) -> str:
    if not is_web_address(address):
        raise LoginFailed("the login led to an address that is not a web page", "check the provider: authsome inspect")
    return address
