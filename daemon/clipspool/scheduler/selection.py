"""Selects what starts next: what is due, in turn by inbox, within the operator's limits and the lanes."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from clipspool.jobs.circuit_breaker import Brake
from clipspool.jobs.lifecycle import Stage, stage_of
from clipspool.jobs.limits import ALL, Limits
from clipspool.jobs.model import Clip, Held, Job, State
from clipspool.jobs.pacing import PollBudget
from clipspool.jobs.records import Spend
from clipspool.journal import Candidate, Journal
from clipspool.scheduler.workers import Lane, Workers

AHEAD = 8
"""Clips prepared beyond those that can be submitted at once."""
RETIRE_LATE_SECONDS = 10.0
"""How long a delivered clip's source may wait in its work folder while other clips are worked on."""
_TRANSFERS = ((State.FETCHED, Stage.DELIVER), (State.RENDERED, Stage.FETCH))


@dataclass(slots=True)
class InFlight:
    """A job that a worker has."""

    stage: Stage
    job: Job
    attempt: str = ""
    is_elsewhere: bool = False
    """Another machine works on it."""
    is_stale: bool = False
    """The operator ordered otherwise meanwhile; the worker's event is ignored."""


@dataclass(slots=True)
class Picks:
    """What one turn hands out and sets aside."""

    stages: list[tuple[Stage, Job]] = field(default_factory=list)
    held: list[tuple[Job, Held, str]] = field(default_factory=list)
    retirements: list[tuple[Clip, list[Job], int]] = field(default_factory=list)
    day_is_spent: str = ""
    """Which of the day's limits holds a job back."""


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


class _Probes:
    """Decides which submissions a brake allows: all, or one at a time, those not refused yet first."""

    def __init__(self, brake: Brake, now: float, under_way: Sequence[Job]) -> None:
        self._brake, self._now = brake, now
        self._submitting = len(under_way)
        self._of_model = Counter(job.request.model for job in under_way)

    @property
    def may_begin(self) -> bool:
        """Whether any submission may begin now."""
        return self._brake.room(self._now, 1, self._submitting) > 0

    def in_order(self, found: Iterable[Candidate]) -> Iterable[Candidate]:
        """Return candidates with those that were refused last."""
        brakes = (self._brake, *self._brake.models.values())
        if not any(one.refused for one in brakes):
            return found
        return sorted(found, key=lambda one: max(brake.rank(one.id) for brake in brakes))

    def allows(self, one: Candidate) -> bool:
        """Whether this one may begin now."""
        of_model = self._brake.models.get(one.model, Brake())
        is_let = self._brake.room(self._now, 1, self._submitting, is_fresh=not self._brake.rank(one.id))
        is_fresh = not of_model.rank(one.id)
        return bool(is_let and of_model.room(self._now, 1, self._of_model[one.model], is_fresh=is_fresh))

    def begin(self, one: Candidate) -> None:
        """Count one that begins."""
        self._submitting += 1
        self._of_model[one.model] += 1


def _shut_models(brake: Brake, now: float) -> list[str]:
    """Return the models for which nothing may be sent yet: their clips must not hide those after them."""
    return [model for model, one in brake.models.items() if not one.room(now, 1, 0)]


