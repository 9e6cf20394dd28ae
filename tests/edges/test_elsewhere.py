"""Stages that other machines run: when they are given away, and what becomes of what they report."""

from collections import deque
from dataclasses import replace

import pytest

from clipspool.jobs.assignments import Assignment, new_attempt
from clipspool.jobs.events import Fetched, Postponed, Prepared, StageFailed
from clipspool.jobs.lifecycle import Stage
from clipspool.jobs.model import Held, Reuse, State
from clipspool.scheduler import commands as operator
from clipspool.scheduler.ending import drain
from clipspool.scheduler.loop import Scheduler
from clipspool.scheduler.workers import LANES, Done
from fakes import PACE, PROFILE, RESULT, Desk, a_clip, a_job, a_task

S = State
SHA256 = "ab" * 32
THREADS = LANES["prepares"][0]


class Others:
    """Other machines that see the inbox `bay`, and do nothing until they are asked to."""

    left = ()

    def __init__(self, desk, capacity):
        self.desk, self.seats, self.given, self.refused = desk, capacity, deque(), set()

    def capacity(self, _stage, inbox):
        return self.seats if inbox == "bay" else 0

    def start(self, _report):
        return self.left

    def takes(self, given):
        return given.job.id not in self.refused

    def hand_out(self, given):
        self.given.append(given)

    def report(self, given, event, **how):
        self.desk.scheduler.enqueue(Done(given.job.id, event, given.attempt, **how))
        self.desk.turn()


@pytest.fixture
def desk(tmp_path):
    desk = Desk(tmp_path, inboxes=("bay", "far"), running_max=50)
    desk.others = desk.scheduler.workers.elsewhere = Others(desk, 4)
    yield desk
    desk.close()


def crowd(desk, count, inbox="bay"):
    """Drop clips while each thread here is held in its stage."""
    held = desk.shop.hold(Stage.PREPARE)
    for number in range(count):
        desk.drop(f"clip{number}", inbox=inbox)
    desk.turns(2)
    return held


def here(desk):
    return [flying for flying in desk.scheduler.in_flight.values() if not flying.is_elsewhere]


def prepared(given):
    return Prepared(SHA256, given.clip.size, given.clip.mtime_ns, 15.0, attempt=given.attempt)


def test_what_finds_no_thread_here_goes_elsewhere_and_no_more_than_is_taken_there(desk):
    held = crowd(desk, 20)
    assert {given.stage for given in desk.others.given} == {Stage.PREPARE}
    assert len(desk.others.given) == 4
    # Two inboxes share the threads of the lane.
    assert len(here(desk)) == THREADS // 2
    desk.release(held)
    given = desk.others.given.popleft()
    desk.others.report(given, prepared(given))
    assert desk.job(given.job.id).prepared_by == given.attempt


def test_an_inbox_that_no_other_machine_sees_is_worked_on_here_alone(desk):
    desk.release(crowd(desk, 20, inbox="far"))
    assert not desk.others.given


def test_what_spends_or_publishes_stays_here(desk):
    desk.others.seats = 99
    held = crowd(desk, 12)
    desk.release(held)
    while desk.others.given:
        given = desk.others.given.popleft()
        event = prepared(given) if given.stage is Stage.PREPARE else Fetched((RESULT,))
        desk.others.report(given, event)
        desk.turns(3, 60.0)
    assert {desk.state(f"clip{number}") for number in range(12)} == {S.DELIVERED}
    assert len(desk.shop.paid) == 12


def test_what_fails_for_the_disk_of_another_machine_is_tried_here_next(desk):
    """There the share may be mounted read-only: no clip waits until that is mended."""
    held = crowd(desk, 10)
    first = desk.others.given.popleft()
    desk.others.report(first, StageFailed("DISK", "Read-only file system", held=Held.DISK))
    assert desk.job(first.job.id).held is Held.DISK
    desk.others.seats = 99
    desk.turns(2, 60.0)
    assert first.job.id not in {given.job.id for given in desk.others.given}
    desk.release(held)
    desk.turns(2)
    assert desk.job(first.job.id).prepared_by


def test_what_a_machine_reports_that_was_given_up_is_ignored(desk):
    held = crowd(desk, 10)
    first, desk.others.seats = desk.others.given.popleft(), 0
    desk.others.report(first, Postponed("its machine does not answer", 0.0))
    desk.release(held)
    desk.turns(2)
    job = desk.job(first.job.id)
    assert job.prepared_by not in {"", first.attempt}
    desk.others.report(first, Prepared("cd" * 32, 1, 1, attempt=first.attempt))
    desk.others.report(first, prepared(first))
    assert desk.job(first.job.id).prepared_by == job.prepared_by
    assert desk.journal.clip(first.clip.id).sha256 == SHA256


def test_the_operator_is_stronger_than_what_is_elsewhere(desk):
    held = crowd(desk, 10)
    given = desk.others.given.popleft()
    desk.order(operator.cancel, [given.job.id], "ann")
    desk.others.report(given, prepared(given))
    desk.release(held)
    assert desk.state(given.job.id) is S.CANCELLED


