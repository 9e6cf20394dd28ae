"""Clips made to fit, results made ready for the timeline, and pictures, all checked with ffprobe."""

import subprocess
from fractions import Fraction
from pathlib import Path

import pytest

from clipspool.media.decoder import Decoder
from clipspool.media.facts import Conformed, Finished, MediaFault, Picture
from clipspool.media.plan import Bounds, Conform, plan
from clipspool.media.timeline import Bars, FinishChoices, finish_plan
from media_clips import ffprobe, run

LOSSLESS = ["-c:v", "libx264", "-qp", "1", "-pix_fmt", "yuv420p"]
MODEL = Bounds(width_max=240, height_max=240, fps_max=30, seconds_max=5)


def conformed(decoder, path, target, limits=MODEL, bytes_max=200_000, **choices):
    with path.open("rb") as source, target.open("w+b") as destination:
        probe = decoder.verify(source.fileno())
        made = plan(probe, limits, bytes_max, **choices)
        assert isinstance(made, Conform), made
        return probe, made, decoder.conform(source.fileno(), destination.fileno(), made)


@pytest.mark.parametrize(
    "name",
    [
        "prores.mov",
        "hevc10.mkv",
        "vp9.webm",
        "live.webm",
        "av1.mp4",
        "varying.mp4",
        "rotated.mp4",
        "anamorphic.mp4",
        "fast.mp4",
        "interlaced.mp4",
        "fragments.mp4",
        "wide.mp4",
    ],
)
def test_any_clip_becomes_an_mp4_that_the_model_takes(decoder, clips, tmp_path, name):
    target = tmp_path / "made.mp4"
    limits = MODEL if name != "wide.mp4" else Bounds(width_max=240, height_max=240, aspect_max=3)
    probe, made, found = conformed(decoder, clips(name), target, limits)
    assert isinstance(found, Conformed), found
    seen = ffprobe(
        target, "stream=codec_name,width,height,pix_fmt,avg_frame_rate,r_frame_rate,nb_frames,duration"
    )
    seen |= ffprobe(target, "stream=sample_aspect_ratio")
    assert (seen["codec_name"], seen["pix_fmt"], seen["sample_aspect_ratio"]) == ("h264", "yuv420p", "1:1")
    width, height = int(seen["width"]), int(seen["height"])
    assert max(width, height) <= 240
    assert abs(height - width * probe.height / probe.width) <= 1
    assert seen["avg_frame_rate"] == seen["r_frame_rate"] == made.fps
    assert Fraction(seen["avg_frame_rate"]) <= 30
    assert abs(float(seen["duration"]) - probe.seconds) <= 1 / Fraction(made.fps)
    assert target.stat().st_size <= 200_000
    assert not ffprobe(target, "stream=codec_name", "a")
    assert found.facts.rotation == 0


def same_picture(path, filters, other, other_filters):
    """Return how alike two clips' first pictures are: SSIM, 1.0 is the same."""
    graph = f"[0:v]{filters}[a];[1:v]{other_filters}[b];[a][b]ssim=stats_file=-"
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-i", str(other), "-lavfi", graph]
    printed = run([*command, "-frames:v", "1", "-f", "null", "-"])
    return float(printed.split("All:")[1].split()[0])


@pytest.mark.parametrize("name", ["rotated.mp4", "prores.mov", "vp9.webm"])
def test_the_picture_stays_the_same_and_upright(decoder, clips, tmp_path, name):
    target = tmp_path / "made.mp4"
    conformed(decoder, clips(name), target)
    width, height = (ffprobe(target, "stream=width,height")[side] for side in ("width", "height"))
    assert same_picture(clips(name), f"scale={width}:{height},format=yuv420p", target, "null") > 0.95


@pytest.mark.parametrize("name", ["pq.mp4", "hlg.mov"])
def test_hdr_is_mapped_to_sdr_and_looks_like_the_sdr_it_was_made_from(decoder, clips, tmp_path, name):
    target = tmp_path / "made.mp4"
    _, _, found = conformed(decoder, clips(name), target)
    assert (found.facts.transfer, found.facts.bit_depth) == ("bt709", 8)
    assert ffprobe(target, "stream=color_space")["color_space"] == "bt709"
    plain = same_picture(clips("plain.mp4"), "scale=240:134,format=yuv420p", target, "scale=240:134")
    assert plain > 0.7


