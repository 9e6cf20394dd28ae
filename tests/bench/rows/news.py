"""Late news: how often a task is looked at, and how long after its end its file is there."""

from functools import partial
from statistics import mean, median

from bench import clips, processes, table
from bench.provider import provide
from bench.tools import OURS, Clipspool, SdkScript, run, until

COUNT = 48
AT_ONCE = 16
MODELS = (("late news, 12 s ± 5 %", 12.0, 0.05, 2), ("late news, 30 s ± 25 %", 30.0, 0.25, 1))
"""A model's render time in seconds, its spread, and how often it is measured.

Of the second the lengths vary by more than the 5 s between two looks: half of those is the least lateness
that any plan of looks has, and what can be saved is looks.
"""
SIZE = 250_000


def measure(kit):
    lines = []
    for row, seconds, spread, usual in MODELS:
        tools = {kind.name: partial(follow, kit, kind, seconds, spread) for kind in (Clipspool, SdkScript)}
        found = kit.compare(tools, row, usual=usual)
        ours, theirs = found[OURS], found[SdkScript.name]
        whose = "every 5 s"
        lines += [
            table.at_most(row, "polls a task", ours["polls"], "", theirs["polls"], whose, 1.0),
            table.at_most(row, "finished to file, mean", ours["late"], "s", theirs["late"], whose, 1.0),
        ]
    return lines


def follow(kit, kind, seconds, spread, repeat):
    """Drop clips one after another, a few at once, so that what was learned can serve those that follow."""
    result = clips.write_film(kit.home / "result.mp4", SIZE)
    options = ("--seconds", seconds, "--spread", spread, "--seed", repeat)
    with (
        provide(result, *options) as provider,
        run(kind, kit.folder(), provider) as tool,
    ):
        made = tool.bay.make(COUNT, SIZE)
        with processes.Watcher(tool.process.pid) as watcher:
            for number in range(COUNT):
                until(lambda: tool.bay.has_results(number - AT_ONCE + 1), 300, "room for another", pause=0.02)  # noqa: B023
                clips.drop([made[number]], tool.bay.inbox)
            until(lambda: tool.bay.has_results(COUNT), 300, "all results")
        creates, results = provider.creates(), tool.bay.results()
    late = [results[clips.number_of(one["prompt"])] - one["done_at"] for one in creates]
    polls = mean(one["polls"] for one in creates)
    return {"polls": polls, "late": mean(late), "late_p50": median(late), "cpu": watcher.cpu_seconds}
