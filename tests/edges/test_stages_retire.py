"""A clip that is done with leaves its work folder; and what work folders tell when nobody remembers."""

import errno
import os
import threading
import time
import tomllib
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from clipspool.app.noting import LedgerNotes
from clipspool.jobs import events as on
from clipspool.jobs.assignments import Assignment
from clipspool.jobs.events import StageFailed
from clipspool.jobs.lifecycle import Stage
from clipspool.jobs.messages import Happened
from clipspool.jobs.model import Error, Held, Paid, State
from clipspool.media.decoder import Decoder
from clipspool.spool.claims import claim
from clipspool.spool.handover import finish_take_over, taker_of
from clipspool.spool.layout import WORK
from clipspool.spool.ledger import note, notes, submissions_beyond
from clipspool.spool.recovery import adoptable, survey, tidy
from clipspool.spool.root import Root
from clipspool.spool.workfolder import (
    Manifest,
    bring_back,
    folder_of,
    forget_failure,
    read_manifest,
    was_put_back,
)
from clipspool.stages import poster
from clipspool.stages.poster import draw_posters
from clipspool.stages.provenance import why_perhaps_paid
from clipspool.stages.retire import missing, retire, sweep
from clipspool.stages.runner import StageRunner, Tools
from clipspool.system import moves
from disks import REFUSALS, Crash, Disk
from fakes import NOON, PROFILE, RESULT, Bench, Studio, a_clip, a_job, a_task, always, lying
from patience import patient

DONE = a_job(state=State.DELIVERED, task=a_task(), paid=Paid.YES)
FAILED = a_job(
    state=State.FAILED,
    task=a_task(),
    paid=Paid.YES,
    error=Error("SAFETY.INPUT", "it was moderated", "Change the prompt.", paid=Paid.YES),
)


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def end(bench, *jobs):
    return retire(bench.clip, jobs, bench.bay, always)


@pytest.mark.parametrize("way", ["archive", "delete", "a copy of what is only read"])
def test_a_leader_that_lost_its_lead_moves_and_removes_no_source(bench, way):
    before = lying(bench.path, ours=True)
    origin = Root(bench.path) if way.startswith("a copy") else None
    folders = replace(bench.bay, keeps_sources=way == "archive", origin=origin)
    with pytest.raises(OSError, match="lead of the farm was lost"):
        retire(bench.clip, [DONE], folders, lambda: False)
    assert lying(bench.path, ours=True) == before


def test_with_dates_a_delivered_source_lies_below_the_day_on_which_its_last_job_ended(bench, monkeypatch):
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        dated = replace(bench.bay, has_dated_archive=True)
        evening = 1_800_054_000.0  # 2027-01-16 00:00 in Berlin
        first = replace(DONE, updated_at=evening - 7200)
        retired = retire(bench.clip, [first, replace(DONE, updated_at=evening)], dated, always)
        assert retired.lies_at == "_done/2027-01-16/day/shot.mp4"
        assert retired.sidecar_lies_at == "_done/2027-01-16/day/shot.toml"
        assert (bench.path / retired.lies_at).exists()
        # Done again after a crash, days later: it is found where it was moved.
        assert (
            retire(bench.clip, [first, replace(DONE, updated_at=evening)], dated, always).lies_at
            == retired.lies_at
        )
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("taken", [False, True])
@pytest.mark.parametrize("swept", [False, True])
def test_a_failed_clip_that_is_retried_and_ends_before_it_was_brought_back_stays_where_it_lies(
    bench, taken, swept
):
    """Its source was deleted: the same name stood for both ends of a move that was cut short."""
    if taken:
        (bench.path / "_failed/day").mkdir(parents=True)
        (bench.path / "_failed/day/shot.mp4").write_bytes(b"of another clip")
    bench.clip = end(bench, FAILED)
    if swept:
        sweep(bench.clip, bench.bay)
    assert bench.clip.lies_at == ("_failed/day/shot-2.mp4" if taken else "_failed/day/shot.mp4")
    before = lying(bench.path)
    cancelled = replace(FAILED, state=State.CANCELLED, error=Error("CANCELLED", "by mo", paid=Paid.YES))
    for _ in range(2):
        assert end(bench, cancelled) == bench.clip
        after = lying(bench.path)
        assert after.keys() == before.keys()
        assert (bench.path / bench.clip.lies_at).read_bytes() == before[bench.clip.lies_at]
    assert b"by mo" in (bench.path / f"{bench.clip.lies_at}.error.toml").read_bytes()


def test_a_sidecar_that_was_brought_back_alone_is_put_beside_its_source_again(bench):
    bench.clip = end(bench, FAILED)
    before = lying(bench.path)
    home = bench.path / folder_of(bench.clip.id)
    home.mkdir(exist_ok=True)
    (bench.path / bench.clip.sidecar_lies_at).rename(home / "sidecar.toml")
    assert end(bench, FAILED) == bench.clip
    assert lying(bench.path) == before
    (bench.path / bench.clip.sidecar_lies_at).rename(home / "sidecar.toml")
    (bench.path / bench.clip.sidecar_lies_at).write_bytes(b"of somebody else")
    moved = end(bench, FAILED)
    assert (moved.lies_at, moved.sidecar_lies_at) == ("_failed/day/shot-2.mp4", "_failed/day/shot-2.toml")
    assert (bench.path / moved.sidecar_lies_at).read_bytes() == before[bench.clip.sidecar_lies_at]
    assert not (bench.path / "_failed/day/shot.mp4.error.toml").exists()


