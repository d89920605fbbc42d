"""Keeping the audit: events are buffered for a moment and written in one transaction."""

import asyncio
import logging
from dataclasses import fields

from authsome.broker.store import Store
from authsome.errors import AuthsomeError
from authsome.model.event import Event
from authsome.model.waiting import Noted, Waiting

log = logging.getLogger(__name__)

DELAY = 0.2


class Recorder:
    """`record` is cheap and never waits; `flush` returns when all that was recorded is stored."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting = Waiting()
        self._task: asyncio.Task[None] | None = None

    def record(self, event: Event) -> Noted:
        """Keep an event. Where too many wait they are told with less of each (`Waiting`)."""
        noted = self._waiting.note(event)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._soon())
        return noted

    async def flush(self) -> None:
        """Write what waits. Events that cannot be written stay and are tried again later."""
        batch = self._waiting.take()
        if not batch:
            return
        try:
            await self._store(lambda vault: vault.record(batch))
        except AuthsomeError as error:
            self._waiting.put_back(batch)
            log.error("the audit cannot be written: %s", error.message)

    async def _soon(self) -> None:
        await asyncio.sleep(DELAY)
        self._task = None
        await self.flush()


def to_json(number: int, event: Event) -> dict[str, object]:
    """An event as it is shown: `{"id", "kind", "at", …}`."""
    shown: dict[str, object] = {"id": number, "kind": type(event).__name__}
    return shown | {field.name: getattr(event, field.name) for field in fields(event)}
