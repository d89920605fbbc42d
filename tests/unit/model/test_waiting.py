"""What waits for the audit: told once, counted, in order, and never lost by a failure to write."""

from authsome.model.event import Denied, Exported, Injected
from authsome.model.waiting import MOST_WAITING, Waiting


def injected(path: str = "/", *, at: float = 1.0, status: int = 200, times: int = 1) -> Injected:
    return Injected(
        at=at, run="r", provider="p", connection="c", method="GET", host="h", path=path, status=status, times=times
    )


def test_the_same_within_a_moment_is_told_once_with_its_number() -> None:
    waiting = Waiting()
    for at in (1.0, 1.1, 1.2):
        waiting.note(injected(at=at))
    waiting.note(injected(times=4))
    assert waiting.take() == [injected(times=7)]
    assert waiting.take() == []


def test_whatever_differs_is_told_apart_and_in_order() -> None:
    waiting = Waiting()
    told = [injected("/a"), injected("/b"), injected("/a", status=404), Denied(at=1.0, run="r", host="h", error="e")]
    for event in [*told, told[0]]:
        waiting.note(event)
    assert waiting.take() == [injected("/a", times=2), *told[1:]]


def test_what_is_handed_out_is_told_each_time() -> None:
    waiting = Waiting()
    handed = Exported(at=1.0, provider="p", connection="c", how="export")
    waiting.note(handed)
    waiting.note(handed)
    assert waiting.take() == [handed, handed]


def test_what_waits_can_be_counted_up_until_it_is_taken() -> None:
    waiting = Waiting()
    noted = waiting.note(injected())
    noted.times += 2
    assert noted.waits and waiting.take() == [injected(times=3)] and not noted.waits


def test_what_could_not_be_written_comes_before_what_came_since() -> None:
    waiting = Waiting()
    waiting.note(injected("/a"))
    failed = waiting.take()
    waiting.note(injected("/b"))
    waiting.note(injected("/a"))
    waiting.put_back(failed)
    assert waiting.take() == [injected("/a", times=2), injected("/b")]


def test_the_oldest_is_dropped_where_too_many_wait() -> None:
    waiting = Waiting()
    first = waiting.note(injected("/0"))
    dropped = [waiting.drop() for n in range(1, MOST_WAITING + 1) if waiting.note(injected(f"/{n}"))]
    assert dropped == [False] * (MOST_WAITING - 1) + [True] and not first.waits
    assert waiting.take()[0] == injected("/1")