def brightness_of(path):
    """Return the luma of the first picture as it is stored, in 16 by 9 fields."""
    look = ["-map", "0:v", "-frames:v", "1", "-vf", "extractplanes=y,scale=16:9:flags=area"]
    command = ["ffmpeg", "-v", "error", "-nostdin", "-i", str(path), *look, "-f", "rawvideo", "-"]
    return subprocess.run(command, check=True, capture_output=True).stdout


@pytest.mark.parametrize(("name", "matrix"), [("bt709.mp4", "bt709"), ("bt2020.mp4", "bt2020nc")])
def test_colours_stay_as_they_are_coded_and_the_clip_says_how(decoder, clips, tmp_path, name, matrix):
    source, made = clips(name), tmp_path / "made.mp4"
    conformed(decoder, source, made)
    home, _ = finished(decoder, source, clips("two_seconds.mp4"), tmp_path)
    assert ffprobe(home, "stream=nb_frames")["nb_frames"] == "48"
    for path in (made, home):
        assert ffprobe(path, "stream=color_space,color_range") == {"color_space": matrix, "color_range": "tv"}
        pairs = zip(brightness_of(source), brightness_of(path), strict=True)
        assert max(abs(one - other) for one, other in pairs) < 6


def test_noise_never_goes_above_the_byte_limit(decoder, clips, tmp_path):
    for bytes_max in (30_000, 60_000, 100_000):
        target = tmp_path / "made.mp4"
        _, _, found = conformed(decoder, clips("noise.mp4"), target, bytes_max=bytes_max)
        assert isinstance(found, Conformed | MediaFault)
        assert target.stat().st_size <= bytes_max
        if isinstance(found, MediaFault):
            assert found.code == "MEDIA.CANNOT_FIT"


def test_coding_reports_its_runs_and_how_many_pictures_of_each_are_coded(decoder, clips, tmp_path):
    told = []
    # Reports come every 0.5 s, so a run has to take longer on a quick machine, too.
    with clips("long_noise.mp4").open("rb") as source, (tmp_path / "made.mp4").open("w+b") as target:
        made = plan(decoder.verify(source.fileno()), MODEL, 200_000)
        decoder.conform(source.fileno(), target.fileno(), made, on_share=lambda *one: told.append(one))
    assert told
    assert told == sorted(told)
    assert max(run for run, _ in told) > 1
    assert all(0 <= share <= 1 for _, share in told)


def memory_of(decoder):
    status = Path(f"/proc/{decoder._children[0]._process.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) // 1024


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length_of_a_clip(clips, tmp_path):
    megabytes = []
    for name in ("small_4_seconds.mp4", "small_40_seconds.mp4"):
        decoder = Decoder()
        limits = Bounds(width_max=64, height_max=64, audio_used=True)
        conformed(decoder, clips(name), tmp_path / "made.mp4", limits, bytes_max=None)
        megabytes.append(memory_of(decoder))
        decoder.close()
    assert megabytes[1] - megabytes[0] < 10, megabytes


@pytest.mark.slow
def test_8k_is_made_to_fit_and_finished_within_the_memory(decoder, clips, tmp_path):
    limits = Bounds(seconds_max=5)
    _, made, found = conformed(decoder, clips("eight_k.mp4"), tmp_path / "made.mp4", limits, 3_700_000)
    assert isinstance(found, Conformed), found
    assert (found.facts.width, found.facts.height) == (made.width, made.height) == (4096, 2304)
    target, done = finished(
        decoder, clips("plain.mp4"), clips("eight_k.mp4"), tmp_path, wanted=FinishChoices(dimensions=True)
    )
    assert isinstance(done, Finished), done
    assert ffprobe(target, "stream=width,height,nb_frames") == {
        "width": "7680",
        "height": "4320",
        "nb_frames": "10",
    }


AS_ON_MANY = """
import resource, sys
from clipspool.media import child, memory
memory.processors = lambda: 128
child.main()
"""


@pytest.mark.slow
def test_work_fits_into_its_memory_on_a_machine_of_many_processors(clips, tmp_path, monkeypatch):
    clip, begin = clips("full_hd.mov"), subprocess.Popen

    def many(command, **how):
        return begin([command[0], "-P", "-c", AS_ON_MANY, *command[4:]], **how)

    monkeypatch.setattr(subprocess, "Popen", many)
    decoder = Decoder()
    _, _, found = conformed(decoder, clip, tmp_path / "made.mp4", Bounds(), 3_700_000)
    decoder.close()
    assert isinstance(found, Conformed), found


def test_a_full_disk_is_said_and_leaves_the_process_alive(decoder, clips, tmp_path):
    mount = tmp_path / "small"
    mount.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "none", str(mount)], check=False).returncode:
        pytest.skip("only root can mount a small disk")
    try:
        _, _, found = conformed(decoder, clips("noise.mp4"), mount / "made.mp4", bytes_max=None)
        assert found.code == "MEDIA.NO_SPACE", found
    finally:
        run(["umount", str(mount)])
    _, _, found = conformed(decoder, clips("noise.mp4"), tmp_path / "made.mp4")
    assert isinstance(found, Conformed)


