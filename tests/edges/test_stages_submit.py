"""Before the money: the clip is read, and sent once, in an order that no crash makes expensive."""

import os
import shutil
import subprocess
import time
from dataclasses import replace

import pytest

from clipspool.jobs.assignments import Assignment
from clipspool.jobs.events import (
    AnswerLost,
    Cancelled,
    Changed,
    Failed,
    InDoubt,
    NotSubmitted,
    Postponed,
    Prepared,
    StageFailed,
    TaskCancelled,
    TaskCreated,
    TaskMissing,
    TaskSeen,
    TaskSucceeded,
)
from clipspool.jobs.faults import Fault, FaultOf
from clipspool.jobs.lifecycle import Stage
from clipspool.jobs.model import Error, Held, Reference, State
from clipspool.media.decoder import Decoder
from clipspool.media.facts import Probe
from clipspool.provider.catalog import Catalog
from clipspool.provider.protocol import Created, Inline, NothingSent, Refused, TaskLook, TaskStatus, Unclear
from clipspool.provider.runway.post import file_fault
from clipspool.provider.transport import Depot
from clipspool.provider.transport.way import InRequest
from clipspool.spool.handover import take_over
from clipspool.spool.ledger import Ledger, note, notes
from clipspool.spool.workfolder import folder_of
from clipspool.stages.payload import Sent, SentFile, write_sent
from clipspool.stages.poll import poll, tell_cancel
from clipspool.stages.prepare import PrepareTools, prepare
from clipspool.stages.retire import retire, sweep
from clipspool.stages.runner import StageRunner, Tools
from clipspool.stages.submit import SubmitTools, submit
from fakes import BUSY, NO_CREDITS, NOON, PROFILE, Bench, Studio, a_job, a_request, a_task, always, lying

DEPOT = Depot([InRequest(5_000_000)], time.time)
FACTS = Probe(
    container="mp4",
    size_bytes=1000,
    video_codec="h264",
    width=640,
    height=360,
    fps="24/1",
    variable_frame_rate=False,
    seconds=2.0,
    pixel_format="yuv420p",
    bit_depth=8,
).to_dict()
"""What a probe would have said of a clip that fits: the bench's holds no pictures."""


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


@pytest.fixture
def studio():
    return Studio()


def read(bench, clip=None, estimate=lambda _request, _seconds: 15.0):
    clip = clip or bench.clip
    tools = PrepareTools(
        Decoder(), DEPOT, lambda request: Catalog.load().limits(request.model), estimate, time.time
    )
    return prepare(bench.job, replace(clip, media=FACTS | clip.media), bench.bay, tools, attempt="a1")


def compose(request, source, references):
    return "video_to_video", {"prompt": request.prompt, "videoUri": source, "references": list(references)}


def send(bench, studio, gate=lambda: True, job=None):
    tools = SubmitTools(studio, DEPOT, compose, bench.send_marks, always)
    return submit(job or bench.job, bench.clip, bench.bay, tools, gate)


def said(bench):
    return [line["what"] for line in notes(bench.bay.inbox, "clip1")]


# --- prepare --------------------------------------------------------------------------------------------


def test_a_clip_is_hashed_and_its_price_estimated(bench):
    bench.clip = replace(bench.clip, media={"seconds": 2.5})
    seen = read(bench, estimate=lambda request, seconds: (request.model, seconds))
    assert (seen.size, seen.mtime_ns) == (9, bench.clip.mtime_ns)
    assert seen.credits_estimated == ("gen4_aleph", 2.5)
    assert len(seen.sha256) == 64


def test_a_clip_that_was_read_before_and_is_the_same_is_not_read_again(bench):
    clip = replace(bench.clip, sha256="kept")
    assert read(bench, clip).sha256 == "kept"


