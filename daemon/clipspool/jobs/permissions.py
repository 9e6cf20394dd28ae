"""What an operator may order for a job as it stands; commands and the page go by the same rules."""

from __future__ import annotations

from clipspool.jobs.events import TAKEN_OVER, Approved, Attached, Retried
from clipspool.jobs.lifecycle import may
from clipspool.jobs.model import Held, Job, State

_ASTRAY = frozenset({Held.LOST, Held.RESULT, Held.IN_DOUBT})
"""What came of the money is not known, or is of no use."""


def may_retry(job: Job) -> bool:
    """Tell whether it may be run again: it ended, its answer or task is lost, or its result is no video."""
    if is_taken_over(job):
        return False
    is_astray = job.held in _ASTRAY
    return may(job, Retried) and (job.state.is_terminal or job.state is State.IN_DOUBT or is_astray)


def is_taken_over(job: Job) -> bool:
    """Tell whether another journal has the clip: what is ordered here would come to nothing."""
    return job.error is not None and job.error.code == TAKEN_OVER


def may_attach(job: Job) -> bool:
    """Tell whether a task that the operator found may be named as its own."""
    return may(job, Attached) and job.held in _ASTRAY


def may_deliver_as_it_is(job: Job) -> bool:
    """Tell whether its result is here, and held only because it is far shorter or longer than was sent."""
    return job.state is State.FETCHED and job.held is Held.RESULT


def has_to_deliver(job: Job) -> bool:
    """Tell whether something that was paid for is fetched, and can be delivered before the job ends.

    Not what a person is asked about, nor what kills the process.
    """
    if not job.results or job.held is Held.POISON:
        return False
    return job.state is State.RENDERED or (job.state is State.FETCHED and job.held is not Held.RESULT)


def may_approve(job: Job) -> bool:
    """Tell whether it may be let go: it is queued, set aside as what kills the process, or of odd length."""
    return may(job, Approved) and (
        job.state is State.QUEUED or job.held is Held.POISON or may_deliver_as_it_is(job)
    )


def may_cancel(job: Job) -> bool:
    """Tell whether there is anything to end."""
    return not job.state.is_terminal
