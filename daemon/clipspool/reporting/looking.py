"""Reads from the journal what commands, the page and the status file show: conditions and open jobs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clipspool.jobs.account import Account, Balance
from clipspool.jobs.circuit_breaker import Brake
from clipspool.jobs.conditions import Conditions
from clipspool.jobs.limits import Limits
from clipspool.jobs.model import State
from clipspool.jobs.nouns import read
from clipspool.jobs.text import DAY_SECONDS, midnight
from clipspool.jobs.working import Working
from clipspool.journal import UNDER_WAY, Journal
from clipspool.reporting.status import job_json


def conditions_in(
    journal: Journal, limits: Limits, now: float, working: Mapping[str, Working] | None = None
) -> Conditions:
    """Return what holds jobs back, by the journal, at a moment (Unix seconds).

    `working` is what the daemon does at this moment, by job: no journal has that.
    """
    return Conditions(
        now=now,
        brake=read(Brake, journal.fact("brake") or {}),
        paused=frozenset(journal.fact("paused") or ()),
        spend=journal.spent(midnight(now)),
        limits=limits,
        is_restored=bool(journal.fact("restored")),
        pause_files=dict(journal.fact("pause_files") or {}),
        running=journal.count_running(),
        working=working or {},
    )


def account_in(journal: Journal) -> Account:
    """Return what the queue costs, and what the account had when its balance was read last."""
    if not journal.counts[State.QUEUED]:
        return Account()
    price, unknown = journal.queued_prices()
    looks = journal.fact("balance") or ()
    balance = Balance(looks[-1]["amount"], looks[-1]["unit"]) if looks else None
    return Account(price, unknown, balance)


def jobs_in_view(
    journal: Journal, limits: Limits, now: float, most: int, working: Mapping[str, Working] | None = None
) -> dict[str, Any]:
    """Return the jobs that `status` draws, at most `most` of each kind, as `jobs --json` has them."""
    conditions = conditions_in(journal, limits, now, working)
    counts = journal.open_jobs()
    shown = {
        "running": journal.jobs_under_way(most, states=UNDER_WAY),
        "queued": journal.jobs_under_way(most, states=(State.QUEUED,)),
        "held": journal.held_jobs(most),
        "failed": journal.ended_jobs(State.FAILED, now - DAY_SECONDS, most),
    }
    return {
        **{
            kind: [job_json(job, conditions, journal.parts_of(job)) for job in found]
            for kind, found in shown.items()
        },
        "running_count": sum(counts.by_state[state] for state in UNDER_WAY),
        "queued_count": counts.by_state[State.QUEUED],
        "held_count": counts.held.total(),
    }