def test_a_clip_that_changes_while_it_is_read_has_to_settle_again(bench, monkeypatch):
    real = os.fstat

    def write_on(file):
        here = real(file)
        with (bench.work / "clip.mp4").open("ab") as clip:
            clip.write(b"more")
        return here

    monkeypatch.setattr("clipspool.stages.prepare.os.fstat", write_on)
    assert read(bench) == Changed()


def test_an_empty_clip_is_not_sent(bench):
    (bench.work / "clip.mp4").write_bytes(b"")
    assert read(bench) == Changed()


def test_a_clip_that_is_nowhere_fails_its_job(bench):
    (bench.work / "clip.mp4").unlink()
    event = read(bench)
    assert isinstance(event, Failed)
    assert event.error.code == "CLIP.MISSING"


@pytest.mark.parametrize("times", [1, 2])
def test_a_clip_that_had_retired_is_brought_back(bench, times):
    failed = a_job(state=State.FAILED, error=Error("X", "x"))
    clip = retire(bench.clip, [failed], bench.bay, always)
    sweep(clip, bench.bay)
    assert set(lying(bench.path)) == {
        "_failed/day/shot.mp4",
        "_failed/day/shot.mp4.error.toml",
        "_failed/day/shot.toml",
    }
    for _ in range(times):
        assert isinstance(read(bench, clip), Prepared)
    assert lying(bench.path) == {}
    names = {path.name for path in bench.work.iterdir()}
    assert names == {"manifest.toml", "clip.mp4", "sidecar.toml"}


# --- submit ---------------------------------------------------------------------------------------------


def test_the_journal_knows_first_then_the_ledger_then_a_byte_leaves(bench, studio):
    order = []

    def gate():
        order.append(("journal", said(bench), len(studio.sent)))
        return True

    def answer():
        order.append(("sent", said(bench), len(studio.sent)))
        return Created("task-1", 15.0)

    studio.answer = answer
    assert send(bench, studio, gate) == TaskCreated("task-1", 15.0)
    assert order == [("journal", [], 0), ("sent", ["intent"], 1)]
    assert said(bench) == ["intent", "task"]
    assert notes(bench.bay.inbox, "clip1")[1]["task_id"] == "task-1"
    assert notes(bench.bay.inbox, "clip1")[1]["profile"] == PROFILE


def test_the_inbox_is_marked_after_the_journal_knows_and_before_the_ledger_does(bench, studio):
    told = []
    ledger = bench.work / "ledger.jsonl"
    tools = SubmitTools(
        studio, DEPOT, compose, bench.send_marks, always, lambda *_: told.append(ledger.read_text())
    )

    def gate():
        told.append("gate")
        return True

    assert isinstance(submit(bench.job, bench.clip, bench.bay, tools, gate), TaskCreated)
    assert told == ["gate", ""]


def test_where_the_inbox_cannot_be_marked_nothing_is_sent(bench, studio):
    def mark(_inbox, _root):
        raise OSError(30, "Read-only file system")

    tools = SubmitTools(studio, DEPOT, compose, bench.send_marks, always, mark)
    event = submit(bench.job, bench.clip, bench.bay, tools, lambda: True)
    assert isinstance(event, NotSubmitted)
    assert "Read-only" in event.fault.message
    assert studio.sent == []


def test_a_clip_goes_as_a_data_uri_of_what_was_hashed(bench, studio):
    bench.job = a_job(request=a_request(references=(Reference("https://images.test/w.png"),)))
    send(bench, studio)
    body = studio.sent[0]["body"]
    assert isinstance(body["videoUri"], Inline)
    assert (body["videoUri"].size, body["videoUri"].content_type) == (9, "video/mp4")
    with body["videoUri"].open() as file:
        assert file.read() == b"some clip"
    assert body["references"] == ["https://images.test/w.png"]


def test_a_reference_goes_from_its_copy_in_the_work_folder(bench, studio):
    (bench.work / "ref-1.png").write_bytes(b"png")
    bench.job = a_job(request=a_request(references=(Reference(name="w.png", file="ref-1.png"),)))
    send(bench, studio)
    (reference,) = studio.sent[0]["body"]["references"]
    assert (reference.size, reference.content_type) == (3, "image/png")


