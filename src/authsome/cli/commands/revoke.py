"""`revoke`: every connection of a provider, and the client that was registered for it."""

from authsome.cli.client import Daemon, provider_path
from authsome.cli.commands.logout import say_revoked
from authsome.cli.given import Given
from authsome.cli.output import Output
from authsome.settings import read_home

_SECONDS = 300.0  # every connection may cost a slow call to the provider


def run(given: Given, out: Output) -> int:
    """Print what was revoked, a line each."""
    provider = given.word("provider")
    answer = Daemon(read_home()).post(f"/providers/{provider_path(provider)}/revoke", seconds=_SECONDS)
    if out.json:
        out.result({"provider": provider, **answer})
        return 0
    for connection in answer["connections"]:
        out.line(f"revoked: {provider}/{connection['connection']}")
        say_revoked(out, connection)
    client = answer["client"]
    if client["deleted"]:
        out.line(f"revoked: the client of {provider}")
    if client["detail"]:
        out.note(str(client["detail"]))
    return 0
