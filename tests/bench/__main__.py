"""Runs rows of the bench, each contestant in turn and in the same minutes, and prints the table.

    make bench                         every row, each repeated as its length allows
    make bench BENCH="rescan start"    these rows
    BENCH_REPEATS=5 make bench         every measurement so often

The table is also written to `bench-results.md`, its plots beside it, and each single measurement to
`bench-results.jsonl`.
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

from bench import plots, table

ROWS = (
    *("clips", "at_once", "faults", "news", "first_clip", "open_tasks", "first_byte", "submission", "result"),
    *("conform", "rescan", "start", "idle", "commands", "growth", "postgres_clips"),
    *("farm_conform", "farm_idle", "farm_failover"),
)
RESULTS = Path("bench-results.md")
SINGLES = Path("bench-results.jsonl")


class Kit:
    """What a row is given: a folder of its own, and who keeps its measurements."""

    def __init__(self, home, row, repeats):
        self.home, self.row = home, row
        self.counts = set()
        """How often what was measured."""
        self._repeats = repeats
        self._folders = 0

    def folder(self):
        """Return the path of a folder that is not there yet."""
        self._folders += 1
        return self.home / f"{self.row}-{self._folders}"

    def compare(self, contestants, what="", usual=5):
        """Measure each contestant in turn, so many times, and give the medians by contestant.

        `usual` is how often unless BENCH_REPEATS says otherwise. `contestants` are functions by name; each
        is told the repeat and gives its figures by name.
        """
        told = {name: [] for name in contestants}
        count = self._repeats or usual
        self.counts.add(count)
        for repeat in range(1, count + 1):
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
    repeats = int(os.environ.get("BENCH_REPEATS", "0"))
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else each start compiles its modules
    lines, is_whole, counts = [], True, {}
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="clipspool-bench-", dir=os.environ.get("BENCH_DIR")) as home:
        for name in rows:
            print(f"{name}:", file=sys.stderr, flush=True)
            begun = time.monotonic()
            kit = Kit(Path(home), name, repeats)
            try:
                lines += importlib.import_module(f"bench.rows.{name}").measure(kit)
            except Exception:
                is_whole = False
                traceback.print_exc()
            counts[name] = " and ".join(map(str, sorted(kit.counts)))
            print(f"  took {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    when = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {(time.monotonic() - started) / 60:.0f} minutes"
    repeated = ", ".join(f"{name} {count}" for name, count in counts.items())
    text = f"`make bench`, {when}, {os.cpu_count()} cores; medians, repeats: {repeated}\n\n"
    text += f"{table.markdown(lines)}\n"
    RESULTS.write_text(text)
    plots.draw(text, Path())
    print(text)
    return 0 if is_whole else 1


if __name__ == "__main__":
    sys.exit(main())
