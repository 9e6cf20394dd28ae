"""What an event changes of a job besides its state: when it is due, why it waits, what was paid.

Every function here gets the job in the state that the table of `lifecycle` led to, and leaves that as it is.
"""

from __future__ import annotations

from typing import assert_never

from clipspool.jobs import events as on
from clipspool.jobs.events import (
    DoubtEvent,
    Event,
    Order,
    PartsEvent,
    QueueEvent,
    ResultEvent,
    SubmitEvent,
    TaskEvent,
)
from clipspool.jobs.faults import FaultOf
from clipspool.jobs.model import STILL_TRIED, Error, Held, Job, Paid, Part, State, Task
from clipspool.jobs.nouns import replace
from clipspool.jobs.outputs import missing_in_words
from clipspool.jobs.pacing import NEVER, Pace, retry_seconds
from clipspool.jobs.render_times import seconds_left

_DISK_SECONDS_MAX = 30.0
_UNANSWERED_POLLS_MIN = 10
_NOT_ABOUT_TASK = frozenset({"PROVIDER.UNREADABLE", "PROVIDER.OTHER_TASK", "PROVIDER.NAMELESS"})
"""Faults of a poll that the provider answered, though not about the task."""


class IllegalTransition(Exception):
    """A bug: an event reached a job in a state that knows no such event."""


def apply(job: Job, event: Event, now: float, pace: Pace, open_tasks: int) -> Job:
    """Return the job, in its new state already, with all else that the event changes but `updated_at`."""
    match event:
        case on.Postponed():
            return replace(job, due_at=now + event.seconds, reason=event.reason)
        case on.StageFailed():
            return _stage_failed(job, event, now, pace)
        case on.JobHeld():
            return _held(job, event)
        case on.Failed():
            closed = _closed(job, event.credits, event.charged, job.paid) if event.is_of_task else job
            return _failed(closed, event.error)
        case on.TakenOver():
            return _taken_over(job, event)
        case _:
            pass
    if isinstance(event, QueueEvent):
        return _in_queue(job, event, now, pace)
    if isinstance(event, SubmitEvent):
        return _submitting(job, event, now, pace, open_tasks)
    if isinstance(event, DoubtEvent):
        return _in_doubt(job, event)
    if isinstance(event, TaskEvent):
        return _followed(job, event, now, pace, open_tasks)
    if isinstance(event, ResultEvent):
        return _with_results(job, event, now, pace)
    if isinstance(event, PartsEvent):
        return _in_parts(job, event)
    return _ordered(job, event, now)


# --- in the queue -----------------------------------------------------------------------------------------


def _in_queue(job: Job, event: QueueEvent, now: float, pace: Pace) -> Job:
    match event:
        case on.Prepared():
            return replace(
                job,
                prepared=True,
                attempts=0,
                due_at=now,
                reason=_what_is_sent(event) if job.held is None else job.reason,
                credits_estimated=event.credits_estimated,
                fingerprint=event.fingerprint or job.fingerprint,
                version=event.version or job.version,
                prepared_by=event.attempt,
                parts=_as_made(job.parts, event) if job.part else event.parts,
            )
        case on.DuplicateFound():
            # The prepare stage brings the earlier result, instead of what would be sent.
            reason = f"job {event.reuse.job_id} delivered the same already"
            # What is delivered is the earlier version, not one of its own.
            reused = replace(job, prepared=False, reuse=event.reuse, version=1)
            return replace(reused, held=None, reason=reason, due_at=now)
        case on.Reused():
            return replace(job, results=event.results, reason=f"taken over from job {event.from_job}")
        case on.Changed():
            due_at = now if event.is_settled else now + max(pace.settle_seconds, 0.1)
            return replace(job, prepared=False, due_at=due_at, reason=event.reason)
        case on.FellBack():
            return _fallen_back(job, event, now)
        case on.Vetted():
            return replace(job, attempts=0, due_at=now)
        case on.Connected():
            # Each attempt has a number of its own: the ledger's lines are matched with the journal by it.
            number = job.task.number + 1 if job.task else 1
            return replace(job, task=Task(number, event.profile, intent_at=now))
        case never:
            assert_never(never)


