"""Clips of recorders and older tools: read, made to fit, finished; and waited for while not whole."""

import io
import struct

import pytest

from clipspool.media.boxes import Complete, Incomplete, completeness
from clipspool.media.facts import Conformed, Finished, Probe
from clipspool.media.plan import Bounds, Conform, plan
from clipspool.media.timeline import finish_plan
from media_clips import ffprobe, run

KINDS = {
    "xdcam.mxf": ("mxf", "mpeg2video", 25, 25),
    "dnx.mxf": ("mxf", "dnxhd", 10, 25),
    "motion.avi": ("avi", "mjpeg", 24, 24),
    "h264.avi": ("avi", "h264", 24, 24),
    "camera.ts": ("ts", "h264", 24, 24),
    "camera.mts": ("ts", "h264", 24, 24),
    "dvd.mpg": ("mpg", "mpeg2video", 25, 25),
    "moving.gif": ("gif", "gif", 10, 10),
}
WITHOUT_END = {"camera.ts", "camera.mts", "dvd.mpg"}
"""Nothing in a stream says where it ends; FFmpeg writes no end code into an MPG."""


@pytest.mark.parametrize("name", KINDS)
def test_a_clip_of_a_recorder_is_made_to_fit_with_every_picture_and_finished(decoder, clips, tmp_path, name):
    container, codec, frames, fps = KINDS[name]
    sent, home = tmp_path / "sent.mp4", tmp_path / "home"
    with clips(name).open("rb") as source, sent.open("w+b") as target, home.open("w+b") as timeline:
        probe = decoder.verify(source.fileno())
        assert isinstance(probe, Probe), probe
        assert (probe.container, probe.video_codec, probe.fps) == (container, codec, f"{fps}/1")
        assert probe.seconds == pytest.approx(frames / fps, abs=0.5 / fps)
        made = plan(probe, Bounds(), 3_000_000)
        assert isinstance(made, Conform)
        assert isinstance(decoder.conform(source.fileno(), target.fileno(), made), Conformed)
        assert ffprobe(sent, "stream=codec_name,nb_frames") == {
            "codec_name": "h264",
            "nb_frames": str(frames),
        }
        wanted = finish_plan(decoder.verify(target.fileno()), probe)
        done = decoder.finish(target.fileno(), source.fileno(), timeline.fileno(), wanted)
        assert isinstance(done, Finished), done
    assert ffprobe(home, "stream=nb_frames") == {"nb_frames": str(frames)}
    if probe.audio is not None:
        assert float(ffprobe(home, "stream=duration", "a")["duration"]) == pytest.approx(1.0, abs=0.06)
    if probe.timecode:
        assert ffprobe(home, "stream_tags=timecode") == {"TAG:timecode": probe.timecode}


@pytest.mark.parametrize("name", KINDS)
def test_a_copy_that_is_not_done_waits_and_a_whole_file_goes_on(clips, name):
    data = clips(name).read_bytes()
    verdict = completeness(io.BytesIO(data), len(data))
    assert isinstance(verdict, Complete), verdict
    assert bool(verdict.open_end) == (name in WITHOUT_END)
    for share in (0.3, 0.6, 0.95):
        part = data[: int(len(data) * share)]
        verdict = completeness(io.BytesIO(part), len(part))
        assert isinstance(verdict, Incomplete) or verdict.open_end, (name, share)


@pytest.mark.parametrize("name", ["camera.ts", "camera.mts"])
def test_a_stream_that_was_cut_out_of_a_broadcast_is_read_from_its_first_whole_packet(
    decoder, clips, tmp_path, name
):
    data = clips(name).read_bytes()
    for lost in (1, 3, 100, 187):
        verdict = completeness(io.BytesIO(data[lost:]), len(data) - lost)
        assert isinstance(verdict, Complete), (lost, verdict)
        assert "transport stream" in verdict.open_end
    cut = tmp_path / "cut.ts"
    cut.write_bytes(data[100:])
    with cut.open("rb") as file:
        found = decoder.verify(file.fileno())
    assert isinstance(found, Probe), found
    assert found.seconds == pytest.approx(1.0, abs=0.05)
    verdict = completeness(io.BytesIO(data[100:-50]), len(data) - 150)
    assert isinstance(verdict, Incomplete)
    assert "in the middle of a packet; one that was recorded so has to be exported anew" in verdict.reason


@pytest.mark.parametrize("name", ["dnx.mxf", "motion.avi", "camera.ts", "dvd.mpg"])
def test_a_file_whose_middle_was_not_written_yet_waits(clips, name):
    data = bytearray(clips(name).read_bytes())
    data[len(data) // 3 : len(data) * 2 // 3] = bytes(len(data) * 2 // 3 - len(data) // 3)
    verdict = completeness(io.BytesIO(data), len(data))
    assert isinstance(verdict, Incomplete)
    assert "was not written" in verdict.reason


def test_encrypted_clips_and_dolby_vision_5_are_refused_with_a_word(decoder, clips, tmp_path):
    hevc = tmp_path / "hevc.mp4"
    run(
        [
            "ffmpeg",
            "-v",
            "error",
            "-i",
            str(clips("hevc10.mkv")),
            "-c:v",
            "copy",
            "-an",
            "-tag:v",
            "hvc1",
            str(hevc),
        ]
    )
    plain = hevc.read_bytes()
    key = ["-encryption_scheme", "cenc-aes-ctr", "-encryption_key", "0" * 32, "-encryption_kid", "1" * 32]
    locked = tmp_path / "locked.mp4"
    run(["ffmpeg", "-v", "error", "-i", str(clips("plain.mp4")), "-c", "copy", *key, str(locked)])
    scrambled = bytearray(clips("camera.ts").read_bytes())
    scrambled[3::188] = bytes(byte | 0x80 for byte in scrambled[3::188])
    cases = {
        "encrypted": [locked.read_bytes(), bytes(scrambled)],
        "Dolby Vision profile 5": [with_dolby_vision(plain, 5)],
    }
    for word, films in cases.items():
        for film in films:
            path = tmp_path / "refused"
            path.write_bytes(film)
            with path.open("rb") as file:
                found = decoder.probe(file.fileno())
            assert found.code == "MEDIA.UNSUPPORTED", found
            assert word in found.message
    path.write_bytes(with_dolby_vision(plain, 8))
    with path.open("rb") as file:
        assert isinstance(decoder.probe(file.fileno()), Probe), "profile 8 has an HDR10 or HLG version"


def with_dolby_vision(film, profile):
    """Write the box of a Dolby Vision profile behind the film, in a box within its index."""
    at = film.index(b"moov") - 4
    length = int.from_bytes(film[at : at + 4], "big")
    dvcc = struct.pack(">I4sBBBB20x", 28, b"dvcC", 1, 0, profile << 1, 5)
    udta = struct.pack(">I4s", 8 + len(dvcc), b"udta") + dvcc
    assert at + length == len(film), "its index is at the end"
    return film[:at] + (length + len(udta)).to_bytes(4, "big") + film[at + 4 :] + udta
