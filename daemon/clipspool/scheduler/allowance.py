"""What one pick may still begin: by the brake's probes, and by the limits of day, inboxes and models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from clipspool.jobs.circuit_breaker import Brake
from clipspool.jobs.limits import Limits
from clipspool.jobs.model import Job
from clipspool.jobs.records import Spend
from clipspool.jobs.shares import Key
from clipspool.journal import Candidate


class Probes:
    """Decides which submissions a brake allows: all, or one at a time, those not refused yet first."""

    def __init__(
        self, brake: Brake, now: float, under_way: Sequence[Job], excused: Collection[str] = ()
    ) -> None:
        """`excused` are jobs that the brake does not hold, but for their model's."""
        self._brake, self._now, self._excused = brake, now, excused
        self._submitting = len(under_way)
        self._of_model = Counter(job.request.model for job in under_way)

    @property
    def may_begin(self) -> bool:
        """Whether any submission may begin now."""
        return bool(self._excused) or self._brake.room(self._now, 1, self._submitting) > 0

    def in_order(self, found: Iterable[Candidate]) -> Iterable[Candidate]:
        """Return candidates with those that were refused last."""
        brakes = (self._brake, *self._brake.models.values())
        if not any(one.refused for one in brakes):
            return found
        return sorted(found, key=lambda one: max(brake.rank(one.id) for brake in brakes))

    def allows(self, one: Candidate) -> bool:
        """Whether this one may begin now."""
        of_model = self._brake.models.get(one.model, Brake())
        is_let = one.id in self._excused or self._brake.room(
            self._now, 1, self._submitting, is_fresh=not self._brake.rank(one.id)
        )
        is_fresh = not of_model.rank(one.id)
        return bool(is_let and of_model.room(self._now, 1, self._of_model[one.model], is_fresh=is_fresh))

    def begin(self, one: Candidate) -> None:
        """Count one that begins."""
        self._submitting += 1
        self._of_model[one.model] += 1


class Used:
    """What is used of the day's limits and of the shares of inboxes and models, in one pick."""

    def __init__(
        self, limits: Limits, spend: Spend, running: Mapping[Key, int], connecting: Iterable[Job]
    ) -> None:
        self._limits, self._spend = limits, spend
        self._running = Counter(running)
        self._running.update((job.inbox, job.request.model) for job in connecting)

    def full_models(self) -> list[str]:
        """Return the models that have as many tasks under way as they may."""
        shares = self._limits.shares
        return [model for model in shares.models if shares.why_model_full(self._running, model)]

    def why_full(self, one: Candidate) -> str:
        """Return why one more task of this inbox and model has to wait for another to end; empty if not."""
        return self._limits.shares.why_full(self._running, one.inbox, one.model)

    def why_model_spent(self, one: Candidate) -> str:
        """Return which daily limit of its model a candidate would exceed; empty for none."""
        return self._limits.shares.why_model_spent(self._spend, one.model, _price(one))

    def why_spent(self, one: Candidate) -> dict[str, str]:
        """Return the limit of the day that a candidate would break, by the inbox or model that has it."""
        price, shares = _price(one), self._limits.shares
        found = {
            "": self._limits.day_is_spent(self._spend, price),
            f"inbox {one.inbox}": shares.why_inbox_spent(self._spend, one.inbox, price),
            f"model {one.model}": self.why_model_spent(one),
        }
        return {whose: why for whose, why in found.items() if why}

    def why_never(self, one: Candidate) -> str:
        """Return why no day will ever do for a candidate; empty where one does."""
        return self._limits.is_over_a_day(one.inbox, one.model, _price(one))

    def begin(self, one: Candidate) -> None:
        """Count one that begins."""
        if one.is_split:
            return  # its parts are counted
        self._running[one.inbox, one.model] += 1
        self._spend = self._spend.plus(one.inbox, one.model, one.credits_estimated or 0.0)


def _price(one: Candidate) -> float:
    """Return what submitting a candidate costs: a clip in parts nothing, each of them its own price."""
    return 0.0 if one.is_split else one.credits_estimated or 0.0


@dataclass(frozen=True, slots=True)
class Shut:
    """Jobs that the journal is not asked for: they cannot go, and would hide those after them."""

    approved_only: bool
    """The day's limit is reached."""
    models: Collection[str]


def shut_models(brake: Brake, now: float) -> list[str]:
    """Return the models for which nothing may be sent yet: their clips must not hide those after them."""
    return [model for model, one in brake.models.items() if not one.room(now, 1, 0)]
