"""Counts what was submitted since midnight UTC: from the journal once, then in memory."""

from __future__ import annotations

from collections.abc import Callable

from clipspool.jobs.model import Job
from clipspool.jobs.records import Spend
from clipspool.jobs.text import midnight
from clipspool.journal import Journal

_REPORTED = "day_spent"


class Spending:
    """The day's submissions. For the scheduler's thread."""

    def __init__(self, journal: Journal, now: Callable[[], float]) -> None:
        self._journal = journal
        self._now = now
        self._counted: tuple[float, Spend] | None = None
        reported = journal.fact(_REPORTED)
        self._reported: dict[str, float] = reported if isinstance(reported, dict) else {"": reported or 0.0}

    @property
    def today(self) -> Spend:
        """What was submitted since midnight."""
        day = self._day()
        if self._counted is None or self._counted[0] != day:
            self._journal.flush()
            self._counted = (day, self._journal.spent(day))
        return self._counted[1]

    def add(self, job: Job) -> None:
        """Count one more submission."""
        more = self.today.plus(job.inbox, job.request.model, job.credits_estimated or 0.0)
        self._counted = (self._day(), more)

    def recount(self) -> None:
        """Count again next time: something was not charged after all."""
        self._counted = None

    def is_first_today(self, whose: str = "") -> bool:
        """Record that a limit of the day is reached; return whether that is for the first time today.

        `whose` names an inbox or a model with a limit of its own; empty for the day's.
        """
        day = self._day()
        if self._reported.get(whose) == day:
            return False
        self._reported = {name: at for name, at in self._reported.items() if at == day} | {whose: day}
        self._journal.set_fact(_REPORTED, self._reported)
        return True

    def _day(self) -> float:
        return midnight(self._now())
