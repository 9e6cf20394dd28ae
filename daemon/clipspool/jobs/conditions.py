"""Why a job waits: what holds it, or what holds all jobs back. The only module that decides this; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from clipspool.jobs.circuit_breaker import Brake
from clipspool.jobs.limits import ALL, Limits
from clipspool.jobs.model import Held, Job, State
from clipspool.jobs.records import ClipCost, Spend, Tally
from clipspool.jobs.text import iso, local_time, sentences
from clipspool.jobs.working import Working

WHY = (
    "the journal is an older copy, restored from a backup: jobs it shows as not sent may have been charged. "
    "`clipspool resume --accept-restored` goes on with what came in since; what was queued in it waits until "
    "you approve it"
)


@dataclass(frozen=True, slots=True)
class Conditions:
    """What holds jobs back besides themselves."""

    now: float
    brake: Brake = field(default_factory=Brake)
    paused: frozenset[str] = frozenset()
    spend: Spend = field(default_factory=Spend)
    limits: Limits = field(default_factory=Limits)
    is_restored: bool = False
    """The journal was restored from a backup."""
    pause_files: Mapping[str, str] = field(default_factory=dict)
    """By inbox, the file with which an editor paused it."""
    running: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Tasks under way by inbox and model."""
    working: Mapping[str, Working] = field(default_factory=dict)
    """By job, what is done to it at this moment, where this process or the daemon does it."""

    def is_paused(self, inbox: str) -> bool:
        """Whether an operator or an editor paused an inbox."""
        return bool(self.paused & {ALL, inbox}) or inbox in self.pause_files

    def why_paused(self, inbox: str) -> str:
        """Return which file pauses an inbox, in words; empty without one."""
        file = self.pause_files.get(inbox)
        return f"it contains `{file}`; remove that to continue sending" if file else ""

    def why_closed(self, inbox: str) -> str:
        """Return until when an inbox sends nothing for its hours, in words; empty within them."""
        opens_at = self.limits.opens_at(inbox, self.now)
        if opens_at <= self.now:
            return ""
        hours = self.limits.hours[inbox].in_words()
        return f"outside its hours ({hours}); sending continues at {local_time(opens_at)}"

    def _pause_in_words(self, inbox: str) -> str:
        if self.paused & {ALL, inbox}:
            return "submitting is paused; `clipspool resume` continues it"
        return f"paused: the inbox contains `{self.pause_files[inbox]}`; remove it to continue sending"

    def why_waiting(self, job: Job) -> tuple[str | None, str]:
        """Return what holds a job, and the reason in words; (None, …) when nothing holds it."""
        if job.held is not None:
            return job.held.value, job.reason
        if working := self.working.get(job.id):
            return None, working.in_words()
        if not job.state.is_terminal and not self.limits.serves(job.inbox):
            return "inbox", f"the inbox {job.inbox} is not configured any more: add it again under that name"
        if job.state is not State.QUEUED:
            return None, job.reason
        return self._why_queued(job)

    def why_several_wait(self, tally: Tally) -> str:
        """Return in a word what holds several jobs in the same situation; `turn`: only the jobs before them.

        The order is that of a single job, below; what only single jobs show, their model, is left out.
        """
        if tally.held is not None:
            return tally.held
        if self.is_restored:
            return "restored"
        if self.is_paused(tally.inbox):
            return "paused"
        if tally.is_later:
            return "retry" if tally.is_tried_again else "not_before"
        if self.why_closed(tally.inbox):
            return "hours"
        if self.limits.why_spent(self.spend, tally.inbox, ""):
            return Held.BUDGET.value
        return "provider" if self.brake.fault is not None else "turn"

    def would_hold(
        self,
        inbox: str,
        jobs: Sequence[tuple[str, float | None]],
        cost: ClipCost | None = None,
        *,
        is_whole: bool = False,
    ) -> tuple[str | None, str]:
        """Return what would hold the jobs of a clip, by model and price, if they were ordered now.

        In a word and in a sentence, as `why_waiting` does; `cost` is what the clip's jobs cost so far. What a
        limit would hold is said with the price, before anybody waits for a result that does not come.
        `is_whole` says that none is sent in parts, each on a day that has room for it.
        """
        cost = cost or ClipCost()
        cost = replace(cost, waiting=(*cost.waiting, *(price for _, price in jobs)))
        spend, budget = self.spend, Held.BUDGET.value
        for _, price in jobs:
            if why := self.limits.is_too_dear(price) or self.limits.is_clip_too_dear(cost, price):
                return budget, why
        if self.is_paused(inbox):
            return "paused", self._pause_in_words(inbox)
        if why := self.why_closed(inbox):
            return "hours", f"{why}, or once an operator approves it"
        for model, price in jobs:
            if is_whole and (why := self.limits.is_over_a_day(inbox, model, price)):
                return budget, f"{why}; it waits until an operator approves it"
            if why := self.limits.why_spent(spend, inbox, model, price or 0.0):
                return budget, f"{why}; it continues tomorrow (UTC), or once an operator approves it"
            spend = spend.plus(inbox, model, price or 0.0)
        return None, ""

    def _why_queued(self, job: Job) -> tuple[str | None, str]:
        if self.is_restored:
            return "restored", WHY
        if self.is_paused(job.inbox):
            return "paused", self._pause_in_words(job.inbox)
        if job.due_at > self.now:
            is_wanted = (job.request.not_before or 0.0) > self.now or not (job.attempts or job.reason)
            retry = f"{job.reason or 'the last try failed'}; next retry due {iso(job.due_at)}"
            return (
                ("not_before", f"scheduled: not before {local_time(job.due_at)}")
                if is_wanted
                else ("retry", retry)
            )
        if not job.approved and (why := self.why_closed(job.inbox)):
            return "hours", f"{why}, or after `clipspool approve`"
        # A clip in parts spends nothing itself: the day's limits look at each part.
        model, price = job.request.model, 0.0 if job.is_split else job.credits_estimated or 0.0
        is_whole = job.part or job.request.long_clips != "split"
        if not job.approved and is_whole and (why := self.limits.is_over_a_day(job.inbox, model, price)):
            return Held.BUDGET.value, f"{why}; it is sent after `clipspool approve`, or with a higher limit"
        if not job.approved and (why := self.limits.why_spent(self.spend, job.inbox, model, price)):
            return Held.BUDGET.value, f"{why}; it continues tomorrow (UTC), or after `clipspool approve`"
        if self.brake.fault is not None:
            return "provider", f"{self.brake.fault.message}; next retry due {iso(self.brake.until)}"
        of_model = self.brake.models.get(model)
        if of_model is not None and of_model.fault is not None:
            why = sentences(of_model.fault.message, of_model.fault.what_to_do)
            return "model", f"{why} Next retry due {iso(of_model.until)}"
        full = self.limits.shares.why_full(self.running, job.inbox, model)
        return None, full or job.reason or "waits for its turn"