class Picker:
    """Reads from the journal what is due, and chooses. It changes nothing."""

    def __init__(
        self,
        journal: Journal,
        workers: Workers,
        in_flight: Mapping[str, InFlight],
        allows: Callable[[str], bool] = lambda _inbox: True,
    ) -> None:
        """Select for a scheduler; `allows` says whether anything may be submitted from an inbox."""
        self.inboxes: tuple[str, ...] = ()
        self.limits = Limits()
        self.paused: frozenset[str] = frozenset()
        """Inboxes that submit nothing; `*` is all of them."""
        self.pause_files: dict[str, str] = {}
        """By inbox, the `_pause` file with which an editor paused it."""
        self.unseen: set[str] = set()
        """Inboxes that were not scanned yet: a `_pause` file may have come there while no daemon ran."""
        self._journal, self._workers, self._in_flight, self._allows = journal, workers, in_flight, allows
        self.polls_per_second_max = 20.0
        self.polls = PollBudget()
        self._first: str | None = None
        self._turns = 0

    def allow(self, inboxes: Sequence[str], limits: Limits) -> None:
        """Set the inboxes that are worked on and the operator's limits."""
        self.inboxes, self.limits = tuple(inboxes), limits

    def pause(self, paused: Iterable[str]) -> None:
        """Set the inboxes that the operator paused; `*` is all of them."""
        self.paused = frozenset(paused)

    def await_scans(self, inboxes: Iterable[str]) -> None:
        """Submit nothing from inboxes that were not scanned for a pause file yet."""
        self.unseen = set(inboxes)

    def set_pause_file(self, inbox: str, file: str) -> bool:
        """Set the `_pause` file of an inbox that was scanned, empty for none; return whether that is new."""
        self.unseen.discard(inbox)
        before = self.pause_files
        self.pause_files = {name: known for name, known in before.items() if name != inbox}
        if file:
            self.pause_files[inbox] = file
        return self.pause_files != before

    def pick(
        self,
        now: float,
        brake: Brake,
        spend: Spend,
        retiring: Mapping[str, str],
        polls_per_second_max: float = 20.0,
    ) -> Picks:
        """Choose what starts now; `retiring` has the inbox of each clip that is being retired."""
        self.polls_per_second_max = polls_per_second_max
        picks = Picks()
        shares = self._shares(retiring)
        budget = self.polls.room(now, self.polls_per_second_max)
        if room := min(self._workers.room(Stage.POLL, ""), budget):
            jobs = self._due(State.RUNNING, Stage.POLL, now, room)
            picks.stages += [(stage_of(job) or Stage.POLL, job) for job in jobs]
            self.polls.spend(len(jobs))
        self._turns += 1
        for inbox in self._in_turn():
            self._pick_transfers(inbox, now, shares, picks)
        if self._journal.counts[State.QUEUED] and ALL not in self.paused:
            self._pick_from_queue(now, brake, spend, shares, retiring, picks)
        self._pick_retirements(now, shares, retiring, picks)
        return picks

    def is_paused(self, inbox: str) -> bool:
        """Whether an operator or an editor paused an inbox."""
        return bool(self.paused & {ALL, inbox}) or inbox in self.pause_files

    def _in_turn(self) -> list[str]:
        """Return the inboxes, another one first each time."""
        start = self._turns % max(len(self.inboxes), 1)
        return [*self.inboxes[start:], *self.inboxes[:start]]

    def _pick_transfers(
        self, inbox: str, now: float, shares: Counter[tuple[str, Lane]], picks: Picks
    ) -> None:
        for state, stage in _TRANSFERS:
            if room := self._share(shares, inbox, stage):
                jobs = self._due(state, stage, now, room, inbox)
                picks.stages += [(stage, job) for job in jobs]
                shares[inbox, self._workers.lane(stage)] += len(jobs)

    def _due(self, state: State, stage: Stage, now: float, room: int, inbox: str | None = None) -> list[Job]:
        due = self._journal.due(state, now, room + self._workers.under_way(stage), inbox)
        waiting = [job_id for job_id in due if job_id not in self._in_flight][:room]
        return list(self._journal.load(waiting).values())

    def _pick_retirements(
        self, now: float, shares: Counter[tuple[str, Lane]], retiring: Mapping[str, str], picks: Picks
    ) -> None:
        """Choose clips to retire: results that somebody waits for go first, but not for ever."""
        stages = {flying.stage for flying in self._in_flight.values()} | {stage for stage, _ in picks.stages}
        is_busy = bool(stages - {Stage.POLL})
        due_by = now - RETIRE_LATE_SECONDS if is_busy else now
        for inbox in self._in_turn():
            if room := min(self._share(shares, inbox, Stage.DELIVER), self._workers.room_to_retire()):
                chosen = self._journal.to_retire(inbox, due_by, room, but=retiring)
                picks.retirements += chosen
                shares[inbox, self._workers.disk] += len(chosen)

    def _pick_from_queue(
        self,
        now: float,
        brake: Brake,
        spend: Spend,
        shares: Counter[tuple[str, Lane]],
        retiring: Mapping[str, str],
        picks: Picks,
    ) -> None:
        counts = self._journal.counts
        connecting = sum(
            1 for f in self._in_flight.values() if f.stage is Stage.SUBMIT and f.job.state is State.QUEUED
        )
        slots = max(
            self.limits.running_max - counts[State.RUNNING] - counts[State.SUBMITTING] - connecting, 0
        )
        probes = _Probes(brake, now, [f.job for f in self._in_flight.values() if f.stage is Stage.SUBMIT])
        room = {
            Stage.SUBMIT: min(slots, self._workers.room(Stage.SUBMIT, "")) if probes.may_begin else 0,
            Stage.PREPARE: min(
                max((self._room(Stage.PREPARE, inbox) for inbox in self.inboxes), default=0), slots + AHEAD
            ),
        }
        if not any(room.values()):
            return
        chosen: list[tuple[Stage, Candidate]] = []
        too_dear: list[tuple[Candidate, str]] = []
        picks.day_is_spent = self.limits.day_is_spent(spend)
        wanted = sum(room.values()) + sum(len(one.refused) for one in (brake, *brake.models.values()))
        queues = self._queues(now, wanted, retiring, bool(picks.day_is_spent), _shut_models(brake, now))
        for one in probes.in_order(take_turns(queues, self._first)):
            stage = Stage.SUBMIT if one.prepared else Stage.PREPARE
            if room[stage] <= 0 or not self._share(shares, one.inbox, stage):
                continue
            if stage is Stage.SUBMIT:
                if not probes.allows(one):
                    continue
                if not one.approved and (why := self._is_too_dear(one)):
                    too_dear.append((one, why))
                    continue
                why = self.limits.day_is_spent(spend, one.credits_estimated or 0.0)
                if why and not one.approved:
                    picks.day_is_spent = why
                    continue
                probes.begin(one)
                spend = Spend(spend.submissions + 1, spend.credits + (one.credits_estimated or 0.0))
                self._first = self._after(one.inbox)
            room[stage] -= 1
            shares[one.inbox, self._workers.lane(stage)] += 1
            chosen.append((stage, one))
        jobs = self._journal.load([one.id for _, one in chosen] + [one.id for one, _ in too_dear])
        picks.stages += [(stage, jobs[one.id]) for stage, one in chosen]
        picks.held += [(jobs[one.id], Held.BUDGET, why) for one, why in too_dear]

    def _is_too_dear(self, one: Candidate) -> str:
        limits = self.limits
        if limits.credits_per_job_max is None and limits.credits_per_clip_max is None:
            return ""
        why = limits.is_too_dear(one.credits_estimated)
        return why or limits.is_clip_too_dear(self._journal.clip_cost(one.clip_id), one.credits_estimated)

    def _queues(
        self,
        now: float,
        wanted: int,
        retiring: Mapping[str, str],
        approved_only: bool,
        but_models: Collection[str],
    ) -> dict[str, list[Candidate]]:
        busy = self._workers.under_way(Stage.PREPARE) + self._workers.under_way(Stage.SUBMIT)
        most = wanted + busy + AHEAD + len(retiring)
        return {
            name: [
                one
                for one in self._queue(name, now, most, approved_only, but_models)
                # A clip that is being retired is brought back only once that is over.
                if one.id not in self._in_flight and one.clip_id not in retiring
            ]
            for name in self.inboxes
            if not self.is_paused(name) and name not in self.unseen and self._allows(name)
        }

    def _queue(
        self, inbox: str, now: float, most: int, approved_only: bool, but_models: Collection[str]
    ) -> list[Candidate]:
        """Return what of an inbox may go next; outside its hours what is approved, and what is to prepare."""
        find = partial(self._journal.queue, inbox, now, most, but_models=but_models)
        if self.limits.may_send(inbox, now):
            return find(approved_only=approved_only)
        # Two questions, so that none of the many that wait hides one that is urgent.
        ahead = [] if approved_only else [one for one in find() if not (one.approved or one.prepared)]
        return sorted([*find(approved_only=True), *ahead], key=lambda one: -one.priority)

    def may_send(self, job: Job, now: float) -> bool:
        """Whether a job may be sent from its inbox now: neither paused nor outside its hours."""
        is_open = job.approved or self.limits.may_send(job.inbox, now)
        return is_open and not self.is_paused(job.inbox)

    def _after(self, inbox: str) -> str:
        names = sorted(self.inboxes)
        return names[(names.index(inbox) + 1) % len(names)]

    def _shares(self, retiring: Mapping[str, str]) -> Counter[tuple[str, Lane]]:
        """Count what each inbox has of each lane, without polls, which touch no folder."""
        shares: Counter[tuple[str, Lane]] = Counter()
        for flying in self._in_flight.values():
            if flying.stage is not Stage.POLL and not flying.is_elsewhere:
                shares[flying.job.inbox, self._workers.lane(flying.stage)] += 1
        for inbox in retiring.values():
            shares[inbox, self._workers.disk] += 1
        return shares

    def _share(self, shares: Counter[tuple[str, Lane]], inbox: str, stage: Stage) -> int:
        """Return how much more of a stage an inbox may have, so that its dead file server fills no lane."""
        if len(self.inboxes) == 1:
            return self._room(stage, inbox)
        left = self._share_of(stage) - shares[inbox, self._workers.lane(stage)]
        here = max(min(self._workers.room(stage, inbox), left), 0)
        # What was chosen beyond the share here goes elsewhere.
        return here + max(self._workers.room_elsewhere(stage, inbox) + min(left, 0), 0)

    def _share_of(self, stage: Stage) -> int:
        return max(self._workers.lane(stage).size // len(self.inboxes), 1)

    def is_full(self, inbox: str, stage: Stage) -> bool:
        """Whether an inbox has its share of a stage's threads here, or none is free."""
        lane = self._workers.lane(stage)
        return lane.busy >= lane.size or self._shares({})[inbox, lane] >= self._share_of(stage)

    def _room(self, stage: Stage, inbox: str) -> int:
        return self._workers.room(stage, inbox) + self._workers.room_elsewhere(stage, inbox)
