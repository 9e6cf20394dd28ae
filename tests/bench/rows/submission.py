"""Inline submission: bytes a second as the provider sees them, against curl with a body ready made."""

import base64
import json
import subprocess
import time
from functools import partial
from statistics import median

from bench import clips, processes, table
from bench.provider import provide
from bench.tools import OURS, Clipspool, run, until

DROPS = 10
SIZES = {"3.5 MB": 3_500_000, "12 MB": 12_000_000}
RESULT_BYTES = 250_000


def measure(kit):
    lines, memory = [], {}
    for name, size in SIZES.items():
        found = kit.compare({OURS: partial(ours, kit, size), "curl": partial(curl, kit, size)}, name)
        row = f"submission, {name}"
        here, there = found[OURS], found["curl"]
        memory[name] = here["memory"]
        lines.append(
            table.at_least(row, "throughput", here["rate"] / 1e6, "MB/s", there["rate"] / 1e6, "curl", 0.8)
        )
    small, large = memory.values()
    is_flat = large <= small + 6
    lines.append(
        table.Line("submission, 12 MB", "peak memory", large, "MB", small, "with 3.5 MB", "flat", is_flat)
    )
    return lines


def _rate(creates):
    return median(one["size"] / max(one["whole_at"] - one["begun_at"], 1e-6) for one in creates)


def ours(kit, size, _repeat):
    result = clips.write_film(kit.home / "result.mp4", RESULT_BYTES)
    with (
        provide(result, "--seconds", 0.1, "--blind") as provider,
        run(Clipspool, kit.folder(), provider, poll_seconds=1.0) as tool,
    ):
        made = tool.bay.make(DROPS, size)
        with processes.Watcher(tool.process.pid) as watcher:
            for number, path in enumerate(made, 1):
                clips.drop([path], tool.bay.inbox)
                until(lambda: len(provider.creates()) == number, 60, "it is submitted")  # noqa: B023
        return {"rate": _rate(provider.creates()), "memory": watcher.peak_bytes / 1e6}


def curl(kit, size, _repeat):
    result = clips.write_film(kit.home / "result.mp4", RESULT_BYTES)
    body = kit.home / "body.json"
    uri = "data:video/mp4;base64," + base64.b64encode(clips.clip_bytes("clip", size)).decode()
    body.write_text(json.dumps({"model": "gen4_aleph", "promptText": "deep winter 1", "videoUri": uri}))
    with provide(result, "--blind") as provider:
        for _ in range(DROPS):
            command = [
                "curl",
                "-sS",
                "-o",
                "/dev/null",
                "-H",
                "Expect:",
                "-H",
                "Content-Type: application/json",
            ]
            subprocess.run(
                [*command, "--data-binary", f"@{body}", f"{provider.origin}/v1/video_to_video"], check=True
            )
            time.sleep(0.1)
        return {"rate": _rate(provider.creates())}
