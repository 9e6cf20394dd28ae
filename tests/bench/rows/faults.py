"""The fault round: creates cut off once accepted, kill -9, downloads cut; who loses clips, or pays twice."""

import time
from collections import Counter
from functools import partial

from bench import clips, table
from bench.provider import provide
from bench.tools import OURS, PEERS_OF_CLIPS, Clipspool, TooLateError, run, until

COUNT = 100
SIZE = 250_000
RENDER_SECONDS = 12.0
HALF_SECONDS = 18.0
"""By then those of the first half that got through are home, also by looks every 5 s."""
QUIET_SECONDS = 25.0
"""Without a result for so long, a contestant brings no more."""


def measure(kit):
    tools = {kind.name: kind for kind in (Clipspool, *PEERS_OF_CLIPS)}
    contestants = {name: partial(suffer, kit, kind) for name, kind in tools.items()}
    found = kit.compare(contestants, usual=1)
    ours = found.pop(OURS)
    lines = [
        table.below("fault round", "clips lost of 100", ours["lost"], "", 0, note=_told(found, "lost")),
        table.below("fault round", "tasks created twice", ours["twice"], "", 0, note=_told(found, "twice")),
    ]
    in_doubt = table.Line("fault round", "in doubt, and attached by the operator", ours["in_doubt"], "")
    return [*lines, in_doubt]


def _told(found, figure):
    return ", ".join(f"{name} {figures[figure]:g}" for name, figures in found.items())


def suffer(kit, kind, _repeat):
    """Drop half of the clips, once they are home the rest; kill -9 with those on their way; start again."""
    home = kit.folder()
    result = clips.write_film(kit.home / "result.mp4", SIZE)
    faults = ("--drops-creates", "--cuts-downloads")
    with (
        provide(result, "--seconds", RENDER_SECONDS, *faults) as provider,
        run(kind, home, provider) as tool,
    ):
        made = tool.bay.make(COUNT, SIZE)
        clips.drop(made[: COUNT // 2], tool.bay.inbox)
        time.sleep(HALF_SECONDS)
        clips.drop(made[COUNT // 2 :], tool.bay.inbox)
        until(lambda: len(provider.creates()) > COUNT * 0.75, 60, f"{tool.name} is half-way")
        tool.kill()
        tool.start()
        in_doubt = 0
        _let_rest(tool)
        if kind is Clipspool:
            in_doubt = _attach(tool, provider)
            _let_rest(tool)
        paid = Counter(one["prompt"] for one in provider.creates())
        lost = COUNT - len(tool.bay.results())
    return {"lost": lost, "twice": sum(count > 1 for count in paid.values()), "in_doubt": in_doubt}


def _let_rest(tool):
    """Wait until all results are there, or none has come for a while."""
    have = -1
    while len(tool.bay.results()) not in {COUNT, have}:
        have = len(tool.bay.results())
        try:
            until(lambda: len(tool.bay.results()) > have, QUIET_SECONDS, "another result", pause=0.5)  # noqa: B023
        except TooLateError:
            return


def _attach(tool, provider):
    """Do what the operator does for jobs in doubt: look the task up at the provider, and attach or retry."""
    tasks = {one["prompt"]: one["task"] for one in provider.creates()}
    jobs = tool.told("jobs", "--state", "in_doubt")
    for job in jobs:
        task = tasks.get(job["request"]["prompt"])
        if task is None:
            tool.call("retry", job["id"], "--yes")
        else:
            tool.call("attach", job["id"], task, "--yes")
    return len(jobs)
