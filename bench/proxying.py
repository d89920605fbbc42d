"""What the injecting proxy costs, beside the same client going straight to the same upstream, or through a rival."""

import contextlib
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from bench import rivals
from bench.place import FAR_HOST, HOST, KEY, LARGE, LIVE_HOST, Place, authsome, heard
from bench.report import Row
from bench.upstream import BODY

DISTANCE = 0.04
MEMORY_IDLE, MEMORY_ADDED = 90e6, 60e6
OURS, DIRECT, SQUID, MITMPROXY = "authsome", "direct", "squid", "mitmproxy"

_EVERYWHERE = (DIRECT, OURS, SQUID, MITMPROXY)
_NOT_FOR_RIVALS = (DIRECT, OURS)
# each measure, the host it goes to, and who takes part
_PLAN: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("latency", HOST, _EVERYWHERE),
    ("rate 32", HOST, _EVERYWHERE),
    ("rate 256", HOST, _EVERYWHERE),
    ("new", HOST, _EVERYWHERE),
    ("far", FAR_HOST, _EVERYWHERE),
    ("down", HOST, _EVERYWHERE),
    ("up", HOST, _EVERYWHERE),
    ("events", LIVE_HOST, _EVERYWHERE),
    ("http2", HOST, _NOT_FOR_RIVALS),
    ("websocket", LIVE_HOST, _NOT_FOR_RIVALS),
)

Table = tuple[str, list[Row]]


@dataclass(frozen=True, slots=True)
class Side:
    """A way to the upstream. `straight` is dialled without a proxy."""

    command: list[str]
    environment: dict[str, str]
    straight: bool = False
    names_port: bool = False