def test_a_sidecar_that_alone_is_moved_is_there_after_a_power_cut(bench, monkeypatch):
    bench.clip = end(bench, FAILED)
    home, there = bench.path / folder_of(bench.clip.id), bench.path / bench.clip.sidecar_lies_at
    home.mkdir(exist_ok=True)
    there.rename(home / "sidecar.toml")
    synced, real = [], os.fsync

    def fsync(fd):
        if there.exists():
            synced.append(Path(f"/proc/self/fd/{fd}").readlink())
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    end(bench, FAILED)
    assert there.parent in synced


def test_a_failed_source_has_no_date_in_its_path(bench):
    assert (
        retire(bench.clip, [FAILED], replace(bench.bay, has_dated_archive=True), always).lies_at
        == "_failed/day/shot.mp4"
    )


def test_of_the_posters_the_newest_are_kept(bench, monkeypatch):
    monkeypatch.setattr(poster, "POSTERS_MAX", 3)
    posters = bench.path / ".clipspool/posters"
    posters.mkdir()
    for number in range(40):
        (posters / f"a{number:02}.jpg").write_bytes(b"a picture")
    (bench.bay.outbox.path / "shot.mp4").write_bytes(b"no film")
    result = replace(RESULT, name="shot.mp4")
    decoder = Decoder()
    for number in range(200):  # by their names some of them see to it
        draw_posters(bench.clip, [replace(DONE, id=f"b{number}", results=(result,))], bench.bay, decoder)
    decoder.close()
    assert sorted(path.name for path in posters.iterdir()) == ["a37.jpg", "a38.jpg", "a39.jpg"]


@pytest.mark.parametrize("taken", [False, True])
def test_the_text_with_the_prompt_goes_where_the_source_goes_and_replaces_nothing(tmp_path, taken):
    bench = Bench(tmp_path)
    (bench.path / folder_of(bench.clip.id) / "prompt.txt").write_text("snow")
    done = bench.path / "_done/day"
    done.mkdir(parents=True)
    if taken:
        (done / "shot.txt").write_text("of another clip")
    end(bench, DONE)
    assert (done / ("shot-2.txt" if taken else "shot.txt")).read_text() == "snow"
    assert not taken or (done / "shot.txt").read_text() == "of another clip"


def test_the_text_with_the_prompt_is_deleted_with_a_source_that_is(tmp_path):
    bench = Bench(tmp_path, keeps_sources=False)
    (bench.path / folder_of(bench.clip.id) / "prompt.txt").write_text("snow")
    end(bench, DONE)
    assert not any(path.name.endswith(".txt") for path in tmp_path.rglob("*"))


# --- where a source ends --------------------------------------------------------------------------------


def test_a_source_whose_results_are_delivered_lies_in_done_with_its_sidecar(bench):
    clip = end(bench, DONE)
    assert lying(bench.path) == {
        "_done/day/shot.mp4": b"some clip",
        "_done/day/shot.toml": b'prompt = "deep winter"\n',
    }
    assert (clip.lies_at, clip.sidecar_lies_at) == ("_done/day/shot.mp4", "_done/day/shot.toml")


@pytest.mark.parametrize("number", [errno.EDQUOT, errno.ENOSPC])
@pytest.mark.parametrize("jobs", [(DONE,), (FAILED,)], ids=["done", "failed"])
def test_a_quota_that_is_used_up_where_a_source_is_to_lie_keeps_it_in_work_until_there_is_room(
    bench, monkeypatch, number, jobs
):
    def full(*_args, **_more):
        raise OSError(number, os.strerror(number))

    for call in ("rename_new", "copy_bytes"):
        monkeypatch.setattr(moves, call, full)
    for _ in range(2):
        with pytest.raises(OSError, match=os.strerror(number)):
            end(bench, *jobs)
        assert (bench.work / "clip.mp4").read_bytes() == b"some clip"
    monkeypatch.undo()
    lies_at = end(bench, *jobs).lies_at
    assert (bench.path / lies_at).read_bytes() == b"some clip"
    assert not (bench.work / "clip.mp4").exists()


def test_a_source_that_failed_lies_in_failed_and_a_note_says_why(bench):
    clip = end(bench, FAILED)
    assert set(lying(bench.path)) == {
        "_failed/day/shot.mp4",
        "_failed/day/shot.toml",
        "_failed/day/shot.mp4.error.toml",
    }
    assert tomllib.loads((bench.path / (clip.lies_at + ".error.toml")).read_text())["code"] == "SAFETY.INPUT"


def test_one_job_that_failed_sends_the_clip_to_failed(bench):
    assert end(bench, DONE, replace(FAILED, id="clip1-v2")).lies_at == "_failed/day/shot.mp4"


def test_a_sidecar_keeps_the_style_of_its_name(tmp_path):
    bench = Bench(tmp_path)
    bench.clip = replace(bench.clip, sidecar="day/shot.mp4.toml")
    assert end(bench, DONE).sidecar_lies_at == "_done/day/shot.mp4.toml"


def test_a_clip_without_a_sidecar_of_its_own_retires_alone(tmp_path):
    bench = Bench(tmp_path, sidecar=None)
    assert end(bench, DONE).sidecar_lies_at is None
    assert set(lying(bench.path)) == {"_done/day/shot.mp4"}


