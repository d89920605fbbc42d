"""`list`: the providers, where each comes from, and the connections to them."""

import time

from authsome.cli.client import Answer, Daemon
from authsome.cli.columns import show
from authsome.cli.given import Given
from authsome.cli.output import Output
from authsome.cli.times import until
from authsome.settings import read_home

_HEADER = ("PROVIDER", "SOURCE", "AUTH", "CONNECTION", "STATUS", "EXPIRES")


def run(given: Given, out: Output) -> int:
    """Print the totals, then a row for each connection and for each provider without one."""
    answer = Daemon(read_home()).get("/providers")
    every = answer["providers"]
    connected = sum(any(c["status"] == "connected" for c in p["connections"]) for p in every)
    shown = [p for p in every if _is_asked_for(p, given)]
    problems = answer["problems"]
    if out.json:
        totals = {"total": len(every), "connected": connected}
        out.result({**totals, "providers": shown, "problems": problems})
        return 0
    out.line(f"Providers: {len(every)} total, {connected} connected")
    if shown:
        now = time.time()
        show(out, _HEADER, [row for provider in shown for row in _rows(provider, now)])
    for problem in problems:
        out.say(f"{out.paint('warning:', 'yellow', err=True)} {problem['path']}: {problem['message']}")
    return 0


def _is_asked_for(provider: Answer, given: Given) -> bool:
    if given.flag("connected") and not provider["connections"]:
        return False
    wanted = (given.text("filter") or "").lower()
    return wanted in provider["name"].lower() or wanted in provider["display_name"].lower()


def _rows(provider: Answer, now: float) -> list[tuple[str, ...]]:
    first = (provider["name"], provider["source"])
    if not provider["connections"]:
        return [(*first, provider["auth_type"], "-", "-", "-")]
    return [
        (
            *first,
            c["auth_type"],
            c["connection"] + (" *" if c["default"] else ""),
            c["status"],
            until(c["expires_at"], now),
        )
        for c in provider["connections"]
    ]
