"""What a clock that was set changes of a job, so that the age of its paid task does not jump with it."""

from __future__ import annotations

from dataclasses import replace

from clipspool.jobs.model import Job, State

CLOCK_SET_SECONDS = 60.0
"""A clock that differs by more from the time that passed was set."""


def shifted(job: Job, by: float) -> Job:
    """Return a job whose open task counts its age from shifted times: the clock was set by `by` seconds."""
    task, since = job.task, job.rendering_since
    if job.state is not State.RUNNING or task is None:
        return job
    task = replace(task, created_at=None if task.created_at is None else task.created_at + by)
    return replace(job, task=task, rendering_since=None if since is None else since + by)


def due_by(job: Job, now: float) -> Job:
    """Return a job that is due now, or when its editor wants it: its times are those of a clock since set."""
    not_before = job.request.not_before if job.state is State.QUEUED else None
    task = job.task
    if task is not None and task.created_at is not None:
        task = replace(task, created_at=min(task.created_at, now))
    return replace(job, task=task, due_at=min(job.due_at, max(now, not_before or 0.0)))
