"""`python -m bench.soak`: a daemon under mixed traffic for minutes, with a token that is refreshed every few seconds.

Prints a report, and exits with 1 where something was lost, doubled, leaked or complained about.
"""

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from bench.place import Home, authsome
from bench.report import Row, table
from bench.soak_client import LEFT, RIGHT, SHORT, WRONG
from bench.soak_plan import HOST, KINDS, LIFETIME, PROVIDER, VARIABLE, Due, Kind

LANES = 4
MARGIN = 0.1  # of a token's lifetime: authsome refreshes so much earlier
GROWTH = 8  # MiB
IDLE = 75.0  # more than authsome keeps an idle upstream connection
REFUSED_STATUS = "502"
FINE = "as it has to be"
REPEATED = "repeated once, after a reset before the answer"
REFUSED = "POST refused on a connection that the upstream was closing"
INVENTED = "answered with 200, not seen by the upstream"
DOUBLED = "seen twice without a reset, or more often"
DAMAGED = "with the answer of another request, or a damaged one"
HEALED = "broken answers that looked whole"
UNCAUSED = "ended in another way than the upstream caused"
FAULTS = (INVENTED, DOUBLED, DAMAGED, HEALED, UNCAUSED)
PERSON = f"{sys.executable} -P -m authsome.demo.person %s"


class Soaked(Home):
    """A home with one OAuth connection, and its servers."""

    def build(self) -> None:
        """As `Home.build`."""
        super().build()
        self._server = self.serve("bench.soak_server", str(self.servers))
        told = self._hear()
        issuer = told["issuer"]
        self.resolve({HOST: told["api"]})
        self.provide(
            {
                "name": PROVIDER,
                "display_name": "Soak",
                "auth_type": "oauth2",
                "flow": "dcr_pkce",
                "api_url": HOST,
                "oauth": {
                    "issuer": issuer,
                    "authorization_url": f"{issuer}/authorize",
                    "token_url": f"{issuer}/token",
                    "registration_endpoint": f"{issuer}/register",
                    "scopes": ["profile"],
                    "pkce": True,
                    "supports_dcr": True,
                },
                "export": {"env": {"access_token": VARIABLE}},
            }
        )
        self.call("login", PROVIDER, more={"BROWSER": PERSON})

    def ask(self, what: str) -> dict[str, Any]:
        """What the server has seen so far (see its head)."""
        assert self._server.stdin is not None
        print(what, file=self._server.stdin, flush=True)
        return self._hear()

    def descriptors(self) -> int | None:
        """How many files and sockets the daemon has open. It hides them from all but root."""
        try:
            return len(os.listdir(self.daemon() / "fd"))
        except PermissionError:
            return None

    def complaints(self) -> Counter[str]:
        """What the daemon's log says that is more than information, by its text less the time."""
        log = self.home / "logs" / "daemon.log"
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        return Counter(_untimed(line) for line in lines if " INFO " not in line and line.strip())

    def _hear(self) -> dict[str, Any]:
        assert self._server.stdout is not None
        told: dict[str, Any] = json.loads(self._server.stdout.readline())
        return told


@dataclass(slots=True)
class Lane:
    """One client after the other, each a run of its own that lives for some seconds; what they tell."""

    place: Soaked
    number: int
    rate: float
    ends: float
    kinds: str
    outcomes: list[tuple[str, str, str, bool, str]] = field(default_factory=list)
    failed: int = 0
    runs: int = 0

    def run(self) -> None:
        """Goes on until it is time to end."""
        chance = random.Random(self.number)
        while (left := self.ends - time.monotonic()) > 1:
            self.runs += 1
            name = f"{'abcdefghij'[self.number]}{self.runs}"
            file = self.place.directory / f"{name}.json"
            command = [*authsome(), "run", "--", sys.executable, "-m", "bench.soak_client"]
            command += [str(self.rate), str(min(chance.uniform(10, 40), left)), name, str(file), self.kinds]
            done = subprocess.run(command, env=self.place.environment, check=False)
            self.failed += done.returncode != 0
            if file.exists():
                self.outcomes += json.loads(file.read_text())
                file.unlink()


def soak(minutes: float, rate: float, kinds: str) -> bool:
    """Whether all was well."""
    with Soaked() as place:
        place.call("run", "--", "true")
        daemon, descriptors = place.daemon(), place.descriptors()
        began, seconds = time.monotonic(), minutes * 60
        lanes = [Lane(place, number, rate / LANES, began + seconds, kinds) for number in range(LANES)]
        threads = [threading.Thread(target=lane.run) for lane in lanes]
        for thread in threads:
            thread.start()
        memory: list[int] = []
        try:
            while any(thread.is_alive() for thread in threads):
                memory.append(place.memory())
                time.sleep(1)
                if len(memory) % 30 == 0:
                    print(f"  {len(memory)} s, {memory[-1] / 2**20:.0f} MiB", file=sys.stderr, flush=True)
        finally:
            for lane in lanes:
                lane.ends = began
        took = time.monotonic() - began
        left, after, waited = _settle(place, descriptors)
        rows = [*_rows(place.ask("all"), lanes, took), *_growth(memory, int(min(60, seconds / 2)))]
        rows.append(_row(f"upstream connections left {waited:.0f} s after", left, 0))
        if descriptors is not None and after is not None:
            rows.append(_row("file descriptors then", after, descriptors))
        rows.append(_row("ends of the daemon", int(place.daemon() != daemon), 0))
        complaints = place.complaints()
        rows.append(_row("log: lines that are no information", sum(complaints.values()), 0))
    title = f"{minutes:g} minutes at {rate:g} requests a second, {sum(lane.runs for lane in lanes)} runs"
    print(table(title, rows, measured="found", target="allowed"))
    for line, count in complaints.most_common(20):
        print(f"- {count} × {line}")
    return all(row.holds is not False for row in rows)


