"""What a journal answers, condition by condition, on each driver."""

from dataclasses import replace

import pytest

from clipspool.jobs.events import TaskCreated, TaskSeen, TaskSucceeded
from clipspool.jobs.model import Error, Held, Paid, Reuse, State
from clipspool.jobs.pacing import NEVER
from clipspool.jobs.records import ClipCost, Spend, Tally
from clipspool.jobs.render_times import Seen
from clipspool.journal import DaySpent
from fakes import NOON, PROFILE, RESULT, a_clip, a_job, a_request, a_task
from journals import accept, happen

DAY = 86_400
MIDNIGHT = NOON // DAY * DAY
OTHER_MODEL = a_request(model="gen5")


@pytest.fixture
def journal(driver):
    one = driver.open()
    yield one
    one.close()


def ids(jobs):
    return [job.id for job in jobs]


# --- money ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "paid", "task", "cost"),
    [
        (State.SUBMITTING, Paid.NO, a_task(task_id=None), 10.0),
        (State.IN_DOUBT, Paid.UNKNOWN, a_task(task_id=None), 10.0),
        (State.RUNNING, Paid.NO, a_task(), 10.0),
        (State.FAILED, Paid.NO, a_task(), 10.0),
        (State.DELIVERED, Paid.YES, a_task(credits=14.0), 14.0),
        (State.QUEUED, Paid.NO, a_task(task_id=None), 0.0),
        (State.FAILED, Paid.NO, a_task(task_id=None), 0.0),
    ],
)
def test_what_counts_as_spent_is_the_same_for_the_day_the_clip_and_the_page(
    driver, journal, state, paid, task, cost
):
    accept(journal, a_job(state=state, paid=paid, task=task, credits_estimated=10.0))
    count = int(cost > 0)
    assert journal.spent(NOON) == Spend(count, cost)
    assert journal.spent(NOON + 1) == Spend(0, 0.0)
    assert journal.clip_cost("clip1").spent == cost
    assert journal.clip_cost("another").spent == 0.0
    day = int(NOON // DAY)
    with driver.look() as look:
        assert look.spent_by_day(day, day + 1) == ([DaySpent(day, "bay", 1, cost)] if count else [])
        assert look.spent_by_day(day - 1, day) == look.spent_by_day(day + 1, day + 2) == []


def test_a_task_at_midnight_belongs_to_the_day_that_begins(driver, journal):
    accept(journal, a_job(state=State.RUNNING, task=a_task(credits=1.0, intent_at=MIDNIGHT)))
    day = int(MIDNIGHT // DAY)
    with driver.look() as look:
        assert look.spent_by_day(day - 1, day) == []
        assert look.spent_by_day(day, day + 1) == [DaySpent(day, "bay", 1, 1.0)]


def test_what_a_clip_would_still_cost_leaves_out_what_is_sent_or_will_not_be(journal):
    reuse = Reuse("clip0", "bay", (RESULT,))
    jobs = [
        a_job("clip1-1", credits_estimated=1.0),
        a_job("clip1-2", credits_estimated=2.0, held=Held.BUDGET),
        a_job("clip1-3", credits_estimated=None),
        a_job("clip1-4", credits_estimated=4.0, held=Held.DUPLICATE),
        a_job("clip1-5", credits_estimated=8.0, reuse=reuse),
        a_job("clip1-6", credits_estimated=16.0, state=State.CANCELLED),
    ]
    with journal.turn():
        journal.accept(a_clip(), jobs)
    cost = journal.clip_cost("clip1")
    assert (cost.spent, set(cost.waiting)) == (0.0, {1.0, 2.0, None})
    assert journal.clip_cost("another") == ClipCost()


def test_money_moved_where_another_job_with_a_task_changed_since(journal):
    accept(journal, a_job("sent", state=State.RUNNING, task=a_task(), updated_at=NOON))
    accept(journal, a_job("new", updated_at=NOON + 9))
    assert journal.has_money_moved(NOON, "new")
    assert not journal.has_money_moved(NOON, "sent")
    assert not journal.has_money_moved(NOON + 1, "none")


# --- the same request -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "is_same"),
    [
        ({}, True),
        ({"held": Held.BUDGET}, True),
        ({"held": Held.DUPLICATE}, False),
        ({"state": State.CANCELLED}, False),
        ({"state": State.CANCELLED, "paid": Paid.UNKNOWN}, True),
        ({"state": State.FAILED}, False),
        ({"state": State.FAILED, "paid": Paid.YES}, True),
        ({"state": State.DELIVERED, "paid": Paid.YES}, True),
        ({"fingerprint": "other"}, False),
    ],
)
def test_a_job_is_compared_with_those_that_cost_something_or_will(journal, changes, is_same):
    new = accept(journal, a_job("new", fingerprint="same"))
    accept(journal, a_job("old", **{"fingerprint": "same", **changes}))
    assert ids(journal.same_request(new, [])) == (["old"] if is_same else [])
    assert journal.same_request(new, ["old"]) == []
    assert journal.clips_with(["same", "none"]) == {"same": 2 if changes.get("fingerprint") is None else 1}


def test_the_oldest_of_the_same_requests_comes_first_and_a_clips_own_are_none(journal):
    jobs = [a_job("new-1", fingerprint="same"), a_job("new-2", fingerprint="same")]
    with journal.turn():
        journal.accept(a_clip("new"), jobs)
    assert journal.same_request(jobs[0], []) == []
    assert journal.clips_with(["same"]) == {"same": 1}
    for name, age in (("b", 5), ("c", 1), ("a", 5)):
        accept(journal, a_job(name, fingerprint="same", created_at=NOON - age))
    assert ids(journal.same_request(jobs[0], [])) == ["a", "b", "c"]


def test_held_duplicates_are_those_in_the_queue_alone(journal):
    first = accept(journal, a_job("first", fingerprint="same"))
    accept(journal, a_job("held", fingerprint="same", held=Held.DUPLICATE))
    accept(journal, a_job("dear", fingerprint="same", held=Held.BUDGET))
    accept(journal, a_job("gone", fingerprint="same", held=Held.DUPLICATE, state=State.CANCELLED))
    accept(journal, a_job("other", fingerprint="other", held=Held.DUPLICATE))
    assert ids(journal.duplicates_of(first)) == ["held"]


# --- the queue and what is due --------------------------------------------------------------------------


def test_the_queue_leaves_out_models_that_are_refused_and_what_nobody_approved(journal):
    accept(journal, a_job("plain"))
    accept(journal, a_job("approved", approved=True, prepared=True, credits_estimated=3.0))
    accept(journal, a_job("other", request=OTHER_MODEL))
    assert {one.id for one in journal.queue("bay", NOON, 10)} == {"plain", "approved", "other"}
    assert {one.id for one in journal.queue("bay", NOON, 10, but_models=["gen5"])} == {"plain", "approved"}
    (one,) = journal.queue("bay", NOON, 10, approved_only=True)
    assert (one.id, one.clip_id, one.inbox, one.model) == ("approved", "approved", "bay", "gen4_aleph")
    assert (one.approved, one.prepared, one.credits_estimated) == (True, True, 3.0)


def test_what_waits_for_a_disk_stands_in_the_queue_by_its_priority(driver, journal):
    accept(journal, a_job("plain", priority=1))
    accept(journal, a_job("disk", priority=2, held=Held.DISK))
    accept(journal, a_job("outbox", held=Held.OUTBOX, approved=True))
    accept(journal, a_job("later", held=Held.DISK, due_at=NOON + 1))
    accept(journal, a_job("other", held=Held.DISK, request=OTHER_MODEL))
    accept(journal, a_job("elsewhere", held=Held.DISK, inbox="other"))
    accept(journal, a_job("dear", held=Held.BUDGET))
    again = driver.read()
    assert again.for_disk == 5
    found = [one.id for one in again.queue("bay", NOON, 10, but_models=["gen5"])]
    assert found[:2] == ["disk", "plain"]
    assert set(found[2:]) == {"outbox"}
    assert [one.id for one in again.queue("bay", NOON, 10, approved_only=True)] == ["outbox"]
    again.close()


def test_what_is_due_can_be_of_one_inbox(journal):
    for name, inbox in (("a", "bay"), ("b", "other")):
        accept(journal, a_job(name, state=State.RUNNING, task=a_task(), inbox=inbox))
    assert journal.due(State.RUNNING, NOON, 10, "other") == ["b"]
    assert set(journal.due(State.RUNNING, NOON, 10)) == {"a", "b"}


# --- tasks and their owners -----------------------------------------------------------------------------


def test_a_task_is_followed_until_its_result_is_here(journal):
    states = (State.RUNNING, State.RENDERED, State.FETCHED, State.DELIVERED, State.FAILED)
    for number, state in enumerate(states):
        accept(journal, a_job(f"j{number}", state=state, task=a_task(task_id=f"t{number}")))
    accept(journal, a_job("unsent", state=State.RUNNING, task=a_task(task_id=None)))
    assert journal.open_tasks() == {"t0": "j0", "t1": "j1", "t2": "j2"}
    owners = [journal.follower(f"t{number}", "none") for number in range(5)]
    assert owners == ["j0", "j1", "j2", "j3", None]
    assert journal.follower("t0", "j0") is None


def test_a_task_that_a_job_had_before_is_nobodys(journal):
    job = accept(journal, a_job(state=State.RUNNING, task=a_task(1, task_id="old")))
    with journal.turn():
        journal.record(job, replace(job, task=a_task(2, task_id="new")), TaskCreated("new"))
    assert (journal.follower("old", "none"), journal.follower("new", "none")) == (None, "clip1")


def test_a_tasks_later_facts_replace_the_earlier_ones(journal):
    job = accept(journal, a_job(state=State.SUBMITTING, task=a_task(task_id=None)))
    task = replace(job.task, task_id="t", credits=5.0, created_at=NOON + 1, evidence={"a": 1}, succeeded=True)
    with journal.turn():
        journal.record(job, replace(job, task=task), TaskCreated("t", 5.0))
    assert journal.job("clip1").task == task


def test_a_render_time_leaves_out_looks_after_its_end_and_tasks_attached_late(journal):
    for name, created in (("on-time", NOON + 1), ("attached", NOON + 601)):
        task = a_task(intent_at=NOON, created_at=created)
        job = accept(journal, a_job(name, state=State.RUNNING, task=task))
        for at, event in ((700, TaskSeen("RUNNING", rendering=True)), (900, TaskSucceeded())):
            job = happen(journal, job, event, NOON + at)
        journal._add_event(NOON + 950, job.clip_id, job.id, "task_seen", None, None, {})
        with journal.turn():
            pass
    assert journal.durations() == [Seen(PROFILE, "gen4_aleph", 699.0, 899.0)]


# --- clips that retire ----------------------------------------------------------------------------------


def retire(journal, name, **clip):
    job = a_job(name, state=State.DELIVERED)
    accept(journal, job, a_clip(name, **clip))
    with journal.turn():
        journal.retire_ended([name], NOON)
    return a_clip(name, **clip)


def due(journal, inbox="bay", now=NOON):
    return [(clip.id, tries) for clip, _, tries in journal.to_retire(inbox, now, 10)]


def test_a_clip_that_ended_anew_is_tried_from_the_beginning(journal):
    retire(journal, "clip1")
    with journal.turn():
        journal.retire_later("clip1", NOON + 9, 4)
    assert due(journal, now=NOON + 9) == [("clip1", 4)]
    with journal.turn():
        journal.retire_ended(["clip1"], NOON)
    assert due(journal) == [("clip1", 0)]
    assert due(journal, "other") == []


def test_a_clip_that_moved_or_is_wanted_again_does_not_retire_by_itself(journal):
    moved, back, aside = (retire(journal, name) for name in ("moved", "back", "aside"))
    with journal.turn():
        journal.relocate(moved)
        journal.bring_back(back.id)
        journal.set_aside(aside, NOON, "two crashes")
    assert due(journal) == []
    assert journal.history(journal.job("aside"))[-1].facts == {"reason": "two crashes"}


def test_what_was_set_aside_retires_again_where_it_is_asked_for(journal):
    here, there = retire(journal, "here"), retire(journal, "there", inbox="other")
    gone, later = retire(journal, "gone"), retire(journal, "later")
    accept(journal, a_job("open"))
    with journal.turn():
        journal.set_aside(here, NOON, "x")
        journal.set_aside(there, NOON, "x")
        journal.retired(gone, NOON)
        journal.retire_later(later.id, NOON + 99, 1)
    with journal.turn():
        journal.retire_again(NOON + 1, "other")
    assert (due(journal, "bay", NOON + 1), due(journal, "other", NOON + 1)) == ([], [("there", 0)])
    with journal.turn():
        journal.retire_again(NOON + 1, None)
    assert due(journal, "bay", NOON + 1) == [("here", 0)]
    assert journal.folders("bay") == {"here", "later", "open"}


def test_a_source_that_moves_once_more_stays_retired(driver, journal):
    clip = retire(journal, "clip1")
    with journal.turn():
        journal.retired(replace(clip, lies_at="_done/a.mp4"), NOON)
    with journal.turn():
        journal.relocate(replace(clip, lies_at="_done/b.mp4"))
    beside = driver.read()
    assert (beside.clip("clip1").retired_at, beside.clip("clip1").lies_at) == (NOON, "_done/b.mp4")
    beside.close()


def test_a_prepared_clip_lies_in_its_work_folder_and_keeps_what_is_known_of_it(driver, journal):
    clip = replace(retire(journal, "clip1"), lies_at="_done/a.mp4", sidecar_lies_at="_done/a.toml")
    with journal.turn():
        journal.hash_clip("clip1", "aa" * 32, 9, 7, {"seconds": 2})
        journal.retired(clip, NOON)
    with journal.turn():
        journal.bring_back("clip1")
        journal.hash_clip("clip1", "bb" * 32, 10, 8)
    beside = driver.read()
    found = beside.clip("clip1")
    beside.close()
    assert (found.lies_at, found.sidecar_lies_at, found.retired_at) == (None, None, None)
    assert (found.sha256, found.size, found.mtime_ns, found.media) == ("bb" * 32, 10, 8, {"seconds": 2})
    assert found == journal.clip("clip1")


# --- the clock was set ----------------------------------------------------------------------------------


def test_when_the_clock_is_set_back_all_is_due_but_what_its_editor_wants_later(journal):
    task = a_task()
    accept(journal, a_job("queued", due_at=NOON + 50))
    accept(journal, a_job("polled", state=State.RUNNING, task=task, due_at=NOON + 50))
    accept(journal, a_job("doubt", state=State.IN_DOUBT, task=task, due_at=NOON + 50))
    accept(journal, a_job("wanted", request=a_request(not_before=NOON + 50), due_at=NOON + 50))
    accept(journal, a_job("whole", state=State.RUNNING, task=task, due_at=NEVER))
    retire(journal, "ended")
    with journal.turn():
        journal.retire_later("ended", NOON + 50, 1)
        journal.bring_forward(NOON)
    later = {job.id for job in journal.find() if job.due_at > NOON}
    assert later == {"doubt", "wanted", "whole"}, "another job decides when a whole one goes on"
    assert due(journal) == [("ended", 1)]


def test_open_tasks_keep_their_age_when_the_clock_is_set(journal):
    task = a_task(created_at=NOON)
    accept(journal, a_job("open", state=State.RUNNING, task=task, rendering_since=NOON + 1))
    accept(journal, a_job("over", state=State.FETCHED, task=task, rendering_since=NOON + 1))
    with journal.turn():
        journal.shift_open_tasks(-100.0)
    times = {job.id: (job.task.created_at, job.rendering_since) for job in journal.find()}
    assert times == {"open": (NOON - 100, NOON - 99), "over": (NOON, NOON + 1)}


# --- counts, lists and history --------------------------------------------------------------------------


def test_open_jobs_are_counted_by_what_they_wait_for(journal):
    accept(journal, a_job("now"))
    accept(journal, a_job("later", due_at=NOON + 1))
    accept(journal, a_job("again", due_at=NOON + 1, attempts=2))
    accept(journal, a_job("refused", due_at=NOON + 1, reason="no room"))
    accept(journal, a_job("held", held=Held.BUDGET))
    accept(journal, a_job("over", state=State.DELIVERED))
    queued = ("bay", State.QUEUED)
    assert sorted(journal.tallies(NOON), key=repr) == sorted(
        [
            Tally(*queued, None, is_later=False, is_tried_again=False, count=1),
            Tally(*queued, None, is_later=True, is_tried_again=False, count=1),
            Tally(*queued, None, is_later=True, is_tried_again=True, count=2),
            Tally(*queued, "budget", is_later=False, is_tried_again=False, count=1),
        ],
        key=repr,
    )
    assert journal.open_by_inbox() == {"bay": 5}


def test_jobs_under_way_come_by_state_then_progress_and_held_ones_apart(journal):
    running = {"state": State.RUNNING, "task": a_task()}
    accept(journal, a_job("slow", progress=0.1, created_at=NOON - 9, **running))
    accept(journal, a_job("fast", progress=0.9, **running))
    accept(journal, a_job("held", held=Held.OVERDUE, progress=1.0, **running))
    accept(journal, a_job("here", state=State.FETCHED, task=a_task()))
    accept(journal, a_job("failed", state=State.FAILED, held=Held.OVERDUE))
    assert ids(journal.jobs_under_way(9)) == ["here", "fast", "slow"]
    assert ids(journal.jobs_under_way(9, states=(State.RUNNING,))) == ["fast", "slow"]
    assert ids(journal.held_jobs(9)) == ["held"]
    assert journal.held_jobs(9, "other") == journal.jobs_under_way(9, "other") == []


@pytest.mark.parametrize("state", [State.FAILED, State.DELIVERED])
def test_a_job_accepted_long_ago_is_not_among_those_that_ended_lately(journal, state):
    accept(journal, a_job("old", state=state, created_at=NOON - 20 * DAY, updated_at=NOON + 1))
    accept(journal, a_job("new", state=state, updated_at=NOON + 1))
    accept(journal, a_job("early", state=state, updated_at=NOON - 1))
    accept(journal, a_job("other", state=state, updated_at=NOON + 1, inbox="other"))
    accept(journal, a_job("open", updated_at=NOON + 1))
    assert ids(journal.ended_jobs(state, NOON, 9, "bay")) == ["new"]
    assert set(ids(journal.ended_jobs(state, NOON, 9))) == {"new", "other"}


def test_a_jobs_history_has_what_happened_to_its_clip_and_not_to_the_clips_other_jobs(journal):
    jobs = [a_job("clip1-1"), a_job("clip1-2")]
    with journal.turn():
        journal.accept(a_clip(), jobs)
        journal.retired(a_clip(), NOON + 1)
    accept(journal, a_job("other"))
    told = [(entry.event, entry.job_id) for entry in journal.history(jobs[0])]
    assert told == [("accepted", "clip1-1"), ("retired", None)]
    assert journal.last_event() == 4
    assert journal.last_written() == NOON


def test_the_jobs_that_ended_last_come_first(driver, journal):
    for name, at in (("a", 1), ("b", 3), ("c", 2)):
        accept(journal, a_job(name, state=State.DELIVERED, due_at=NOON + at))
    accept(journal, a_job("d", state=State.FAILED, due_at=NOON + 9, error=Error("X", "x")))
    with driver.look() as look:
        assert ids(look.newest(State.DELIVERED, 2)) == ["b", "c"]
        assert ids(look.load(["c", "none", "a"]).values()) == ["c", "a"]


@pytest.mark.parametrize(
    ("clip", "job", "newest"),
    [
        ({}, {}, 4),
        ({}, {"state": State.FAILED}, 2),
        ({}, {"state": State.CANCELLED}, 2),
        ({}, {"reuse": Reuse("clip0", "bay", ())}, 2),
        ({}, {"variant": "_v1"}, 2),
        ({"path": "day/other.mp4"}, {}, 2),
        ({"inbox": "other"}, {"inbox": "other"}, 2),
        ({"sha256": "cd" * 32}, {}, 2),
    ],
)
def test_the_newest_version_is_of_one_film_under_one_name_and_variant(journal, clip, job, newest):
    film = {"sha256": "ab" * 32}
    accept(journal, a_job(state=State.DELIVERED), a_clip(**film))
    with journal.turn():
        # A clip's own versions count, however they ended.
        journal.add_job(a_job("clip1-r2", clip_id="clip1", version=2, state=State.FAILED))
    accept(journal, a_job("clip2", version=4, **job), a_clip("clip2", **{**film, **clip}))
    assert journal.newest_version(a_clip(**film), "") == newest
    assert journal.newest_version(a_clip("clip9", **film), "", but="clip2") == 1
    assert journal.job("clip1-r2").version == 2


def test_one_more_job_of_a_retired_clip_brings_it_back(journal):
    accept(journal, a_job(state=State.DELIVERED), a_clip())
    with journal.turn():
        journal.retired(a_clip(lies_at="_done/day/shot.mp4"), NOON)
    assert journal.folders("bay") == set()
    with journal.turn():
        journal.add_job(a_job("clip1-r2", version=2))
    assert journal.folders("bay") == {"clip1"}
    assert journal.clip("clip1").lies_at == "_done/day/shot.mp4"
    assert [job.id for job in journal.jobs_of("clip1")] == ["clip1", "clip1-r2"]
    assert journal.counts[State.QUEUED] == 1


# --- what is kept, and the story of all -------------------------------------------------------------------


def retired(journal, job, at, lies_at="_done/shot.mp4"):
    clip = a_clip(job.clip_id, inbox=job.inbox, path="day/caf\udce9.mp4")
    accept(journal, job, clip)
    with journal.turn():
        journal.retired(replace(clip, lies_at=lies_at), at)


def test_clips_that_retired_by_a_moment_are_found_page_by_page(journal):
    for number in range(5):
        retired(journal, a_job(f"clip{number}", state=State.DELIVERED), NOON + number)
    retired(journal, a_job("hall1", inbox="hall", state=State.DELIVERED), NOON)
    retired(journal, a_job("empty", state=State.DELIVERED), NOON, lies_at=None)
    accept(journal, a_job("open1"))
    find = journal.retired_before
    assert find("clips_with_sources", "bay", NOON + 3, "", 2) == ["clip0", "clip1"]
    assert find("clips_with_sources", "bay", NOON + 3, "clip1", 9) == ["clip2", "clip3"]
    assert find("clips_with_history", "bay", NOON + 9, "clip3", 9) == ["clip4", "empty"]


def test_of_forgotten_clips_only_what_was_submitted_stays_and_the_newest_event(journal):
    paid = a_job("paid1", state=State.DELIVERED, paid=Paid.YES, task=a_task(credits=5.0), fingerprint="f1")
    retired(journal, paid, NOON, lies_at=None)
    retired(journal, a_job("lies1", state=State.FAILED), NOON)
    retired(journal, a_job("free1", state=State.FAILED), NOON, lies_at=None)
    last, spent = journal.last_event(), journal.spent(0.0)
    with journal.turn():
        gone = journal.forget(["paid1", "lies1", "free1"])
    journal.rest()
    assert gone == ["free1"]
    assert (journal.job("free1"), journal.clip("free1")) == (None, None)
    assert journal.clip("lies1").lies_at == "_done/shot.mp4"
    assert (journal.last_event(), journal.spent(0.0)) == (last, spent)
    kept = journal.job("paid1")
    assert (kept.fingerprint, kept.task.task_id) == ("f1", "task-1")
    assert [entry.event for entry in journal.history(kept)] == []
    assert journal.counts == journal.count()
    assert journal.retired_before("clips_with_history", "bay", NOON + 9, "", 9) == []


def test_the_story_of_all_is_told_from_a_moment_on_or_from_the_last_entries(driver, journal):
    for number in range(4):
        retired(journal, a_job(f"clip{number}", state=State.DELIVERED), NOON + number)
    with driver.look() as look:
        every = list(look.story(0.0, 2))
        assert [entry.event for entry, *_ in every] == ["accepted", "retired"] * 4
        assert every[0][1:] == ("clip0", "bay", "day/caf\udce9.mp4")
        assert every[1][0].facts == {"to": "_done/shot.mp4"}
        assert [clip for _, clip, *_ in look.story(NOON + 3, 2)] == ["clip3"]
        assert [clip for _, clip, *_ in look.story(None, 3)] == ["clip2", "clip3", "clip3"]
        assert list(look.story(NOON + 99, 2)) == []