def _fallen_back(job: Job, event: on.FellBack, now: float) -> Job:
    request = replace(
        job.request,
        model=event.model,
        ratio=event.ratio,
        ratio_is_chosen=event.ratio_is_chosen,
        instead_of=job.request.instead_of or event.instead_of,
    )
    # It is made to fit and priced again, and compared with others as what it asks for now.
    changed = replace(job, request=request, prepared=False, fingerprint="", credits_estimated=None, parts=())
    reason = f"{event.instead_of} {event.why}: {event.model} is used instead"
    # Who approved a price did not approve that of another model.
    return replace(changed, attempts=0, due_at=now, reason=reason, approved=False)


def _as_made(parts: tuple[Part, ...], event: on.Prepared) -> tuple[Part, ...]:
    return tuple(replace(part, sent_size=event.sent_size, sent_sha256=event.sent_sha256) for part in parts)


def _what_is_sent(event: on.Prepared) -> str:
    if event.changes:
        return f"made to fit: {'; '.join(event.changes)}"
    return f"ready by {event.way}" if event.way else ""


def _held(job: Job, event: on.JobHeld) -> Job:
    held = replace(job, held=event.held, reason=event.reason)
    if job.state is not State.QUEUED:
        return replace(held, due_at=NEVER)
    return held if event.held in {Held.POISON, Held.REFUSED, Held.FROM_BACKUP} else replace(held, reuse=None)


def _stage_failed(job: Job, event: on.StageFailed, now: float, pace: Pace) -> Job:
    failed = replace(job, attempts=job.attempts + 1, reason=event.message)
    if job.state is State.RUNNING:
        # A job that is held for a person stays held: a failed poll says nothing new of the task.
        pause = pace.poll.after_fault(job.attempts, event.retry_after_seconds, pace.random)
        failed = replace(failed, due_at=now + pause)
        return replace(failed, held=Held.OVERDUE) if _is_unanswered(failed, event, now, pace) else failed
    pause = retry_seconds(job.attempts, event.retry_after_seconds, pace.random)
    # In the queue any other hold would stop the attempts; later on it only informs a person.
    held = event.held if job.state is not State.QUEUED or event.held in STILL_TRIED else None
    if held in STILL_TRIED:  # an attempt costs little, and whoever makes room waits for it
        pause = min(pause, _DISK_SECONDS_MAX)
    return replace(failed, due_at=now + pause, held=held)


def _is_unanswered(job: Job, event: on.StageFailed, now: float, pace: Pace) -> bool:
    """Whether the provider has long answered polls, but never about this task: a person must be told.

    A provider that is down or busy is reported for all tasks at once, not for each of them.
    """
    made_at = job.task.created_at if job.task and job.task.created_at else now
    is_answer = event.code in _NOT_ABOUT_TASK or event.code.startswith("HTTP.4")
    is_old = now - made_at > pace.task_seconds_max
    return job.held is None and is_answer and is_old and job.attempts >= _UNANSWERED_POLLS_MIN


# --- one submission, and its doubts -----------------------------------------------------------------------


def _submitting(job: Job, event: SubmitEvent, now: float, pace: Pace, open_tasks: int) -> Job:
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
            reason = "its work folder records a submission that the journal does not know"
            return replace(job, task=task, paid=_at_least_unknown(job), held=Held.IN_DOUBT, reason=reason)
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
            made = replace(job, task=task, paid=_at_least_unknown(job), progress=None, rendering_since=None)
            if job.cancel_by:
                return made
            return replace(made, due_at=_poll_due(made, now, pace, open_tasks, rendering=True))
        case never:
            assert_never(never)


def _answer_lost(job: Job, event: on.AnswerLost, now: float, pace: Pace) -> Job:
    if job.task is None:
        raise IllegalTransition(f"job {job.id} lost an answer it never waited for")
    task = replace(job.task, evidence={**event.evidence, "message": event.message})
    lost = replace(job, task=task, doubts=job.doubts + 1, paid=_at_least_unknown(job), reason=event.message)
    if job.state is State.QUEUED:  # it is sent again, by the setting
        return replace(lost, due_at=now + retry_seconds(job.doubts, None, pace.random))
    return replace(lost, held=Held.IN_DOUBT)


