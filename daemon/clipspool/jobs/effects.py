"""What an event changes of a job besides its state: when it is due, why it waits, which results it has.

`effects_paid` says it for the paid request. Every function of both gets the job in the state that the table
of `lifecycle` led to, and leaves that as it is.
"""

from __future__ import annotations

from typing import assert_never

from clipspool.jobs import events as on
from clipspool.jobs.effects_paid import (
    as_failed,
    at_least_unknown,
    followed,
    has_result_at_provider,
    in_doubt,
    is_unanswered,
    submitting,
    task_closed,
)
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
from clipspool.jobs.model import STILL_TRIED, Error, Held, Job, Part, State, Task
from clipspool.jobs.nouns import replace
from clipspool.jobs.outputs import missing_in_words
from clipspool.jobs.pacing import NEVER, Pace, retry_seconds, within_a_result

_DISK_SECONDS_MAX = 30.0
_UNANSWERED_POLLS_MIN = 10
_NOT_ABOUT_TASK = frozenset({"PROVIDER.UNREADABLE", "PROVIDER.OTHER_TASK", "PROVIDER.NAMELESS"})
"""Faults of a poll that the provider answered, though not about the task."""


def apply(job: Job, event: Event, now: float, pace: Pace, open_tasks: int) -> Job:
    """Return the job, in its new state already, with all else that the event changes but `updated_at`."""
    match event:
        case on.Postponed():
            return replace(job, due_at=now + event.seconds, reason=_why_held(job) or event.reason)
        case on.StageFailed():
            return _stage_failed(job, event, now, pace)
        case on.JobHeld():
            return _held(job, event)
        case on.Failed():
            closed = task_closed(job, event.credits, event.charged, job.paid) if event.is_of_task else job
            return as_failed(closed, event.error)
        case on.TakenOver():
            return _taken_over(job, event)
        case _:
            pass
    if isinstance(event, QueueEvent):
        return _in_queue(job, event, now, pace)
    if isinstance(event, SubmitEvent):
        return submitting(job, event, now, pace, open_tasks)
    if isinstance(event, DoubtEvent):
        return in_doubt(job, event)
    if isinstance(event, TaskEvent):
        return followed(job, event, now, pace, open_tasks)
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
                reason=_why_held(job) or _what_is_sent(event),
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
            return replace(job, prepared=False, due_at=due_at, reason=_why_held(job) or event.reason)
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
    reason = _why_held(job) or f"{event.instead_of} {event.why}: {event.model} is used instead"
    # Who approved a price did not approve that of another model.
    return replace(changed, attempts=0, due_at=now, reason=reason, approved=False)


def _as_made(parts: tuple[Part, ...], event: on.Prepared) -> tuple[Part, ...]:
    return tuple(replace(part, sent_size=event.sent_size, sent_sha256=event.sent_sha256) for part in parts)


def _why_held(job: Job) -> str:
    """Return why a queued job waits for a person; empty where it does not.

    It may have been held while a worker had it: what the worker reports ends no hold, and hides no reason.
    """
    return job.reason if job.state is State.QUEUED and job.held is not None else ""


def _what_is_sent(event: on.Prepared) -> str:
    if event.changes:
        return f"made to fit: {'; '.join(event.changes)}"
    return f"ready by {event.way}" if event.way else ""


def _held(job: Job, event: on.JobHeld) -> Job:
    held = replace(job, held=event.held, reason=event.reason)
    if job.state is not State.QUEUED:
        return replace(held, due_at=NEVER)
    if job.held is Held.FROM_BACKUP:
        # It may have been paid for: whatever holds it besides, only an approval that says so lets it go.
        held = replace(held, held=job.held, reason=f"{event.reason}; {job.reason}")
    return held if event.held in {Held.POISON, Held.REFUSED, Held.FROM_BACKUP} else replace(held, reuse=None)


def _stage_failed(job: Job, event: on.StageFailed, now: float, pace: Pace) -> Job:
    failed = replace(job, attempts=job.attempts + 1, reason=_why_held(job) or event.message)
    if job.state is State.RUNNING:
        # A job that is held for a person stays held: a failed poll says nothing new about the task.
        pause = pace.poll.after_fault(job.attempts, event.retry_after_seconds, pace.random)
        failed = replace(failed, due_at=now + pause)
        return replace(failed, held=Held.OVERDUE) if _is_unanswered(failed, event, now, pace) else failed
    asked = event.retry_after_seconds
    asked = within_a_result(asked) if job.state is State.RENDERED else asked
    pause = retry_seconds(job.attempts, asked, pace.random)
    # In the queue any other hold would stop the attempts; later on it only informs a person.
    held = event.held if job.state is not State.QUEUED or event.held in STILL_TRIED else None
    if job.state is State.QUEUED and job.held is not None:
        held = job.held
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
            asked = within_a_result(event.retry_after_seconds)
            pause = retry_seconds(job.attempts, asked, pace.random)
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


def _taken_over(job: Job, event: on.TakenOver) -> Job:
    where = f"{event.host} (journal {event.journal})" if event.host else f"journal {event.journal}"
    message = f"taken over by {where} with `clipspool recover`"
    if job.task is not None and job.task.task_id is not None:
        message += f"; its task is {job.task.task_id}"
    what_to_do = "It continues there: find it, and retry it if necessary, on that machine."
    paid = at_least_unknown(job) if event.was_on_its_way else job.paid
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
            return replace(fresh, prepared=False) if job.state is State.QUEUED else fresh
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
    followed = replace(_begun_again(job, now), task=task, paid=at_least_unknown(job))
    if event.is_seen:
        return followed
    # It is held until the provider shows the task: a mistyped id must not look like one.
    reason = f"the provider has not shown the task {event.task_id} yet; check the id"
    return replace(followed, held=Held.LOST, reason=reason)


def _cancelled(job: Job, event: on.Cancelled) -> Job:
    words = f"cancelled by {event.by}" + (f" ({event.why})" if event.why else "")
    error = Error("CANCELLED", event.message or words, retryable=True)
    if event.may_go_on:
        follow = f"Its task may go on: `clipspool retry {job.id}` follows it, at no further cost."
        error = replace(error, code=on.NOT_AT_PROVIDER, what_to_do=follow)
    elif has_result_at_provider(job, error):
        fetch = f"Its task has succeeded: `clipspool retry {job.id}` fetches the result, at no further cost."
        error = replace(error, what_to_do=fetch)
    elif is_unanswered(job) and not job.part:
        found = f"If the provider has a task of it, `clipspool attach {job.id} TASK_ID` brings its result."
        error = replace(error, what_to_do=found)
    ended = as_failed(job, error, is_duplicate=bool(event.is_duplicate))
    if ended.error is not None and any(one.name == "" for one in job.results):
        kept = "The downloaded result is kept beside it in `_failed`, with `.result` in its name."
        ended = replace(ended, error=replace(ended.error, what_to_do=f"{kept} {ended.error.what_to_do}"))
    return replace(ended, cancel_by=event.by)


def _begun_again(job: Job, now: float) -> Job:
    fresh = replace(job, error=None, held=None, reason="", cancel_by="", attempts=0, due_at=now)
    return replace(fresh, progress=None, rendering_since=None)
