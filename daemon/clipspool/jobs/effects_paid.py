"""What an event changes of a job's paid request: the task, its doubts, and what was paid for it.

Every function here gets the job in the state that the table of `lifecycle` led to, and leaves that as it is.
"""

from __future__ import annotations

from typing import assert_never

from clipspool.jobs import events as on
from clipspool.jobs.events import DoubtEvent, SubmitEvent, TaskEvent
from clipspool.jobs.faults import FaultOf
from clipspool.jobs.model import Error, Held, Job, Paid, State, Task
from clipspool.jobs.nouns import replace
from clipspool.jobs.pacing import Pace, retry_seconds
from clipspool.jobs.render_times import seconds_left


class IllegalTransition(Exception):
    """A bug: an event reached a job in a state that knows no such event."""


# --- one submission, and its doubts -----------------------------------------------------------------------


def submitting(job: Job, event: SubmitEvent, now: float, pace: Pace, open_tasks: int) -> Job:
    """Return a job after an event of the request itself: sent, refused, lost, answered."""
    match event:
        case on.NotSubmitted():
            # The brake holds back all alike, so this job keeps its place in the queue; one that can't be sent
            # for a reason of its own (its file is out of reach) waits by itself.
            own = event.fault.of is FaultOf.CLIP
            pause = retry_seconds(job.attempts, event.fault.retry_after_seconds, pace.random) if own else 0.0
            return replace(job, attempts=job.attempts + 1, due_at=now + pause, reason=event.fault.message)
        case on.AnswerLost():
            return _answer_lost(job, event, now, pace)
        case on.InDoubt():
            known = job.task.number if job.task else 0
            task = Task(max(event.submissions, known), event.profile, intent_at=now)
            held = replace(job, held=Held.IN_DOUBT, reason=event.reason)
            return replace(held, task=task, paid=at_least_unknown(job))
        case on.Interrupted():
            message = "clipspool ended while the request may have been on its way"
            if event.node:
                message = f"the node {event.node} lost its lead while its request may have been on its way"
            evidence = {"node": event.node} if event.node else {}
            return _answer_lost(job, on.AnswerLost(message, evidence), now, pace)
        case on.NotSent():
            return replace(job, reason="clipspool ended before anything of it was sent")
        case on.TaskCreated():
            if job.task is None:
                raise IllegalTransition(f"job {job.id} has a task that was never asked for")
            task = replace(job.task, task_id=event.task_id, created_at=now, credits=event.credits)
            made = replace(job, task=task, paid=at_least_unknown(job), progress=None, rendering_since=None)
            return replace(made, due_at=_poll_due(made, now, pace, open_tasks, rendering=True))
        case never:
            assert_never(never)


def _answer_lost(job: Job, event: on.AnswerLost, now: float, pace: Pace) -> Job:
    if job.task is None:
        raise IllegalTransition(f"job {job.id} lost an answer it never waited for")
    task = replace(job.task, evidence={**event.evidence, "message": event.message})
    lost = replace(job, task=task, doubts=job.doubts + 1, paid=at_least_unknown(job), reason=event.message)
    if job.state is State.QUEUED:  # it is sent again, by the setting
        return replace(lost, due_at=now + retry_seconds(job.doubts, None, pace.random))
    return replace(lost, held=Held.IN_DOUBT)


def in_doubt(job: Job, event: DoubtEvent) -> Job:
    """Return a job in doubt after the account's balance was read again."""
    if job.task is None:
        raise IllegalTransition(f"job {job.id} has a balance for a request it never sent")
    match event:
        case on.BalanceSeen():
            others = {"other_submissions": event.other_submissions, "other_credits": event.other_credits}
            seen = {"balance_after": dict(event.after), **others}
            if event.before is not None:
                seen["balance_before"] = dict(event.before)
            return replace(job, task=replace(job.task, evidence={**job.task.evidence, **seen}))
        case on.NotCharged():
            # Of an earlier submission this says nothing: it may have been charged.
            is_only = job.task.number == 1 and job.doubts == 1
            return replace(
                job,
                # The price set aside for this request is free again, for the day's limit and the clip's.
                task=replace(job.task, credits=0.0),
                paid=Paid.NO if is_only else job.paid,
                doubts=max(job.doubts - 1, 0),
                reason=event.message,
            )
        case never:
            assert_never(never)


# --- the provider's task ----------------------------------------------------------------------------------


def followed(job: Job, event: TaskEvent, now: float, pace: Pace, open_tasks: int) -> Job:
    """Return a job after a poll of its task."""
    match event:
        case on.TaskSeen():
            return _task_seen(job, event, now, pace, open_tasks)
        case on.TaskMissing():
            return _task_missing(job, event, now, pace, open_tasks)
        case on.TaskSucceeded():
            closed = task_closed(job, event.credits, event.charged, Paid.YES)
            done = replace(closed.task, succeeded=True) if closed.task else None
            return replace(closed, task=done, progress=1.0)
        case on.TaskCancelled():
            message = f"the task was cancelled at the provider ({event.message})"
            closed = task_closed(job, None, event.charged, job.paid)
            return as_failed(closed, Error("TASK.CANCELLED", message, retryable=True))
        case never:
            assert_never(never)


