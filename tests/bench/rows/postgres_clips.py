"""One machine with its journal in a PostgreSQL beside it, against the same with its file: clips a second."""

import os
import tempfile
from functools import partial
from pathlib import Path

import postgres
from bench import clips, processes, table
from bench.provider import provide
from bench.tools import Clipspool, run, until

COUNT = int(os.environ.get("BENCH_CLIPS", "1000").split()[-1])
CLIP_BYTES = RESULT_BYTES = 250_000
RENDER_SECONDS = 1.0
GOAL = 60.0
FILE, SERVER = "SQLite", "PostgreSQL"


class OnServer(Clipspool):
    """Ours, with its journal in PostgreSQL."""

    def __init__(self, bay, provider, *, url, **figures):
        super().__init__(bay, provider, **figures)
        self.config.write_text(self.config.read_text().replace("[journal]\n", f'[journal]\nurl = "{url}"\n'))


def measure(kit):
    with tempfile.TemporaryDirectory(prefix="clipspool-") as folder:
        Path(folder).chmod(0o755)
        server = postgres.Server(Path(folder) / "server", settings={})  # as Debian's package sets it up
        server.make()
        server.start()
        try:
            contestants = {FILE: partial(race, kit, None), SERVER: partial(race, kit, server)}
            found = kit.compare(contestants, f"{COUNT} clips", usual=2)
        finally:
            server.stop()
    row = f"{COUNT} clips at once, the journal in PostgreSQL beside the daemon"
    ours, file = found[SERVER], found[FILE]
    return [
        table.Line(
            row, "clips a second", ours["rate"], "", file["rate"], FILE, f"≥ {GOAL:g}", ours["rate"] >= GOAL
        ),
        table.Line(row, "processor time of the daemon", ours["cpu"], "s", file["cpu"], FILE),
        table.Line(row, "peak memory of the daemon", ours["memory"], "MB", file["memory"], FILE),
    ]


def race(kit, server, repeat):
    """Drop all clips at once; give how many results a second there were, the render left out."""
    result = clips.write_film(kit.home / "result.mp4", RESULT_BYTES)
    kind, more = Clipspool, {}
    if server is not None:
        kind, more = OnServer, {"url": server.schema(f"repeat_{repeat}").url}
    with (
        provide(result, "--seconds", RENDER_SECONDS, "--seed", repeat) as provider,
        run(kind, kit.folder(), provider, poll_seconds=0.5, **more) as tool,
    ):
        made = tool.bay.make(COUNT, CLIP_BYTES)
        with processes.Watcher(tool.process.pid) as watcher:
            dropped = clips.drop(made, tool.bay.inbox)
            until(lambda: tool.bay.has_results(COUNT), 60 + COUNT, f"{COUNT} results")
        results = tool.bay.results()
    return {
        "rate": COUNT / (max(results.values()) - min(dropped.values()) - RENDER_SECONDS),
        "cpu": watcher.cpu_seconds,
        "memory": watcher.peak_bytes / 1e6,
    }
