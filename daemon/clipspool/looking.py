"""Looks at the journal beside the daemon that owns it: what holds jobs back, and how an inbox stands."""

from __future__ import annotations

from clipspool.journal import Journal
from clipspool.picking import Limits
from clipspool.scheduler import read_brake
from clipspool.views import Conditions

DAY_SECONDS = 86_400.0


def conditions_in(journal: Journal, limits: Limits, now: float) -> Conditions:
    """Give what holds jobs back, as the journal has it at a moment (Unix seconds)."""
    return Conditions(
        now=now,
        brake=read_brake(journal.fact("brake")),
        paused=frozenset(journal.fact("paused") or ()),
        spend=journal.spent(now // DAY_SECONDS * DAY_SECONDS),
        limits=limits,
    )
