"""A long clip cut into parts and joined again, measured frame by frame and sample by sample."""

import subprocess
from contextlib import ExitStack, closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import mean

import av
import pytest

from clipspool.media import joining
from clipspool.media.decoder import Decoder
from clipspool.media.facts import PARTS_MAX, ClipPart, Conformed, Finished, MediaFault, Scenes
from clipspool.media.joining import _mixed
from clipspool.media.joins import Piece, join_plan
from clipspool.media.parts import parts_of
from clipspool.media.plan import Bounds, plan
from media_clips import ffprobe, run

MODEL = Bounds(seconds_max=2.0)
ROOM = 3_700_000
X264 = ["-c:v", "libx264", "-preset", "veryfast", "-crf", "12", "-pix_fmt", "yuv420p"]
WALK = "mandelbrot=s=192x108:r=25,hue=s=1"
TESTS = "testsrc2=s=192x108:r=25"
DUNES = "gradients=s=192x108:r=25:n=6:seed=7:speed=0.03,noise=alls=10:allf=t:all_seed=1"
STILL = "smptehdbars=s=192x108:r=25,noise=alls=12:allf=t:all_seed=1"
TINTS = ("null", "eq=brightness=0.02:saturation=0.95", "eq=gamma=1.04,colorbalance=rm=0.03")
SMALL = "scale=64:36:flags=area"


def made(path, graph, *more):
    """Make a clip of a graph of filters."""
    run(["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", graph, *more, str(path)])
    return path