def test_the_container_that_was_seen_counts_not_the_name(bench, studio):
    bench.clip = replace(bench.clip, media={"container": "mov"})
    send(bench, studio)
    assert studio.sent[0]["body"]["videoUri"].content_type == "video/quicktime"


def test_a_submission_that_is_withdrawn_leaves_no_trace(bench, studio):
    event = send(bench, studio, gate=lambda: False)
    assert isinstance(event, Postponed)
    assert (studio.sent, said(bench)) == ([], [])


def test_a_clip_that_recover_takes_over_while_its_intent_is_recorded_is_not_sent(bench, studio):
    """Whoever takes it over has read the ledger before its line was there, and pays for it."""

    def gate():
        take_over(bench.bay.inbox, "clip1", "j2")
        assert said(bench) == []
        return True

    assert isinstance(send(bench, studio, gate), NotSubmitted)
    assert (studio.sent, said(bench)) == ([], ["intent", "not_submitted"])


def test_a_daemon_that_lost_its_lead_before_its_line_writes_and_sends_nothing(bench, studio):
    """Its heir may send the clip: a line would make that doubtful."""
    tools = SubmitTools(studio, DEPOT, compose, bench.send_marks, may_send=lambda: False)
    assert isinstance(submit(bench.job, bench.clip, bench.bay, tools, lambda: True), AnswerLost)
    assert (studio.sent, said(bench)) == ([], [])


def test_a_daemon_frozen_right_before_it_opens_the_ledger_does_not_make_the_work_folder_anew(bench, studio):
    """Its heir has delivered the clip meanwhile, and removed the folder."""
    home = bench.bay.inbox.path / folder_of("clip1")
    tools = SubmitTools(studio, DEPOT, compose, bench.send_marks, always, lambda *_: shutil.rmtree(home))
    assert isinstance(submit(bench.job, bench.clip, bench.bay, tools, lambda: True), NotSubmitted)
    assert (studio.sent, home.exists()) == ([], False)


def test_a_daemon_that_lost_its_lead_after_its_line_sends_nothing_and_notes_no_refusal(bench, studio):
    """Whoever leads since has read that line, and must not find it withdrawn after its own."""
    tools = SubmitTools(studio, DEPOT, compose, bench.send_marks, may_send=lambda: said(bench) != ["intent"])
    event = submit(bench.job, bench.clip, bench.bay, tools, lambda: True)
    assert isinstance(event, AnswerLost)
    assert (studio.sent, said(bench)) == ([], ["intent"])


@pytest.mark.parametrize("when", ["before its line", "with its line"])
def test_of_two_daemons_with_copies_of_one_journal_the_first_in_the_ledger_sends(
    bench, studio, monkeypatch, when
):
    """Both looked before either had begun: the second one's job is in doubt."""
    root = bench.bay.inbox

    def other():
        note(root, "clip1", "clip1", "intent", profile=PROFILE, number=1, token="the other's")
        return True

    if when == "with its line":
        real = Ledger.note

        def note_late(ledger, *told, **more):
            monkeypatch.setattr(Ledger, "note", real)
            other()
            real(ledger, *told, **more)

        monkeypatch.setattr(Ledger, "note", note_late)
    event = send(bench, studio, other if when == "before its line" else lambda: True)
    assert event == InDoubt(1, PROFILE)
    assert studio.sent == []
    assert said(bench) == ["intent"] * (1 if when == "before its line" else 2), "the other's line stays open"


def test_whoever_is_first_in_the_ledger_sends_although_a_copy_adds_its_line_right_behind(
    bench, studio, monkeypatch
):
    real = Ledger.note

    def note_first(ledger, *told, **more):
        monkeypatch.setattr(Ledger, "note", real)
        real(ledger, *told, **more)
        note(bench.bay.inbox, "clip1", "clip1", "intent", profile=PROFILE, number=1, token="the other's")

    monkeypatch.setattr(Ledger, "note", note_first)
    assert send(bench, studio) == TaskCreated("task-1", 15.0)


