"""Counts what was submitted since midnight UTC: from the journal once, then in memory."""

from __future__ import annotations

from collections.abc import Callable

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
        self._reported = journal.fact(_REPORTED)

    @property
    def today(self) -> Spend:
        """What was submitted since midnight."""
        day = self._day()
        if self._counted is None or self._counted[0] != day:
            self._journal.flush()
            self._counted = (day, self._journal.spent(day))
        return self._counted[1]

    def add(self, credits_estimated: float) -> None:
        """Count one more submission."""
        spend = self.today
        self._counted = (self._day(), Spend(spend.submissions + 1, spend.credits + credits_estimated))

    def recount(self) -> None:
        """Count anew next time: something was not charged after all."""
        self._counted = None

    def is_first_today(self) -> bool:
        """Record that a daily limit is reached; return whether that is for the first time today."""
        day = self._day()
        if self._reported == day:
            return False
        self._reported = day
        self._journal.set_fact(_REPORTED, day)
        return True

    def _day(self) -> float:
        return midnight(self._now())
