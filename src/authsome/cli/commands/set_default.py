"""`set-default`: the connection that a provider uses when none is named."""

from authsome.cli.client import Daemon, provider_path
from authsome.cli.given import Given
from authsome.cli.output import Output
from authsome.settings import read_home


def run(given: Given, out: Output) -> int:
    """Say which one it is now."""
    path = f"/connections/{provider_path(given.word('provider'))}/default"
    answer = Daemon(read_home()).post(path, {"connection": given.word("connection")})
    if out.json:
        out.result(answer)
    else:
        out.line(f"default: {answer['provider']}/{answer['connection']}")
    return 0
