"""What the injecting proxy adds to a request, beside the same client going straight to the same upstream."""

import json
import statistics
import subprocess
import sys

from bench.place import HOST, Place, authsome
from bench.report import Row


def measure(place: Place, rounds: int) -> list[Row]:
    """Rows for latency and throughput; direct and proxied rounds take turns."""
    client = [sys.executable, "-m", "bench.load", HOST]
    direct: list[dict[str, float]] = []
    proxied: list[dict[str, float]] = []
    for _ in range(rounds):
        direct.append(_load(place, [*client, place.upstream], {"SSL_CERT_FILE": str(place.ca_file)}))
        proxied.append(_load(place, [*authsome(), "run", "--", *client], {}))

    def median(found: list[dict[str, float]], what: str) -> float:
        return statistics.median(round_[what] for round_ in found)

    rows = [Row(f"direct, {what}", f"{median(direct, what) * 1e6:.0f} µs", "1.0 ×") for what in ("p50", "p99")]
    for what in ("p50", "p99"):
        ours, bare = median(proxied, what), median(direct, what)
        rows.append(Row(f"through the proxy, {what}", f"{ours * 1e6:.0f} µs", f"{ours / bare:.1f} ×"))
        rows.append(Row(f"added by the proxy, {what}", f"{(ours - bare) * 1e6:.0f} µs", ""))
    rows.append(Row("direct, 32 connections", f"{median(direct, 'rate'):.0f} /s", "1.00 ×"))
    ours, bare = median(proxied, "rate"), median(direct, "rate")
    rows.append(Row("through the proxy, 32 connections", f"{ours:.0f} /s", f"{ours / bare:.2f} ×"))
    return rows


def _load(place: Place, command: list[str], extra: dict[str, str]) -> dict[str, float]:
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, env=place.environment | extra, timeout=120, check=True
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found