def test_sound_is_kept_where_the_model_uses_it(decoder, clips, tmp_path):
    target = tmp_path / "made.mp4"
    limits = Bounds(width_max=240, height_max=240, audio_used=True)
    conformed(decoder, clips("prores.mov"), target, limits)
    seen = ffprobe(target, "stream=codec_name,duration", "a")
    assert seen["codec_name"] == "aac"
    assert float(seen["duration"]) == pytest.approx(1.5, abs=0.03)


def test_a_cut_clip_begins_where_the_editor_said(decoder, clips, tmp_path):
    target = tmp_path / "made.mp4"
    limits = Bounds(width_max=320, height_max=240, seconds_max=0.5)
    conformed(decoder, clips("two_seconds.mp4"), target, limits, long_clips="trim", start_seconds=1.25)
    assert ffprobe(target, "stream=nb_frames,duration") == {"nb_frames": "12", "duration": "0.500000"}
    cut = "trim=start=1.25,setpts=PTS-STARTPTS"
    assert same_picture(clips("two_seconds.mp4"), cut, target, "null") > 0.95


def finished(decoder, result, source, folder, **choices):
    with result.open("rb") as made, source.open("rb") as original:
        wanted = finish_plan(decoder.verify(made.fileno()), decoder.verify(original.fileno()), **choices)
        target = folder / f"finished.{wanted.container}"
        with target.open("w+b") as destination:
            return target, decoder.finish(made.fileno(), original.fileno(), destination.fileno(), wanted)


@pytest.mark.parametrize("start", [1.0, 1.019, 1.021])
def test_pictures_and_sound_stay_in_step_wherever_a_part_begins(decoder, tmp_path, start):
    source, sent = tmp_path / "clicks.mov", tmp_path / "sent.mp4"
    flashes = "color=black:s=64x64:r=25:d=4,geq=lum='if(eq(mod(N,25),0),235,16)':cb=128:cr=128"
    clicks = "aevalsrc='if(lt(mod(t,1),0.02),0.8*sin(2*PI*1000*t),0)':d=4:s=48000"
    inputs = ["-f", "lavfi", "-i", flashes, "-f", "lavfi", "-i", clicks]
    pcm = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "pcm_s16le"]
    run(["ffmpeg", "-v", "error", *inputs, *pcm, str(source)])
    limits = Bounds(seconds_max=2.5)
    probe, made, _ = conformed(decoder, source, sent, limits, long_clips="trim", start_seconds=start)
    target, _ = finished(
        decoder, sent, source, tmp_path, start_seconds=made.start_seconds, seconds=made.seconds
    )
    pictures = ["-vf", "scale=1:1", "-f", "rawvideo", "-pix_fmt", "gray", "-"]
    sound = ["-map", "0:a", "-f", "s16le", "-"]
    shown, heard = (
        subprocess.run(
            ["ffmpeg", "-v", "error", "-i", str(target), *out], check=True, capture_output=True
        ).stdout
        for out in (pictures, sound)
    )
    flash = next(number for number, level in enumerate(shown) if level > 128 and number > 5)
    samples = memoryview(heard).cast("h")
    click = next(number for number, level in enumerate(samples) if abs(level) > 3000 and number > 9600)
    assert abs(flash / 25 - click / 48000) < 0.002, (start, probe.fps)