@pytest.mark.parametrize("looks", [1, 2])
def test_a_copy_of_the_journal_that_has_just_begun_elsewhere_holds_the_clip_back(bench, studio, looks):
    """The mark is looked at before the ledger's line and right after it."""
    seen = []

    def copied(_root):
        seen.append(said(bench))
        return "another clipspool serves a copy" if len(seen) == looks else ""

    tools = SubmitTools(studio, DEPOT, compose, bench.send_marks, always, copied=copied)
    event = submit(bench.job, bench.clip, bench.bay, tools, lambda: True)
    assert isinstance(event, NotSubmitted)
    assert (event.fault.code, event.fault.of) == ("WORK.COPIED", FaultOf.CLIP)
    assert "another clipspool serves a copy" in event.fault.message
    assert seen == [[], ["intent"]][:looks]
    assert studio.sent == []


def test_a_retry_is_sent_although_the_ledger_has_an_earlier_request_without_an_answer(bench, studio):
    note(bench.bay.inbox, "clip1", "clip1", "intent", profile=PROFILE, number=1, token="ours")
    bench.job = a_job(task=a_task(1, task_id=None, created_at=None))
    assert send(bench, studio) == TaskCreated("task-1", 15.0)


def test_a_provider_out_of_reach_is_not_asked_and_leaves_no_trace(bench, studio):
    studio.answer = NothingSent(BUSY)
    assert send(bench, studio) == NotSubmitted(BUSY)
    assert said(bench) == []


@pytest.mark.parametrize("fault", [BUSY, NO_CREDITS])
def test_a_refusal_for_now_is_written_down(bench, studio, fault):
    studio.answer = Refused(fault)
    assert send(bench, studio) == NotSubmitted(fault)
    assert said(bench) == ["intent", "not_submitted"]


def test_a_refusal_of_the_clip_ends_its_job(bench, studio):
    studio.answer = Refused(Fault(FaultOf.CLIP, "REQUEST.INVALID", "no such ratio", "Change it."))
    assert send(bench, studio) == Failed(Error("REQUEST.INVALID", "no such ratio", "Change it."))
    assert said(bench) == ["intent", "not_submitted"]


def test_a_lost_answer_leaves_a_bare_intent(bench, studio):
    studio.answer = Unclear("no answer came", {"bytes_written": 9})
    assert send(bench, studio) == AnswerLost("no answer came", {"bytes_written": 9})
    assert said(bench) == ["intent"]


def test_a_clip_that_changed_after_it_was_hashed_is_not_sent(bench, studio):
    (bench.work / "clip.mp4").write_bytes(b"another clip")
    assert send(bench, studio) == Changed()
    assert studio.sent == []


def test_a_clip_whose_bytes_changed_at_equal_length_is_not_sent(bench, studio):
    (bench.work / "clip.mp4").write_bytes(b"same size")
    os.utime(bench.work / "clip.mp4", ns=(0, bench.clip.mtime_ns + 1))
    assert send(bench, studio) == Changed()
    assert studio.sent == []


def test_a_clip_whose_bytes_change_at_equal_length_while_it_is_read_has_to_settle_again(bench, monkeypatch):
    real, path = os.fstat, bench.work / "clip.mp4"

    def write_over(file):
        here = real(file)
        os.utime(path, ns=(0, here.st_mtime_ns + 1))
        return here

    monkeypatch.setattr("clipspool.stages.prepare.os.fstat", write_over)
    assert read(bench) == Changed()


