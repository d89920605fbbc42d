"""Events on their way to the audit: what happens again before it is written is counted, and not told twice.

None is lost, however many wait: beyond a number, those of one run are told together, with less of each.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import fields, replace
from operator import attrgetter
from typing import Any

from authsome.model.event import Denied, Event, Injected, Repeatable, Withheld

REST = "…"  # stands for what is not told
LONGEST = 1024  # characters of a text that a program chose
MOST_INJECTED = 10_000
MOST_DENIED = 128

# What two events have in common that are told as one: everything but when and how often.
_WHAT: dict[type[Event], Callable[[Event], tuple[object, ...]]] = {
    kind: attrgetter("__class__", *(field.name for field in fields(kind) if field.name not in ("at", "times")))
    for kind in (Injected, Denied, Withheld)
}
# So many of a run are told apart; of those beyond these fields are left out, and then so many, and so on. What is never
# left out has few values: codes and reasons of ours, and names of the owner's.
_STEPS: dict[type[Event], tuple[tuple[int, dict[str, Any]], ...]] = {
    Injected: (
        (MOST_INJECTED, {"path": REST}),
        (MOST_DENIED, {"method": REST, "host": REST, "status": 0}),
    ),
    Denied: ((MOST_DENIED, {"host": REST}),),
    Withheld: ((MOST_DENIED, dict.fromkeys(("provider", "connection", "how", "caller"), REST)),),
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

    __slots__ = ("_apart", "_noted")

    def __init__(self) -> None:
        self._noted: dict[object, Noted] = {}
        self._apart: Counter[tuple[object, ...]] = Counter()  # how many are told apart: by kind, step and run

    def note(self, event: Event) -> Noted:
        """Keep an event, or count up the one that it is told with."""
        what = _WHAT.get(type(event))
        if what is None:
            noted = self._noted[object()] = Noted(event)
            return noted
        values = what(event)
        found = self._noted.get(values)
        if found is None and any(map(_is_long, values)):
            event = _shortened(event)
            found = self._noted.get(what(event))
        if found is None:
            event, found = self._told_as(event, what)
        if found is None:
            found = self._noted[what(event)] = Noted(event)
        elif isinstance(event, Repeatable):
            found.times += event.times
        return found

    def take(self) -> list[Event]:
        """All of them, in the order in which each happened first. They wait no longer."""
        taken, self._noted = self._noted, {}
        self._apart.clear()
        for noted in taken.values():
            noted.waits = False
        return [_counted(noted) for noted in taken.values()]

    def put_back(self, events: list[Event]) -> None:
        """Let those that were taken wait again, before what came since."""
        for event in events + self.take():
            self.note(event)

    def _told_as(self, event: Event, what: Callable[[Event], object]) -> tuple[Event, Noted | None]:
        """A new one with as much of it as is told, and the one like that which waits."""
        kind, run = type(event), getattr(event, "run", "")
        for step, (most, left_out) in enumerate(_STEPS[kind]):
            apart = self._apart[kind, step, run]
            if apart < most:
                self._apart[kind, step, run] = apart + 1
                return event, None
            event = replace(event, **left_out)
            found = self._noted.get(what(event))
            if found is not None:
                return event, found
        return event, None


def _is_long(value: object) -> bool:
    return isinstance(value, str) and len(value) > LONGEST


def _shortened(event: Event) -> Event:
    told = {field.name: getattr(event, field.name) for field in fields(event)}
    cut: dict[str, Any] = {name: value[: LONGEST - 1] + REST for name, value in told.items() if _is_long(value)}
    return replace(event, **cut)


def _counted(noted: Noted) -> Event:
    event = noted.event
    if isinstance(event, Repeatable) and event.times != noted.times:
        return replace(event, times=noted.times)
    return event
