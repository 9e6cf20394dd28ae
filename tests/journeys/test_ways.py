"""Clips that reach the provider by its own uploads, and clips that are run again with their images."""

import hashlib
import shutil
import signal
import tomllib

import pytest

from media_clips import clip as media_clip
from media_clips import run

UPLOADS = '[transport]\nmode = "upload"'


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return tmp_path_factory.mktemp("clips")


@pytest.fixture(scope="module")
def master(clips):
    """Return 2 s of ProRes with sound and timecode, larger than any request holds."""
    path = clips / "master.mov"
    picture = ["-f", "lavfi", "-i", "testsrc2=s=1280x720:r=25:d=2", "-c:v", "prores", "-profile:v", "2"]
    sound = ["-f", "lavfi", "-i", "sine=r=48000:d=2", "-c:a", "pcm_s16le", "-timecode", "10:00:00:00"]
    run(["ffmpeg", "-v", "error", "-nostdin", *picture[:4], *sound[:4], *picture[4:], *sound[4:], str(path)])
    assert path.stat().st_size > 3_750_000
    return path


def drop(bay, source, name, sidecar):
    data = source.read_bytes()
    bay.drop(name, sidecar, data)
    return hashlib.sha256(data).hexdigest()


def uploads_of(bay):
    """Count the placeholders and the forms that the provider took."""
    seen = [one for one in bay.box.ledger.requests if one.status in range(200, 300) and one.method == "POST"]
    return (
        sum(one.path.endswith("/uploads") for one in seen),
        sum(one.path.startswith("/_storage/") for one in seen),
    )


def told_of(bay):
    """Return everything that was written down: log, journal, papers."""
    places = [bay.log, *bay.journal.parent.iterdir(), *bay.home.rglob("*.toml"), *bay.home.rglob("*.txt")]
    return b"".join(path.read_bytes() for path in places if path.is_file())


def test_a_master_and_its_image_go_by_the_providers_uploads_as_they_are(open_bays, clips, master):
    with open_bays(uploads=True) as bay:
        bay.configure(top=UPLOADS)
        bay.start()
        shutil.copyfile(media_clip(clips, "photo.jpg"), bay.inbox / "look.jpg")
        sha256 = drop(bay, master, "master.mov", 'prompt = "winter"\nreferences = ["look.jpg"]\n')
        bay.until_retired(seconds=40)
        (create,) = bay.box.ledger.creates
        assert create.sha256 == sha256
        assert create.request_bytes < 4096
        assert uploads_of(bay) == (2, 2)
        assert not any(one.has_key for one in bay.box.ledger.requests if one.path.startswith("/_storage/"))
        told = tomllib.loads((bay.outbox / "master.mp4.toml").read_text())["result"]
        assert told["transport"] == "upload"
        assert "conformed" not in told
        assert bay.stop() == 0
        assert b"runway://" not in told_of(bay)


def test_an_upload_that_fails_costs_nothing_and_is_tried_again(open_bays, clips):
    with open_bays(uploads=True) as bay:
        bay.configure(top=UPLOADS)
        bay.box.misbehave("storage:503:times=1", "upload:drop-after:times=1")
        bay.start()
        drop(bay, media_clip(clips, "plain.mp4"), "shot.mp4", 'prompt = "winter"\n')
        bay.until_retired(seconds=60)
        assert bay.paid == 1
        first, then = [one["why"] for one in bay.events("stage_failed")]
        assert first == "the server cut the connection"
        assert "the provider's storage does not take the upload (HTTP 503)" in then
        assert uploads_of(bay) == (2, 1)


def test_what_was_uploaded_before_a_crash_is_uploaded_again_and_paid_once(open_bays, clips):
    with open_bays(uploads=True) as bay:
        bay.configure(top=UPLOADS)
        bay.box.misbehave("create:429:retry_after=0")
        bay.start()
        drop(bay, media_clip(clips, "plain.mp4"), "shot.mp4", 'prompt = "winter"\n')
        bay.until(lambda: bay.events("not_submitted"), 30, "it is uploaded and refused")
        assert uploads_of(bay) == (1, 1)
        bay.stop(signal.SIGKILL)
        bay.box.behave()
        bay.start()
        bay.until_retired(seconds=60)
        assert uploads_of(bay) == (2, 2)
        assert bay.paid == 1


def test_a_clip_that_failed_is_run_again_with_the_image_it_came_with(open_bays, clips):
    with open_bays() as bay:
        bay.box.misbehave("task:failure:times=1:code=INTERNAL")
        bay.start()
        shutil.copyfile(media_clip(clips, "photo.jpg"), bay.inbox / "look.jpg")
        drop(
            bay, media_clip(clips, "plain.mp4"), "shot.mp4", 'prompt = "winter"\nreferences = ["look.jpg"]\n'
        )
        work = bay.inbox / ".clipspool" / "work"
        bay.until_states("failed")
        bay.until(lambda: list(work.iterdir()) == [], what="its work folder was removed")
        (bay.inbox / "look.jpg").write_bytes(b"somebody reused the name")
        (job,) = bay.jobs()
        assert bay.call("retry", job, "--yes").returncode == 0
        bay.until_states("delivered", seconds=30)
        first, again = bay.box.ledger.creates
        assert first.request_bytes == again.request_bytes
        assert first.sha256 == again.sha256
        bay.until(lambda: "_done/shot.mp4" in bay.lying(), what="it is done")