@pytest.mark.parametrize("becomes", ["another", "gone"])
def test_a_request_is_not_sent_with_fewer_references_than_were_asked_for(bench, studio, becomes):
    image = bench.work / "ref-1.png"
    image.write_bytes(b"png")
    there = image.stat()
    bench.job = a_job(request=a_request(references=(Reference(name="w.png", file="ref-1.png"),)))
    source = SentFile("clip.mp4", bench.clip.size, bench.clip.mtime_ns, "", "video/mp4", "inline")
    made = {"side_max": 1}  # so that there is something to remember
    reference = SentFile("ref-1.png", there.st_size, there.st_mtime_ns, "", "image/png", "inline", made=made)
    write_sent(bench.bay.inbox, bench.clip, bench.job, bench.job.prepared_by, Sent(source, (reference,)))
    image.write_bytes(b"quite another image") if becomes == "another" else image.unlink()
    event = send(bench, studio)
    assert isinstance(event, Changed)
    assert event.is_settled
    assert studio.sent == []


def test_a_clip_that_changes_while_the_connection_is_made_cannot_be_opened(bench, studio):
    send(bench, studio)
    (bench.work / "clip.mp4").write_bytes(b"another clip")
    with pytest.raises(OSError, match="changed after it was read"):
        studio.sent[0]["body"]["videoUri"].open()


def test_a_clip_that_is_gone_is_not_sent(bench, studio):
    (bench.work / "clip.mp4").unlink()
    assert isinstance(send(bench, studio), Changed)
    assert studio.sent == []


@pytest.mark.parametrize(
    ("kind", "why"), [("file", "a file is in the place of a folder"), ("link", "a symbolic link is in its")]
)
def test_where_the_clips_own_folder_in_the_outbox_can_hold_no_result_nothing_is_sent(
    bench, studio, kind, why
):
    there = bench.results / "day"
    if kind == "file":
        there.write_bytes(b"")
    else:
        there.symlink_to(bench.results)
    event = send(bench, studio)
    assert isinstance(event, StageFailed)
    assert event.held is Held.OUTBOX
    assert f"no file can be made in {there}: {why}" in event.message
    assert studio.sent == []


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_room_is_looked_for_on_the_file_system_that_will_hold_the_result(bench, studio):
    there = bench.results / "day"
    there.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", there], check=True)
    try:
        event = send(bench, studio)
        assert isinstance(event, StageFailed)
        assert f"{there} needs" in event.message
        assert studio.sent == []
    finally:
        subprocess.run(["umount", there], check=True)


@pytest.mark.parametrize(("seconds", "looks"), [(0.1, [[]]), (5.0, [[], ["intent"]])])
def test_a_connection_is_looked_at_before_the_line_and_after_one_that_took_long(
    bench, studio, monkeypatch, seconds, looks
):
    """A file server that thinks for long may outlast the provider's patience, and then nothing was sent."""
    seen = []
    studio.is_usable = lambda: seen.append(said(bench)) is None and len(seen) == 1
    clock = iter([0.0, seconds])
    monkeypatch.setattr("clipspool.stages.submit.monotonic", lambda: next(clock))
    event = send(bench, studio)
    assert seen == looks
    assert isinstance(event, TaskCreated if len(looks) == 1 else NotSubmitted)
    assert len(studio.sent) == (1 if len(looks) == 1 else 0)
    assert said(bench) == ["intent", "task" if len(looks) == 1 else "not_submitted"]


def test_a_ledger_that_takes_no_notes_stops_the_submission_before_a_byte_leaves(bench, studio):
    (bench.work / "ledger.jsonl").unlink()
    (bench.work / "ledger.jsonl").mkdir()
    with pytest.raises(OSError, match="regular file"):
        send(bench, studio)
    (bench.work / "ledger.jsonl").rmdir()

    def gate():
        (bench.work / "ledger.jsonl").mkdir()
        return True

    event = send(bench, studio, gate)
    assert isinstance(event, NotSubmitted)
    assert (event.fault.code, event.fault.of) == ("WORK.UNWRITABLE", FaultOf.CLIP)
    assert studio.sent == []


