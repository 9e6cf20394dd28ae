"""A clip as editors drop them: it reaches the provider within its limits, and comes back for the timeline."""

import hashlib
import logging
import shutil
import signal
import subprocess
import tomllib

import pytest
import requests

from media_clips import ffprobe, run
from runway_sandbox import Render
from runway_sandbox.render import sample

GUIDED = """\
prompt = "deep winter"
model = "aleph2"
[[keyframe]]
at = "first"
image = "look.png"
"""
PIECES = """\
prompt = "deep winter"
long_clips = "trim"
start_seconds = 2
finish = "timeline"
finish_size = "source"
keep_untouched = true
"""


@pytest.fixture(scope="module")
def master(tmp_path_factory):
    """12 s of 1080p ProRes with sound and timecode: one second coded, and repeated."""
    folder = tmp_path_factory.mktemp("master")
    second, path = folder / "second.mov", folder / "master.mov"
    ffmpeg = ["ffmpeg", "-v", "error", "-nostdin", "-y"]
    picture = ["-f", "lavfi", "-i", "testsrc2=s=1920x1080:r=25:d=1"]
    run([*ffmpeg, *picture, "-c:v", "prores", "-profile:v", "0", str(second)])
    sound = ["-f", "lavfi", "-i", "sine=f=441.3:r=48000:d=12", "-ac", "2", "-c:a", "pcm_s16le"]
    twelve = ["-stream_loop", "11", "-i", str(second)]
    run([*ffmpeg, *twelve, *sound, "-c:v", "copy", "-timecode", "10:00:00:00", str(path)])
    return path


def part_of(master, path):
    """Give its first 2 s, which gen4_aleph takes, but no request holds."""
    run(["ffmpeg", "-v", "error", "-nostdin", "-i", str(master), "-t", "2", "-c", "copy", str(path)])
    return path


def drop(bay, master, sidecar=PIECES, name="master.mov"):
    """Drop a large clip without reading it into memory."""
    path = bay.inbox / name
    path.with_suffix(".toml").write_text(sidecar)
    part = bay.inbox / ".master.part"
    shutil.copyfile(master, part)
    part.rename(path)
    with master.open("rb") as file:
        bay.dropped[hashlib.file_digest(file, "sha256").hexdigest()] = name
    return path


def is_kept(bay, master, name):
    """Tell that a dropped clip lies whole in _done; the oracle knows no clip that was made to fit."""
    bay.is_checked = False
    return (bay.inbox / "_done" / name).read_bytes() == master.read_bytes()


def sound_of(path, *cut):
    """Return the samples of a clip as they decode."""
    command = ["ffmpeg", "-v", "error", "-nostdin", *cut, "-i", str(path), "-map", "0:a", "-f", "s16le", "-"]
    return subprocess.run(command, check=True, capture_output=True).stdout


@pytest.mark.slow
def test_a_long_master_arrives_within_limits_and_comes_back_for_the_timeline(open_bays, master):
    with open_bays(render=Render.ECHO) as bay:
        bay.configure(top='[web]\nlisten = "127.0.0.1:0"')
        bay.start()
        drop(bay, master)
        bay.until_retired(seconds=90)
        assert [n for n in bay.results() if n.startswith("master") and not n.endswith(".toml")] == [
            "master.mov",
            "master_untouched.mp4",
        ]
        sent = bay.outbox / "master_untouched.mp4"
        (create,) = bay.box.ledger.creates
        assert create.sha256 == hashlib.sha256(sent.read_bytes()).hexdigest()
        assert create.request_bytes < 5_000_000 + 1000
        seen = ffprobe(sent, "stream=codec_name,width,height,pix_fmt,r_frame_rate,nb_frames")
        assert (seen["codec_name"], seen["pix_fmt"], seen["r_frame_rate"]) == ("h264", "yuv420p", "25/1")
        assert seen["nb_frames"] == "125"
        assert abs(int(seen["width"]) / int(seen["height"]) - 16 / 9) < 0.01

        result = bay.outbox / "master.mov"
        seen = ffprobe(result, "stream=width,height,r_frame_rate,nb_frames")
        assert seen == {"width": "1920", "height": "1080", "r_frame_rate": "25/1", "nb_frames": "125"}
        assert ffprobe(result, "stream=codec_name", "a:0") == {"codec_name": "pcm_s16le"}
        got, asked = sound_of(result), sound_of(master)[2 * 48000 * 4 : 7 * 48000 * 4]
        assert got[: len(asked)] == asked
        assert len(got) - len(asked) < 48000 * 4 / 25  # less than a frame: packets are copied whole
        tags = run(
            ["ffprobe", "-v", "error", "-show_entries", "stream_tags=timecode", "-of", "csv", str(result)]
        )
        assert "10:00:02:00" in tags

        told = tomllib.loads((bay.outbox / "master.mov.toml").read_text())
        assert {k: told[k] for k in ("long_clips", "start_seconds", "finish", "finish_size")} == {
            "long_clips": "trim",
            "start_seconds": 2.0,
            "finish": "timeline",
            "finish_size": "source",
        }
        assert told["result"]["conformed"][0] == "cut to 5 s from 2 s on (it was 12 s)"
        assert told["result"]["sent_sha256"] == create.sha256
        assert told["result"]["credits_estimated"] == 75.0
        assert any("sound of the source" in change for change in told["result"]["finished"])
        assert tomllib.loads((bay.outbox / "master_untouched.mp4.toml").read_text())["result"]["untouched"]
        (job,) = bay.jobs()
        poster = bay.inbox / ".clipspool" / "posters" / f"{job}.jpg"
        assert poster.read_bytes().startswith(b"\xff\xd8\xff")
        assert bay.lying() == ["_done/master.mov", "_done/master.toml"]
        history = bay.told("show", job)["history"]
        (ready,) = [one for one in history if one["event"].lower() == "prepared"]
        assert ready["facts"]["sent_sha256"] == create.sha256
        assert bay.paid == 1
        assert bay.stop() == 0


