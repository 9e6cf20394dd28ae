"""The first clip of a model that was never used: how often its task is looked at, how soon its file is there.

Each clip is of a model of its own, so that no clip learns from another.
"""

from functools import partial
from statistics import mean

from bench import clips, table
from bench.provider import provide
from bench.tools import OURS, POLL_SECONDS, Clipspool, SdkScript, run, until

COUNT = 40
SECONDS = (5.0, 60.0)
SIZE = 250_000
PROVIDERS = (("progress told", ("--tells-progress",)), ("no progress told", ()))
MODEL = '[models.new{}]\nendpoint = "video_to_video"\nsource_field = "videoUri"\ncredits_per_second = 1.0\n'


def measure(kit):
    lines = []
    for name, options in PROVIDERS:
        row = "first clip of a model, 5 to 60 s, " + name
        tools = {kind.name: partial(follow, kit, kind, options) for kind in (Clipspool, SdkScript)}
        found = kit.compare(tools, row, usual=1)
        ours, theirs = found[OURS], found[SdkScript.name]
        polls, late = "polls a task", "finished to file, mean"
        lines += [
            table.below(row, polls, ours["polls"], "", 4.0, reference=theirs["polls"], whose="every 5 s"),
            table.below(
                row, late, ours["late"], "s", POLL_SECONDS / 2, reference=theirs["late"], whose="every 5 s"
            ),
        ]
    return lines


def follow(kit, kind, options, repeat):
    result = clips.write_film(kit.home / "result.mp4", SIZE)
    least, most = SECONDS
    options = (*options, "--seconds", least, "--seconds-max", most, "--seed", repeat)
    figures = {"keys": "".join(map(MODEL.format, range(COUNT)))} if kind is Clipspool else {}
    with provide(result, *options) as provider, run(kind, kit.folder(), provider, **figures) as tool:
        made = tool.bay.make(COUNT, SIZE)
        for number, path in enumerate(made):
            sidecar = path.with_suffix(".toml")
            sidecar.write_text(sidecar.read_text() + f'model = "new{number}"\n')
        clips.drop(made, tool.bay.inbox)
        until(lambda: tool.bay.has_results(COUNT), 120, "all results")
        creates, results = provider.creates(), tool.bay.results()
    late = [results[clips.number_of(one["prompt"])] - one["done_at"] for one in creates]
    return {"polls": mean(one["polls"] for one in creates), "late": mean(late), "latest": max(late)}
