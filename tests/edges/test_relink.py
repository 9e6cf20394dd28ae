"""The end of a timeline: written once all its clips have ended, again after a retry, over nothing."""

import tomllib
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from clipspool.jobs.limits import Limits
from clipspool.jobs.model import Error, Result, State
from clipspool.spool.timelines import Plan, PlannedCut, ends_of, keep, left_of, plan_of
from clipspool.stages.relink import note_ends
from clipspool.stages.runner import StageRunner, Tools
from fakes import NOON, Bench, a_job, a_request, always, lying
from media_clips import run

EDL = (Path(__file__).parents[1] / "timelines" / "resolve.edl").read_bytes()
ONE, OTHER = "day/A001_C003.mov", "day/A001_C004.mov"


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """49 frames at 25 a second."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    shown = [
        "-f",
        "lavfi",
        "-i",
        "testsrc2=s=64x36:r=25",
        "-frames:v",
        "49",
        "-pix_fmt",
        "yuv420p",
        str(path),
    ]
    run(["ffmpeg", "-v", "error", "-nostdin", *shown])
    return path.read_bytes()


class Timeline:
    """An accepted timeline of two clips, the first of which has two jobs."""

    def __init__(self, tmp_path, decoder, film):
        self.bench = Bench(tmp_path)
        self.decoder, self.film = decoder, film
        part = {"start": "1", "frames": 49, "before": 12, "after": 12, "has_timecode": True}
        cuts = (
            PlannedCut(number=1, name="A001_C003.mov", clip=ONE, variant="_v1", **part),
            PlannedCut(number=2, name="A001_C004.mov", clip=OTHER, **part),
            PlannedCut(number=3, name="A001_C003.mov", clip=ONE, variant="_v2", **part),
            PlannedCut(number=5, name="A001_C004.mov", why="its speed is changed"),
        )
        self.plan = Plan(id="abc123", path="day/cut.edl", cuts=cuts, unmarked=1)
        keep(self.bench.bay.inbox, self.plan, EDL, b"seed = 7\n")

    def job(self, path, variant="", *, state=State.DELIVERED, version=1, film=None, clip="c1"):
        """Return an ended job; what it delivered lies in the outbox."""
        name = f"{path.removesuffix('.mov')}{variant}{'' if version == 1 else '_v002'}.mp4"
        request = replace(a_request(), timeline=self.plan.id)
        job = replace(a_job(clip, path=path, variant=variant), state=state, request=request, version=version)
        if state is not State.DELIVERED:
            return replace(job, error=Error("TASK.FAILED", "the provider's model failed"))
        there = self.bench.results / name
        there.parent.mkdir(exist_ok=True)
        there.write_bytes(self.film if film is None else film)
        return replace(job, results=(Result("x", ".mp4", 1, "ab", name=name),))

    def end(self, path, *jobs, may=always, clip="c1"):
        ended = replace(self.bench.clip, id=clip, path=path)
        note_ends(ended, jobs, self.bench.bay, self.decoder, NOON, may)

    def there(self):
        return sorted(name for name in lying(self.bench.results) if "edl" in name)

    def text(self, name):
        return (self.bench.results / "day" / name).read_text()


@pytest.fixture
def timeline(tmp_path, decoder, film):
    return Timeline(tmp_path, decoder, film)


def test_it_comes_back_when_its_last_clip_has_ended_and_once(timeline):
    both = [timeline.job(ONE, "_v1"), timeline.job(ONE, "_v2")]
    timeline.end(ONE, *both)
    assert timeline.there() == []
    for _ in range(2):  # again, after a crash
        timeline.end(OTHER, timeline.job(OTHER, clip="c2"), clip="c2")
    assert timeline.there() == ["day/cut.edl", "day/cut.edl.txt"]
    assert timeline.text("cut.edl").count("* FROM CLIP NAME: A001_C003_v") == 2
    told = timeline.text("cut.edl.txt")
    assert "Linked (3 of 4 marked clips):" in told
    assert "clip 1 `A001_C003.mov`: `day/A001_C003_v1.mp4`, 49 frames, 12 and 12 frames of handles" in told
    assert "clip 5 `A001_C004.mov`: its speed is changed" in told
    done = lying(timeline.bench.path)
    assert done["_done/day/cut.edl"] == EDL
    assert done["_done/day/cut.edl.toml"] == b"seed = 7\n"
    left = left_of(timeline.bench.bay.inbox, timeline.plan.id)
    assert ([one.rel for one in left.files], left.ended_at) == (
        ["_done/day/cut.edl", "_done/day/cut.edl.toml"],
        NOON,
    )


@pytest.mark.parametrize("leads_on", [True, False])
def test_a_node_that_lost_its_lead_after_a_source_was_moved_writes_no_timeline(timeline, leads_on):
    bench = timeline.bench
    timeline.end(OTHER, timeline.job(OTHER, clip="c2"), clip="c2")
    both = [timeline.job(ONE, variant, clip="clip1") for variant in ("_v1", "_v2")]
    tools = Tools({"bay": bench.bay}, None, None, None, lambda _: None, draws_posters=lambda: False)
    clip = replace(bench.clip, path=ONE, inbox="bay")
    moved = bench.path / "_done" / ONE
    runner = StageRunner(tools, timeline.decoder, None, lambda: NOON, lambda: leads_on or not moved.exists())
    with nullcontext() if leads_on else pytest.raises(OSError, match="lead of the farm was lost"):
        runner.retire(clip, both)
    assert moved.exists()
    assert timeline.there() == (["day/cut.edl", "day/cut.edl.txt"] if leads_on else [])


def test_where_editors_have_windows_it_lies_beside_its_results_under_a_path_that_opens_there(timeline):
    inbox = timeline.bench.bay.inbox
    timeline.plan = replace(timeline.plan, path="day?/cut:1.edl")
    keep(inbox, timeline.plan, EDL, b"")
    timeline.bench.bay = replace(timeline.bench.bay, is_portable=True)
    timeline.end(ONE, timeline.job(ONE, "_v1"), timeline.job(ONE, "_v2"))
    timeline.end(OTHER, timeline.job(OTHER, clip="c2"), clip="c2")
    assert timeline.there() == ["day_/cut_1.edl", "day_/cut_1.edl.txt"]


def test_a_job_that_failed_leaves_its_clip_as_it_was_and_a_retry_writes_the_timeline_again(timeline):
    timeline.end(OTHER, timeline.job(OTHER, clip="c2"), clip="c2")
    good, bad = timeline.job(ONE, "_v1"), timeline.job(ONE, "_v2", state=State.FAILED)
    timeline.end(ONE, good, bad)
    assert "ended as failed. the provider's model failed" in timeline.text("cut.edl.txt")
    assert "* FROM CLIP NAME: A001_C003.mov\n* COMMENT: fog" in timeline.text("cut.edl")
    note = tomllib.loads(lying(timeline.bench.path)["_failed/day/cut.edl.error.toml"].decode())
    assert (note["code"], "model failed" in note["message"]) == ("TIMELINE.INCOMPLETE", True)
    before = timeline.text("cut.edl")
    timeline.end(ONE, good, timeline.job(ONE, "_v2"))
    assert timeline.there() == ["day/cut-2.edl", "day/cut-2.edl.txt", "day/cut.edl", "day/cut.edl.txt"]
    assert timeline.text("cut.edl") == before
    assert "* FROM CLIP NAME: A001_C003_v2.mp4\n* COMMENT: fog" in timeline.text("cut-2.edl")


def test_a_version_that_was_run_again_is_linked_instead(timeline):
    timeline.end(OTHER, timeline.job(OTHER, clip="c2"), clip="c2")
    first = [timeline.job(ONE, "_v1"), timeline.job(ONE, "_v2")]
    timeline.end(ONE, *first)
    timeline.end(ONE, *first, timeline.job(ONE, "_v1", version=2))
    assert "* FROM CLIP NAME: A001_C003_v1_v002.mp4" in timeline.text("cut-2.edl")


def test_a_result_of_another_length_is_not_linked(timeline, tmp_path):
    path = tmp_path / "short.mp4"
    shown = [
        "-f",
        "lavfi",
        "-i",
        "testsrc2=s=64x36:r=24",
        "-frames:v",
        "20",
        "-pix_fmt",
        "yuv420p",
        str(path),
    ]
    run(["ffmpeg", "-v", "error", "-nostdin", *shown])
    timeline.end(OTHER, timeline.job(OTHER, clip="c2", film=path.read_bytes()), clip="c2")
    timeline.end(ONE, timeline.job(ONE, "_v1"), timeline.job(ONE, "_v2"))
    assert "has 20 frames at 24 a second, and 49 at 25 are needed" in timeline.text("cut.edl.txt")
    assert "* FROM CLIP NAME: A001_C004.mov\n* COMMENT: rain at night" in timeline.text("cut.edl")


def test_with_nothing_to_link_no_timeline_is_written(timeline):
    timeline.end(OTHER, timeline.job(OTHER, state=State.CANCELLED, clip="c2"), clip="c2")
    timeline.end(ONE, *(timeline.job(ONE, v, state=State.FAILED) for v in ("_v1", "_v2")))
    assert timeline.there() == []
    assert lying(timeline.bench.path)["_failed/day/cut.edl"] == EDL


def test_a_name_that_is_taken_is_left_alone_and_what_a_crash_left_half_is_completed(timeline, monkeypatch):
    (timeline.bench.results / "day").mkdir()
    (timeline.bench.results / "day/cut.edl").write_bytes(b"another's")
    timeline.end(OTHER, timeline.job(OTHER, clip="c2"), clip="c2")
    both = [timeline.job(ONE, "_v1"), timeline.job(ONE, "_v2")]
    outbox, real = timeline.bench.bay.outbox, type(timeline.bench.bay.outbox).create

    def create(root, rel, data, **how):
        if rel.endswith(".edl"):
            raise OSError("the machine stops here")
        real(root, rel, data, **how)

    monkeypatch.setattr(type(outbox), "create", create)
    with pytest.raises(OSError, match="stops here"):
        timeline.end(ONE, *both)
    monkeypatch.undo()
    assert timeline.there() == ["day/cut-2.edl.txt", "day/cut.edl"]
    timeline.end(ONE, *both)
    assert timeline.there() == ["day/cut-2.edl", "day/cut-2.edl.txt", "day/cut.edl"]
    assert timeline.text("cut.edl") == "another's"


def test_a_leader_that_lost_its_lead_writes_nothing(timeline):
    timeline.end(OTHER, timeline.job(OTHER, clip="c2"), clip="c2")
    both = [timeline.job(ONE, "_v1"), timeline.job(ONE, "_v2")]
    with pytest.raises(OSError, match="lead of the farm"):
        timeline.end(ONE, *both, may=lambda: False)
    assert timeline.there() == []
    timeline.end(ONE, *both)
    assert timeline.there() == ["day/cut.edl", "day/cut.edl.txt"]


def test_a_job_whose_timeline_is_gone_retires_as_any_other(timeline):
    timeline.bench.bay.inbox.remove_folder(".clipspool/timelines/abc123")
    timeline.end(ONE, timeline.job(ONE, "_v1"), timeline.job(ONE, "_v2"))
    assert plan_of(timeline.bench.bay.inbox, "abc123") is None


def test_ends_are_kept_by_the_clips_path_and_the_newest_counts(timeline):
    inbox = timeline.bench.bay.inbox
    timeline.end(ONE, timeline.job(ONE, "_v1", state=State.FAILED), clip="c1")
    timeline.end(ONE, timeline.job(ONE, "_v1"), clip="c9")
    assert ends_of(inbox, timeline.plan)[ONE]["clip"] == "c9"


@pytest.mark.parametrize(("limits", "is_held"), [({}, False), ({"credits_per_job_max": 99.0}, True)])
def test_the_price_of_a_whole_timeline_is_held_against_the_limit_of_a_clip(limits, is_held):
    assert bool(Limits(**limits).is_timeline_too_dear(100.0)) is is_held
    assert not Limits(credits_per_job_max=99.0, credits_per_clip_max=100.0).is_timeline_too_dear(100.0)
    assert not Limits(credits_per_job_max=1.0).is_timeline_too_dear(None)
