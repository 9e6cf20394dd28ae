"""Which event leads from which state to which: one table, the only place where a job's state changes.

`effects` and `effects_paid` say what else an event changes of a job. None of them reads a clock, a file or a
setting: the scheduler passes time and pace, and records the result.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from clipspool.jobs import events as on
from clipspool.jobs.effects import apply
from clipspool.jobs.effects_paid import IllegalTransition, as_failed, has_result_at_provider
from clipspool.jobs.events import Event
from clipspool.jobs.model import STILL_TRIED, Error, Held, Job, Paid, Part, State, Task
from clipspool.jobs.nouns import replace
from clipspool.jobs.pacing import NEVER, Pace

S = State


@dataclass(frozen=True, slots=True)
class If:
    """A step that leads to `then` where a condition holds, and to `otherwise` in all other cases."""

    holds: Callable[[Job, Pace], bool]
    then: State
    otherwise: State | If


def _may_be_sent_again(job: Job, pace: Pace) -> bool:
    # A crash never leads to a second submission (`Interrupted`), whatever the setting says of lost answers.
    return job.doubts < pace.resubmits_max and not job.cancel_by


def _is_reused(job: Job, _: Pace) -> bool:
    return job.reuse is not None


def has_paid_result(job: Job, _: Pace | None = None) -> bool:
    """Whether it was cancelled after its task had succeeded: fetching that result costs nothing."""
    return job.error is not None and has_result_at_provider(job, job.error)


def has_task_to_follow(job: Job, _: Pace | None = None) -> bool:
    """Whether it was cancelled without the provider's word: its task may go on, and be charged."""
    return job.error is not None and job.error.code == on.NOT_AT_PROVIDER


def _is_split(job: Job, _: Pace) -> bool:
    return job.is_split


TABLE: dict[State, dict[type[Event], State | If]] = {
    S.QUEUED: {
        **dict.fromkeys(
            (on.Prepared, on.DuplicateFound, on.Changed, on.Vetted, on.FellBack, on.NotSubmitted), S.QUEUED
        ),
        **dict.fromkeys((on.Postponed, on.StageFailed, on.JobHeld, on.Approved, on.CancelAsked), S.QUEUED),
        on.Again: S.QUEUED,
        on.Reused: S.FETCHED,
        # The only way to spend: the connection is open, and this is on disk before the first byte is sent.
        on.Connected: S.SUBMITTING,
        # A long clip spends nothing itself: its parts do, each on its own way through this table.
        on.Split: S.RUNNING,
        on.InDoubt: S.IN_DOUBT,
        on.Failed: S.FAILED,
        on.Cancelled: S.CANCELLED,
        on.TakenOver: S.CANCELLED,
    },
    S.SUBMITTING: {
        on.TaskCreated: S.RUNNING,
        # Only for a refusal that is certain; all else is a lost answer.
        on.NotSubmitted: S.QUEUED,
        on.Failed: S.FAILED,
        # Neither a success nor a failure, and the provider cannot be asked: a person decides.
        on.AnswerLost: If(_may_be_sent_again, S.QUEUED, otherwise=S.IN_DOUBT),
        # The daemon ended with the request under way, and nothing proves that it was not sent.
        on.Interrupted: S.IN_DOUBT,
        # A daemon with a copy of the journal sent it at the same moment, and this one sent nothing.
        on.InDoubt: S.IN_DOUBT,
        on.NotSent: S.QUEUED,
        on.CancelAsked: S.SUBMITTING,
        # Only at a start: what may have been sent is in the ledger, which the taker has read.
        on.TakenOver: S.CANCELLED,
    },
    S.IN_DOUBT: {
        on.BalanceSeen: S.IN_DOUBT,
        # Refused for load, and the balance is the same before and after: nothing was charged.
        on.NotCharged: S.QUEUED,
        on.Attached: S.RUNNING,
        # By a person's order only: it may be paid for twice, and the order says so.
        on.Retried: S.QUEUED,
        # A farm's former leader was frozen, and noted the answer in the ledger when it went on.
        on.TaskCreated: S.RUNNING,
        on.Cancelled: S.CANCELLED,
        on.TakenOver: S.CANCELLED,
    },
    S.RUNNING: {
        # A poll that failed (`StageFailed`) says nothing about the task.
        **dict.fromkeys((on.TaskSeen, on.TaskMissing, on.StageFailed, on.Postponed), S.RUNNING),
        on.CancelAsked: S.RUNNING,
        on.TaskSucceeded: S.RENDERED,
        on.PartsSeen: S.RUNNING,
        on.PartsFetched: S.RENDERED,
        on.TaskCancelled: S.CANCELLED,
        on.Failed: S.FAILED,
        on.Cancelled: S.CANCELLED,
        on.TakenOver: S.CANCELLED,
        # The operator knows better: a lost task is another one, or is made again.
        on.Attached: S.RUNNING,
        on.Retried: S.QUEUED,
    },
    S.RENDERED: {
        **dict.fromkeys((on.PartlyFetched, on.JobHeld, on.Approved, on.CancelAsked), S.RENDERED),
        **dict.fromkeys((on.StageFailed, on.Postponed), S.RENDERED),
        on.Fetched: S.FETCHED,
        on.PartGone: S.RUNNING,
        # The task vanished at the provider, or it turned out never to have had a result.
        on.Failed: S.FAILED,
        on.Cancelled: S.CANCELLED,
        on.TakenOver: S.CANCELLED,
        # Held for its result: what the provider serves is unusable, and the operator pays for another. Parts
        # that could not be joined are joined once more, which costs nothing.
        on.Retried: If(_is_split, S.RENDERED, otherwise=S.QUEUED),
    },
    S.FETCHED: {
        **dict.fromkeys((on.JobHeld, on.Approved, on.CancelAsked, on.StageFailed, on.Postponed), S.FETCHED),
        # Recorded only once the result is durable in the outbox: after this its source may go.
        on.Delivered: S.DELIVERED,
        on.Joined: S.DELIVERED,
        on.ResultGone: If(_is_reused, S.QUEUED, otherwise=S.RENDERED),
        on.Cancelled: S.CANCELLED,
        on.TakenOver: S.CANCELLED,
        # Held because it is far too short or long, and the operator pays for another.
        on.Retried: If(_is_split, S.RENDERED, otherwise=S.QUEUED),
    },
    # Which of several results is used is no step of a job's life.
    S.DELIVERED: {on.Chosen: S.DELIVERED, on.Unchosen: S.DELIVERED},
    # Never by itself, whatever the failure: a second attempt is a second payment.
    S.FAILED: {on.Retried: S.QUEUED, on.Attached: S.RUNNING},
    # What was paid for already, or may be yet, is never paid for a second time.
    S.CANCELLED: {
        on.Retried: If(
            has_paid_result, S.RENDERED, otherwise=If(has_task_to_follow, S.RUNNING, otherwise=S.QUEUED)
        ),
        # It ended in doubt, and its task was found since.
        on.Attached: S.RUNNING,
    },
}


