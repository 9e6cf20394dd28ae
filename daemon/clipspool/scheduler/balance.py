"""Reads the account's balance before and after a lost answer: evidence for the person who decides.

It is read beside the work and never blocks it: a provider that does not answer in time changes nothing.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any

from clipspool.jobs.account import Balance
from clipspool.jobs.events import BalanceSeen, Connected, NotCharged, NotSubmitted, Prepared
from clipspool.jobs.messages import Happened, News
from clipspool.jobs.model import Job, State
from clipspool.jobs.text import utc
from clipspool.scheduler.loop import Scheduler
from clipspool.scheduler.short_of_credits import NO_CREDITS
from clipspool.system.process import start_thread

_FACT = "balance"
_KEPT = 8
FRESH_SECONDS = 300.0
"""A balance this old is read again while clips are submitted."""
_SILENT_SECONDS = 3600.0
_OUTAGE_SECONDS = 60.0
"""How long to wait before a balance is read again that could be read earlier and cannot be read now."""
_SETTLE_SECONDS = 2.0
"""What a provider may need to book a charge."""
_PROOF_SECONDS = 5.0
"""How long after the first reading the second one has to find the same balance."""
_PROOF_WINDOW_SECONDS = 900.0
"""In a longer time too much may come and go on an account: charges and refunds of others, a purchase."""
_PROOF_CREDITS_MIN = 1.0
"""A cheaper task might not show in a balance that is rounded."""


class BalanceReader:
    """Reads the balance in its own thread: at the start, while clips are sent, after doubts and refusals."""

    def __init__(
        self,
        ask: Callable[[], Balance | None],
        call_soon: Callable[[Callable[[Scheduler], None]], None],
        now: Callable[[], float],
    ) -> None:
        """`ask` may take seconds; `call_soon` runs a command in the scheduler's next turn."""
        self._ask = ask
        self._call_soon = call_soon
        self._now = now
        self._wake = threading.Event()
        self._is_stopped = threading.Event()
        self._asked_at = 0.0
        self._silent_until = 0.0
        self._again_at = math.inf
        """When the next reading is due whatever happens: it may end a doubt, or the last one failed."""
        self._is_wanted = False
        self._is_told = False
        """Whether the provider has told a balance since the start."""
        self._settle_seconds = 0.0

    def start(self) -> None:
        """Start the thread, with a first reading."""
        self._request()
        start_thread(self._run, "balance")

    def stop(self) -> None:
        """Stop reading; a reading under way is not waited for."""
        self._is_stopped.set()
        self._wake.set()

    def on_news(self, news: News) -> None:
        """Request a reading after an event that needs one."""
        if not isinstance(news, Happened):
            return
        if isinstance(news.event, BalanceSeen) and (pause := _pause_of_proof(news.after)) is not None:
            self._again_at = self._now() + pause
            self._wake.set()  # the thread has to sleep until then, and no longer
            return
        is_stale = self._now() - self._asked_at > FRESH_SECONDS
        is_doubt = news.after.state is State.IN_DOUBT and news.before.state is not State.IN_DOUBT
        is_refusal = isinstance(news.event, NotSubmitted) and news.event.fault.code == NO_CREDITS
        if is_doubt or is_refusal:
            self._request(_SETTLE_SECONDS)
        elif is_stale and isinstance(news.event, Prepared | Connected):
            self._request()

    def _request(self, settle_seconds: float = 0.0) -> None:
        self._settle_seconds = max(self._settle_seconds, settle_seconds)
        self._is_wanted = True
        self._wake.set()

    def _run(self) -> None:
        while True:
            left = self._again_at - self._now()
            self._wake.wait(None if left == math.inf else max(left, 0.0))
            if self._is_stopped.is_set():
                return
            self._wake.clear()
            is_due = self._now() >= self._again_at
            if not (self._is_wanted or is_due):
                continue
            if self._is_stopped.wait(self._settle_seconds):
                return
            self._is_wanted, self._settle_seconds = False, 0.0
            self._again_at = math.inf if is_due else self._again_at
            self._look()

    def _look(self) -> None:
        at = self._asked_at = self._now()
        if at < self._silent_until:
            return
        seen = self._ask()
        if seen is None and self._is_told:  # it is out of reach for the moment
            self._again_at = min(self._again_at, at + _OUTAGE_SECONDS)
            return
        if seen is None:
            self._silent_until = at + _SILENT_SECONDS
            return
        self._is_told = True
        until = self._now()
        self._call_soon(lambda scheduler: note(scheduler, at, seen, until))


