"""Last write to first byte at the provider, after the same quiet time."""

import time
from functools import partial
from statistics import median

from bench import clips, table
from bench.provider import provide
from bench.tools import OURS, SETTLE_SECONDS, Bash, Clipspool, run, until

DROPS = 10
SIZE = 250_000


def measure(kit):
    tools = {kind.name: partial(drop_slowly, kit, kind) for kind in (Clipspool, Bash)}
    found = kit.compare(tools)
    ours, theirs = found[OURS]["first_byte"] * 1000, found[Bash.name]["first_byte"] * 1000
    row = f"first byte, settle {SETTLE_SECONDS} s"
    line = table.Line(
        row,
        "last write to first byte",
        ours,
        "ms",
        theirs,
        Bash.name,
        "at most 50 ms more",
        ours <= theirs + 50,
    )
    return [line]


def drop_slowly(kit, kind, _repeat):
    """Write clips in place, in two parts, one after another; give the median."""
    result = clips.write_film(kit.home / "result.mp4", SIZE)
    ends = {}
    with (
        provide(result, "--seconds", 0.1) as provider,
        run(kind, kit.folder(), provider, poll_seconds=1.0) as tool,
    ):
        for number in range(DROPS):
            name = f"clip{number:05}.mp4"
            data = clips.clip_bytes(name, SIZE)
            (tool.bay.inbox / name).with_suffix(".toml").write_text(f'prompt = "deep winter {number}"\n')
            with (tool.bay.inbox / name).open("wb") as file:
                file.write(data[: SIZE // 2])
                file.flush()
                time.sleep(0.05)
                file.write(data[SIZE // 2 :])
            ends[number] = time.time()
            until(lambda: tool.bay.has_results(number + 1), 60, f"{tool.name} brings {name}")  # noqa: B023
            time.sleep(0.3)
        creates = provider.creates()
    return {"first_byte": median(one["begun_at"] - ends[clips.number_of(one["prompt"])] for one in creates)}
