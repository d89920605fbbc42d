"""Deadlines without a timer each: one tick a second looks at every leg, and only while there are legs."""

import asyncio
from collections.abc import Callable


class Leg:
    """Something with a deadline. `expire` is called once it has passed."""

    __slots__ = ("deadline", "expire")

    def __init__(self) -> None:
        self.deadline = float("inf")
        self.expire: Callable[[], None] = _nothing


class Clock:
    """`now` is the loop's time of the last tick, good to a second and cheap to read."""

    def __init__(self) -> None:
        self.now = 0.0
        self._legs: set[Leg] = set()
        self._timer: asyncio.TimerHandle | None = None

    def part(self, leg: Leg) -> None:
        """No longer, for good: what it would have called is let go, or the two would keep each other."""
        self._legs.discard(leg)
        leg.expire = _nothing

    def watch(self, leg: Leg) -> None:
        """Look at the leg's deadline from now on."""
        if self._timer is None:
            self._tick()
        self._legs.add(leg)

    def stop(self) -> None:
        """No more ticks."""
        self._legs.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        self.now = loop.time()
        for leg in [leg for leg in self._legs if leg.deadline <= self.now]:
            leg.deadline = float("inf")
            leg.expire()
        self._timer = loop.call_later(1.0, self._next)

    def _next(self) -> None:
        self._timer = None
        if self._legs:
            self._tick()


def _nothing() -> None:
    pass
