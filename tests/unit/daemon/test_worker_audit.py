"""What a worker tells of a flood of refusals: the request before it, few rows, and every one of them counted."""

import asyncio
import socket

from authsome.daemon.channel import Channel
from authsome.daemon.messages import Happened, Message
from authsome.daemon.worker import RemoteHouse
from authsome.model.event import Denied, Event, Injected
from authsome.model.waiting import MOST_DENIED

FLOOD = 24_000
DEED = Injected(at=1.0, run="r", provider="p", connection="c", method="DELETE", host="h", path="/deed", status=204)


def test_a_flood_of_refusals_in_a_worker_does_not_hide_a_request() -> None:
    asyncio.run(scenario())


async def scenario() -> None:
    told: list[Event] = []
    house = RemoteHouse()
    everything = asyncio.Event()

    def take(message: Message) -> None:
        assert isinstance(message, Happened)
        told.extend(message.events)
        if sum(each.times for each in told if isinstance(each, Denied)) == FLOOD:
            everything.set()

    ours, daemons = socket.socketpair()
    house.channel, daemon = Channel(lambda message: None), Channel(take)
    await house.channel.open(ours)
    await daemon.open(daemons)
    house.record(DEED)
    for n in range(FLOOD):
        house.record(Denied(at=2.0, run="r", host=f"h{n}.test", error="method_refused"))
    await asyncio.wait_for(everything.wait(), 30)
    assert told[0] == DEED and len(told) == 1 + MOST_DENIED + 1
    for channel in (house.channel, daemon):
        channel.abort()
        await channel.ended
