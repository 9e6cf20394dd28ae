"""The sound of a source comes along with its result, whatever its codec, its channels and its times are."""

import re
import subprocess

import pytest

from clipspool.media.facts import Finished
from clipspool.media.timeline import finish_plan
from media_clips import H264, ffprobe, run

PICTURES = ["-f", "lavfi", "-i", "testsrc2=s=160x90:r=25:d=2"]
CLICKS = "aevalsrc='{}':d=2:s=48000"
CLICK = "if(lt(mod(t,1),0.02),0.8*sin(2*PI*1000*t),0)"


def finished(decoder, clips, source, folder, **part):
    with clips("plain.mp4").open("rb") as made, source.open("rb") as original:
        wanted = finish_plan(decoder.verify(made.fileno()), decoder.verify(original.fileno()), **part)
        target = folder / f"finished.{wanted.container}"
        with target.open("w+b") as destination:
            done = decoder.finish(made.fileno(), original.fileno(), destination.fileno(), wanted)
    assert isinstance(done, Finished), done
    return target, done


def clicks_in(path):
    """Return when each click is heard, in seconds."""
    shape = ["-map", "0:a", "-ac", "1", "-ar", "48000", "-f", "s16le", "-"]
    heard = subprocess.run(["ffmpeg", "-v", "error", "-i", path, *shape], check=True, capture_output=True)
    samples = memoryview(heard.stdout).cast("h")
    loud = [number for number, sample in enumerate(samples) if abs(sample) > 3000]
    return [at / 48000 for before, at in zip([-48000, *loud], loud, strict=False) if at - before > 4800]


@pytest.mark.parametrize(
    ("name", "channels", "coded"),
    [
        ("adpcm.avi", 1, ["-c:v", "mjpeg", "-c:a", "adpcm_ms"]),
        ("adpcm.avi", 2, ["-c:v", "mjpeg", "-c:a", "adpcm_ms"]),
        ("windows.mkv", 2, [*H264, "-c:a", "wmav2"]),
        ("speech.mkv", 1, [*H264, "-c:a", "libspeex", "-ar", "16000"]),
        ("disc.m2ts", 2, [*H264, "-c:a", "pcm_bluray", "-f", "mpegts", "-mpegts_m2ts_mode", "1"]),
        ("broadcast.ts", 2, [*H264, "-c:a", "s302m", "-strict", "-2", "-ar", "48000"]),
        ("fragments.mp4", 1, [*H264, "-c:a", "aac", "-movflags", "frag_every_frame+empty_moov"]),
    ],
)
def test_sound_of_any_kind_comes_along(decoder, clips, tmp_path, name, channels, coded):
    source = tmp_path / name
    sound = ["-f", "lavfi", "-i", CLICKS.format("|".join([CLICK] * channels))]
    run(["ffmpeg", "-v", "error", *PICTURES, *sound, *coded, str(source)])
    target, done = finished(decoder, clips, source, tmp_path)
    assert ffprobe(target, "stream=channels", "a") == {"channels": str(channels)}
    assert clicks_in(target)[-1] == pytest.approx(1, abs=0.06)
    assert not any("lost" in change for change in done.changes)


@pytest.mark.parametrize(("name", "codec"), [("disc.m2ts", "pcm_bluray"), ("broadcast.ts", "s302m")])
def test_sound_without_loss_stays_so_whatever_packs_it(decoder, clips, tmp_path, name, codec):
    source = tmp_path / name
    sound = ["-f", "lavfi", "-i", CLICKS.format(f"{CLICK}|{CLICK}")]
    coded = [*H264, "-c:a", codec, "-strict", "-2", "-f", "mpegts"]
    coded += ["-mpegts_m2ts_mode", "1"] if name.endswith("m2ts") else []
    run(["ffmpeg", "-v", "error", *PICTURES, *sound, *coded, str(source)])
    target, _ = finished(decoder, clips, source, tmp_path)
    assert ffprobe(target, "stream=codec_name", "a")["codec_name"].startswith("pcm_s")


