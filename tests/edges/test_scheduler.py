"""The scheduler on a real journal, turned by hand: what it records, whom it lets go, and when."""

import errno
import os
import threading

import pytest

from clipspool.jobs.events import (
    AnswerLost,
    Cancelled,
    Failed,
    Fetched,
    InDoubt,
    Interrupted,
    NotSent,
    NotSubmitted,
    PartlyFetched,
    StageFailed,
    TakenOver,
    TaskCreated,
    TaskMissing,
    TaskSeen,
    TaskSucceeded,
)
from clipspool.jobs.faults import Fault, FaultOf
from clipspool.jobs.lifecycle import Stage, recovered_ended
from clipspool.jobs.limits import Limits
from clipspool.jobs.messages import Accepted
from clipspool.jobs.model import Error, Held, Missing, Paid, State
from clipspool.jobs.records import Spend
from clipspool.journal import Journal
from clipspool.scheduler import commands as operator
from clipspool.scheduler.cut_short import SETTLE_SECONDS
from clipspool.scheduler.ending import await_answers, drain
from clipspool.stages.poll import poll
from fakes import BUSY, NO_CREDITS, NOON, RESULT, Clock, Desk, a_clip, a_job, a_request, a_task

S = State
RENDERS = TaskSeen("RUNNING", rendering=True, progress=0.5)


@pytest.fixture
def open_desk(tmp_path):
    desks = []

    def open_desk(**how):
        desks.append(Desk(tmp_path, **how))
        return desks[-1]

    yield open_desk
    for desk in desks:
        desk.close()


@pytest.fixture
def desk(open_desk):
    return open_desk()


def after_gate(event):
    """Say this after the gate was passed."""
    return lambda _job: event


def running(desk, clip_id="clip1"):
    desk.shop.say[Stage.POLL].extend([RENDERS] * 1000)
    desk.drop(clip_id)
    return desk.until(S.RUNNING, clip_id)


def in_doubt(desk):
    desk.shop.say[Stage.SUBMIT].append(after_gate(AnswerLost("no answer came", {})))
    desk.drop()
    return desk.until(S.IN_DOUBT)


# --- the plain way --------------------------------------------------------------------------------------


def test_a_clip_goes_all_the_way_and_retires(desk):
    desk.drop()
    desk.until(S.DELIVERED)
    desk.turns(3)
    assert [stage for stage, _ in desk.shop.done] == [
        *(Stage.PREPARE, Stage.SUBMIT, Stage.POLL, Stage.FETCH, Stage.DELIVER)
    ]
    assert desk.shop.paid == ["clip1"]
    assert desk.shop.retired == [("clip1", [S.DELIVERED])]
    assert desk.shop.swept == ["clip1"]
    assert desk.scheduler.is_idle


def test_a_clip_with_variants_retires_once_all_have_ended(desk):
    desk.shop.say[Stage.SUBMIT].append(after_gate(Failed(Error("X", "refused"))))
    desk.drop(variants=("_v1", "_v2"))
    desk.turns(12, 60.0)
    (retired,) = desk.shop.retired
    assert sorted(retired[1]) == [S.DELIVERED, S.FAILED]


def test_a_clip_that_is_told_of_twice_is_accepted_once(desk):
    desk.drop()
    desk.drop()
    desk.turn()
    assert desk.journal.counts[S.QUEUED] == 1


def test_nothing_is_sent_before_its_time(desk):
    desk.drop(due_at=NOON + 3600)
    desk.turns(5, 60.0)
    assert desk.shop.done == []
    desk.turns(3, 3600.0)
    assert desk.shop.paid == ["clip1"]


# --- record, then do ------------------------------------------------------------------------------------


def test_the_gate_opens_only_after_the_intent_is_committed(desk, tmp_path):
    committed = []

    def look_from_outside(_job):
        beside = Journal.read(tmp_path / "journal.db")
        job = beside.job("clip1")
        committed.append((job.state, job.task.number, job.task.task_id))
        beside.close()
        return TaskCreated("task-1")

    desk.shop.say[Stage.SUBMIT].append(look_from_outside)
    desk.drop()
    desk.until(S.RUNNING)
    assert committed == [(S.SUBMITTING, 1, None)]


def test_work_is_handed_out_only_after_the_commit(desk, monkeypatch):
    monkeypatch.setattr(
        desk.journal, "flush", lambda: (_ for _ in ()).throw(OSError(errno.EIO, "broken disk"))
    )
    desk.drop()
    with pytest.raises(OSError, match="broken disk"):
        desk.turn()
    assert desk.shop.done == []


def test_a_journal_that_cannot_be_written_shuts_every_gate_and_raises(desk, monkeypatch):
    desk.drop()
    while not any(stage is Stage.SUBMIT for stage, _ in desk.shop.done):
        desk.turn()
    answer = threading.Event()

    def refuse():
        answer.set()
        raise OSError(errno.ENOSPC, "disk full")

    monkeypatch.setattr(desk.journal, "flush", refuse)
    with pytest.raises(OSError, match="disk full"):
        desk.turn()
    assert answer.is_set()
    assert desk.shop.paid == []


def test_a_journal_that_is_lost_lets_requests_on_their_way_be_answered(desk, monkeypatch):
    answer = desk.shop.hold(Stage.SUBMIT)
    desk.drop("sent")
    while desk.job("sent") is None or desk.job("sent").state is not S.SUBMITTING:
        desk.turn()
    monkeypatch.setattr(desk.journal, "flush", lambda: (_ for _ in ()).throw(OSError(errno.EIO, "broken")))
    with pytest.raises(OSError, match="broken"):
        desk.turn()
    await_answers(desk.scheduler, 0.1, each_turn=lambda: None)
    assert list(desk.scheduler.in_flight) == ["sent"]
    await_answers(desk.scheduler, 30.0, each_turn=answer.set)
    assert desk.scheduler.in_flight == {}


def test_what_a_turn_that_cannot_be_written_would_have_begun_is_not_waited_for(desk, monkeypatch):
    desk.drop()
    monkeypatch.setattr(
        desk.scheduler.suspects, "note", lambda *_: (_ for _ in ()).throw(OSError(errno.EIO, "broken"))
    )
    with pytest.raises(OSError, match="broken"):
        desk.turn()
    assert desk.scheduler.in_flight == {}


def test_a_command_whose_turn_cannot_be_written_is_told_so(desk, monkeypatch):
    asked = []

    def ask():
        with pytest.raises(OSError, match="broken"):
            desk.scheduler.call(lambda _scheduler: "done")
        asked.append("told")

    thread = threading.Thread(target=ask)
    thread.start()
    while desk.scheduler.mailbox.is_empty:
        pass
    monkeypatch.setattr(desk.journal, "flush", lambda: (_ for _ in ()).throw(OSError(errno.EIO, "broken")))
    with pytest.raises(OSError, match="broken"):
        desk.turn()
    thread.join()
    assert asked == ["told"]


@pytest.mark.parametrize(
    "trouble", [OSError(errno.ENOSPC, "No space left", "caf\udce9"), RuntimeError("bug")]
)
def test_a_stage_that_raises_ends_one_try_and_no_more(desk, trouble):
    desk.shop.say[Stage.FETCH].append(trouble)
    desk.drop()
    desk.until(S.RENDERED)
    desk.turns(2)
    assert (desk.state(), desk.job().attempts) == (S.RENDERED, 1)
    desk.until(S.DELIVERED)


def test_a_fault_of_the_system_is_told_with_the_folder_that_it_is_about(desk):
    desk.shop.say[Stage.FETCH].append(OSError(errno.EROFS, os.strerror(errno.EROFS), "1.part"))
    desk.drop()
    desk.until(S.RENDERED)
    desk.turns(2)
    assert desk.job().reason == "in the inbox's work folder: Read-only file system: 1.part"


