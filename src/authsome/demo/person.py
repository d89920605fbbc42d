"""`python -P -m authsome.demo.person URL`: a person with a browser, reduced to HTTP, who says yes on this machine.

Follows redirects, keeps cookies, waits where a page says so and presses the first button of each page that has
a form, until a page has none. It sends what a browser sends (`Origin`, `Sec-Fetch-*`) and goes nowhere but to
loopback addresses.
"""

import sys
import time
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

import httpx2

from authsome.model.route import is_loopback_url

MAX_PAGES = 20
TIMEOUT = 15.0


class Lost(Exception):
    """The person cannot go on; the message says at which page."""


@dataclass(slots=True)
class Form:
    """A form of a page: where it goes, what it holds, and its submit buttons in their order."""

    action: str = ""
    method: str = "get"
    fields: dict[str, str] = field(default_factory=dict)
    buttons: list[tuple[str, str]] = field(default_factory=list)


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.refresh: float | None = None
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "meta" and given.get("http-equiv", "").lower() == "refresh":
            self.refresh = float(given.get("content", "").partition(";")[0] or 0)
        elif tag == "form":
            self.forms.append(Form(given.get("action", ""), given.get("method", "get").lower()))
            self._inside = True
        elif self._inside and tag in ("input", "button"):
            form, name, value = self.forms[-1], given.get("name", ""), given.get("value", "")
            if given.get("type", "submit" if tag == "button" else "text") == "submit":
                form.buttons.append((name, value))
            elif name:
                form.fields[name] = value

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._inside = False


def consent(url: str) -> str:
    """Goes to `url` and says yes until nothing more is asked; the URL of the last page. Raises Lost."""
    with httpx2.Client(trust_env=False, timeout=TIMEOUT) as browser:
        page = _open(browser, browser.build_request("GET", url), initiator=None)
        for _ in range(MAX_PAGES):
            shown, here = _Page(), str(page.url)
            if "html" in page.headers.get("content-type", ""):
                shown.feed(page.text)
            if shown.refresh is not None:
                time.sleep(shown.refresh)
                page = _open(browser, browser.build_request("GET", here), initiator=here)
            elif shown.forms:
                page = _open(browser, _fill(browser, here, shown.forms[0]), initiator=here)
            else:
                return here
    raise Lost(f"{_place(url)} asks without end")


def _fill(browser: httpx2.Client, page: str, form: Form) -> httpx2.Request:
    """The form as its first button submits it."""
    values = dict(form.fields)
    if form.buttons and form.buttons[0][0]:
        values.update([form.buttons[0]])
    target = urljoin(page, form.action)
    if form.method != "post":
        return browser.build_request("GET", target, params=values)
    return browser.build_request("POST", target, data=values, headers={"Origin": _origin(page)})


def _open(browser: httpx2.Client, request: httpx2.Request, *, initiator: str | None) -> httpx2.Response:
    """The page at the end of the redirects; `initiator` is the page that led here, None where the person typed."""
    relations: list[str] = []
    for _ in range(MAX_PAGES):
        url = str(request.url)
        if not is_loopback_url(url):
            raise Lost(f"{_place(url)} is not on this machine")
        relations.append(_relation(initiator, url))
        request.headers.update(
            {
                "Accept": "text/html,application/xhtml+xml",
                "Sec-Fetch-Site": max(relations, key=_DISTANCE.index),
                "Sec-Fetch-Mode": "navigate",
                "Sec-Fetch-Dest": "document",
                "Sec-Fetch-User": "?1",
            }
        )
        response = browser.send(request)
        if response.is_error:
            raise Lost(f"{_place(url)} answered with HTTP {response.status_code}")
        if not response.is_redirect:
            return response
        request = browser.build_request("GET", urljoin(url, response.headers["location"]))
    raise Lost(f"{_place(url)} redirects without end")


_DISTANCE = ("none", "same-origin", "same-site", "cross-site")


def _relation(initiator: str | None, url: str) -> str:
    """The word of Sec-Fetch-Site: a redirect chain is as far away as the farthest URL in it."""
    if initiator is None:
        return "none"
    if _origin(initiator) == _origin(url):
        return "same-origin"
    return "same-site" if urlsplit(initiator).hostname == urlsplit(url).hostname else "cross-site"


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _place(url: str) -> str:
    """A URL without its query, which may hold a code."""
    return url.partition("?")[0]


if __name__ == "__main__":
    try:
        consent(sys.argv[1])
    except (Lost, httpx2.HTTPError) as error:
        sys.exit(f"the demo's own person is lost: {error}")