def test_scope_of_a_second_goes_to_aleph2_with_bars_and_held_and_comes_back_as_it_was(open_bays, tmp_path):
    scope = tmp_path / "scope.mp4"
    run(
        [
            "ffmpeg",
            "-v",
            "error",
            "-f",
            "lavfi",
            "-i",
            "testsrc2=s=960x400:r=24:d=1",
            "-c:v",
            "libx264",
            str(scope),
        ]
    )
    with open_bays(render=Render.ECHO) as bay:
        bay.start()
        run(
            [
                "ffmpeg",
                "-v",
                "error",
                "-i",
                str(scope),
                "-frames:v",
                "1",
                "-vf",
                "scale=640:400",
                str(bay.inbox / "look.png"),
            ]
        )
        drop(bay, scope, name="scope.mp4", sidecar=GUIDED)
        bay.until_retired(seconds=60)
        seen = ffprobe(bay.outbox / "scope.mp4", "stream=width,height,nb_frames")
        assert seen == {"width": "960", "height": "400", "nb_frames": "24"}
        told = tomllib.loads((bay.outbox / "scope.mp4.toml").read_text())["result"]
        assert "last picture held to 2 s, the model's least (it is 1 s)" in told["conformed"]
        assert "black bars to the aspect that the model takes" in told["conformed"]
        assert "black bars cut off again (960x400 pixels are left)" in told["finished"]
        assert "24 frames cut off to the source's length" in told["finished"]
        again = tomllib.loads((bay.outbox / "scope.mp4.toml").read_text())
        assert again["keyframe"] == [{"at": "first", "image": "look.png"}]
        assert (bay.inbox / "look.png").exists(), "other clips may use it too"
        assert is_kept(bay, scope, "scope.mp4")
        assert bay.stop() == 0


def test_a_long_clip_that_may_not_be_cut_gets_a_note_that_says_how_long_it_is(bay, tmp_path):
    long = tmp_path / "long.mp4"
    sample(long, seconds=12, width=160, height=90)
    bay.start()
    drop(bay, long, name="master.mp4", sidecar='prompt = "deep winter"\n')
    note = bay.inbox / "master.mp4.problem.txt"
    bay.until(note.exists)
    text = note.read_text()
    assert "12 s" in text
    assert "at most 5 s" in text
    assert 'long_clips = "trim"' in text
    assert '"split": all, in parts' in text
    bay.write("master.toml", 'prompt = "deep winter"\nlong_clips = "trim"\n')
    bay.until_retired(seconds=40)
    assert not note.exists()
    assert is_kept(bay, long, "master.mp4")


@pytest.mark.slow
def test_a_crash_in_the_middle_of_conforming_costs_nothing_but_time(bay, master, tmp_path):
    bay.start()
    drop(bay, part_of(master, tmp_path / "part.mov"), 'prompt = "deep winter"\n')
    work = bay.inbox / ".clipspool" / "work"
    bay.until(lambda: list(work.glob("*/*.sent.mp4.part")), 30, "it conforms")
    bay.stop(signal.SIGKILL)
    assert bay.paid == 0
    bay.start()
    bay.until_retired(seconds=90)
    assert bay.paid == 1
    assert is_kept(bay, tmp_path / "part.mov", "master.mov")


@pytest.fixture
def s3():
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    from moto.server import ThreadedMotoServer  # noqa: PLC0415 - each of pytest's processes would load it

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    requests.put(f"http://{host}:{port}/clips", timeout=10).raise_for_status()
    yield f"http://{host}:{port}"
    server.stop()


def test_a_bucket_carries_the_clip_as_it_is_and_holds_nothing_afterwards(open_bays, master, tmp_path, s3):
    secret = "canary-s3cr3t-0f-the-bucket"
    with open_bays(render=Render.CANNED) as bay:
        bay.configure(top=f'[transport.bucket]\nname = "clips"\nendpoint = "{s3}"')
        bay.env |= {
            "CLIPSPOOL_TRANSPORT__BUCKET__ACCESS_KEY_ID": "an-id",
            "CLIPSPOOL_TRANSPORT__BUCKET__SECRET_ACCESS_KEY": secret,
        }
        clip = part_of(master, tmp_path / "large.mov")
        assert clip.stat().st_size > 3_750_000
        bay.start()
        drop(bay, clip, 'prompt = "deep winter"\n')
        bay.until_retired(seconds=40)
        (create,) = bay.box.ledger.creates
        assert create.sha256 == hashlib.sha256(clip.read_bytes()).hexdigest()
        assert create.request_bytes < 4096
        bay.until(lambda: "<Key>" not in requests.get(f"{s3}/clips?list-type=2", timeout=10).text)
        told = tomllib.loads((bay.outbox / "master.mp4.toml").read_text())["result"]
        assert told["transport"] == "bucket"
        assert "conformed" not in told
        assert bay.stop() == 0
        seen = bay.log.read_bytes()
        for path in (*bay.journal.parent.iterdir(), *bay.home.rglob("*.toml")):
            seen += path.read_bytes() if path.is_file() else b""
        assert secret.encode() not in seen
        assert b"X-Amz-" not in seen
