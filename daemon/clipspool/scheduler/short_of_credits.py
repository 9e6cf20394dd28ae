"""Gives clips that were refused for missing credits another model that the account still covers.

A refusal for missing credits has cost nothing for certain, so the clip may ask for another model. The pause
of the account holds all others meanwhile; one that what is left covers is sent all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeAlias

from clipspool.jobs import events as on
from clipspool.jobs.account import Balance
from clipspool.jobs.circuit_breaker import Brake
from clipspool.jobs.events import Event, FellBack
from clipspool.jobs.lifecycle import Stage
from clipspool.jobs.model import Job, Paid, Request, State
from clipspool.journal import Journal
from clipspool.scheduler.selection import InFlight

NO_CREDITS = "ACCOUNT.NO_CREDITS"
ChooseCovered: TypeAlias = Callable[
    [Request, Mapping[str, Any], str, float, Collection[str]], tuple[FellBack, float] | None
]
"""Returns the first fallback of the model that was asked for that the credits cover for a clip, with its
price; None for none, or where they cover that model itself. The models given last are left out."""
_FACT = "short_of_credits"
_REMEMBERED_MAX = 200


@dataclass(frozen=True, slots=True)
class OutOfCredits:
    """A job that was refused for missing credits."""

    asked: str
    """The model that it was first refused with."""
    at: float
    """When it was last refused: only a balance read after that is used."""
    left: float | None = None
    """What was left when its present model was chosen; None while it waits like all others."""
    price: float = 0.0
    """What its present model costs."""
    tried: Mapping[str, float] = field(default_factory=dict)
    """Models that were chosen and refused too, with the credits left then: each is tried again with more."""


class ShortOfCredits:
    """For the scheduler's thread, inside a turn."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._choose: ChooseCovered = lambda *_: None
        self._refused = {job_id: OutOfCredits(**one) for job_id, one in (journal.fact(_FACT) or {}).items()}
        self._read_at = 0.0
        """When the balance was read by which the choice was made last."""

    def use(self, choose: ChooseCovered) -> None:
        """Use these settings from now on."""
        self._choose, self._read_at = choose, 0.0

    def passes(self, job: Job, event: Event, brake: Brake) -> bool:
        """Whether a task was made in spite of missing credits: that says nothing about dearer clips."""
        one = self._refused.get(job.id)
        is_let = one is not None and one.left is not None
        return is_let and isinstance(event, on.TaskCreated) and _is_short(brake)

    def on_change(self, before: Job, moved: Job, event: Event, now: float) -> None:
        """Remember a job that was refused for missing credits; forget one that was sent or has ended."""
        one = self._refused.get(before.id)
        is_refusal = isinstance(event, on.NotSubmitted) and event.fault.code == NO_CREDITS
        if is_refusal and may_change(moved):
            model = before.request.model
            one = one or OutOfCredits(model, now)
            tried = one.tried if one.left is None else {**one.tried, model: one.left}
            self._remember({**self._refused, before.id: OutOfCredits(one.asked, now, tried=tried)})
        elif one is not None and (
            isinstance(event, FellBack) or moved.state not in {State.QUEUED, State.SUBMITTING}
        ):
            self._remember({key: kept for key, kept in self._refused.items() if key != before.id})

    def due(self, brake: Brake, busy: Collection[str], profile: str) -> Iterator[tuple[Job, FellBack]]:
        """Return jobs with a model that the account covers, once for each reading of its balance.

        Record each before the next is asked for, which may count only on what is left then.
        """
        if not brake.is_on and self._refused:
            self._remember({})  # the account has credits again
        waiting = [job_id for job_id, one in self._refused.items() if one.left is None]
        look = self._look(profile) if waiting and _is_short(brake) else None
        if look is None or look["at"] <= self._read_at:
            return
        self._read_at = look["at"]
        for job in self._journal.load(waiting).values():
            one = self._refused[job.id]
            is_free = job.state is State.QUEUED and job.held is None and job.id not in busy
            is_told = job.task is not None and job.task.profile == profile and one.at < look["at"]
            clip = self._journal.clip(job.clip_id) if is_free and is_told else None
            if clip is None or not may_change(job) or self._journal.parts_of(job):
                continue
            left = self._left(look) - sum(one.price for one in self._refused.values())
            passed_over = [model for model, had in one.tried.items() if left <= had]
            models = [job.request.model, *brake.models, *passed_over]
            if found := self._choose(job.request, clip.media, one.asked, left, models):
                event, price = found
                yield job, event
                self._remember({**self._refused, job.id: replace(one, left=left, price=price)})

    def excused(self, brake: Brake, in_flight: Mapping[str, InFlight], profile: str) -> frozenset[str]:
        """Return the jobs that the account's pause does not hold: those that what is left covers.

        One whose price for its new model is not known yet may only be prepared.
        """
        let = [job_id for job_id, one in self._refused.items() if one.left is not None]
        look = self._look(profile) if let and _is_short(brake) else None
        if look is None:
            return frozenset()
        left = self._left(look) - sum(
            one.job.credits_estimated or 0.0
            for one in in_flight.values()
            if one.stage is Stage.SUBMIT and one.job.state is State.QUEUED  # its intent is not recorded yet
        )
        found = set()
        for job in self._journal.load(let).values():
            if job.id in in_flight or job.parts:
                continue
            if job.prepared:
                if job.credits_estimated is None or job.credits_estimated > left:
                    continue
                left -= job.credits_estimated
            found.add(job.id)
        return frozenset(found)

    def _look(self, profile: str) -> dict[str, Any] | None:
        """Return the last reading of this account's balance."""
        look = (self._journal.fact("balance") or [None])[-1]
        return look if look and look["profile"] == profile else None

    def _left(self, look: dict[str, Any]) -> float:
        """Return a reading's credits minus the cost of what was sent since the reading began."""
        has = Balance(look["amount"], look["unit"]).credits
        return has - self._journal.spent(look["at"]).credits

    def _remember(self, refused: dict[str, OutOfCredits]) -> None:
        self._refused = dict(list(refused.items())[-_REMEMBERED_MAX:])
        if refused:
            self._journal.set_fact(_FACT, {key: asdict(one) for key, one in self._refused.items()})
        else:
            self._journal.forget_fact(_FACT)


def may_change(job: Job) -> bool:
    """Whether another model may serve: only while no request of a job may have been paid.

    Another model is another paid task. All parts of a film are made by one model: they wait for it.
    """
    return job.paid is Paid.NO and not job.part and not job.reuse


def _is_short(brake: Brake) -> bool:
    return brake.fault is not None and brake.fault.code == NO_CREDITS
