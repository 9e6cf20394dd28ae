"""Who goes next: what is due, in whose turn, within what the operator and the lanes allow."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from clipspool.job import Clip, Held, Job, State
from clipspool.journal import Journal, Spend
from clipspool.lifecycle import Stage, stage_of
from clipspool.pacing import Brake
from clipspool.workers import CALLS, Workers

AHEAD = 8
"""Clips prepared beyond those that can be submitted at once."""
_FOLLOWING = ((State.RUNNING, Stage.POLL), (State.FETCHED, Stage.DELIVER), (State.RENDERED, Stage.FETCH))


@dataclass(frozen=True, slots=True)
class Limits:
    """What the operator allows."""

    running_max: int = 5
    submissions_per_day: int = 500
    credits_per_day: float | None = None
    credits_per_job_max: float | None = None

    def day_is_spent(self, spend: Spend, credits_more: float = 0.0) -> str:
        """Say which of the day's limits one more submission would break; empty when none."""
        if spend.submissions >= self.submissions_per_day:
            return f"today's {self.submissions_per_day} submissions are used up"
        if self.credits_per_day is not None and spend.credits + credits_more > self.credits_per_day:
            return f"today's {self.credits_per_day:g} credits are used up ({spend.credits:g} spent)"
        return ""

    def is_too_dear(self, credits_estimated: float | None) -> str:
        """Say why one job needs a person's word first; empty when it does not."""
        most = self.credits_per_job_max
        if most is None or credits_estimated is None or credits_estimated <= most:
            return ""
        return f"it would cost about {credits_estimated:g} credits, and a job may cost {most:g}"


@dataclass(slots=True)
class InFlight:
    """A job that a worker has."""

    stage: Stage
    job: Job
    is_stale: bool = False
    """The operator decided otherwise meanwhile; what the worker brings is of no use."""


@dataclass(slots=True)
class Picks:
    """What one turn hands out and sets aside."""

    stages: list[tuple[Stage, Job]] = field(default_factory=list)
    parked: list[tuple[Job, Held, str]] = field(default_factory=list)
    retirements: list[tuple[Clip, int]] = field(default_factory=list)


def take_turns(queues: Mapping[str, Sequence[Job]], first: str | None) -> Iterator[Job]:
    """Merge the inboxes' queues: highest priority first; among equals in turn, `first` before others.

    Each queue is sorted by priority, then age.
    """
    names = sorted(queues)
    if first in names:
        start = names.index(first)
        names = names[start:] + names[:start]
    waiting = {name: deque(queues[name]) for name in names if queues[name]}
    while waiting:
        highest = max(queue[0].priority for queue in waiting.values())
        name = next(n for n in names if n in waiting and waiting[n][0].priority == highest)
        yield waiting[name].popleft()
        if not waiting[name]:
            del waiting[name]
        names = [n for n in names if n != name] + [name]


class Picker:
    """Asks the journal what is due, and chooses. It changes nothing."""

    def __init__(self, journal: Journal, workers: Workers, in_flight: Mapping[str, InFlight]) -> None:
        """Take what there is to ask; the scheduler keeps `in_flight`."""
        self.inboxes: tuple[str, ...] = ()
        self.limits = Limits()
        self.paused: frozenset[str] = frozenset()
        """Inboxes that submit nothing; `*` is all of them."""
        self._journal = journal
        self._workers = workers
        self._in_flight = in_flight
        self._first: str | None = None

    def pick(self, now: float, brake: Brake, spend: Spend, retiring: Sequence[str]) -> Picks:
        """Choose what starts now; `retiring` are clips whose retirement is under way."""
        picks = Picks()
        shares = self._shares()
        for state, stage in _FOLLOWING:
            room = self._workers.room(stage)
            under_way = self._workers.under_way(stage)
            for job in self._journal.due(state, now, room + under_way) if room else ():
                if room and job.id not in self._in_flight and self._share(shares, job, stage):
                    room -= 1
                    picks.stages.append((stage_of(job) or stage, job))
        room = self._workers.transfers.free - len(picks.stages)
        for clip, attempts in self._journal.to_retire(now, room + len(retiring)) if room > 0 else ():
            if clip.id not in retiring and clip.inbox in self.inboxes and len(picks.retirements) < room:
                picks.retirements.append((clip, attempts))
        if self._journal.counts[State.QUEUED] and "*" not in self.paused:
            self._pick_from_queue(now, brake, spend, shares, picks)
        return picks

    def _pick_from_queue(
        self, now: float, brake: Brake, spend: Spend, shares: dict[tuple[str, bool], int], picks: Picks
    ) -> None:
        counts = self._journal.counts
        connecting = sum(
            1 for f in self._in_flight.values() if f.stage is Stage.SUBMIT and f.job.state is State.QUEUED
        )
        slots = max(
            self.limits.running_max - counts[State.RUNNING] - counts[State.SUBMITTING] - connecting, 0
        )
        submitting = self._workers.under_way(Stage.SUBMIT)
        submits = brake.room(now, min(slots, self._workers.room(Stage.SUBMIT)), submitting)
        prepares = self._workers.room(Stage.PREPARE)
        if submits <= 0 and prepares <= 0:
            return
        ahead = slots + AHEAD
        for job in take_turns(self._queues(now, ahead), self._first):
            stage = Stage.SUBMIT if job.prepared else Stage.PREPARE
            if ahead <= 0 or (submits <= 0 and prepares <= 0):
                break
            ahead -= 1
            if (prepares if stage is Stage.PREPARE else submits) <= 0 or not self._share(shares, job, stage):
                continue
            if stage is Stage.PREPARE:
                prepares -= 1
            else:
                if not job.approved and (why := self.limits.is_too_dear(job.credits_estimated)):
                    picks.parked.append((job, Held.BUDGET, why))
                    continue
                if not job.approved and self.limits.day_is_spent(spend, job.credits_estimated or 0.0):
                    continue
                submits -= 1
                spend = Spend(spend.submissions + 1, spend.credits + (job.credits_estimated or 0.0))
                self._first = self._after(job.inbox)
            picks.stages.append((stage, job))

    def _queues(self, now: float, ahead: int) -> dict[str, list[Job]]:
        most = ahead + self._workers.under_way(Stage.PREPARE) + self._workers.under_way(Stage.SUBMIT)
        return {
            name: [j for j in self._journal.queue(name, now, most) if j.id not in self._in_flight]
            for name in self.inboxes
            if name not in self.paused
        }

    def _after(self, inbox: str) -> str:
        names = sorted(self.inboxes)
        return names[(names.index(inbox) + 1) % len(names)]

    def _shares(self) -> dict[tuple[str, bool], int]:
        """Count what each inbox has of each lane, but for polls, which touch no folder."""
        shares: dict[tuple[str, bool], int] = {}
        for flying in self._in_flight.values():
            if flying.stage is not Stage.POLL:
                key = (flying.job.inbox, flying.stage in CALLS)
                shares[key] = shares.get(key, 0) + 1
        return shares

    def _share(self, shares: dict[tuple[str, bool], int], job: Job, stage: Stage) -> bool:
        """Take a place for an inbox, so that one inbox's dead file server never fills a lane."""
        if stage is Stage.POLL:
            return True
        if job.inbox not in self.inboxes:
            return False
        key = (job.inbox, stage in CALLS)
        lane = self._workers.lane(stage)
        if len(self.inboxes) > 1 and shares.get(key, 0) >= max(lane.size * 2 // 3, 1):
            return False
        shares[key] = shares.get(key, 0) + 1
        return True
