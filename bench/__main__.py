"""The entry: builds a place, measures, prints. The result is a report, not a test: it exits 0."""

import argparse
import os
import platform
import signal
import sys

from bench import commands, proxying
from bench.place import Place
from bench.report import table

PARTS = ("commands", "proxy", "rivals")


def main() -> None:
    """Runs what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "part",
        nargs="*",
        default=["commands", "rivals"],
        help="commands; proxy (beside a direct connection) or rivals (the same, beside squid and mitmproxy too)",
    )
    parser.add_argument("--rounds", type=int, default=15, help="rounds of each command (at least 15 to compare)")
    parser.add_argument("--proxy-rounds", type=int, default=5, help="rounds of the proxy (at least 5 to compare)")
    asked = parser.parse_args()
    for part in asked.part:
        if part not in PARTS:
            parser.error(f"there is no part {part!r}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # whatever was started is taken down again
    print(f"python {platform.python_version()}, {platform.system()} {platform.machine()}, {os.cpu_count()} cores,")
    print(f"load when it began: {os.getloadavg()[0]:.1f} (above 1 the figures are those of a busy machine)\n")
    with Place() as place:
        if "commands" in asked.part:
            rows = commands.measure(place, asked.rounds)
            print(table("Command line, warm daemon; ratio to a bare interpreter's start", rows), flush=True)
        if "proxy" in asked.part or "rivals" in asked.part:
            tables, notes = proxying.measure(place, asked.proxy_rounds, beside_rivals="rivals" in asked.part)
            for title, rows in tables:
                if rows:
                    print(table(title, rows))
            for note in notes:
                print(f"- {note}")


if __name__ == "__main__":
    main()
