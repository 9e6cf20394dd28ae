"""Who goes next: what is due, in whose turn, within what the operator and the lanes allow."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from clipspool.job import Clip, Held, Job, State
from clipspool.journal import Candidate, Journal, Spend
from clipspool.lifecycle import Stage, stage_of
from clipspool.pacing import Brake
from clipspool.workers import Lane, Workers

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


def take_turns(queues: Mapping[str, Sequence[Candidate]], first: str | None) -> Iterator[Candidate]:
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
            if room := self._workers.room(stage):
                self._pick_due(state, stage, now, room, shares, picks)
        room = self._workers.room_to_retire()
        for clip, attempts in self._journal.to_retire(now, room + len(retiring)) if room > 0 else ():
            if clip.id not in retiring and clip.inbox in self.inboxes and len(picks.retirements) < room:
                picks.retirements.append((clip, attempts))
        if self._journal.counts[State.QUEUED] and "*" not in self.paused:
            self._pick_from_queue(now, brake, spend, shares, picks)
        return picks

    def _pick_due(
        self,
        state: State,
        stage: Stage,
        now: float,
        room: int,
        shares: dict[tuple[str, Lane], int],
        picks: Picks,
    ) -> None:
        due = self._journal.due(state, now, room + self._workers.under_way(stage))
        waiting = [job_id for job_id in due if job_id not in self._in_flight][:room]
        jobs = self._journal.load(waiting)
        for job in (jobs[job_id] for job_id in waiting):
            if self._share(shares, job.inbox, stage):
                picks.stages.append((stage_of(job) or stage, job))

    def _pick_from_queue(
        self, now: float, brake: Brake, spend: Spend, shares: dict[tuple[str, Lane], int], picks: Picks
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
        prepares = min(self._workers.room(Stage.PREPARE), slots + AHEAD)
        if submits <= 0 and prepares <= 0:
            return
        chosen: list[tuple[Stage, Candidate]] = []
        too_dear: list[tuple[Candidate, str]] = []
        for one in take_turns(self._queues(now, submits + prepares), self._first):
            stage = Stage.SUBMIT if one.prepared else Stage.PREPARE
            if (prepares if stage is Stage.PREPARE else submits) <= 0:
                continue
            if stage is Stage.SUBMIT and not one.approved:
                if why := self.limits.is_too_dear(one.credits_estimated):
                    too_dear.append((one, why))
                    continue
                if self.limits.day_is_spent(spend, one.credits_estimated or 0.0):
                    continue
            if not self._share(shares, one.inbox, stage):
                continue
            if stage is Stage.PREPARE:
                prepares -= 1
            else:
                submits -= 1
                spend = Spend(spend.submissions + 1, spend.credits + (one.credits_estimated or 0.0))
                self._first = self._after(one.inbox)
            chosen.append((stage, one))
        jobs = self._journal.load([one.id for _, one in chosen] + [one.id for one, _ in too_dear])
        picks.stages += [(stage, jobs[one.id]) for stage, one in chosen]
        picks.parked += [(jobs[one.id], Held.BUDGET, why) for one, why in too_dear]

    def _queues(self, now: float, wanted: int) -> dict[str, list[Candidate]]:
        busy = self._workers.under_way(Stage.PREPARE) + self._workers.under_way(Stage.SUBMIT)
        return {
            name: [
                j
                for j in self._journal.queue(name, now, wanted + busy + AHEAD)
                if j.id not in self._in_flight
            ]
            for name in self.inboxes
            if name not in self.paused
        }

    def _after(self, inbox: str) -> str:
        names = sorted(self.inboxes)
        return names[(names.index(inbox) + 1) % len(names)]

    def _shares(self) -> dict[tuple[str, Lane], int]:
        """Count what each inbox has of each lane, but for polls, which touch no folder."""
        shares: dict[tuple[str, Lane], int] = {}
        for flying in self._in_flight.values():
            if flying.stage is not Stage.POLL:
                key = (flying.job.inbox, self._workers.lane(flying.stage))
                shares[key] = shares.get(key, 0) + 1
        return shares

    def _share(self, shares: dict[tuple[str, Lane], int], inbox: str, stage: Stage) -> bool:
        """Take a place for an inbox, so that one inbox's dead file server never fills a lane."""
        if stage is Stage.POLL:
            return True
        if inbox not in self.inboxes:
            return False
        lane = self._workers.lane(stage)
        key = (inbox, lane)
        if len(self.inboxes) > 1 and shares.get(key, 0) >= max(lane.size * 2 // 3, 1):
            return False
        shares[key] = shares.get(key, 0) + 1
        return True
