"""Clips whose pictures do not simply begin at 0: there and back, each picture and sound keeps its place."""

import subprocess
from dataclasses import dataclass

import pytest

from clipspool.media.facts import Conformed, Finished
from clipspool.media.plan import Bounds, Conform, plan
from clipspool.media.timeline import finish_plan
from media_clips import run

FLASHES = "color=black:s=64x64:r=25:d=4,geq=lum='if(eq(mod(N,25),3),235,16)':cb=128:cr=128"
CLICKS = "aevalsrc='if(between(mod(t+{0},1),0.12,0.14),0.8*sin(2*PI*1000*t),0)':d=4.5:s=48000"
"""A click at each flash, which is the fourth picture of a second, where pictures begin at {0} before it."""
CODED = ["-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-g", "12", "-bf", "2"]
FFMPEG = ["ffmpeg", "-v", "error", "-nostdin", "-y"]
LATE = 0.4
FRAGMENTS = "frag_keyframe+delay_moov+default_base_moof"


def flashing(folder):
    path = folder / "flashes.mp4"
    run([*FFMPEG, "-f", "lavfi", "-i", FLASHES, *CODED, str(path)])
    return path


def with_clicks(folder, name, *muxing, late=0.0, sound=("-c:a", "pcm_s16le")):
    """Add clicks to the flashes, whose pictures begin `late` seconds after the sound."""
    path = folder / name
    clicks = ["-f", "lavfi", "-i", CLICKS.format(1 - late)]
    pictures = ["-itsoffset", str(late), "-i", str(flashing(folder))]
    run(
        [
            *FFMPEG,
            *pictures,
            *clicks,
            "-map",
            "0:v",
            "-map",
            "1:a",
            "-c:v",
            "copy",
            *sound,
            *muxing,
            str(path),
        ]
    )
    return path


def late_pictures(folder):
    return with_clicks(folder, "late.mov", late=LATE)


def late_pictures_in_fragments(folder):
    aac = ("-c:a", "aac", "-b:a", "192k")
    return with_clicks(folder, "late.mp4", "-movflags", FRAGMENTS, late=LATE, sound=aac)


def begins_within_a_group(folder):
    """Return a clip whose edit list begins between two key pictures."""
    path = folder / "edited.mov"
    run([*FFMPEG, "-ss", "0.28", "-i", str(with_clicks(folder, "all.mov")), "-c", "copy", str(path)])
    return path


def short_fragments(folder):
    aac = ("-c:a", "aac", "-b:a", "192k")
    moves = ["-movflags", "empty_moov+default_base_moof", "-frag_duration", "130000"]
    return with_clicks(folder, "short.mp4", *moves, sound=aac)


def late_matroska(folder):
    return with_clicks(folder, "late.mkv", late=LATE)


def reordered_in_avi(folder):
    """Return a clip whose pictures are stored in another order than shown, in a file without times."""
    return with_clicks(folder, "old.avi", "-c:v", "mpeg4", "-q:v", "2", "-bf", "2")


def broadcast(folder):
    """Return a transport stream whose sound FFmpeg decodes to other samples than it announces."""
    return with_clicks(folder, "broadcast.ts", sound=("-c:a", "mp2", "-b:a", "192k"))


@dataclass
class Seen:
    flashes: list
    """Their numbers among the pictures."""
    count: int
    """Of all pictures."""
    apart: list
    """By how much the nearest click is later than each but the first, in seconds."""


def seen_and_heard(path):
    """Look at a clip's flashes, and listen to its clicks."""
    command = ["ffmpeg", "-v", "error", "-copyts", "-i", str(path), "-map", "0:v"]
    look = ["-fps_mode", "passthrough", "-vf", "scale=1:1", "-f", "rawvideo", "-pix_fmt", "gray", "-"]
    shown = subprocess.run([*command, *look], check=True, capture_output=True).stdout
    flashes = [number for number, level in enumerate(shown) if level > 128]
    entries = ["-select_streams", "v:0", "-show_entries", "frame=pts_time", "-of", "csv=p=0"]
    told = run(["ffprobe", "-v", "error", *entries, str(path)]).replace(",", " ").split()
    # An AVI has no times, and FFmpeg counts from the picture that is read first.
    times = [n / 25 if path.suffix == ".avi" else float(time) for n, time in enumerate(told)]
    hear = ["-af", "silencedetect=n=-20dB:d=0.3,ametadata=print:file=-", "-f", "null", "-"]
    heard = run(["ffmpeg", "-v", "error", "-copyts", "-i", str(path), "-map", "0:a", *hear])
    clicks = [float(line.split("=")[1]) for line in heard.splitlines() if "silence_end=" in line]
    # Before the first there is too little silence to tell a click by.
    nearest = [
        min(clicks, key=lambda click: abs(click - times[number])) - times[number] for number in flashes[1:]
    ]
    return Seen(flashes, len(shown), nearest)


@pytest.mark.parametrize(
    "make",
    [
        late_pictures,
        late_pictures_in_fragments,
        begins_within_a_group,
        short_fragments,
        late_matroska,
        reordered_in_avi,
        broadcast,
    ],
)
def test_pictures_keep_their_place_and_count_and_their_sound(decoder, tmp_path, make):
    path = make(tmp_path)
    sent, limits = tmp_path / "sent.mp4", Bounds(width_max=32, height_max=32)
    with path.open("rb") as source, sent.open("w+b") as result:
        probe = decoder.verify(source.fileno())
        made = plan(probe, limits, None)
        assert isinstance(made, Conform), made
        assert isinstance(decoder.conform(source.fileno(), result.fileno(), made), Conformed)
        wanted = finish_plan(decoder.probe(result.fileno()), probe)
        home = tmp_path / f"home.{wanted.container}"
        with home.open("w+b") as target:
            found = decoder.finish(result.fileno(), source.fileno(), target.fileno(), wanted)
    assert isinstance(found, Finished), found
    early = "0.08" if make is short_fragments else "0.4" if "late" in make.__name__ else ""
    said = [each for each in found.changes if "before the first picture" in each]
    assert said == ([f"{early} s of sound from before the first picture left out"] if early else [])
    was, now = seen_and_heard(path), seen_and_heard(home)
    assert len(was.flashes) >= 3
    assert now.flashes == was.flashes
    assert now.count == was.count
    assert max(abs(one - other) for one, other in zip(now.apart, was.apart, strict=True)) < 0.002, (was, now)


def test_sound_before_a_part_is_not_missed(decoder, tmp_path):
    path, home = late_pictures(tmp_path), tmp_path / "home.mov"
    part = flashing(tmp_path)
    with path.open("rb") as source, part.open("rb") as result, home.open("w+b") as target:
        wanted = finish_plan(
            decoder.probe(result.fileno()), decoder.probe(source.fileno()), start_seconds=1.0, seconds=2.0
        )
        found = decoder.finish(result.fileno(), source.fileno(), target.fileno(), wanted)
    assert not [said for said in found.changes if "before the first picture" in said]