def test_a_bug_after_the_gate_may_have_cost_money(desk):
    desk.shop.say[Stage.SUBMIT].append(lambda _job: 1 // 0)
    desk.drop()
    assert desk.until(S.IN_DOUBT).paid is Paid.UNKNOWN


def test_a_disk_fault_after_the_gate_may_have_cost_money(desk):
    def fail(_job):
        raise OSError(errno.EIO, "Input/output error")

    desk.shop.say[Stage.SUBMIT].append(fail)
    desk.drop()
    assert desk.until(S.IN_DOUBT).paid is Paid.UNKNOWN


# --- after a crash --------------------------------------------------------------------------------------


def test_what_may_have_been_in_flight_is_in_doubt_at_the_next_start(open_desk):
    first = open_desk()
    held = first.shop.hold(Stage.SUBMIT)
    first.drop()
    first.until(S.SUBMITTING)
    first.journal.close()
    second = open_desk()
    second.scheduler.begin()
    job = second.job()
    assert (job.state, job.held, job.paid) == (S.IN_DOUBT, Held.IN_DOUBT, Paid.UNKNOWN)
    second.turns(5, 3600.0)
    assert second.shop.done == []
    held.set()


@pytest.mark.parametrize("is_late", [False, True])
def test_a_task_that_a_work_folder_names_and_another_job_follows_leaves_doubt(open_desk, is_late):
    """Anybody may write there: one film would be delivered as both, and a task that is paid for forgotten."""
    first = open_desk()
    first.shop.hold(Stage.POLL)
    first.drop("clip2")
    other = first.until(S.RUNNING, "clip2").task.task_id
    first.shop.hold(Stage.SUBMIT)
    first.drop()
    first.until(S.SUBMITTING)
    first.journal.close()
    second = open_desk()
    second.shop.hold(Stage.POLL)
    second.scheduler.begin(inboxes=() if is_late else ["bay"])
    settle = second.scheduler.cut_short.end_doubts if is_late else second.scheduler.cut_short.settle
    second.order(lambda _scheduler: settle({"clip1": TaskCreated(other)}))
    assert (second.state(), second.job().held) == (S.IN_DOUBT, Held.IN_DOUBT)
    assert second.job("clip2").task.task_id == other


@pytest.mark.parametrize(
    ("told", "state", "paid"),
    [
        (NotSent(), S.QUEUED, Paid.NO),
        (Interrupted(), S.IN_DOUBT, Paid.UNKNOWN),
        (TaskCreated("task-7"), S.RUNNING, Paid.UNKNOWN),
    ],
)
def test_where_work_folders_are_asked_they_tell_what_came_of_it(open_desk, told, state, paid):
    first = open_desk()
    held = first.shop.hold(Stage.SUBMIT)
    first.drop()
    first.until(S.SUBMITTING)
    first.journal.close()
    second = open_desk()
    second.scheduler.begin(inboxes=["bay"])
    second.turns(3, SETTLE_SECONDS / 4)
    assert second.state() is S.SUBMITTING
    assert second.shop.done == []
    assert not second.scheduler.is_idle
    second.shop.hold(Stage.SUBMIT)
    second.shop.hold(Stage.POLL)
    second.order(lambda scheduler: scheduler.cut_short.settle({"clip1": told}))
    job = second.job()
    assert (job.state, job.paid) == (state, paid)
    second.order(lambda scheduler: scheduler.cut_short.settle({"clip1": Interrupted()}))
    # What is under way now is no news of then.
    assert (second.state() is S.IN_DOUBT) == (state is S.IN_DOUBT)
    held.set()


def in_doubt_of_a_frozen_node(open_desk, event=Interrupted()):  # noqa: B008 - it is frozen
    """Return a desk that leads after the node east, which has a request in its hands."""
    first = open_desk()
    held = first.shop.hold(Stage.SUBMIT)
    first.drop()
    first.until(S.SUBMITTING)
    first.journal.close()
    second = open_desk()
    second.shop.hold(Stage.POLL)
    second.shop.hold(Stage.SUBMIT)
    second.scheduler.begin(inboxes=["bay"], lost_lead=("east", 70.0))
    second.order(lambda scheduler: scheduler.cut_short.settle({"clip1": event}))
    held.set()
    return second


def test_a_doubt_names_the_node_that_lost_its_lead_and_is_retried_only_once_that_may_have_answered(open_desk):
    desk = in_doubt_of_a_frozen_node(open_desk)
    assert "the node east lost its lead" in desk.job().reason
    (answer,) = desk.order(lambda scheduler: operator.retry(scheduler, ["clip1"], "ann"))
    assert not answer["done"]
    assert "the node east lost its lead while it had the request, and may still send it" in answer["why"]
    assert "retry in 70 s" in answer["why"]
    desk.turn(71)
    (answer,) = desk.order(lambda scheduler: operator.retry(scheduler, ["clip1"], "ann"))
    assert answer["done"]


def test_a_doubt_of_another_node_than_the_one_that_lost_its_lead_is_retried_at_once(open_desk):
    desk = in_doubt_of_a_frozen_node(open_desk)
    desk.journal.close()
    third = open_desk()
    third.shop.hold(Stage.SUBMIT)
    third.scheduler.begin(inboxes=["bay"], lost_lead=("west", 70.0))
    (answer,) = third.order(lambda scheduler: operator.retry(scheduler, ["clip1"], "ann"))
    assert answer["done"]


def test_a_late_answer_is_nothing_for_a_job_that_was_cancelled_in_doubt_meanwhile(open_desk):
    desk = in_doubt_of_a_frozen_node(open_desk)
    desk.order(operator.cancel, ["clip1"], "ann")
    desk.order(lambda scheduler: scheduler.cut_short.end_doubts({"clip1": TaskCreated("task-7")}))
    assert (desk.state(), desk.job().task.task_id) == (S.CANCELLED, None)


def test_an_answer_that_a_frozen_node_notes_late_ends_the_doubt(open_desk):
    desk = in_doubt_of_a_frozen_node(open_desk)
    found = desk.order(lambda scheduler: operator.doubts_of_lost_leads(scheduler, "bay"))
    assert [job.id for job in found] == ["clip1"]
    desk.order(lambda scheduler: scheduler.cut_short.end_doubts({"clip1": TaskCreated("task-7")}))
    job = desk.job()
    assert (job.state, job.task.task_id, job.held) == (S.RUNNING, "task-7", None)
    desk.order(lambda scheduler: scheduler.cut_short.end_doubts({"clip1": TaskCreated("task-8")}))
    assert desk.job().task.task_id == "task-7"


def test_a_request_that_a_lost_node_never_sent_is_sent_at_once(open_desk):
    desk = in_doubt_of_a_frozen_node(open_desk, NotSent())
    assert desk.state() is S.QUEUED


def test_a_work_folder_that_does_not_tell_in_time_leaves_doubt(open_desk):
    first = open_desk()
    held = first.shop.hold(Stage.SUBMIT)
    first.drop()
    first.until(S.SUBMITTING)
    first.journal.close()
    second = open_desk()
    second.scheduler.begin(inboxes=["bay"])
    second.turn(SETTLE_SECONDS - 1)
    assert second.state() is S.SUBMITTING
    second.turn(2)
    assert second.state() is S.IN_DOUBT
    second.order(lambda scheduler: scheduler.cut_short.settle({"clip1": NotSent()}))
    assert second.state() is S.IN_DOUBT
    second.shop.hold(Stage.POLL)
    second.order(lambda scheduler: scheduler.cut_short.settle({"clip1": TaskCreated("task-7")}))
    assert (second.state(), second.job().task.task_id) == (S.RUNNING, "task-7")
    held.set()


def test_open_jobs_go_on_where_they_were(open_desk):
    first = open_desk()
    running(first)
    first.journal.close()
    second = open_desk(clock=Clock(NOON + 7200))
    second.scheduler.begin()
    second.until(S.DELIVERED)
    assert Stage.SUBMIT not in {stage for stage, _ in second.shop.done}


def test_pauses_and_the_brake_outlive_the_daemon(open_desk):
    first = open_desk()
    first.shop.say[Stage.SUBMIT].append(NotSubmitted(NO_CREDITS))
    first.drop()
    first.turns(6)
    first.order(operator.pause, "bay")
    brake = first.scheduler.brake
    first.journal.close()
    second = open_desk()
    assert brake.fault == NO_CREDITS
    assert second.scheduler.brake == brake
    assert second.scheduler.pauses.by_operator == {"bay"}


# --- the brake ------------------------------------------------------------------------------------------


def test_in_a_storm_of_refusals_one_asks_at_a_time(open_desk):
    desk = open_desk(running_max=10)
    desk.shop.say[Stage.SUBMIT].extend([NotSubmitted(BUSY)] * 1000)
    for number in range(30):
        desk.drop(f"clip{number}")
    desk.turns(12)
    first = [stage for stage, _ in desk.shop.done].count(Stage.SUBMIT)
    assert first <= 10
    desk.turns(20, 0.5)
    assert [stage for stage, _ in desk.shop.done].count(Stage.SUBMIT) == first
    desk.turn(30.0)
    assert [stage for stage, _ in desk.shop.done].count(Stage.SUBMIT) == first + 1
    desk.turns(60, 60.0)
    assert [stage for stage, _ in desk.shop.done].count(Stage.SUBMIT) <= first + 61
    assert desk.journal.counts[S.QUEUED] == 30
    desk.shop.say[Stage.SUBMIT].clear()
    desk.shop.say[Stage.POLL].extend([RENDERS] * 1000)
    desk.turns(10, 400.0)
    assert desk.journal.counts[S.RUNNING] == 10
    assert not desk.scheduler.brake.is_on


def test_trouble_of_the_account_holds_all_back_until_the_operator_says_it_is_over(desk):
    desk.shop.say[Stage.SUBMIT].extend([NotSubmitted(NO_CREDITS)] * 2)
    desk.drop("clip1")
    desk.drop("clip2")
    desk.turns(8)
    assert desk.shop.paid == []
    assert {desk.state("clip1"), desk.state("clip2")} == {S.QUEUED}
    held, why = operator.conditions_of(desk.scheduler).why_waiting(desk.job("clip2"))
    assert (held, why.startswith("Not enough credits")) == ("provider", True)
    desk.order(operator.resume, None)
    desk.turns(6)
    assert sorted(desk.shop.paid) == ["clip1", "clip2"]


def answers_by_job(desk, refusals):
    """Let the provider refuse these jobs, each time, and take all others."""
    asked = []

    def answer(job):
        asked.append(job.id)
        fault = refusals.get(job.id)
        return NotSubmitted(fault) if fault else TaskCreated(f"task-{job.id}-{len(asked)}", 15.0)

    desk.shop.say[Stage.SUBMIT].extend([answer] * 1000)
    return asked


def test_one_clip_that_is_refused_gives_way_and_the_block_ends_with_the_next_that_goes_through(desk):
    asked = answers_by_job(desk, {"bad": NO_CREDITS})
    desk.drop("bad")
    desk.turns(6)
    assert desk.scheduler.brake.is_on
    desk.drop("good")
    desk.turns(12, 1.0)
    assert desk.state("good") is not S.QUEUED
    assert not desk.scheduler.brake.is_on
    bad = desk.job("bad")
    assert (bad.state, bad.held) == (S.QUEUED, Held.REFUSED)
    assert "Not enough credits" in bad.reason
    assert asked == ["bad", "good", "bad"]
    desk.drop("later")
    desk.turns(6)
    assert desk.state("later") is not S.QUEUED
    desk.shop.say[Stage.SUBMIT].clear()
    assert desk.order(operator.approve, ["bad"], "me")[0]["done"]
    desk.turns(6)
    assert desk.shop.paid.count("bad") == 3


def test_real_trouble_of_the_account_blocks_all_and_blames_nobody(desk):
    refusals = dict.fromkeys([f"clip{number}" for number in range(6)], NO_CREDITS)
    asked = answers_by_job(desk, refusals)
    for job_id in refusals:
        desk.drop(job_id)
    desk.turns(60, 30.0)
    assert desk.scheduler.brake.is_on
    assert {desk.job(job_id).held for job_id in refusals} == {None}
    assert len(set(asked)) > 3, "each in turn"
    assert len(asked) <= 16
    refusals.clear()
    desk.turns(80, 60.0)
    assert {desk.state(job_id) for job_id in asked} == {S.DELIVERED}


def test_a_model_without_a_route_holds_back_only_the_clips_that_ask_for_it(desk):
    gone = Fault(
        FaultOf.MODEL, "MODEL.NOT_ROUTED", "The provider has no route to this model", "Choose another."
    )
    asked = answers_by_job(desk, dict.fromkeys(["old1", "old2", "old3"], gone))
    for number in (1, 2, 3):
        desk.drop(f"old{number}", request=a_request(model="aleph2"))
    for number in (1, 2, 3):
        desk.drop(f"new{number}")
    desk.turns(12, 2.0)
    assert {desk.state(f"new{number}") for number in (1, 2, 3)} == {S.DELIVERED}
    conditions = operator.conditions_of(desk.scheduler)
    held, why = conditions.why_waiting(desk.job("old3"))
    assert (held, why.startswith("The provider has no route")) == ("model", True)
    desk.turns(4, 30.0)
    assert len([one for one in asked if one.startswith("old")]) <= 6


def test_a_clip_always_told_that_the_moment_is_bad_starves_no_other(desk):
    answers_by_job(desk, {"bad": BUSY})
    for job_id in ("bad", "good1", "good2", "good3"):
        desk.drop(job_id)
    desk.turns(60, 10.0)
    assert {desk.state(f"good{number}") for number in (1, 2, 3)} == {S.DELIVERED}


def test_a_key_that_looks_are_refused_for_holds_submissions_back_until_a_look_works(open_desk):
    desk = open_desk(running_max=1)
    refused = poll(Fault(FaultOf.ACCOUNT, "ACCOUNT.KEY_REFUSED", "The key was refused", "Set another."))
    desk.shop.say[Stage.POLL].extend([refused, *[RENDERS] * 9])
    desk.drop("clip1")
    desk.drop("clip2")
    desk.turns(8, 2.0)
    assert desk.scheduler.brake.is_on
    assert desk.state("clip1") is S.RUNNING
    held, why = operator.conditions_of(desk.scheduler).why_waiting(desk.job("clip2"))
    assert (held, why.startswith("The key was refused")) == ("provider", True)
    desk.turns(8, 30.0)
    assert not desk.scheduler.brake.is_on
    assert desk.shop.paid == ["clip1"]


def test_a_clip_that_is_refused_does_not_hold_the_others_back(desk):
    refused = Failed(Error("REQUEST.INVALID", "no such ratio"))
    answer = {"clip1": refused, "clip2": TaskCreated("task-2")}
    desk.shop.say[Stage.SUBMIT].extend([lambda job: answer[job.id]] * 2)
    desk.drop("clip1")
    desk.drop("clip2")
    desk.turns(8, 1.0)
    assert desk.state("clip1") is S.FAILED
    assert sorted(desk.shop.paid) == ["clip1", "clip2"]


# --- money ----------------------------------------------------------------------------------------------


def test_what_runs_never_exceeds_what_the_operator_allows(open_desk):
    desk = open_desk(running_max=2)
    desk.shop.say[Stage.POLL].extend([RENDERS] * 1000)
    for number in range(6):
        desk.drop(f"clip{number}")
    for _ in range(20):
        desk.turn(1.0)
        assert desk.journal.counts[S.RUNNING] + desk.journal.counts[S.SUBMITTING] <= 2
    assert len(desk.shop.paid) == 2


def test_the_days_submissions_are_never_exceeded_and_the_next_day_goes_on(open_desk):
    desk = open_desk(submissions_per_day=3, running_max=10)
    for number in range(5):
        desk.drop(f"clip{number}")
    desk.turns(20, 10.0)
    assert len(desk.shop.paid) == 3
    desk.turns(10, 43_200.0)
    assert len(desk.shop.paid) == 5


def test_the_days_credits_are_never_exceeded(open_desk):
    desk = open_desk(credits_per_day=40.0, running_max=10)
    for number in range(5):
        desk.drop(f"clip{number}")
    desk.turns(20, 10.0)
    assert len(desk.shop.paid) == 2
    assert desk.scheduler.spending.today == Spend(2, 30.0)


@pytest.mark.parametrize("refused", [Failed(Error("X", "refused")), NotSubmitted(BUSY)])
def test_what_was_refused_is_not_counted_as_spent(open_desk, refused):
    desk = open_desk(credits_per_day=15.0)
    desk.shop.say[Stage.SUBMIT].append(after_gate(refused))
    desk.drop()
    desk.turns(5)
    assert desk.scheduler.spending.today == Spend(0, 0.0)
    desk.drop("clip2")
    desk.turns(20, 60.0)
    assert desk.shop.paid.count("clip2" if isinstance(refused, Failed) else "clip1") > 0


def test_a_clip_that_another_journal_took_over_is_given_up_only_after_its_request_was_answered(desk):
    held = desk.shop.hold(Stage.SUBMIT)
    desk.shop.hold(Stage.POLL)
    desk.drop()
    desk.until(S.SUBMITTING)
    taken = {"clip1": TakenOver("j2", "edit-2")}
    desk.order(operator.give_up, taken)
    assert desk.state() is S.SUBMITTING
    desk.release(held)
    desk.until(S.RUNNING)
    desk.order(operator.give_up, taken)
    assert (desk.state(), desk.job().error.code) == (S.CANCELLED, "TAKEN_OVER")


def test_a_job_that_is_too_dear_waits_for_a_person_and_the_others_go_on(open_desk):
    desk = open_desk(credits_per_job_max=10.0)
    desk.drop()
    desk.turns(5)
    assert (desk.job().held, desk.shop.paid) == (Held.BUDGET, [])
    assert desk.scheduler.is_idle
    assert desk.order(operator.approve, ["clip1"], "ann")[0]["done"]
    desk.turns(5)
    assert desk.shop.paid == ["clip1"]


VARIANTS = ("_v1", "_v2", "_v3")


def test_variants_that_together_cost_more_than_a_job_may_wait_for_a_person_all_of_them(open_desk):
    desk = open_desk(credits_per_job_max=40.0)  # each is estimated at 15
    desk.drop(variants=VARIANTS)
    desk.turns(8)
    assert [desk.job(f"clip1-v{n}").held for n in (1, 2, 3)] == [Held.BUDGET] * 3
    assert (
        "the 3 jobs of this clip would cost about 45 credits in all, and a clip may cost 40"
        in desk.job("clip1-v1").reason
    )
    assert desk.shop.paid == []
    desk.order(operator.approve, ["clip1-v2"], "ann")
    desk.turns(5)
    assert desk.shop.paid == ["clip1-v2"], "one word is about one job"


def test_a_clip_may_cost_more_than_a_job_where_the_operator_says_so(open_desk):
    desk = open_desk(credits_per_job_max=20.0, credits_per_clip_max=45.0)
    desk.drop(variants=VARIANTS)
    desk.drop("dear", credits_estimated=None, variants=(*VARIANTS, "_v4"))
    desk.turns(8)
    assert sorted(desk.shop.paid) == ["clip1-v1", "clip1-v2", "clip1-v3"]
    assert desk.job("dear-v1").held is Held.BUDGET


def test_the_clips_of_a_timeline_wait_for_a_person_where_they_cost_too_much_together(open_desk):
    desk = open_desk(credits_per_clip_max=40.0)  # each is estimated at 15
    request = a_request(timeline="t1", timeline_credits=45.0)
    desk.drop("one", request=request)
    desk.drop("two", request=request)
    desk.drop("cheap", request=a_request(timeline="t2", timeline_credits=30.0))
    desk.turns(8)
    assert [desk.job(name).held for name in ("one", "two")] == [Held.BUDGET] * 2
    assert (
        "all clips of its timeline would cost about 45 credits, and a clip may cost 40"
        in desk.job("one").reason
    )
    assert desk.shop.paid == ["cheap"]
    desk.order(operator.approve, ["one", "two"], "ann")
    desk.turns(5)
    assert sorted(desk.shop.paid) == ["cheap", "one", "two"]


def test_what_was_paid_before_a_retry_counts_for_the_clip(open_desk):
    desk = open_desk(credits_per_clip_max=20.0)
    desk.shop.say[Stage.POLL].append(Failed(Error("INTERNAL", "it fell over")))
    desk.drop()
    desk.until(S.FAILED)
    (answer,) = desk.order(operator.retry, ["clip1"], "ann")
    assert (answer["done"], answer["held"]) == (True, "budget")
    assert (
        "about 30 credits in all, 15 of them for what was sent before, and a clip may cost 20"
        in answer["reason"]
    )
    desk.turns(5)
    assert desk.shop.paid == ["clip1"]
    desk.order(operator.approve, ["clip1"], "ann")
    desk.turns(5)
    assert desk.shop.paid == ["clip1", "clip1"]


def test_a_retry_within_what_a_clip_may_cost_goes_at_once(open_desk):
    desk = open_desk(credits_per_clip_max=30.0)
    desk.shop.say[Stage.POLL].append(Failed(Error("INTERNAL", "it fell over")))
    desk.drop()
    desk.until(S.FAILED)
    assert "held" not in desk.order(operator.retry, ["clip1"], "ann")[0]
    desk.turns(5)
    assert desk.shop.paid == ["clip1", "clip1"]


def test_an_approved_job_goes_although_the_day_is_spent(open_desk):
    desk = open_desk(submissions_per_day=0)
    desk.drop()
    desk.turns(5)
    assert desk.shop.paid == []
    desk.order(operator.approve, ["clip1"], "ann")
    desk.turns(5)
    assert desk.shop.paid == ["clip1"]


def test_an_approved_job_goes_however_many_unapproved_are_before_it(open_desk):
    desk = open_desk(submissions_per_day=0)
    for number in range(60):
        desk.drop(f"clip{number:02}")
    desk.turns(20)
    desk.order(operator.approve, ["clip59"], "ann")
    desk.turns(20)
    assert desk.shop.paid == ["clip59"]


def test_a_refused_submission_is_not_counted_as_spent(desk):
    desk.shop.say[Stage.SUBMIT].append(after_gate(NotSubmitted(BUSY)))
    desk.drop()
    desk.turns(5)
    assert desk.journal.spent(NOON - 1) == Spend(0, 0.0)
    assert desk.scheduler.spending.today == Spend(0, 0.0)


# --- the operator ---------------------------------------------------------------------------------------


def test_a_paused_inbox_submits_nothing_and_what_runs_is_followed(open_desk):
    desk = open_desk(inboxes=("bay", "other"))
    desk.drop("clip1")
    desk.until(S.RUNNING)
    desk.order(operator.pause, "bay")
    desk.drop("clip2")
    desk.drop("clip3", inbox="other")
    desk.turns(10, 60.0)
    assert (desk.state("clip1"), desk.state("clip2"), desk.state("clip3")) == (
        *(S.DELIVERED, S.QUEUED, S.DELIVERED),
    )
    desk.order(operator.resume, "bay")
    desk.until(S.DELIVERED, "clip2")


def test_nothing_is_sent_from_an_inbox_before_it_was_scanned_for_a_pause_file(desk):
    desk.scheduler.guard(["bay"], accepts_restored=False)
    desk.drop()
    desk.turns(3)
    assert Stage.SUBMIT not in {stage for stage, _ in desk.shop.done}
    desk.order(lambda scheduler: scheduler.pauses.set_file("bay", "_pause"))
    desk.turns(3)
    assert Stage.SUBMIT not in {stage for stage, _ in desk.shop.done}
    desk.order(lambda scheduler: scheduler.pauses.set_file("bay", ""))
    desk.until(S.DELIVERED)


def test_everything_can_be_paused(desk):
    desk.order(operator.pause, None)
    desk.drop()
    desk.turns(5)
    assert desk.shop.paid == []
    desk.order(operator.resume, None)
    desk.until(S.DELIVERED)


def test_a_resume_says_which_inboxes_an_editors_file_still_pauses(desk):
    assert desk.order(operator.resume, None) == ""
    desk.scheduler.pauses.set_file("bay", "_pause")
    still = "the inbox bay contains `_pause`: remove it, and sending continues"
    assert desk.order(operator.resume, None) == still
    desk.order(operator.pause, None)
    assert desk.order(operator.resume, "bay") == still
    with pytest.raises(operator.NotDone, match=still):
        operator.resume(desk.scheduler, "bay")


def test_one_inbox_is_resumed_where_all_are_paused_and_the_others_stay_so(open_desk):
    desk = open_desk(inboxes=("bay", "other"))
    desk.order(operator.pause, None)
    desk.order(operator.resume, "bay")
    desk.drop("clip1")
    desk.drop("clip2", inbox="other")
    desk.until(S.DELIVERED, "clip1")
    desk.turns(10)
    assert desk.state("clip2") is S.QUEUED


@pytest.mark.parametrize("inbox", ["bay", None])
def test_what_is_paused_waits_for_a_person_and_nothing_else_is_left(desk, inbox):
    desk.order(operator.pause, inbox)
    desk.drop()
    desk.turns(5)
    assert desk.scheduler.is_idle
    desk.order(operator.resume, inbox)
    assert not desk.scheduler.is_idle


def test_an_inbox_that_nobody_knows_cannot_be_paused(desk):
    with pytest.raises(IndexError):
        desk.order(operator.pause, "none")
    assert desk.scheduler.pauses.by_operator == frozenset()


def cancel(desk, clip_id="clip1"):
    return desk.order(operator.cancel, [clip_id], "ann")[0]


def test_a_queued_job_is_cancelled_at_once(desk):
    desk.order(operator.pause, None)
    desk.drop()
    desk.turn()
    assert cancel(desk)["state"] == "cancelled"
    assert not cancel(desk)["done"]
    assert cancel(desk, "none")["why"] == "there is no such job"


def test_a_running_job_is_cancelled_at_the_provider_first(desk):
    running(desk)
    assert cancel(desk)["state"] == "running"
    desk.until(S.CANCELLED)
    assert Stage.TELL_CANCEL in {stage for stage, _ in desk.shop.done}


def not_confirmed(desk, clip_id="clip1"):
    """Cancel a running job whose provider does not confirm it."""
    desk.shop.say[Stage.TELL_CANCEL].append(lambda job: Cancelled(job.cancel_by, may_go_on=True))
    cancel(desk, clip_id)
    desk.until(S.CANCELLED, clip_id)
    desk.turns(3)


def test_a_cancelled_job_whose_task_goes_on_at_the_provider_is_followed_by_a_retry_and_paid_once(desk):
    running(desk)
    not_confirmed(desk)
    assert desk.shop.retired == [("clip1", [S.CANCELLED])]
    desk.shop.say[Stage.POLL].clear()
    assert desk.order(operator.retry, ["clip1"], "ann")[0]["state"] == "running"
    desk.until(S.DELIVERED)
    desk.turns(3)
    assert desk.shop.paid == ["clip1"]
    assert desk.shop.retired[1:] == [("clip1", [S.DELIVERED])]


def test_a_task_that_was_finished_when_its_job_was_cancelled_is_fetched_by_a_retry_and_paid_once(desk):
    running(desk)
    desk.shop.say[Stage.TELL_CANCEL].append(TaskSucceeded(15.0))
    cancel(desk)
    desk.until(S.CANCELLED)
    desk.turns(3)
    assert desk.order(operator.retry, ["clip1"], "ann")[0]["state"] == "rendered"
    desk.until(S.DELIVERED)
    assert desk.shop.paid == ["clip1"]


def test_a_retry_does_not_follow_a_task_that_was_attached_to_another_job_meanwhile(desk):
    running(desk)
    not_confirmed(desk)
    desk.shop.say[Stage.SUBMIT].append(after_gate(AnswerLost("no answer came", {})))
    desk.drop("clip2")
    desk.until(S.IN_DOUBT, "clip2")
    assert desk.order(operator.attach, "clip2", desk.job().task.task_id, "ann")[0]["done"]
    answer = desk.order(operator.retry, ["clip1"], "ann")[0]
    assert not answer["done"]
    assert "job clip2 has its task now; `clipspool again clip1`" in answer["why"]


def test_a_job_in_doubt_can_be_cancelled_and_may_have_cost_money(desk):
    in_doubt(desk)
    cancel(desk)
    assert (desk.state(), desk.job().error.paid) == (S.CANCELLED, Paid.UNKNOWN)


def test_a_result_that_is_being_fetched_is_delivered_in_spite_of_a_cancel(desk):
    held = desk.shop.hold(Stage.FETCH)
    desk.drop()
    desk.until(S.RENDERED)
    desk.turns(2)
    assert cancel(desk)["state"] == "rendered"
    desk.release(held)
    desk.turns(2)
    assert desk.state() is S.DELIVERED


PARTLY = PartlyFetched((RESULT,), "1 of 2 outputs are here", (Missing(2, "HTTP 404"),))


def test_a_cancel_delivers_the_outputs_that_are_here_and_names_the_rest(desk):
    desk.shop.say[Stage.FETCH].extend([PARTLY, lambda job: Fetched(job.results, missing=job.missing)])
    desk.drop()
    desk.until(S.RENDERED)
    desk.turns(2)
    assert desk.job().held is Held.RESULT
    assert cancel(desk)["delivers"]
    desk.turns(4)
    job = desk.job()
    assert (job.state, job.missing) == (S.DELIVERED, (Missing(2, "HTTP 404"),))
    assert job.reason == "output 2 could not be had: HTTP 404"


def test_a_cancel_ends_a_job_whose_outbox_takes_nothing_and_keeps_its_result(desk):
    desk.shop.say[Stage.DELIVER].extend([StageFailed("DISK", "the outbox is full", held=Held.OUTBOX)] * 2)
    desk.drop()
    desk.until(S.FETCHED)
    desk.turns(2)
    assert cancel(desk)["delivers"]
    desk.turns(3)
    job = desk.job()
    assert (job.state, job.results) == (S.CANCELLED, (RESULT,))
    assert "kept beside it in `_failed`" in job.error.what_to_do


def test_a_result_of_odd_length_waits_for_a_word_and_is_delivered_at_no_cost(desk):
    desk.shop.say[Stage.FETCH].append(Fetched((RESULT,), doubt="it lasts 1 s, and 5 s were sent"))
    desk.drop()
    desk.until(S.FETCHED)
    desk.turns(5, 600.0)
    assert (desk.job().held, desk.job().reason) == (Held.RESULT, "it lasts 1 s, and 5 s were sent")
    assert desk.scheduler.is_idle
    assert desk.order(operator.approve, ["clip1"], "ann")[0]["done"]
    desk.turns(3)
    assert desk.state() is S.DELIVERED
    assert desk.shop.paid == ["clip1"]


def test_a_result_of_odd_length_is_not_passed_on_by_a_cancel(desk):
    desk.shop.say[Stage.FETCH].append(Fetched((RESULT,), doubt="it lasts 1 s, and 5 s were sent"))
    desk.drop()
    desk.until(S.FETCHED)
    desk.turns(2)
    cancel(desk)
    desk.turns(2)
    assert (desk.state(), desk.job().results) == (S.CANCELLED, (RESULT,))


def test_a_result_of_odd_length_can_be_paid_for_again(desk):
    desk.shop.say[Stage.FETCH].append(Fetched((RESULT,), doubt="it lasts 1 s, and 5 s were sent"))
    desk.drop()
    desk.until(S.FETCHED)
    desk.turns(2)
    assert desk.order(operator.retry, ["clip1"], "ann")[0]["done"]
    desk.until(S.DELIVERED)
    assert desk.shop.paid == ["clip1", "clip1"]


def test_a_job_that_is_being_delivered_is_delivered_in_spite_of_a_cancel(desk):
    held = desk.shop.hold(Stage.DELIVER)
    desk.drop()
    desk.until(S.FETCHED)
    desk.turns(2)
    cancel(desk)
    desk.release(held)
    desk.turns(2)
    assert desk.state() is S.DELIVERED


def test_a_cancel_that_comes_before_the_gate_withdraws_the_submission(desk):
    desk.drop()
    while not any(stage is Stage.SUBMIT for stage, _ in desk.shop.done):
        desk.turn()
    desk.scheduler.mailbox.sleep(5.0)
    (ready,) = desk.scheduler.mailbox.receive()
    desk.scheduler.call_soon(lambda scheduler: operator.cancel(scheduler, ["clip1"], "ann"))
    desk.scheduler.enqueue(ready)
    desk.turns(2)
    assert (desk.shop.paid, desk.state()) == ([], S.CANCELLED)


def test_a_pause_that_comes_before_the_gate_withdraws_the_submission(desk):
    desk.drop()
    while not any(stage is Stage.SUBMIT for stage, _ in desk.shop.done):
        desk.turn()
    desk.scheduler.mailbox.sleep(5.0)
    (ready,) = desk.scheduler.mailbox.receive()
    desk.scheduler.call_soon(lambda scheduler: operator.pause(scheduler, None))
    desk.scheduler.enqueue(ready)
    desk.turns(4)
    assert (desk.shop.paid, desk.state()) == ([], S.QUEUED)


def lose(desk):
    """Have a task lost, and a poll of it under way that hangs; return what holds it."""
    desk.shop.say[Stage.POLL].extend([TaskMissing("task_not_exist")] * 40)
    desk.drop()
    desk.turns(39, 60.0)
    desk.shop.say[Stage.POLL].clear()
    poll_hangs = desk.shop.hold(Stage.POLL)
    desk.turns(2, 3600.0)
    assert desk.shop.waiting[poll_hangs] == 1
    return poll_hangs


def test_a_job_that_is_run_again_is_cancelled_at_once_though_its_lost_task_is_just_polled(desk):
    poll_hangs = lose(desk)
    for order in (operator.pause, operator.retry):
        desk.order(order, *([None] if order is operator.pause else [["clip1"], "ann"]))
    assert cancel(desk)["state"] == "cancelled"
    desk.release(poll_hangs)


def test_a_cancel_waits_for_no_delivery_into_an_inbox_that_is_not_configured_any_more(desk):
    desk.shop.say[Stage.DELIVER].extend([OSError(errno.ENOSPC, "no room")] * 9)
    desk.drop()
    desk.until(S.FETCHED)
    desk.turns(2)
    desk.scheduler.allow((), Limits(inboxes=frozenset()))
    assert cancel(desk)["state"] == "cancelled"


def test_a_cancel_while_the_request_is_out_stops_the_task_it_made(desk):
    held = desk.shop.hold(Stage.SUBMIT)
    desk.drop()
    desk.until(S.SUBMITTING)
    assert cancel(desk)["state"] == "submitting"
    desk.release(held)
    desk.turns(4)
    assert desk.shop.done[-1][0] is Stage.TELL_CANCEL
    assert (desk.state(), desk.job().error.paid) == (S.CANCELLED, Paid.UNKNOWN)


def test_a_command_sees_what_was_heard_in_its_own_turn(desk):
    held = desk.shop.hold(Stage.DELIVER)
    desk.drop()
    desk.until(S.FETCHED)
    desk.turns(2)
    desk.release(held)  # `Done(Delivered)` is heard in the same turn as the command, before it
    assert not cancel(desk)["done"]
    assert desk.state() is S.DELIVERED
    assert +desk.journal.counts == desk.journal.count()


def test_a_failed_job_is_run_again_and_paid_again(desk):
    desk.shop.say[Stage.SUBMIT].append(after_gate(Failed(Error("X", "refused"))))
    desk.drop()
    desk.until(S.FAILED)
    desk.turns(3)
    assert desk.order(operator.retry, ["clip1"], "ann") == [{"id": "clip1", "done": True, "state": "queued"}]
    desk.until(S.DELIVERED)
    assert desk.shop.paid == ["clip1", "clip1"]
    assert desk.job().task.number == 2
    desk.turns(3)
    assert [clip_id for clip_id, _ in desk.shop.retired] == ["clip1", "clip1"]


def test_a_retried_clip_stays_until_its_job_has_ended_again(desk):
    desk.shop.say[Stage.SUBMIT].append(after_gate(Failed(Error("X", "refused"))))
    desk.drop()
    desk.until(S.FAILED)
    desk.turns(3)
    assert desk.shop.retired == [("clip1", [S.FAILED])]
    desk.shop.say[Stage.POLL].extend([RENDERS] * 1000)
    desk.order(operator.retry, ["clip1"], "ann")
    desk.until(S.RUNNING)
    (row,) = desk.journal._database.rows("clips", ids=["clip1"])
    assert (row["retired_at"], row["retire_due"]) == (None, None)


def test_a_clip_whose_jobs_were_cancelled_before_the_journal_was_lost_retires(desk):
    ended = recovered_ended(a_job(), None, "")
    desk.scheduler.enqueue(Accepted(a_clip(), (ended,)))
    desk.turns(3)
    assert (desk.state(), desk.shop.retired) == (S.CANCELLED, [("clip1", [S.CANCELLED])])
    assert desk.shop.done == []


def test_each_try_to_retire_waits_longer_than_the_one_before(desk):
    desk.shop.say["retire"].extend([OSError(errno.EACCES, "the folder is locked")] * 4)
    desk.drop()
    desk.until(S.DELIVERED)
    tries = []
    for _ in range(40):
        desk.turns(1, 600.0)
        tries += desk.journal._database.rows("clips", ids=["clip1"])
    tries = [row["retire_attempts"] for row in tries]
    assert sorted(set(tries)) == [0, 1, 2, 3, 4] or sorted(set(tries)) == [1, 2, 3, 4]
    assert desk.shop.retired


def test_a_job_that_runs_well_cannot_be_retried(desk):
    running(desk)
    assert "only failed" in desk.order(operator.retry, ["clip1"], "ann")[0]["why"]


def test_a_job_in_doubt_is_sent_again_only_by_its_operator(desk):
    in_doubt(desk)
    desk.turns(10, 3600.0)
    assert desk.shop.paid == ["clip1"]
    desk.order(operator.retry, ["clip1"], "ann")
    desk.until(S.DELIVERED)
    assert desk.shop.paid == ["clip1", "clip1"]


def test_the_task_of_a_job_in_doubt_can_be_attached(desk):
    in_doubt(desk)
    for bad in ("", "x" * 201, "a\nb"):
        with pytest.raises(IndexError):
            desk.order(operator.attach, "clip1", bad, "ann")
    assert desk.order(operator.attach, "clip1", "task-found", "ann")[0]["done"]
    assert desk.until(S.DELIVERED).task.task_id == "task-found"
    assert desk.shop.paid == ["clip1"]


def test_a_task_that_another_job_has_is_not_attached(desk):
    running(desk, "clip2")
    others = desk.job("clip2").task.task_id
    desk.shop.say[Stage.SUBMIT].append(after_gate(AnswerLost("no answer came", {})))
    desk.drop()
    desk.until(S.IN_DOUBT)
    answer = desk.order(operator.attach, "clip1", others, "ann")[0]
    assert (answer["done"], "job clip2 has that task" in answer["why"]) == (False, True)
    assert desk.state() is S.IN_DOUBT
    desk.shop.say[Stage.POLL].clear()
    desk.until(S.DELIVERED, "clip2")
    assert not desk.order(operator.attach, "clip1", others, "ann")[0]["done"]


def test_a_task_that_another_job_had_before_it_was_run_again_is_attached(desk):
    desk.shop.say[Stage.SUBMIT].append(after_gate(AnswerLost("no answer came", {})))
    desk.drop("clip2")
    desk.until(S.IN_DOUBT, "clip2")
    desk.shop.say[Stage.POLL].extend([RENDERS] * 1000)
    assert desk.order(operator.attach, "clip2", "task-of-clip1", "ann")[0]["done"]  # the wrong one of two
    desk.order(operator.cancel, ["clip2"], "ann")
    desk.until(S.CANCELLED, "clip2")
    assert desk.order(operator.retry, ["clip2"], "ann")[0]["done"]
    desk.shop.say[Stage.POLL].clear()
    desk.until(S.DELIVERED, "clip2")
    desk.shop.say[Stage.SUBMIT].append(after_gate(AnswerLost("no answer came", {})))
    desk.drop()
    desk.until(S.IN_DOUBT)
    answer = desk.order(operator.attach, "clip1", "task-of-clip1", "ann")[0]
    assert answer["done"], answer


def test_a_lost_task_is_held_and_can_be_made_again(desk):
    desk.shop.say[Stage.POLL].extend([TaskMissing("task_not_exist")] * 40)
    desk.drop()
    desk.turns(40, 60.0)
    assert (desk.state(), desk.job().held) == (S.RUNNING, Held.LOST)
    desk.order(operator.retry, ["clip1"], "ann")
    desk.shop.say[Stage.POLL].clear()
    desk.until(S.DELIVERED)
    assert desk.shop.paid == ["clip1", "clip1"]


@pytest.mark.parametrize("said", [RENDERS, Failed(Error("X", "the old task failed"), is_of_task=True)])
def test_what_is_seen_of_a_lost_task_does_not_count_for_the_job_that_is_made_again(desk, said):
    desk.shop.say[Stage.POLL].extend([TaskMissing("task_not_exist")] * 40)
    desk.drop()
    desk.turns(39, 60.0)
    assert desk.job().held is Held.LOST
    desk.shop.say[Stage.POLL].clear()
    poll_hangs = desk.shop.hold(Stage.POLL)
    desk.turns(2, 3600.0)
    assert desk.shop.waiting[poll_hangs] == 1
    assert desk.order(operator.retry, ["clip1"], "ann")[0]["done"]
    assert desk.order(operator.approve, ["clip1"], "ann")[0]["done"]  # a second order, and the same state
    desk.shop.say[Stage.POLL].append(said)
    desk.release(poll_hangs)
    desk.until(S.DELIVERED)
    assert desk.shop.paid == ["clip1", "clip1"]


def test_what_is_seen_of_a_lost_task_does_not_count_for_the_one_that_is_attached(desk):
    poll_hangs = lose(desk)
    assert desk.order(operator.attach, "clip1", "task-found", "ann")[0]["done"]
    desk.shop.say[Stage.POLL].extend([Failed(Error("X", "the old task failed"), is_of_task=True), RENDERS])
    desk.release(poll_hangs)
    desk.turns(2, 60.0)
    assert (desk.state(), desk.job().task.task_id) == (S.RUNNING, "task-found")


def test_a_job_that_its_work_folder_holds_back_can_be_let_go_by_the_operator(desk):
    desk.shop.say[Stage.SUBMIT].append(InDoubt(1, "https://api.test/v1#5eed"))
    desk.drop()
    desk.turns(5)
    assert desk.job().held is Held.IN_DOUBT
    assert desk.order(operator.attach, "clip1", "task-found", "ann")[0]["done"]


@pytest.mark.parametrize("chore", ["retire", "sweep"])
def test_a_retried_clip_is_not_touched_while_it_is_still_being_put_away(desk, chore):
    held = desk.shop.hold(chore)
    desk.shop.say[Stage.SUBMIT].append(after_gate(Failed(Error("X", "refused"))))
    desk.drop()
    desk.until(S.FAILED)
    desk.turns(4)
    before = len(desk.shop.done)
    desk.order(operator.retry, ["clip1"], "ann")
    desk.turns(3)
    assert len(desk.shop.done) == before
    desk.release(held)
    desk.until(S.DELIVERED)


def test_what_is_fetched_after_all_is_not_fetched_into_a_work_folder_that_is_being_swept(desk):
    held = desk.shop.hold("sweep")
    desk.shop.say[Stage.FETCH].append(StageFailed("RESULT.CUT", "the download was cut"))
    desk.drop()
    desk.until(S.RENDERED)
    desk.turns(2)
    cancel(desk)
    desk.turns(4)
    assert (desk.state(), desk.shop.waiting[held]) == (S.CANCELLED, 1)
    before = len(desk.shop.done)
    assert desk.order(operator.retry, ["clip1"], "ann")[0]["state"] == "rendered"
    desk.turns(3)
    assert len(desk.shop.done) == before
    desk.release(held)
    desk.until(S.DELIVERED)
    assert desk.shop.paid == ["clip1"]


def test_a_retried_clip_that_could_not_be_put_away_is_not_put_away_under_its_job(desk):
    held = desk.shop.hold("retire")
    desk.shop.say["retire"].append(OSError(errno.EACCES, "the folder is locked"))
    desk.shop.say[Stage.SUBMIT].append(after_gate(Failed(Error("X", "refused"))))
    desk.drop()
    desk.until(S.FAILED)
    desk.turns(4)
    desk.shop.say[Stage.POLL].extend([RENDERS] * 1000)
    desk.order(operator.retry, ["clip1"], "ann")
    desk.release(held)
    desk.until(S.RUNNING)
    desk.turns(10, 60.0)
    assert desk.shop.retired == []


def test_a_clip_whose_retirement_is_due_once_more_is_not_put_away_under_a_job_that_is_retried(desk):
    desk.shop.say["retire"].append(OSError(errno.EACCES, "the folder is locked"))
    desk.shop.say[Stage.SUBMIT].append(after_gate(Failed(Error("X", "refused"))))
    desk.drop()
    desk.until(S.FAILED)
    desk.turns(4)
    desk.shop.say[Stage.POLL].extend([RENDERS] * 1000)
    desk.order(operator.retry, ["clip1"], "ann")
    desk.until(S.RUNNING)
    desk.turns(10, 600.0)
    assert desk.shop.retired == []


# --- inboxes --------------------------------------------------------------------------------------------


def test_inboxes_take_turns_at_the_provider(open_desk):
    desk = open_desk(inboxes=("a", "b"), running_max=1)
    for number in range(4):
        desk.drop(f"a{number}", inbox="a")
    desk.turns(3)
    desk.drop("b0", inbox="b", created_at=NOON + 100)
    desk.turns(30, 60.0)
    assert "b0" in desk.shop.paid[:3]
    assert len(desk.shop.paid) == 5


def test_an_inbox_that_is_no_longer_configured_waits_and_nobody_else(open_desk):
    desk = open_desk(inboxes=("a",))
    desk.drop("gone0", inbox="gone")
    desk.drop("a0", inbox="a")
    desk.until(S.DELIVERED, "a0")
    assert desk.state("gone0") is S.QUEUED


@pytest.mark.parametrize("state", [S.RENDERED, S.FETCHED])
def test_many_results_of_an_inbox_that_is_gone_keep_no_other_waiting(open_desk, state):
    desk = open_desk(inboxes=("a",))
    for number in range(60):
        desk.drop(f"gone{number}", inbox="gone", state=state, due_at=NOON - 1000)
    desk.drop("a0", inbox="a")
    desk.until(S.DELIVERED, "a0")


# --- the end --------------------------------------------------------------------------------------------


def test_a_drain_hands_out_nothing_more_and_hears_the_end_of_what_is_under_way(desk):
    held = desk.shop.hold(Stage.SUBMIT)
    desk.drop("clip1")
    desk.until(S.SUBMITTING)
    desk.drop("clip2")
    desk.scheduler.is_draining = True
    desk.turn()
    desk.release(held)
    drain(desk.scheduler, 10.0, each_turn=lambda: None)
    assert (desk.state("clip1"), desk.state("clip2")) == (S.RUNNING, S.QUEUED)
    assert desk.shop.paid == ["clip1"]


def test_a_submission_at_the_gate_when_the_drain_begins_is_withdrawn(desk):
    desk.drop()
    while not any(stage is Stage.SUBMIT for stage, _ in desk.shop.done):
        desk.turn()
    desk.scheduler.is_draining = True
    desk.turns(2)
    assert (desk.shop.paid, desk.state()) == ([], S.QUEUED)


def test_it_runs_until_it_is_told_to_stop(desk):
    stopping, turns = threading.Event(), []
    desk.scheduler.wait = lambda _seconds: None
    desk.scheduler.run(stopping, each_turn=lambda: turns.append(1) or len(turns) == 3)
    assert len(turns) == 3
    stopping.set()
    desk.scheduler.run(stopping, each_turn=lambda: turns.append(1))
    assert len(turns) == 3


def test_turns_are_rare_only_once_no_job_is_open_and_no_message_came_for_a_while(desk):
    waits = []
    desk.scheduler.wait = waits.append

    def run(seconds):
        desk.clock.passes(seconds)
        before = len(waits)
        desk.scheduler.run(threading.Event(), each_turn=lambda: len(waits) > before, calm_seconds=5.0)

    run(14.9)
    run(0.2)
    desk.scheduler.call_soon(lambda _: None)
    run(0.0)
    run(14.0)
    run(1.1)
    assert waits == [1.0, 5.0, 1.0, 1.0, 5.0]
    desk.scheduler.is_draining = True  # so that the job stays where it is
    desk.drop()
    desk.turn()
    run(20.0)
    assert waits[-1] == 1.0


def test_a_fault_of_one_stage_is_tried_again_after_a_pause(desk):
    desk.shop.say[Stage.DELIVER].extend([StageFailed("DISK", "No space", held=Held.OUTBOX)] * 3)
    desk.drop()
    job = desk.until(S.FETCHED)
    desk.turn()
    desk.turn()
    assert desk.job().held is Held.OUTBOX
    assert desk.job().due_at > desk.clock.now
    assert job.results
    desk.until(S.DELIVERED)


# --- clocks and ids that mislead ------------------------------------------------------------------------


def test_a_task_is_followed_at_once_when_the_clock_was_set_back(desk):
    desk.clock.passes(86_400 * 365)
    running(desk)
    looks = len(desk.shop.done)
    desk.clock.is_set(-86_400 * 365)
    desk.turns(3, 1.0)
    assert desk.shop.done[looks:]


def test_a_task_is_followed_at_once_when_the_clock_was_set_back_while_nothing_ran(open_desk, tmp_path):
    desk = open_desk()
    desk.clock.passes(86_400 * 365)
    running(desk)
    desk.close()
    again = Desk(tmp_path, clock=Clock(NOON + 100))
    try:
        again.shop.say[Stage.POLL].extend([RENDERS] * 1000)
        again.scheduler.begin()
        again.turns(3, 1.0)
        assert again.shop.done
    finally:
        again.close()


@pytest.mark.parametrize("days", [3, -3])
def test_a_clock_that_is_set_makes_no_task_overdue_or_lost(desk, days):
    running(desk)
    desk.turns(3, 10.0)
    before = desk.job()
    desk.clock.is_set(86_400 * days)
    desk.turns(5, 10.0)
    job = desk.job()
    assert (job.state, job.held) == (S.RUNNING, None)
    assert job.rendering_since == pytest.approx(before.rendering_since + 86_400 * days, abs=1.0)
    desk.turns(400, 10.0)
    assert desk.job().held is Held.OVERDUE, "the time that passed counts all the same"


def test_a_task_that_is_not_there_yet_is_given_its_time_though_the_clock_was_set_forward(desk):
    desk.shop.say[Stage.POLL].extend([TaskMissing("task_not_exist")] * 1000)
    running(desk)
    desk.clock.is_set(86_400 * 3)
    desk.turns(3, 10.0)
    assert desk.job().held is None
    desk.turns(200, 10.0)
    assert desk.job().held is Held.LOST


def test_a_clock_that_is_set_forward_cuts_no_end_short(desk):
    held = desk.shop.hold(Stage.SUBMIT)
    desk.drop()
    desk.until(S.SUBMITTING)
    desk.clock.is_set(86_400)
    desk.release(held)
    drain(desk.scheduler, 10.0, each_turn=lambda: desk.clock.is_set(86_400))
    assert (desk.state(), desk.shop.paid) == (S.RUNNING, ["clip1"])


def test_what_comes_from_its_work_folder_is_done_at_once_when_the_clock_was_set_back_since(desk):
    later = NOON + 2 * 86_400
    task = a_task(task_id="task-paid", created_at=later)
    times = {"created_at": later, "due_at": later}
    desk.drop("clip1", state=S.RUNNING, task=task, prepared=True, paid=Paid.UNKNOWN, **times)
    desk.drop("clip2", **times)
    desk.drop("clip3", request=a_request(not_before=NOON + 7200), **times)
    desk.turns(12, 60.0)
    assert (desk.state("clip1"), desk.state("clip2")) == (S.DELIVERED, S.DELIVERED)
    assert (desk.state("clip3"), desk.job("clip3").due_at) == (S.QUEUED, NOON + 7200)
    assert desk.shop.paid == ["clip2"]


def test_what_its_editor_wants_later_stays_for_later_when_the_clock_was_set_back(desk):
    desk.drop(request=a_request(not_before=NOON + 90_000), due_at=NOON + 90_000)
    desk.turn()
    desk.clock.is_set(-7200)
    desk.turns(5, 60.0)
    assert desk.shop.done == []


def test_a_task_that_was_given_to_another_job_already_is_doubted_and_its_result_taken_for_no_other(desk):
    desk.shop.say[Stage.SUBMIT].append(after_gate(TaskCreated("task-1", 15.0)))
    running(desk)
    desk.shop.say[Stage.SUBMIT].append(after_gate(TaskCreated("task-1", 15.0)))
    desk.drop("clip2")
    job = desk.until(S.IN_DOUBT, "clip2")
    assert "clip1" in job.reason
    assert desk.state("clip1") is S.RUNNING


def test_a_task_that_was_attached_to_another_job_before_its_answer_came_is_doubted(desk):
    in_doubt(desk)
    answer = desk.shop.hold(Stage.SUBMIT)
    desk.shop.say[Stage.SUBMIT].append(after_gate(TaskCreated("task-of-clip2", 15.0)))
    desk.drop("clip2")
    desk.until(S.SUBMITTING, "clip2")
    desk.shop.say[Stage.POLL].extend([RENDERS] * 1000)
    desk.turn()
    assert desk.order(operator.attach, "clip1", "task-of-clip2", "ann")[0]["done"]  # the wrong one of two
    desk.release(answer)
    job = desk.until(S.IN_DOUBT, "clip2")
    assert "clip1" in job.reason
    assert job.task.evidence["task_id"] == "task-of-clip2"


def test_a_work_folder_whose_removal_breaks_does_not_keep_the_scheduler_busy_for_ever(desk, monkeypatch):
    monkeypatch.setattr(desk.shop, "sweep", lambda clip: {}[clip.inbox])
    for number in range(2):
        desk.drop(f"clip{number}")
        desk.until(S.DELIVERED, f"clip{number}")
        desk.turns(3)
    assert not desk.scheduler.has_work_here


def test_a_work_folder_whose_removal_hangs_keeps_no_other_clip_from_its_result(open_desk):
    desk = open_desk(inboxes=("bay", "other"))
    held = desk.shop.hold("sweep")
    for number in range(12):
        desk.drop(f"clip{number}")
        desk.turns(12, 5.0)
    assert [desk.state(f"clip{number}") for number in range(12)] == [S.DELIVERED] * 12
    desk.release(held)


def test_clips_that_are_slow_to_make_ready_keep_no_result_from_its_outbox(desk):
    fetch = desk.shop.hold(Stage.FETCH)
    desk.drop("clip0")
    desk.turns(8, 5.0)
    held = desk.shop.hold(Stage.PREPARE)
    for number in range(1, 7):
        desk.drop(f"clip{number}")
    desk.turns(2)
    del desk.shop.held[Stage.FETCH]
    desk.release(fetch)
    desk.turns(3)
    assert desk.state("clip0") is S.DELIVERED
    desk.release(held)