def _task_seen(job: Job, event: on.TaskSeen, now: float, pace: Pace, open_tasks: int) -> Job:
    since = (job.rendering_since or now) if event.rendering else None
    task = job.task if job.task is None or event.credits is None else replace(job.task, credits=event.credits)
    progress = job.progress if event.progress is None else event.progress
    seen = replace(job, task=task, attempts=0, rendering_since=since, progress=progress)
    if since is not None and now - since > pace.task_seconds_max:
        reason = f"rendering for more than {pace.task_seconds_max:g} s; it is still followed"
        return replace(seen, held=Held.OVERDUE, reason=reason, due_at=now + pace.held_seconds)
    left = seconds_left(job, event.progress, now) if event.rendering else None
    due_at = _poll_due(job, now, pace, open_tasks, rendering=event.rendering, left=left)
    return replace(seen, held=None, reason=f"the provider says {event.status}", due_at=due_at)


def _task_missing(job: Job, event: on.TaskMissing, now: float, pace: Pace, open_tasks: int) -> Job:
    made_at = job.task.created_at if job.task and job.task.created_at else now
    if now - made_at > pace.missing_seconds_max:
        reason = f"the provider does not know the task ({event.message}); money may be spent"
        return replace(job, held=Held.LOST, reason=reason, due_at=now + pace.held_seconds)
    due_at = _poll_due(job, now, pace, open_tasks, rendering=True)
    if job.held is Held.LOST:
        return replace(job, due_at=due_at)
    return replace(job, due_at=due_at, reason="the provider does not show the new task yet")


def _poll_due(
    job: Job, now: float, pace: Pace, open_tasks: int, *, rendering: bool, left: float | None = None
) -> float:
    """Return when a task is polled next; `left` are its remaining seconds, by the provider's progress."""
    task = job.task
    age = now - (task.created_at if task and task.created_at else now)
    best = None if left is None else age + left
    if task is not None and best is None:
        pause = pace.poll.pause(open_tasks)
        best = pace.durations.next_look(task, job.request.model, age, pause, pace.random)
    return now + pace.poll.seconds(
        age, open_tasks, rendering=rendering, random=pace.random, best_age_seconds=best
    )


def task_closed(job: Job, credits_told: float | None, charged: float | None, unless_charged: Paid) -> Job:
    """Record what an ended task cost, and what is known about money now.

    A task that was made may be charged for, and vendors differ about those that fail: only what the provider
    says of this task is known [PROVIDER 2.9]. A task that succeeded is charged for.
    """
    if job.task is None or job.task.task_id is None:
        return job
    task = replace(job.task, credits=credits_told)  # an earlier estimate is no charge
    if charged is None:
        return replace(job, task=task, paid=unless_charged)
    # An earlier task, or a lost answer, may have cost something that this answer does not speak of.
    is_only = job.task.number == 1 and not job.doubts
    nothing = Paid.NO if is_only else job.paid
    return replace(job, task=task, paid=Paid.YES if charged > 0 else nothing)


def at_least_unknown(job: Job) -> Paid:
    """Return what is known about money once another request may have been charged.

    What one task cost stays true of the job, whatever becomes of the next.
    """
    return job.paid if job.paid is Paid.YES else Paid.UNKNOWN


def is_unanswered(job: Job) -> bool:
    """Whether its last request may have been charged, and its task is not known."""
    return job.task is not None and job.task.task_id is None and job.paid is not Paid.NO


def has_result_at_provider(job: Job, error: Error) -> bool:
    """Whether it was cancelled after its task had succeeded: fetching that result costs nothing."""
    return error.code == "CANCELLED" and job.task is not None and job.task.succeeded


# --- how a job fails --------------------------------------------------------------------------------------


def as_failed(job: Job, error: Error, *, is_duplicate: bool = False) -> Job:
    """Return a job with its error, which says what running it again may cost."""
    what_to_do = f"{error.what_to_do} {_how_to_run_again(job, error, is_duplicate=is_duplicate)}".strip()
    return replace(job, error=replace(error, what_to_do=what_to_do, paid=job.paid))


def _how_to_run_again(job: Job, error: Error, *, is_duplicate: bool) -> str:
    """Return what an editor does to run it again; `scheduler/dedup.py` has to let exactly that pass."""
    is_free = error.code == on.NOT_AT_PROVIDER or has_result_at_provider(job, error)
    if is_free and (job.part or job.is_again or job.variant):
        return ""  # the same order follows its task, or fetches its result, and that is said already
    if job.part and error.is_of_source:
        return ""
    if job.part:
        return f"The operator can run and pay for this part alone: `clipspool retry {job.id}`."
    if job.is_again:  # its sidecar is that of the version before
        return f"The operator can run this version again: `clipspool retry {job.id}`."
    if job.variant:
        return f"The operator can run only this variant again: `clipspool retry {job.id}`."
    begin = "To run it again" if error.retryable else "Then"
    move = "move the clip and its sidecar from `_failed` back into the inbox"
    match job.paid:
        case Paid.NO if is_duplicate:
            return f"To run and pay for it all the same, write `again = true` into its sidecar, then {move}."
        case Paid.NO:
            return f"{begin}, {move}."
        case Paid.UNKNOWN:
            return f"{begin}, {move}. It may have been charged already, and would be charged again."
        case Paid.YES:
            # Money: an editor who only moves a file back has not agreed to pay a second time.
            return f"It was charged. To pay for it again, write `again = true` into its sidecar, then {move}."
        case never:
            assert_never(never)
