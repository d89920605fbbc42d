"""The audit under a flood of refusals: a single request stays, nothing goes uncounted, and the log stays quiet."""

import logging
from collections.abc import Awaitable, Callable

import pytest

from authsome.errors import VaultError
from authsome.model.event import Denied, Injected
from authsome.model.waiting import MOST_DENIED, REST

from .conftest import Scene

Play = Callable[[Callable[[Scene], Awaitable[None]]], None]
DEED = Injected(
    at=1.0, run="r", provider="p", connection="c", method="DELETE", host="h", path="/deed", status=204, times=1
)
FLOOD = 24_000


def refusals(first: int = 0) -> list[Denied]:
    return [Denied(at=2.0, run="r", host=f"h{first + n}.test", error="method_refused") for n in range(FLOOD)]


def test_a_flood_of_refusals_does_not_hide_a_request(play: Play, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(scene: Scene) -> None:
        recorder = scene.broker.recorder
        with caplog.at_level(logging.DEBUG):
            recorder.record(DEED)
            for each in refusals():
                recorder.record(each)
            await recorder.flush()
        found = [event for _, event in scene.store.vault.events(limit=100_000)]
        assert DEED in found
        refused = [event for event in found if isinstance(event, Denied)]
        assert len(refused) == MOST_DENIED + 1 and sum(each.times for each in refused) == FLOOD
        assert (refused[-1].run, refused[-1].host, refused[-1].error) == ("r", REST, "method_refused")
        assert not caplog.records

    play(scenario)


def test_a_flood_while_the_disk_is_full_hides_nothing_and_is_one_line_a_try(
    play: Play, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(scene: Scene) -> None:
        recorder, vault = scene.broker.recorder, scene.store.vault

        def full(events: object) -> None:
            raise VaultError("no space left")

        with monkeypatch.context() as patch:
            patch.setattr(vault, "record", full)
            recorder.record(DEED)
            for batch in range(3):
                for each in refusals(batch * FLOOD):
                    recorder.record(each)
                await recorder.flush()
        assert [each.message for each in caplog.records] == ["the audit cannot be written: no space left"] * 3
        await recorder.flush()
        found = [event for _, event in vault.events(limit=100_000)]
        assert DEED in found
        assert sum(each.times for each in found if isinstance(each, Denied)) == 3 * FLOOD

    play(scenario)
