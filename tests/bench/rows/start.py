"""Start with 100,000 ended and 1,000 open jobs: how soon the open ones are followed."""

import shutil
import time
from functools import partial

from bench import clips, processes, table
from bench.journals import write_journal
from bench.provider import provide
from bench.tools import OURS, Bay, Clipspool, until

ENDED, OPEN = 100_000, 1_000


def measure(kit):
    bay = Bay(kit.folder())
    result = clips.write_film(kit.home / "result.mp4", 250_000)
    with provide(result, "--any-task") as provider:
        tool = Clipspool(bay, provider)
        write_journal(bay, provider, running=OPEN, delivered=ENDED)
        kept = bay.home / "kept"
        shutil.copytree(bay.home / "state", kept)
        found = kit.compare({OURS: partial(start, tool, provider, kept)})[OURS]
    row = f"start with {ENDED:,} ended and {OPEN:,} open jobs"
    return [
        table.below(row, "start to the first look", found["first"], "s", 1.0),
        table.Line(row, "start to a look at each", found["all"], "s"),
        table.Line(row, "peak memory", found["memory"], "MB"),
    ]


def start(tool, provider, kept, _repeat):
    state = tool.bay.home / "state"
    shutil.rmtree(state)
    shutil.copytree(kept, state)
    before = provider.ledger()["polls"]
    begun = time.monotonic()
    tool.start()
    try:
        with processes.Watcher(tool.process.pid) as watcher:
            until(lambda: provider.ledger()["polls"] > before, 60, "the first look", pause=0.01)
            first = time.monotonic() - begun
            until(lambda: provider.ledger()["polls"] >= before + OPEN, 120, "a look at each", pause=0.02)
            whole = time.monotonic() - begun
    finally:
        tool.kill()
    return {"first": first, "all": whole, "memory": watcher.peak_bytes / 1e6}
