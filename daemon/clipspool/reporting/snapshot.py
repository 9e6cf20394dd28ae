"""A snapshot of the scheduler's state, taken by its thread between two turns, for other threads to read.

A scrape must neither touch the journal's one connection nor wait for the scheduler: it matters most when the
scheduler hangs. So the scheduler's thread makes an immutable snapshot from time to time, and others read the
last one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from clipspool.jobs.conditions import Conditions
from clipspool.jobs.limits import Limits
from clipspool.jobs.model import State
from clipspool.jobs.records import Spend, Tally
from clipspool.scheduler.commands import conditions_of
from clipspool.scheduler.loop import Scheduler
from clipspool.scheduler.workers import LANES


@dataclass(frozen=True, slots=True)
class LaneLoad:
    """The work of one lane of workers."""

    threads: int
    busy: int
    """Pieces of work that are handed out and not done."""

    @property
    def queued(self) -> int:
        """Pieces that no thread can have begun."""
        return max(self.busy - self.threads, 0)


@dataclass(frozen=True, slots=True)
class StateSnapshot:
    """One snapshot."""

    jobs: Mapping[State, int] = field(default_factory=dict)
    waiting: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """By inbox and reason: accepted jobs that do not move. Reasons are those of `jobs --json`, and `turn`."""
    lanes: Mapping[str, LaneLoad] = field(default_factory=dict)
    spend: Spend = field(default_factory=Spend)
    limits: Limits = field(default_factory=Limits)
    blocked_by: str = ""
    """What kind of fault holds submissions back, `account` or `moment`; empty when none does."""
    polls_left: float = 0.0
    """Polls that may begin at once."""
    polls_per_second_max: float = 0.0
    poll_lag_seconds: float = 0.0
    """How long the task that is due the longest has waited for its poll."""


def snapshot_of(scheduler: Scheduler) -> StateSnapshot:
    """Take a snapshot; in the scheduler's thread only. 0.4 ms, and 22 ms with 10,000 open jobs."""
    journal, picker, now = scheduler.journal, scheduler.picker, scheduler.now()
    due = journal.next_due(State.RUNNING, 0.0)
    fault = scheduler.brake.fault
    return StateSnapshot(
        jobs={state: journal.counts[state] for state in State},
        waiting=_waiting(conditions_of(scheduler), journal.tallies(now)),
        lanes={name: LaneLoad(LANES[name][0], lane.busy) for name, lane in scheduler.workers.lanes.items()},
        spend=scheduler.spending.today,
        limits=picker.limits,
        blocked_by="" if fault is None else fault.of.value,
        polls_left=min(picker.polls.left, picker.polls_per_second_max),
        polls_per_second_max=picker.polls_per_second_max,
        poll_lag_seconds=0.0 if due is None else max(now - due, 0.0),
    )


def _waiting(conditions: Conditions, tallies: list[Tally]) -> Mapping[tuple[str, str], int]:
    """Count waiting jobs by inbox and reason; of several reasons for a whole inbox the first counts."""
    found: Counter[tuple[str, str]] = Counter()
    for tally in tallies:
        if tally.held is not None or tally.state is State.QUEUED:
            found[tally.inbox, conditions.why_several_wait(tally)] += tally.count
    return found
