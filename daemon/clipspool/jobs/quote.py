"""What would be sent for a clip, what it would cost, and what keeps it from being sent; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from clipspool.jobs.model import Problem, Request


@dataclass(frozen=True, slots=True)
class QuotedJob:
    """One job that a clip would become."""

    variant: str
    """Empty, or `_v1`, `_v2`, …"""
    request: Request
    credits: float | None
    """None where the price is not known."""
    changes: tuple[str, ...] = ()
    """What would be changed of the clip so that it can be sent, in words."""


@dataclass(frozen=True, slots=True)
class Quote:
    """The answer for one clip with its sidecar; nothing was sent, written or reserved."""

    jobs: tuple[QuotedJob, ...] = ()
    """Empty where there are problems."""
    problems: tuple[Problem, ...] = ()
    media: Mapping[str, Any] = field(default_factory=dict)
    """Facts about the clip; empty where none was examined."""

    @property
    def credits(self) -> float | None:
        """The price of all its jobs; None where that of one is not known."""
        prices = [job.credits for job in self.jobs]
        return None if not prices or None in prices else sum(price or 0.0 for price in prices)
