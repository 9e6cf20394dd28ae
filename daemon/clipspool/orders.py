"""What an operator may order for a job as it stands; commands and the page go by the same rules."""

from __future__ import annotations

from clipspool.events import TAKEN_OVER, Approved, Attached, Retried
from clipspool.job import Held, Job, State
from clipspool.lifecycle import may

_ASTRAY = frozenset({Held.LOST, Held.RESULT, Held.IN_DOUBT})
"""What came of the money is not known, or is of no use."""


def may_retry(job: Job) -> bool:
    """Tell whether it may be run again: it ended, its answer or task is lost, or its result is no video."""
    if is_taken_over(job):
        return False
    is_astray = job.held in _ASTRAY and job.state is not State.FETCHED
    return may(job, Retried) and (job.state.is_terminal or job.state is State.IN_DOUBT or is_astray)


def is_taken_over(job: Job) -> bool:
    """Tell whether another journal has the clip: what is ordered here would come to nothing."""
    return job.error is not None and job.error.code == TAKEN_OVER


def may_attach(job: Job) -> bool:
    """Tell whether a task that the operator found may be named as its own."""
    return may(job, Attached) and job.held in _ASTRAY


def may_approve(job: Job) -> bool:
    """Tell whether it may be let go: it is queued, or was set aside as what kills the process."""
    return may(job, Approved) and (job.state is State.QUEUED or job.held is Held.POISON)


def may_cancel(job: Job) -> bool:
    """Tell whether there is anything to end."""
    return not job.state.is_terminal
