"""What a single inbox or model may have of the account: tasks at one time, and credits in a day; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from clipspool.jobs.records import Spend

Key: TypeAlias = tuple[str, str]
"""An inbox and a model."""


@dataclass(frozen=True, slots=True)
class Share:
    """The limits of one inbox or model; None is no limit of its own."""

    running_max: int | None = None
    credits_per_day: float | None = None

    def __bool__(self) -> bool:
        """Whether it limits anything."""
        return self != Share()


@dataclass(frozen=True, slots=True)
class Shares:
    """The limits of all inboxes and models that have some, by name."""

    inboxes: Mapping[str, Share] = field(default_factory=dict)
    models: Mapping[str, Share] = field(default_factory=dict)

    def why_full(self, running: Mapping[Key, int], inbox: str, model: str) -> str:
        """Return which limit one more task would break, with `running` under way; empty for none."""
        most = self.inboxes.get(inbox, Share()).running_max
        if most is not None and _total(running, inbox=inbox) >= most:
            return f"as many tasks as the inbox {inbox} may have ({most}) are under way"
        return self.why_model_full(running, model)

    def why_model_full(self, running: Mapping[Key, int], model: str) -> str:
        """Return the limit that one more task of a model would break; empty for none."""
        most = self.models.get(model, Share()).running_max
        if most is None or _total(running, model=model) < most:
            return ""
        return f"as many tasks of {model} as may be ({most}) are under way"

    def why_spent(self, spend: Spend, inbox: str, model: str, credits_more: float = 0.0) -> str:
        """Return the day's limit, of inbox or model, that `credits_more` would break; empty for none."""
        why = self.why_inbox_spent(spend, inbox, credits_more)
        return why or self.why_model_spent(spend, model, credits_more)

    def used(self, spend: Spend, inbox: str, model: str) -> list[tuple[float | None, float]]:
        """Return the day's credits of an inbox and of a model: the limit, and what is spent of it."""
        return [
            (self.inboxes.get(inbox, Share()).credits_per_day, _total(spend.by, inbox=inbox)),
            (self.models.get(model, Share()).credits_per_day, _total(spend.by, model=model)),
        ]

    def why_inbox_spent(self, spend: Spend, inbox: str, credits_more: float = 0.0) -> str:
        """Return the day's limit of an inbox that `credits_more` would break; empty for none."""
        share = self.inboxes.get(inbox, Share())
        return _spent(share, _total(spend.by, inbox=inbox), credits_more, f"the inbox {inbox}")

    def why_model_spent(self, spend: Spend, model: str, credits_more: float = 0.0) -> str:
        """Return the day's limit of a model that `credits_more` would break; empty for none."""
        share = self.models.get(model, Share())
        return _spent(share, _total(spend.by, model=model), credits_more, model)


def shown(
    shares: Mapping[str, Share], running: Mapping[Key, int], spend: Spend, *, of: int
) -> dict[str, dict[str, float | None]]:
    """Return limits and what is used of them, by name; `of` is 0 for inboxes and 1 for models."""
    return {
        name: {
            "running": sum(number for key, number in running.items() if key[of] == name),
            "running_max": share.running_max,
            "credits": sum(number for key, number in spend.by.items() if key[of] == name),
            "credits_per_day": share.credits_per_day,
        }
        for name, share in shares.items()
    }


def _total(counts: Mapping[Key, float], inbox: str | None = None, model: str | None = None) -> float:
    return sum(
        number for key, number in counts.items() if inbox in {None, key[0]} and model in {None, key[1]}
    )


def _spent(share: Share, spent: float, more: float, whose: str) -> str:
    most = share.credits_per_day
    if most is None or spent + more <= most:
        return ""
    return f"today's {most:,.10g} credits of {whose} are used up ({spent:,.10g} spent)"