def test_scope_is_sent_with_black_bars_and_comes_back_without(decoder, tmp_path):
    source, sent, home = tmp_path / "scope.mkv", tmp_path / "sent.mp4", tmp_path / "home.mp4"
    run(["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=480x200:r=24:d=1", *LOSSLESS, str(source)])
    _, made, _ = conformed(decoder, source, sent, Bounds(seconds_min=2.0), 900_000)
    assert ffprobe(sent, "stream=width,height,nb_frames") == {
        "width": "480",
        "height": "240",
        "nb_frames": "48",
    }
    with sent.open("rb") as result, home.open("w+b") as target:
        seen = decoder.probe(result.fileno())
        bars = Bars(made.width, made.height, made.picture_aspect)
        wanted = finish_plan(seen, seen, seconds=made.own_seconds, bars=bars)
        assert isinstance(decoder.finish(result.fileno(), result.fileno(), target.fileno(), wanted), Finished)
    assert ffprobe(home, "stream=width,height,nb_frames") == {
        "width": "480",
        "height": "200",
        "nb_frames": "24",
    }
    assert same_picture(source, "null", home, "null") > 0.97


def packets_of_sound(path):
    return run(["ffmpeg", "-v", "error", "-i", str(path), "-map", "0:a", "-c", "copy", "-f", "md5", "-"])


def test_a_result_gets_the_sound_timecode_rate_and_length_of_its_source(decoder, clips, tmp_path):
    source = clips("prores.mov")
    target, found = finished(decoder, clips("plain.mp4"), source, tmp_path)
    assert isinstance(found, Finished), found
    assert target.suffix == ".mov"
    seen = ffprobe(target, "stream=nb_frames,avg_frame_rate:stream_tags=timecode")
    assert seen == {"nb_frames": "36", "avg_frame_rate": "24000/1001", "TAG:timecode": "01:02:03:04"}
    assert packets_of_sound(target) == packets_of_sound(source)
    assert any("held" in change for change in found.changes)
    assert any("timecode 01:02:03:04" in change for change in found.changes)


def test_a_result_that_matches_is_not_coded_again(decoder, clips, tmp_path):
    target, _ = finished(decoder, clips("plain.mp4"), clips("sound.mp4"), tmp_path)
    assert packets_of_sound(target) == packets_of_sound(clips("sound.mp4"))
    pictures = ["-map", "0:v", "-c", "copy", "-bsf:v", "h264_mp4toannexb", "-f", "md5", "-"]
    hashes = [
        run(["ffmpeg", "-v", "error", "-i", str(path), *pictures]) for path in (target, clips("plain.mp4"))
    ]
    assert hashes[0] == hashes[1]


def tracks_of(path):
    """Return the MD5 of each track's packets, and its language."""
    hashes = run(
        ["ffmpeg", "-v", "error", "-i", str(path), "-map", "0:a", "-c", "copy", "-f", "streamhash", "-"]
    )
    return hashes, [
        ffprobe(path, "stream_tags=language", f"a:{number}") for number in range(len(hashes.splitlines()))
    ]


def test_every_track_of_sound_comes_along_to_its_own_end(decoder, clips, tmp_path):
    source = clips("tracks.mov")
    target, found = finished(decoder, clips("plain.mp4"), source, tmp_path)
    assert isinstance(found, Finished), found
    assert tracks_of(target) == tracks_of(source)
    assert len(tracks_of(source)[1]) == 2
    assert "sound of the source added (2 of 2 tracks), as it was (pcm_s24le)" in found.changes


def test_prores_that_matches_stays_the_prores_it_was_and_has_its_timecode(decoder, clips, tmp_path):
    source = clips("tracks.mov")
    target, _ = finished(decoder, source, source, tmp_path)
    entries = "stream=codec_tag_string,nb_frames,avg_frame_rate:stream_tags=timecode"
    assert ffprobe(target, entries) == ffprobe(source, entries)
    assert ffprobe(target, entries)["TAG:timecode"] == "00:00:59;20"


def test_lossless_sound_stays_so_as_pcm(decoder, clips, tmp_path):
    target, _ = finished(decoder, clips("plain.mp4"), clips("flac.mkv"), tmp_path)
    assert ffprobe(target, "stream=codec_name", "a")["codec_name"].startswith("pcm_s")
    samples = ["-map", "0:a", "-f", "s24le", "-"]
    heard = [
        subprocess.run(["ffmpeg", "-v", "error", "-i", str(path), *samples], check=True, capture_output=True)
        for path in (target, clips("flac.mkv"))
    ]
    assert heard[0].stdout == heard[1].stdout


