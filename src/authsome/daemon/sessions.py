"""Login sessions: each conducts one dialogue and tells whoever waits how far it is."""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import assert_never
from urllib.parse import parse_qsl, urlsplit

from authsome.broker.broker import Broker
from authsome.broker.converse import converse
from authsome.broker.fetch import Fetcher
from authsome.errors import AuthsomeError, CallbackRefused, LoginCancelled, LoginFailed, UsageError
from authsome.flows.documents import origin
from authsome.flows.steps import (
    AskKey,
    Callback,
    Choice,
    ChooseClient,
    Done,
    Fetch,
    FindClient,
    FoundClient,
    KeepClient,
    Key,
    Note,
    OpenBrowser,
    Random,
    Reply,
    Step,
    Text,
    Wish,
)
from authsome.flows.table import FLOWS
from authsome.model.connection import Client, Connection
from authsome.model.event import LoginFailedEvent
from authsome.model.secret import Secret

log = logging.getLogger(__name__)

TIME_LIMIT = 600.0
KEPT_AFTER_END = 300.0
MOST_SESSIONS = 64
LONGEST_STATE = 512


class Phase(StrEnum):
    """Where a login stands."""

    WORKING = "working"
    CLIENT = "client"
    KEY = "key"
    CONSENT = "consent"
    DONE = "done"
    FAILED = "failed"


ENDED = (Phase.DONE, Phase.FAILED)


@dataclass(slots=True, kw_only=True)
class LoginSession:
    """One login in progress. `step` grows with every change; `ticket` opens it once, in one browser.

    `cookie` binds that browser (O03), `form_token` the form it was shown (P8); `state` is the one of the
    consent that is awaited, None at any other time, so that a callback counts once.
    """

    wish: Wish
    connection: str
    flow: str
    browser: bool
    key: Secret | None = None
    id: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    ticket: str | None = field(default_factory=lambda: secrets.token_urlsafe(16))
    cookie: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    form_token: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    phase: Phase = Phase.WORKING
    step: int = 0
    message: str = "preparing the login"
    asked: ChooseClient | AskKey | OpenBrowser | None = None
    state: str | None = None
    error: AuthsomeError | None = None
    result: Connection | None = None
    notes: list[str] = field(default_factory=list)
    answer: asyncio.Future[Reply] | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    ended_at: float | None = None

    @property
    def provider(self) -> str:
        """The provider's name."""
        return self.wish.provider.name

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.phase in ENDED

    def move(self, phase: Phase, message: str) -> None:
        """Change, and wake whoever waits for it."""
        self.phase, self.message = phase, message
        self.step += 1
        self.changed.set()
        self.changed = asyncio.Event()

    async def wait(self, after: int, seconds: float) -> None:
        """Until `step` is greater than `after`, or the time is over."""
        try:
            async with asyncio.timeout(seconds):
                while self.step <= after and not self.has_ended:
                    await self.changed.wait()
        except TimeoutError:
            pass

    def give(self, reply: Reply) -> None:
        """Answer what the dialogue asked of the person. Raises CallbackRefused where nothing is asked."""
        if self.answer is None or self.answer.done():
            raise CallbackRefused("this login is not waiting for that", "start the login again")
        self.answer.set_result(reply)


