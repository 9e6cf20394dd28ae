"""Three nodes, 200 clips, the leader killed half-way: how long nothing goes on, and what it costs."""

import time

from bench import clips, table
from bench.farm import farm
from bench.provider import provide
from bench.tools import until

COUNT = 200
RENDER_SECONDS = 4.0
RUNNING_MAX = 20


def measure(kit):
    found = kit.compare({"farm": lambda repeat: race(kit, repeat)}, f"{COUNT} clips", usual=1)["farm"]
    row = f"three nodes, {COUNT} clips, kill -9 of the leader half-way"
    return [
        table.below(row, "death to the next leader", found["leads"], "s", 20),
        table.below(row, "death to the first result", found["first"], "s", 30),
        table.below(row, "created twice", found["twice"], "", 0),
        table.below(row, "lost", found["lost"], "", 0),
        table.Line(row, "in doubt", found["doubts"], ""),
        table.Line(row, "all results are there", found["seconds"], "s"),
    ]


def race(kit, repeat):
    result = clips.write_film(kit.home / "result.mp4", 250_000)
    with (
        provide(result, "--seconds", RENDER_SECONDS, "--seed", repeat) as provider,
        farm(kit, provider, 3, running_max=RUNNING_MAX, poll_seconds=0.5) as (bay, server, nodes),
    ):
        dropped = clips.drop(bay.make(COUNT, 250_000), bay.inbox)
        until(lambda: bay.has_results(COUNT // 2), 300, f"{COUNT // 2} results")
        leader, *others = nodes
        before = set(bay.results())
        leader.kill()
        died_at = time.time()
        until(lambda: any(one.events("started") for one in others), 60, "another node leads")
        leads = time.time() - died_at
        until(lambda: set(bay.results()) - before, 60, "a result after the death")
        first = time.time() - died_at

        def doubts():
            rows = server.query("bench", "SELECT count(*) AS count FROM jobs WHERE state = 'in_doubt'", ())
            return rows[0]["count"]

        until(lambda: bay.has_results(COUNT - doubts()), 300, "all other results")
        prompts = [one["prompt"] for one in provider.creates()]
        return {
            "leads": leads,
            "first": first,
            "seconds": max(bay.results().values()) - min(dropped.values()),
            "twice": len(prompts) - len(set(prompts)),
            "lost": COUNT - len(bay.results()) - doubts(),
            "doubts": doubts(),
        }