@pytest.mark.parametrize("taken", ["shot.mp4", "shot.toml", "shot.mp4.error.toml"])
def test_where_a_name_is_taken_all_that_belongs_together_gets_the_next(bench, taken):
    (bench.path / "_failed/day").mkdir(parents=True)
    (bench.path / "_failed/day" / taken).write_bytes(b"precious")
    clip = end(bench, FAILED)
    assert (clip.lies_at, clip.sidecar_lies_at) == ("_failed/day/shot-2.mp4", "_failed/day/shot-2.toml")
    assert lying(bench.path)[f"_failed/day/{taken}"] == b"precious"
    assert "_failed/day/shot-2.mp4.error.toml" in lying(bench.path)


@pytest.mark.parametrize("kind", ["folder", "link", "large"])
def test_where_no_note_can_be_written_all_that_belongs_together_gets_the_next_name(bench, kind):
    note = bench.path / "_failed/day/shot.mp4.error.toml"
    note.parent.mkdir(parents=True)
    {
        "folder": note.mkdir,
        "link": lambda: note.symlink_to("nowhere"),
        "large": lambda: note.write_bytes(b"x" * (2 << 20)),
    }[kind]()
    assert end(bench, FAILED).lies_at == "_failed/day/shot-2.mp4"


@pytest.mark.parametrize(("job", "home"), [(DONE, "_done"), (FAILED, "_failed")])
def test_a_link_to_the_same_file_where_a_source_is_to_lie_is_another_clip(bench, job, home):
    """An editor, or a tool that looks for duplicates, linked what was done before into the inbox again."""
    (bench.path / home / "day").mkdir(parents=True)
    os.link(bench.work / "clip.mp4", bench.path / home / "day/shot.mp4")
    (bench.path / home / "day/shot.toml").write_bytes(b"of the first")
    ours = (bench.work / "sidecar.toml").read_bytes()
    clip = end(bench, job)
    assert (clip.lies_at, clip.sidecar_lies_at) == (f"{home}/day/shot-2.mp4", f"{home}/day/shot-2.toml")
    there = lying(bench.path)
    assert (there[f"{home}/day/shot.toml"], there[f"{home}/day/shot-2.toml"]) == (b"of the first", ours)
    assert there[f"{home}/day/shot.mp4"] == there[f"{home}/day/shot-2.mp4"]


def test_by_setting_a_delivered_source_is_deleted_and_a_failed_one_is_kept(tmp_path):
    bench = Bench(tmp_path, keeps_sources=False)
    assert end(bench, DONE).lies_at is None
    assert lying(bench.path) == {}
    assert not (bench.work / "clip.mp4").exists()
    other = tmp_path / "other"
    other.mkdir()
    assert end(Bench(other, keeps_sources=False), FAILED).lies_at == "_failed/day/shot.mp4"


def test_a_clip_that_failed_and_then_succeeded_goes_from_failed_to_done(bench):
    bench.clip = end(bench, FAILED)
    clip = end(bench, DONE)
    assert set(lying(bench.path)) == {"_done/day/shot.mp4", "_done/day/shot.toml"}
    assert clip.lies_at == "_done/day/shot.mp4"


def test_a_clip_whose_source_somebody_took_away_retires_without_it(bench):
    (bench.work / "clip.mp4").unlink()
    assert end(bench, FAILED).lies_at is None


# --- crashes --------------------------------------------------------------------------------------------


def retired_after_crash(bench, monkeypatch, jobs, step):
    """Cut the retirement before its `step`-th change, then do it again; None if none was cut."""
    numbers = count()

    def counted(real):
        def change(*arguments, **more):
            if next(numbers) == step:
                raise Crash
            return real(*arguments, **more)

        return change

    with monkeypatch.context() as patch:
        for name in ("move", "replace", "remove"):
            patch.setattr(Root, name, counted(getattr(Root, name)))
        try:
            end(bench, *jobs)
        except Crash:
            pass
        else:
            return None
    return end(bench, *jobs)


@pytest.mark.parametrize("step", range(4))
@pytest.mark.parametrize("keeps_sources", [True, False])
def test_a_delivered_source_ends_in_one_place_whatever_crash_came_between(
    tmp_path, monkeypatch, step, keeps_sources
):
    bench = Bench(tmp_path, keeps_sources=keeps_sources, sidecar=None)
    clip = retired_after_crash(bench, monkeypatch, [DONE], step)
    if clip is not None:
        assert clip.lies_at == ("_done/day/shot.mp4" if keeps_sources else None)
    assert set(lying(bench.path)) == ({"_done/day/shot.mp4"} if keeps_sources else set())


@pytest.mark.parametrize("jobs", [[DONE], [FAILED]], ids=["done", "failed"])
@pytest.mark.parametrize("step", range(4))
def test_nothing_is_lost_by_a_crash_while_a_clip_retires(bench, monkeypatch, jobs, step):
    retired_after_crash(bench, monkeypatch, jobs, step)
    sources = [name for name, data in lying(bench.path).items() if data == b"some clip"]
    sidecars = [name for name, data in lying(bench.path).items() if data.startswith(b"prompt")]
    assert (len(sources), len(sidecars)) == (1, 1)


