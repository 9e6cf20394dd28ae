"""A result of 1 GB into the outbox, verified and synced, against curl, sync and ffprobe."""

import os
import subprocess
import time
from functools import partial

from bench import clips, processes, table
from bench.provider import provide
from bench.tools import OURS, Clipspool, run, until

SIZES = {"1 MB": 1_000_000, "1 GB": int(os.environ.get("BENCH_RESULT_BYTES", "1000000000"))}


def measure(kit):
    films = {name: clips.write_film(kit.home / f"film-{size}.mp4", size) for name, size in SIZES.items()}
    small = kit.compare({OURS: partial(ours, kit, films["1 MB"])}, "1 MB")[OURS]
    found = kit.compare(
        {OURS: partial(ours, kit, films["1 GB"]), "curl": partial(curl, kit, films["1 GB"])}, "1 GB"
    )
    here, there = found[OURS], found["curl"]
    row, size = "result of 1 GB", SIZES["1 GB"] / 1e6
    is_flat = here["memory"] <= small["memory"] + 16
    whose = "curl, sync, ffprobe"
    return [
        table.at_least(row, "throughput", size / here["took"], "MB/s", size / there["took"], whose, 0.9),
        table.Line(row, "peak memory", here["memory"], "MB", small["memory"], "with 1 MB", "flat", is_flat),
        table.Line(row, "processor time", here["cpu"], "s"),
    ]


def ours(kit, film, _repeat):
    with (
        provide(film, "--seconds", 0.1) as provider,
        run(Clipspool, kit.folder(), provider, poll_seconds=0.5) as tool,
    ):
        made = tool.bay.make(1, 250_000)
        with processes.Watcher(tool.process.pid) as watcher:
            clips.drop(made, tool.bay.inbox)
            until(lambda: tool.bay.has_results(1), 300, "the result is there", pause=0.02)
        (create,) = provider.creates()
        (there_at,) = tool.bay.results().values()
        took = there_at - create["fetched_at"]
    return {"took": took, "memory": watcher.peak_bytes / 1e6, "cpu": watcher.cpu_seconds}


def curl(kit, film, _repeat):
    folder = kit.folder()
    folder.mkdir()
    target = folder / "clip.mp4"
    with provide(film, "--seconds", 0.0) as provider:
        answer = subprocess.run(
            [
                *(
                    "curl",
                    "-sS",
                    "-d",
                    '{"promptText": "deep winter 1"}',
                    f"{provider.origin}/v1/video_to_video",
                ),
            ],
            check=True,
            capture_output=True,
        ).stdout
        task = answer.decode().split('"')[3]
        begun = time.time()
        url = f"{provider.origin}/results/{task}.mp4"
        subprocess.run(["curl", "-sS", "--fail", "-o", f"{target}.part", url], check=True)
        subprocess.run(["sync", f"{target}.part"], check=True)
        subprocess.run(
            ["ffprobe", "-v", "error", "-show_format", f"{target}.part"], check=True, capture_output=True
        )
        target.with_name("clip.mp4.part").rename(target)
        subprocess.run(["sync", str(folder)], check=True)
        took = time.time() - begun
    target.unlink()
    return {"took": took}
