"""An add-on for mitmproxy, with as little in it as does what authsome does: put the real key on, and dial an address.

It runs in mitmproxy's own environment, and imports nothing of ours. BENCH_INJECT is `{"key", "addresses"}`.
"""

import json
import os
from typing import Any

_ASKED = json.loads(os.environ["BENCH_INJECT"])


def requestheaders(flow: Any) -> None:
    """The key in place of what the client holds, before the body that may be streamed; the addresses of [resolve].

    TLS is still verified for the name that the client gave.
    """
    request = flow.request
    name, _, port = _ASKED["addresses"][request.host].rpartition(":")
    said = request.headers["Host"]
    request.host, request.port = name, int(port)
    request.headers["Host"] = said
    request.headers["Authorization"] = f"Bearer {_ASKED['key']}"


def responseheaders(flow: Any) -> None:
    """It would wait for the end of a stream of events otherwise."""
    if flow.response.headers.get("content-type", "").startswith("text/event-stream"):
        flow.response.stream = True
