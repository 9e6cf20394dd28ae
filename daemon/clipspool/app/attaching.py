"""Attaches a task to a job, after asking the provider whether it knows the task."""

from __future__ import annotations

import queue
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import structlog

from clipspool.app.choosing import Ask
from clipspool.jobs.faults import Fault
from clipspool.jobs.permissions import may_attach
from clipspool.jobs.text import is_task_id
from clipspool.provider.protocol import Followed, TaskLook, TaskStatus
from clipspool.scheduler import commands
from clipspool.spool.handover import taker_of
from clipspool.spool.ledger import note
from clipspool.stages.runner import Tools
from clipspool.system.process import start_thread

log = structlog.get_logger()

ASK_SECONDS = 20.0
"""How long the provider may take to answer; the operator waits meanwhile."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """What the provider says of a task id."""

    known: Literal["yes", "no", "unasked"]
    answer: str


def sight(task_id: str, provider: Followed | None) -> Sighting:
    """Ask the provider about a task once, for at most `ASK_SECONDS`."""
    if provider is None:
        return Sighting("unasked", "it was made with another key, which is no longer configured")
    seen: queue.SimpleQueue[TaskLook | Fault] = queue.SimpleQueue()
    if start_thread(lambda: seen.put(provider.look(task_id)), "attach-look") is None:
        return Sighting("unasked", "this machine cannot start another thread now")
    try:
        look = seen.get(timeout=ASK_SECONDS)
    except queue.Empty:
        return Sighting("unasked", f"no answer within {ASK_SECONDS:g} s")
    if isinstance(look, Fault):
        return Sighting("unasked", look.message.rstrip("."))
    return Sighting("no" if look.status is TaskStatus.MISSING else "yes", look.word)


def attach(
    ask: Ask,
    tools: Tools,
    job_id: str,
    task_id: str,
    by: str,
    why: str = "",
    *,
    unasked: bool = False,
    force: bool = False,
) -> list[dict[str, Any]]:
    """Attach the task that the operator found to a job, if the provider knows the task.

    An unknown id is refused, as it may be mistyped; `force` attaches it all the same, since a fresh task may
    be unknown for minutes [PROVIDER 1.5]. Where the provider cannot be asked, `unasked` is required. With
    either the job stays held as `lost` until the provider shows the task.
    """
    task_id = task_id.strip()  # pasted with what stood around it

    def attached(*, is_seen: bool) -> list[dict[str, Any]]:
        command = partial(commands.attach, job_id=job_id, task_id=task_id, by=by, why=why, is_seen=is_seen)
        answers = list(ask(command))
        if answers[0]["done"]:
            _note_task(ask, tools, job_id, task_id)
        return answers

    job = ask(lambda scheduler: scheduler.journal.job(job_id))
    if job is None or not may_attach(job) or not is_task_id(task_id):
        # The command refuses it: there is nothing to ask the provider.
        return attached(is_seen=False)
    sighting = sight(task_id, tools.follow(job.task.profile if job.task else ""))
    if sighting.known == "no" and not force:
        why_not = (
            f"the provider does not know the task {task_id} ({sighting.answer}): check the id. A task "
            "created a moment ago may be unknown for minutes: try again later, or attach it with --force"
        )
        return [{"id": job_id, "done": False, "check": "missing", "why": why_not}]
    if sighting.known == "unasked" and not (unasked or force):
        why_not = f"the provider could not be asked about the task {task_id} ({sighting.answer})"
        return [{"id": job_id, "done": False, "check": "unasked", "why": f"{why_not}, so it is not checked"}]
    return attached(is_seen=sighting.known == "yes")


def _note_task(ask: Ask, tools: Tools, job_id: str, task_id: str) -> None:
    """Write an attached task into its clip's ledger: if the journal is lost, only that leads to the task.

    After the order is recorded: one that was refused must leave nothing there. A ledger that cannot be
    written does not undo the order, which the journal has.
    """
    job, journal_id = ask(lambda scheduler: (scheduler.journal.job(job_id), scheduler.journal.fact("id")))
    task = None if job is None else job.task
    folders = None if job is None else tools.folders_of.get(job.inbox)
    if task is None or task.task_id != task_id or folders is None:  # another order came meanwhile
        return
    try:
        if not taker_of(folders.inbox, job.clip_id, str(journal_id or "")):
            facts = {"profile": task.profile, "task_id": task_id, "number": task.number}
            note(folders.inbox, job.clip_id, job_id, "task", **facts)
    except OSError as error:
        log.warning("ledger_not_written", job=job_id, inbox=job.inbox, why=str(error))