@pytest.mark.parametrize(
    ("of", "code"), [(FaultOf.CLIP, "MODEL.NOT_AVAILABLE"), (FaultOf.MODEL, "MODEL.NOT_ROUTED")]
)
def test_an_error_about_a_retired_model_names_its_successor(bench, studio, of, code):
    told = Catalog.load().retirement
    studio.answer = Refused(Fault(of, code, "the model is gone", "Choose another."))
    tools = SubmitTools(studio, DEPOT, compose, bench.send_marks, always, retirement=told)
    event = submit(bench.job, bench.clip, bench.bay, tools, lambda: True)
    said = event.error if isinstance(event, Failed) else event.fault
    assert "its successor is aleph2" in said.what_to_do


def test_a_file_of_one_clip_that_cannot_be_read_holds_that_clip_back_and_no_other(bench, studio):
    studio.answer = NothingSent(file_fault(OSError(5, "Input/output error")))
    event = send(bench, studio)
    assert isinstance(event, NotSubmitted)
    assert (event.fault.code, event.fault.of) == ("FILE.UNREADABLE", FaultOf.CLIP)


def test_a_task_whose_note_cannot_be_written_is_told_all_the_same(bench, studio):
    def answer():
        (bench.work / "ledger.jsonl").unlink()
        (bench.work / "ledger.jsonl").mkdir()
        return Created("task-1")

    studio.answer = answer
    assert send(bench, studio) == TaskCreated("task-1")


def test_a_work_folder_that_knows_more_than_the_journal_waits_for_a_person(bench, studio):
    """The journal was put back to an older one: what it has forgotten may have been paid."""
    send(bench, studio)
    event = send(bench, studio)
    assert isinstance(event, InDoubt)
    assert event.submissions == 1
    assert len(studio.sent) == 1


def test_a_submission_that_was_surely_refused_is_no_doubt_for_an_older_journal(bench, studio):
    studio.answer = Refused(BUSY)
    send(bench, studio)
    assert said(bench) == ["intent", "not_submitted"]
    studio.answer = None
    assert isinstance(send(bench, studio), TaskCreated)
    assert len(studio.sent) == 2


def test_a_journal_that_knows_as_much_may_submit_again(bench, studio):
    send(bench, studio)
    assert isinstance(send(bench, studio, job=replace(bench.job, task=a_task(1))), TaskCreated)
    studio.answer = Refused(BUSY)
    send(bench, studio, job=replace(bench.job, task=a_task(2)))
    studio.answer = None
    assert isinstance(send(bench, studio, job=replace(bench.job, task=a_task(3))), TaskCreated)
    assert len(studio.sent) == 4


def test_a_line_torn_by_a_power_cut_takes_no_other_with_it(bench, studio):
    with (bench.work / "ledger.jsonl").open("ab") as ledger:
        ledger.write(b'{"job": "clip1", "what": "int')
    send(bench, studio)
    assert said(bench) == ["intent", "task"]


def test_two_variants_of_a_clip_are_counted_apart(bench, studio):
    note(bench.bay.inbox, "clip1", "clip1-v2", "intent", profile=PROFILE)
    assert isinstance(send(bench, studio), TaskCreated)


def test_a_whole_request_is_what_the_catalogue_makes_of_it(bench, studio):
    catalog = Catalog.load({})

    def from_catalog(request, source, references):
        return catalog.models[request.model].endpoint, catalog.body(request, source, references)

    tools = SubmitTools(studio, DEPOT, from_catalog, bench.send_marks, always)
    submit(bench.job, bench.clip, bench.bay, tools, lambda: True)
    body = studio.sent[0]["body"]
    assert (body["promptText"], body["model"], body["seed"]) == ("deep winter", "gen4_aleph", 42)


def test_a_note_is_durable_before_it_counts(bench, monkeypatch):
    opened, real = {}, os.open
    monkeypatch.setattr(
        "clipspool.system.atomic.os.open",
        lambda name, flags, *rest, **where: opened.update({name: flags}) or real(name, flags, *rest, **where),
    )
    note(bench.bay.inbox, "clip1", "clip1", "intent")
    assert opened["ledger.jsonl"] & os.O_DSYNC == os.O_DSYNC