@pytest.mark.parametrize("codec", ["flac", "libvorbis"])
def test_sound_behind_a_short_gap_stays_with_its_pictures(decoder, clips, tmp_path, codec):
    sound, source = tmp_path / "sound.mkv", tmp_path / "gap.mkv"
    later = ["-af", "asetpts='PTS+if(gt(T,0.5),0.05,0)/TB'", "-c:a", codec]
    run(["ffmpeg", "-v", "error", "-f", "lavfi", "-i", CLICKS.format(CLICK), *later, str(sound)])
    tracks = ["-map", "0", "-map", "1", *H264, "-c:a", "copy"]
    run(["ffmpeg", "-v", "error", *PICTURES, "-i", str(sound), *tracks, str(source)])
    target, _ = finished(decoder, clips, source, tmp_path)
    assert clicks_in(target)[-1] == pytest.approx(1.05, abs=0.006)


def test_a_track_of_which_nothing_can_be_read_is_said_to_be_lost(decoder, clips, tmp_path):
    source = tmp_path / "source.mkv"
    sound = ["-f", "lavfi", "-i", CLICKS.format(f"{CLICK}|{CLICK}")]
    coded = [*H264, "-c:a", "copy", "-bsf:a", "noise=amount=1"]
    first = tmp_path / "flac.mkv"
    run(["ffmpeg", "-v", "error", *sound, "-c:a", "flac", str(first)])
    run(["ffmpeg", "-v", "error", *PICTURES, "-i", str(first), *coded, str(source)])
    _, done = finished(decoder, clips, source, tmp_path)
    assert "lost from the source: 1 of 1 tracks of sound, of which nothing can be read" in done.changes


def test_sound_that_a_broadcast_damaged_comes_along_around_the_damage(decoder, clips, tmp_path):
    source = tmp_path / "broadcast.ts"
    sound = ["-f", "lavfi", "-i", CLICKS.format(f"{CLICK}|{CLICK}")]
    run(["ffmpeg", "-v", "error", *PICTURES, *sound, *H264, "-c:a", "aac", str(source)])
    data = bytearray(source.read_bytes())
    headers = [match.start() for match in re.finditer(rb"\xff\xf1[\x40-\x5f]", data)]
    for at in headers[40:60:4]:
        data[at + 5] ^= 0x84  # another length than it has
    source.write_bytes(data)
    target, _ = finished(decoder, clips, source, tmp_path)
    assert clicks_in(target)[0] == pytest.approx(0, abs=0.06)


def test_the_first_sound_is_kept_where_a_pause_precedes_it_before_the_first_picture(decoder, clips, tmp_path):
    source = tmp_path / "fragments.mp4"
    sound = ["-f", "lavfi", "-i", CLICKS.format(CLICK)]
    coded = [*H264, "-bf", "2", "-c:a", "aac", "-movflags", "frag_keyframe+empty_moov"]
    run(["ffmpeg", "-v", "error", *PICTURES, *sound, *coded, str(source)])
    target, _ = finished(decoder, clips, source, tmp_path)
    assert clicks_in(target) == [pytest.approx(0, abs=0.02), pytest.approx(1, abs=0.02)]


def test_the_coded_sound_of_a_part_is_where_its_pictures_are_also_of_an_avi_that_counts_packets(
    decoder, clips, tmp_path
):
    source = tmp_path / "adpcm.avi"
    sound = ["-f", "lavfi", "-i", CLICKS.format(f"{CLICK}|{CLICK}"), "-ar", "44100"]
    run(["ffmpeg", "-v", "error", *PICTURES, *sound, "-c:v", "mjpeg", "-c:a", "adpcm_ima_wav", str(source)])
    target, _ = finished(decoder, clips, source, tmp_path, start_seconds=0.6, seconds=1.0)
    assert clicks_in(target) == [pytest.approx(0.4, abs=0.006)]
