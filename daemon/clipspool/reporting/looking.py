"""How things stand: what holds jobs back, as the journal has it, and an inbox as it is now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from clipspool.intake.inbox import Inbox
from clipspool.jobs.circuit_breaker import read_brake
from clipspool.jobs.conditions import Conditions
from clipspool.jobs.limits import Limits
from clipspool.jobs.model import State
from clipspool.jobs.text import iso, midnight, text
from clipspool.journal import Journal
from clipspool.journal.looks import ended_jobs, held_jobs, jobs_under_way, open_by_inbox, tally
from clipspool.reporting.headline import headline
from clipspool.reporting.status import InboxView, job_json
from clipspool.scheduler.loop import Scheduler

log = structlog.get_logger()

DAY_SECONDS = 86_400.0
_ON_THE_WAY = (State.SUBMITTING, State.RUNNING, State.RENDERED, State.FETCHED)


def conditions_in(journal: Journal, limits: Limits, now: float) -> Conditions:
    """Give what holds jobs back, as the journal has it at a moment (Unix seconds)."""
    return Conditions(
        now=now,
        brake=read_brake(journal.fact("brake")),
        paused=frozenset(journal.fact("paused") or ()),
        spend=journal.spent(midnight(now)),
        limits=limits,
        is_restored=bool(journal.fact("restored")),
        pause_files=dict(journal.fact("pause_files") or {}),
    )


def headline_of(scheduler: Scheduler, inboxes: Mapping[str, Inbox], troubles: Sequence[str]) -> str:
    """Say in one line how the running daemon stands; in the scheduler's thread."""
    fault = scheduler.brake.fault
    told = tally(scheduler.journal)
    return headline(
        scheduler.journal.counts,
        told.held,
        {name: inbox.reason for name, inbox in inboxes.items() if inbox.state == "offline"},
        [name for name in inboxes if scheduler.picker.is_paused(name)],
        "" if fault is None else fault.code,
        troubles,
    )


def warn_of_orphans(journal: Journal, limits: Limits) -> None:
    """Say which inboxes have open jobs and are not configured any more: nothing of them comes home."""
    for name, number in open_by_inbox(journal).items():
        if not limits.serves(name):
            log.warning("inbox_not_configured", inbox=name, jobs=number)


def jobs_in_view(journal: Journal, limits: Limits, now: float, most: int) -> dict[str, Any]:
    """Give the jobs that `status` draws, at most so many of each kind, as `jobs --json` has them."""
    conditions = conditions_in(journal, limits, now)
    told = tally(journal)
    shown = {
        "running": jobs_under_way(journal, most, states=_ON_THE_WAY),
        "queued": jobs_under_way(journal, most, states=(State.QUEUED,)),
        "held": held_jobs(journal, most),
        "failed": ended_jobs(journal, State.FAILED, now - DAY_SECONDS, most),
    }
    return {
        **{kind: [job_json(job, conditions) for job in found] for kind, found in shown.items()},
        "running_count": sum(told.by_state[state] for state in _ON_THE_WAY),
        "queued_count": told.by_state[State.QUEUED],
        "held_count": told.held.total(),
    }


def inbox_view(
    name: str, inbox: Inbox, most: int | None = None, stuck: Sequence[Mapping[str, Any]] = ()
) -> InboxView:
    """Give an inbox as it is now; of what waits the first `most`, those that need somebody before others.

    `stuck` tells of clips that have ended and lie in it still; what is offline cannot say why.
    """
    waiting = inbox.waiting
    first = waiting if most is None else sorted(waiting, key=lambda one: not one.problem)[:most]
    shown = [
        {"path": text(w.path), "reason": w.reason, "since": iso(w.since), "problem": w.problem} for w in first
    ]
    left = [] if inbox.state == "offline" else [dict(one) for one in stuck]
    return InboxView(
        name=name,
        state=inbox.state,
        detect=inbox.detect,
        reason=inbox.reason,
        waiting=[*left, *shown][:most],
        waiting_count=len(waiting) + len(left),
        peers=inbox.peers,
    )