def shades(path, filters=SMALL):
    """Return the pictures of a clip in shades of gray, small."""
    look = ["-vf", filters, "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "gray", "-"]
    command = ["ffmpeg", "-v", "error", "-i", str(path), *look]
    data = subprocess.run(command, check=True, capture_output=True).stdout
    return [data[at : at + 64 * 36] for at in range(0, len(data), 64 * 36)]


def apart(one, other):
    return sum(map(abs, map(int.__sub__, one, other))) / len(one)


def sound_of(path):
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-map", "0:a", "-f", "s32le", "-"]
    return subprocess.run(command, check=True, capture_output=True).stdout


class Split:
    """A clip, its parts as they are sent, and what stands for their results."""

    def __init__(self, decoder, path, limits=MODEL, overlap_frames=12):
        self.decoder, self.path = decoder, path
        with path.open("rb") as file:
            self.probe = decoder.probe(file.fileno())
            self.scenes = decoder.scenes(file.fileno(), self.probe)
            assert isinstance(self.scenes, Scenes), self.scenes
            self.parts = parts_of(self.probe, limits, cuts=self.scenes.cuts, overlap_frames=overlap_frames)
            self.results = [self._sent(file, number, limits) for number in range(len(self.parts))]

    def _sent(self, file, number, limits):
        path = self.path.with_name(f"part{number}.mp4")
        planned = plan(self.probe, limits, ROOM, part=self.parts[number])
        with path.open("w+b") as target:
            found = self.decoder.conform(file.fileno(), target.fileno(), planned)
        assert isinstance(found, Conformed), found
        return path

    def coded(self, number, *how):
        """Replace a result by what ffmpeg makes of it."""
        path = self.path.with_name(f"result{number}.mp4")
        run(["ffmpeg", "-v", "error", "-y", "-i", str(self.results[number]), *how, *X264, str(path)])
        self.results[number] = path

    def joined(self, **choices):
        with ExitStack() as stack:
            files = [stack.enter_context(path.open("rb")) for path in self.results]
            source = stack.enter_context(self.path.open("rb"))
            seen = [self.decoder.probe(file.fileno()) for file in files]
            wanted = join_plan(seen, self.probe, self.parts, **choices)
            path = self.path.with_name(f"joined.{wanted.finish.container}")
            target = stack.enter_context(path.open("w+b"))
            numbers = [file.fileno() for file in files]
            found = self.decoder.join(numbers, source.fileno(), target.fileno(), wanted)
        assert isinstance(found, Finished), found
        return path, wanted, found


def differences(path, source):
    """Return the numbers of the frames that are nearer to another frame of the source than to their own."""
    ours, theirs = shades(path), shades(source)
    assert len(ours) == len(theirs)
    near = {n: range(max(0, n - 2), min(len(theirs), n + 3)) for n in range(len(ours))}
    return [n for n in near if min(near[n], key=lambda m: apart(ours[n], theirs[m])) != n]


@pytest.mark.slow
def test_the_parts_of_a_clip_joined_again_are_the_clip_frame_by_frame_with_its_sound(decoder, tmp_path):
    two = f"{TESTS}:d=3.4[a];{WALK},trim=duration=3[b];[a][b]concat=n=2:v=1:a=0"
    sound = ["-f", "lavfi", "-i", "sine=f=441.3:r=48000:d=6.5", "-c:a", "pcm_s24le"]
    named = ["-timecode", "10:00:00:00", "-metadata:s:v:0", "reel_name=A001C003"]
    path = made(tmp_path / "clip.mov", two, *sound, *X264, *named)
    split = Split(decoder, path)
    assert split.scenes.cuts == (85,)
    assert [(part.start, part.frames, part.overlap) for part in split.parts] == [
        (0, 49, 0),
        (37, 48, 12),
        (85, 44, 0),
        (117, 43, 12),
    ]
    assert [ffprobe(sent, "stream=nb_frames")["nb_frames"] for sent in split.results] == [
        "49",
        "48",
        "44",
        "43",
    ]
    home, _, found = split.joined()
    assert found.frames == 160
    assert differences(home, path) == []
    assert sound_of(home) == sound_of(path)
    assert len(sound_of(home)) == 6.5 * 48000 * 4
    assert ffprobe(home, "stream_tags=timecode,reel_name", "d:0") == {
        "TAG:timecode": "10:00:00:00",
        "TAG:reel_name": "A001C003",
    }
    assert "joined of 4 parts: 1 at scene changes, 2 faded into one another over 12 frames" in found.changes


def test_results_of_other_sizes_rates_and_lengths_are_placed_where_their_parts_were(decoder, tmp_path):
    path = made(tmp_path / "clip.mp4", f"{TESTS}:d=5", *X264)
    split = Split(decoder, path)
    split.coded(0, "-vf", "scale=256:144")
    split.coded(1, "-vf", "fps=24", "-frames:v", "44")
    split.coded(2, "-vf", "tpad=stop=2:stop_mode=clone")
    home, _, found = split.joined()
    assert ffprobe(home, "stream=nb_frames,avg_frame_rate,width") == {
        "width": "192",
        "avg_frame_rate": "25/1",
        "nb_frames": "125",
    }
    assert "1 of 3 parts had another size, and were scaled" in found.changes
    assert "last frame held for up to 4 frames in 1 of 3 parts" in found.changes
    assert "up to 2 frames cut off in 1 of 3 parts" in found.changes
    assert [n for n in differences(home, path) if n < 35 or n > 92] == [], "those at the source's rate"


def test_results_with_every_frame_under_another_rate_are_joined_frame_by_frame(decoder, tmp_path):
    path = made(tmp_path / "clip.mp4", f"{TESTS}:d=5", *X264)
    split = Split(decoder, path)
    for number in range(len(split.parts)):
        split.coded(number, "-vf", "setpts=N/24/TB", "-r", "24")
    home, wanted, _ = split.joined(overlap_frames=6)
    assert [piece.skip for piece in wanted.pieces] == [0, 3, 3]
    assert all(piece.by_frame for piece in wanted.pieces)
    assert differences(home, path) == []


def test_as_it_is_a_film_keeps_the_rate_of_its_results_and_gets_the_sources_sound(decoder, tmp_path):
    tone = ["-f", "lavfi", "-i", "sine=r=48000:d=5.04", "-c:a", "aac"]
    path = made(tmp_path / "clip.mp4", "testsrc2=s=192x108:r=50:d=5.04", *tone, *X264)
    split = Split(decoder, path, replace(MODEL, fps_max=30.0))
    home, wanted, found = split.joined(as_is=True)
    assert (wanted.finish.fps, found.frames) == ("25/1", 126)
    assert ffprobe(home, "stream=nb_frames,avg_frame_rate") == {
        "nb_frames": "126",
        "avg_frame_rate": "25/1",
    }
    packets = ["-map", "0:a", "-c", "copy", "-f", "md5", "-"]
    first, second = (run(["ffmpeg", "-v", "error", "-i", str(one), *packets]) for one in (home, path))
    assert first == second
    half = made(tmp_path / "half.mkv", "testsrc2=s=192x108:r=50:d=5.04,select='not(mod(n,2))'", *X264)
    assert differences(home, half) == []


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(WALK, marks=pytest.mark.slow, id="zoom"),
        pytest.param(TESTS, id="moving"),
        pytest.param(DUNES, marks=pytest.mark.slow, id="drift"),
        pytest.param(STILL, marks=pytest.mark.slow, id="grain"),
    ],
)
@pytest.mark.parametrize("is_tinted", [False, True], ids=["echo", "tinted"])
def test_no_frame_at_a_seam_changes_much_more_than_those_around_it(decoder, tmp_path, kind, is_tinted):
    path = made(tmp_path / "clip.mp4", kind, "-t", "5", *X264)
    split = Split(decoder, path)
    if is_tinted:
        for number, tint in enumerate(TINTS):
            split.coded(number, "-vf", f"{tint},format=yuv420p")
    home, wanted, _ = split.joined()
    frames = shades(home)
    changes = [0.0, *(apart(*pair) for pair in pairwise(frames))]
    seams = [
        (part.start + piece.skip, piece.fade)
        for part, piece in zip(split.parts, wanted.pieces, strict=True)
        if piece.fade
    ]
    assert [fade for _, fade in seams] == [12, 12]
    for begin, fade in seams:
        end = begin + fade + 1
        around = changes[begin - 10 : begin] + changes[end : end + 10]
        assert max(changes[begin:end]) <= 1.5 * mean(around), (begin, changes[begin - 2 : end + 2])