@pytest.mark.parametrize(("jobs", "step"), [([DONE], 1), ([FAILED], 1), ([FAILED], 2)])
def test_a_clip_and_what_belongs_to_it_stay_together_whatever_crash_came_between(
    bench, monkeypatch, jobs, step
):
    clip = retired_after_crash(bench, monkeypatch, jobs, step)
    home = "_done/day/shot" if jobs == [DONE] else "_failed/day/shot"
    notes_there = {f"{home}.mp4.error.toml"} if jobs == [FAILED] else set()
    assert set(lying(bench.path)) == {f"{home}.mp4", f"{home}.toml", *notes_there}
    assert (clip.lies_at, clip.sidecar_lies_at) == (f"{home}.mp4", f"{home}.toml")


def test_failed_clips_with_names_alike_for_244_bytes_have_each_a_note_of_their_own(tmp_path):
    long = "x" * 250
    bench = Bench(tmp_path, name=long + "a.mp4", sidecar=None)
    clips = [bench.clip, *(bench.drop(f"clip{n}", long + "a.mp4", b"%d" % n, sidecar=None) for n in (2, 3))]
    for clip in clips:
        error = Error("X", f"refused: {clip.id}")
        retire(clip, [replace(FAILED, id=clip.id, clip_id=clip.id, error=error)], bench.bay, always)
    there = lying(bench.path / "_failed")
    notes = [tomllib.loads(body.decode())["message"] for name, body in there.items() if ".error" in name]
    assert sorted(notes) == ["refused: clip1", "refused: clip2", "refused: clip3"]
    # None of these is a sign that an editor moved another clip back, to be paid for once more.
    assert not was_put_back(bench.bay.inbox, long + "b.mp4")
    forget_failure(bench.bay.inbox, long + "b.mp4")
    assert len(lying(bench.path / "_failed")) == len(there)


@pytest.mark.parametrize("jobs", [[DONE], [FAILED]], ids=["done", "failed"])
def test_a_name_of_255_bytes_can_retire(tmp_path, jobs):
    bench = Bench(tmp_path, name="x" * 251 + ".mp4", sidecar=None)
    (bench.path / "_done").mkdir()
    (bench.path / "_done" / bench.clip.path).write_bytes(b"precious")
    assert end(bench, *jobs).lies_at is not None


@pytest.mark.parametrize("is_gone", ["", "gone", "a folder"])
def test_a_cancelled_job_that_is_fetched_after_all_is_found_with_its_task_when_the_journal_is_lost(
    bench, is_gone
):
    record = bench.work / "clip1.a1.sent.toml"
    record.write_text("black bars were added")
    clip = end(bench, replace(FAILED, state=State.CANCELLED))
    sweep(clip, bench.bay)
    assert not bench.work.exists()
    if is_gone:
        bench.path.joinpath(clip.lies_at).unlink()
    if is_gone == "a folder":
        bench.path.joinpath(clip.lies_at).parent.rename(bench.path / "_failed/moved")
        bench.path.joinpath(clip.lies_at).parent.write_text("no folder any more")
    tools = Tools({"bay": bench.bay}, None, None, None, lambda _: Studio())
    runner = StageRunner(tools, None, None, lambda: NOON, always)
    job = a_job(inbox="bay", state=State.RENDERED, task=replace(a_task(), number=2), prepared_by="a1")
    for attempt in ("a2", "a3"):
        assert isinstance(
            runner.work(Assignment(Stage.FETCH, job, replace(clip, inbox="bay"), attempt), always),
            StageFailed,
        )
    found = survey("bay", bench.bay.inbox, "another", set())
    if is_gone:
        assert found.foreign == []
        return
    ((adopted,),) = [one.jobs for one in found.foreign]
    assert (adopted.state, adopted.task.task_id, adopted.prepared_by) == (State.RUNNING, "task-1", "a1")
    assert [line["what"] for line in notes(bench.bay.inbox, "clip1")] == ["intent", "task"]
    assert bench.work.joinpath(clip.source).read_bytes() == b"some clip"
    assert record.read_text() == "black bars were added"


def test_a_note_of_what_an_older_journal_does_not_know_is_found(bench):
    root, older = bench.bay.inbox, a_job(state=State.QUEUED)
    clip = end(bench, FAILED)
    assert "perhaps charged; its task is task-1" in why_perhaps_paid(root, clip, older)
    assert not why_perhaps_paid(root, clip, replace(older, paid=Paid.UNKNOWN)), "its journal knows"
    assert not why_perhaps_paid(root, clip, replace(older, task=a_task())), "it is that very task"
    assert not why_perhaps_paid(root, clip, replace(older, id="clip1-r2", version=2)), "of an earlier version"
    # Another clip of that name failed before: the note is not about this one, which never was in `_failed`.
    assert not why_perhaps_paid(root, replace(clip, lies_at=None), older)


@pytest.mark.parametrize(
    ("paid", "said"),
    [(Paid.UNKNOWN, "was sent since this journal was copied, and perhaps charged"), (Paid.NO, "")],
)
def test_a_note_without_a_task_is_of_a_doubt_or_of_nothing_paid(bench, paid, said):
    clip = end(bench, replace(FAILED, task=None, paid=paid))
    assert (
        why_perhaps_paid(bench.bay.inbox, clip, a_job(state=State.QUEUED)).partition(" that it ")[2] == said
    )


