#!/usr/bin/env python3
"""A person at a browser, reduced to HTTP: follows redirects and refreshes, fills in and submits each form.

BROWSER="python …/person.py %s" makes it the browser of a program under test. It behaves as browsers do where a server
can tell: cookies with SameSite, Origin and Sec-Fetch-* as test_parts.py sees them sent by Chromium.
$CONSENT_LOGIN: the name to sign in with · $CONSENT_DENY: refuse, on pages whose URL starts with it (1: on any) ·
$CONSENT_CA: a CA file · $CONSENT_FILL: JSON of field names and values to type in · $CONSENT_LOG: gets the trail
"""

import argparse
import html.parser
import json
import os
import re
import ssl
import sys
import time
import urllib.parse
from dataclasses import dataclass, field, replace
from http.cookiejar import Cookie, CookieJar, DefaultCookiePolicy
from urllib.request import Request

import httpx2

NO = re.compile(r"abort|cancel|deny|decline|reject", re.I)
NAMES = ("login", "username", "email", "user")
MAX_STEPS = 60
PATIENCE = 60.0


@dataclass
class Form:
    """A form of a page, its fields as they stand."""

    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)
    buttons: list["Button"] = field(default_factory=list)


@dataclass
class Button:
    """A submit button."""

    name: str | None
    value: str
    action: str | None
    label: str = ""

    def refuses(self) -> bool:
        """Whether pressing it says no."""
        return bool(NO.search(f"{self.name} {self.value} {self.label}"))


class Page(html.parser.HTMLParser):
    """What a person can do on a page: forms to send, links to follow, and a refresh that comes by itself."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.links: list[tuple[str, str]] = []
        self.refresh: tuple[float, str] | None = None
        self.referrer_policy = ""
        self._by_id: dict[str, Form] = {}
        self._form: Form | None = None
        self._link: str | None = None
        self._button: Button | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Collect what matters."""
        given = {name: value or "" for name, value in attributes}
        if tag == "form":
            self._form = Form(given.get("action", ""), given.get("method", "get").lower())
            self.forms.append(self._form)
            self._by_id[given.get("id", "")] = self._form
        elif tag in ("input", "button", "textarea"):
            self._control(tag, given)
        elif tag == "a":
            self._link = given.get("href")
        elif tag == "meta" and given.get("name", "").lower() == "referrer":
            self.referrer_policy = given.get("content", "")
        elif tag == "meta" and given.get("http-equiv", "").lower() == "refresh":
            seconds, _, target = given.get("content", "").partition(";")
            address = re.sub(r"^\s*url\s*=\s*", "", target, flags=re.I).strip().strip("'\"")
            self.refresh = (float(seconds.strip() or 0), address)

    def handle_endtag(self, tag: str) -> None:
        """Leave what was open."""
        if tag == "form":
            self._form = None
        elif tag == "a":
            self._link = None
        elif tag == "button":
            self._button = None

    def handle_data(self, data: str) -> None:
        """Labels of links and buttons."""
        if self._link and data.strip():
            self.links.append((data.strip(), self._link))
        if self._button is not None:
            self._button.label += data.strip()

    def _control(self, tag: str, given: dict[str, str]) -> None:
        form = self._by_id.get(given["form"]) if "form" in given else self._form
        kind = given.get("type", "submit" if tag == "button" else "text").lower()
        if form is None or "disabled" in given:
            return
        if kind in ("submit", "image"):
            button = Button(given.get("name"), given.get("value", ""), given.get("formaction"))
            form.buttons.append(button)
            self._button = button if tag == "button" else None
        elif kind in ("checkbox", "radio"):
            if "checked" in given and "name" in given:
                form.fields[given["name"]] = given.get("value", "on")
        elif kind not in ("button", "reset") and "name" in given:
            form.fields[given["name"]] = given.get("value", "")


class SameSite(DefaultCookiePolicy):
    """Keeps SameSite=Strict cookies from navigations that another site began, and Lax ones from its POSTs."""

    cross_site = False

    def return_ok(self, cookie: Cookie, request: Request) -> bool:
        """Whether a cookie goes out."""
        rule = next((str(v).lower() for k, v in vars(cookie)["_rest"].items() if k.lower() == "samesite"), "lax")
        if self.cross_site and (rule == "strict" or (rule == "lax" and request.get_method() != "GET")):
            return False
        return super().return_ok(cookie, request)


@dataclass(frozen=True)
class Navigation:
    """A request about to be made: by whom (None: typed by the person), to where, with what."""

    url: str
    initiator: str | None
    method: str = "GET"
    form: dict[str, str] | None = None
    referrer_policy: str = ""
    clicked: bool = True

    def origin(self) -> str | None:
        """What goes into Origin; None: "null"."""
        foreign = self.initiator != _origin(self.url)
        hidden = self.referrer_policy == "no-referrer" or (self.referrer_policy == "same-origin" and foreign)
        return None if hidden else self.initiator