def test_what_takes_over_an_earlier_result_or_comes_back_from_the_archive_stays_here(desk):
    """Both write into the ledger or the manifest, or move a source."""
    workers = desk.scheduler.workers

    def goes(job, clip, stage=Stage.PREPARE, *, is_full=True):
        return workers.place(Assignment(stage, job, clip, new_attempt()), lambda: is_full)

    assert goes(a_job(), a_clip())
    assert not goes(a_job(), a_clip(), is_full=False)
    assert not goes(a_job(reuse=Reuse("clip0", "bay", ())), a_clip())
    assert not goes(a_job(prepared_by="a1"), a_clip())
    assert not goes(a_job(held=Held.DISK), a_clip())
    assert goes(a_job(prepared_by="a1"), a_clip(), Stage.FETCH)
    assert not goes(a_job(), a_clip(lies_at="_failed/shot.mp4"))
    assert not goes(a_job(), a_clip(), Stage.DELIVER)
    desk.others.refused.add("clip1")
    assert not goes(a_job(), a_clip()), "none of them is allowed it"


def test_a_crash_here_is_not_blamed_on_what_was_elsewhere(desk):
    held = crowd(desk, 10)
    noted = desk.journal.fact("in_flight")["jobs"]
    assert not {given.job.id for given in desk.others.given} & set(noted)
    desk.release(held)


def test_a_daemon_that_ends_does_not_wait_for_other_machines(desk):
    desk.release(crowd(desk, 10))
    assert desk.others.given
    drain(desk.scheduler, 5.0, each_turn=lambda: None)
    assert not desk.scheduler.in_flight


@pytest.mark.parametrize("is_alone", [False, True])
def test_a_leader_that_ends_leaves_a_stage_that_stalls_to_another_node(desk, is_alone):
    """A paid request, or a stage of a daemon that is alone, is waited for as long as there is time."""
    stalled = crowd(desk, 1)
    if is_alone:
        desk.scheduler.workers.elsewhere = None
    begun = desk.clock.passed
    drain(desk.scheduler, 35.0, each_turn=lambda: desk.clock.passes(1.0))
    assert 5.0 < desk.clock.passed - begun < 8.0 or is_alone
    assert bool(desk.scheduler.in_flight) is is_alone
    desk.release(stalled)


def test_a_leader_that_ends_waits_for_the_answer_of_a_paid_request(desk):
    asked = desk.shop.hold(Stage.SUBMIT)
    desk.drop("clip1")
    desk.turns(4)
    begun = desk.clock.passed
    drain(desk.scheduler, 20.0, each_turn=lambda: desk.clock.passes(1.0))
    assert desk.clock.passed - begun >= 20.0
    assert [flying.stage for flying in desk.scheduler.in_flight.values()] == [Stage.SUBMIT]
    desk.release(asked)


def test_a_clip_over_which_three_machines_were_lost_is_set_aside(desk):
    """Its film may be what ends them; one that was switched off is forgotten with the next that works."""
    held = crowd(desk, 10)
    job_id = desk.others.given[0].job.id
    for count in range(3):
        assert desk.job(job_id).held is None, count
        (given,) = [one for one in desk.others.given if one.job.id == job_id]
        desk.others.given.remove(given)
        desk.others.report(given, Postponed("its machine does not answer", 0.0), is_lost=True)
    assert desk.job(job_id).held is Held.POISON
    assert desk.job(job_id).reason == (
        "3 times a node was lost in the stage prepare of this clip; `clipspool approve` tries again, "
        "`clipspool cancel` ends it"
    )
    desk.release(held)
    desk.order(operator.approve, [job_id], "ann")
    desk.until(S.DELIVERED, job_id)


def test_the_next_leader_waits_for_what_other_machines_still_have(desk):
    held = crowd(desk, 10)
    given = list(desk.others.given)
    other_task = replace(given[1], job=replace(given[1].job, task=a_task()))
    drain(desk.scheduler, 0.0, each_turn=lambda: None)
    desk.release(held)
    scheduler = Scheduler(
        desk.journal, desk.shop, profile=PROFILE, pace=PACE, now=desk.clock, passed=lambda: desk.clock.passed
    )
    desk.others.left = [given[0], other_task, replace(given[2], stage=Stage.FETCH)]
    scheduler.work_elsewhere(desk.others)
    scheduler.begin()
    assert [(job_id, flying.attempt) for job_id, flying in scheduler.in_flight.items()] == [
        (given[0].job.id, given[0].attempt)
    ]
    assert scheduler.workers.under_way(Stage.PREPARE) == 1
    scheduler.enqueue(Done(given[0].job.id, prepared(given[0]), given[0].attempt))
    scheduler.turn()
    assert desk.job(given[0].job.id).prepared_by == given[0].attempt