def test_of_several_jobs_each_is_compared_with_its_own_entry_in_the_note(bench):
    second = replace(FAILED, id="clip1-v2", variant="_v2", task=None, paid=Paid.NO)
    clip = end(bench, FAILED, second)
    told = [
        why_perhaps_paid(bench.bay.inbox, clip, a_job(one, variant=one[5:])) for one in ("clip1", "clip1-v2")
    ]
    assert ["task-1" in one for one in told] == [True, False]
    assert not told[1]


@pytest.mark.parametrize(
    "note",
    [
        "",
        "paid",
        'paid = ["yes"]',
        "job = 1",
        "job = [1]",
        'job = [{paid = "yes"}]',
        'task_id = "x"',
        "x = " + "[" * 9999,
    ],
)
def test_a_note_that_somebody_changed_is_no_doubt(bench, note):
    clip = end(bench, FAILED)
    bench.path.joinpath(f"{clip.lies_at}.error.toml").write_text(note)
    assert not why_perhaps_paid(bench.bay.inbox, clip, a_job(state=State.QUEUED))


@pytest.mark.parametrize("ended", [DONE, FAILED])
def test_a_task_that_only_the_ledger_knows_is_named_before_its_work_folder_goes(bench, ended):
    for number in (1, 2):
        note(bench.bay.inbox, "clip1", "clip1", "intent", profile=PROFILE, number=number)
        note(bench.bay.inbox, "clip1", "clip1", "task", number=number, task_id=f"task-{number}")
    for odd in ({"number": "3"}, {"number": 3, "task_id": ".."}, {"number": 3, "task_id": 3}):
        note(bench.bay.inbox, "clip1", "clip1", "task", **odd)
    knows = replace(ended, task=replace(a_task(), number=2))
    assert not missing(replace(bench.clip, lies_at="x"), [knows], bench.bay)
    clip = end(bench, ended)
    assert missing(clip, [ended], bench.bay).endswith("does not know what was sent since: task task-2")
    if ended is FAILED:
        noted = tomllib.loads((bench.path / f"{clip.lies_at}.error.toml").read_text())
        assert (noted["task_id"], noted["unknown_tasks"]) == ("task-1", ["task-2"])
    sweep(clip, bench.bay)
    assert not missing(clip, [ended], bench.bay)


def test_it_is_named_in_the_note_of_a_clip_whose_inbox_is_only_read_too(bench):
    note(bench.bay.inbox, "clip1", "clip1", "task", number=2, task_id="task-2")
    retire(bench.clip, [FAILED], replace(bench.bay, origin=Root(bench.path)), always)
    noted = tomllib.loads((bench.path / "_failed/day/shot.mp4.error.toml").read_text())
    assert noted["unknown_tasks"] == ["task-2"]


def test_a_version_that_the_journal_does_not_know_at_all_is_named_by_its_task(bench):
    note(bench.bay.inbox, "clip1", "clip1-r2", "task", number=1, task_id="task-2")
    assert "task-2" in missing(end(bench, DONE), [DONE], bench.bay)


def test_a_damaged_ledger_keeps_no_clip_in_its_work_folder(bench):
    (bench.work / "ledger.jsonl").write_bytes(b"\n" * ((16 << 20) + 1))
    noted = tomllib.loads((bench.path / f"{end(bench, FAILED).lies_at}.error.toml").read_text())
    assert "unknown_tasks" not in noted


def test_each_variant_that_is_retried_is_named_in_the_manifest_of_the_work_folder(bench):
    clip, second = end(bench, FAILED), replace(FAILED, id="clip1-v2", variant="_v2")
    sweep(clip, bench.bay)
    for job in (FAILED, second, second):
        bring_back(bench.bay.inbox, clip, job, "journal")
    assert [job.id for job in read_manifest(bench.bay.inbox, "clip1").jobs] == ["clip1", "clip1-v2"]


def test_a_retried_variant_leaves_the_manifest_of_a_taker_alone(bench):
    clip, second = end(bench, FAILED), replace(FAILED, id="clip1-v2", variant="_v2")
    sweep(clip, bench.bay)
    bring_back(bench.bay.inbox, clip, FAILED, "taker")
    bring_back(bench.bay.inbox, clip, second, "journal")
    assert [job.id for job in read_manifest(bench.bay.inbox, "clip1").jobs] == ["clip1"]


# --- sweep ----------------------------------------------------------------------------------------------


def test_the_work_folder_of_a_retired_clip_is_swept(bench):
    sweep(end(bench, DONE), bench.bay)
    assert not bench.work.exists()
    sweep(bench.clip, bench.bay)


def test_a_work_folder_that_still_has_the_source_is_never_swept(bench):
    sweep(bench.clip, bench.bay)
    assert (bench.work / "clip.mp4").read_bytes() == b"some clip"


def test_a_clip_that_comes_in_while_its_folder_is_cleared_away_stays(bench, monkeypatch):
    home = bench.work
    (home / "ledger.jsonl").touch()
    clip = end(bench, FAILED)
    scandir = os.scandir

    def moved_back_meanwhile(fd):
        if not (home / "clip.mp4").exists() and (home / "ledger.jsonl").exists():
            (bench.path / clip.lies_at).rename(home / "clip.mp4")
        return scandir(fd)

    monkeypatch.setattr(os, "scandir", moved_back_meanwhile)
    sweep(clip, bench.bay)
    assert [path.name for path in home.iterdir()] == ["clip.mp4"]


