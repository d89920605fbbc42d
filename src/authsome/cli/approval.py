"""Waiting for the owner's approval, where the policy asks for it."""

import time
from collections.abc import Callable

from authsome.cli.client import Answer
from authsome.cli.output import Output
from authsome.errors import ApprovalNeeded

_PAUSE = 0.5


def patiently(ask: Callable[[str | None], Answer], out: Output) -> Answer:
    """The answer to a call that takes the id of an approval. Raises what the daemon reports."""
    approval: str | None = None
    while True:
        try:
            return ask(approval)
        except ApprovalNeeded as needed:
            if approval is None:
                out.say(f"{needed.message}: {needed.hint}")
            approval = str(needed.details["approval"])
            time.sleep(_PAUSE)
