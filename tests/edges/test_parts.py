"""A long clip in parts, in the scheduler: each part goes its own way, and the whole waits for all of them."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from clipspool.app.build import hooks_of
from clipspool.jobs.events import (
    AnswerLost,
    Cancelled,
    Failed,
    FellBack,
    Fetched,
    PartGone,
    Prepared,
    Split,
    TakenOver,
    TaskSeen,
    Vetted,
)
from clipspool.jobs.lifecycle import Stage
from clipspool.jobs.model import Error, Held, Paid, Part, State
from clipspool.scheduler import commands as operator
from fakes import BUSY, RESULT, Desk, Workshop, a_request

S = State
PARTS = (
    Part(1, 3, 0, 24, 0, "24/1", 15.0),
    Part(2, 3, 18, 24, 6, "24/1", 15.0),
    Part(3, 3, 36, 24, 6, "24/1", 15.0),
)
IDS = ["clip1-p001", "clip1-p002", "clip1-p003"]
DAY = 86_400.0
RENDERS = TaskSeen("RUNNING", rendering=True, progress=0.5)
BROKEN = Failed(Error("RENDER", "the render failed", retryable=True), is_of_task=True)


class InParts(Workshop):
    """Cuts every clip into three parts, and joins what came of them."""

    def work(self, given, gate):
        job, stage = given.job, given.stage
        is_told = bool(self.say[stage]) and not job.part
        if stage is Stage.PREPARE and not job.part and not is_told:
            self.done.append((stage, job.id))
            clip = given.clip
            return Prepared("ab" * 32, clip.size, clip.mtime_ns, 45.0, parts=PARTS, attempt=given.attempt)
        if stage is Stage.SUBMIT and job.is_split:
            self.done.append((stage, job.id))
            return Split(job.parts)
        if stage is Stage.FETCH and job.is_split and not is_told:
            self.done.append((stage, job.id))
            assert [one.part for one in job.results] == [1, 2, 3]
            return Fetched((replace(RESULT, file="joined.mp4"),))
        return super().work(given, gate)


@pytest.fixture
def open_desk(tmp_path):
    desks = []

    def open_desk(**how):
        desks.append(Desk(tmp_path, shop=InParts(), **how))
        return desks[-1]

    yield open_desk
    for desk in desks:
        desk.close()


def drop(desk):
    desk.drop(request=a_request(long_clips="split"))


def states(desk):
    desk.journal.flush()
    return [job.state for job in desk.journal.jobs_of("clip1")]


def until_all(desk, *wanted, turns=60, seconds=6.0):
    for _ in range(turns):
        if states(desk) == list(wanted):
            return
        desk.turn(seconds)
    assert states(desk) == list(wanted)


def done(desk, stage):
    return [job_id for one, job_id in desk.shop.done if one is stage]


def test_each_part_is_paid_once_and_the_clip_retires_once_with_all_of_them(open_desk):
    desk = open_desk()
    drop(desk)
    until_all(desk, *[S.DELIVERED] * 4)
    desk.turns(3)
    assert sorted(desk.shop.paid) == IDS
    assert done(desk, Stage.DELIVER) == ["clip1"], "what is delivered is the film of all parts"
    assert desk.shop.retired == [("clip1", [S.DELIVERED] * 4)]
    assert desk.scheduler.is_idle
    whole = desk.journal.job("clip1")
    assert [(one.task_id, one.credits) for one in whole.parts] == [(f"task-{one}-0", 15.0) for one in IDS]
    assert (whole.paid, whole.task) == (Paid.YES, None)


def test_the_whole_takes_no_task_of_its_own_and_is_counted_as_one_job(open_desk):
    desk = open_desk(running_max=1)
    desk.shop.say[Stage.POLL].extend([RENDERS] * 4)
    drop(desk)
    at_once = 0
    for _ in range(60):
        desk.turn(6.0)
        at_once = max(at_once, desk.journal.running.total())
        assert desk.journal.counts.total() == 1
        assert +desk.journal.counts == desk.journal.count()
        assert desk.journal.running == desk.journal.count_running()
    assert (states(desk), at_once, len(desk.shop.paid)) == ([S.DELIVERED] * 4, 1, 3)


@pytest.mark.parametrize("limits", [{"submissions_per_day": 2}, {"credits_per_day": 30.0}])
def test_the_limits_of_a_day_let_as_many_parts_pass_as_fit_and_the_rest_the_next_day(open_desk, limits):
    desk = open_desk(**limits)
    drop(desk)
    until_all(desk, S.RUNNING, S.FETCHED, S.FETCHED, S.QUEUED)
    desk.turn(DAY)
    until_all(desk, *[S.DELIVERED] * 4)
    assert sorted(desk.shop.paid) == IDS


@pytest.mark.parametrize("limits", [{"credits_per_job_max": 40.0}, {"credits_per_clip_max": 40.0}])
def test_the_limit_of_a_clip_looks_at_all_parts_and_is_approved_once(open_desk, limits):
    desk = open_desk(**limits)
    drop(desk)
    desk.turns(6, 6.0)
    whole = desk.journal.job("clip1")
    assert (whole.held, states(desk), desk.shop.paid) == (Held.BUDGET, [S.QUEUED], [])
    desk.order(operator.approve, ["clip1"], "ann")
    until_all(desk, *[S.DELIVERED] * 4)
    assert sorted(desk.shop.paid) == IDS


def test_parts_that_wait_are_not_held_again_when_one_is_paid_twice(open_desk):
    desk = open_desk(credits_per_clip_max=50.0, running_max=1)
    desk.shop.say[Stage.POLL].append(BROKEN)
    drop(desk)
    until_all(desk, S.RUNNING, S.FAILED, S.RUNNING, S.QUEUED, seconds=1.0)
    (answer,) = desk.order(operator.retry, ["clip1"], "ann")
    assert answer["held"] == "budget", "the clip costs more in all than it may: that part is asked about"
    until_all(desk, S.RUNNING, S.QUEUED, S.FETCHED, S.FETCHED)
    desk.order(operator.approve, ["clip1"], "ann")
    until_all(desk, *[S.DELIVERED] * 4)


def test_the_hook_is_asked_about_the_clip_and_not_about_each_part(open_desk):
    desk = open_desk()
    desk.scheduler.hooks.use(["before_submit", "on_failure"])
    desk.shop.say[Stage.VET].append(Vetted(0.1))
    drop(desk)
    until_all(desk, *[S.DELIVERED] * 4)
    assert done(desk, Stage.VET) == ["clip1"]


def test_a_hook_is_told_of_what_each_part_shows_and_of_its_task(open_desk):
    desk = open_desk()
    drop(desk)
    until_all(desk, *[S.DELIVERED] * 4)
    settings = SimpleNamespace(file=None, hooks=SimpleNamespace(commands={}, seconds_max=1.0))
    told = hooks_of(settings, lambda: 0.0).describe(desk.journal.job("clip1"))["parts"]
    assert [(one["number"], one["first_frame"], one["frames"]) for one in told] == [
        (1, 0, 24),
        (2, 18, 24),
        (3, 36, 24),
    ]
    assert all(one["task_id"] for one in told)


def test_no_part_is_made_by_another_model_than_the_others(open_desk):
    desk = open_desk(running_max=1)
    desk.shop.say[Stage.POLL].extend([RENDERS] * 100)
    drop(desk)
    until_all(desk, S.RUNNING, S.RUNNING, S.QUEUED, S.QUEUED)
    chosen = []
    fell_back = FellBack("aleph2", "gen4_aleph")
    desk.scheduler.fallbacks.use(lambda *asked: chosen.append(asked) or fell_back, {})
    brake = desk.scheduler.brake
    model = desk.journal.job("clip1").request.model
    shut = replace(brake, models={model: replace(brake, fault=BUSY, until=desk.clock.now + 60)})
    assert list(desk.scheduler.fallbacks.due(shut, (), desk.clock.now)) == []
    assert chosen == []


def test_a_part_that_fails_waits_alone_and_an_order_for_the_job_pays_for_it_alone(open_desk):
    desk = open_desk(running_max=1)
    desk.shop.say[Stage.POLL].append(BROKEN)
    drop(desk)
    until_all(desk, S.RUNNING, S.FAILED, S.FETCHED, S.FETCHED)
    whole = desk.journal.job("clip1")
    assert (whole.held, whole.progress, desk.scheduler.is_idle) == (Held.PARTS, 0.6667, True)
    (answer,) = desk.order(operator.retry, ["clip1"], "ann")
    assert (answer["id"], answer["done"]) == (IDS[0], True)
    until_all(desk, *[S.DELIVERED] * 4)
    assert desk.shop.paid == [*IDS, IDS[0]]
    assert desk.journal.job("clip1").held is None


def test_a_part_in_doubt_is_attached_by_its_own_id_and_the_job_has_no_task(open_desk):
    desk = open_desk(running_max=1)
    desk.shop.say[Stage.SUBMIT].append(lambda _job: AnswerLost("no answer came", {}))
    drop(desk)
    until_all(desk, S.RUNNING, S.IN_DOUBT, S.FETCHED, S.FETCHED)
    (refused,) = desk.order(operator.attach, "clip1", "task-9", "ann")
    assert "name the part that is in doubt" in refused["why"]
    (answer,) = desk.order(operator.attach, IDS[0], "task-9", "ann")
    assert answer["done"]
    until_all(desk, *[S.DELIVERED] * 4)
    assert len(desk.shop.paid) == 3
    assert desk.journal.job("clip1").parts[0].task_id == "task-9"


def test_a_part_of_a_job_that_has_ended_takes_no_task(open_desk):
    desk = open_desk(running_max=1)
    desk.shop.say[Stage.SUBMIT].append(lambda _job: AnswerLost("no answer came", {}))
    drop(desk)
    until_all(desk, S.RUNNING, S.IN_DOUBT, S.FETCHED, S.FETCHED)
    desk.order(operator.cancel, ["clip1"], "ann")
    until_all(desk, *[S.CANCELLED] * 4)
    (refused,) = desk.order(operator.attach, IDS[0], "task-9", "ann")
    assert "the job that it is a part of is cancelled" in refused["why"]
    assert states(desk) == [S.CANCELLED] * 4


def test_a_part_in_doubt_stays_so_where_its_job_is_split_once_more(open_desk):
    desk = open_desk(running_max=1)
    desk.shop.say[Stage.SUBMIT].append(lambda _job: AnswerLost("no answer came", {}))
    drop(desk)
    until_all(desk, S.RUNNING, S.IN_DOUBT, S.FETCHED, S.FETCHED)
    whole, paid = desk.journal.job("clip1"), list(desk.shop.paid)
    desk.order(lambda scheduler: scheduler.parts.on_change(whole, whole, Split(PARTS), 0.0))
    desk.turns(3, 6.0)
    assert states(desk) == [S.RUNNING, S.IN_DOUBT, S.FETCHED, S.FETCHED]
    assert desk.shop.paid == paid


def test_a_job_that_is_cancelled_ends_once_its_parts_have_and_knows_what_was_paid(open_desk):
    desk = open_desk(running_max=2)
    drop(desk)
    desk.shop.say[Stage.POLL].extend([RENDERS] * 2)
    until_all(desk, S.RUNNING, S.RUNNING, S.RUNNING, S.QUEUED, seconds=1.0)
    (answer,) = desk.order(operator.cancel, ["clip1"], "ann")
    assert answer["done"]
    until_all(desk, *[S.CANCELLED] * 4)
    assert sorted(done(desk, Stage.TELL_CANCEL)) == IDS[:2]
    assert sorted(desk.shop.paid) == IDS[:2], "two are sent at once, in any order"
    assert desk.journal.job("clip1").error.paid is Paid.UNKNOWN
    (refused,) = desk.order(operator.retry, [IDS[0]], "ann")
    assert "`clipspool retry clip1` runs it again" in refused["why"]


def test_a_cancelled_job_that_is_retried_pays_only_for_what_is_not_there(open_desk):
    desk = open_desk(running_max=1)
    drop(desk)
    desk.turns(3, 6.0)
    until_all(desk, S.RUNNING, S.FETCHED, S.RUNNING, S.QUEUED, seconds=1.0)
    desk.order(operator.cancel, ["clip1"], "ann")
    until_all(desk, *[S.CANCELLED] * 4)
    desk.order(operator.retry, ["clip1"], "ann")
    until_all(desk, *[S.DELIVERED] * 4)
    assert desk.shop.paid.count(IDS[0]) == 1
    assert desk.shop.paid.count(IDS[2]) == 1


def test_parts_whose_task_goes_on_at_the_provider_are_followed_when_their_job_is_retried(open_desk):
    desk = open_desk(running_max=2)
    drop(desk)
    desk.shop.say[Stage.POLL].extend([RENDERS] * 2)
    until_all(desk, S.RUNNING, S.RUNNING, S.RUNNING, S.QUEUED, seconds=1.0)
    desk.shop.say[Stage.TELL_CANCEL].extend([lambda job: Cancelled(job.cancel_by, may_go_on=True)] * 2)
    desk.order(operator.cancel, ["clip1"], "ann")
    until_all(desk, *[S.CANCELLED] * 4)
    desk.order(operator.retry, ["clip1"], "ann")
    until_all(desk, *[S.DELIVERED] * 4)
    assert sorted(desk.shop.paid) == IDS


def test_a_cancelled_job_that_is_retried_costs_only_what_its_parts_without_a_result_do(open_desk):
    desk = open_desk(running_max=1, credits_per_clip_max=60.0)
    drop(desk)
    until_all(desk, S.RUNNING, S.FETCHED, S.RUNNING, S.QUEUED, seconds=1.0)
    desk.order(operator.cancel, ["clip1"], "ann")
    until_all(desk, *[S.CANCELLED] * 4)
    (answer,) = desk.order(operator.retry, ["clip1"], "ann")
    cost = desk.journal.clip_cost("clip1")
    assert (cost.spent, cost.waiting, answer.get("held")) == (30.0, (15.0, 15.0), None), "of 60 in all"
    until_all(desk, *[S.DELIVERED] * 4)


def test_a_result_that_is_gone_is_fetched_again_before_the_parts_are_joined(open_desk):
    desk = open_desk()
    gone = iter([PartGone(2, "clip1-p002-1.mp4")])

    def look(job):
        return next(gone) if job.is_split else Fetched((RESULT,))

    desk.shop.say[Stage.FETCH].extend([look] * 4)
    drop(desk)
    until_all(desk, *[S.DELIVERED] * 4)
    assert done(desk, Stage.FETCH).count(IDS[1]) == 2
    assert sorted(desk.shop.paid) == IDS


def test_parts_are_joined_in_their_order_whichever_of_them_the_journal_has_at_hand(open_desk):
    desk = open_desk(submissions_per_day=2)
    drop(desk)
    until_all(desk, S.RUNNING, S.FETCHED, S.FETCHED, S.QUEUED)
    desk.journal.rest()  # as after a start: only what changes from here on is at hand
    desk.turn(DAY)
    until_all(desk, *[S.DELIVERED] * 4)
    assert [one.number for one in desk.journal.job("clip1").parts] == [1, 2, 3]


def test_a_clock_that_is_set_back_brings_no_part_into_the_outbox(open_desk):
    desk = open_desk(submissions_per_day=2)
    drop(desk)
    until_all(desk, S.RUNNING, S.FETCHED, S.FETCHED, S.QUEUED)
    desk.clock.is_set(-4 * 3600)
    desk.turns(5, 6.0)
    assert (done(desk, Stage.DELIVER), states(desk)[:2]) == ([], [S.RUNNING, S.FETCHED])


def test_a_clip_that_another_journal_took_over_ends_here_with_all_its_parts(open_desk):
    desk = open_desk(running_max=1)
    desk.shop.say[Stage.POLL].extend([RENDERS] * 100)
    drop(desk)
    until_all(desk, S.RUNNING, S.RUNNING, S.QUEUED, S.QUEUED)
    desk.order(operator.give_up, {"clip1": TakenOver("j2", "edit-2")})
    desk.turn()
    assert states(desk) == [S.CANCELLED] * 4
    assert {job.error.code for job in desk.journal.jobs_of("clip1")} == {"TAKEN_OVER"}
    assert done(desk, Stage.TELL_CANCEL) == []