def test_sound_that_the_container_does_not_take_becomes_aac(decoder, clips, tmp_path):
    path = tmp_path / "vorbis.mkv"
    run(
        [
            "ffmpeg",
            "-v",
            "error",
            "-i",
            str(clips("sound.mp4")),
            "-c:v",
            "copy",
            "-c:a",
            "libvorbis",
            str(path),
        ]
    )
    target, found = finished(decoder, clips("two_seconds.mp4"), path, tmp_path)
    assert ffprobe(target, "stream=codec_name", "a") == {"codec_name": "aac"}
    assert ffprobe(target, "stream=nb_frames") == {"nb_frames": "24"}
    assert any("cut off" in change for change in found.changes)


def test_a_result_is_scaled_to_its_source_when_asked(decoder, clips, tmp_path):
    target, _ = finished(
        decoder, clips("wide.mp4"), clips("plain.mp4"), tmp_path, wanted=FinishChoices(dimensions=True)
    )
    assert ffprobe(target, "stream=width,height") == {"width": "320", "height": "180"}


@pytest.mark.parametrize(
    ("of", "sides"), [("prores.mov", ("640", "180")), ("rotated.mp4", ("360", "320"))], ids=["wide", "tall"]
)
def test_a_poster_is_one_small_jpeg_of_both_in_the_shape_of_the_result(decoder, clips, tmp_path, of, sides):
    path = tmp_path / "poster.jpg"
    with (
        clips("rotated.mp4").open("rb") as source,
        clips(of).open("rb") as result,
        path.open("w+b") as out,
    ):
        found = decoder.poster(source.fileno(), result.fileno(), out.fileno())
    assert isinstance(found, Picture)
    assert path.stat().st_size == found.size_bytes < 50_000
    assert ffprobe(path, "stream=codec_name,width,height") == {
        "codec_name": "mjpeg",
        "width": sides[0],
        "height": sides[1],
    }


@pytest.mark.parametrize(
    ("name", "format_", "width", "height"),
    [("photo.jpg", "jpeg", 500, 281), ("photo.webp", "jpeg", 500, 375), ("glass.png", "png", 333, 500)],
)
def test_a_large_reference_is_scaled_within_its_limits(
    decoder, clips, tmp_path, name, format_, width, height
):
    path = tmp_path / "small"
    with clips(name).open("rb") as source, path.open("w+b") as out:
        facts = decoder.image_facts(source.fileno())
        found = decoder.scale_image(
            source.fileno(), out.fileno(), width_max=500, height_max=500, bytes_max=400_000
        )
    assert isinstance(facts, Picture)
    assert (found.format, found.width, found.height) == (format_, width, height)
    assert path.stat().st_size <= 400_000
    codec = {"jpeg": "mjpeg", "png": "png"}[format_]
    assert ffprobe(path, "stream=codec_name,width") == {"codec_name": codec, "width": str(width)}


def test_a_reference_is_made_smaller_until_it_fits_its_bytes(decoder, clips, tmp_path):
    path = tmp_path / "small.jpg"
    with clips("photo.jpg").open("rb") as source, path.open("w+b") as out:
        found = decoder.scale_image(
            source.fileno(), out.fileno(), width_max=1600, height_max=1600, bytes_max=9000
        )
    assert found.size_bytes <= 9000
    with clips("plain.mp4").open("rb") as source, path.open("w+b") as out:
        found = decoder.scale_image(source.fileno(), out.fileno(), width_max=9, height_max=9, bytes_max=9000)
    assert found.code == "MEDIA.UNREADABLE"


TAGS = """;FFMETADATA1
title=Scene 12
make=Sony
[CHAPTER]
TIMEBASE=1/1000
START=0
END=1000
title=one
[CHAPTER]
TIMEBASE=1/1000
START=1000
END=2000
title=two
"""


