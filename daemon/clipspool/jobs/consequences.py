"""Says what an order may cost or lose, before it is given: for the commands and the page alike; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from clipspool.jobs.lifecycle import has_task_to_follow
from clipspool.jobs.model import Held, Job, Paid, State
from clipspool.jobs.permissions import (
    has_to_deliver,
    is_retried_for_free,
    may_attach,
    may_deliver_as_it_is,
    price_to_approve,
)


def price_of_all(jobs: Sequence[Job], act: str) -> float:
    """Return what an order for jobs costs, as far as prices are known."""
    if act == "approve":
        return price_to_approve(jobs)
    paid_for = [job for job in jobs if not (_goes_on(job, act) or is_retried_for_free(job))]
    return sum(job.credits_estimated or 0.0 for job in paid_for)


def credits_in_words(credits_: float | None) -> str:
    """Describe what something may cost, in a sentence."""
    return "Its cost is unknown." if credits_ is None else f"It may cost about {credits_:,.10g} credits."


def consequences(jobs: Sequence[Job], act: str) -> list[str]:
    """Return what an order may cost or lose: `retry`, `cancel` or `approve` of jobs, or `attach` of one."""
    return _of_one(jobs[0], act) if len(jobs) == 1 else _of_several(jobs, act)


def _of_one(job: Job, act: str) -> list[str]:
    price = credits_in_words(job.credits_estimated)
    act = "approve" if act == "retry" and job.held is Held.POISON else act  # either releases it
    match act:
        case "retry" if is_retried_for_free(job):
            return [
                "Its task may go on at the provider, and is followed. This costs nothing more."
                if has_task_to_follow(job)
                else "What was paid for is fetched, or joined once more. This costs nothing more."
            ]
        case "retry" if job.paid is Paid.YES:
            return [price, "It was already charged, and would be charged again."]
        case "retry" if job.paid is Paid.UNKNOWN and not may_attach(job):
            return [price, "It may have been charged already, and would be charged again."]
        case "retry" if job.paid is Paid.UNKNOWN:
            first = "look for the task at the provider first; if it exists, attach it instead."
            return [price, f"It may have been charged already: {first}"]
        case "retry":
            return [price]
        case "cancel":
            return _cancelled(job)
        case "attach":
            return [
                "This costs nothing more. The provider is asked about the task first.",
                "The task's result will be delivered as this clip's: make sure it is the right task.",
            ]
        case _ if may_deliver_as_it_is(job):
            return ["Its result is delivered as it is. This costs nothing more."]
        case _ if _goes_on(job, act):
            return ["It goes on where it stopped. This costs nothing more."]
        case _:
            despite = _DESPITE.get(job.held, ", despite the limit that holds it")
            said = [f"It will be sent to the provider and charged{despite}.", price]
            older = "It comes from an older copy of the journal, and may have been paid for since."
            return [*said, older] if job.held is Held.FROM_BACKUP else said


def _goes_on(job: Job, act: str) -> bool:
    """Whether an order releases a job that was sent before: that costs nothing more."""
    is_released = act == "approve" or (act == "retry" and job.held is Held.POISON)
    return is_released and job.state is not State.QUEUED


_DESPITE: Mapping[Held | None, str] = {
    Held.DUPLICATE: ", although it looks like a duplicate",
    Held.POISON: ", although clipspool crashed while working on it",
    Held.REFUSED: ", although the provider refused it before",
    Held.VETO: ", although the before_submit hook stopped it",
    Held.FROM_BACKUP: "",
}
"""By what holds a job that is approved: what is passed over; else it is a limit."""


def _cancelled(job: Job) -> list[str]:
    said = ["The clip is moved to _failed; you can retry the job later."]
    if job.paid is Paid.NO:
        return ["Nothing was charged for it yet.", *said]
    if has_to_deliver(job):
        return [
            "Results already downloaded are delivered to the outbox first.",
            "If that fails, they are kept beside the source in _failed.",
            "Results not downloaded yet are given up.",
        ]
    if job.results:
        return ["Results already downloaded are kept beside the source in _failed.", *said]
    if _is_fetched_by_retry(job):
        return ["Its result is paid for: `retry` fetches it for nothing while the provider keeps it.", *said]
    cost = "" if job.credits_estimated is None else f" (about {job.credits_estimated:,.10g} credits)"
    if job.paid is Paid.UNKNOWN:
        return [f"If it was already charged{cost}, the money is lost unless the provider refunds it.", *said]
    return [f"The money paid for its task{cost} is lost unless the provider refunds it.", *said]


def _is_fetched_by_retry(job: Job) -> bool:
    return job.task is not None and job.task.succeeded


def _of_several(jobs: Sequence[Job], act: str) -> list[str]:
    if here := [job for job in jobs if act == "approve" and may_deliver_as_it_is(job)]:
        said = f"{len(here):,} will be delivered as downloaded, at no cost."
        others = [job for job in jobs if job not in here]
        return [said, *(_of_several(others, act) if others else ())]
    if free := [job for job in jobs if act == "retry" and is_retried_for_free(job)]:
        others = [job for job in jobs if job not in free]
        said = f"{len(free):,} will be followed, fetched, or joined once more, at no cost."
        return [said, *(_of_several(others, act) if others else ())]
    if begun := [job for job in jobs if _goes_on(job, act)]:
        go = "1 goes on where it stopped" if len(begun) == 1 else f"{len(begun):,} go on where they stopped"
        others = [job for job in jobs if job not in begun]
        return [f"{go}, at no cost.", *(_of_several(others, act) if others else ())]
    many = f"{len(jobs):,} job{'s' * (len(jobs) != 1)}"
    paid = [job for job in jobs if job.paid is not Paid.NO]
    if act == "cancel":
        first = sum(map(has_to_deliver, jobs))
        kept = sum(bool(job.results) for job in jobs) - first
        lost = sum(not (job.results or _is_fetched_by_retry(job)) for job in paid)
        counted = [
            (first, f"Results already downloaded for {first} of them are delivered first."),
            (kept, f"Results of {kept} of them are kept beside the source in _failed."),
            (lost, f"The money paid for {lost} of them is lost unless the provider refunds it."),
            (not paid, "Nothing was charged for them yet."),
        ]
        return [f"{many} will be cancelled.", *(said for count, said in counted if count)]
    known = [job.credits_estimated for job in jobs if job.credits_estimated is not None]
    price = f"about {sum(known):,.10g} credits" if known else "the cost is unknown"
    if len(known) < len(jobs) and known:
        price += f", plus {len(jobs) - len(known)} of unknown price"
    older = sum(job.held is Held.FROM_BACKUP for job in jobs)
    counted = [
        (len(paid), f"{len(paid)} of them may have been charged already, and would be charged again."),
        (older, f"{older} of them may have been paid for since the older copy of the journal was made."),
    ]
    return [f"{many} will be sent and charged: {price}.", *(said for count, said in counted if count)]
