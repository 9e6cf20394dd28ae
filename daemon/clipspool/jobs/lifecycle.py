"""Which event leads from which state to which: one table, and one function that applies it.

Nothing here reads a clock, a file or a setting; the scheduler brings time and pace, and records what comes
out.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import assert_never

from clipspool.jobs.events import (
    TAKEN_OVER,
    AnswerLost,
    Approved,
    Attached,
    BalanceSeen,
    CancelAsked,
    Cancelled,
    Changed,
    Connected,
    Delivered,
    DuplicateFound,
    Event,
    Failed,
    Fetched,
    InDoubt,
    Interrupted,
    JobHeld,
    NotCharged,
    NotSent,
    NotSubmitted,
    PartlyFetched,
    Postponed,
    Prepared,
    ResultGone,
    Retried,
    Reused,
    StageFailed,
    TakenOver,
    TaskCancelled,
    TaskCreated,
    TaskMissing,
    TaskSeen,
    TaskSucceeded,
)
from clipspool.jobs.faults import FaultOf
from clipspool.jobs.model import STILL_TRIED, Error, Held, Job, Paid, State, Task
from clipspool.jobs.outputs import missing_in_words
from clipspool.jobs.pacing import PollPace, Random, retry_seconds
from clipspool.jobs.render_times import Durations

S = State
_DISK_SECONDS_MAX = 30.0
NEVER = 32_503_680_000.0
"""Due in the year 3000: only a person brings it forward."""

TABLE: dict[State, dict[type[Event], State]] = {
    S.QUEUED: {
        Prepared: S.QUEUED,
        DuplicateFound: S.QUEUED,
        Reused: S.FETCHED,
        Changed: S.QUEUED,
        Postponed: S.QUEUED,
        StageFailed: S.QUEUED,
        JobHeld: S.QUEUED,
        Approved: S.QUEUED,
        NotSubmitted: S.QUEUED,
        # The only way to spend: the connection stands, and this is on disk before the first byte leaves.
        Connected: S.SUBMITTING,
        InDoubt: S.IN_DOUBT,
        Failed: S.FAILED,
        CancelAsked: S.QUEUED,
        Cancelled: S.CANCELLED,
        TakenOver: S.CANCELLED,
    },
    S.SUBMITTING: {
        TaskCreated: S.RUNNING,
        NotSubmitted: S.QUEUED,
        Failed: S.FAILED,
        # Neither a success nor a failure, and there is no way to ask: a person decides.
        AnswerLost: S.IN_DOUBT,
        Interrupted: S.IN_DOUBT,
        # A daemon with a copy of the journal sent it at the same moment, and this one sent nothing.
        InDoubt: S.IN_DOUBT,
        NotSent: S.QUEUED,
        CancelAsked: S.SUBMITTING,
        # Only at a start: what may have left is in the ledger, which whoever took it over has read.
        TakenOver: S.CANCELLED,
    },
    S.IN_DOUBT: {
        BalanceSeen: S.IN_DOUBT,
        # Refused for load, and the balance is the same before and after: nothing was paid.
        NotCharged: S.QUEUED,
        Attached: S.RUNNING,
        Retried: S.QUEUED,
        Cancelled: S.CANCELLED,
        TakenOver: S.CANCELLED,
    },
    S.RUNNING: {
        TaskSeen: S.RUNNING,
        TaskMissing: S.RUNNING,
        # A poll that failed says nothing about the task.
        StageFailed: S.RUNNING,
        Postponed: S.RUNNING,
        TaskSucceeded: S.RENDERED,
        TaskCancelled: S.CANCELLED,
        Failed: S.FAILED,
        CancelAsked: S.RUNNING,
        Cancelled: S.CANCELLED,
        TakenOver: S.CANCELLED,
        # The operator knows better: a lost task is another one, or is to be made again.
        Attached: S.RUNNING,
        Retried: S.QUEUED,
    },
    S.RENDERED: {
        Fetched: S.FETCHED,
        PartlyFetched: S.RENDERED,
        JobHeld: S.RENDERED,
        Approved: S.RENDERED,
        StageFailed: S.RENDERED,
        Postponed: S.RENDERED,
        # The task was made to vanish at the provider, or it turned out never to have had a result.
        Failed: S.FAILED,
        CancelAsked: S.RENDERED,
        Cancelled: S.CANCELLED,
        TakenOver: S.CANCELLED,
        # Held for its result: what the provider serves is unusable, and the operator pays for another.
        Retried: S.QUEUED,
    },
    S.FETCHED: {
        Delivered: S.DELIVERED,
        ResultGone: S.RENDERED,
        JobHeld: S.FETCHED,
        Approved: S.FETCHED,
        StageFailed: S.FETCHED,
        Postponed: S.FETCHED,
        CancelAsked: S.FETCHED,
        Cancelled: S.CANCELLED,
        TakenOver: S.CANCELLED,
        # Held because it is far too short or long, and the operator pays for another.
        Retried: S.QUEUED,
    },
    S.DELIVERED: {},
    S.FAILED: {Retried: S.QUEUED},
    S.CANCELLED: {Retried: S.QUEUED},
}


class IllegalTransition(Exception):
    """A bug: an event reached a job in a state that knows no such event."""


class Stage(StrEnum):
    """What can be done next for a job."""

    PREPARE = "prepare"
    SUBMIT = "submit"
    POLL = "poll"
    FETCH = "fetch"
    DELIVER = "deliver"
    TELL_CANCEL = "tell_cancel"


@dataclass(frozen=True, slots=True)
class Pace:
    """The figures that decide when a job is due again."""

    poll: PollPace
    random: Random
    settle_seconds: float = 3.0
    task_seconds_max: float = 3600.0
    missing_seconds_max: float = 600.0
    """A fresh id may be unknown for minutes [PROVIDER 1.5]."""
    held_seconds: float = 300.0
    """How often a task is looked at that is overdue or lost."""
    resubmits_max: int = 0
    """How often a lost answer leads to a new submission: 0, or 1 by `ambiguous_submit = "resubmit"`."""
    durations: Durations = field(default_factory=Durations)
    """What was learned of the models; it goes on learning."""


def stage_of(job: Job) -> Stage | None:
    """Say what is to be done for a job once it is due; None where only a person moves it on."""
    match job.state:
        case State.QUEUED:
            if job.held is not None and job.held not in STILL_TRIED:
                return None
            return Stage.SUBMIT if job.prepared else Stage.PREPARE
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
    """Tell whether an event is legal for a job as it stands."""
    return event in TABLE[job.state]


def advance(job: Job, event: Event, now: float, pace: Pace, *, open_tasks: int = 1) -> Job:
    """Apply an event and give the job as it is afterwards; raises IllegalTransition.

    `now` is in Unix seconds; `open_tasks`, at least 1, share the poll budget.
    """
    try:
        state = TABLE[job.state][type(event)]
    except KeyError:
        raise IllegalTransition(
            f"{type(event).__name__} cannot happen to job {job.id}, which is {job.state}"
        ) from None
    if state is job.state:
        moved = replace(job, updated_at=now)
        if state is S.QUEUED and job.held in STILL_TRIED and not isinstance(event, Approved):
            moved = replace(moved, held=None)  # it was tried again, and whatever came of that holds now
    else:
        moved = replace(job, state=state, updated_at=now, attempts=0, held=None, reason="", due_at=now)
    moved = _apply(moved, event, now, pace, open_tasks)
    if moved.cancel_by and moved.state is State.RUNNING and not isinstance(event, StageFailed):
        return replace(moved, due_at=now)  # the provider is to be told at once
    return moved


def _apply(job: Job, event: Event, now: float, pace: Pace, open_tasks: int) -> Job:
    match event:
        case Prepared():
            return replace(
                job,
                prepared=True,
                attempts=0,
                due_at=now,
                reason=_what_is_sent(event) if job.held is None else job.reason,
                credits_estimated=event.credits_estimated,
                fingerprint=event.fingerprint or job.fingerprint,
            )
        case DuplicateFound():
            # What serves is brought by the prepare stage, in the place of what would be sent.
            reason = f"job {event.reuse.job_id} delivered the same already"
            return replace(job, prepared=False, reuse=event.reuse, held=None, reason=reason, due_at=now)
        case Reused():
            return replace(job, results=event.results, reason=f"taken over from job {event.from_job}")
        case Changed():
            due_at = now if event.is_settled else now + max(pace.settle_seconds, 0.1)
            return replace(job, prepared=False, due_at=due_at, reason=event.reason)
        case Postponed():
            return replace(job, due_at=now + event.seconds, reason=event.reason)
        case StageFailed():
            return _stage_failed(job, event, now, pace)
        case JobHeld():
            return _parked(job, event)
        case Approved():
            return _approved(job, now)
        case Connected():
            number = job.task.number + 1 if job.task else 1
            return replace(job, task=Task(number, event.profile, intent_at=now))
        case NotSubmitted():
            return _not_submitted(job, event, now, pace)
        case AnswerLost():
            return _answer_lost(job, event, now, pace)
        case InDoubt():
            known = job.task.number if job.task else 0
            task = Task(max(event.submissions, known), event.profile, intent_at=now)
            reason = "its work folder tells of a submission that the journal does not know"
            return replace(job, task=task, paid=_at_least_unknown(job), held=Held.IN_DOUBT, reason=reason)
        case BalanceSeen():
            return _balance_seen(job, event)
        case NotCharged():
            return _not_charged(job, event)
        case Interrupted():
            message = "clipspool ended while the request may have been on its way"
            # A crash leads to no second submission, whatever the setting says about lost answers.
            return _answer_lost(job, AnswerLost(message, {}), now, replace(pace, resubmits_max=0))
        case NotSent():
            return replace(job, reason="clipspool ended before anything of it was sent")
        case TaskCreated():
            return _task_created(job, event, now, pace, open_tasks)
        case Attached():
            return _attached(job, event, now)
        case TaskSeen():
            return _task_seen(job, event, now, pace, open_tasks)
        case TaskMissing():
            return _task_missing(job, event, now, pace, open_tasks)
        case TaskSucceeded():
            settled = _closed(job, event.credits, event.charged, Paid.YES)
            done = replace(settled.task, succeeded=True) if settled.task else None
            return replace(settled, task=done, progress=1.0)
        case TaskCancelled():
            closed = _closed(job, None, event.charged, job.paid)
            return _ended(
                closed, "TASK.CANCELLED", f"the task was cancelled at the provider ({event.message})"
            )
        case Failed():
            closed = _closed(job, event.credits, event.charged, job.paid) if event.is_of_task else job
            return _failed(closed, event.error)
        case Fetched():
            return _fetched(job, event)
        case PartlyFetched():
            return _partly_fetched(job, event, now, pace)
        case ResultGone():
            reason = f"{event.file} is gone from the work folder"
            if job.reuse is not None:
                return replace(job, state=S.QUEUED, prepared=False, results=(), reason=reason)
            return replace(job, results=event.results, reason=reason)
        case Delivered():
            return replace(job, results=event.results, reason=missing_in_words(job.missing))
        case CancelAsked():
            return replace(job, cancel_by=event.by, due_at=now)
        case Cancelled():
            return _cancelled(job, event)
        case TakenOver():
            return _taken_over(job, event)
        case Retried():
            return _retried(job, now)
        case never:
            assert_never(never)


def _parked(job: Job, event: JobHeld) -> Job:
    parked = replace(job, held=event.held, reason=event.reason)
    if job.state is not S.QUEUED:
        return replace(parked, due_at=NEVER)
    return parked if event.held in {Held.POISON, Held.REFUSED} else replace(parked, reuse=None)


def _approved(job: Job, now: float) -> Job:
    free = replace(job, held=None, reason="", due_at=min(job.due_at, now))
    # Of one that is set aside for its harm, or that was refused, nothing was asked about money.
    is_of_money = job.state is S.QUEUED and job.held not in {Held.POISON, Held.REFUSED, *STILL_TRIED}
    return replace(free, approved=True, reuse=None) if is_of_money else free


def _attached(job: Job, event: Attached, now: float) -> Job:
    number, intent_at = (job.task.number, job.task.intent_at) if job.task else (1, now)
    task = Task(number, event.profile, intent_at, event.task_id, created_at=now)
    followed = replace(_unhurt(job, now), task=task, paid=_at_least_unknown(job))
    if event.is_seen:
        return followed
    # It waits for a person until the provider shows it: a slip of the pen must not look like a task.
    reason = f"the provider has not shown the task {event.task_id} yet; look at its id once more"
    return replace(followed, held=Held.LOST, reason=reason)


def _what_is_sent(event: Prepared) -> str:
    """Say what is sent where it is not the clip itself in the request; a reason is what history keeps."""
    if event.changes:
        return f"made to fit: {'; '.join(event.changes)}"
    return f"ready by {event.way}" if event.way else ""


def _not_submitted(job: Job, event: NotSubmitted, now: float, pace: Pace) -> Job:
    # The brake holds back all alike, so this job keeps its place in the queue; one that can't be sent for a
    # reason of its own (its file is out of reach) waits by itself.
    own = event.fault.of is FaultOf.CLIP
    pause = retry_seconds(job.attempts, event.fault.retry_after_seconds, pace.random) if own else 0.0
    return replace(job, attempts=job.attempts + 1, due_at=now + pause, reason=event.fault.message)


def _answer_lost(job: Job, event: AnswerLost, now: float, pace: Pace) -> Job:
    if job.task is None:
        raise IllegalTransition(f"job {job.id} lost an answer it never waited for")
    task = replace(job.task, evidence={**event.evidence, "message": event.message})
    lost = replace(job, task=task, doubts=job.doubts + 1, paid=_at_least_unknown(job), reason=event.message)
    if job.doubts < pace.resubmits_max and not job.cancel_by:
        pause = retry_seconds(job.doubts, None, pace.random)
        return replace(lost, state=State.QUEUED, due_at=now + pause)
    return replace(lost, held=Held.IN_DOUBT)


def _balance_seen(job: Job, event: BalanceSeen) -> Job:
    if job.task is None:
        return job
    seen = {"balance_after": dict(event.after), "other_submissions": event.other_submissions}
    if event.before is not None:
        seen["balance_before"] = dict(event.before)
    return replace(job, task=replace(job.task, evidence={**job.task.evidence, **seen}))


def _closed(job: Job, told: float | None, charged: float | None, unless_told: Paid) -> Job:
    """Note what an ended task cost, and what is known about money now.

    A task that was made may be charged for, and vendors differ about those that fail: only what the provider
    says of this task is known [PROVIDER 2.9]. A task that succeeded is charged for.
    """
    if job.task is None or job.task.task_id is None:
        return job
    task = replace(job.task, credits=told)  # an estimate of before is no charge
    if charged is None:
        return replace(job, task=task, paid=unless_told)
    is_only = job.task.number == 1 and not job.doubts
    nothing = Paid.NO if is_only else job.paid
    return replace(job, task=task, paid=Paid.YES if charged > 0 else nothing)


def _not_charged(job: Job, event: NotCharged) -> Job:
    if job.task is None:
        raise IllegalTransition(f"job {job.id} has a balance for a request it never sent")
    is_only = job.task.number == 1 and job.doubts == 1
    return replace(
        job,
        # The price that was set aside for this request is free again, for the day's limit and for the clip's.
        task=replace(job.task, credits=0.0),
        paid=Paid.NO if is_only else job.paid,
        doubts=max(job.doubts - 1, 0),
        reason=event.message,
    )


def _at_least_unknown(job: Job) -> Paid:
    return job.paid if job.paid is Paid.YES else Paid.UNKNOWN


def _poll_due(job: Job, now: float, pace: Pace, open_tasks: int, *, rendering: bool) -> float:
    made_at = job.task.created_at if job.task and job.task.created_at else now
    age, pause = now - made_at, pace.poll.pause(open_tasks)
    best = (
        pace.durations.next_look(job.task, job.request.model, age, pause, pace.random) if job.task else None
    )
    return now + pace.poll.seconds(
        age, open_tasks, rendering=rendering, random=pace.random, best_age_seconds=best
    )


def _task_created(job: Job, event: TaskCreated, now: float, pace: Pace, open_tasks: int) -> Job:
    if job.task is None:
        raise IllegalTransition(f"job {job.id} has a task that was never asked for")
    task = replace(job.task, task_id=event.task_id, created_at=now, credits=event.credits)
    moved = replace(job, task=task, paid=_at_least_unknown(job), progress=None, rendering_since=None)
    if job.cancel_by:
        return moved
    return replace(moved, due_at=_poll_due(moved, now, pace, open_tasks, rendering=True))


def _task_seen(job: Job, event: TaskSeen, now: float, pace: Pace, open_tasks: int) -> Job:
    since = (job.rendering_since or now) if event.rendering else None
    seen = replace(
        _settled(job, event.credits),
        attempts=0,
        rendering_since=since,
        progress=job.progress if event.progress is None else event.progress,
    )
    if since is not None and now - since > pace.task_seconds_max:
        reason = f"rendering for more than {pace.task_seconds_max:g} s; it is still followed"
        return replace(seen, held=Held.OVERDUE, reason=reason, due_at=now + pace.held_seconds)
    due_at = _poll_due(job, now, pace, open_tasks, rendering=event.rendering)
    return replace(seen, held=None, reason=f"the provider says {event.status}", due_at=due_at)


def _task_missing(job: Job, event: TaskMissing, now: float, pace: Pace, open_tasks: int) -> Job:
    made_at = job.task.created_at if job.task and job.task.created_at else now
    if now - made_at > pace.missing_seconds_max:
        reason = f"the provider does not know the task ({event.message}); money may be spent"
        return replace(job, held=Held.LOST, reason=reason, due_at=now + pace.held_seconds)
    due_at = _poll_due(job, now, pace, open_tasks, rendering=True)
    if job.held is Held.LOST:
        return replace(job, due_at=due_at)
    return replace(job, due_at=due_at, reason="the provider does not show the new task yet")


def _fetched(job: Job, event: Fetched) -> Job:
    said = "; ".join(one for one in (missing_in_words(event.missing), event.warning) if one)
    fetched = replace(job, results=event.results, missing=event.missing, reason=said)
    if not event.doubt:
        return fetched
    # It is paid for and here; whether it is of any use is for a person to say.
    return replace(fetched, held=Held.RESULT, reason=event.doubt, due_at=NEVER)


def _partly_fetched(job: Job, event: PartlyFetched, now: float, pace: Pace) -> Job:
    here = replace(job, results=event.results, missing=event.missing, reason=event.message)
    if job.cancel_by or not event.is_fault:  # the next step fetches nothing more, or comes after a restart
        return replace(here, due_at=now)
    pause = retry_seconds(job.attempts, event.retry_after_seconds, pace.random)
    return replace(here, attempts=job.attempts + 1, held=event.held, due_at=now + pause)


def _stage_failed(job: Job, event: StageFailed, now: float, pace: Pace) -> Job:
    failed = replace(job, attempts=job.attempts + 1, reason=event.message)
    if job.state is State.RUNNING:
        # It stays set aside for a person, if it was: a failed look is no news of the task.
        pause = pace.poll.after_fault(job.attempts, event.retry_after_seconds, pace.random)
        return replace(failed, due_at=now + pause)
    pause = retry_seconds(job.attempts, event.retry_after_seconds, pace.random)
    # In the queue any other hold would stop the tries; later on it only tells a person.
    held = event.held if job.state is not State.QUEUED or event.held in STILL_TRIED else None
    if held in STILL_TRIED:  # to look costs little, and whoever makes room waits for it
        pause = min(pause, _DISK_SECONDS_MAX)
    return replace(failed, due_at=now + pause, held=held)


def _settled(job: Job, charged: float | None) -> Job:
    if job.task is None or charged is None:
        return job
    return replace(job, task=replace(job.task, credits=charged))


def _ended(job: Job, code: str, message: str) -> Job:
    return _failed(job, Error(code, message, retryable=True))


def _cancelled(job: Job, event: Cancelled) -> Job:
    said = f"cancelled by {event.by}" + (f" ({event.why})" if event.why else "")
    ended = replace(_ended(job, "CANCELLED", event.message or said), cancel_by=event.by)
    return _with_what_was_kept(ended)


def _with_what_was_kept(job: Job) -> Job:
    if job.error is None or not any(one.name == "" for one in job.results):
        return job
    kept = "The downloaded result is kept beside it in `_failed`, with `.result` in its name."
    return replace(job, error=replace(job.error, what_to_do=f"{kept} {job.error.what_to_do}"))


def _failed(job: Job, error: Error) -> Job:
    what_to_do = f"{error.what_to_do} {_how_to_run_again(job, error)}".strip()
    return replace(job, error=replace(error, what_to_do=what_to_do, paid=job.paid))


def _how_to_run_again(job: Job, error: Error) -> str:
    """Return what an editor does to run it again; `scheduler/dedup.py` has to let exactly that pass."""
    if job.variant:
        return f"The operator can run only this variant again: `clipspool retry {job.id}`."
    begin = "To run it again" if error.retryable else "Then"
    move = "move the clip and its sidecar from `_failed` back into the inbox"
    match job.paid:
        case Paid.NO:
            return f"{begin}, {move}."
        case Paid.UNKNOWN:
            return f"{begin}, {move}. It may have been charged already, and would be charged again."
        case Paid.YES:
            # Money: an editor who only moves a file back has not agreed to pay a second time.
            return f"It was charged. To pay for it again, write `again = true` into its sidecar, then {move}."
        case never:
            assert_never(never)


def _taken_over(job: Job, event: TakenOver) -> Job:
    where = f"{event.host} (journal {event.journal})" if event.host else f"journal {event.journal}"
    message = f"taken over by {where} with `clipspool recover`"
    if job.task is not None and job.task.task_id is not None:
        message += f"; its task is {job.task.task_id}"
    what_to_do = "It continues there: find it, and retry it if necessary, on that machine."
    paid = _at_least_unknown(job) if event.was_on_its_way else job.paid
    error = Error(TAKEN_OVER, message, what_to_do, paid=paid)
    return replace(job, paid=paid, error=error, cancel_by="")


def _unhurt(job: Job, now: float) -> Job:
    return replace(
        job,
        error=None,
        held=None,
        reason="",
        cancel_by="",
        attempts=0,
        progress=None,
        rendering_since=None,
        due_at=now,
    )


def _retried(job: Job, now: float) -> Job:
    fresh = replace(_unhurt(job, now), approved=True, results=(), missing=(), reuse=None)
    if (
        job.error is not None
        and job.error.code == "CANCELLED"
        and job.task is not None
        and job.task.succeeded
    ):
        # Its result is paid for and may still be there: fetching it costs nothing.
        return replace(fresh, state=State.RENDERED)
    return replace(fresh, prepared=False)
