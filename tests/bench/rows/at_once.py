"""500 clips at once, and a provider that answers and renders at once: clips a second, all of it ours."""

from functools import partial

from bench import clips, processes, table
from bench.provider import provide
from bench.tools import OURS, Clipspool, run, until

COUNT = 500
SIZE = 250_000
GOAL = 120.0


def measure(kit):
    found = kit.compare({OURS: partial(race, kit)}, f"{COUNT} clips", usual=3)[OURS]
    row = f"{COUNT} clips, provider that answers at once"
    return [
        table.Line(
            row, "clips a second", found["rate"], "", goal=f"≥ {GOAL:g}", is_met=found["rate"] >= GOAL
        ),
        table.Line(row, "processor time a clip", found["cpu"] / COUNT * 1000, "ms"),
        table.Line(row, "peak memory", found["memory"], "MB"),
    ]


def race(kit, _repeat):
    """Drop all clips at once and wait for their results; the decoder starts within that time."""
    result = clips.write_film(kit.home / "result.mp4", SIZE)
    with (
        provide(result, "--seconds", 0.0) as provider,
        run(Clipspool, kit.folder(), provider, poll_seconds=0.1) as tool,
    ):
        made = tool.bay.make(COUNT, SIZE)
        with processes.Watcher(tool.process.pid) as watcher:
            dropped = clips.drop(made, tool.bay.inbox)
            until(lambda: tool.bay.has_results(COUNT), 60 + COUNT, f"{COUNT} results")
        results = tool.bay.results()
    wall = max(results.values()) - min(dropped.values())
    return {"rate": COUNT / wall, "cpu": watcher.cpu_seconds, "memory": watcher.peak_bytes / 1e6}
