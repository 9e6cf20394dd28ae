"""What is asked for each part of a long clip, and what the parts mean for the job as a whole."""

from dataclasses import replace

import pytest

from clipspool.jobs.events import PartsFetched, PartsSeen
from clipspool.jobs.model import Error, Held, Paid, Part, Reference, State
from clipspool.jobs.permissions import may_cancel, may_retry, may_retry_or_release, may_run_again
from clipspool.jobs.splitting import credits_of, ordered, part_jobs, request_of, seen
from fakes import NOON, RESULT, a_job, a_task

S = State
PARTS = (
    Part(1, 3, 0, 120, 0, "24/1", 25.0),
    Part(2, 3, 108, 120, 12, "24/1", 25.0),
    Part(3, 3, 228, 72, 0, "24/1", 15.0),
)
WHOLE = replace(a_job(), state=S.RUNNING, parts=PARTS, approved=True, priority=3, prepared=True)


def the_parts(*states):
    """Return the jobs of the parts, each as it is when it has come to a state in the plain way."""
    more = {
        S.QUEUED: {},
        S.RUNNING: {"task": a_task(), "progress": 0.5, "paid": Paid.UNKNOWN},
        S.FETCHED: {"task": a_task(credits=20.0), "results": (RESULT,), "paid": Paid.YES},
        S.FAILED: {"error": Error("RENDER", "the render failed"), "paid": Paid.YES},
        S.IN_DOUBT: {"held": Held.IN_DOUBT, "reason": "no answer came", "paid": Paid.UNKNOWN},
        S.CANCELLED: {"error": Error("CANCELLED", "cancelled by ann")},
    }
    jobs = part_jobs(WHOLE, NOON)
    return [replace(job, state=state, **more[state]) for job, state in zip(jobs, states, strict=True)]


def test_each_part_is_a_job_with_the_same_seed_prompt_priority_and_approval():
    jobs = part_jobs(WHOLE, NOON)
    assert [job.id for job in jobs] == ["clip1-p001", "clip1-p002", "clip1-p003"]
    assert {(job.whole_id, job.clip_id, job.created_at) for job in jobs} == {
        ("clip1", WHOLE.clip_id, WHOLE.created_at)
    }
    assert {(job.request.seed, job.request.prompt, job.priority, job.approved) for job in jobs} == {
        (WHOLE.request.seed, WHOLE.request.prompt, 3, True)
    }
    assert [job.credits_estimated for job in jobs] == [25.0, 25.0, 15.0]
    assert WHOLE.part_ids == [job.id for job in jobs]
    assert not any(job.is_split or job.part_ids or job.is_again for job in jobs)


@pytest.mark.parametrize(
    ("at", "shown"),
    [
        ("first", ["first", None, None]),
        ("last", [None, None, "last"]),
        ("0", ["0", None, None]),
        ("4.75", ["4.75", "0.25", None]),  # both parts show it: they are faded into one another there
        ("9.5", [None, None, "0"]),
        ("12.5", [None, None, "3"]),
    ],
)
def test_a_keyframe_goes_to_the_parts_that_show_its_time(at, shown):
    image, plain = Reference(name="look.png", file="ref-0.png", at=at), Reference(uri="https://x/y.png")
    request = replace(WHOLE.request, references=(image, plain))
    asked = [request_of(request, part).references for part in PARTS]
    assert [next((one.at for one in found if one.at), None) for found in asked] == shown
    assert all(plain in found for found in asked)


def test_all_parts_that_are_fetched_are_joined_with_what_each_cost():
    parts = the_parts(S.FETCHED, S.FETCHED, S.FETCHED)
    event = seen(WHOLE, parts)
    assert isinstance(event, PartsFetched)
    assert [one.part for one in event.results] == [1, 2, 3]
    assert {(one.task_id, one.credits, one.attempts) for one in event.parts} == {("task-1", 20.0, 1)}
    assert credits_of(replace(WHOLE, parts=event.parts), ()) == credits_of(WHOLE, parts) == 60.0
    for odd in ({"held": Held.RESULT}, {"results": ()}, {"results": (replace(RESULT, suffix=".zip"),)}):
        waiting = seen(WHOLE, [parts[0], replace(parts[1], **odd), parts[2]])
        assert isinstance(waiting, PartsSeen), odd


def test_a_part_that_needs_a_person_holds_the_job_and_names_what_to_do():
    event = seen(WHOLE, the_parts(S.FETCHED, S.FAILED, S.RUNNING))
    assert (event.held, event.paid, event.progress) == (Held.PARTS, Paid.YES, 0.5)
    assert event.message == (
        "1 of 3 parts is here; part 2 (clip1-p002) failed: the render failed; "
        "`clipspool retry clip1-p002` pays for it alone"
    )
    doubtful = seen(WHOLE, the_parts(S.IN_DOUBT, S.CANCELLED, S.QUEUED))
    assert doubtful.held is Held.PARTS
    assert "part 1 (clip1-p001) is in doubt: no answer came" in doubtful.message
    assert "`clipspool retry clip1-p002` runs it alone" in doubtful.message
    fetched, failed, _ = the_parts(S.FETCHED, S.FAILED, S.RUNNING)
    changed = Error("CLIP.CHANGED", "day/shot.mp4 changed", "Cancel the job, and drop the clip again.")
    told = seen(WHOLE, [fetched, replace(failed, error=changed)]).message
    assert told.endswith("failed: day/shot.mp4 changed. Cancel the job, and drop the clip again")
    fine = seen(WHOLE, the_parts(S.FETCHED, S.RUNNING, S.QUEUED))
    assert (fine.held, fine.paid) == (None, Paid.YES)


def test_what_was_seen_already_is_no_news():
    parts = the_parts(S.FETCHED, S.RUNNING, S.QUEUED)
    event = seen(WHOLE, parts)
    told = replace(WHOLE, reason=event.message, progress=event.progress, paid=event.paid)
    assert seen(told, parts) is None


def test_an_order_for_the_job_is_for_those_of_its_parts_that_may_get_it():
    parts = the_parts(S.FETCHED, S.FAILED, S.IN_DOUBT)
    assert ordered(WHOLE, parts, may_retry_or_release) == parts[1:]
    assert ordered(WHOLE, parts[:1], may_retry_or_release) == [WHOLE]
    assert ordered(replace(WHOLE, state=S.QUEUED), parts, may_retry_or_release)[0].id == WHOLE.id
    fetched, failed, _ = parts
    assert not may_cancel(fetched), "it waits for the others, and ends with them"
    assert not may_retry(fetched)
    assert not may_run_again(replace(failed, state=S.DELIVERED)), "the clip is run again as a whole"
