"""`whoami`: whose vault this is, where it lies and what serves it."""

from authsome.cli.client import Daemon
from authsome.cli.given import Given
from authsome.cli.output import Output
from authsome.settings import read_home

_LABELS = {
    "owner": "owner", "home": "home", "vault": "vault", "root_key": "root key", "pid": "daemon process",
    "version": "version", "started_at": "started", "port": "port", "proxy_port": "proxy port", "run": "inside run",
}  # fmt: skip


def run(given: Given, out: Output) -> int:
    """Print it as `name: value` lines."""
    from authsome.cli.times import local

    answer = Daemon(read_home()).get("/whoami")
    if out.json:
        out.result(answer)
        return 0
    for key, label in _LABELS.items():
        value = answer.get(key)
        if value is not None:
            out.line(f"{label}: {local(value) if key == 'started_at' else value}")
    return 0