def test_each_frame_of_a_fade_has_its_share_of_both(decoder, tmp_path):
    path = made(tmp_path / "clip.mp4", "color=gray:s=64x36:r=25:d=4", *X264)
    split = Split(decoder, path, overlap_frames=9)
    split.coded(0, "-vf", "lutyuv=y=60")
    split.coded(1, "-vf", "lutyuv=y=160")
    split.coded(2, "-vf", "lutyuv=y=60")
    home, _, _ = split.joined(overlap_frames=9)
    look = ["-vf", "scale=1:1", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-"]
    levels = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", str(home), *look], check=True, capture_output=True
    )
    begin = split.parts[1].start
    shown = levels.stdout[:: len(levels.stdout) // 100][begin - 1 : begin + 10]
    assert [round((level - 60) / 10) for level in shown] == list(range(11))


@pytest.mark.parametrize(("step", "most"), [(0, 0.1), (1, 0.8)])
def test_a_fade_of_dark_pictures_that_are_nearly_alike_is_not_seen(decoder, tmp_path, step, most):
    dark = "gradients=s=192x108:r=25:c0=#050505:c1=#303030:n=2:speed=0.00001:seed=5"
    split = Split(decoder, made(tmp_path / "clip.mp4", dark, "-t", "4", *X264))
    split.coded(1, "-vf", f"lutyuv=y=val+{step}")
    home, _, _ = split.joined()
    levels = [mean(picture) for picture in shades(home)]
    assert max(abs(one - other) for one, other in pairwise(levels)) < most


def flat(level):
    picture = av.VideoFrame(64, 64, "yuv420p")
    for plane in picture.planes:
        plane.update(bytes([level]) * plane.buffer_size)
    return picture


def test_pictures_are_mixed_step_by_step_and_never_darker_than_both(monkeypatch):
    for share in range(1, 13):
        for level in (16, 17, 47, 128, 235):
            assert set(bytes(_mixed(flat(level), flat(level), share, 13).planes[0])) == {level}
    assert set(bytes(_mixed(flat(20), flat(21), 9, 13).planes[0])) == {20, 21}
    monkeypatch.setattr(joining, "DEEP_PIXELS_MAX", 64 * 64 - 1)  # the memory would not suffice
    assert set(bytes(_mixed(flat(20), flat(21), 9, 13).planes[0])) == {21}


CHANGING = "mandelbrot=s=192x108:r=25:start_x=-0.7,trim=duration=2,setpts=PTS-STARTPTS"
HAND = "crop=150:84:x='20+9*sin(n*1.1)+5*sin(n*2.7)':y='12+8*cos(n*1.7)+3*sin(n*3.3)',scale=192:108"
STEP = "crop=176:98:x='8+3*sin(n*1.1)+2*sin(n*2.7)':y='5+3*cos(n*1.7)',scale=192:108"
FLASH = "drawbox=color=white:t=fill:enable='eq(n,20)+between(n,40,41)+eq(n,60)'"
DIM = "eq=brightness='if(gt(mod(n,10),6),0.3,0)':eval=frame"


@pytest.mark.parametrize(
    ("graph", "cuts"),
    [
        (f"{TESTS}:d=2[a];{CHANGING}[b];{STILL},trim=duration=2[c];[a][b][c]concat=n=3", (50, 100)),
        (f"{TESTS}:d=2,{STEP}[a];{CHANGING},{STEP}[b];[a][b]concat=n=2", (50,)),
        (f"{TESTS}:d=2,lutyuv=y=16+val*0.15[a];{CHANGING},lutyuv=y=16+val*0.15[b];[a][b]concat=n=2", (50,)),
        (f"{WALK},trim=duration=4,{FLASH}", ()),
        (f"{WALK},trim=duration=4,{DIM}", ()),
        (f"{WALK},trim=duration=4,{HAND}", ()),
        (f"{WALK},trim=duration=4,fade=t=in:d=0.6,fade=t=out:st=3:d=0.6", ()),
        (f"{TESTS}:d=3[a];{WALK},trim=duration=3[b];[a][b]xfade=duration=0.5:offset=2", ()),
        (f"{TESTS}:d=4,fps=8,fps=25", ()),
        ("color=gray:s=192x108:r=25:d=2,noise=alls=60:allf=t", ()),
    ],
    ids=["cuts", "walk", "dark", "flashes", "strobe", "shake", "fades", "dissolve", "threes", "noise"],
)
def test_scenes_begin_at_cuts_and_nowhere_else(decoder, tmp_path, graph, cuts):
    path = made(tmp_path / "clip.mp4", graph, *X264)
    with path.open("rb") as file:
        found = decoder.scenes(file.fileno(), decoder.probe(file.fileno()))
    assert found == Scenes(cuts)


@pytest.mark.slow
def test_as_many_results_as_a_clip_may_have_parts_are_joined_and_no_memory_is_kept(tmp_path):
    path = made(tmp_path / "clip.mp4", f"{TESTS}:d=0.16", *X264)
    peaks = []
    for count in (10, PARTS_MAX):
        with closing(Decoder()) as decoder, ExitStack() as stack:
            files = [stack.enter_context(path.open("rb")) for _ in range(count)]
            source, target = stack.enter_context(path.open("rb")), tmp_path / "joined.mp4"
            probe = decoder.probe(source.fileno())
            parts = [ClipPart(start=2 * n, frames=4 if n else 2, overlap=2 * bool(n)) for n in range(count)]
            wanted = join_plan([probe] * count, replace(probe, seconds=count * 0.08), parts)
            destination = stack.enter_context(target.open("w+b"))
            numbers = [file.fileno() for file in files]
            found = decoder.join(numbers, source.fileno(), destination.fileno(), wanted)
            assert isinstance(found, Finished), found
            status = Path(f"/proc/{decoder._children[0]._process.pid}/status").read_text()
            peaks.append(int(status.split("VmHWM:")[1].split()[0]) // 1024)
        assert ffprobe(target, "stream=nb_frames")["nb_frames"] == str(parts[-1].end)
    assert peaks[1] - peaks[0] < 20, peaks


def test_a_part_that_cannot_be_read_is_a_fault(decoder, tmp_path):
    path = made(tmp_path / "clip.mp4", f"{TESTS}:d=3", *X264)
    split = Split(decoder, path)
    with ExitStack() as stack:
        files = [stack.enter_context(one.open("rb")) for one in split.results]
        seen = [decoder.probe(file.fileno()) for file in files]
        split.results[1].write_bytes(split.results[1].read_bytes()[:900])
        target = stack.enter_context((tmp_path / "joined.mp4").open("w+b"))
        source = stack.enter_context(path.open("rb"))
        numbers = [file.fileno() for file in files]
        wanted = join_plan(seen, split.probe, split.parts)
        found = decoder.join(numbers, source.fileno(), target.fileno(), wanted)
    assert isinstance(found, MediaFault)
    assert found.code == "MEDIA.INCOMPLETE"
    assert wanted.pieces[1] == Piece(skip=0, frames=wanted.pieces[1].frames, fade=12)
