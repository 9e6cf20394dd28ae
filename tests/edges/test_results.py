"""What becomes of a task's outputs before they are delivered: kinds, lengths, and what is kept."""

import io
from dataclasses import replace
from io import FileIO
from types import SimpleNamespace

import pytest

from clipspool.jobs.events import Fetched, PartlyFetched
from clipspool.jobs.model import Error, Held, Result, State
from clipspool.media.facts import Finished, MediaFault
from clipspool.media.kinds import C2PA_UUID, has_credentials, other_kind
from clipspool.media.reading import BLACK
from clipspool.media.timeline import FinishChoices, finish_plan
from clipspool.stages.finish import finish, judge
from clipspool.stages.retire import keep_results
from clipspool.stages.runner import StageRunner
from fakes import Bench, a_job, a_task, lying
from media_clips import ffprobe, run

FILM = Result("clip1-1.mp4", ".mp4", 4, "ab", number=1, seconds=1.0, frames=25, fps="25/1")
FETCHED = a_job(state=State.FETCHED, task=a_task())
CANCELLED = replace(FETCHED, state=State.CANCELLED, error=Error("CANCELLED", "by ann"), results=(FILM,))


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def film(path, *, source="testsrc2", rate=25, seconds=3, extra=()):
    shown = f"{source}{':' if '=' in source else '='}s=320x180:r={rate}:d={seconds}"
    coded = ["-c:v", "libx264", "-pix_fmt", "yuv420p", *extra, str(path)]
    run(["ffmpeg", "-v", "error", "-nostdin", "-y", "-f", "lavfi", "-i", shown, *coded])
    return path


# --- what was fetched of a job that ended without it ------------------------------------------------------


def test_what_was_fetched_of_a_job_that_ended_is_kept_beside_its_source(bench):
    (bench.work / FILM.file).write_bytes(b"film")
    keep_results(bench.clip, [CANCELLED], bench.bay)
    keep_results(bench.clip, [CANCELLED], bench.bay)  # again, after a crash
    assert lying(bench.path)["_failed/day/shot.result.mp4"] == b"film"


def test_a_name_that_is_taken_is_left_alone_and_variants_have_names_of_their_own(bench):
    (bench.path / "_failed/day").mkdir(parents=True)
    (bench.path / "_failed/day/shot_v2.result.mp4").write_bytes(b"another's")
    (bench.work / FILM.file).write_bytes(b"film")
    keep_results(bench.clip, [replace(CANCELLED, variant="_v2")], bench.bay)
    assert lying(bench.path)["_failed/day/shot_v2.result.mp4"] == b"another's"
    assert lying(bench.path)["_failed/day/shot_v2.result-2.mp4"] == b"film"


def test_what_is_delivered_is_not_kept_twice(bench):
    (bench.work / FILM.file).write_bytes(b"film")
    keep_results(bench.clip, [replace(FETCHED, state=State.DELIVERED, results=(FILM,))], bench.bay)
    keep_results(bench.clip, [replace(CANCELLED, results=(replace(FILM, name="shot.mp4"),))], bench.bay)
    assert not (bench.path / "_failed").exists()


# --- is it as long as what was sent -----------------------------------------------------------------------

MEDIA = {"container": "mp4", "size_bytes": 1, "seconds": 5.0, "frames": 125, "fps": "25/1"}


def judged(bench, result=FILM, seconds_max=None, **media):
    clip = replace(bench.clip, media=MEDIA | media, sha256="cd")
    return judge(FETCHED, clip, bench.bay, Fetched((result,)), seconds_max)


def test_a_result_far_too_short_names_both_lengths_and_both_ways_on(bench):
    event = judged(bench)
    assert "the result lasts 1 s (25 frames at 25 frames a second), and 5 s (125 frames" in event.doubt
    assert "`clipspool approve` delivers it as it is" in event.doubt
    assert event.results[0].noticed == (event.doubt.partition(";")[0],)


def test_what_a_model_does_not_use_of_a_clip_is_not_missed(bench):
    assert judged(bench, seconds_max=1.0).doubt == ""
    assert judged(bench, replace(FILM, seconds=5.0, frames=120, fps="24/1")).doubt == ""


def test_a_picture_is_no_film_and_the_very_file_that_was_sent_is_told_of(bench):
    assert judged(bench, Result("clip1-1.jpg", ".jpg", 4, "ab", number=1)).doubt == ""
    same = judged(bench, replace(FILM, sha256="cd", seconds=5.0, frames=125))
    assert (same.doubt, len(same.results[0].noticed)) == ("", 1)
    assert "the file that was sent, byte for byte" in same.results[0].noticed[0]


def test_what_was_noticed_is_said_once_however_often_it_is_judged(bench):
    first = judged(bench)
    again = judged(bench, first.results[0])
    assert (again.results, again.doubt) == (first.results, first.doubt)


@pytest.mark.parametrize("cancel_by", ["", "ann"])
def test_a_job_that_is_to_end_gives_what_is_here_though_there_is_no_room_to_finish_it(bench, cancel_by):
    """Tried again at once, and never with success, it would neither end nor deliver what was paid for."""
    (bench.work / FILM.file).write_bytes(b"film")
    full = MediaFault("MEDIA.NO_SPACE", "the disk is full", "")
    request = replace(FETCHED.request, finish="timeline")
    job = replace(FETCHED, state=State.RENDERED, request=request, cancel_by=cancel_by)
    decoder = SimpleNamespace(probe=lambda _file: full)
    event = finish(job, bench.clip, bench.bay, Fetched((FILM,)), decoder, attempt="a1")
    if not cancel_by:
        assert (type(event), event.held) == (PartlyFetched, Held.DISK)
        return
    assert event == Fetched((replace(FILM, finished=("left as it came: the disk is full",)),))