# --- what work folders tell -----------------------------------------------------------------------------


def look(bench, known=frozenset(), journal="j1"):
    return survey("bay", bench.bay.inbox, journal, set(known))


def test_an_inbox_without_work_folders_tells_nothing(tmp_path):
    assert survey("bay", Root(tmp_path), "j1", set()).ours == []


def test_a_clip_that_the_journal_knows_is_left_alone(bench):
    assert look(bench, {"clip1"}).ours == []


def test_a_clip_that_was_accepted_right_before_a_crash_is_taken_on(bench):
    (found,) = look(bench).ours
    assert found.clip == bench.clip
    assert [(job.id, job.state, job.request) for job in found.jobs] == [
        ("clip1", State.QUEUED, bench.job.request)
    ]


def test_a_request_that_was_surely_refused_leaves_its_job_queued_when_the_journal_is_lost(bench):
    note(bench.bay.inbox, "clip1", "clip1", "intent", profile=PROFILE)
    (found,) = look(bench).ours
    assert found.jobs[0].state is State.IN_DOUBT
    note(bench.bay.inbox, "clip1", "clip1", "not_submitted")
    (found,) = look(bench).ours
    assert (found.jobs[0].state, found.jobs[0].task) == (State.QUEUED, None)


def test_a_recovered_job_counts_its_submissions_as_its_ledger_does(bench):
    """Else the ledger has more than the journal, and the next request is in doubt before it is sent."""
    for what, facts in (("intent", {}), ("task", {"task_id": "task-2"})):
        note(bench.bay.inbox, "clip1", "clip1", what, number=2, profile=PROFILE, **facts)
    (found,) = look(bench).ours
    assert found.jobs[0].task.number == 2
    assert submissions_beyond(bench.bay.inbox, "clip1", "clip1", found.jobs[0].task.number) == 0


def test_a_refusal_is_known_with_its_reason_when_the_journal_is_lost(bench):
    job = a_job()
    refused = on.Failed(Error("SAFETY.INPUT", "it was moderated", "Change the prompt."))
    notes_of = LedgerNotes(lambda: {bench.job.inbox: bench.bay}, "j1", lambda work: work())
    notes_of.on_news(Happened(job, replace(job, state=State.FAILED), refused))
    (found,) = look(bench).ours
    error = found.jobs[0].error
    assert (error.code, error.message, error.retryable) == ("SAFETY.INPUT", "it was moderated", False)


def test_the_thread_that_notes_ends_after_what_it_has_to_write(bench):
    notes_of = LedgerNotes(lambda: {bench.job.inbox: bench.bay}, "j1")
    ended = replace(bench.job, state=State.CANCELLED)
    notes_of.on_news(Happened(bench.job, ended, on.Cancelled("ann")))
    notes_of.on_news(Happened(ended, bench.job, on.Retried("ann")))
    notes_of.stop()
    threads = [one for one in threading.enumerate() if one.name == "ledger-1"]
    for one in threads:
        one.join(patient(10))
        assert not one.is_alive()
    assert [line["what"] for line in notes(bench.bay.inbox, "clip1")] == ["cancelled", "retried"]


def test_a_task_that_is_not_followed_again_is_not_noted_when_its_job_is_run_again(bench):
    """Were the journal lost then, the failed task would be followed in place of what the order asks for."""
    again = replace(bench.job, task=a_task(), paid=Paid.UNKNOWN)
    notes_of = LedgerNotes(lambda: {bench.job.inbox: bench.bay}, "j1", lambda work: work())
    notes_of.on_news(Happened(replace(again, state=State.FAILED), again, on.Retried("ann")))
    assert [line["what"] for line in notes(bench.bay.inbox, "clip1")] == ["retried"]


INTENT, TASK = ("intent", {"number": 1}), ("task", {"number": 1, "task_id": "task-1"})
REFUSED = ("not_submitted", {"number": 1})


@pytest.mark.parametrize(
    ("lines", "state", "held", "paid"),
    [
        ([("cancelled", {})], State.CANCELLED, None, Paid.NO),
        ([("cancelled", {}), ("retried", {})], State.QUEUED, None, Paid.NO),
        ([("cancelled", {}), ("retried", {}), ("cancelled", {})], State.CANCELLED, None, Paid.NO),
        ([INTENT, REFUSED, ("cancelled", {})], State.CANCELLED, None, Paid.NO),
        ([INTENT, ("cancelled", {})], State.CANCELLED, None, Paid.UNKNOWN),
        ([INTENT, TASK, ("cancelled", {})], State.RUNNING, None, Paid.UNKNOWN),
        ([("cancelled", {}), INTENT], State.IN_DOUBT, Held.IN_DOUBT, Paid.UNKNOWN),
        ([("duplicate", {})], State.QUEUED, Held.DUPLICATE, Paid.NO),
        ([("duplicate", {}), ("cancelled", {})], State.CANCELLED, None, Paid.NO),
        ([INTENT, REFUSED, ("failed", {"code": "SAFETY.INPUT"})], State.FAILED, None, Paid.NO),
        ([("failed", {"code": 5}), ("retried", {})], State.QUEUED, None, Paid.NO),
        ([INTENT, TASK, ("failed", {"code": "INTERNAL"})], State.RUNNING, None, Paid.UNKNOWN),
        ([("duplicate", {}), INTENT, TASK], State.RUNNING, None, Paid.UNKNOWN),
    ],
)
def test_what_had_ended_or_was_held_as_a_duplicate_is_not_sent_when_the_journal_is_lost(
    bench, lines, state, held, paid
):
    for what, facts in lines:
        note(bench.bay.inbox, "clip1", "clip1", what, profile=PROFILE, **facts)
    note(bench.bay.inbox, "clip1", "clip1-v2", "cancelled")  # another variant
    (found,) = look(bench).ours
    (job,) = found.jobs
    assert (job.state, job.held, job.paid) == (state, held, paid)


