"""The operator's commands: each runs inside one turn of the scheduler."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from clipspool.jobs import events as on
from clipspool.jobs.conditions import Conditions
from clipspool.jobs.events import Event
from clipspool.jobs.lifecycle import Stage
from clipspool.jobs.limits import ALL
from clipspool.jobs.model import Held, Job, State
from clipspool.jobs.permissions import (
    has_to_deliver,
    is_held_for_approval,
    is_retried_for_free,
    is_taken_over,
    may_approve,
    may_attach,
    may_cancel,
    may_retry,
    may_retry_or_release,
)
from clipspool.jobs.splitting import is_waiting_for_parts
from clipspool.jobs.text import is_task_id
from clipspool.scheduler.loop import Scheduler


class NotDone(Exception):
    """The command cannot be carried out, and why."""


def conditions_of(scheduler: Scheduler) -> Conditions:
    """Return what holds jobs back now."""
    picker = scheduler.picker
    return Conditions(
        scheduler.now(),
        scheduler.brake,
        scheduler.pauses.by_operator,
        scheduler.spending.today,
        picker.limits,
        is_restored=bool(scheduler.restore_guard.restored),
        pause_files=dict(scheduler.pauses.files),
        running=dict(scheduler.journal.running),
    )


def retry(scheduler: Scheduler, ids: Sequence[str], by: str, why: str = "") -> list[dict[str, Any]]:
    """Run jobs again that failed, were cancelled, are in doubt, or are held for a task that is lost."""

    def one(job: Job) -> Event:
        if job.held is Held.POISON:
            return on.Approved(by, why)
        if why_not := scheduler.parts.why_not_alone(job):
            raise NotDone(why_not)
        if is_taken_over(job) and job.error is not None:
            raise NotDone(f"it was {job.error.message}. {job.error.what_to_do}".rstrip("."))
        if not may_retry(job):
            raise NotDone(
                f"it is {job.state}, and only failed, cancelled, in-doubt and lost jobs can be retried"
                + ("; `clipspool again` runs it once more" if job.state is State.DELIVERED else "")
            )
        task_id = job.task.task_id if job.task and is_retried_for_free(job) else None
        if task_id and (owner := scheduler.journal.follower(task_id, but=job.id)):
            raise NotDone(f"job {owner} has its task now; `clipspool again {job.id}` pays for another one")
        # A frozen machine that goes on would pay for the first request while this one pays for the second.
        if waits := _may_still_be_sent(scheduler, job):
            raise NotDone(waits)
        return on.Retried(by, why)

    answers = _each(scheduler, scheduler.parts.ordered(ids, may_retry_or_release), one)
    return [
        {**answer, **(held_for_its_clip(scheduler, answer["id"]) if answer["done"] else {})}
        for answer in answers
    ]


def held_for_its_clip(scheduler: Scheduler, job_id: str) -> dict[str, Any]:
    """Hold a job that is run again where its clip costs more in all, what was paid included, than it may.

    The order to run it again was about one job; the limit is on the clip.
    """
    job = scheduler.journal.job(job_id)
    if job is None or job.state is not State.QUEUED or job.held is not None:
        return {}
    cost = scheduler.journal.clip_cost(job.clip_id)
    why = scheduler.picker.limits.is_clip_too_dear(cost, job.credits_estimated)
    if not why:
        return {}
    scheduler.decide(job, on.JobHeld(Held.BUDGET, why))
    scheduler.journal.flush()
    return {"held": Held.BUDGET.value, "reason": why}


def _may_still_be_sent(scheduler: Scheduler, job: Job) -> str:
    """Return why a doubt may not be retried yet: the node that had the request may be sending it just now."""
    lost = scheduler.cut_short.lost_lead
    if lost is None or job.state is not State.IN_DOUBT or job.task is None:
        return ""
    left = lost.answered_by - scheduler.seconds_since_boot()
    if left <= 0 or job.task.evidence.get("node") != lost.node:
        return ""
    return (
        f"the node {lost.node} lost its lead while it had the request, and may still send it: see whether "
        f"that node runs, and retry in {left:.0f} s if it is still in doubt then"
    )


def cancel(scheduler: Scheduler, ids: Sequence[str], by: str, why: str = "") -> list[dict[str, Any]]:
    """End jobs; one that renders is cancelled at the provider first, where that is possible."""

    def one(job: Job) -> Event:
        if not may_cancel(job):
            raise NotDone(f"it is {job.state} already")
        if job.part and job.state is State.FETCHED:
            raise NotDone(f"its result is here; `clipspool cancel {job.whole_id}` ends all parts of the job")
        flying = scheduler.in_flight.get(job.id)
        is_served = scheduler.picker.limits.serves(job.inbox)
        waits = (
            job.state is State.RUNNING
            or (flying is not None and flying.stage is not Stage.POLL)
            or (has_to_deliver(job) and is_served)
        )
        return (
            on.CancelAsked(by, why)
            if waits
            else on.Cancelled(by, why=why, is_duplicate=job.held is Held.DUPLICATE or None)
        )

    answers = _each(scheduler, ids, one)
    for answer in answers:
        whole = scheduler.journal.job(answer["id"]) if answer["done"] else None
        if whole is not None and is_waiting_for_parts(whole):
            # It ends once all of them have: those that render are cancelled at the provider first.
            open_parts = [part.id for part in scheduler.journal.parts_of(whole) if may_cancel(part)]
            _each(scheduler, open_parts, one)
    for answer in answers:
        job = scheduler.journal.job(answer["id"]) if answer["done"] else None
        if job is not None and job.cancel_by and has_to_deliver(job):
            answer["delivers"] = True
    return answers


def attach(
    scheduler: Scheduler, job_id: str, task_id: str, by: str, why: str = "", *, is_seen: bool = True
) -> list[dict[str, Any]]:
    """Attach a task that the operator found for a job in doubt; `is_seen` where the provider knows it."""
    task_id = task_id.strip()
    if not is_task_id(task_id):
        raise NotDone("that is no task id")

    def one(job: Job) -> Event:
        if job.is_split:
            raise NotDone("its parts have the tasks: name the part that is in doubt")
        if why_not := scheduler.parts.why_not_alone(job):
            raise NotDone(why_not)
        if not may_attach(job):
            raise NotDone(
                f"it is {job.state}, and a task can be attached to lost jobs, and to those that are in doubt "
                "or ended in doubt"
            )
        # One task for two jobs: one result would be delivered as both, and the other paid task is lost.
        owner = scheduler.journal.follower(task_id, but=job.id)
        if owner is not None:
            raise NotDone(f"job {owner} has that task; cancel it first if the task is this job's")
        return on.Attached(by, task_id, job.task.profile if job.task else scheduler.profile, why, is_seen)

    return _each(scheduler, [job_id], one)


def approve(scheduler: Scheduler, ids: Sequence[str], by: str, why: str = "") -> list[dict[str, Any]]:
    """Release jobs that are held for their price, for the day's limits, or as duplicates."""

    def one(job: Job) -> Event:
        if not may_approve(job):
            raise NotDone(
                f"it is {job.state}, and only queued jobs, those held as poison, and those whose result is "
                "held for its length can be approved"
            )
        if job.held is Held.VETO:
            scheduler.hooks.pass_over(job.id)
        return on.Approved(by, why)

    return _each(scheduler, scheduler.parts.ordered(ids, is_held_for_approval), one)