# --- poll -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("look", "event"),
    [
        (TaskLook(TaskStatus.QUEUED, "THROTTLED", 0.0), TaskSeen("THROTTLED", rendering=False, progress=0.0)),
        (TaskLook(TaskStatus.RUNNING, "RUNNING", 0.5), TaskSeen("RUNNING", rendering=True, progress=0.5)),
        (TaskLook(TaskStatus.UNKNOWN, "PONDERING"), TaskSeen("PONDERING", rendering=True)),
        (TaskLook(TaskStatus.MISSING, "task_not_exist"), TaskMissing("task_not_exist")),
        (TaskLook(TaskStatus.SUCCEEDED, "SUCCEEDED", credits=14.0), TaskSucceeded(14.0)),
        (TaskLook(TaskStatus.CANCELLED, "CANCELLED"), TaskCancelled("CANCELLED")),
        (BUSY, StageFailed("PROVIDER.BUSY", "Too many requests", 20.0)),
    ],
)
def test_a_look_says_what_was_seen(look, event):
    assert poll(look) == event


def test_a_failed_render_says_why_and_whether_a_later_try_may_do():
    moderated = Fault(FaultOf.CLIP, "SAFETY.OUTPUT", "it was moderated", "Change the prompt.")
    event = poll(TaskLook(TaskStatus.FAILED, "FAILED", failure=moderated, credits=3.0))
    assert event == Failed(
        Error("SAFETY.OUTPUT", "it was moderated", "Change the prompt."), 3.0, is_of_task=True
    )
    passing = replace(moderated, of=FaultOf.MOMENT, code="INTERNAL")
    assert poll(TaskLook(TaskStatus.FAILED, "FAILED", failure=passing)).error.retryable
    assert poll(TaskLook(TaskStatus.FAILED, "FAILED")).error.code == "TASK.FAILED"


def test_a_cancelled_job_ends_whether_or_not_the_provider_could_be_told(studio):
    job = a_job(state=State.RUNNING, task=a_task(), cancel_by="ann")
    assert tell_cancel(job, studio) == Cancelled("ann", "cancelled by ann, at the provider too")
    studio.cannot_cancel = BUSY
    told = tell_cancel(job, studio)
    assert "not at the provider (Too many requests)" in told.message
    assert told.may_go_on, "its task may go on, and a retry must not pay for a second one"
    assert studio.told_to_cancel == ["task-1", "task-1"]


def test_a_task_that_is_finished_is_not_cancelled_for_its_result_is_paid_for(studio):
    studio.finish("task-1")
    job = a_job(state=State.RUNNING, task=a_task(), cancel_by="ann")
    assert tell_cancel(job, studio) == TaskSucceeded()
    assert studio.told_to_cancel == []


@pytest.mark.parametrize("status", [TaskStatus.FAILED, TaskStatus.CANCELLED])
def test_a_task_that_is_over_without_a_result_goes_on_no_more_whatever_the_provider_can_cancel(
    studio, status
):
    studio.looks["task-1"] = TaskLook(status, status.value)
    studio.cannot_cancel = BUSY
    job = a_job(state=State.RUNNING, task=a_task(), cancel_by="ann")
    assert not tell_cancel(job, studio).may_go_on


def test_a_job_whose_tasks_key_is_configured_no_more_is_cancelled_all_the_same(bench):
    runner = StageRunner(Tools({}, None, None, None, lambda _: None), None, None, lambda: NOON, lambda: True)
    job = a_job(state=State.RUNNING, task=a_task(), cancel_by="ann")
    event = runner.work(Assignment(Stage.TELL_CANCEL, job, bench.clip, "a1"), lambda: True)
    assert isinstance(event, Cancelled)
    assert event.may_go_on
    assert "not at the provider (the task was made at" in event.message
