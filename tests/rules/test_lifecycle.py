"""Which event leads where, and what it leaves behind."""

import ast
from dataclasses import replace
from itertools import product
from typing import get_args

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from clipspool.jobs.events import (
    Again,
    AnswerLost,
    Approved,
    Attached,
    BalanceSeen,
    CancelAsked,
    Cancelled,
    Changed,
    Chosen,
    Connected,
    Delivered,
    DuplicateFound,
    Event,
    Failed,
    FellBack,
    Fetched,
    InDoubt,
    Interrupted,
    JobHeld,
    Joined,
    NotCharged,
    NotSent,
    NotSubmitted,
    PartGone,
    PartlyFetched,
    PartsEvent,
    PartsFetched,
    PartsSeen,
    Postponed,
    Prepared,
    ResultGone,
    Retried,
    Reused,
    Split,
    StageFailed,
    TakenOver,
    TaskCancelled,
    TaskCreated,
    TaskMissing,
    TaskSeen,
    TaskSucceeded,
    Unchosen,
    Vetted,
)
from clipspool.jobs.faults import Fault, FaultOf
from clipspool.jobs.lifecycle import TABLE, IllegalTransition, Stage, advance, may, stage_of, targets
from clipspool.jobs.model import Error, Held, Missing, Paid, Part, Reuse, State
from clipspool.jobs.pacing import NEVER
from clipspool.jobs.permissions import may_attach, may_retry
from fakes import BUSY, NO_CREDITS, NOON, PACE, PROFILE, RESULT, a_job, a_task
from repository import PACKAGE, parsed

S = State
ERROR = Error("SAFETY.INPUT.TEXT", "the prompt was moderated", "Change the prompt.")
RESUBMITS = replace(PACE, resubmits_max=1)
REUSE = Reuse("clip0", "bay", (replace(RESULT, name="shot.mp4"),))
PARTS = (Part(1, 2, 0, 120, 0, "24/1"), Part(2, 2, 108, 120, 12, "24/1"))
EXAMPLES = {
    Prepared: Prepared("ab" * 32, 9, 1, 15.0),
    DuplicateFound: DuplicateFound(REUSE),
    Reused: Reused((RESULT,), "clip0"),
    Changed: Changed(),
    Vetted: Vetted(0.1, "fine"),
    FellBack: FellBack("aleph2", "gen4_aleph"),
    Postponed: Postponed("the daemon stops", 4.0),
    Connected: Connected(PROFILE),
    NotSubmitted: NotSubmitted(BUSY),
    InDoubt: InDoubt(1, PROFILE),
    AnswerLost: AnswerLost("no answer came", {"bytes_written": 9}),
    Interrupted: Interrupted(),
    NotSent: NotSent(),
    TaskCreated: TaskCreated("task-1", 15.0),
    TaskSeen: TaskSeen("RUNNING", rendering=True, progress=0.5),
    TaskMissing: TaskMissing("task_not_exist"),
    StageFailed: StageFailed("NETWORK.TIMEOUT", "no answer"),
    TaskSucceeded: TaskSucceeded(15.0),
    TaskCancelled: TaskCancelled("CANCELLED"),
    Failed: Failed(ERROR),
    Fetched: Fetched((RESULT,)),
    PartlyFetched: PartlyFetched((RESULT,), "1 of 2 outputs are here", (Missing(2, "HTTP 404"),)),
    ResultGone: ResultGone("clip1-1.mp4"),
    Delivered: Delivered((replace(RESULT, name="shot.mp4"),)),
    JobHeld: JobHeld(Held.BUDGET, "too dear"),
    NotCharged: NotCharged("the account was not charged"),
    BalanceSeen: BalanceSeen(None, {"at": "2027-01-15", "amount": 985.0, "unit": "credits"}, 0),
    Cancelled: Cancelled("ann"),
    TakenOver: TakenOver("j2", "edit-2"),
    CancelAsked: CancelAsked("ann"),
    Retried: Retried("ann"),
    Attached: Attached("ann", "task-9", PROFILE),
    Again: Again("ann", "clip1", 2),
    Chosen: Chosen("ann", ("_chosen/shot.mp4",)),
    Unchosen: Unchosen("ann"),
    Approved: Approved("ann"),
    Split: Split(PARTS),
    PartsSeen: PartsSeen("1 of 2 parts is here", 0.5, Paid.UNKNOWN),
    PartsFetched: PartsFetched((replace(RESULT, part=1), replace(RESULT, part=2)), PARTS, Paid.YES),
    PartGone: PartGone(2, RESULT.file),
    Joined: Joined(),
}
NOT_CONFIRMED = Cancelled("ann", "cancelled by ann, but not at the provider", may_go_on=True)
# Written out a second time, from the user's page: whoever changes the table has to mean it.
LEGAL = {
    State.QUEUED: {
        **dict.fromkeys(
            [Prepared, Changed, Vetted, FellBack, Postponed, StageFailed, JobHeld, Approved, DuplicateFound],
            State.QUEUED,
        ),
        Reused: State.FETCHED,
        **dict.fromkeys([Again, NotSubmitted, CancelAsked], State.QUEUED),
        Connected: State.SUBMITTING,
        Split: State.RUNNING,
        InDoubt: State.IN_DOUBT,
        Failed: State.FAILED,
        Cancelled: State.CANCELLED,
        TakenOver: State.CANCELLED,
    },
    State.SUBMITTING: {
        TaskCreated: State.RUNNING,
        NotSubmitted: State.QUEUED,
        Failed: State.FAILED,
        AnswerLost: State.IN_DOUBT,
        Interrupted: State.IN_DOUBT,
        InDoubt: State.IN_DOUBT,
        NotSent: State.QUEUED,
        CancelAsked: State.SUBMITTING,
        TakenOver: State.CANCELLED,
    },
    State.IN_DOUBT: {
        NotCharged: State.QUEUED,
        BalanceSeen: State.IN_DOUBT,
        TaskCreated: State.RUNNING,
        Attached: State.RUNNING,
        Retried: State.QUEUED,
        Cancelled: State.CANCELLED,
        TakenOver: State.CANCELLED,
    },
    State.RUNNING: {
        **dict.fromkeys(
            [TaskSeen, TaskMissing, StageFailed, Postponed, CancelAsked, Attached], State.RUNNING
        ),
        TaskSucceeded: State.RENDERED,
        PartsSeen: State.RUNNING,
        PartsFetched: State.RENDERED,
        Failed: State.FAILED,
        TaskCancelled: State.CANCELLED,
        Cancelled: State.CANCELLED,
        TakenOver: State.CANCELLED,
        Retried: State.QUEUED,
    },
    State.RENDERED: {
        **dict.fromkeys([StageFailed, Postponed, CancelAsked, JobHeld, Approved], State.RENDERED),
        Fetched: State.FETCHED,
        PartlyFetched: State.RENDERED,
        PartGone: State.RUNNING,
        Failed: State.FAILED,
        Cancelled: State.CANCELLED,
        TakenOver: State.CANCELLED,
        Retried: State.QUEUED,
    },
    State.FETCHED: {
        Retried: State.QUEUED,
        **dict.fromkeys([StageFailed, Postponed, CancelAsked, JobHeld, Approved], State.FETCHED),
        Delivered: State.DELIVERED,
        Joined: State.DELIVERED,
        ResultGone: State.RENDERED,
        Cancelled: State.CANCELLED,
        TakenOver: State.CANCELLED,
    },
    State.DELIVERED: {Chosen: State.DELIVERED, Unchosen: State.DELIVERED},
    State.FAILED: {Retried: State.QUEUED, Attached: State.RUNNING},
    State.CANCELLED: {Retried: State.QUEUED, Attached: State.RUNNING},
}
_INTENT = a_task(task_id=None, created_at=None)