def _rows(seen: dict[str, Any], lanes: list[Lane], took: float) -> list[Row]:
    """What became of the requests and of the tokens."""
    times: dict[str, int] = seen["requests"]
    outcomes = [outcome for lane in lanes for outcome in lane.outcomes]
    by_kind: dict[str, Counter[str]] = {}
    judged: Counter[str] = Counter()
    for identity, kind, outcome, fresh, refusal in outcomes:
        by_kind.setdefault(kind, Counter())[outcome] += 1
        count = times.get(identity, 0)
        verdict = _judge(KINDS[kind], outcome, count)
        judged[verdict] += 1
        if verdict in FAULTS and judged[verdict] <= 10:
            where = "new" if fresh else "kept-alive"
            print(f"  {identity}: {kind}, seen {count} ×, {outcome}, {where} connection: {verdict} {refusal}")
    for kind, found in sorted(by_kind.items()):
        print(f"  {kind:14} {', '.join(f'{count} × {what}' for what, count in found.most_common())}")
    print()
    least, most = took / LIFETIME * 0.85, took / (LIFETIME * (1 - MARGIN)) + 2
    refreshes = seen["refreshes"]
    return [
        Row("requests", str(len(outcomes)), ""),
        Row("requests a second", f"{len(outcomes) / took:.0f}", ""),
        Row("on new connections", str(sum(fresh for *_, fresh, _ in outcomes)), ""),
        *(Row(verdict, str(judged[verdict]), "") for verdict in (REPEATED, REFUSED)),
        *(_row(verdict, judged[verdict], 0) for verdict in FAULTS),
        _row("clients that failed", sum(lane.failed for lane in lanes), 0),
        _row("requests with a token that is not valid", len(seen["bad_tokens"]), 0),
        Row("refreshes", str(refreshes), "", f"{least:.0f} to {most:.0f}", least <= refreshes <= most),
        _row("refresh tokens sent twice", seen["doubled"], 0),
    ]


def _judge(kind: Kind, outcome: str, count: int) -> str:
    """What is to be said of a request that the upstream saw `count` times."""
    idempotent = kind.method == "GET"
    was_reset = idempotent and kind.due in (Due.RESET, Due.EITHER)
    if outcome == RIGHT and count == 0:
        return INVENTED
    if count > (2 if was_reset else 1):
        return DOUBLED
    if outcome == WRONG:
        return DAMAGED
    if kind.due is Due.BROKEN and outcome == RIGHT:
        return HEALED
    # a connection that the upstream is just closing may swallow what cannot be sent twice
    if kind.due is Due.ANSWERED and not idempotent and count == 0 and outcome == REFUSED_STATUS:
        return REFUSED
    wanted = {
        Due.ANSWERED: RIGHT,
        Due.RESET: REFUSED_STATUS,
        Due.EITHER: RIGHT if count == 2 else REFUSED_STATUS,
        Due.BROKEN: SHORT,
        Due.LEFT: LEFT,
    }
    if outcome != wanted[kind.due]:
        return UNCAUSED
    return REPEATED if was_reset and count == 2 else FINE


def _growth(memory: list[int], early: int) -> list[Row]:
    """Ten seconds early on beside the last ten."""
    before, late = (statistics.median(part) / 2**20 for part in (memory[early : early + 10], memory[-12:-2]))
    return [
        Row(f"resident after {early} s", f"{before:.1f} MiB", ""),
        Row("resident at the end", f"{late:.1f} MiB", ""),
        Row("growth", f"{late - before:.1f} MiB", "", f"≤ {GROWTH} MiB", late - before <= GROWTH),
    ]


def _settle(place: Soaked, descriptors: int | None) -> tuple[int, int | None, float]:
    """The upstream connections and the descriptors that are left when the idle ones are closed, and when that was."""
    began = time.monotonic()
    while True:
        left, now, waited = place.ask("open")["open"], place.descriptors(), time.monotonic() - began
        if waited > IDLE or (left == 0 and (now or 0) <= (descriptors or 0)):
            return left, now, waited
        time.sleep(1)


def _row(what: str, found: int, most: int) -> Row:
    return Row(what, str(found), "", f"≤ {most}" if most else "0", found <= most)


def _untimed(line: str) -> str:
    return line[24:] if line[:4].isdigit() else line


def main() -> None:
    """Soaks as asked."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--rate", type=float, default=200, help="requests a second in all")
    parser.add_argument("--kinds", default=",".join(KINDS), help="the kinds of requests, all by default")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # whatever was started is taken down again
    sys.exit(0 if soak(asked.minutes, asked.rate, asked.kinds) else 1)


if __name__ == "__main__":
    main()
