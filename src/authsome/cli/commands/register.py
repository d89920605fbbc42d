"""`register`: show what a provider file would do, ask, and install it."""

import json
import sys

from authsome.cli.client import Daemon
from authsome.cli.given import Given
from authsome.cli.output import Output
from authsome.errors import NotAllowed, UsageError
from authsome.settings import read_home

_URLS = (
    "issuer",
    "resource",
    "authorization_url",
    "token_url",
    "device_authorization_url",
    "registration_endpoint",
    "revocation_url",
)


def run(given: Given, out: Output) -> int:
    """The daemon checks the file strictly; the question is about where a credential will go."""
    path = given.word("file")
    text = _read(path)
    if not given.flag("yes"):
        _confirm(text, out)
    answer = Daemon(read_home()).post("/providers", {"text": text, "force": given.flag("force")})
    if out.json:
        out.result(answer)
        return 0
    out.line(f"registered: {answer['name']}")
    out.note(f"next: authsome login {answer['name']}")
    return 0


def _read(path: str) -> str:
    try:
        if path == "-":
            return sys.stdin.buffer.read().decode()
        with open(path, encoding="utf-8") as file:
            return file.read()
    except UnicodeDecodeError:
        raise UsageError(f"{path}: expected UTF-8 text") from None
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None


def _confirm(text: str, out: Output) -> None:
    try:
        definition = json.loads(text)
    except ValueError:
        return  # nothing to show: the daemon names the mistake
    if not isinstance(definition, dict):
        return
    if not sys.stdin.isatty():
        raise NotAllowed("registering a provider needs a confirmation", "look at the file, then add --yes")
    out.say(f"provider: {definition.get('name')} ({definition.get('display_name')})")
    oauth = definition.get("oauth")
    oauth = oauth if isinstance(oauth, dict) else {}
    base = str(oauth.get("base_url") or "(the --base-url given at login)").rstrip("/")
    out.say(f"its credential goes to: {_listed(definition.get('api_url'), base)}")
    urls = [oauth[key] for key in _URLS if isinstance(oauth.get(key), str)]
    if urls:
        out.say(f"logging in, refreshing and revoking use: {_listed(urls, base)}")
    print("install it? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise NotAllowed("nothing was installed")


def _listed(value: object, base: str) -> str:
    shown = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return shown.replace("{base_url}", base)