def _in_doubt(job: Job, event: DoubtEvent) -> Job:
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


def _followed(job: Job, event: TaskEvent, now: float, pace: Pace, open_tasks: int) -> Job:
    match event:
        case on.TaskSeen():
            return _task_seen(job, event, now, pace, open_tasks)
        case on.TaskMissing():
            return _task_missing(job, event, now, pace, open_tasks)
        case on.TaskSucceeded():
            closed = _closed(job, event.credits, event.charged, Paid.YES)
            done = replace(closed.task, succeeded=True) if closed.task else None
            return replace(closed, task=done, progress=1.0)
        case on.TaskCancelled():
            message = f"the task was cancelled at the provider ({event.message})"
            closed = _closed(job, None, event.charged, job.paid)
            return _failed(closed, Error("TASK.CANCELLED", message, retryable=True))
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
    """Say when a task is polled next; `left` is what it still takes by the provider's own progress."""
    task = job.task
    age = now - (task.created_at if task and task.created_at else now)
    best = None if left is None else age + left
    if task is not None and best is None:
        pause = pace.poll.pause(open_tasks)
        best = pace.durations.next_look(task, job.request.model, age, pause, pace.random)
    return now + pace.poll.seconds(
        age, open_tasks, rendering=rendering, random=pace.random, best_age_seconds=best
    )


def _closed(job: Job, credits_told: float | None, charged: float | None, unless_charged: Paid) -> Job:
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


def _at_least_unknown(job: Job) -> Paid:
    # What one task cost stays true of the job, whatever becomes of the next.
    return job.paid if job.paid is Paid.YES else Paid.UNKNOWN


# --- results ----------------------------------------------------------------------------------------------


def _with_results(job: Job, event: ResultEvent, now: float, pace: Pace) -> Job:
    match event:
        case on.Fetched():
            reason = "; ".join(one for one in (missing_in_words(event.missing), event.warning) if one)
            fetched = replace(job, results=event.results, missing=event.missing, reason=reason)
            if not event.doubt:
                return fetched
            # It is paid for and here; whether it is of any use is for a person to say.
            return replace(fetched, held=Held.RESULT, reason=event.doubt, due_at=NEVER)
        case on.PartlyFetched():
            here = replace(job, results=event.results, missing=event.missing, reason=event.message)
            if job.cancel_by or not event.is_fault:  # the next step fetches nothing, or follows a restart
                return replace(here, due_at=now)
            pause = retry_seconds(job.attempts, event.retry_after_seconds, pace.random)
            return replace(here, attempts=job.attempts + 1, held=event.held, due_at=now + pause)
        case on.ResultGone():
            reason = f"{event.file} is gone from the work folder"
            if job.state is State.QUEUED:  # an earlier job's result: it is copied again
                return replace(job, prepared=False, results=(), reason=reason)
            return replace(job, results=event.results, reason=reason)
        case on.Delivered():
            return replace(job, results=event.results, reason=missing_in_words(job.missing))
        case never:
            assert_never(never)


# --- the parts of a long clip -----------------------------------------------------------------------------


def _in_parts(job: Job, event: PartsEvent) -> Job:
    match event:
        case on.Split():
            return replace(job, parts=event.parts, progress=0.0, reason=f"cut into {len(event.parts)} parts")
        case on.PartsSeen():
            seen = replace(job, progress=event.progress, paid=event.paid)
            return replace(seen, held=event.held, reason=event.message)
        case on.PartsFetched():
            reason = f"the {len(event.results)} parts are joined"
            there = replace(job, results=event.results, parts=event.parts, paid=event.paid)
            return replace(there, progress=1.0, reason=reason)
        case on.PartGone():
            reason = f"the result of part {event.part} is gone from the work folder"
            return replace(job, results=(), reason=reason)
        case on.Joined():
            return replace(job, reason="")
        case never:
            assert_never(never)