def in_state(state, **changes):
    """Return a job as it is when it has come to a state in the plain way."""
    task = {
        State.QUEUED: None,
        State.SUBMITTING: _INTENT,
        State.IN_DOUBT: replace(_INTENT, evidence={"message": "no answer came"}),
    }.get(state, a_task())
    paid = {State.QUEUED: Paid.NO, State.SUBMITTING: Paid.NO, State.IN_DOUBT: Paid.UNKNOWN}
    more = {
        State.IN_DOUBT: {"held": Held.IN_DOUBT, "doubts": 1},
        State.FETCHED: {"results": (RESULT,)},
        State.DELIVERED: {"results": (replace(RESULT, name="shot.mp4"),)},
        State.FAILED: {"error": ERROR},
        State.CANCELLED: {"error": Error("CANCELLED", "cancelled by ann"), "cancel_by": "ann"},
    }.get(state, {})
    job = a_job(state=state, task=task, paid=paid.get(state, Paid.YES), prepared=True, **more)
    return replace(job, **changes)


def after(job, *events, now=NOON, pace=PACE):
    for event in events:
        job = advance(job, event, now, pace)
    return job


# --- the table ------------------------------------------------------------------------------------------


def test_every_event_has_its_example_here():
    assert set(EXAMPLES) == set(get_args(Event))


@pytest.mark.parametrize("state", State)
def test_an_event_leads_where_the_table_says_or_is_a_bug(state):
    job = in_state(state)
    for kind, event in EXAMPLES.items():
        goes_to = LEGAL[state].get(kind)
        assert may(job, kind) == (goes_to is not None), kind
        if goes_to is None:
            with pytest.raises(IllegalTransition, match=f"{kind.__name__} cannot happen to job clip1"):
                after(job, event)
        else:
            assert after(job, event).state is goes_to, kind


def of_every_past(state):
    """Return jobs in a state that differ in what they went through before."""
    pasts = product([None, REUSE], [0, 1], [False, True], [(), PARTS])
    jobs = []
    for reuse, doubts, succeeded, parts in pasts:
        job = in_state(state, reuse=reuse, doubts=doubts, parts=parts)
        jobs.append(replace(job, task=job.task and replace(job.task, succeeded=succeeded)))
    if state is S.CANCELLED:
        jobs.append(after(in_state(S.RUNNING), NOT_CONFIRMED))
    return jobs


@pytest.mark.parametrize("state", State)
def test_every_event_in_every_state_leads_only_where_the_table_says_whatever_the_job_went_through(state):
    for kind, event in EXAMPLES.items():
        ways, reached = set(targets(state, kind)), set()
        for job, pace in product(of_every_past(state), [PACE, RESUBMITS]):
            if ways:
                reached.add(after(job, event, pace=pace).state)
            else:
                with pytest.raises(IllegalTransition):
                    after(job, event, pace=pace)
        assert reached == ways, kind


def test_every_state_has_a_row_and_only_a_person_leads_out_of_an_end():
    assert set(TABLE) == set(State)
    assert set(TABLE[S.DELIVERED].values()) == {S.DELIVERED}
    orders = {Retried, Attached, Chosen, Unchosen}
    assert all(set(TABLE[state]) <= orders for state in State if state.is_terminal)


