"""The operator's and editors' commands on versions of a clip; each runs inside one turn of the scheduler."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from clipspool.jobs import events as on
from clipspool.jobs.model import Clip, Job, Request, State
from clipspool.jobs.model import job_id as make_job_id
from clipspool.jobs.permissions import is_taken_over, may_run_again
from clipspool.scheduler.commands import NotDone, conditions_of, held_for_its_clip
from clipspool.scheduler.loop import Scheduler


@dataclass(frozen=True, slots=True)
class OrderKey:
    """An order that a program may send again where the answer was lost."""

    key: str
    """Who orders and the key given, as a hash."""
    what: str
    """What is ordered, as a hash: a key is good for one order."""


@dataclass(frozen=True, slots=True)
class Priced:
    """One more job of a clip, with its model and what it may cost."""

    clip: Clip
    model: str
    price: float | None


_ORDER = "order:"
ORDER_DAYS = 7
"""How long an order is recognized."""


def next_version(scheduler: Scheduler, job_id: str, shown: int | None = None) -> tuple[Job, Clip, int]:
    """Return an ended job, its clip, and the version that one more run of it would be. Raises NotDone.

    `shown` is the version that whoever orders it was told.
    """
    flying = scheduler.in_flight.get(job_id)
    job = flying.job if flying is not None else scheduler.journal.job(job_id)
    clip = scheduler.journal.clip(job.clip_id) if job is not None else None
    if job is None or clip is None:
        raise NotDone("there is no such job")
    if is_taken_over(job) and job.error is not None:
        raise NotDone(f"it was {job.error.message}. {job.error.what_to_do}".rstrip("."))
    if not may_run_again(job):
        raise NotDone(f"it is {job.state}, and only a job that has ended can be run once more")
    version = scheduler.journal.newest_version(clip, job.variant) + 1
    if shown is not None and shown != version:
        raise NotDone(
            f"version {shown} was ordered meanwhile, perhaps by this very order: look at it before you order "
            f"version {version}"
        )
    return job, clip, version


def would_hold(scheduler: Scheduler, order: Priced, before: Sequence[Priced] = ()) -> dict[str, Any]:
    """Return what would hold one more job of a clip, and why; `before` are ordered with it, and first."""
    conditions, cost = conditions_of(scheduler), scheduler.journal.clip_cost(order.clip.id)
    for one in before:
        spend = conditions.spend.plus(one.clip.inbox, one.model, one.price or 0.0)
        conditions = replace(conditions, spend=spend)
        if one.clip.id == order.clip.id:
            cost = replace(cost, waiting=(*cost.waiting, one.price))
    held, reason = conditions.would_hold(order.clip.inbox, [(order.model, order.price)], cost)
    return {} if held is None else {"held": held, "reason": reason}


def again(
    scheduler: Scheduler,
    job_id: str,
    request: Request,
    price: float | None,
    by: str,
    why: str = "",
    shown: int | None = None,
    order: OrderKey | None = None,
) -> dict[str, Any]:
    """Run an ended job's clip once more with another request, as its next version; the old one is kept.

    The limits on what a job and a clip may cost hold: nobody approved it by ordering it. An `order` that was
    carried out before is answered as then. Raises NotDone.
    """
    if order is not None and (known := ordered(scheduler, order)) is not None:
        return known
    job, clip, version = next_version(scheduler, job_id, shown)
    waits = would_hold(scheduler, Priced(clip, request.model, price))
    now = scheduler.now()
    new = Job(
        id=make_job_id(clip.id, job.variant, version),
        clip_id=clip.id,
        inbox=clip.inbox,
        variant=job.variant,
        request=request,
        created_at=now,
        updated_at=now,
        priority=request.priority + job.priority - job.request.priority,
        due_at=max(now, request.not_before or 0.0),
        credits_estimated=price,
        path=clip.path,
        version=version,
    )
    scheduler.run_again(new, on.Again(by, job.id, version, why))
    if order is not None:  # in the transaction of the job: there is never one without the other
        _keep_order(scheduler, order, job.id, new.id)
    scheduler.journal.flush()
    answer = {"id": job.id, "done": True, "new": new.id, "version": version, "state": new.state.value}
    return {**answer, **waits, **held_for_its_clip(scheduler, new.id)}


def ordered(scheduler: Scheduler, order: OrderKey) -> dict[str, Any] | None:
    """Return the answer to an order that was carried out before; None for a new one. Raises NotDone."""
    known = scheduler.journal.fact(_ORDER + order.key)
    if known is None:
        return None
    if known["what"] != order.what:
        raise NotDone("this key was used for another order; each order needs its own")
    job = scheduler.journal.job(known["new"])
    if job is None:
        raise NotDone("this order was carried out, and what came of it is forgotten by now")
    answer = {"id": known["id"], "done": True, "new": job.id, "version": job.version}
    held = {} if job.held is None else {"held": job.held.value, "reason": job.reason}
    return {**answer, "state": job.state.value, "credits_estimated": job.credits_estimated, **held}


def _keep_order(scheduler: Scheduler, order: OrderKey, job_id: str, new_id: str) -> None:
    journal, now = scheduler.journal, scheduler.now()
    for name in journal.facts_below(_ORDER):
        if journal.fact(name)["at"] < now - ORDER_DAYS * 86_400.0:
            journal.forget_fact(name)
    journal.set_fact(_ORDER + order.key, {"what": order.what, "id": job_id, "new": new_id, "at": now})


def choice(scheduler: Scheduler, job_id: str) -> tuple[Job, list[Job]]:
    """Return a delivered job, and what is chosen now of its clip's versions and variants. Raises NotDone."""
    job = scheduler.journal.job(job_id)
    clip = scheduler.journal.clip(job.clip_id) if job is not None else None
    if job is None or clip is None:
        raise NotDone("there is no such job")
    if job.state is not State.DELIVERED:
        raise NotDone(f"it is {job.state}, and only a delivered job has a result to choose")
    if job.part:
        raise NotDone(f"it is a part: choose the job that it belongs to, {job.whole_id}")
    return job, scheduler.journal.chosen(clip)


def mark(scheduler: Scheduler, job_id: str, event: on.Chosen | on.Unchosen) -> None:
    """Record that a delivered job's results are chosen, or are not any more."""
    job = scheduler.journal.job(job_id)
    if job is not None and job.state is State.DELIVERED:
        scheduler.decide(job, event)
        scheduler.journal.flush()
