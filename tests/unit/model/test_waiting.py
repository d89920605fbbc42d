"""What waits for the audit: told once, counted, in order, and never lost by a failure to write."""

from dataclasses import replace

from authsome.model.event import Denied, Exported, Injected, Withheld
from authsome.model.waiting import LONGEST, MOST_DENIED, MOST_INJECTED, REST, Waiting


def injected(path: str = "/", *, at: float = 1.0, status: int = 200, times: int = 1) -> Injected:
    return Injected(
        at=at, run="r", provider="p", connection="c", method="GET", host="h", path=path, status=status, times=times
    )


def denied(host: str, error: str = "e", *, run: str = "r", times: int = 1) -> Denied:
    return Denied(at=1.0, run=run, host=host, error=error, times=times)


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


def test_a_request_is_not_pushed_out_by_refusals() -> None:
    waiting = Waiting()
    deed = waiting.note(injected("/deed"))
    for n in range(24_000):
        waiting.note(denied(f"h{n}", "method_refused"))
    assert deed.waits
    told = waiting.take()
    assert told[0] == injected("/deed")
    assert told[1:] == [denied(f"h{n}", "method_refused") for n in range(MOST_DENIED)] + [
        denied(REST, "method_refused", times=24_000 - MOST_DENIED)
    ]


def test_the_refusals_of_one_run_leave_those_of_another_as_they_are() -> None:
    waiting = Waiting()
    for n in range(2 * MOST_DENIED):
        waiting.note(denied(f"h{n}"))
    waiting.note(denied("h", run="another"))
    assert waiting.take()[-1] == denied("h", run="another")


def test_every_reason_is_told_of_refusals_that_are_told_together() -> None:
    waiting = Waiting()
    for n in range(MOST_DENIED):
        waiting.note(denied(f"h{n}"))
    for n, error in enumerate(("a", "b", "a")):
        waiting.note(denied(f"x{n}", error))
    waiting.note(denied("h0"))
    told = waiting.take()
    assert told[0] == denied("h0", times=2)
    assert told[MOST_DENIED:] == [denied(REST, "a", times=2), denied(REST, "b")]


def test_requests_beyond_many_are_told_without_their_paths() -> None:
    waiting = Waiting()
    for n in range(MOST_INJECTED):
        waiting.note(injected(f"/{n}"))
    noted = [waiting.note(injected(f"/more/{n}", status=status)) for n, status in enumerate((200, 404, 200))]
    assert noted[0] is noted[2] and noted[0].waits
    assert waiting.take()[MOST_INJECTED:] == [injected(REST, times=2), injected(REST, status=404)]


def test_requests_by_ever_new_methods_are_told_together_in_the_end() -> None:
    waiting = Waiting()
    for n in range(MOST_INJECTED + MOST_DENIED):
        waiting.note(replace(injected(), method=f"M{n}"))
    for n in range(5):
        waiting.note(replace(injected(), method=f"X{n}", host=f"h{n}"))
    assert waiting.take()[-1] == replace(injected(REST, status=0, times=5), method=REST, host=REST)


def test_what_is_told_together_still_is_after_a_failure_to_write() -> None:
    waiting = Waiting()
    for n in range(MOST_DENIED + 7):
        waiting.note(denied(f"h{n}"))
    failed = waiting.take()
    for n in range(MOST_DENIED + 7):
        waiting.note(denied(f"g{n}"))
    waiting.put_back(failed)
    assert waiting.take() == [*failed[:-1], denied(REST, times=MOST_DENIED + 14)]
    waiting.note(denied("h"))
    assert waiting.take() == [denied("h")]


def test_attempts_to_see_a_credential_beyond_many_are_counted_by_their_reason() -> None:
    waiting = Waiting()
    withheld = Withheld(at=1.0, provider="p", connection="c", how="export", why="w", caller="sh (1)")
    for n in range(MOST_DENIED + 3):
        waiting.note(replace(withheld, caller=f"sh ({n})"))
    rest = Withheld(at=1.0, provider=REST, connection=REST, how=REST, why="w", caller=REST, times=3)
    assert waiting.take()[MOST_DENIED:] == [rest]


def test_a_long_path_is_cut_before_it_is_kept() -> None:
    waiting = Waiting()
    waiting.note(injected("/" + "a" * 16_000))
    waiting.note(injected("/" + "a" * 15_000))
    waiting.note(injected("/" + "b" * (LONGEST - 1)))
    cut, whole = waiting.take()
    assert cut == injected("/" + "a" * (LONGEST - 2) + REST, times=2)
    assert whole == injected("/" + "b" * (LONGEST - 1))


def test_a_deed_of_the_owner_waits_however_many_there_are() -> None:
    waiting = Waiting()
    handed = Exported(at=1.0, provider="p", connection="c", how="export")
    for _ in range(2 * MOST_INJECTED):
        waiting.note(handed)
    assert len(waiting.take()) == 2 * MOST_INJECTED
