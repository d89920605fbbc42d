"""What every connection of the proxy needs at hand."""

import time
from collections.abc import Iterable
from dataclasses import dataclass

from authsome.model.event import Denied
from authsome.proxy.engine.clock import Clock
from authsome.proxy.engine.dial import Dialler
from authsome.proxy.engine.http2.pool import Http2Pool
from authsome.proxy.engine.ports import House, Limits
from authsome.proxy.engine.runs import LiveRun, Runs
from authsome.proxy.engine.trust import Trust
from authsome.proxy.engine.upstream import Pool
from authsome.proxy.rules.decide import known_placeholders
from authsome.proxy.rules.head import Field


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """The parts that are there once. `pool` holds HTTP/1.1 connections to servers, `streams` those of HTTP/2."""

    house: House
    trust: Trust
    limits: Limits
    clock: Clock
    dialler: Dialler
    pool: Pool
    streams: Http2Pool
    runs: Runs

    def carries_placeholder(self, live: LiveRun, trailers: Iterable[Field]) -> bool:
        """Whether a placeholder stands in trailers, where none is replaced, so that it goes nowhere (P3)."""
        known = known_placeholders(self.house.table(), live.terms)
        return any(known.count(name + b":" + value) for _, name, value in trailers)

    def denied(self, live: LiveRun, host: str, error: str) -> None:
        """Record a refusal."""
        self.house.record(Denied(at=time.time(), run=live.run.id, host=host, error=error))
