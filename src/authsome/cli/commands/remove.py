"""`remove`: the owner's own definition of a provider."""

from authsome.cli.client import Daemon, provider_path
from authsome.cli.given import Given
from authsome.cli.output import Output
from authsome.settings import read_home


def run(given: Given, out: Output) -> int:
    """Say what was removed and what is in force now."""
    answer = Daemon(read_home()).delete(f"/providers/{provider_path(given.word('provider'))}")
    if out.json:
        out.result(answer)
        return 0
    out.line(f"removed: {answer['name']}")
    if answer["now"]:
        out.note(f"the {answer['now']} definition of {answer['name']} is in force again")
    idle = [f"{answer['name']}/{connection}" for connection in answer.get("idle") or []]
    if idle:
        out.note(f"{', '.join(idle)} cannot be used until {answer['name']} is registered again")
    return 0
