"""What was submitted since midnight, UTC: counted from the journal, kept up in memory."""

from __future__ import annotations

from collections.abc import Callable

from clipspool.jobs.records import Spend
from clipspool.jobs.text import midnight
from clipspool.journal import Journal

_TOLD = "day_spent"


class Spending:
    """The day's submissions. Belongs to the scheduler's thread."""

    def __init__(self, journal: Journal, now: Callable[[], float]) -> None:
        """Take the journal, and the time in seconds since 1970."""
        self._journal = journal
        self._now = now
        self._counted: tuple[float, Spend] | None = None
        self._told = journal.fact(_TOLD)

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
        """Count again when asked: something was not bought after all."""
        self._counted = None

    def is_news(self) -> bool:
        """Note that the day is spent; say whether that is to be told, which is once a day."""
        day = self._day()
        if self._told == day:
            return False
        self._told = day
        self._journal.set_fact(_TOLD, day)
        return True

    def _day(self) -> float:
        return midnight(self._now())