def test_reel_name_chapters_and_tags_come_along_and_what_is_lost_is_said(decoder, clips, tmp_path):
    tags, captions, source = tmp_path / "tags.txt", tmp_path / "captions.srt", tmp_path / "source.mov"
    tags.write_text(TAGS)
    captions.write_text("1\n00:00:00,000 --> 00:00:01,000\nHello\n")
    inputs = ["-i", str(clips("two_seconds.mp4")), "-i", str(tags), "-i", str(captions)]
    named = ["-timecode", "10:00:00:00", "-metadata:s:v:0", "reel_name=A001C003"]
    maps = ["-map", "0:v", "-map", "2:s", "-map_metadata", "1", "-map_chapters", "1", "-c:s", "mov_text"]
    run(["ffmpeg", "-v", "error", *inputs, *maps, "-c:v", "copy", *named, str(source)])
    target, found = finished(decoder, clips("two_seconds.mp4"), source, tmp_path)
    assert target.suffix == ".mov"
    assert ffprobe(target, "stream_tags=timecode,reel_name", "d:0") == {
        "TAG:timecode": "10:00:00:00",
        "TAG:reel_name": "A001C003",
    }
    seen = run(["ffprobe", "-v", "error", "-show_chapters", "-show_entries", "format_tags", str(target)])
    assert "TAG:title=Scene 12" in seen
    assert "TAG:make=Sony" in seen
    assert "TAG:title=one" in seen
    assert "TAG:title=two" in seen
    (kept,) = [change for change in found.changes if change.startswith("kept from the source: ")]
    assert "reel name A001C003, 2 chapters" in kept
    assert "title" in kept


def test_captions_and_tags_that_the_container_does_not_take_are_said_to_be_lost(decoder, clips, tmp_path):
    captions, source = tmp_path / "captions.srt", tmp_path / "source.mkv"
    captions.write_text("1\n00:00:00,000 --> 00:00:01,000\nHello\n")
    inputs = ["-i", str(clips("two_seconds.mp4")), "-i", str(captions)]
    run(["ffmpeg", "-v", "error", *inputs, "-c:v", "copy", "-metadata", "SHOTLOG=B-roll", str(source)])
    _, found = finished(decoder, clips("two_seconds.mp4"), source, tmp_path)
    (lost,) = [change for change in found.changes if change.startswith("lost from the source: ")]
    assert "captions (" in lost
    assert "SHOTLOG" in lost


def test_a_second_video_track_and_a_cover_picture_are_said_to_be_lost(decoder, clips, tmp_path):
    source, two = tmp_path / "source.mp4", str(clips("two_seconds.mp4"))
    cover = ["-f", "lavfi", "-i", "color=red:s=64x64:d=1", "-map", "0:v", "-map", "1:v", "-map", "2:v"]
    kept = ["-c:v", "copy", "-c:v:2", "mjpeg", "-frames:v:2", "1", "-disposition:v:2", "attached_pic"]
    run(["ffmpeg", "-v", "error", "-i", two, "-i", two, *cover, *kept, str(source)])
    _, found = finished(decoder, clips("two_seconds.mp4"), source, tmp_path)
    (lost,) = [change for change in found.changes if change.startswith("lost from the source: ")]
    assert "another video track (h264), a cover picture" in lost
    with source.open("rb") as file:
        probe = decoder.probe(file.fileno())
    assert (probe.besides, probe.video_tracks) == (("another video track (h264)", "a cover picture"), 2)


@pytest.mark.parametrize(("codec", "name"), [("prores", "prores"), ("dnxhr", "dnxhd")])
def test_a_result_becomes_a_codec_for_editing_when_asked(decoder, clips, tmp_path, codec, name):
    target, _ = finished(
        decoder,
        clips("two_seconds.mp4"),
        clips("two_seconds.mp4"),
        tmp_path,
        wanted=FinishChoices(codec=codec),
    )
    seen = ffprobe(target, "stream=codec_name,pix_fmt,nb_frames")
    assert seen == {"codec_name": name, "pix_fmt": "yuv422p10le", "nb_frames": "48"}


@pytest.mark.parametrize("layout", ["5.1(side)", "7.1", "hexadecagonal"])
def test_the_layout_of_many_channels_comes_along(decoder, clips, tmp_path, layout):
    """That of eight has an order of its own in a MOV: PyAV dies of it if it is not kept from it."""
    source = tmp_path / "surround.mov"
    sound = ["-f", "lavfi", "-i", "sine=r=96000:d=2", "-af", f"aformat=channel_layouts={layout}"]
    pcm = ["-c:v", "copy", "-c:a", "pcm_s24le"]
    run(["ffmpeg", "-v", "error", "-i", str(clips("two_seconds.mp4")), *sound, *pcm, str(source)])
    target, _ = finished(decoder, clips("two_seconds.mp4"), source, tmp_path)
    entries = "stream=channels,channel_layout"
    assert ffprobe(target, entries, "a") == ffprobe(source, entries, "a")