@dataclass(slots=True)
class Findings:
    """What each measure found at each side, a number a round; and what has to be said besides."""

    numbers: dict[tuple[str, str, str], list[float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Say something once."""
        if text not in self.notes:
            self.notes.append(text)

    def median(self, measure: str, side: str, what: str) -> float | None:
        """None where it was not measured."""
        found = self.numbers.get((measure, side, what))
        return statistics.median(found) if found else None


def measure(place: Place, rounds: int, *, beside_rivals: bool) -> tuple[list[Table], list[str]]:
    """The tables, and what was left out. Every round goes through every measure, and each measure through the sides."""
    findings = Findings()
    with _stage(place, findings, beside_rivals=beside_rivals) as (sides, addresses):
        for turn in range(rounds):
            for name, host, takers in _PLAN:
                for side in (side for side in takers if side in sides):
                    _load(place, findings, name, host, side, sides[side], addresses[host])
            print(f"  round {turn + 1} of {rounds}", file=sys.stderr, flush=True)
        memory = _memory(place, sides[OURS])
    return [*_tables(findings), ("Memory of the daemon", memory)], findings.notes


@contextlib.contextmanager
def _stage(
    place: Place, findings: Findings, *, beside_rivals: bool
) -> Iterator[tuple[dict[str, Side], dict[str, str]]]:
    """The sides that are there, and where the hosts are, for as long as it lasts."""
    with contextlib.ExitStack() as stack:
        upstream = place.upstream
        try:
            server, upstream = rivals.nginx(place.directory / "nginx", place.servers, BODY, LARGE)
            stack.callback(server.close)
        except rivals.Missing as missing:
            findings.note(f"{missing}: the upstream is a small server of ours, which limits the rates")
        relay = heard(place.serve("bench.relay", upstream.rpartition(":")[2], str(DISTANCE / 2)))
        addresses = {HOST: upstream, FAR_HOST: relay, LIVE_HOST: place.upstream}
        place.lead(addresses)
        sides = {
            DIRECT: Side([], {"SSL_CERT_FILE": str(place.ca_file), "BENCH_API_KEY": KEY}, straight=True),
            OURS: Side([*authsome(), "run", "--"], {}),
        }
        starts: dict[str, Callable[[], rivals.Rival]] = {
            SQUID: lambda: rivals.squid(place.directory / SQUID, place.ca_file, list(addresses)),
            MITMPROXY: lambda: rivals.mitmproxy(place.directory / MITMPROXY, place.ca_file, list(addresses)),
        }
        for name, start in starts.items() if beside_rivals else ():
            try:
                rival = start()
            except rivals.Missing as missing:
                findings.note(f"{name} is left out: {missing}")
                continue
            stack.callback(rival.close)
            sides[name] = Side([], rival.environment, names_port=True)
        yield sides, addresses


def _load(place: Place, findings: Findings, name: str, host: str, side: str, way: Side, address: str) -> None:
    authority = f"{host}:{address.rpartition(':')[2]}" if way.names_port else host
    command = [*way.command, sys.executable, "-m", "bench.load", name, authority, *([address] if way.straight else [])]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, env=place.environment | way.environment, timeout=120, check=True
        )
    except subprocess.CalledProcessError as error:
        last = (error.stderr or "").strip().splitlines()[-1:]
        findings.note(f"{name}, {side}: a client failed: {' '.join(last)}")
        return
    except subprocess.TimeoutExpired:
        findings.note(f"{name}, {side}: a client did not end")
        return
    found = json.loads(done.stdout)
    if "skipped" in found:
        findings.note(f"{name}, {side}: {found['skipped']}")
        return
    for what, number in found.items():
        findings.numbers.setdefault((name, side, what), []).append(number)


def _tables(findings: Findings) -> list[Table]:
    """The ratio of a row is authsome's figure to the row's."""
    f = _Figures(findings)
    least, most = _Bound.least, _Bound.most
    return [
        (
            "Latency on a kept-alive connection; ratio of authsome to each",
            f.rows("latency", "p50", "p50", _micro, {})
            + f.added("p50", {SQUID: most(1), MITMPROXY: most(1 / 15, "1/15")})
            + f.rows("latency", "p99", "p99", _micro, {})
            + f.added("p99", {SQUID: most(1)}),
        ),
        (
            "Requests a second; ratio of authsome to each",
            f.rows("rate 32", "rate", "32 connections", _per_second, {SQUID: least(1.5), MITMPROXY: least(20)})
            + f.rows("rate 256", "rate", "256 connections", _per_second, {SQUID: least(1.5), MITMPROXY: least(20)}),
        ),
        (
            "A new connection with one request; ratio of authsome to each",
            f.rows("new", "p50", "upstream at hand", _milli, {SQUID: most(1)})
            + f.rows("far", "p50", f"upstream {DISTANCE * 1000:.0f} ms away", _milli, {DIRECT: most(0.4)}),
        ),
        (
            "Large bodies; ratio of authsome to each",
            f.rows("down", "rate", "1 MB down", _megabytes, {SQUID: least(1.5)})
            + f.rows("up", "rate", "64 MB up", _megabytes, {SQUID: least(1)}),
        ),
        (
            "Delay of each event of a stream; ratio of authsome to each",
            f.rows("events", "p50", "p50", _micro, {})
            + f.rows("events", "p99", "p99", _micro, {})
            + f.above("events", "p99", 1e-3),
        ),
        (
            "WebSocket; ratio of authsome to direct",
            f.rows("websocket", "p50", "round trip, p50", _micro, {})
            + f.rows("websocket", "p99", "round trip, p99", _micro, {})
            + f.rows("websocket", "rate", "32 connections", _per_second, {}),
        ),
        ("HTTP/2, 32 connections of one stream each", f.http2()),
    ]


@dataclass(frozen=True, slots=True)
class _Bound:
    """What a ratio has to keep to."""

    text: str
    holds: Callable[[float], bool]

    @classmethod
    def least(cls, limit: float) -> "_Bound":
        return cls(f"≥ {limit:g} ×", lambda ratio: ratio >= limit)

    @classmethod
    def most(cls, limit: float, text: str = "") -> "_Bound":
        return cls(f"≤ {text or f'{limit:g}'} ×", lambda ratio: ratio <= limit)


@dataclass(frozen=True, slots=True)
class _Figures:
    """Makes rows of the findings; a side that was not measured has none."""

    findings: Findings

    def rows(
        self, measure: str, what: str, label: str, show: Callable[[float], str], bounds: dict[str, _Bound]
    ) -> list[Row]:
        """Authsome's row, and one for each other side."""
        numbers = {side: self.findings.median(measure, side, what) for side in (OURS, DIRECT, SQUID, MITMPROXY)}
        return self._rows(numbers, label, show, bounds)

    def added(self, what: str, bounds: dict[str, _Bound]) -> list[Row]:
        """What each proxy adds to the direct latency."""
        direct = self.findings.median("latency", DIRECT, what) or 0.0
        numbers: dict[str, float | None] = {}
        for side in (OURS, SQUID, MITMPROXY):
            found = self.findings.median("latency", side, what)
            numbers[side] = None if found is None else found - direct
        return self._rows(numbers, f"added, {what}", _micro, bounds)

    def _rows(
        self,
        numbers: dict[str, float | None],
        label: str,
        show: Callable[[float], str],
        bounds: dict[str, _Bound],
    ) -> list[Row]:
        rows, ours = [], numbers[OURS]
        for side, number in numbers.items():
            if number is None:
                continue
            bound = bounds.get(side)
            ratio = None if ours is None or side == OURS or number <= 0 else ours / number
            rows.append(
                Row(
                    f"{label}: {side}",
                    show(number),
                    "" if ratio is None else _times(ratio),
                    bound.text if bound else "",
                    bound.holds(ratio) if bound and ratio is not None else None,
                )
            )
        return rows

    def above(self, measure: str, what: str, limit: float) -> list[Row]:
        """What authsome adds to direct, in seconds."""
        ours, direct = (self.findings.median(measure, side, what) for side in (OURS, DIRECT))
        if ours is None or direct is None:
            return []
        added = ours - direct
        return [Row(f"added, {what}: {OURS}", _micro(added), "", f"≤ {limit * 1000:g} ms", added <= limit)]

    def http2(self) -> list[Row]:
        """Beside the same over HTTP/1.1."""
        rows = []
        for side, bound in ((OURS, _Bound.least(1 / 3)), (DIRECT, None)):
            h1, h2 = (self.findings.median(measure, side, "rate") for measure in ("rate 32", "http2"))
            if h1 and h2:
                holds = bound.holds(h2 / h1) if bound else None
                rows.append(
                    Row(f"to HTTP/1.1: {side}", _per_second(h2), _times(h2 / h1), "≥ 1/3 ×" if bound else "", holds)
                )
        return rows


def _memory(place: Place, ours: Side) -> list[Row]:
    """A daemon that has just been started, then with connections that have each been answered once."""
    place.call("daemon", "restart")
    time.sleep(1)
    idle = place.memory()
    client = subprocess.Popen(
        [*ours.command, sys.executable, "-m", "bench.load", "hold", HOST],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=place.environment | ours.environment,
    )
    assert client.stdout is not None
    held = client.stdout.readline().strip() or "no"
    time.sleep(1)
    added = place.memory() - idle
    client.communicate()
    return [
        Row("resident, idle", f"{idle / 1e6:.1f} MB", "", f"≤ {MEMORY_IDLE / 1e6:g} MB", idle <= MEMORY_IDLE),
        Row(
            f"added by {held} connections",
            f"{added / 1e6:.1f} MB",
            "",
            f"≤ {MEMORY_ADDED / 1e6:g} MB",
            added <= MEMORY_ADDED and held != "no",
        ),
    ]


def _times(ratio: float) -> str:
    return f"{ratio:.3f} ×" if ratio < 0.1 else f"{ratio:.2f} ×"


def _micro(seconds: float) -> str:
    return f"{seconds * 1e6:.0f} µs"


def _milli(seconds: float) -> str:
    return f"{seconds * 1e3:.2f} ms"


def _per_second(number: float) -> str:
    return f"{number:.0f} /s"


def _megabytes(number: float) -> str:
    return f"{number / 1e6:.0f} MB/s"
