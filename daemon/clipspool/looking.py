"""How things stand: what holds jobs back, as the journal has it, and an inbox as it is now."""

from __future__ import annotations

from clipspool.intake.inbox import Inbox
from clipspool.journal import Journal
from clipspool.picking import Limits
from clipspool.scheduler import read_brake
from clipspool.views import Conditions, InboxView, iso, text

DAY_SECONDS = 86_400.0


def conditions_in(journal: Journal, limits: Limits, now: float) -> Conditions:
    """Give what holds jobs back, as the journal has it at a moment (Unix seconds)."""
    return Conditions(
        now=now,
        brake=read_brake(journal.fact("brake")),
        paused=frozenset(journal.fact("paused") or ()),
        spend=journal.spent(now // DAY_SECONDS * DAY_SECONDS),
        limits=limits,
        is_restored=bool(journal.fact("restored")),
    )


def inbox_view(name: str, inbox: Inbox, most: int | None = None) -> InboxView:
    """Give an inbox as it is now; of what waits the first `most`, those that need somebody before others."""
    waiting = inbox.waiting
    first = waiting if most is None else sorted(waiting, key=lambda one: not one.problem)[:most]
    return InboxView(
        name=name,
        state=inbox.state,
        detect=inbox.detect,
        reason=inbox.reason,
        waiting=[
            {"path": text(w.path), "reason": w.reason, "since": iso(w.since), "problem": w.problem}
            for w in first
        ],
        waiting_count=len(waiting),
    )
