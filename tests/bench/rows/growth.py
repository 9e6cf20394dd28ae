"""Cost as the journal grows: processor time a clip with 100 to 100,000 ended jobs in it."""

import os
from functools import partial

from bench import clips, processes, table
from bench.journals import write_journal
from bench.provider import provide
from bench.tools import OURS, Bay, Clipspool, until

ENDED = tuple(map(int, os.environ.get("BENCH_GROWTH", "100 1000 10000 100000").split()))
COUNT, WARM = 200, 20
SIZE = 250_000


def measure(kit):
    result = clips.write_film(kit.home / "result.mp4", SIZE)
    with provide(result, "--seconds", 1.0) as provider:
        bays = {f"{ended:,} ended": bay_with(kit, provider, ended) for ended in ENDED}
        kinds = {name: partial(race, bay, provider) for name, bay in bays.items()}
        figures = kit.compare(kinds, f"{COUNT} clips", usual=3)
    found = {name: one["cpu"] for name, one in figures.items()}
    lines = [
        table.Line("growth", f"processor time a clip, journal of {name} jobs", cpu, "ms")
        for name, cpu in found.items()
    ]
    most_by_least = max(found.values()) / min(found.values())
    return [*lines, table.below("growth", "most by least", most_by_least, "", 1.15)]


def bay_with(kit, provider, ended):
    """Return a bay whose journal has so many jobs that ended long ago."""
    bay = Bay(kit.folder())
    write_journal(bay, provider, delivered=ended)
    return bay


def race(bay, provider, repeat):
    """Let clips through; the first of them are not counted, they warm it up."""
    first = (WARM + COUNT) * (repeat - 1)
    tool = Clipspool(bay, provider, poll_seconds=1.0)
    tool.start()
    try:
        clips.drop(bay.make(WARM, SIZE, first=first), bay.inbox)
        until(lambda: bay.has_results(first + WARM), 60, "it is warm")
        made = bay.make(COUNT, SIZE, first=first + WARM)
        with processes.Watcher(tool.process.pid) as watcher:
            clips.drop(made, bay.inbox)
            until(lambda: bay.has_results(first + WARM + COUNT), 120, f"{OURS} brings all results", pause=0.2)
    finally:
        tool.kill()
    return {"cpu": watcher.cpu_seconds / COUNT * 1000, "memory": watcher.peak_bytes / 1e6}
