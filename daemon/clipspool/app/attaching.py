"""Asks the provider about a task before a job follows it: a person's word is checked where it can be."""

from __future__ import annotations

import queue
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from clipspool.jobs.faults import Fault
from clipspool.jobs.permissions import may_attach
from clipspool.provider.protocol import Look, Provider, TaskStatus
from clipspool.provider.runway.ids import is_task_id
from clipspool.scheduler import commands as operator
from clipspool.scheduler.loop import Scheduler
from clipspool.system.process import start_thread

ASK_SECONDS = 20.0
"""How long the provider may take to answer; whoever ordered it waits."""

Follow = Callable[[str], Provider | None]
"""Gives the provider for a task's profile; None where this key must not be shown to that address."""
Ask = Callable[[Callable[[Scheduler], Any]], Any]
"""Runs something in a turn of the scheduler and gives its answer."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """What the provider says of a task id."""

    known: Literal["yes", "no", "unasked"]
    said: str


def sight(task_id: str, provider: Provider | None, seconds: float = ASK_SECONDS) -> Sighting:
    """Look at a task once, for at most so many seconds."""
    if provider is None:
        return Sighting("unasked", "it was made with another key, which is no longer configured")
    seen: queue.SimpleQueue[Look | Fault] = queue.SimpleQueue()
    if start_thread(lambda: seen.put(provider.look(task_id)), "attach-look") is None:
        return Sighting("unasked", "this machine begins no more threads now")
    try:
        look = seen.get(timeout=seconds)
    except queue.Empty:
        return Sighting("unasked", f"no answer within {seconds:g} s")
    if isinstance(look, Fault):
        return Sighting("unasked", look.message.rstrip("."))
    return Sighting("no" if look.status is TaskStatus.MISSING else "yes", look.word)


def attach(
    ask: Ask,
    follow: Follow,
    job_id: str,
    task_id: str,
    by: str,
    why: str = "",
    *,
    unasked: bool = False,
    force: bool = False,
) -> list[dict[str, Any]]:
    """Let a job follow a task that its operator found, once the provider knows the task.

    An id that the provider does not know is refused, for a slip of the pen looks just so; `force` follows it
    all the same: a fresh task may be unknown for minutes [PROVIDER 1.5]. Where the provider cannot be asked,
    `unasked` has to say that this is known. Either way the job stays held as `lost` until the task is seen.
    """
    job = ask(lambda scheduler: scheduler.journal.job(job_id))
    if job is None or not may_attach(job) or not is_task_id(task_id):
        # What the command itself refuses needs no look.
        return _ordered(ask, job_id, task_id, by, why, is_seen=False)
    sighting = sight(task_id, follow(job.task.profile if job.task else ""))
    if sighting.known == "no" and not force:
        said = (
            f"the provider does not know the task {task_id} ({sighting.said}): look at the id once more. A "
            "task made a moment ago may be unknown for minutes: try again then, or follow it with --force"
        )
        return [{"id": job_id, "done": False, "check": "missing", "why": said}]
    if sighting.known == "unasked" and not (unasked or force):
        why_not = f"the provider could not be asked about the task {task_id} ({sighting.said})"
        said = f"{why_not}, so it is not checked"
        return [{"id": job_id, "done": False, "check": "unasked", "why": said}]
    return _ordered(ask, job_id, task_id, by, why, is_seen=sighting.known == "yes")


def _ordered(
    ask: Ask, job_id: str, task_id: str, by: str, why: str, *, is_seen: bool
) -> list[dict[str, Any]]:
    def command(scheduler: Scheduler) -> list[dict[str, Any]]:
        return operator.attach(scheduler, job_id, task_id, by, why, is_seen=is_seen)

    answers: list[dict[str, Any]] = ask(command)
    return answers