class Stage(StrEnum):
    """What can be done next for a job."""

    PREPARE = "prepare"
    VET = "vet"
    """The `before_submit` hook is asked, where there is one."""
    SUBMIT = "submit"
    POLL = "poll"
    FETCH = "fetch"
    DELIVER = "deliver"
    TELL_CANCEL = "tell_cancel"


def stage_of(job: Job) -> Stage | None:
    """Return what is done for a job once it is due; None where only a person moves it on."""
    match job.state:
        case State.QUEUED:
            if job.held is not None and job.held not in STILL_TRIED:
                return None
            return Stage.SUBMIT if job.prepared else Stage.PREPARE
        case State.RUNNING if job.is_split:
            return None  # its parts move it on
        case State.FETCHED if job.part:
            return None  # until all are there
        case State.RUNNING:
            return Stage.TELL_CANCEL if job.cancel_by else Stage.POLL
        case State.RENDERED:
            return Stage.FETCH
        case State.FETCHED:
            return Stage.DELIVER
        case State.SUBMITTING | State.IN_DOUBT | State.DELIVERED | State.FAILED | State.CANCELLED:
            return None
        case never:
            assert_never(never)


def may(job: Job, event: type[Event]) -> bool:
    """Whether the table has a row for this event in the job's state."""
    return event in TABLE[job.state]


def targets(state: State, event: type[Event]) -> tuple[State, ...]:
    """Return the states that an event can lead to from a state, the usual one first."""
    step, found = TABLE[state].get(event), []
    while isinstance(step, If):
        found.append(step.then)
        step = step.otherwise
    return () if step is None else (step, *found)


def recovered(job: Job, task: Task) -> Job:
    """Return a job that the journal lacks in the state that its ledger proves: with its task, or in doubt."""
    known = replace(job, task=task, paid=Paid.UNKNOWN)
    # Neither is sent: the one has its task, and of the other only a person can say whether it was paid for.
    if task.task_id is not None:
        return replace(known, state=S.RUNNING, prepared=True, reason="recovered")
    reason = "it may have been submitted before the journal was lost"
    return replace(known, state=S.IN_DOUBT, held=Held.IN_DOUBT, reason=reason)


def recovered_ended(job: Job, task: Task | None, code: str, message: str = "") -> Job:
    """Return a job that the journal lacks, and that had ended; `task` is a request without an answer.

    Without a `code` it was cancelled.
    """
    paid = Paid.NO if task is None else Paid.UNKNOWN
    ended = replace(job, state=S.FAILED if code else S.CANCELLED, task=task, paid=paid)
    was = message or f"it was {ended.state} before the journal was lost"
    return as_failed(ended, Error(code or "CANCELLED", was, retryable=not code))


def recovered_split(whole: Job, parts: tuple[Part, ...]) -> Job:
    """Return a job that the journal lacks, and whose ledger says that it was cut into parts."""
    return replace(whole, state=S.RUNNING, parts=parts, prepared=True, reason="recovered", due_at=NEVER)


def advance(job: Job, event: Event, now: float, pace: Pace, *, open_tasks: int = 1) -> Job:
    """Return the job as it is after an event; raises IllegalTransition.

    `now` is in Unix seconds; `open_tasks`, at least 1, share the poll budget.
    """
    step = TABLE[job.state].get(type(event))
    if step is None:
        raise IllegalTransition(f"{type(event).__name__} cannot happen to job {job.id}, which is {job.state}")
    while isinstance(step, If):
        step = step.then if step.holds(job, pace) else step.otherwise
    state, moved = step, job
    if state is not job.state:
        moved = replace(job, state=state, attempts=0, held=None, reason="", due_at=now)
    elif state is S.QUEUED and job.held in STILL_TRIED and not isinstance(event, on.Approved):
        moved = replace(job, held=None)  # it was tried again: the outcome of that decides
    # After the effects: they compare a render's progress with that at the last change.
    moved = replace(apply(moved, event, now, pace, open_tasks), updated_at=now)
    if (moved.part and moved.state is S.FETCHED) or (moved.is_split and moved.state is S.RUNNING):
        return replace(moved, due_at=NEVER)  # the other parts decide when it goes on
    if moved.cancel_by and moved.state is State.RUNNING and not isinstance(event, on.StageFailed):
        return replace(moved, due_at=now)  # the provider is asked to stop at once
    return moved
