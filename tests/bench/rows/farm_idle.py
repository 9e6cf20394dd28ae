"""Farms that rest: what one node and ten cost their machines and the database."""

import os
import time
from functools import partial

from bench import clips, processes, table
from bench.farm import farm, transactions
from bench.provider import provide

SECONDS = float(os.environ.get("BENCH_IDLE_SECONDS", "40"))
REST_SECONDS = 10.0
COUNTS = (1, 2, 10)


def measure(kit):
    result = clips.write_film(kit.home / "result.mp4", 250_000)
    with provide(result) as provider:
        kinds = {f"{count} nodes": partial(rest, kit, provider, count) for count in COUNTS}
        found = kit.compare(kinds, "at rest", usual=1)
    row = f"a farm at rest for {SECONDS:g} s"
    ten, two, one = (found[f"{count} nodes"] for count in (10, 2, 1))
    return [
        table.below(row, "transactions a second of ten nodes", ten["transactions"], "", 15),
        table.below(
            row, "of a node that follows (two less one)", two["transactions"] - one["transactions"], "", 1
        ),
        table.below(row, "processor of a node that follows", ten["follower"] * 100, "% of a core", 0.5),
        table.below(row, "processor of the leader of ten", ten["leader"] * 100, "% of a core", 0.5),
        table.Line(row, "memory of a node that follows", ten["memory"], "MB"),
    ]


def rest(kit, provider, count, _repeat):
    with farm(kit, provider, count) as (_, server, nodes):
        time.sleep(REST_SECONDS)
        begun = [processes.cpu_seconds(node.process.pid) for node in nodes]
        asked = transactions(server)
        time.sleep(SECONDS)
        asked = transactions(server) - asked
        used = [
            processes.cpu_seconds(node.process.pid) - before
            for node, before in zip(nodes, begun, strict=True)
        ]
        followers = used[1:]
        return {
            "transactions": asked / SECONDS,
            "leader": used[0] / SECONDS,
            "follower": sum(followers) / max(len(followers), 1) / SECONDS,
            "memory": processes.memory_bytes(nodes[-1].process.pid) / 1e6,
        }