@dataclass
class Person:
    """Who they are and what they want."""

    login: str = "alice"
    deny: str = ""
    fill: dict[str, str] = field(default_factory=dict)
    ca: str | None = None
    trail: list[str] = field(default_factory=list)

    def visit(self, url: str) -> httpx2.Response:
        """Open `url` and go on until a page asks for nothing more; returns that page. RuntimeError: it never ends."""
        self._policy = SameSite()
        verify = ssl.create_default_context(cafile=self.ca) if self.ca else True
        ends = time.monotonic() + PATIENCE
        with httpx2.Client(verify=verify, trust_env=False, timeout=30, cookies=CookieJar(self._policy)) as client:
            step: Navigation | None = Navigation(url, None)
            for _ in range(MAX_STEPS):
                assert step is not None
                response = self._go(client, step)
                step = self._next(response)
                if step is None or time.monotonic() > ends:
                    return response
        raise RuntimeError(f"too many pages: {' > '.join(self.trail[-5:])}")

    def _go(self, client: httpx2.Client, step: Navigation) -> httpx2.Response:
        """One navigation with its redirects. Sec-Fetch-Site looks at the whole chain, cookies at its two ends."""
        origin = step.origin()
        relation = _relation(step.initiator, step.url)
        while True:
            headers = {
                "accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8",
                "sec-fetch-site": relation,
                "sec-fetch-mode": "navigate",
                "sec-fetch-dest": "document",
                **({"sec-fetch-user": "?1"} if step.clicked else {}),
                **({"origin": origin or "null"} if step.method == "POST" else {}),
            }
            self._policy.cross_site = _relation(step.initiator, step.url) == "cross-site"
            response = client.request(step.method, step.url, data=step.form, headers=headers)
            self.trail.append(f"{response.status_code} {step.method} {step.url}")
            if not response.is_redirect:
                return response
            target = urllib.parse.urljoin(step.url, response.headers["location"])
            if _origin(target) != _origin(step.url) != step.initiator:
                origin = None
            relation = _worse(relation, _relation(step.initiator, target))
            keeps = response.status_code in (307, 308)
            step = replace(step, url=target) if keeps else replace(step, url=target, method="GET", form=None)

    def _next(self, response: httpx2.Response) -> Navigation | None:
        """What the person does with a page; None: nothing is left to do."""
        here = str(response.url)
        if response.status_code >= 400 or "html" not in response.headers.get("content-type", ""):
            return None
        page = Page(response.text)
        policy = page.referrer_policy or response.headers.get("referrer-policy", "")
        if page.refresh is not None:
            time.sleep(page.refresh[0])
            target = urllib.parse.urljoin(here, page.refresh[1])
            return Navigation(target, _origin(here), referrer_policy=policy, clicked=False)
        if self.deny and (self.deny == "1" or here.startswith(self.deny)) and self._can_refuse(page):
            return self._refuse(page, here, policy)
        return self._agree(page, here, policy)

    def _can_refuse(self, page: Page) -> bool:
        buttons = any(button.refuses() for form in page.forms for button in form.buttons)
        return buttons or any(NO.search(label) for label, _ in page.links)

    def _refuse(self, page: Page, here: str, policy: str) -> Navigation:
        for label, target in page.links:
            if NO.search(label):
                return Navigation(urllib.parse.urljoin(here, target), _origin(here), referrer_policy=policy)
        form, button = next((f, b) for f in page.forms for b in f.buttons if b.refuses())
        return self._submit(form, button, here, policy)

    def _agree(self, page: Page, here: str, policy: str) -> Navigation | None:
        forms = [form for form in page.forms if any(not button.refuses() for button in form.buttons)]
        forms.sort(key=lambda form: not (self.fill.keys() & form.fields.keys()))
        if not forms:
            return None
        button = next(button for button in forms[0].buttons if not button.refuses())
        return self._submit(forms[0], button, here, policy)

    def _submit(self, form: Form, button: Button, here: str, policy: str) -> Navigation:
        data = dict(form.fields)
        for name, value in data.items():
            if name in self.fill:
                data[name] = self.fill[name]
            elif name in NAMES:
                data[name] = value or self.login
            elif name == "password":
                data[name] = value or "x"
        if button.name:
            data[button.name] = button.value
        target = urllib.parse.urljoin(here, button.action or form.action)
        if form.method == "post":
            return Navigation(target, _origin(here), "POST", data, policy)
        target = urllib.parse.urlsplit(target)._replace(query=urllib.parse.urlencode(data)).geturl()
        return Navigation(target, _origin(here), referrer_policy=policy)


def _origin(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _relation(initiator: str | None, url: str) -> str:
    """Sec-Fetch-Site. A site is scheme and registrable domain, taken here as the last two labels."""
    if initiator is None:
        return "none"
    if initiator == _origin(url):
        return "same-origin"
    one, other = urllib.parse.urlsplit(initiator), urllib.parse.urlsplit(url)
    same = one.scheme == other.scheme and _site(one.hostname or "") == _site(other.hostname or "")
    return "same-site" if same else "cross-site"


def _site(host: str) -> str:
    return host if re.fullmatch(r"[\d.]+|\[.*|localhost", host) else ".".join(host.split(".")[-2:])


def _worse(one: str, other: str) -> str:
    order = ("none", "same-origin", "same-site", "cross-site")
    return max(one, other, key=order.index)


def main() -> None:
    """The browser's command line: one URL."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    url = parser.parse_args().url
    env = os.environ
    person = Person(
        env.get("CONSENT_LOGIN", "alice"),
        env.get("CONSENT_DENY", ""),
        json.loads(env.get("CONSENT_FILL", "{}")),
        env.get("CONSENT_CA"),
    )
    try:
        response = person.visit(url)
    finally:
        if log := env.get("CONSENT_LOG"):
            with open(log, "a") as file:
                file.write("".join(f"{line}\n" for line in person.trail))
    if response.status_code >= 400:
        sys.exit(f"{response.status_code}: {response.text[:500]}")


if __name__ == "__main__":
    main()
