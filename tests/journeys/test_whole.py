"""What is not whole, or was deleted by its editor, is not paid for by the real command, which says why."""

import hashlib
import subprocess

from films import cluster, info, matroska, tracks

PICTURE = ["-f", "lavfi", "-i", "testsrc2=s=320x240:r=15:d=2", "-c:v", "libx264", "-pix_fmt", "yuv420p"]
FRAGMENTS = ["-g", "15", "-movflags", "+frag_keyframe+empty_moov", "-f", "mp4", "-"]


def encoded(*arguments):
    return subprocess.run(
        ["ffmpeg", "-v", "error", *PICTURE, *arguments], check=True, capture_output=True
    ).stdout


def waiting(bay):
    return {one["path"]: one["reason"] for one in bay.told("status")["inboxes"][0]["waiting"]}


def test_deleted_clips_and_half_a_download_are_not_paid_for_and_what_is_whole_is(bay):
    for folder in ("@Recycle", "#snapshot", "System Volume Information", "day/@eaDir"):
        bay.drop(f"{folder}/old.mp4")
    bay.drop("half.mp4")
    control = bay.write("half.mp4.aria2", "control")
    bay.start()
    bay.drop("whole.mp4")
    bay.until_retired()
    assert bay.paid == 1
    assert set(waiting(bay)) == {"half.mp4"}
    assert "`half.mp4.aria2` is beside it" in waiting(bay)["half.mp4"]
    control.unlink()
    bay.until_retired(2)
    assert bay.paid == 2


def test_a_recording_that_stalls_is_not_paid_for_while_its_writer_has_it_open(bay):
    film = encoded(*FRAGMENTS)
    bay.dropped[hashlib.sha256(film).hexdigest()] = "rec.mp4"
    bay.configure(keys="unsure_seconds = 2")
    bay.start()
    bay.write("rec.toml", 'prompt = "deep winter"\n')
    end = film.rindex(b"moof") - 4
    with (bay.inbox / "rec.mp4").open("wb", buffering=0) as recorder:
        recorder.write(film[:end])
        bay.until(
            lambda: "open for writing" in waiting(bay).get("rec.mp4", ""), what="it waits for its writer"
        )
        bay.write("other.toml", 'prompt = "deep winter"\n')
        bay.drop("other.mp4")
        bay.until_retired(1)
        assert bay.paid == 1
        recorder.write(film[end:])
    bay.until_retired(2)
    assert (bay.inbox / "_done/rec.mp4").read_bytes() == film
    assert bay.paid == 2


def test_a_recording_without_an_end_says_what_it_waits_for(bay):
    bay.configure(keys="status_file = true")
    bay.start()
    live = matroska(info(), tracks(), cluster(0, length=0), length=0)
    bay.drop("live.mkv", data=live)
    bay.until(lambda: "5 minutes" in waiting(bay).get("live.mkv", ""), what="it says how long it waits")
    bay.until(
        lambda: (
            (bay.inbox / "_status.txt").exists()
            and "does not say where it ends"
            in (bay.inbox / "_status.txt").read_text().replace("\n      ", " ")
        ),
        what="the editor is told",
    )
    assert bay.paid == 0


def test_a_source_that_is_written_to_after_it_was_sent_is_told_of(bay):
    bay.is_checked = False  # by bytes, and these change
    bay.configure(keys='source = "delete"')
    bay.start()
    bay.drop("shot.mp4")
    bay.until(lambda: bay.paid == 1, what="it is paid for")
    (work,) = (bay.inbox / ".clipspool/work").glob("*/clip.mp4")
    with work.open("ab") as recorder:
        recorder.write(b"and more of it")
    bay.until_retired()
    assert "_done/shot.mp4.changed.txt" in bay.lying()
    assert "_done/shot.mp4" in bay.lying()
    assert "it changed after it was sent" in waiting(bay)["_done/shot.mp4"]
    assert bay.events("source_changed")
