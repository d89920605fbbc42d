"""A scripted partner for dialogues: it answers steps from a table of URLs and remembers what was asked."""

import json
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import parse_qsl, urlsplit

from authsome.errors import AuthsomeError
from authsome.flows.steps import (
    AskKey,
    Callback,
    Choice,
    ChooseClient,
    Dialogue,
    Done,
    Fetch,
    Fetched,
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
)
from authsome.model.connection import Client
from authsome.model.secret import Secret

T = TypeVar("T")
NOW = 1_800_000_000.0


def answer(status: int, body: object = None, **headers: str) -> Fetched:
    """A server's answer; a body that is not bytes travels as JSON."""
    content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    return Fetched(status=status, headers={k.replace("_", "-"): v for k, v in headers.items()}, body=content, at=NOW)


class Partner:
    """`pages` maps `METHOD url` to an answer, a list of answers, or a function of the step."""

    def __init__(self, pages: dict[str, object]) -> None:
        self.pages = pages
        self.asked: list[Step] = []
        self.kept: Client | None = None
        self.choice: Client | None = None
        self.keys: list[str] = []
        self.callback: Callable[[dict[str, str]], dict[str, str]] = lambda q: {"code": "C0de", "state": q["state"]}
        self._random = 0

    def hold(self, dialogue: Dialogue[T]) -> T:
        """Conduct it to its end."""
        try:
            step = next(dialogue)
            while True:
                self.asked.append(step)
                try:
                    reply = self.reply(step)
                except AuthsomeError as error:
                    step = dialogue.throw(error)
                else:
                    step = dialogue.send(reply)
        except StopIteration as end:
            result: T = end.value
            return result

    def reply(self, step: Step) -> Reply:
        match step:
            case Fetch():
                return self._page(step)
            case FindClient():
                return FoundClient(self.kept)
            case KeepClient():
                self.kept = step.client
                return FoundClient(step.client)
            case ChooseClient():
                return Choice(self.choice)
            case OpenBrowser():
                return Callback(self.callback(query_of(step.url)))
            case AskKey():
                return Key(Secret(self.keys.pop(0)))
            case Random():
                self._random += 1
                return Text(f"random-{self._random:036}")
            case Note():
                return Done()

    def _page(self, step: Fetch) -> Fetched:
        url = step.url.partition("?")[0]
        found = self.pages.get(f"{step.method} {url}", answer(404))
        if callable(found):
            found = found(step)
        if isinstance(found, list):
            found = found.pop(0) if len(found) > 1 else found[0]
        if isinstance(found, AuthsomeError):
            raise found
        assert isinstance(found, Fetched)
        return found

    def fetches(self) -> list[str]:
        """`METHOD url` of every call, in order."""
        return [f"{s.method} {s.url.partition('?')[0]}" for s in self.asked if isinstance(s, Fetch)]

    def opened(self) -> list[dict[str, str]]:
        """The query of every authorization request."""
        return [query_of(s.url) for s in self.asked if isinstance(s, OpenBrowser)]

    def forms(self, url: str) -> list[dict[str, str]]:
        """What was posted to an endpoint, in clear."""
        posted = [s for s in self.asked if isinstance(s, Fetch) and s.url == url and s.form is not None]
        return [{k: v.reveal() if isinstance(v, Secret) else v for k, v in s.form or ()} for s in posted]


def query_of(url: str) -> dict[str, str]:
    """The query of a URL; nothing in it is given twice."""
    pairs = parse_qsl(urlsplit(url).query, keep_blank_values=True)
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)
