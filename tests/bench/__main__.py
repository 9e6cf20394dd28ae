"""Runs rows of the bench, each contestant in turn and in the same minutes, and prints the table.

    make bench                         every row, five repeats
    make bench BENCH="rescan help"     these rows
    BENCH_REPEATS=1 make bench         a quick pass

The table is also written to `bench-results.md`, and each single measurement to `bench-results.jsonl`.
"""

import argparse
import importlib
import json
import os
import sys
import tempfile
import time
import traceback
from datetime import UTC, datetime
from pathlib import Path

from bench import table

ROWS = (
    *("clips", "faults", "news", "open_tasks", "first_byte", "submission", "result"),
    *("rescan", "start", "idle", "commands", "growth"),
)
RESULTS = Path("bench-results.md")
SINGLES = Path("bench-results.jsonl")


class Kit:
    """What a row is given: a folder of its own, and who keeps its measurements."""

    def __init__(self, home, row, repeats):
        self.home, self.row, self.repeats = home, row, repeats
        self._folders = 0

    def folder(self):
        """Give the path of a folder that is not there yet."""
        self._folders += 1
        return self.home / f"{self.row}-{self._folders}"

    def compare(self, contestants, what="", repeats=None):
        """Measure each contestant in turn, so many times, and give the medians by contestant.

        `contestants` are functions by name; each is told the repeat and gives its figures by name.
        """
        told = {name: [] for name in contestants}
        for repeat in range(1, (repeats or self.repeats) + 1):
            for name, measure in contestants.items():
                load = os.getloadavg()[0]
                begun = time.monotonic()
                figures = measure(repeat)
                told[name].append(figures)
                single = {
                    "row": self.row,
                    "what": what,
                    "who": name,
                    "repeat": repeat,
                    "load": round(load, 2),
                    "took": round(time.monotonic() - begun, 1),
                    **{figure: round(value, 6) for figure, value in figures.items()},
                }
                with SINGLES.open("a") as file:
                    print(json.dumps(single), file=file)
                said = "  ".join(f"{figure}={table.figure(value)}" for figure, value in figures.items())
                print(
                    f"  {what:14} {name:12} {repeat}  load {load:4.1f}  {said}", file=sys.stderr, flush=True
                )
        return {name: table.medians(repeated) for name, repeated in told.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("rows", nargs="*", help=f"of: {' '.join(ROWS)}")
    rows = parser.parse_args().rows or ROWS
    if unknown := set(rows) - set(ROWS):
        parser.error(f"unknown rows: {', '.join(sorted(unknown))}; there are {', '.join(ROWS)}")
    repeats = int(os.environ.get("BENCH_REPEATS", "5"))
    lines, is_whole = [], True
    with tempfile.TemporaryDirectory(prefix="clipspool-bench-", dir=os.environ.get("BENCH_DIR")) as home:
        for name in rows:
            print(f"{name}:", file=sys.stderr, flush=True)
            begun = time.monotonic()
            try:
                lines += importlib.import_module(f"bench.rows.{name}").measure(Kit(Path(home), name, repeats))
            except Exception:
                is_whole = False
                traceback.print_exc()
            print(f"  took {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    when = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {os.cpu_count()} cores, {repeats} repeats, medians"
    text = f"`make bench`, {when}\n\n{table.markdown(lines)}\n"
    RESULTS.write_text(text)
    print(text)
    return 0 if is_whole else 1


if __name__ == "__main__":
    sys.exit(main())
