"""Turns a poll of a task into an event, and asks the provider to cancel a task."""

from __future__ import annotations

from typing import assert_never

from clipspool.jobs import events as on
from clipspool.jobs.events import Event
from clipspool.jobs.faults import Fault, FaultOf
from clipspool.jobs.model import Error, Job
from clipspool.provider.protocol import Followed, TaskLook, TaskStatus


def poll(look: TaskLook | Fault) -> Event:
    """Return the event for a poll's answer; a fault of the poll says nothing about the task."""
    if isinstance(look, Fault):
        trouble = look if look.code.startswith("ACCOUNT.KEY_") else None
        return on.StageFailed(look.code, look.message, look.retry_after_seconds, trouble=trouble)
    match look.status:
        case TaskStatus.QUEUED:
            return on.TaskSeen(look.word, rendering=False, progress=look.progress, credits=look.credits)
        case TaskStatus.RUNNING | TaskStatus.UNKNOWN:
            return on.TaskSeen(look.word, rendering=True, progress=look.progress, credits=look.credits)
        case TaskStatus.MISSING:
            return on.TaskMissing(look.word)
        case TaskStatus.SUCCEEDED:
            return on.TaskSucceeded(look.credits, look.charged)
        case TaskStatus.CANCELLED:
            return on.TaskCancelled(look.word, look.charged)
        case TaskStatus.FAILED:
            return on.Failed(error_of(look), look.credits, look.charged, is_of_task=True)
        case never:
            assert_never(never)


def error_of(look: TaskLook) -> Error:
    """Return why a render failed. It is never run again automatically: that would be a second paid task."""
    failure = look.failure or Fault(
        FaultOf.MOMENT,
        "TASK.FAILED",
        "the provider says that the render failed, but not why",
        "A content filter is likely. Check prompt and clip before you run it again.",
    )
    return Error(failure.code, failure.message, failure.what_to_do, retryable=failure.of is not FaultOf.CLIP)


def tell_cancel(job: Job, provider: Followed | on.StageFailed) -> Event:
    """Cancel the task at the provider, where that can be reached; the job ends either way.

    A task that is finished is left alone: it is paid for, and cancelling it would remove its result.
    """
    if isinstance(provider, on.StageFailed):
        fault: Fault | on.StageFailed | None = provider
    else:
        look = provider.look(task_id_of(job))
        status = look.status if isinstance(look, TaskLook) else TaskStatus.UNKNOWN
        if status is TaskStatus.SUCCEEDED:
            return poll(look)
        is_over = status in {TaskStatus.FAILED, TaskStatus.CANCELLED}
        fault = None if is_over else provider.cancel(task_id_of(job))
    by = job.cancel_by
    if fault is None:
        return on.Cancelled(by, f"cancelled by {by}, at the provider too")
    message = f"cancelled by {by}, but not at the provider ({fault.message})"
    return on.Cancelled(by, message, may_go_on=True)


def task_id_of(job: Job) -> str:
    """Return the id of a job's task; raises ValueError where it has none."""
    if job.task is None or job.task.task_id is None:
        raise ValueError(f"job {job.id} is {job.state} and has no task")
    return job.task.task_id
