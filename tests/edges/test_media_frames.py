"""Every frame of what is made shows the source's, whatever its container says of their times."""

import re
import subprocess

import pytest

from clipspool.media.facts import Conformed, Finished, Probe
from clipspool.media.plan import Bounds, Conform, plan
from clipspool.media.timeline import finish_plan
from media_clips import H264, run

GROUP = [*H264, "-qp", "4", "-g", "12", "-bf", "3"]
MPEG2 = ["-c:v", "mpeg2video", "-q:v", "2", "-g", "12", "-bf", "2"]
TONE = ["-f", "lavfi", "-i", "sine=r=48000:d=4"]
RECIPES = {
    "cfr.mp4": ("25", [], GROUP),
    "long_groups.ts": ("25", TONE, [*H264, "-qp", "4", "-g", "60", "-bf", "3", "-c:a", "aac"]),
    "one_group.ts": ("25", TONE, [*H264, "-qp", "4", "-g", "999", "-bf", "3", "-c:a", "aac"]),
    "camera.m2ts": ("25", TONE, [*GROUP, "-c:a", "ac3", "-f", "mpegts", "-mpegts_m2ts_mode", "1"]),
    "clock_ends.ts": ("25", TONE, [*GROUP, "-c:a", "aac", "-output_ts_offset", "95440"]),
    "clock_begins_anew.ts": (
        "25",
        TONE,
        [*H264, "-qp", "4", "-g", "999", "-c:a", "aac", "-output_ts_offset", "95442.2"],
    ),
    "program.mpg": ("25", TONE, [*MPEG2, "-c:a", "mp2", "-f", "vob"]),
    "h264.avi": ("25", TONE, [*GROUP, "-c:a", "mp3"]),
    "xvid.avi": ("25", [], ["-c:v", "mpeg4", "-q:v", "2", "-g", "12", "-bf", "2"]),
    "fast.mkv": ("60", TONE, [*GROUP, "-c:a", "aac"]),
    "fast_ntsc.mkv": ("60000/1001", TONE, [*GROUP, "-c:a", "aac"]),
    "fast_ntsc.ts": ("60000/1001", TONE, [*GROUP, "-c:a", "aac"]),
    "fast.mp4": ("60", [], GROUP),
    "later.mkv": ("24000/1001", TONE, [*GROUP, "-c:a", "aac"]),
}
"""The frame rate, the sound, and how it is coded."""


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Return a function that makes a clip in which frame N has the light 24 + 5 N, up to 224, and again."""
    folder = tmp_path_factory.mktemp("films")

    def make(name):
        path = folder / name
        rate, sound, coded = RECIPES[name]
        if not path.exists():
            light = f"color=black:s=32x18:r={rate}:d=4,geq=lum='24+mod(N*5,200)':cb=128:cr=128,scale=320:180"
            run(["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", light, *sound, *coded, str(path)])
        return path

    return make


def lights(path):
    """Measure the light in the middle of each frame."""
    shape = ["-vf", "scale=16:16", "-pix_fmt", "yuv420p", "-f", "rawvideo", "-"]
    shown = subprocess.run(["ffmpeg", "-v", "error", "-i", path, *shape], check=True, capture_output=True)
    return list(shown.stdout[136 :: 16 * 16 * 3 // 2])


@pytest.mark.parametrize("first", [0, 25, 75])
@pytest.mark.parametrize("name", RECIPES)
def test_a_clip_or_a_part_of_it_has_the_sources_frames_one_by_one(decoder, film, tmp_path, name, first):
    target = tmp_path / "sent.mp4"
    with film(name).open("rb") as source, target.open("w+b") as destination:
        probe = decoder.verify(source.fileno())
        assert isinstance(probe, Probe), probe
        total = round(probe.seconds * probe.frames_per_second)
        part = {"start_seconds": first / probe.frames_per_second, "length_seconds": 0.8} if first else {}
        made = plan(probe, Bounds(width_max=240), 3_000_000, **part)
        assert isinstance(made, Conform)
        assert isinstance(decoder.conform(source.fileno(), destination.fileno(), made), Conformed)
    seen = lights(target)
    assert len(seen) == (round(0.8 * probe.frames_per_second) if first else total)
    wanted = [24 + 5 * frame % 200 for frame in range(first, first + len(seen))]
    assert [(n, a, b) for n, (a, b) in enumerate(zip(seen, wanted, strict=True)) if abs(a - b) > 2] == []


@pytest.mark.parametrize(
    ("rate", "fps"), [("60000/1001", "60000/1001"), ("48000/1001", "48000/1001"), ("50", "50/1")]
)
def test_a_rate_that_times_in_milliseconds_blur_is_the_one_that_was_meant(decoder, tmp_path, rate, fps):
    path = tmp_path / "clip.mkv"
    shown = ["-f", "lavfi", "-i", f"testsrc2=s=160x90:r={rate}:d=1"]
    run(["ffmpeg", "-v", "error", *shown, *H264, str(path)])
    with path.open("rb") as file:
        assert decoder.probe(file.fileno()).fps == fps


@pytest.mark.parametrize("name", ["fast.mkv", "fast_ntsc.mkv", "fast_ntsc.ts", "fast.mp4"])
@pytest.mark.parametrize("first", [0, 30])
def test_of_twice_the_rate_that_a_model_takes_every_second_frame_is_sent(
    decoder, film, tmp_path, name, first
):
    target = tmp_path / "sent.mp4"
    with film(name).open("rb") as source, target.open("w+b") as destination:
        probe = decoder.verify(source.fileno())
        part = {"start_seconds": first / probe.frames_per_second, "length_seconds": 2.002} if first else {}
        made = plan(probe, Bounds(width_max=240, fps_max=30), 3_000_000, **part)
        assert isinstance(decoder.conform(source.fileno(), destination.fileno(), made), Conformed)
    seen = lights(target)
    wanted = [24 + 5 * frame % 200 for frame in range(first, first + 2 * len(seen), 2)]
    assert [(n, a, b) for n, (a, b) in enumerate(zip(seen, wanted, strict=True)) if abs(a - b) > 2] == []


def test_of_a_clip_that_was_trimmed_without_coding_it_again_what_players_show_is_sent(
    decoder, film, tmp_path
):
    trimmed, target = tmp_path / "trimmed.mp4", tmp_path / "sent.mp4"
    run(["ffmpeg", "-v", "error", "-ss", "1.4", "-i", str(film("cfr.mp4")), "-c", "copy", str(trimmed)])
    with trimmed.open("rb") as source, target.open("w+b") as destination:
        probe = decoder.verify(source.fileno())
        assert probe.hidden_frames > 1
        made = plan(probe, Bounds(), 3_000_000)
        assert isinstance(made, Conform)
        assert isinstance(decoder.conform(source.fileno(), destination.fileno(), made), Conformed)
    assert [abs(a - b) <= 2 for a, b in zip(lights(target), lights(trimmed), strict=True)].count(False) == 0
    assert abs(lights(target)[0] - (24 + 5 * 35)) <= 2


def test_an_avi_that_ends_before_its_first_picture_is_decoded_has_all_its_pictures(decoder, tmp_path):
    clip, target = tmp_path / "clip.avi", tmp_path / "sent.mp4"
    shown = ["-f", "lavfi", "-i", "testsrc2=s=320x180:r=25:d=1", "-frames:v", "2"]
    run(["ffmpeg", "-v", "error", *shown, *H264, "-bf", "2", str(clip)])
    with clip.open("rb") as source, target.open("w+b") as destination:
        made = plan(decoder.verify(source.fileno()), Bounds(), 3_000_000)
        assert isinstance(decoder.conform(source.fileno(), destination.fileno(), made), Conformed)
    assert len(lights(target)) == 2


def clicks(path):
    """Return when its sound is heard after a silence, in seconds."""
    listen = ["ffmpeg", "-i", str(path), "-vn", "-af", "silencedetect=n=-20dB:d=0.3", "-f", "null", "-"]
    heard = subprocess.run(listen, check=True, capture_output=True, text=True).stderr
    return [float(time) for time in re.findall(r"silence_end: ([0-9.]+)", heard)]


def test_the_sound_of_a_part_of_an_avi_which_counts_it_in_packets_is_where_its_pictures_are(
    decoder, tmp_path
):
    clip, film = tmp_path / "clip.avi", tmp_path / "film.mp4"
    click = "aevalsrc='if(lt(mod(t,1),0.02),0.8*sin(2*PI*1000*t),0)':d=4:s=48000"
    made = [
        "-f",
        "lavfi",
        "-i",
        "testsrc2=s=160x90:r=25:d=4",
        "-f",
        "lavfi",
        "-i",
        click,
        *H264,
        "-c:a",
        "mp3",
    ]
    run(["ffmpeg", "-v", "error", *made, str(clip)])
    heard = []
    for start in (0.0, 1.48):
        with clip.open("rb") as source, film.open("w+b") as target:
            probe = decoder.verify(source.fileno())
            length = probe.seconds - start
            wanted = finish_plan(probe, probe, start_seconds=start, seconds=length)
            assert wanted.audio == ("copy",)
            result = decoder.finish(source.fileno(), source.fileno(), target.fileno(), wanted)
            assert isinstance(result, Finished), result
        heard.append(clicks(film)[-2] + start)  # the last one is the end
    assert heard[0] == pytest.approx(heard[1], abs=0.003)


@pytest.mark.parametrize("start", [2.4, 13.4])
def test_the_sound_of_a_part_is_whole_where_it_lies_before_its_pictures_in_the_file(decoder, tmp_path, start):
    plain, clip, film = tmp_path / "plain.ts", tmp_path / "clip.ts", tmp_path / "film.mp4"
    click = "aevalsrc='if(lt(mod(t,1),0.02),0.8*sin(2*PI*1000*t),0)':d=16:s=48000"
    shown = ["-f", "lavfi", "-i", "testsrc2=s=64x36:r=25:d=16", "-f", "lavfi", "-i", click]
    run(["ffmpeg", "-v", "error", *shown, *H264, "-g", "25", "-c:a", "aac", str(plain)])
    data = plain.read_bytes()
    packets = [data[at : at + 188] for at in range(0, len(data), 188)]
    ahead = len(packets) // 5  # some three seconds

    def place(number):
        kind = (packets[number][1] & 31) << 8 | packets[number][2]
        return number - ahead if kind == 257 else number

    clip.write_bytes(b"".join(packets[number] for number in sorted(range(len(packets)), key=place)))
    with clip.open("rb") as source, film.open("w+b") as target:
        probe = decoder.verify(source.fileno())
        wanted = finish_plan(probe, probe, start_seconds=start, seconds=2.0)
        result = decoder.finish(source.fileno(), source.fileno(), target.fileno(), wanted)
        assert isinstance(result, Finished), result
    assert clicks(film)[:2] == pytest.approx([0.6, 1.6], abs=0.03)


@pytest.mark.parametrize(
    ("name", "coded"),
    [
        ("screen.mkv", H264),
        ("webcam.webm", ["-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8"]),
        ("screen.mp4", [*H264, "-movflags", "frag_keyframe+empty_moov"]),
    ],
)
def test_a_film_that_lacks_pictures_is_sent_at_a_constant_rate_whatever_its_headers_say(
    decoder, tmp_path, name, coded
):
    path = tmp_path / name
    pictures = "testsrc2=s=160x90:r=30:d=2,select='lt(mod(n,4),3)'"
    run(["ffmpeg", "-v", "error", "-f", "lavfi", "-i", pictures, "-vsync", "vfr", *coded, str(path)])
    with path.open("rb") as source:
        probe = decoder.verify(source.fileno())
    assert probe.variable_frame_rate
    made = plan(probe, Bounds(), 5_000_000)
    assert isinstance(made, Conform)
    assert made.fps == "30/1"


def test_of_a_film_in_fragments_only_those_in_its_head_are_no_count_of_its_pictures(decoder, tmp_path):
    path = tmp_path / "hybrid.mp4"
    pictures = ["-f", "lavfi", "-i", "testsrc2=s=160x90:r=25:d=2"]
    run(["ffmpeg", "-v", "error", *pictures, *H264, "-g", "25", "-movflags", "frag_keyframe", str(path)])
    with path.open("rb") as source:
        probe = decoder.verify(source.fileno())
    assert (probe.seconds, probe.variable_frame_rate, probe.frames) == (2.0, False, None)


@pytest.mark.parametrize(
    ("rate", "tick", "timecode", "shown"),
    [("25", 512, "10:11:12:13", "10:11:12:23"), ("30000/1001", 1001, "00:59:59;28", "01:00:00;08")],
)
def test_a_timecode_track_that_was_trimmed_without_coding_begins_where_its_edit_list_does(
    decoder, tmp_path, rate, tick, timecode, shown
):
    path = tmp_path / "trimmed.mov"
    pictures = ["-f", "lavfi", "-i", f"testsrc2=s=160x90:r={rate}:d=2"]
    run(["ffmpeg", "-v", "error", *pictures, *H264, "-timecode", timecode, str(path)])
    data = bytearray(path.read_bytes())
    track = data.rindex(b"trak", 0, data.rindex(b"tmcd"))
    begin = data.index(b"elst", track) + 16
    assert data[begin : begin + 4] == bytes(4)
    data[begin : begin + 4] = (10 * tick).to_bytes(4, "big")
    path.write_bytes(data)
    with path.open("rb") as source:
        assert decoder.verify(source.fileno()).timecode == shown
        assert decoder.probe(source.fileno()).timecode == shown
