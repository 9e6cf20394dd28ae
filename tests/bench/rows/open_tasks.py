"""10,000 open tasks, polled within the poll budget: memory, threads, processor time."""

import os
import subprocess
import sys
import time
import uuid
from pathlib import Path

from bench import clips, processes, table
from bench.journals import write_journal
from bench.provider import provide
from bench.tools import LIBRARIES, OURS, PEERS, Bay, Clipspool, until

TASKS = 10_000
PER_SECOND = 20.0
SECONDS = 30.0
SIZE = 250_000


def measure(kit):
    found = kit.compare({OURS: lambda _: ours(kit), "SDK script": lambda _: theirs(kit)}, usual=1)
    here, there = found[OURS], found["SDK script"]
    row, whose = f"{TASKS:,} open tasks", "SDK script"
    return [
        table.at_most(row, "peak memory", here["memory"], "MB", there["memory"], whose, 0.1),
        table.below(row, "peak memory", here["memory"], "MB", 150),
        table.below(row, "threads", here["threads"], "", 64, reference=there["threads"], whose=whose),
        table.Line(row, f"processor time in {SECONDS:g} s", here["cpu"], "s", there["cpu"], whose),
        table.Line(row, "polls a second", here["polls"], "", there["polls"], whose),
    ]


def watch(process, provider):
    """Let it poll for a while and say what that took."""
    before = provider.ledger()["polls"]
    with processes.Watcher(process.pid) as watcher:
        time.sleep(SECONDS)
    return {
        "memory": watcher.peak_bytes / 1e6,
        "threads": watcher.peak_threads,
        "cpu": watcher.cpu_seconds,
        "polls": (provider.ledger()["polls"] - before) / SECONDS,
    }


def ours(kit):
    result = clips.write_film(kit.home / "result.mp4", SIZE)
    bay = Bay(kit.folder())
    with provide(result, "--any-task") as provider:
        tool = Clipspool(bay, provider, running_max=TASKS)
        text = tool.config.read_text()
        tool.config.write_text(
            text.replace("polls_per_second_max = 10000", f"polls_per_second_max = {PER_SECOND}")
        )
        write_journal(bay, provider, running=TASKS)
        tool.start()
        try:
            until(lambda: provider.ledger()["polls"], 60, "the first poll")
            return watch(tool.process, provider)
        finally:
            tool.kill()


def theirs(kit):
    result = clips.write_film(kit.home / "result.mp4", SIZE)
    ids = Path(kit.home / "ids")
    ids.write_text("\n".join(str(uuid.uuid4()) for _ in range(TASKS)))
    with provide(result, "--any-task") as provider:
        process = subprocess.Popen(
            [
                *(sys.executable, str(PEERS / "sdk_follow.py"), str(ids), provider.origin),
                f"--pause={TASKS / PER_SECOND}",
            ],
            env={**os.environ, "PYTHONPATH": str(LIBRARIES)},
            stdout=subprocess.PIPE,
        )
        try:
            process.stdout.readline()
            return watch(process, provider)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
