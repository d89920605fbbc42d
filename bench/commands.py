"""What the command line costs with a warm daemon, as multiples of a bare interpreter's start."""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable

from bench.place import PROVIDER, Place, authsome
from bench.report import Row

COLD_STARTS = 5
COLD_START_LIMIT = 1.2

# What the start of a command may cost, in starts of a bare interpreter (the README's promise in numbers).
MEASURED: tuple[tuple[str, list[str], float], ...] = (
    ("get … --field status", ["get", PROVIDER, "--field", "status"], 4),
    ("export", ["export", PROVIDER, "--format", "env"], 4),
    ("run -- true", ["run", "--", "true"], 6),
    ("list", ["list"], 8),
    ("whoami", ["whoami"], 8),
    ("--help", ["--help"], 8),
)
RUN_LIMIT = 4


def measure(place: Place, rounds: int) -> list[Row]:
    """One row per command. Every round times every command once, so that a slow moment falls on all of them."""
    bare, true = [sys.executable, "-c", "pass"], ["true"]
    commands = {"python -c pass": bare, "true": true}
    commands |= {name: [*authsome(), *arguments] for name, arguments, _ in MEASURED}
    for command in commands.values():
        _time(place, command)
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            times[name].append(_time(place, command))
    medians = {name: statistics.median(taken) for name, taken in times.items()}
    start = medians["python -c pass"]

    def row(what: str, seconds: float, limit: float | None) -> Row:
        ratio = seconds / start
        return Row(
            what,
            f"{seconds * 1000:.1f} ms",
            f"{ratio:.1f} ×",
            f"≤ {limit:g} ×" if limit else "",
            ratio <= limit if limit else None,
        )

    rows = [row("python -c pass", start, None)]
    rows += [row(f"authsome {name}", medians[name], limit) for name, _, limit in MEASURED]
    rows.insert(3, row("authsome run, until the command starts", medians["run -- true"] - medians["true"], RUN_LIMIT))
    return [*rows, _cold_start(place, start)]


def _cold_start(place: Place, start: float) -> Row:
    """From no daemon to its first answer, the command line included."""
    taken = []
    for _ in range(COLD_STARTS):
        place.call("daemon", "stop")
        taken.append(_time(place, [*authsome(), "whoami"]))
    seconds = statistics.median(taken)
    return Row(
        "daemon, cold start to first answer",
        f"{seconds * 1000:.0f} ms",
        f"{seconds / start:.1f} ×",
        f"≤ {COLD_START_LIMIT:g} s",
        seconds <= COLD_START_LIMIT,
    )


def _time(place: Place, command: list[str], clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds from spawning a command to its end. Raises CalledProcessError if it fails."""
    begun = clock()
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=place.environment,
        cwd=place.directory,
        check=False,
    )
    taken = clock() - begun
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, command, stderr=done.stderr)
    return taken
