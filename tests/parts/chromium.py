#!/usr/bin/env python3
"""A person at a real browser: headless Chromium signs in and consents.

BROWSER="python …/chromium.py %s" makes it the browser of a program under test; $CONSENT_* are those of person.py.
$CONSENT_SHOTS: a directory that gets a picture of every page · $CHROMIUM: the program
"""

import argparse
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import Browser, Locator, Page, sync_playwright

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
NO = re.compile(r"abort|cancel|deny|decline|reject", re.I)
MAX_PAGES = 20
PATIENCE_MS = 30_000


@contextlib.contextmanager
def opened(program: str, ca: str | None = None) -> Iterator[Browser]:
    """Chromium without anything that it remembers; it trusts `ca` as well."""
    with tempfile.TemporaryDirectory() as home:
        if ca:
            _trust(ca, home)
        with sync_playwright() as playwright:
            env: dict[str, str | float | bool] = {**os.environ, "HOME": home}
            browser = playwright.chromium.launch(executable_path=program, args=FLAGS, env=env)
            yield browser
            browser.close()


@dataclass
class Person:
    """Who they are and what they want."""

    login: str = "alice"
    deny: str = ""
    fill: dict[str, str] = field(default_factory=dict)
    shots: str | None = None
    trail: list[str] = field(default_factory=list)

    def visit(self, browser: Browser, url: str) -> tuple[str, str]:
        """Open `url`, with no cookies yet, and go on until a page asks for nothing more; that page's URL and text."""
        page = browser.new_page()
        page.route("**://fonts.googleapis.com/**", lambda route: route.abort())  # oidc-provider's pages
        moves: list[str] = []
        page.on("framenavigated", lambda frame: moves.append(frame.url))
        page.goto(url, wait_until="load")
        for _ in range(MAX_PAGES):
            before = len(moves)
            self._look(page)
            if not self._act(page):
                break
            _await_move(page, moves, before)
        end = page.url, page.locator("body").inner_text()
        page.close()
        return end

    def _look(self, page: Page) -> None:
        self.trail.append(f"{page.title()} {page.url}")
        if self.shots:
            page.screenshot(path=str(Path(self.shots) / f"{len(self.trail):02}.png"))

    def _act(self, page: Page) -> bool:
        """Do what the page asks for, so that the next one comes. False: it asks for nothing."""
        if page.locator("meta[http-equiv=refresh i]").count():
            return True
        target = self._refusal(page) or self._consent(page)
        if target is None:
            return False
        for name, value in {"login": self.login, "password": "x", **self.fill}.items():
            box = page.locator(f"input[name={json.dumps(name)}]:visible").first
            if box.count() and (name in self.fill or not box.input_value()):
                box.fill(value)
        target.click()
        return True

    def _refusal(self, page: Page) -> Locator | None:
        if not self.deny or (self.deny != "1" and not page.url.startswith(self.deny)):
            return None
        choices = page.locator("button:visible, input[type=submit]:visible, a:visible").all()
        return next((choice for choice in choices if _refuses(choice)), None)

    def _consent(self, page: Page) -> Locator | None:
        choices = page.locator("form button:visible, form input[type=submit]:visible")
        wanted = [f"form:has([name={json.dumps(name)}]:visible)" for name in self.fill]
        for scope in [page.locator(", ".join(wanted))] if wanted else []:
            if scope.count():
                choices = scope.first.locator("button:visible, input[type=submit]:visible")
        return next((choice for choice in choices.all() if _submits(choice) and not _refuses(choice)), None)


def _await_move(page: Page, moves: list[str], before: int) -> None:
    for _ in range(PATIENCE_MS // 20):
        if len(moves) > before:
            return page.wait_for_load_state("load")
        page.wait_for_timeout(20)
    raise RuntimeError(f"no page came after {page.url.partition('?')[0]}")


def _submits(choice: Locator) -> bool:
    return (choice.get_attribute("type") or "submit") == "submit"


def _refuses(choice: Locator) -> bool:
    words = (choice.get_attribute("name"), choice.get_attribute("value"), choice.inner_text())
    return bool(NO.search(" ".join(word or "" for word in words)))


def _trust(ca: str, home: str) -> None:
    """Chromium reads further authorities from its user's NSS store only."""
    store = Path(home) / ".pki" / "nssdb"
    store.mkdir(parents=True)
    database = f"sql:{store}"
    subprocess.run(["certutil", "-d", database, "-N", "--empty-password"], check=True)
    subprocess.run(["certutil", "-d", database, "-A", "-t", "C,,", "-n", "test", "-i", ca], check=True)


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
        env.get("CONSENT_SHOTS"),
    )
    try:
        with opened(env.get("CHROMIUM", "/usr/bin/chromium"), env.get("CONSENT_CA")) as browser:
            final, text = person.visit(browser, url)
    finally:
        if log := env.get("CONSENT_LOG"):
            with open(log, "a") as file:
                file.write("".join(f"{line}\n" for line in person.trail))
    sys.stderr.write(f"{final.partition('?')[0]}\n{text[:500]}\n")


if __name__ == "__main__":
    main()