def _each(scheduler: Scheduler, ids: Sequence[str], choose: Callable[[Job], Event]) -> list[dict[str, Any]]:
    answers: list[dict[str, Any]] = []
    for job_id in ids:
        flying = scheduler.in_flight.get(job_id)
        job = flying.job if flying is not None else scheduler.journal.job(job_id)
        if job is None:
            answers.append({"id": job_id, "done": False, "why": "there is no such job"})
            continue
        try:
            moved = scheduler.decide(job, choose(job))
        except NotDone as refused:
            answers.append({"id": job_id, "done": False, "why": str(refused)})
            continue
        # The same job may be named again: what was recorded has to be visible.
        scheduler.journal.flush()
        answers.append({"id": job_id, "done": True, "state": moved.state.value})
    return answers


def pause(scheduler: Scheduler, inbox: str | None) -> str:
    """Stop submitting, from one inbox or from all; what runs is still followed."""
    _known(scheduler, inbox)
    scheduler.pauses.set_by_operator(scheduler.pauses.by_operator | {inbox or ALL})
    return ""


def resume(scheduler: Scheduler, inbox: str | None) -> str:
    """Continue submitting, also where the provider is blocked: the operator says that the fault is over.

    Returns which inboxes stay paused by an editor's file, in words.
    """
    _known(scheduler, inbox)
    files = scheduler.pauses.files
    still = [
        f"the inbox {name} contains `{files[name]}`: remove it, and sending continues"
        for name in scheduler.picker.inboxes
        if inbox in {None, name} and name in files
    ]
    if inbox is None:
        scheduler.pauses.set_by_operator(())
        scheduler.braking.release()
    else:
        paused = scheduler.pauses.by_operator
        if still and not paused & {ALL, inbox}:
            raise NotDone(still[0])
        if ALL in paused:
            paused = frozenset(scheduler.picker.inboxes)
        scheduler.pauses.set_by_operator(paused - {inbox})
    scheduler.journal.retire_again(scheduler.now(), inbox)
    return "; ".join(still)


def accept_restored(scheduler: Scheduler) -> bool:
    """Submit again though the journal is an older copy; False where nothing was held for that."""
    return scheduler.restore_guard.accept()


def _known(scheduler: Scheduler, inbox: str | None) -> None:
    if inbox is not None and inbox not in scheduler.picker.inboxes:
        raise NotDone(f"there is no inbox {inbox} (known: {', '.join(scheduler.picker.inboxes)})")


def open_clips(scheduler: Scheduler, ids: Collection[str]) -> Collection[str]:
    """Return those clips that have a job which has not ended."""
    return {clip_id for clip_id in scheduler.journal.known(ids) if scheduler.journal.has_open_job(clip_id)}


def doubts_of_lost_leads(scheduler: Scheduler, inbox: str) -> Sequence[Job]:
    """Return the jobs of an inbox in doubt whose request a former leader of the farm had."""
    if not scheduler.journal.present[State.IN_DOUBT]:
        return []
    return [
        job
        for job in scheduler.journal.find(states=(State.IN_DOUBT,))
        if job.inbox == inbox and job.task is not None and "node" in job.task.evidence
    ]


def give_up(scheduler: Scheduler, takers: Mapping[str, on.TakenOver]) -> None:
    """End the jobs of clips that other journals took over, by the clip's id."""
    for clip_id, event in takers.items():
        for known in scheduler.journal.jobs_of(clip_id):
            flying = scheduler.in_flight.get(known.id)
            job = flying.job if flying is not None else known
            # A request that is on its way is answered first: the answer belongs into the ledger.
            if not job.state.is_terminal and job.state is not State.SUBMITTING:
                scheduler.decide(job, event)


COMMANDS: Mapping[str, Callable[..., Any]] = {
    "retry": retry,
    "cancel": cancel,
    "attach": attach,
    "approve": approve,
    "pause": pause,
    "resume": resume,
    "accept_restored": accept_restored,
}
"""The commands of the command line, by name; each takes the scheduler first."""