# --- what it is, by its bytes -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "suffix"),
    [
        (b"\xff\xd8\xff\xe0 a picture", ".jpg"),
        (b"\x89PNG\r\n\x1a\n...", ".png"),
        (b"RIFF....WEBPVP8 ", ".webp"),
        (b"RIFF....AVI LIST", ""),
        (b'{"seed": 1, "faces": []}', ".json"),
        (b'[{"frame": 0}]', ".json"),
        (b'{"error": "no such key"}', ""),
        (b'{"code": 404, "message": "gone"}', ""),
        (b'{"seed": 1', ""),
        (b"<!doctype html><html></html>", ""),
        (b"<?xml version='1.0'?><Error/>", ""),
        (b"", ""),
    ],
)
def test_an_output_is_what_its_bytes_are_and_an_error_is_none(data, suffix):
    assert other_kind(io.BytesIO(data)) == suffix


def uuid_box(identity):
    body = identity + bytes(200)
    return (8 + len(body)).to_bytes(4, "big") + b"uuid" + body


def test_content_credentials_are_found_where_they_stand_and_nothing_else_is_taken_for_them(tmp_path):
    plain = film(tmp_path / "plain.mp4", seconds=1).read_bytes()
    assert not has_credentials(io.BytesIO(plain))
    assert has_credentials(io.BytesIO(plain + uuid_box(C2PA_UUID)))
    assert not has_credentials(io.BytesIO(plain + uuid_box(bytes(16))))
    begins = int.from_bytes(plain[:4], "big")
    assert has_credentials(io.BytesIO(plain[:begins] + uuid_box(C2PA_UUID) + plain[begins:]))
    assert has_credentials(io.BytesIO(b"\x1a\x45\xdf\xa3 webm application/c2pa " + bytes(99)))


# --- its pictures -----------------------------------------------------------------------------------------


def finished(decoder, made, source, folder, **choices):
    with made.open("rb") as result, source.open("rb") as original:
        plan = finish_plan(decoder.verify(result.fileno()), decoder.verify(original.fileno()), **choices)
        target = folder / f"finished.{plan.container}"
        with target.open("w+b") as destination:
            done = decoder.finish(result.fileno(), original.fileno(), destination.fileno(), plan)
    assert isinstance(done, Finished), done
    return target, plan


def frames_of(path, size="320x180"):
    shown = ["-vf", f"scale={size.replace('x', ':')}:flags=neighbor", "-f", "framemd5", "-"]
    told = run(["ffmpeg", "-v", "error", "-i", str(path), "-fps_mode", "passthrough", *shown])
    return [line.rpartition(",")[2].strip() for line in told.splitlines() if line[:1] not in {"#", ""}]


def test_as_many_pictures_under_another_rate_are_placed_one_by_one(decoder, tmp_path):
    source = film(tmp_path / "source.mp4", rate=25)
    made = film(tmp_path / "made.mp4", rate=24, seconds=3.125, extra=["-bf", "2"])
    target, plan = finished(decoder, made, source, tmp_path)
    assert plan.copy_video
    seen = ffprobe(target, "stream=nb_frames,avg_frame_rate,duration")
    assert seen == {"nb_frames": "75", "avg_frame_rate": "25/1", "duration": "3.000000"}
    assert frames_of(target) == frames_of(made), "not a picture is another, or lost"


def test_as_many_pictures_are_placed_one_by_one_where_they_have_to_be_coded_again(decoder, tmp_path):
    source = film(tmp_path / "source.mp4", rate=25)
    made = film(tmp_path / "made.mp4", rate=24, seconds=3.125, extra=["-vf", "scale=160:90"])
    target, plan = finished(decoder, made, source, tmp_path, wanted=FinishChoices(dimensions=True))
    assert not plan.copy_video
    seen = ffprobe(target, "stream=nb_frames,avg_frame_rate,duration")
    assert seen == {"nb_frames": "75", "avg_frame_rate": "25/1", "duration": "3.000000"}
    assert len(set(frames_of(target))) == 75, "none stands twice"


@pytest.mark.parametrize("moov", ["first", "last"])
def test_a_film_of_which_a_server_lost_a_part_is_noticed(decoder, tmp_path, moov):
    whole = film(tmp_path / "whole.mp4", extra=["-movflags", "+faststart"] if moov == "first" else [])
    data = bytearray(whole.read_bytes())
    data[len(data) // 2 : len(data) * 3 // 4] = bytes(len(data) * 3 // 4 - len(data) // 2)
    lost = tmp_path / "lost.mp4"
    lost.write_bytes(data)
    runner = StageRunner(SimpleNamespace(), decoder, None, lambda: 0.0, lambda: True)
    for path, noticed in ((whole, False), (lost, True)):
        with FileIO(path) as file:
            seen = runner._look_into(file)
        assert (seen.suffix, bool(seen.film.noticed)) == (".mp4", noticed)
    assert "nothing but zeros from byte" in seen.film.noticed
    assert "copied" not in seen.film.noticed


def test_a_film_that_is_all_black_is_noticed_and_one_that_begins_black_is_not(decoder, tmp_path):
    black = film(tmp_path / "black.mp4", source="color=c=black")
    fades = film(tmp_path / "fades.mp4", extra=["-vf", "fade=in:0:25"])
    for path, noticed in ((black, BLACK), (fades, None)):
        with path.open("rb") as file:
            assert decoder.verify(file.fileno()).noticed == noticed