@pytest.mark.parametrize("cut", [("clip.mp4", "shot.mp4"), ("sidecar.toml", "shot.toml")])
def test_a_claim_by_link_and_unlink_that_was_cut_between_the_two_leaves_one_name(bench, cut):
    """As on NFS, where a file moves by getting a second name and losing the first."""
    (bench.path / "day").mkdir(exist_ok=True)
    mine, theirs = bench.path / WORK / "clip1" / cut[0], bench.path / "day" / cut[1]
    os.link(mine, theirs)
    assert len(look(bench).ours) == 1
    assert mine.exists()
    assert not theirs.exists()


def test_a_clip_of_the_same_name_that_came_after_a_claim_was_cut_is_another(bench):
    (bench.path / "day").mkdir(exist_ok=True)
    (bench.path / "day/shot.mp4").write_bytes(b"some clip")
    assert len(look(bench).ours) == 1
    assert (bench.path / "day/shot.mp4").exists()


@pytest.mark.parametrize("cut", [("clip.mp4", "shot.mp4"), ("sidecar.toml", "shot.toml")])
def test_a_retirement_by_link_and_unlink_that_was_cut_between_the_two_goes_on_with_the_same_name(bench, cut):
    (bench.path / "_done/day").mkdir(parents=True)
    os.link(bench.path / WORK / "clip1" / cut[0], bench.path / "_done/day" / cut[1])
    if cut[0] == "clip.mp4":  # the sidecar goes first
        (bench.path / WORK / "clip1/sidecar.toml").rename(bench.path / "_done/day/shot.toml")
    clip = end(bench, DONE)
    assert lying(bench.path) == {
        "_done/day/shot.mp4": b"some clip",
        "_done/day/shot.toml": b'prompt = "deep winter"\n',
    }
    assert (clip.lies_at, clip.sidecar_lies_at) == ("_done/day/shot.mp4", "_done/day/shot.toml")


def test_a_clip_of_another_journal_is_told_apart(bench):
    survey_ = look(bench, journal="j2")
    assert (survey_.ours, [found.clip for found in survey_.foreign]) == ([], [bench.clip])
    finish_take_over(bench.bay.inbox, replace(read_manifest(bench.bay.inbox, "clip1"), journal="j2"))
    assert look(bench, journal="j2").ours[0].clip == bench.clip


def test_a_job_is_put_where_its_ledger_says_it_was(bench):
    inbox = bench.bay.inbox

    def job():
        return look(bench).ours[0].jobs[0]

    note(inbox, "clip1", "clip1", "intent", profile=PROFILE)
    assert (job().state, job().held, job().paid) == (State.IN_DOUBT, Held.IN_DOUBT, Paid.UNKNOWN)
    note(inbox, "clip1", "clip1", "not_submitted", profile=PROFILE)
    assert (job().state, job().paid, job().task) == (State.QUEUED, Paid.NO, None)
    note(inbox, "clip1", "clip1", "intent", profile=PROFILE)
    note(inbox, "clip1", "clip1", "task", profile=PROFILE, task_id="task-2")
    assert (job().state, job().paid) == (State.RUNNING, Paid.UNKNOWN)
    assert (job().task.task_id, job().task.number, job().task.profile) == ("task-2", 2, PROFILE)


def test_a_manifest_holds_names_that_are_not_utf8(tmp_path):
    bench = Bench(tmp_path, name="caf\udce9/sh\udcf6t.mp4")
    assert look(bench).ours[0].clip == bench.clip


@pytest.mark.parametrize("damage", [b"\xff", b"[" * 3000, b"clip = 5", b"journal = 1\n[clip]\nid = 2\n"])
def test_a_damaged_manifest_beside_a_clip_is_told_of_and_the_clip_kept(bench, damage):
    (bench.work / "manifest.toml").write_bytes(damage)
    assert look(bench).damaged == ["clip1"]
    assert (bench.work / "clip.mp4").exists()


def test_a_ledger_with_a_torn_or_odd_line_is_read_as_far_as_it_goes(bench):
    note(bench.bay.inbox, "clip1", "clip1", "intent", profile=PROFILE)
    with (bench.work / "ledger.jsonl").open("ab") as ledger:
        ledger.write(b'5\n[]\n\xff\n{"job": "clip1", "what": "ta')
    assert [line["what"] for line in notes(bench.bay.inbox, "clip1")] == ["intent"]


def test_things_in_the_work_folder_that_are_none_of_ours_are_kept(bench):
    (bench.work.parent / "stray.txt").write_text("precious")
    look(bench)
    assert (bench.work.parent / "stray.txt").exists()


