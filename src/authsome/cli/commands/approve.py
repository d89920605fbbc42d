"""`approve`: the owner's yes or no to what waits for it."""

import sys

from authsome.cli.client import Answer, Daemon
from authsome.cli.given import Given
from authsome.cli.output import Output, clean
from authsome.errors import NotAllowed
from authsome.settings import read_home


def run(given: Given, out: Output) -> int:
    """Ask for each question in turn; anything but a yes leaves it unanswered, `n` refuses it."""
    daemon = Daemon(read_home())
    waiting: list[Answer] = daemon.get("/approvals")["approvals"]
    if out.json:
        out.result({"approvals": waiting})
        return 0
    if not waiting:
        out.note("nothing waits for your approval")
        return 0
    if not sys.stdin.isatty():
        raise NotAllowed("an approval is given in a terminal", "run authsome approve where you can type")
    for each in waiting:
        out.say(f"{each['what']} of {each['provider']}/{each['connection']} in clear")
        out.say(f"  to: {clean(str(each['caller']))} (process {each['pid']})")
        out.say("show it? [y/N] ")
        said = sys.stdin.readline().strip().lower()
        granted = said in ("y", "yes")
        daemon.post(f"/approvals/{each['id']}", {"granted": granted})
        out.say("approved" if granted else "refused")
    return 0
