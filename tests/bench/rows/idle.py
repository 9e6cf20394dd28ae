"""Idle: 10 inboxes with 10,000 archived files each, for BENCH_IDLE_SECONDS (3,600 for the table)."""

import os
import time

from bench import clips, processes, table
from bench.provider import provide
from bench.tools import OURS, Bay, Clipspool

INBOXES, ARCHIVED = 10, 10_000
SECONDS = float(os.environ.get("BENCH_IDLE_SECONDS", "120"))


def measure(kit):
    bay = Bay(kit.folder())
    result = clips.write_film(kit.home / "result.mp4", 250_000)
    inboxes = []
    for number in range(INBOXES):
        inbox, outbox = bay.home / f"inbox{number}", bay.home / f"outbox{number}"
        fill(inbox / "_done")
        fill(outbox)
        inboxes.append((f"bay{number}", inbox, outbox))
    with provide(result) as provider:
        tool = Clipspool(bay, provider, inboxes=inboxes)
        found = kit.compare({OURS: lambda _: rest(tool)}, usual=1)[OURS]
    row = f"idle for {SECONDS:g} s: {INBOXES} inboxes, {ARCHIVED:,} archived files each"
    is_flat = found["last"] <= found["first"] + 1
    return [
        table.below(row, "processor", found["share"] * 100, "% of a core", 0.05),
        table.Line(row, "memory", found["last"], "MB", found["first"], "in the beginning", "flat", is_flat),
    ]


def fill(folder):
    for number in range(ARCHIVED):
        below = folder / f"day{number // 1000}"
        if number % 1000 == 0:
            below.mkdir(parents=True)
        (below / f"clip{number:05}.mp4").write_bytes(b"a clip")


def rest(tool):
    tool.start()
    try:
        time.sleep(10)
        pid = tool.process.pid
        begun, first = processes.cpu_seconds(pid), processes.memory_bytes(pid, "Anonymous")
        time.sleep(SECONDS)
        used, last = processes.cpu_seconds(pid) - begun, processes.memory_bytes(pid, "Anonymous")
    finally:
        tool.kill()
    return {"share": used / SECONDS, "first": first / 1e6, "last": last / 1e6}