def cut_claim(path, step, refused=0):
    """Claim a clip whose folder lies bare, and end before the `step`-th call that changes the disk."""
    inbox = path / "bay"
    inbox.mkdir()
    for name, data in {"shot.mp4": b"some clip", "shot.toml": b"prompt", "w.png": b"png"}.items():
        (inbox / name).write_bytes(data)
    root = Root(inbox)
    clip = a_clip(path="shot.mp4", sidecar="shot.toml", size=9)
    with Disk(step, refused).in_place():
        try:
            claim(root, Manifest(clip, (a_job(path="shot.mp4"),), "j1"), [("w.png", "ref-1.png")])
        except Crash:
            return root, True
    return root, False


@pytest.mark.parametrize("refused", [0, *REFUSALS])
def test_a_claim_that_is_cut_anywhere_leaves_the_clip_whole_and_is_told_of_or_cleared_away(tmp_path, refused):
    for step in count(1):
        place = tmp_path / str(step)
        place.mkdir()
        root, was_cut = cut_claim(place, step, refused)
        found = survey("bay", root, "j1", set())
        left = lying(root.path, ours=True)
        whole = {name: data for name, data in left.items() if not name.endswith(".tmp")}
        assert list(whole.values()).count(b"some clip") == 1
        assert list(whole.values()).count(b"prompt") == 1
        if found.ours:
            assert left[f"{WORK}/clip1/clip.mp4"] == b"some clip"
            assert left[f"{WORK}/clip1/sidecar.toml"] == b"prompt"
            assert left[f"{WORK}/clip1/ref-1.png"] == b"png"
        else:
            assert left["shot.mp4"] == b"some clip"
            assert left["shot.toml"] == b"prompt"
            assert not root.exists(WORK) or root.names(WORK) == []
        if not was_cut:
            break
    assert step > (30 if refused else 12)
    assert found.ours


@pytest.mark.parametrize("step", [*range(18, 30)])
def test_a_claim_of_another_journal_that_was_cut_is_counted_and_put_back_by_a_take_over(tmp_path, step):
    """With the journal lost, the daemon that comes after it has another one."""
    root, _ = cut_claim(tmp_path, step, errno.EXDEV)
    seen = survey("bay", root, "j2", set())
    if not (seen.cut or seen.foreign):
        pytest.skip("it was not decided yet, or it was done")
    assert seen.ours == []
    taken = adoptable("bay", root, "j2", set(), lambda _ids: set(), {"j1"})
    left = lying(root.path, ours=True)
    whole = [name for name, data in left.items() if data == b"some clip" and not name.endswith(".tmp")]
    assert whole == [f"{WORK}/clip1/clip.mp4" if taken else "shot.mp4"]
    assert taker_of(root, "clip1", "j1") == "j2"


def test_half_a_manifest_without_a_clip_is_cleared_away(tmp_path):
    root = Root(tmp_path)
    root.create(f"{WORK}/clip1/manifest.toml", b'journal = "j1"\n[cl')
    assert survey("bay", root, "j1", set()).damaged == []
    assert root.names(WORK) == []


def test_odd_things_among_what_is_tidied_keep_no_inbox_from_its_work(tmp_path):
    root = Root(tmp_path)
    (tmp_path / ".clipspool/taken" / "folder").mkdir(parents=True)
    (tmp_path / ".clipspool/posters").symlink_to(tmp_path)
    (tmp_path / "_failed").mkdir()
    deep = os.open(tmp_path / "_failed", os.O_RDONLY)
    for _ in range(40):
        os.mkdir("d" * 200, dir_fd=deep)
        below = os.open("d" * 200, os.O_RDONLY, dir_fd=deep)
        os.close(deep)
        deep = below
    os.close(deep)
    left = tmp_path / "_failed" / ".0123456789abcdef.tmp"
    left.touch()
    tidy(root, time.time() + 100 * 86_400)
    assert (tmp_path / ".clipspool/taken" / "folder").is_dir()
    assert not left.exists()


def test_what_a_crash_left_half_written_in_our_own_folders_is_cleared_away(tmp_path):
    root = Root(tmp_path)
    (tmp_path / "_failed/.aaaaaaaaaaaaaaaa.tmp").mkdir(parents=True)
    old = [".clipspool", ".clipspool/posters", "_failed/day"]
    for folder in old:
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / ".0123456789abcdef.tmp").write_bytes(b"half")
        (tmp_path / folder / "kept.toml").write_bytes(b"")
    os.utime(tmp_path / "_failed/.aaaaaaaaaaaaaaaa.tmp", (0, 0))
    tidy(root, time.time() + 3000)
    assert all((tmp_path / folder / ".0123456789abcdef.tmp").exists() for folder in old)
    tidy(root, time.time() + 4000)
    assert not any((tmp_path / folder / ".0123456789abcdef.tmp").exists() for folder in old)
    assert all((tmp_path / folder / "kept.toml").exists() for folder in old)


def test_a_file_servers_own_folder_among_what_was_taken_over_keeps_no_inbox_from_its_start(tmp_path):
    root = Root(tmp_path)
    taken = tmp_path / ".clipspool/taken"
    (taken / "@eaDir").mkdir(parents=True)
    (taken / "clip1").write_bytes(b"j2")
    for name in ("@eaDir", "clip1"):
        os.utime(taken / name, (0, 0))
    (taken / "clip2").write_bytes(b"j2")
    tidy(root, time.time())
    assert {path.name for path in taken.iterdir()} == {"@eaDir", "clip2"}
