"""Events on their way to the audit: what happens again before it is written is counted, and not told twice."""

from collections.abc import Callable
from dataclasses import fields, replace
from operator import attrgetter

from authsome.model.event import Denied, Event, Injected, Repeatable

MOST_WAITING = 10_000
# What two events have in common that are told as one: everything but when and how often.
_WHAT: dict[type[Event], Callable[[Event], object]] = {
    kind: attrgetter("__class__", *(field.name for field in fields(kind) if field.name not in ("at", "times")))
    for kind in (Injected, Denied)
}


class Noted:
    """An event that waits. As long as it `waits`, whoever noted it may count it up."""

    __slots__ = ("event", "times", "waits")

    def __init__(self, event: Event) -> None:
        self.event = event
        self.times = event.times if isinstance(event, Repeatable) else 1
        self.waits = True


class Waiting:
    """Those that were noted since they were last taken."""

    __slots__ = ("_noted",)

    def __init__(self) -> None:
        self._noted: dict[object, Noted] = {}

    def __len__(self) -> int:
        return len(self._noted)

    def note(self, event: Event) -> Noted:
        """Keep an event, or count up the one like it that waits."""
        what = _WHAT.get(type(event))
        key = object() if what is None else what(event)
        noted = self._noted.get(key)
        if noted is None:
            noted = self._noted[key] = Noted(event)
        else:
            noted.times += event.times if isinstance(event, Repeatable) else 1
        return noted

    def drop(self) -> bool:
        """Forget the oldest where there are more than 10 000, and tell whether one was."""
        if len(self._noted) <= MOST_WAITING:
            return False
        self._noted.pop(next(iter(self._noted))).waits = False
        return True

    def take(self) -> list[Event]:
        """All of them, in the order in which each happened first. They wait no longer."""
        taken, self._noted = self._noted, {}
        for noted in taken.values():
            noted.waits = False
        return [_counted(noted) for noted in taken.values()]

    def put_back(self, events: list[Event]) -> None:
        """Let those that were taken wait again, before what came since."""
        for event in events + self.take():
            self.note(event)


def _counted(noted: Noted) -> Event:
    event = noted.event
    if isinstance(event, Repeatable) and event.times != noted.times:
        return replace(event, times=noted.times)
    return event
