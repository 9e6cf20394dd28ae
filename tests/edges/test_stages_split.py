"""What guards a clip in parts on its disk: the frames of each, its plan in the ledger, and the clip."""

import os
import shutil
import time
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest

from clipspool.app.noting import LedgerNotes
from clipspool.jobs.assignments import Assignment
from clipspool.jobs.events import AnswerLost, Changed, Failed, Fetched, PartGone, Postponed, Retried, Split
from clipspool.jobs.lifecycle import Stage
from clipspool.jobs.messages import Happened
from clipspool.jobs.model import Held, Part, Result, State, part_id, plain
from clipspool.jobs.splitting import part_jobs
from clipspool.jobs.working import keep_to_oneself
from clipspool.media.decoder import Decoder
from clipspool.media.facts import MediaFault, Probe, Scenes
from clipspool.media.parts import parts_of
from clipspool.provider.catalog import Catalog
from clipspool.provider.transport import Depot
from clipspool.provider.transport.way import InRequest
from clipspool.spool.ledger import note, notes, parts_noted
from clipspool.spool.recovery import survey
from clipspool.stages.fit import Workbench
from clipspool.stages.prepare import PrepareTools, prepare
from clipspool.stages.runner import StageRunner, Tools
from clipspool.stages.split import JoinTools, Parting, clip_part, cut_up, join_results, parting, record_parts
from clipspool.stages.submit import SubmitTools, submit
from fakes import PROFILE, Bench, Film, Studio, a_request, a_task, always

PARTS = (Part(1, 2, 0, 24, 0, "24/1", 15.0), Part(2, 2, 18, 24, 6, "24/1", 15.0))
OTHERS = (Part(1, 2, 0, 30, 0, "24/1", 15.0), Part(2, 2, 30, 12, 0, "24/1", 15.0))
DEPOT = Depot([InRequest(5_000_000)], time.time)


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    bench.job = replace(bench.job, request=a_request(long_clips="split"), parts=PARTS, prepared=True)
    return bench


def noted(bench):
    return notes(bench.bay.inbox, "clip1")


def intend(bench, part):
    """Add the line of a part's request that is about to be sent."""
    note(bench.bay.inbox, "clip1", part_id("clip1", part), "intent", profile=PROFILE, number=1)


def test_a_part_without_the_record_of_its_frames_is_prepared_again_and_the_clip_is_not_sent_whole(bench):
    studio = Studio()
    compose = lambda *_: ("video_to_video", {})  # noqa: E731
    tools = SubmitTools(studio, DEPOT, compose, bench.send_marks, may_send=always)
    part = replace(part_jobs(bench.job, 0.0)[0], prepared=True, prepared_by="a1")
    assert isinstance(submit(part, bench.clip, bench.bay, tools, lambda: True), Changed)
    assert studio.sent == []


def test_the_parts_are_in_the_ledger_before_any_of_them_is_entered(bench):
    assert record_parts(bench.job, bench.clip, bench.bay, always) == Split(PARTS)
    (line,) = noted(bench)
    assert (line["job"], line["what"], line["parts"]) == ("clip1", "parts", [plain(one) for one in PARTS])
    assert parts_noted(noted(bench), "clip1") == (), "none was sent: it may be cut again"
    intend(bench, 2)
    assert parts_noted(noted(bench), "clip1") == PARTS


def test_a_part_whose_task_is_followed_again_is_not_sent_once_more_when_the_journal_is_lost(bench):
    """The clip was put away, and is in a work folder that was made anew: with a new ledger."""
    record_parts(bench.job, bench.clip, bench.bay, always)
    first = replace(part_jobs(bench.job, 0.0)[0], state=State.RUNNING, task=a_task(), prepared_by="a1")
    notes_of = LedgerNotes(lambda: {bench.job.inbox: bench.bay}, "j1", lambda work: work())
    for _ in range(2):
        notes_of.on_news(Happened(first, first, Retried("its job, which is run again")))
    assert [line["what"] for line in noted(bench)] == ["parts", "retried", "intent", "task", "retried"]
    (found,) = survey("bay", bench.bay.inbox, "j1", ()).ours
    assert [(job.part, job.state) for job in found.jobs] == [
        (0, State.RUNNING),
        (1, State.RUNNING),
        (2, State.QUEUED),
    ]
    assert (found.jobs[1].task.task_id, found.jobs[1].prepared_by) == ("task-1", "a1")