class Sessions:
    """The live logins: started by the owner, looked up by what the browser brings."""

    def __init__(self, broker: Broker, fetch: Fetcher, redirect_uri: str) -> None:
        self._broker = broker
        self._fetch = fetch
        self.redirect_uri = redirect_uri
        self._sessions: dict[str, LoginSession] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def start(self, session: LoginSession) -> LoginSession:
        """Begin. Raises UsageError where too many logins are open."""
        self._forget_old()
        if sum(not s.has_ended for s in self._sessions.values()) >= MOST_SESSIONS:
            raise UsageError("too many logins are in progress", "finish or cancel one first")
        self._sessions[session.id] = session
        self._tasks[session.id] = asyncio.get_running_loop().create_task(self._conduct(session))
        return session

    def get(self, number: str) -> LoginSession | None:
        """By id."""
        return self._sessions.get(number)

    def open_ticket(self, ticket: str) -> LoginSession | None:
        """By the one-time ticket, which is used up."""
        return self._find(lambda s: s.ticket is not None and is_same(s.ticket, ticket), use_up=True)

    def of_state(self, state: str) -> LoginSession | None:
        """The session that awaits the consent with this `state`."""
        return self._find(lambda s: s.state is not None and is_same(s.state, state))

    def _find(self, matches: Callable[[LoginSession], bool], *, use_up: bool = False) -> LoginSession | None:
        for session in self._sessions.values():
            if matches(session):
                if use_up:
                    session.ticket = None
                return session
        return None

    def take_callback(self, query: str, *, cookies: dict[str, str] | None) -> LoginSession:
        """Accept a redirect's query for the session it belongs to, once (O01–O05).

        `cookies` are the browser's; None stands for the owner at the terminal. Raises CallbackRefused.
        """
        params = read_callback(query)
        state = params.get("state", "")
        session = self.of_state(state) if 0 < len(state) <= LONGEST_STATE else None
        if session is None:
            raise CallbackRefused("this page belongs to no login in progress", "start the login again")
        if cookies is not None:
            shown = cookies.get(cookie_name(session), "")
            if not is_same(shown, session.cookie):
                raise CallbackRefused(
                    "this login was started elsewhere",
                    "copy the address of this page and paste it into the terminal that waits for it"
                    if not session.browser
                    else "finish it in the browser in which it was opened",
                )
        session.state = None
        session.give(Callback(params))
        session.move(Phase.WORKING, "storing the credential")
        return session

    def cancel(self, session: LoginSession, why: str = "the login was cancelled") -> None:
        """End it now, with nothing stored."""
        if not session.has_ended:
            self._end(session, LoginCancelled(why, "start the login again when you want to go on"))
            self._tasks[session.id].cancel()

    async def stop(self) -> None:
        """Cancel what is in progress."""
        for session in list(self._sessions.values()):
            self.cancel(session, "the daemon is stopping")
        if self._tasks:
            await asyncio.wait(list(self._tasks.values()), timeout=2)

    # ── conducting ─────────────────────────────────────────────────────────────────────────

    async def _conduct(self, session: LoginSession) -> None:
        flow = FLOWS[session.flow]
        try:
            async with asyncio.timeout(TIME_LIMIT):
                outcome = await converse(
                    flow.login(session.wish, time.time()), lambda step: self._perform(session, step)
                )
            stored = await self._broker.adopt(session.wish, session.connection, session.flow, outcome)
        except TimeoutError:
            self._end(session, LoginCancelled("nobody finished the login in ten minutes", "start it again"))
        except AuthsomeError as error:
            self._end(session, error)
        except Exception:  # the waiting person must learn of it, whatever it was
            log.exception("a login broke")
            self._end(session, AuthsomeError("the login broke", "see authsome daemon logs"))
        else:
            session.result = stored
            for clash in self._broker.lender.table().clashes():
                if stored.provider in clash.providers:
                    only = f"authsome run --only {stored.provider} works meanwhile"
                    session.notes.append(f"{clash}: requests there are refused until you log out of one; {only}")
            session.ended_at = time.monotonic()
            session.move(Phase.DONE, f"connected: {stored}")

    def _end(self, session: LoginSession, error: AuthsomeError) -> None:
        session.error = error
        session.state = session.asked = None
        session.ended_at = time.monotonic()
        session.move(Phase.FAILED, error.message)
        self._broker.recorder.record(
            LoginFailedEvent(at=time.time(), provider=session.provider, connection=session.connection, error=error.code)
        )

    async def _perform(self, session: LoginSession, step: Step) -> Reply:
        match step:
            case Fetch():
                return await self._fetch(step)
            case FindClient():
                return FoundClient(await self._broker.find_client(step.issuer, step.redirect_uri))
            case KeepClient():
                return FoundClient(await self._broker.keep_client(session.provider, step.client, step.replaces))
            case ChooseClient():
                if not session.browser and step.can_register:
                    return Choice(None)
                session.asked = step
                return await self._ask(session, Phase.CLIENT, f"waiting for your choice of a client for {step.issuer}")
            case AskKey():
                return await self._ask_key(session, step)
            case OpenBrowser():
                session.asked, session.state = step, step.state
                return await self._ask(session, Phase.CONSENT, f"waiting for your consent at {origin(step.url)}")
            case Random():
                return Text(secrets.token_urlsafe(32))
            case Note():
                session.notes.append(step.text)
                return Done()
            case _:
                assert_never(step)

    async def _ask_key(self, session: LoginSession, step: AskKey) -> Reply:
        if session.key is not None:
            if step.problem:
                raise LoginFailed(step.problem, "see the provider's page for how its keys look")
            return Key(session.key)
        session.asked = step
        return await self._ask(session, Phase.KEY, step.problem or f"waiting for your {session.provider} key")

    async def _ask(self, session: LoginSession, phase: Phase, message: str) -> Reply:
        session.answer = asyncio.get_running_loop().create_future()
        session.form_token = secrets.token_urlsafe(16)
        session.move(phase, message)
        try:
            reply = await session.answer
        finally:
            session.answer = session.asked = None
        if session.phase is phase:
            session.move(Phase.WORKING, "going on")
        return reply

    def _forget_old(self) -> None:
        limit = time.monotonic() - KEPT_AFTER_END
        for session in [s for s in self._sessions.values() if s.ended_at is not None and s.ended_at < limit]:
            del self._sessions[session.id]
            self._tasks.pop(session.id, None)


