"""The operator's limits: how many tasks at once, and what a day, a job and a clip may cost; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from clipspool.jobs.hours import Hours
from clipspool.jobs.records import ClipCost, Spend
from clipspool.jobs.shares import Shares

ALL = "*"
"""In the set of paused inboxes: all of them."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The operator's limits."""

    running_max: int = 5
    submissions_per_day: int = 500
    credits_per_day: float | None = None
    credits_per_job_max: float | None = None
    credits_per_clip_max: float | None = None
    """What all jobs of a clip may cost together; as much as one job unless set."""
    inboxes: frozenset[str] | None = None
    """Those that are configured; None where that is not known."""
    hours: Mapping[str, Hours] = field(default_factory=dict)
    """By inbox: when its clips may be sent; those that are not named send at any time."""

    shares: Shares = field(default_factory=Shares)
    """What single inboxes and models may have of all that."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """By inbox: how many clips it sends while another sends one; 1 unless named."""

    def may_send(self, inbox: str, now: float) -> bool:
        """Whether it is within an inbox's hours."""
        hours = self.hours.get(inbox)
        return hours is None or hours.is_open(now)

    def opens_at(self, inbox: str, now: float) -> float:
        """Return from when on an inbox may send, both in Unix seconds: `now` where it may already."""
        hours = self.hours.get(inbox)
        return now if hours is None else hours.opens_at(now)

    def serves(self, inbox: str) -> bool:
        """Whether an inbox of that name is configured; an accepted clip may outlive its own."""
        return self.inboxes is None or inbox in self.inboxes

    def day_is_spent(self, spend: Spend, credits_more: float = 0.0) -> str:
        """Return which of the day's limits one more submission would break; empty for none."""
        if spend.submissions >= self.submissions_per_day:
            return f"today's {self.submissions_per_day} submissions are used up"
        if self.credits_per_day is not None and spend.credits + credits_more > self.credits_per_day:
            return f"today's {self.credits_per_day:,.10g} credits are used up ({spend.credits:,.10g} spent)"
        return ""

    def why_spent(self, spend: Spend, inbox: str, model: str, credits_more: float = 0.0) -> str:
        """Return which limit of the day one more submission would break, the inbox's and model's included."""
        return self.day_is_spent(spend, credits_more) or self.shares.why_spent(
            spend, inbox, model, credits_more
        )

    def credits_left(self, spend: Spend, inbox: str, model: str) -> float | None:
        """Return how many credits may be spent today without an approval; None where nothing limits them."""
        limits = [(self.credits_per_day, spend.credits), *self.shares.used(spend, inbox, model)]
        left = [most - used for most, used in limits if most is not None]
        return max(min(left), 0.0) if left else None

    def is_over_a_day(self, inbox: str, model: str, credits_estimated: float | None) -> str:
        """Return why no day will ever do for one job, so that it needs an approval; empty where one does."""
        most = self.credits_left(Spend(), inbox, model)
        if most is None or credits_estimated is None or credits_estimated <= most:
            return ""
        return f"it would cost about {credits_estimated:,.10g} credits, and a day may cost {most:,.10g}"

    def is_too_dear(self, credits_estimated: float | None) -> str:
        """Return why one job needs an approval first; empty where it does not."""
        most = self.credits_per_job_max
        if most is None or credits_estimated is None or credits_estimated <= most:
            return ""
        return f"it would cost about {credits_estimated:,.10g} credits, and a job may cost {most:,.10g}"

    def is_timeline_too_dear(self, credits_estimated: float | None) -> str:
        """Return why a timeline needs an approval for what all its jobs cost; empty where it does not."""
        most = self.credits_per_job_max if self.credits_per_clip_max is None else self.credits_per_clip_max
        if most is None or credits_estimated is None or credits_estimated <= most:
            return ""
        price = f"about {credits_estimated:,.10g} credits"
        return f"all clips of its timeline would cost {price}, and a clip may cost {most:,.10g}"

    def is_clip_too_dear(self, cost: ClipCost, credits_estimated: float | None) -> str:
        """Return why a clip needs an approval for what it costs in all; empty where it does not.

        Variants and retries are paid one by one: a limit on each alone would let any sum pass. One whose
        price is not known yet counts as much as the job at hand.
        """
        most = self.credits_per_job_max if self.credits_per_clip_max is None else self.credits_per_clip_max
        total = cost.total(credits_estimated or 0.0)
        if most is None or total <= most:
            return ""
        return f"{cost.in_words(credits_estimated or 0.0)}, and a clip may cost {most:,.10g}"
