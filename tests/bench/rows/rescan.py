"""Rescan of settled files, against `find -newer` and watchdog's PollingObserver."""

import os
import shutil
import subprocess
import sys
from functools import partial

from bench import table
from bench.tools import LIBRARIES, OURS

COUNTS = (1_000, 10_000, 100_000)
PER_FOLDER = 1_000

RESCAN = """
import sys, time
from pathlib import Path
from clipspool.intake.types import Rules
from clipspool.intake.tree import Tree
from clipspool.spool.root import Root

root = Root(Path(sys.argv[1]))
root.bind()
rules = Rules(
    name="bay", extensions=frozenset({".mp4"}), ignore=(), sidecar_required=True, settle_seconds=0.2,
    rescan_seconds=30.0, detect="rescan", priority=0, hold_seconds=0.0, layers={}, journal="bench",
)
tree = Tree(root, rules, lambda below, new: None)
tree.walk(time.monotonic())
time.sleep(0.3)
tree.check_unsettled(time.monotonic())
tree.walk(time.monotonic())
tree.affected.clear()
begun = time.process_time(), time.monotonic()
tree.walk(time.monotonic())
print(time.process_time() - begun[0], time.monotonic() - begun[1], len(tree.affected))
"""
POLLING = """
import sys, time
from watchdog.utils.dirsnapshot import DirectorySnapshot, DirectorySnapshotDiff

before = DirectorySnapshot(sys.argv[1])
begun = time.process_time(), time.monotonic()
now = DirectorySnapshot(sys.argv[1])
DirectorySnapshotDiff(before, now)
print(time.process_time() - begun[0], time.monotonic() - begun[1], 0)
"""


def measure(kit):
    lines = []
    for count in COUNTS:
        folder = kit.folder()
        fill(folder, count)
        found = kit.compare(
            {
                OURS: partial(walk, RESCAN, folder),
                "find -newer": partial(find, folder),
                "PollingObserver": partial(walk, POLLING, folder),
            },
            f"{count:,} files",
        )
        shutil.rmtree(folder)
        row = f"rescan of {count:,} files"
        ours = found[OURS]["wall"] * 1000
        for whose, ratio in (("find -newer", 1.3), ("PollingObserver", 0.1)):
            lines.append(
                table.at_most(row, "one pass", ours, "ms", found[whose]["wall"] * 1000, whose, ratio)
            )
    return lines


def fill(folder, count):
    for number in range(count):
        below = folder / f"day{number // PER_FOLDER:03}"
        if number % PER_FOLDER == 0:
            below.mkdir(parents=True)
        (below / f"clip{number:06}.mp4").write_bytes(b"a clip")
    (folder / "stamp").write_bytes(b"")


def walk(script, folder, _repeat):
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder)],
        env={**os.environ, "PYTHONPATH": str(LIBRARIES) if script is POLLING else ""},
        capture_output=True,
        text=True,
        check=True,
    )
    cpu, wall, changed = map(float, done.stdout.split())
    if changed:
        raise ValueError(f"{changed:g} files changed while nobody touched them")
    return {"wall": wall, "cpu": cpu}


def find(folder, _repeat):
    script = (
        "import resource, subprocess, sys, time; begun = time.monotonic(); subprocess.run(sys.argv[1:]); "
    )
    script += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime, time.monotonic() - begun)"
    command = ["find", str(folder), "-newer", str(folder / "stamp")]
    done = subprocess.run(
        [sys.executable, "-c", script, *command], capture_output=True, text=True, check=True
    )
    cpu, wall = map(float, done.stdout.splitlines()[-1].split())
    return {"wall": wall, "cpu": cpu}
