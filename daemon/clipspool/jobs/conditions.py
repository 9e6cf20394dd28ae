"""Says why a job waits: what holds it, or what holds all jobs back. The one place that does; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from clipspool.jobs.circuit_breaker import Brake
from clipspool.jobs.limits import ALL, Limits
from clipspool.jobs.model import Held, Job, State
from clipspool.jobs.records import Spend
from clipspool.jobs.text import iso

WHY = (
    "the journal is an older copy, put back: what it takes for unsent may have been paid for. "
    "Look through its queued jobs, cancel those that are done, then `clipspool resume --accept-restored`"
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
    """The journal is an older copy, put back."""
    pause_files: Mapping[str, str] = field(default_factory=dict)
    """What an editor put into an inbox so that nothing of it is sent, by the inbox."""

    def is_paused(self, inbox: str) -> bool:
        """Say whether nothing of an inbox is sent because an operator or an editor said so."""
        return bool(self.paused & {ALL, inbox}) or inbox in self.pause_files

    def why_paused(self, inbox: str) -> str:
        """Say which file an editor put into an inbox to pause it; empty where none lies there."""
        file = self.pause_files.get(inbox)
        return f"`{file}` lies in it: remove it, and sending goes on" if file else ""

    def _pause_in_words(self, inbox: str) -> str:
        if self.paused & {ALL, inbox}:
            return "submitting is paused; `clipspool resume` lets it go on"
        return f"`{self.pause_files[inbox]}` lies in the inbox: remove it, and sending goes on"

    def why_waiting(self, job: Job) -> tuple[str | None, str]:
        """Give what a job is held by, and the reason in words; (None, …) when nothing holds it."""
        if job.held is not None:
            return job.held.value, job.reason
        if not job.state.is_terminal and not self.limits.serves(job.inbox):
            return "inbox", f"the inbox {job.inbox} is not in the configuration: put it back under that name"
        if job.state is not State.QUEUED:
            return None, job.reason
        if self.is_restored:
            return "restored", WHY
        if self.is_paused(job.inbox):
            return "paused", self._pause_in_words(job.inbox)
        if job.due_at > self.now:
            return _why_later(job, self.now)
        if not job.approved and (why := self.limits.day_is_spent(self.spend, job.credits_estimated or 0.0)):
            return Held.BUDGET.value, f"{why}; it goes on tomorrow (UTC), or after `clipspool approve`"
        if self.brake.fault is not None:
            return "provider", f"{self.brake.fault.message}; tried again {iso(self.brake.until)}"
        of_model = self.brake.models.get(job.request.model)
        if of_model is not None and of_model.fault is not None:
            why = f"{of_model.fault.message} {of_model.fault.what_to_do}".strip()
            return "model", f"{why} Tried again {iso(of_model.until)}"
        return None, job.reason or "waits for its turn"


def _why_later(job: Job, now: float) -> tuple[str, str]:
    """Tell a time that somebody wants from the pause between two tries."""
    if (job.request.not_before or 0.0) > now or not (job.attempts or job.reason):
        return "not_before", f"not before {iso(job.due_at)}"
    return "retry", f"{job.reason or 'its last try failed'}; tried again {iso(job.due_at)}"