def note(scheduler: Scheduler, at: float, seen: Balance, until: float | None = None) -> None:
    """Record a reading, and add it to the evidence of the doubts before it.

    It was begun at `at` and answered by `until`, in Unix seconds.
    """
    journal = scheduler.journal
    looks: list[dict[str, Any]] = list(journal.fact(_FACT) or ())
    look = {"at": at, "amount": seen.amount, "unit": seen.unit, "profile": scheduler.profile}
    look["until"] = at if until is None else until
    for job in list(journal.find(states=(State.IN_DOUBT,))):
        if _is_wanted(job, look):
            scheduler.happen(job, _seen(scheduler, job, looks, look))
        elif _is_proof(scheduler, job, looks, look):
            # The only way in which a doubt ends without a person: it will be sent again, and paid for.
            amount = f"{seen.amount:,.10g} {seen.unit}"
            why = f"the provider refused the load, and the account was not charged: {amount} before and after"
            scheduler.happen(job, NotCharged(why))
            scheduler.spending.recount()
    journal.set_fact(_FACT, [*looks, look][-_KEPT:])


def _is_wanted(job: Job, look: dict[str, Any]) -> bool:
    task = job.task
    if task is None or "balance_after" in task.evidence or task.profile != look["profile"]:
        return False
    return bool(look["at"] > job.updated_at)


def _pause_of_proof(job: Job) -> float | None:
    """Return when a second reading may end a doubt, in seconds from the first; None where none may."""
    evidence = job.task.evidence if job.state is State.IN_DOUBT and job.task else {}
    if not evidence.get("is_shedding") or "balance_before" not in evidence:
        return None
    return max(_PROOF_SECONDS, float(evidence.get("retry_after_seconds") or 0.0))


def _is_proof(scheduler: Scheduler, job: Job, looks: list[dict[str, Any]], look: dict[str, Any]) -> bool:
    """Whether it is certain that nothing was charged for a request that was refused for load.

    A false yes pays twice, so all of this has to hold: the same amount before the request was sent, after it
    and some seconds later; no other job of ours sent, followed or ended in between, for a refund may hide a
    charge of the same size; not long ago; and a price that a balance shows.
    """
    pause = _pause_of_proof(job)
    if pause is None or job.task is None or job.cancel_by or job.task.profile != look["profile"]:
        return False
    evidence = job.task.evidence
    before, after = _before(job, looks, look), evidence.get("balance_after")
    if before is None or after is None or evidence.get("other_submissions"):
        return False
    if look["at"] < job.updated_at + pause or look["at"] - before["at"] > _PROOF_WINDOW_SECONDS:
        return False
    is_same = before["amount"] == after["amount"] == look["amount"] and after["unit"] == look["unit"]
    is_shown = (job.credits_estimated or 0.0) >= _PROOF_CREDITS_MIN
    return is_same and is_shown and not scheduler.journal.has_money_moved(before["at"], but=job.id)


def _before(job: Job, looks: list[dict[str, Any]], like: dict[str, Any]) -> dict[str, Any] | None:
    """Return the last reading that was answered before the request was sent."""
    sent_at = job.task.intent_at if job.task else 0.0
    same = [one for one in looks if (one["profile"], one["unit"]) == (like["profile"], like["unit"])]
    return next((one for one in reversed(same) if one.get("until", one["at"]) < sent_at), None)


def _seen(scheduler: Scheduler, job: Job, looks: list[dict[str, Any]], after: dict[str, Any]) -> BalanceSeen:
    sent_at = job.task.intent_at if job.task else 0.0
    before = _before(job, looks, after)
    since = sent_at if before is None else before["at"]
    spent = scheduler.journal.spent(since)
    others = max(spent.submissions - 1, 0)
    cost = max(spent.credits - (job.credits_estimated or 0.0), 0.0) if others else 0.0
    return BalanceSeen(None if before is None else _shown(before), _shown(after), others, cost)


def _shown(look: dict[str, Any]) -> dict[str, Any]:
    at = utc(look["at"]).isoformat(timespec="milliseconds")
    return {"at": at, "amount": look["amount"], "unit": look["unit"]}
