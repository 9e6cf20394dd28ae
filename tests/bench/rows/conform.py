"""A clip made to fit the bytes of a request, against two passes of ffmpeg to the same bytes."""

import resource
import subprocess
import time
from contextlib import closing
from functools import partial

from bench import table
from bench.tools import OURS
from clipspool.media.decoder import Decoder
from clipspool.media.facts import Conformed
from clipspool.media.plan import Bounds, Conform, plan

GOAL = 1.3
BYTES = 3_700_000
PRORES = ["-c:v", "prores", "-profile:v", "2"]
LOSSLESS = ["-c:v", "libx264", "-qp", "1", "-preset", "ultrafast", "-pix_fmt", "yuv420p"]
CLIPS = {
    "ProRes of 1080p, 5 s": ("testsrc2=s=1920x1080:r=25:d=5,noise=alls=8:allf=t", PRORES, BYTES),
    "graphics of 1080p, 10 s": ("testsrc=s=1920x1080:r=30:d=10", LOSSLESS, 1_275_000),
    "grain of 480p, 8 s": ("testsrc2=s=854x480:r=30:d=8,noise=alls=12:allf=t", LOSSLESS, 600_000),
}
TWO = "two passes of ffmpeg"
FFMPEG = ["ffmpeg", "-v", "error", "-nostdin", "-y"]


def measure(kit):
    lines = []
    for number, (name, (recipe, coding, room)) in enumerate(CLIPS.items()):
        source = kit.home / f"clip{number}.mov"
        subprocess.run([*FFMPEG, "-f", "lavfi", "-i", recipe, *coding, str(source)], check=True)
        kinds = {OURS: partial(ours, kit, source, room), TWO: partial(two_passes, kit, source, room)}
        found = kit.compare(kinds, name, usual=2)
        row = f"{name}, made to fit {room / 1e6:g} MB"
        for what, unit in (("time", "s"), ("processor time", "s")):
            lines.append(table.at_most(row, what, found[OURS][what], unit, found[TWO][what], TWO, GOAL))
        lines.append(table.Line(row, "bytes used", found[OURS]["bytes"] / room * 100, "%"))
    return lines


def timed(work):
    """Return what a piece of work took, its child processes included."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    size = work()
    took, after = time.monotonic() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"time": took, "processor time": used, "bytes": size}


def ours(kit, source, room, _repeat):
    target = kit.home / "fitted.mp4"

    def work():
        # Its process is counted once it has ended.
        with closing(Decoder()) as decoder, source.open("rb") as clip, target.open("w+b") as made:
            planned = plan(decoder.probe(clip.fileno()), Bounds(), room)
            if not isinstance(planned, Conform):
                raise TypeError(planned)
            found = decoder.conform(clip.fileno(), made.fileno(), planned)
            if not isinstance(found, Conformed):
                raise TypeError(found)
        return target.stat().st_size

    return timed(work)


def two_passes(kit, source, room, _repeat):
    target = kit.home / "two.mp4"
    seconds = float(
        subprocess.run(
            ["ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", str(source)],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
    )
    rate = str(int((room - 10_000) * 8 / seconds))

    def work():
        for number, name in (("1", "/dev/null"), ("2", str(target))):
            passes = ["-pass", number, "-passlogfile", str(kit.home / "two")]
            coded = ["-c:v", "libx264", "-preset", "fast", "-b:v", rate, "-pix_fmt", "yuv420p", "-f", "mp4"]
            subprocess.run([*FFMPEG, "-i", str(source), *coded, *passes, name], check=True)
        return target.stat().st_size

    return timed(work)