def test_no_other_module_gives_a_job_another_state():
    """Only `lifecycle` names a state for a job; the journal reads back the one it recorded."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(parsed(path)):
            match node:
                case ast.Call(
                    func=ast.Name(id="Job" | "replace") | ast.Attribute(attr="replace" | "__replace__")
                ):
                    if any(one.arg == "state" for one in node.keywords):
                        found.add(str(path.relative_to(PACKAGE)))
                case ast.Attribute(attr="__setattr__", value=ast.Name(id="object")):
                    found.add(str(path.relative_to(PACKAGE)))
    assert found == {"jobs/lifecycle.py", "journal/rows.py"}


def test_the_only_way_to_spend_is_a_connection():
    ways = {(state, event) for state, row in LEGAL.items() for event, to in row.items() if to is S.SUBMITTING}
    assert ways - {(S.SUBMITTING, CancelAsked)} == {(S.QUEUED, Connected)}


def test_only_a_person_leads_out_of_doubt_or_the_answer_or_a_balance_that_proves_that_nothing_was_paid():
    assert {event for event, to in LEGAL[S.IN_DOUBT].items() if to is not S.IN_DOUBT} == {
        TaskCreated,
        NotCharged,
        Attached,
        Retried,
        Cancelled,
        TakenOver,
    }
    assert stage_of(in_state(S.IN_DOUBT)) is None


@pytest.mark.parametrize(
    ("job", "stage"),
    [
        (in_state(S.QUEUED, prepared=False), Stage.PREPARE),
        (in_state(S.QUEUED), Stage.SUBMIT),
        (in_state(S.QUEUED, held=Held.BUDGET), None),
        (in_state(S.SUBMITTING), None),
        (in_state(S.RUNNING), Stage.POLL),
        (in_state(S.RUNNING, held=Held.LOST), Stage.POLL),
        (in_state(S.RUNNING, cancel_by="ann"), Stage.TELL_CANCEL),
        (in_state(S.RENDERED), Stage.FETCH),
        (in_state(S.FETCHED), Stage.DELIVER),
        (in_state(S.DELIVERED), None),
        (in_state(S.FAILED), None),
        (in_state(S.CANCELLED), None),
        (in_state(S.RUNNING, parts=PARTS), None),
        (in_state(S.RUNNING, parts=PARTS, cancel_by="ann"), None),
        (in_state(S.RENDERED, parts=PARTS), Stage.FETCH),
        (in_state(S.FETCHED, parts=PARTS), Stage.DELIVER),
        (in_state(S.RUNNING, part=2, parts=PARTS[1:]), Stage.POLL),
        (in_state(S.FETCHED, part=2, parts=PARTS[1:]), None),
    ],
)
def test_each_state_has_its_stage(job, stage):
    assert stage_of(job) is stage


def test_a_result_that_was_taken_over_costs_nothing_and_is_brought_again_when_it_is_gone():
    job = after(in_state(S.QUEUED), DuplicateFound(REUSE))
    assert (stage_of(job), job.reuse) == (Stage.PREPARE, REUSE)
    job = after(job, Reused((RESULT,), "clip0"))
    assert (stage_of(job), job.paid, job.task) == (Stage.DELIVER, Paid.NO, None)
    gone = after(job, ResultGone(RESULT.file))
    assert (gone.state, stage_of(gone), gone.reuse) == (S.QUEUED, Stage.PREPARE, REUSE)


def test_a_duplicate_that_is_approved_or_cannot_be_reused_asks_for_its_own_task():
    job = after(in_state(S.QUEUED), DuplicateFound(REUSE), JobHeld(Held.DUPLICATE, "its result is gone"))
    assert (stage_of(job), job.reuse) == (None, None)
    job = after(job, Approved("ann"))
    assert (stage_of(job), job.approved) == (Stage.PREPARE, True)


# --- the parts of a long clip ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("job", "event"),
    [
        (in_state(S.QUEUED), Split(PARTS)),
        (in_state(S.RUNNING, parts=PARTS), CancelAsked("ann")),
        (in_state(S.RENDERED, part=1, parts=PARTS[:1]), Fetched((RESULT,))),
        (in_state(S.FETCHED, part=1, parts=PARTS[:1], held=Held.RESULT), Approved("ann")),
    ],
)
def test_only_its_parts_move_a_split_job_on_and_only_the_whole_a_part_that_is_fetched(job, event):
    moved = after(job, event)
    assert (moved.due_at, stage_of(moved)) == (NEVER, None)


def test_results_that_could_not_be_joined_are_joined_again_and_nothing_is_paid():
    films = (replace(RESULT, part=1), replace(RESULT, part=2))
    held = in_state(S.FETCHED, parts=PARTS, results=films, held=Held.RESULT)
    joined = after(held, Retried("ann"))
    assert (joined.state, joined.results, stage_of(joined)) == (S.RENDERED, films, Stage.FETCH)


# --- the plain way --------------------------------------------------------------------------------------


def test_a_job_from_an_older_journal_that_is_approved_is_sent_within_its_limits_and_reuses_what_it_may():
    reuse = Reuse("clip0", "bay", (RESULT,))
    held = after(in_state(S.QUEUED, reuse=reuse), JobHeld(Held.FROM_BACKUP, "older"))
    assert stage_of(held) is None
    approved = after(held, Approved("ann"))
    assert (approved.held, approved.approved, approved.reuse) == (None, False, reuse)


@pytest.mark.parametrize(
    "event",
    [
        StageFailed("DISK", "it cannot be read", held=Held.DISK),
        StageFailed("UPLOAD", "no answer came"),
        Postponed("the daemon stops", 0.0),
        EXAMPLES[Prepared],
        EXAMPLES[Changed],
        EXAMPLES[FellBack],
        EXAMPLES[Vetted],
    ],
)
def test_a_job_that_is_held_while_a_worker_has_it_stays_held_whatever_the_worker_reports(event):
    """Let go it would be sent, though an older journal does not know what was paid for."""
    held = after(in_state(S.QUEUED), JobHeld(Held.FROM_BACKUP, "older"))
    moved = after(held, event)
    assert (moved.held, moved.reason, stage_of(moved)) == (Held.FROM_BACKUP, "older", None)


@pytest.mark.parametrize("other", [Held.DUPLICATE, Held.VETO, Held.POISON, Held.BUDGET])
def test_no_other_hold_takes_the_place_of_the_one_for_an_older_journal(other):
    """To approve a duplicate is no consent to pay for what may have been sent since."""
    held = after(in_state(S.QUEUED), JobHeld(Held.FROM_BACKUP, "older"), JobHeld(other, "besides"))
    assert (held.held, held.reason) == (Held.FROM_BACKUP, "besides; older")
    assert after(held, Approved("ann")).approved is False


def test_a_clip_goes_from_the_queue_to_the_outbox():
    job = after(a_job(), EXAMPLES[Prepared])
    assert (job.state, job.prepared, job.credits_estimated) == (S.QUEUED, True, 15.0)
    job = after(job, Connected(PROFILE), now=NOON + 1)
    assert (job.task.number, job.task.intent_at, job.task.task_id, job.paid) == (1, NOON + 1, None, Paid.NO)
    job = after(job, TaskCreated("task-1", 15.0), now=NOON + 2)
    assert (job.task.task_id, job.task.created_at, job.task.credits) == ("task-1", NOON + 2, 15.0)
    assert (job.paid, job.due_at) == (Paid.UNKNOWN, NOON + 2 + 5.0)
    job = after(job, TaskSeen("RUNNING", rendering=True, progress=0.25), now=NOON + 7)
    assert (job.progress, job.reason) == (0.25, "the provider says RUNNING")
    job = after(job, TaskSucceeded(14.0), now=NOON + 60)
    assert (job.task.succeeded, job.task.credits, job.progress, job.due_at) == (True, 14.0, 1.0, NOON + 60)
    job = after(job, Fetched((RESULT,)), Delivered((replace(RESULT, name="shot.mp4"),)), now=NOON + 61)
    assert (job.results[0].name, job.error, job.held, job.updated_at) == ("shot.mp4", None, None, NOON + 61)


def test_a_new_state_begins_without_old_faults():
    job = in_state(S.RUNNING, attempts=7, held=Held.LOST, reason="the provider does not know the task")
    done = after(job, TaskSucceeded())
    assert (done.attempts, done.held, done.reason, done.due_at) == (0, None, "", NOON)


def test_a_clip_that_still_changes_has_to_settle_and_be_read_again():
    job = after(in_state(S.QUEUED), Changed())
    assert (job.prepared, job.due_at, job.reason) == (False, NOON + 3.0, "the clip is still being written")


def test_what_is_nobodys_fault_costs_no_attempt():
    job = after(in_state(S.RENDERED, attempts=2), Postponed("the daemon stops", 4.0))
    assert (job.attempts, job.due_at, job.reason) == (2, NOON + 4.0, "the daemon stops")


# --- paying ---------------------------------------------------------------------------------------------


def test_a_submission_that_surely_failed_keeps_its_place_and_costs_nothing():
    job = after(in_state(S.SUBMITTING), NotSubmitted(BUSY))
    assert (job.state, job.due_at, job.attempts, job.reason) == (S.QUEUED, NOON, 1, "Too many requests")
    assert job.paid is Paid.NO


def test_a_clip_that_cannot_be_sent_for_a_reason_of_its_own_waits_by_itself():
    own = Fault(FaultOf.CLIP, "WORK.UNWRITABLE", "the work folder takes no notes")
    job = after(in_state(S.SUBMITTING), NotSubmitted(own))
    assert job.due_at > NOON


def test_a_lost_answer_may_have_been_paid_and_waits_for_a_person():
    job = after(in_state(S.SUBMITTING), AnswerLost("no answer came", {"bytes_written": 9}))
    assert (job.state, job.held, job.paid, job.doubts) == (S.IN_DOUBT, Held.IN_DOUBT, Paid.UNKNOWN, 1)
    assert job.task.evidence == {"bytes_written": 9, "message": "no answer came"}


def test_by_setting_a_lost_answer_is_sent_again_once():
    first = after(in_state(S.SUBMITTING), EXAMPLES[AnswerLost], pace=RESUBMITS)
    assert (first.state, first.held, first.paid, first.doubts) == (S.QUEUED, None, Paid.UNKNOWN, 1)
    assert first.due_at > NOON
    second = after(first, Connected(PROFILE), EXAMPLES[AnswerLost], pace=RESUBMITS)
    assert (second.state, second.task.number, second.doubts) == (S.IN_DOUBT, 2, 2)


def test_a_balance_that_proves_one_request_free_says_nothing_of_an_earlier_one_in_doubt():
    first = after(in_state(S.SUBMITTING), EXAMPLES[AnswerLost], pace=RESUBMITS)
    second = after(first, Connected(PROFILE), EXAMPLES[AnswerLost], pace=RESUBMITS)
    job = after(second, NotCharged("the account was not charged"))
    assert (job.state, job.paid, job.doubts) == (S.QUEUED, Paid.UNKNOWN, 1)
    only = after(in_state(S.SUBMITTING), EXAMPLES[AnswerLost], NotCharged("the account was not charged"))
    assert (only.paid, only.doubts, only.task.credits) == (Paid.NO, 0, 0.0)


def test_a_crash_never_leads_to_a_second_submission_whatever_the_setting():
    job = after(in_state(S.SUBMITTING), Interrupted(), pace=RESUBMITS)
    assert (job.state, job.held, job.paid) == (S.IN_DOUBT, Held.IN_DOUBT, Paid.UNKNOWN)


def test_a_crash_before_a_byte_left_costs_nothing_and_is_nobodys_fault():
    job = after(in_state(S.SUBMITTING), NotSent())
    assert (job.state, job.held, job.paid, job.doubts, job.attempts) == (S.QUEUED, None, Paid.NO, 0, 0)
    assert job.due_at == NOON
    assert after(job, Connected(PROFILE)).task.number == 2


def test_a_lost_answer_is_not_sent_again_when_its_end_was_asked_for():
    job = after(in_state(S.SUBMITTING), CancelAsked("ann"), EXAMPLES[AnswerLost], pace=RESUBMITS)
    assert job.state is S.IN_DOUBT


def test_what_was_paid_once_stays_paid_whatever_comes_after():
    job = after(in_state(S.RUNNING), Failed(ERROR), Retried("ann"), Connected(PROFILE), NotSubmitted(BUSY))
    assert (job.paid, job.task.number) == (Paid.YES, 2)
    lost = after(job, Connected(PROFILE), EXAMPLES[AnswerLost])
    assert (lost.paid, lost.task.number) == (Paid.YES, 3)


def test_a_failure_says_whether_it_was_paid():
    assert after(in_state(S.QUEUED), Failed(ERROR)).error.paid is Paid.NO
    assert after(in_state(S.SUBMITTING), Failed(ERROR)).error.paid is Paid.NO
    made = in_state(S.RUNNING, paid=Paid.UNKNOWN)
    failed = after(made, Failed(ERROR, 3.0, 3.0, is_of_task=True))
    assert (failed.error.paid, failed.task.credits, failed.error.code) == (Paid.YES, 3.0, ERROR.code)
    free = after(made, Failed(ERROR, 0.0, 0.0, is_of_task=True))
    assert (free.error.paid, free.task.credits) == (Paid.NO, 0.0)
    assert after(in_state(S.IN_DOUBT), Cancelled("ann")).error.paid is Paid.UNKNOWN


@pytest.mark.parametrize(
    "event", [Failed(ERROR, is_of_task=True), TaskCancelled("CANCELLED"), Cancelled("ann")]
)
def test_an_ended_task_of_which_nobody_says_what_it_cost_leaves_it_unknown(event):
    made = after(in_state(S.SUBMITTING), TaskCreated("task-1", 15.0))
    assert made.paid is Paid.UNKNOWN
    ended = after(made, event)
    assert (ended.paid, ended.error.paid) == (Paid.UNKNOWN, Paid.UNKNOWN)
    if not isinstance(event, Cancelled):
        assert ended.task.credits is None, "an estimate is no charge"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"part": 2}, "run and pay for this part alone: `clipspool retry clip1`."),
        ({"id": "clip1-r2"}, "run this version again: `clipspool retry clip1-r2`."),
        ({"id": "clip1-v2", "variant": "_v2"}, "run only this variant again: `clipspool retry clip1-v2`."),
        ({"paid": Paid.NO}, "move the clip and its sidecar from `_failed` back into the inbox."),
        ({"paid": Paid.UNKNOWN}, "It may have been charged already, and would be charged again."),
        ({"paid": Paid.YES}, "It was charged. To pay for it again, write `again = true` into its sidecar"),
    ],
)
def test_a_failed_job_says_how_it_is_run_again_and_whether_that_is_paid_for(changes, words):
    failed = after(in_state(S.QUEUED, **changes), Failed(ERROR))
    assert words in failed.error.what_to_do
    assert ("inbox" in failed.error.what_to_do) == ("paid" in changes)


def test_a_part_whose_clip_is_at_fault_offers_no_retry_that_would_fail_again():
    changed = Error("CLIP.CHANGED", "it changed", "Cancel the job, and drop the clip again.")
    failed = after(in_state(S.QUEUED, part=2, parts=PARTS[1:]), Failed(changed))
    assert failed.error.what_to_do == "Cancel the job, and drop the clip again."


def test_a_finished_task_is_paid_for_and_what_was_paid_before_stays_so():
    made = in_state(S.RUNNING, paid=Paid.UNKNOWN)
    assert after(made, TaskSucceeded(15.0, 15.0)).paid is Paid.YES
    assert after(made, TaskSucceeded()).paid is Paid.YES
    assert after(made, Failed(ERROR, 0.0, 0.5, is_of_task=True)).paid is Paid.YES, "half a credit is a charge"
    second = in_state(S.RUNNING, paid=Paid.YES, task=a_task(2))
    assert after(second, Failed(ERROR, 0.0, 0.0, is_of_task=True)).paid is Paid.YES
    doubted = in_state(S.RUNNING, paid=Paid.UNKNOWN, doubts=1)
    assert after(doubted, TaskCancelled("CANCELLED", 0.0)).paid is Paid.UNKNOWN


@pytest.mark.parametrize("event", [TaskCreated("task-1"), AnswerLost("no answer", {})])
def test_a_task_or_a_lost_answer_without_an_intent_is_a_bug(event):
    with pytest.raises(IllegalTransition):
        after(in_state(S.SUBMITTING, task=None), event)


# --- following ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [S.RENDERED, S.FETCHED])
def test_who_lets_a_result_pass_that_is_here_approves_no_other_payment(state):
    passed = after(in_state(state, held=Held.RESULT), Approved("ann"))
    assert (passed.held, passed.approved) == (None, False)


def test_a_poll_that_failed_says_nothing_about_the_task():
    job = in_state(S.RUNNING)
    for _ in range(1000):
        job = after(job, StageFailed("NETWORK.TIMEOUT", "no answer"))
    assert (job.state, job.attempts, job.held) == (S.RUNNING, 1000, None)
    assert job.due_at <= NOON + 5.0 + 240.0


def test_a_task_about_which_the_provider_never_answers_is_told_of_and_still_asked_for():
    def failing(code, seconds):
        job = in_state(S.RUNNING)
        for _ in range(10):
            job = after(job, StageFailed(code, "HTTP 410: gone"), now=NOON + seconds)
        return job

    told = failing("HTTP.410", 3601)
    assert (told.held, told.reason, stage_of(told)) == (Held.OVERDUE, "HTTP 410: gone", Stage.POLL)
    assert after(told, EXAMPLES[TaskSeen]).held is None
    assert failing("PROVIDER.OTHER_TASK", 3601).held is Held.OVERDUE
    # Not while it may be young, nor for an outage, which is reported once for all tasks.
    for code, seconds in (("HTTP.410", 3599), ("HTTP.503", 3601), ("PROVIDER.BUSY", 3601)):
        assert failing(code, seconds).held is None


@pytest.mark.parametrize(
    ("state", "event"),
    [
        (S.RUNNING, StageFailed("PROVIDER.BUSY", "HTTP 429", 86_400.0)),
        (S.RENDERED, StageFailed("HTTP.503", "HTTP 503", 86_400.0)),
        (S.RENDERED, PartlyFetched((), "1 of 2 are here", retry_after_seconds=86_400.0)),
    ],
)
def test_a_result_that_is_paid_for_is_asked_for_within_two_hours(state, event):
    assert after(in_state(state), event).due_at <= NOON + 7200.0


def test_a_look_that_works_forgets_the_faults_before_it():
    job = after(in_state(S.RUNNING, attempts=9, held=Held.LOST), EXAMPLES[TaskSeen])
    assert (job.attempts, job.held, job.due_at) == (0, None, NOON + 5.0)


def test_progress_stays_when_the_provider_says_none():
    job = after(in_state(S.RUNNING, progress=0.5), TaskSeen("RUNNING", rendering=True))
    assert job.progress == 0.5


def test_time_in_the_providers_queue_is_not_rendering_time():
    job = in_state(S.RUNNING)
    for hour in range(24):
        job = after(job, TaskSeen("THROTTLED", rendering=False), now=NOON + hour * 3600)
    assert (job.held, job.rendering_since) == (None, None)
    begun = after(job, EXAMPLES[TaskSeen], now=NOON + 24 * 3600)
    assert (begun.held, begun.rendering_since) == (None, NOON + 24 * 3600)
    back = after(begun, TaskSeen("THROTTLED", rendering=False), now=NOON + 24 * 3600 + 3599)
    assert back.rendering_since is None


def test_a_task_that_renders_too_long_is_told_of_and_still_followed():
    job = after(in_state(S.RUNNING), EXAMPLES[TaskSeen])
    on_time = after(job, EXAMPLES[TaskSeen], now=NOON + 3600)
    assert on_time.held is None
    late = after(on_time, EXAMPLES[TaskSeen], now=NOON + 3601)
    assert (late.state, late.held, late.due_at) == (S.RUNNING, Held.OVERDUE, NOON + 3601 + 300)
    assert stage_of(late) is Stage.POLL
    assert after(late, TaskSucceeded()).state is S.RENDERED


def test_a_fresh_id_may_be_unknown_for_minutes_and_is_lost_only_then():
    patient = after(in_state(S.RUNNING), EXAMPLES[TaskMissing], now=NOON + 600)
    assert (patient.held, patient.state) == (None, S.RUNNING)
    lost = after(patient, EXAMPLES[TaskMissing], now=NOON + 601)
    assert (lost.held, lost.state, lost.due_at) == (Held.LOST, S.RUNNING, NOON + 601 + 300)
    assert after(lost, StageFailed("NETWORK", "no answer")).held is Held.LOST
    assert after(lost, EXAMPLES[TaskSeen]).held is None


def test_a_fault_of_a_stage_holds_back_only_itself_and_ever_longer():
    for held, longest in ((Held.OUTBOX, 30.0), (Held.RESULT, 300.0)):
        job, pauses = in_state(S.FETCHED), []
        for _ in range(20):
            job = after(job, StageFailed("DISK", "No space left on device", held=held))
            pauses.append(job.due_at - NOON)
        assert (job.attempts, job.held, job.reason) == (20, held, "No space left on device")
        assert pauses == sorted(pauses)
        assert pauses[-1] == longest


def test_a_fault_in_the_queue_holds_no_job_for_a_person():
    job = after(in_state(S.QUEUED), StageFailed("X", "not now", held=Held.RESULT))
    assert (job.held, stage_of(job)) == (None, Stage.SUBMIT)


@pytest.mark.parametrize("held", [Held.OUTBOX, Held.DISK])
def test_a_queued_job_that_a_disk_holds_is_still_tried_and_let_go_by_itself(held):
    queued = in_state(S.QUEUED, prepared=True)
    job = after(queued, StageFailed("OUTBOX.FULL", "no room", held=held))
    assert (job.held, job.reason, stage_of(job)) == (held, "no room", Stage.SUBMIT)
    assert job.due_at > job.updated_at
    assert after(job, StageFailed("X", "another fault")).held is None
    approved = after(job, Approved("ann"))
    assert (approved.held, approved.approved) == (None, False)
    sent = after(job, Connected("profile"))
    assert (sent.state, sent.held) == (S.SUBMITTING, None)


def test_a_result_that_is_gone_is_fetched_again():
    job = after(in_state(S.FETCHED), ResultGone("clip1-1.mp4"))
    assert (job.state, job.results, stage_of(job)) == (S.RENDERED, (), Stage.FETCH)


# --- the operator ---------------------------------------------------------------------------------------


def test_an_approved_job_goes_at_once_and_is_not_asked_about_again():
    job = after(in_state(S.QUEUED, due_at=NOON + 99), JobHeld(Held.BUDGET, "too dear"), Approved("ann"))
    assert (job.held, job.reason, job.approved, job.due_at) == (None, "", True, NOON)


def test_a_retry_begins_with_reading_the_clip_and_consents_to_its_price():
    failed = in_state(S.FAILED, attempts=3, progress=0.5, rendering_since=NOON, cancel_by="ann")
    job = after(failed, Retried("ann"))
    assert stage_of(job) is Stage.PREPARE
    assert (job.approved, job.error, job.attempts, job.progress, job.cancel_by) == (True, None, 0, None, "")
    assert after(job, EXAMPLES[Prepared], Connected(PROFILE)).task.number == 2


def test_a_cancelled_job_whose_result_is_paid_for_is_fetched_instead_of_paid_again():
    rendered = after(in_state(S.RUNNING), TaskSucceeded(), Cancelled("ann"))
    job = after(rendered, Retried("ann"))
    assert (job.state, job.task.task_id, job.results) == (S.RENDERED, "task-1", ())
    free = "Its task has succeeded: `clipspool retry clip1` fetches the result, at no further cost."
    assert rendered.error.what_to_do.startswith(f"{free} It was charged. To pay for it again, write")
    variant = after(in_state(S.RUNNING, variant="_v2"), TaskSucceeded(), Cancelled("ann"))
    assert variant.error.what_to_do == free, "the same order does not pay"


def test_a_cancelled_job_whose_task_may_go_on_is_followed_instead_of_paid_again():
    cancelled = after(in_state(S.RUNNING, paid=Paid.UNKNOWN), CancelAsked("ann"), NOT_CONFIRMED)
    assert cancelled.error.code == "CANCELLED.NOT_AT_PROVIDER"
    assert "`clipspool retry clip1` follows it" in cancelled.error.what_to_do
    assert "charged again" in cancelled.error.what_to_do, "who moves the clip back pays for a second task"
    job = after(cancelled, Retried("ann"))
    assert (job.state, stage_of(job), job.task.task_id) == (S.RUNNING, Stage.POLL, "task-1")
    assert (job.error, job.cancel_by) == (None, "")
    assert after(job, TaskSucceeded()).state is S.RENDERED
    lost = after(job, TaskMissing("task_not_exist"), now=NOON + PACE.missing_seconds_max + 1)
    assert after(lost, Retried("ann"), Cancelled("ann"), Retried("ann")).state is S.QUEUED


@pytest.mark.parametrize("which", [{"variant": "_v2"}, {"part": 2, "parts": PARTS[1:]}])
def test_whose_order_follows_the_task_is_not_told_to_pay_by_the_same_order(which):
    what_to_do = after(in_state(S.RUNNING, **which), NOT_CONFIRMED).error.what_to_do
    assert what_to_do == "Its task may go on: `clipspool retry clip1` follows it, at no further cost."


def test_a_failed_render_is_paid_again_when_it_is_retried():
    assert after(in_state(S.RUNNING), Failed(ERROR), Retried("ann")).state is S.QUEUED
    assert after(in_state(S.RUNNING), Cancelled("ann"), Retried("ann")).state is S.QUEUED


def test_the_operator_attaches_the_task_that_was_found():
    job = after(in_state(S.IN_DOUBT), Attached("ann", "task-9", PROFILE), now=NOON + 50)
    assert (job.state, job.held, job.paid, job.due_at) == (S.RUNNING, None, Paid.UNKNOWN, NOON + 50)
    assert (job.task.task_id, job.task.number, job.task.intent_at) == ("task-9", 1, NOON)


def test_a_task_that_is_found_after_its_job_ended_in_doubt_is_attached():
    cancelled = after(in_state(S.IN_DOUBT), Cancelled("ann"))
    assert "`clipspool attach clip1 TASK_ID` brings its result. To run it" in cancelled.error.what_to_do
    refused = after(in_state(S.IN_DOUBT), Retried("ann"), Failed(ERROR))
    for ended in (cancelled, refused):
        job = after(ended, Attached("ann", "task-9", PROFILE), now=NOON + 50)
        assert (job.state, stage_of(job), job.task.task_id) == (S.RUNNING, Stage.POLL, "task-9")
        assert (job.error, job.cancel_by, job.paid, job.due_at) == (None, "", Paid.UNKNOWN, NOON + 50)
    for plain in (in_state(S.QUEUED), in_state(S.RUNNING)):
        assert "attach" not in after(plain, Cancelled("ann")).error.what_to_do
    part = after(in_state(S.IN_DOUBT, part=2, parts=PARTS[1:]), Cancelled("ann"))
    assert "attach" not in part.error.what_to_do, "its whole job may have ended, too"


def test_a_task_that_was_attached_unseen_waits_for_a_person_until_the_provider_shows_it():
    job = after(in_state(S.IN_DOUBT), Attached("ann", "123", PROFILE, is_seen=False), now=NOON + 50)
    assert (job.state, job.held, stage_of(job), job.due_at) == (S.RUNNING, Held.LOST, Stage.POLL, NOON + 50)
    assert "123" in job.reason
    missing = after(job, TaskMissing("task_not_exist"), now=NOON + 51)
    assert (missing.held, missing.reason) == (Held.LOST, job.reason)
    assert missing.due_at < NOON + 120, "it may be fresh: it is looked at as often as any other"
    seen = after(missing, TaskSeen("RUNNING", rendering=True), now=NOON + 60)
    assert seen.held is None


def test_a_task_is_told_to_stop_at_once():
    job = after(in_state(S.RUNNING, due_at=NOON + 30), CancelAsked("ann"), now=NOON + 1)
    assert (stage_of(job), job.due_at) == (Stage.TELL_CANCEL, NOON + 1)
    ended = after(job, Cancelled("ann", "the provider was told"))
    assert (ended.error.code, ended.error.message, ended.cancel_by) == (
        "CANCELLED",
        "the provider was told",
        "ann",
    )


def test_a_task_whose_end_was_asked_for_while_it_was_made_is_stopped_at_once():
    job = after(in_state(S.SUBMITTING), CancelAsked("ann"), TaskCreated("task-1"))
    assert (stage_of(job), job.due_at, job.paid) == (Stage.TELL_CANCEL, NOON, Paid.UNKNOWN)


def test_trouble_of_the_account_is_nobodys_failure():
    assert after(in_state(S.SUBMITTING), NotSubmitted(NO_CREDITS)).state is S.QUEUED


# --- any life -------------------------------------------------------------------------------------------

BY_THE_OPERATOR = {Approved, Attached, CancelAsked, Cancelled, Retried}
_RANK = {Paid.NO: 0, Paid.UNKNOWN: 1, Paid.YES: 2}


class AnyLife(RuleBasedStateMachine):
    """Whatever happens in whatever order, as long as it is legal."""

    def __init__(self):
        super().__init__()
        self.job = a_job()
        self.before = self.job
        self.now = NOON
        self.intents = 0
        self.event = None

    @rule(
        # Those of parts concern several jobs: `test_parts.py` has them.
        event=st.sampled_from([e for e in EXAMPLES.values() if not isinstance(e, get_args(PartsEvent))]),
        seconds=st.sampled_from([0.0, 1.0, 400.0, 4000.0]),
        random=st.sampled_from([0.0, 0.5, 0.999]),
        pace=st.sampled_from([PACE, RESUBMITS]),
    )
    def happens(self, event, seconds, random, pace):
        self.now += seconds
        self.before = self.job
        is_set_aside = self.job.state is S.QUEUED and stage_of(self.job) is None
        if not may(self.job, type(event)) or (is_set_aside and type(event) not in BY_THE_OPERATOR):
            return
        if isinstance(event, Reused) and self.job.reuse is None:
            return  # nothing was there to be taken over
        if isinstance(event, Attached) and self.job.state.is_terminal and not may_attach(self.job):
            return  # no order asks for it
        self.intents += isinstance(event, Connected)
        if isinstance(event, InDoubt):
            self.intents = max(self.intents, event.submissions)
        self.event = event
        self.job = advance(self.job, event, self.now, replace(pace, random=lambda: random))

    @precondition(lambda self: self.job.state is S.SUBMITTING)
    @rule()
    def is_created(self):
        self.event = TaskCreated("task-1")
        self.before, self.job = self.job, advance(self.job, self.event, self.now, PACE)

    @invariant()
    def a_task_is_there_only_with_an_intent(self):
        number = self.job.task.number if self.job.task else 0
        assert number == self.intents
        is_reused = self.job.reuse is not None and self.job.state in {S.FETCHED, S.DELIVERED}
        if is_reused:
            return
        if self.job.state in {S.SUBMITTING, S.IN_DOUBT, S.RUNNING, S.RENDERED, S.FETCHED, S.DELIVERED}:
            assert number > 0
        if self.job.state in {S.RUNNING, S.RENDERED, S.FETCHED, S.DELIVERED}:
            assert self.job.task.task_id is not None

    @invariant()
    def paid_never_goes_back(self):
        # Only a balance that is the same before and after takes a doubt back.
        is_proven = isinstance(self.event, NotCharged) and self.before.state is S.IN_DOUBT
        assert is_proven or _RANK[self.job.paid] >= _RANK[self.before.paid]
        if self.job.task is not None and self.job.task.task_id is not None:
            assert self.job.paid is not Paid.NO
        if self.job.state in {S.RENDERED, S.DELIVERED} and self.job.reuse is None:
            assert self.job.paid is Paid.YES
        if self.job.state is S.IN_DOUBT:
            assert self.job.paid is not Paid.NO

    @invariant()
    def an_end_says_why_or_has_results(self):
        if self.job.state in {S.FAILED, S.CANCELLED}:
            assert self.job.error is not None
            assert self.job.error.paid is self.job.paid
        else:
            assert self.job.error is None
        if self.job.state in {S.FETCHED, S.DELIVERED}:
            assert self.job.results
        if self.job.state.is_terminal:
            assert self.job.held is None

    @invariant()
    def who_waits_for_a_person_says_so(self):
        if self.job.state is S.IN_DOUBT:
            assert self.job.held is Held.IN_DOUBT
        if self.job.held is not None:
            assert self.job.reason

    @invariant()
    def an_open_job_has_a_stage_or_waits_for_an_answer_or_a_person(self):
        if not self.job.state.is_terminal and self.job.state is not S.SUBMITTING:
            assert stage_of(self.job) is not None or self.job.held is not None

    @invariant()
    def nothing_spins(self):
        if self.job.attempts > self.before.attempts and self.job.state is not S.QUEUED:
            assert self.job.due_at > self.now


AnyLife.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestAnyLife = AnyLife.TestCase


# --- another machine has the clip -----------------------------------------------------------------------


@pytest.mark.parametrize("state", [S.QUEUED, S.IN_DOUBT, S.RUNNING, S.RENDERED, S.FETCHED])
def test_a_job_that_was_taken_over_says_by_whom_and_cannot_be_retried_here(state):
    job = after(in_state(state, cancel_by="ann"), TakenOver("j2", "edit-2"))
    assert job.error.code == "TAKEN_OVER"
    assert "edit-2 (journal j2)" in job.error.message
    assert job.error.paid is job.paid is in_state(state).paid
    assert (job.cancel_by, job.held) == ("", None)
    assert not may_retry(job)
    assert may_retry(after(in_state(state), Cancelled("ann")))


def test_a_request_that_was_on_its_way_when_its_clip_was_taken_over_may_be_paid():
    job = after(in_state(S.SUBMITTING), TakenOver("j2", was_on_its_way=True))
    assert (job.state, job.paid, job.error.paid) == (S.CANCELLED, Paid.UNKNOWN, Paid.UNKNOWN)


def test_a_task_that_was_heard_of_after_the_take_over_is_named():
    assert "task-1" in after(in_state(S.RUNNING), TakenOver("j2")).error.message