def test_a_journal_that_was_put_back_cuts_no_clip_anew_of_which_a_part_may_be_paid(bench):
    record_parts(replace(bench.job, parts=OTHERS), bench.clip, bench.bay, always)
    intend(bench, 1)
    assert record_parts(bench.job, bench.clip, bench.bay, always) == Split(OTHERS)


def test_who_lost_the_lead_enters_no_parts(bench):
    assert isinstance(record_parts(bench.job, bench.clip, bench.bay, lambda: False), Postponed)
    assert noted(bench) == []


def test_the_stages_of_a_daemon_that_lost_its_lead_send_nothing_enter_no_parts_and_make_no_folder_anew(bench):
    studio = Studio()
    tools = Tools({"bay": bench.bay}, studio, Catalog.load(), DEPOT, lambda _: studio)
    runner = StageRunner(tools, None, bench.send_marks, time.time, may_send=lambda: False)

    def work(stage, **changes):
        job = replace(bench.job, **changes)
        return runner.work(Assignment(stage, job, bench.clip, "a1"), always)

    assert isinstance(work(Stage.SUBMIT), Postponed)
    assert isinstance(work(Stage.SUBMIT, parts=()), AnswerLost)
    assert (studio.sent, noted(bench)) == ([], [])
    studio.finish("task-1", Film(b"a result"))
    shutil.rmtree(bench.work)
    fetched = work(Stage.FETCH, parts=(), state=State.RENDERED, task=a_task())
    assert isinstance(fetched, Postponed)
    assert not bench.work.exists()


def test_a_clip_that_changed_since_it_was_cut_is_not_sent_in_part(bench):
    file = bench.work / "clip.mp4"
    file.write_bytes(b"another clip")
    assert isinstance(record_parts(bench.job, bench.clip, bench.bay, always), Changed)
    clip = replace(bench.clip, sha256="ab" * 32)
    limits, credits_ = Catalog.load().limits("gen4_aleph"), Catalog.load().credits
    tools = PrepareTools(Decoder(), DEPOT, lambda _: limits, credits_, time.time)
    done = prepare(part_jobs(bench.job, 0.0)[0], clip, bench.bay, tools, attempt="a1")
    assert isinstance(done, Failed)
    assert done.error.code == "CLIP.CHANGED"


def test_a_clip_that_changed_since_it_was_cut_is_not_cut_anew_where_its_job_is_run_again(bench):
    """Its other parts may be paid for, and show another film."""
    (bench.work / "clip.mp4").write_bytes(b"another clip")
    clip = replace(bench.clip, sha256="ab" * 32)
    tools = PrepareTools(Decoder(), DEPOT, lambda _: None, lambda *_: None, time.time)
    done = prepare(bench.job, clip, bench.bay, tools, attempt="a1")
    assert done.error.code == "CLIP.CHANGED"


def test_parts_are_entered_only_for_a_clip_with_the_date_that_was_read(bench):
    os.utime(bench.work / "clip.mp4", ns=(0, bench.clip.mtime_ns + 1))
    assert isinstance(record_parts(bench.job, bench.clip, bench.bay, always), Changed)
    assert noted(bench) == []


def test_a_job_that_is_run_again_keeps_the_parts_that_may_be_paid_for(bench):
    workbench = Workbench(bench.bay, bench.clip, bench.job, "a1", None, keep_to_oneself)
    assert cut_up(workbench, None, None, None, lambda parts: Parting(parts, ())).parts == tuple(
        map(clip_part, PARTS)
    )