# --- how a job ends ---------------------------------------------------------------------------------------


def _failed(job: Job, error: Error, *, is_duplicate: bool = False) -> Job:
    what_to_do = f"{error.what_to_do} {_how_to_run_again(job, error, is_duplicate=is_duplicate)}".strip()
    return replace(job, error=replace(error, what_to_do=what_to_do, paid=job.paid))


def _how_to_run_again(job: Job, error: Error, *, is_duplicate: bool) -> str:
    """Return what an editor does to run it again; `scheduler/dedup.py` has to let exactly that pass."""
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


def _taken_over(job: Job, event: on.TakenOver) -> Job:
    where = f"{event.host} (journal {event.journal})" if event.host else f"journal {event.journal}"
    message = f"taken over by {where} with `clipspool recover`"
    if job.task is not None and job.task.task_id is not None:
        message += f"; its task is {job.task.task_id}"
    what_to_do = "It continues there: find it, and retry it if necessary, on that machine."
    paid = _at_least_unknown(job) if event.was_on_its_way else job.paid
    error = Error(on.TAKEN_OVER, message, what_to_do, paid=paid)
    return replace(job, paid=paid, error=error, cancel_by="")


# --- what the operator orders -----------------------------------------------------------------------------


def _ordered(job: Job, event: Order, now: float) -> Job:
    match event:
        case on.Again():
            return replace(job, reason=f"version {event.version}, made from job {event.from_job}")
        case on.Approved():
            return _approved(job, now)
        case on.Attached():
            return _attached(job, event, now)
        case on.CancelAsked():
            return replace(job, cancel_by=event.by, due_at=now)
        case on.Chosen():
            return replace(job, chosen=event.names)
        case on.Unchosen():
            return replace(job, chosen=())
        case on.Cancelled():
            return _cancelled(job, event)
        case on.Retried():
            # What its parts gave is there still, and is joined once more.
            kept = tuple(one for one in job.results if one.part) if job.is_split else ()
            fresh = replace(_begun_again(job, now), approved=True, results=kept, missing=(), reuse=None)
            return fresh if job.state is State.RENDERED else replace(fresh, prepared=False)
        case never:
            assert_never(never)


def _approved(job: Job, now: float) -> Job:
    free = replace(job, held=None, reason="", due_at=min(job.due_at, now))
    # A job that was set aside for crashes, that the provider or a hook refused, or that an older journal
    # brought back was not held for a limit: limits still hold.
    others = {Held.POISON, Held.REFUSED, Held.VETO, Held.FROM_BACKUP, *STILL_TRIED}
    is_of_money = job.state is State.QUEUED and job.held not in others
    return replace(free, approved=True, reuse=None) if is_of_money else free


def _attached(job: Job, event: on.Attached, now: float) -> Job:
    number, intent_at = (job.task.number, job.task.intent_at) if job.task else (1, now)
    task = Task(number, event.profile, intent_at, event.task_id, created_at=now)
    followed = replace(_begun_again(job, now), task=task, paid=_at_least_unknown(job))
    if event.is_seen:
        return followed
    # It is held until the provider shows the task: a mistyped id must not look like one.
    reason = f"the provider has not shown the task {event.task_id} yet; check the id"
    return replace(followed, held=Held.LOST, reason=reason)


def _cancelled(job: Job, event: on.Cancelled) -> Job:
    words = f"cancelled by {event.by}" + (f" ({event.why})" if event.why else "")
    error = Error("CANCELLED", event.message or words, retryable=True)
    ended = _failed(job, error, is_duplicate=bool(event.is_duplicate))
    if ended.error is not None and any(one.name == "" for one in job.results):
        kept = "The downloaded result is kept beside it in `_failed`, with `.result` in its name."
        ended = replace(ended, error=replace(ended.error, what_to_do=f"{kept} {ended.error.what_to_do}"))
    return replace(ended, cancel_by=event.by)


def _begun_again(job: Job, now: float) -> Job:
    fresh = replace(job, error=None, held=None, reason="", cancel_by="", attempts=0, due_at=now)
    return replace(fresh, progress=None, rendering_since=None)
