"""An add-on for mitmproxy, with as little in it as does what authsome does: put the real key on, in BENCH_KEY.

It runs in mitmproxy's own environment, and imports nothing of ours. It also has the names of BENCH_HOSTS resolved to
this machine, which squid gets told by a file and authsome by [resolve].
"""

import os
import socket
from typing import Any

_KEY = f"Bearer {os.environ['BENCH_KEY']}"
_HOSTS = os.environ["BENCH_HOSTS"].split()
_resolve = socket.getaddrinfo


def _resolve_here(host: Any, *rest: Any, **more: Any) -> Any:
    return _resolve("127.0.0.1" if host in _HOSTS else host, *rest, **more)


setattr(socket, "getaddrinfo", _resolve_here)  # noqa: B010 - its type is not ours to match


def requestheaders(flow: Any) -> None:
    """The key in place of what the client holds, before the body that may be streamed."""
    flow.request.headers["Authorization"] = _KEY


def responseheaders(flow: Any) -> None:
    """It would wait for the end of a stream of events otherwise."""
    if flow.response.headers.get("content-type", "").startswith("text/event-stream"):
        flow.response.stream = True
