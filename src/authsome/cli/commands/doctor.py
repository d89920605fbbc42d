"""`doctor`: check after check, what is wrong and what to do about it."""

from authsome import __version__
from authsome.cli.client import Answer, Daemon
from authsome.cli.given import Given
from authsome.cli.output import Output
from authsome.errors import DaemonUnavailable
from authsome.settings import read_home

_MARKS = {True: ("ok", "green"), None: ("warn", "yellow"), False: ("fail", "red")}


def run(given: Given, out: Output) -> int:
    """0 if no check failed, else 1. A daemon that does not start is one of the checks."""
    checks = _checks(read_home())
    failed = any(check["ok"] is False for check in checks)
    if out.json:
        out.result({"ok": not failed, "checks": checks})
        return int(failed)
    for check in checks:
        mark, color = _MARKS[check["ok"]]
        out.raw(f"{out.paint(mark.ljust(4), color)}  ")
        out.line(f"{check['name']}: {check['detail']}")
        if check.get("hint"):
            out.line(f"      hint: {check['hint']}")
    return int(failed)


def _checks(home: str) -> list[Answer]:
    daemon = Daemon(home)
    try:
        health = daemon.get("/health")
    except DaemonUnavailable as error:
        return [{"name": "daemon", "ok": False, "detail": error.message, "hint": error.hint}]
    same = health["version"] == __version__
    running: Answer = {"name": "daemon", "ok": True, "detail": f"process {health['pid']} answers"}
    if not same:
        versions = f"version {health['version']} answers, but this command is version {__version__}"
        running = {"name": "daemon", "ok": None, "detail": versions, "hint": "run: authsome daemon restart"}
    return [running, *daemon.get("/doctor")["checks"]]