def is_same(one: str, other: str) -> bool:
    """Compared in constant time, whatever characters somebody sent."""
    return secrets.compare_digest(one.encode("utf-8", "replace"), other.encode("utf-8", "replace"))


def read_callback(query: str) -> dict[str, str]:
    """The parameters of a redirect; one that is given twice, or too long, is refused (RFC 6749 §3.1)."""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=32, errors="strict")
    except (ValueError, UnicodeDecodeError):
        raise CallbackRefused("the address of this page cannot be read", "start the login again") from None
    params = dict(pairs)
    if len(params) != len(pairs) or any(len(value) > 16_384 for value in params.values()):
        raise CallbackRefused("the address of this page names something twice or at too great length")
    return params


def pasted_query(url: str, redirect_uri: str) -> str:
    """The query of a pasted redirect URL. Raises UsageError where it is another address (O08)."""
    expected = urlsplit(redirect_uri)
    try:
        parts = urlsplit(url.strip())
    except ValueError:
        parts = urlsplit("")
    if (parts.scheme, parts.netloc, parts.path) != (expected.scheme, expected.netloc, expected.path):
        raise UsageError("that is not the address to paste", f"it starts with {redirect_uri}")
    return parts.query


def cookie_name(session: LoginSession) -> str:
    """A cookie of its own for each login: other ports of this host see it too, so the name says whose it is."""
    return f"authsome_login_{session.id[:8]}"


def entered_client(session: LoginSession, client_id: str, client_secret: str) -> Client:
    """The client that the person typed into the form. Raises UsageError."""
    asked = session.asked
    if not isinstance(asked, ChooseClient):
        raise CallbackRefused("this login is not waiting for a client", "start the login again")
    client_id, client_secret = client_id.strip(), client_secret.strip()
    if not client_id or not all("!" <= c <= "~" for c in client_id + client_secret) or len(client_id) > 2048:
        raise UsageError("a client_id is printable text without blanks")
    oauth = session.wish.provider.oauth
    method = oauth.token_auth_method if oauth else None
    return Client(
        issuer=asked.issuer,
        redirect_uri=session.wish.redirect_uri,
        client_id=client_id,
        client_secret=Secret(client_secret) if client_secret else None,
        auth_method=(method or "client_secret_basic") if client_secret else "none",
        registered=False,
    )
