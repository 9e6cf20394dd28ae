"""N clips dropped at once, N results: how long, how soon at the provider and home again, at what cost."""

import os
from functools import partial
from statistics import median, quantiles

from bench import clips, processes, table
from bench.provider import provide
from bench.tools import OURS, PEERS_OF_CLIPS, SETTLE_SECONDS, Bash, Clipspool, SdkScript, run, until

SIZES = {"0.25 MB": (250_000, "1 20 100 1000"), "3.5 MB": (3_500_000, "100")}
"""Bytes, and how many at once; BENCH_CLIPS="1 20 100 1000" drops so many of both."""
MANY = 1000
"""As many are not measured with bash: its processes for each step of each clip take four times as long."""
RESULT_BYTES = 250_000
RENDER_SECONDS = 12.0


def measure(kit):
    lines = []
    for size_name, (size, counts) in SIZES.items():
        for count in map(int, os.environ.get("BENCH_CLIPS", counts).split()):
            what = f"{count} of {size_name}"
            kinds = (kind for kind in (Clipspool, *PEERS_OF_CLIPS) if count < MANY or kind is not Bash)
            contestants = {kind.name: partial(race, kit, kind, count, size) for kind in kinds}
            found = kit.compare(contestants, what, usual=2)
            lines += judge(what, found)
    return lines


def race(kit, kind, count, size, repeat):
    """Drop clips and wait for all results; give the figures of one contestant.

    Renders take a tenth more or less, the same for each contestant of a repeat: whose looks happen to fall
    right after 12 s is luck.
    """
    home = kit.folder()
    result = clips.write_film(kit.home / "result.mp4", RESULT_BYTES)
    with (
        provide(result, "--seconds", RENDER_SECONDS, "--spread", 0.1, "--seed", repeat) as provider,
        run(kind, home, provider) as tool,
    ):
        made = tool.bay.make(count, size)
        with processes.Watcher(tool.process.pid) as watcher:
            dropped = clips.drop(made, tool.bay.inbox)
            until(lambda: tool.bay.has_results(count), 60 + count, f"{tool.name} brings {count} results")
        creates = provider.creates()
        results = tool.bay.results()
    begun = {clips.number_of(one["prompt"]): one["begun_at"] for one in creates}
    done = {clips.number_of(one["prompt"]): one["done_at"] for one in creates}
    # For so long all of them wait by order; never below a millisecond, which is as exact as it gets.
    posts = [max(begun[number] - at - SETTLE_SECONDS, 0.001) for number, at in dropped.items()]
    home_after = [results[number] - at for number, at in done.items()]
    return {
        "wall": max(results.values()) - min(dropped.values()),
        "post_p50": median(posts),
        "post_p99": quantiles(posts, n=100)[98] if count > 1 else posts[0],
        "home_p50": median(home_after),
        "polls": sum(one["polls"] for one in creates) / count,
        "cpu": watcher.cpu_seconds,
        "memory": watcher.peak_bytes / 1e6,
    }


def judge(row, found):
    ours = found.pop(OURS)

    def best(figure):
        # Processor time is compared with a program of the same language; which is quickest is another matter.
        whose = SdkScript.name if figure == "cpu" else min(found, key=lambda name: found[name][figure])
        return found[whose][figure], whose

    goals = [
        ("wall", "all results are there", "s", 1.02),
        ("post_p50", "drop to POST less the settle time, p50", "s", 1.0),
        ("post_p99", "drop to POST less the settle time, p99", "s", 1.0),
        ("cpu", "processor time", "s", 1.0),
        ("memory", "peak memory", "MB", 1.0),
    ]
    lines = [
        table.at_most(row, what, ours[name], unit, *best(name), ratio) for name, what, unit, ratio in goals
    ]
    lines.insert(3, table.Line(row, "finished to file, p50", ours["home_p50"], "s", *best("home_p50")))
    lines.insert(4, table.Line(row, "polls a task", ours["polls"], "", *best("polls")))
    return lines
