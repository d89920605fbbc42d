"""Conducting a dialogue: each step it yields is carried out, each failure is handed back to it."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from authsome.errors import AuthsomeError
from authsome.flows.steps import Dialogue, Reply, Step

T = TypeVar("T")


async def converse(dialogue: Dialogue[T], perform: Callable[[Step], Awaitable[Reply]]) -> T:
    """Run a dialogue to its end with `perform` answering its steps. Raises what the dialogue raises."""
    try:
        step = next(dialogue)
        while True:
            try:
                reply = await perform(step)
            except AuthsomeError as error:
                step = dialogue.throw(error)
            else:
                step = dialogue.send(reply)
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        dialogue.close()
