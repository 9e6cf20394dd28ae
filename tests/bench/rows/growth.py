"""Cost as work grows: processor time a clip at 100, 1,000 and 10,000 clips."""

import os
from functools import partial

from bench import clips, processes, table
from bench.provider import provide
from bench.tools import OURS, Clipspool, run, until

COUNTS = tuple(map(int, os.environ.get("BENCH_GROWTH", "100 1000 10000").split()))
SIZE = 250_000
AT_ONCE = 100
MANY = 10_000
"""As many are measured once."""


def measure(kit):
    found = {
        count: kit.compare(
            {OURS: partial(race, kit, count)}, f"{count:,} clips", usual=1 if count >= MANY else 3
        )[OURS]["cpu"]
        for count in COUNTS
    }
    least = min(found.values())
    lines = [
        table.Line("growth", f"processor time a clip, {count:,} clips", cpu, "ms")
        for count, cpu in found.items()
    ]
    return [*lines, table.below("growth", "most by least", max(found.values()) / least, "", 1.15)]


def race(kit, count, _repeat):
    """Let clips through, so many at once at the provider; the first 20 are not counted, they warm it up."""
    result = clips.write_film(kit.home / "result.mp4", SIZE)
    with (
        provide(result, "--seconds", 1.0) as provider,
        run(Clipspool, kit.folder(), provider, running_max=AT_ONCE, poll_seconds=1.0) as tool,
    ):
        clips.drop(tool.bay.make(20, SIZE, first=count), tool.bay.inbox)
        until(lambda: tool.bay.has_results(20), 60, "it is warm")
        made = tool.bay.make(count, SIZE)
        with processes.Watcher(tool.process.pid) as watcher:
            clips.drop(made, tool.bay.inbox)
            until(lambda: tool.bay.has_results(count + 20), 120 + count / 5, "all results", pause=0.2)
    return {"cpu": watcher.cpu_seconds / count * 1000, "memory": watcher.peak_bytes / 1e6}
