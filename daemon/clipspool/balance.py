"""What the account had before a lost answer and has after it: evidence for the person who decides.

Looks are taken beside the work, never in its way: a provider that does not tell in time changes nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from clipspool import threads
from clipspool.events import BalanceSeen, Connected
from clipspool.job import Job, State, utc
from clipspool.news import Happened, News
from clipspool.provider import Balance
from clipspool.scheduler import Scheduler

_FACT = "balance"
_KEPT = 8
FRESH_SECONDS = 300.0
"""A look this old is taken anew while clips are submitted."""
_SILENT_SECONDS = 3600.0
_SETTLE_SECONDS = 2.0
"""What a provider may need to book a charge."""


class Teller:
    """Asks for the balance in its own thread: at the start, while clips are sent, and after each doubt."""

    def __init__(
        self,
        ask: Callable[[], Balance | None],
        tell: Callable[[Callable[[Scheduler], None]], None],
        now: Callable[[], float],
    ) -> None:
        """`ask` may take seconds; `tell` gives the scheduler something to do in its next turn."""
        self._ask = ask
        self._tell = tell
        self._now = now
        self._bell = threading.Event()
        self._is_stopped = threading.Event()
        self._asked_at = 0.0
        self._silent_until = 0.0

    def start(self) -> None:
        """Begin the thread, with a first look."""
        self._bell.set()
        threads.begin(self._run, "balance")

    def stop(self) -> None:
        """Look no more; a look under way is not waited for."""
        self._is_stopped.set()
        self._bell.set()

    def hear(self, news: News) -> None:
        """Take a look after what makes one worth while."""
        if not isinstance(news, Happened):
            return
        is_doubt = news.after.state is State.IN_DOUBT and news.before.state is not State.IN_DOUBT
        is_stale = self._now() - self._asked_at > FRESH_SECONDS
        if is_doubt or (is_stale and isinstance(news.event, Connected)):
            self._bell.set()

    def _run(self) -> None:
        while True:
            self._bell.wait()
            if self._is_stopped.wait(_SETTLE_SECONDS if self._asked_at else 0.0):
                return
            self._bell.clear()
            self._look()

    def _look(self) -> None:
        at = self._asked_at = self._now()
        if at < self._silent_until:
            return
        seen = self._ask()
        if seen is None:
            self._silent_until = at + _SILENT_SECONDS
            return
        self._tell(lambda scheduler: note(scheduler, at, seen))


def note(scheduler: Scheduler, at: float, seen: Balance) -> None:
    """Remember a look begun at `at` (Unix seconds), and add it to what is known of the doubts before it."""
    journal = scheduler.journal
    looks: list[dict[str, Any]] = list(journal.fact(_FACT) or ())
    look = {"at": at, "amount": seen.amount, "unit": seen.unit, "profile": scheduler.profile}
    for job in list(journal.find(states=(State.IN_DOUBT,))):
        if _is_wanted(job, look):
            scheduler.happen(job, _seen(scheduler, job, looks, look))
    journal.set_fact(_FACT, [*looks, look][-_KEPT:])


def _is_wanted(job: Job, look: dict[str, Any]) -> bool:
    task = job.task
    if task is None or "balance_after" in task.evidence or task.profile != look["profile"]:
        return False
    return bool(look["at"] > job.updated_at)


def _seen(scheduler: Scheduler, job: Job, looks: list[dict[str, Any]], after: dict[str, Any]) -> BalanceSeen:
    sent_at = job.task.intent_at if job.task else 0.0
    like = [one for one in looks if (one["profile"], one["unit"]) == (after["profile"], after["unit"])]
    before = next((one for one in reversed(like) if one["at"] < sent_at), None)
    since = sent_at if before is None else before["at"]
    others = max(scheduler.journal.spent(since).submissions - 1, 0)
    return BalanceSeen(None if before is None else _shown(before), _shown(after), others)


def _shown(look: dict[str, Any]) -> dict[str, Any]:
    return {
        "at": utc(look["at"]).isoformat(timespec="milliseconds"),
        "amount": look["amount"],
        "unit": look["unit"],
    }
