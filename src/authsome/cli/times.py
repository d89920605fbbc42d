"""Times for people: how long until, when it was."""

import time

_HOUR = 3600
_DAY = 24 * _HOUR


def until(moment: object, now: float) -> str:
    """`in 58 min` for seconds since the epoch, `expired`, or `-` where none is known."""
    if not isinstance(moment, (int, float)):
        return "-"
    left = moment - now
    if left <= 0:
        return "expired"
    if left >= 2 * _DAY:
        return f"in {round(left / _DAY)} d"
    if left >= 2 * _HOUR:
        return f"in {round(left / _HOUR)} h"
    return f"in {max(1, round(left / 60))} min"


def local(moment: float) -> str:
    """Seconds since the epoch as local date and time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))