@pytest.mark.parametrize(
    ("cuts", "frames"),
    [((110, 168), [101, 100, 100]), ((100, 200), [100, 100, 77])],
)
def test_scene_changes_never_make_a_clip_dearer_than_the_even_parts_whose_price_was_approved(
    bench, cuts, frames
):
    catalog = Catalog.load()
    probe = Probe("mp4", 1000, "h264", 640, 360, fps="25/1", seconds=11.08, pixel_format="yuv420p")
    limits = catalog.limits("gen4_aleph")
    scenes = SimpleNamespace(scenes=lambda *_, **__: Scenes(cuts))
    job = replace(bench.job, parts=(), request=a_request(long_clips="split", model="gen4_aleph"))
    workbench = Workbench(bench.bay, bench.clip, job, "a1", scenes, keep_to_oneself)
    priced = partial(parting, job.request, probe, limits, DEPOT.ways, "video/mp4", catalog.credits)
    with (bench.work / "clip.mp4").open("rb") as file:
        made = cut_up(workbench, probe, limits, file, priced)
    even = priced(parts_of(probe, limits, overlap_frames=job.request.overlap_frames))
    assert made.price <= even.price
    assert [part.frames for part in made.parts] == frames


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [{}],
        [{**plain(PARTS[0]), "number": 2}],
        [{**plain(PARTS[0]), "of": 1, "frames": 0}],
        [{**plain(PARTS[0]), "of": 1, "fps": "24/0"}],
        [{**plain(PARTS[0]), "of": 1, "start": True}],
        7,
    ],
)
def test_a_line_that_anybody_wrote_into_the_ledger_cuts_nothing(bench, parts):
    note(bench.bay.inbox, "clip1", "clip1", "parts", parts=parts)
    intend(bench, 1)
    assert parts_noted(noted(bench), "clip1") == ()


def test_a_lost_journal_is_rebuilt_with_the_parts_of_which_one_was_sent_and_without_those_of_which_none_was(
    bench,
):
    record_parts(bench.job, bench.clip, bench.bay, always)
    (found,) = survey("bay", bench.bay.inbox, "j1", set()).ours
    assert [(job.id, job.state) for job in found.jobs] == [("clip1", State.QUEUED)]
    intend(bench, 2)
    (found,) = survey("bay", bench.bay.inbox, "j1", set()).ours
    assert [(job.id, job.state) for job in found.jobs] == [
        ("clip1", State.RUNNING),
        ("clip1-p001", State.QUEUED),
        ("clip1-p002", State.IN_DOUBT),
    ]


class Joining(Decoder):
    """Ends each join as it is told, after it wrote a half of the film."""

    def __init__(self, fault):
        super().__init__()
        self.fault = fault

    def probe(self, *_):
        return Probe("mp4", 9, video_codec="h264", width=64, height=48, seconds=1.0, frames=24, fps="24/1")

    def join(self, *given, **_):
        os.write(given[2], b"half of a film")
        return self.fault


def joined(bench, code, *, attempts=0, lost=()):
    """Join two fetched parts, of which some are lost; return the event and what is left of it."""
    films = [Result(f"clip1-p00{n}-1.mp4", ".mp4", 4, "ab" * 32, number=1, part=n) for n in (1, 2)]
    for film in films:
        (bench.work / film.file).write_bytes(b"film")
        if film.part in lost:
            (bench.work / film.file).unlink()
    before = {path.name for path in bench.work.iterdir()}
    job = replace(bench.job, state=State.RENDERED, results=tuple(films), attempts=attempts)
    decoder = Joining(MediaFault(code, "it could not be joined", ""))
    event = join_results(job, bench.clip, bench.bay, JoinTools(decoder), attempt="a9")
    assert {path.name for path in bench.work.iterdir()} == before, "no half of a film, and every part"
    return event


def test_a_daemon_that_stops_while_it_joins_joins_anew_at_its_next_start(bench):
    assert isinstance(joined(bench, "MEDIA.STOPPED"), Postponed)


def test_a_full_disk_holds_a_join_with_all_its_parts(bench, monkeypatch):
    event = joined(bench, "MEDIA.NO_SPACE")
    assert (event.code, event.held) == ("INBOX.FULL", Held.DISK)
    monkeypatch.setattr("clipspool.stages.split.lacking", lambda *_: "it is full")
    event = joined(bench, "MEDIA.CRASHED")
    assert (event.code, event.held) == ("INBOX.FULL", Held.DISK), "known before a film is begun"


def test_a_join_that_fails_is_tried_again_and_then_a_person_decides(bench):
    assert joined(bench, "MEDIA.CRASHED").code == "MEDIA.CRASHED"
    event = joined(bench, "MEDIA.CRASHED", attempts=2)
    assert isinstance(event, Fetched)
    assert "`clipspool approve` delivers them one by one" in event.doubt
    assert [one.part for one in event.results] == [1, 2]
    assert joined(bench, "MEDIA.CRASHED", lost=[2]) == PartGone(2, "clip1-p002-1.mp4")
