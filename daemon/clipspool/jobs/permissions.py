"""What an operator may order for a job in its present state; commands and the page share these rules."""

from __future__ import annotations

from collections.abc import Iterable

from clipspool.jobs.effects_paid import is_unanswered
from clipspool.jobs.events import TAKEN_OVER, Approved, Attached, Retried
from clipspool.jobs.lifecycle import has_paid_result, has_task_to_follow, may
from clipspool.jobs.model import Held, Job, State

_ASTRAY = frozenset({Held.LOST, Held.RESULT, Held.IN_DOUBT})
"""It is not known what was paid for, or the result is of no use."""


def may_retry(job: Job) -> bool:
    """Whether it may be run again: it ended, its answer or task is lost, or its result is no video."""
    if is_taken_over(job):
        return False
    is_astray = job.held in _ASTRAY
    return may(job, Retried) and (job.state.is_terminal or job.state is State.IN_DOUBT or is_astray)


def is_retried_for_free(job: Job) -> bool:
    """Whether running it again pays for nothing: its task is followed, or results are fetched or joined."""
    is_joined = job.is_split and job.state in {State.RENDERED, State.FETCHED}
    has_task = has_paid_result(job) or has_task_to_follow(job)
    return is_joined or (job.state is State.CANCELLED and has_task)


def may_retry_or_release(job: Job) -> bool:
    """Whether `retry` changes anything: it may be run again, or is set aside for crashes."""
    return may_retry(job) or job.held is Held.POISON


def may_run_again(job: Job) -> bool:
    """Whether its clip may be run once more as the next version: it ended, is whole, and this journal's."""
    return not job.part and job.state.is_terminal and not is_taken_over(job)


def is_taken_over(job: Job) -> bool:
    """Whether another journal has the clip: an order here would have no effect."""
    return job.error is not None and job.error.code == TAKEN_OVER


def may_attach(job: Job) -> bool:
    """Whether a task that the operator found may be attached."""
    is_lost = is_unanswered(job) and not is_taken_over(job) if job.state.is_terminal else job.held in _ASTRAY
    return may(job, Attached) and is_lost


def may_deliver_as_it_is(job: Job) -> bool:
    """Whether its result is held only because it is far shorter or longer than what was sent."""
    return job.state is State.FETCHED and job.held is Held.RESULT


def has_to_deliver(job: Job) -> bool:
    """Whether a paid result is fetched, and can be delivered before the job ends.

    A result that a person has to look at does not count, nor one that crashes the process, nor a part's.
    """
    if job.part or not job.results or job.held is Held.POISON:
        return False
    return job.state is State.RENDERED or (job.state is State.FETCHED and job.held is not Held.RESULT)


def may_approve(job: Job) -> bool:
    """Whether it may be released: queued, set aside for crashes, or with a result of unexpected length."""
    return may(job, Approved) and (
        job.state is State.QUEUED or job.held is Held.POISON or may_deliver_as_it_is(job)
    )


def is_held_for_approval(job: Job) -> bool:
    """Whether it is held, and an approval releases it."""
    return job.held is not None and may_approve(job)


def price_to_approve(jobs: Iterable[Job]) -> float:
    """Return what approving jobs costs, as far as it is known: what was sent before costs nothing more."""
    return sum(job.credits_estimated or 0.0 for job in jobs if job.state is State.QUEUED)


def may_cancel(job: Job) -> bool:
    """Whether there is anything to end; a part that is fetched ends with the job that it belongs to."""
    return not job.state.is_terminal and not (job.part and job.state is State.FETCHED)
