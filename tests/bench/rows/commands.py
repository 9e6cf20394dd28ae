"""How long a command takes to answer, beside a Python that does nothing."""

import subprocess
import sys
import time
from statistics import median

from bench import clips, table
from bench.provider import provide
from bench.tools import OURS, Clipspool, run

CALLS = 10


def measure(kit):
    result = clips.write_film(kit.home / "result.mp4", 250_000)
    with (
        provide(result) as provider,
        run(Clipspool, kit.folder(), provider) as tool,
    ):
        nothing = [sys.executable, "-c", "pass"]
        command = [sys.executable, "-m", "clipspool", "--help"]
        found = kit.compare(
            {
                OURS: lambda _: {
                    "help": took(command, tool.env()),
                    "status": took(tool.arguments("status"), tool.env()),
                },
                "python3": lambda _: {"nothing": took(nothing, tool.env())},
            }
        )
    ours, python = found[OURS], found["python3"]["nothing"] * 1000
    lines = []
    for name, what, more in (("help", "`clipspool --help`", 30), ("status", "`clipspool status`", 100)):
        ms = ours[name] * 1000
        goal = f"at most {more} ms more"
        lines.append(
            table.Line("commands", what, ms, "ms", python, "python3 -c pass", goal, ms <= python + more)
        )
    return lines


def took(command, env):
    def once():
        begun = time.monotonic()
        subprocess.run(command, env=env, stdout=subprocess.DEVNULL, check=True)
        return time.monotonic() - begun

    once()
    return median(once() for _ in range(CALLS))
