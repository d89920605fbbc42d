"""The person's browser: whether there is one here, and opening a page in it (P16)."""

import os
import subprocess
import sys
from collections.abc import Mapping

_OPEN = "import sys, webbrowser; sys.exit(not webbrowser.open(sys.argv[1]))"
_VAULT_KEYS = ("AUTHSOME_ROOT_KEY", "AUTHSOME_DATABASE_URL")


def is_web_address(url: str) -> bool:
    """Whether it is an http or https URL that can be shown and opened without surprises."""
    return url.startswith(("http://", "https://")) and url.isascii() and url.isprintable() and " " not in url


def has_browser(environ: Mapping[str, str], platform: str) -> bool:
    """Whether a browser that is opened here would be seen by the person. BROWSER decides where it is set."""
    if environ.get("BROWSER"):
        return True
    if environ.get("SSH_CONNECTION") or environ.get("SSH_TTY"):
        return False
    return platform != "linux" or bool(environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY"))


def open_browser(url: str) -> "subprocess.Popen[bytes]":
    """Start the browser with an address, as an argument and never through a shell.

    The process ends with 0 if a browser was found. What it prints goes to stderr, for stdout is ours.
    """
    environment = {name: value for name, value in os.environ.items() if name not in _VAULT_KEYS}
    return subprocess.Popen(  # noqa: S603  an argument vector, the URL is checked
        [sys.executable, "-P", "-c", _OPEN, url],
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr.fileno(),
        env=environment,
    )
