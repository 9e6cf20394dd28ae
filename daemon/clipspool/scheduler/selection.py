"""Selects what starts next: what is due, in turn by inbox, within the operator's limits and the lanes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from clipspool.jobs.circuit_breaker import Brake
from clipspool.jobs.lifecycle import Stage, stage_of
from clipspool.jobs.limits import Limits
from clipspool.jobs.messages import DailyLimitReached
from clipspool.jobs.model import Clip, Held, Job, State
from clipspool.jobs.pacing import PollBudget
from clipspool.jobs.records import Spend
from clipspool.journal import Candidate, Journal, candidate
from clipspool.scheduler.allowance import Probes, Shut, Used, shut_models
from clipspool.scheduler.lane import Lane
from clipspool.scheduler.pauses import Pauses
from clipspool.scheduler.turns import Turns
from clipspool.scheduler.workers import Workers

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
    spent: dict[str, DailyLimitReached] = field(default_factory=dict)
    """Which limits hold jobs back: the day's own by an empty name, others by inbox or model.

    By `over a day`: a job costs more than may be spent on a whole day."""


@dataclass(frozen=True, slots=True)
class _Turn:
    """What one turn chooses by, and what it has chosen so far."""

    now: float
    brake: Brake
    spend: Spend
    retiring: Mapping[str, str]
    excused: Collection[str]
    shares: Counter[tuple[str, Lane]]
    """What each inbox has of each lane."""
    picks: Picks = field(default_factory=Picks)


class Picker:
    """Reads from the journal what is due, and chooses. It changes nothing."""

    def __init__(
        self,
        journal: Journal,
        workers: Workers,
        in_flight: Mapping[str, InFlight],
        allows: Callable[[str], bool] = lambda _inbox: True,
        must_ask: Callable[[str], bool] = lambda _job: False,
    ) -> None:
        """Select for a scheduler; `allows` says whether anything may be submitted from an inbox.

        `must_ask` says whether a hook has to pass a job first, by its id.
        """
        self._must_ask = must_ask
        self.pauses = Pauses(journal)
        self.inboxes: tuple[str, ...] = ()
        self.limits = Limits()
        self._journal, self._workers, self._in_flight, self._allows = journal, workers, in_flight, allows
        self.polls_per_second_max = 20.0
        self.polls = PollBudget()
        self._order = Turns()
        self._turns = 0

    def allow(self, inboxes: Sequence[str], limits: Limits) -> None:
        """Set the inboxes that are worked on and the operator's limits."""
        self.inboxes, self.limits = tuple(inboxes), limits
        self._order.weights = limits.weights

    def pick(
        self,
        now: float,
        brake: Brake,
        spend: Spend,
        retiring: Mapping[str, str],
        polls_per_second_max: float = 20.0,
        *,
        excused: Collection[str] = (),
    ) -> Picks:
        """Choose what starts now; `retiring` has the inbox of each clip that is being moved, or nothing.

        `excused` are queued jobs that the brake does not hold.
        """
        self.polls_per_second_max = polls_per_second_max
        turn = _Turn(now, brake, spend, retiring, excused, self._shares(retiring))
        budget = self.polls.room(now, self.polls_per_second_max)
        if room := min(self._workers.room(Stage.POLL, ""), budget):
            jobs = self._due(State.RUNNING, Stage.POLL, now, room)
            turn.picks.stages += [(stage_of(job) or Stage.POLL, job) for job in jobs]
            self.polls.spend(len(jobs))
        self._turns += 1
        for inbox in self._in_turn():
            self._pick_transfers(inbox, turn)
        if self._journal.present[State.QUEUED] and not self.pauses.are_all:
            self._pick_from_queue(turn)
        self._pick_retirements(turn)
        return turn.picks

    def _in_turn(self) -> list[str]:
        """Return the inboxes, beginning with another one each time."""
        start = self._turns % max(len(self.inboxes), 1)
        return [*self.inboxes[start:], *self.inboxes[:start]]

    def _pick_transfers(self, inbox: str, turn: _Turn) -> None:
        for state, stage in _TRANSFERS:
            if room := self._share(turn.shares, inbox, stage):
                # A job that was retried while its clip is put away waits until its work folder is swept.
                due = self._due(state, stage, turn.now, room, inbox)
                jobs = [job for job in due if job.clip_id not in turn.retiring]
                turn.picks.stages += [(stage, job) for job in jobs]
                turn.shares[inbox, self._workers.lane(stage)] += len(jobs)

    def _due(self, state: State, stage: Stage, now: float, room: int, inbox: str | None = None) -> list[Job]:
        due = self._journal.due(state, now, room + self._workers.under_way(stage), inbox)
        waiting = [job_id for job_id in due if job_id not in self._in_flight][:room]
        return [job for job in self._journal.load(waiting).values() if stage_of(job) is not None]

    def _pick_retirements(self, turn: _Turn) -> None:
        """Choose clips to retire: results that somebody waits for go first, but not for ever."""
        stages = {flying.stage for flying in self._in_flight.values()}
        is_busy = bool((stages | {stage for stage, _ in turn.picks.stages}) - {Stage.POLL})
        due_by = turn.now - RETIRE_LATE_SECONDS if is_busy else turn.now
        for inbox in self._in_turn():
            if room := min(self._share(turn.shares, inbox, Stage.DELIVER), self._workers.room_to_retire()):
                chosen = self._journal.to_retire(inbox, due_by, room, but=turn.retiring)
                turn.picks.retirements += chosen
                turn.shares[inbox, self._workers.disk] += len(chosen)

    def _pick_from_queue(self, turn: _Turn) -> None:
        brake, spend, picks = turn.brake, turn.spend, turn.picks
        connecting = [
            f.job for f in self._in_flight.values() if f.stage is Stage.SUBMIT and f.job.state is State.QUEUED
        ]
        at_provider = self._journal.running.total() + len(connecting)
        slots = max(self.limits.running_max - at_provider, 0)
        under_way = [f.job for f in self._in_flight.values() if f.stage is Stage.SUBMIT]
        probes = Probes(brake, turn.now, under_way, turn.excused)
        room = {
            Stage.SUBMIT: min(slots, self._workers.room(Stage.SUBMIT, "")) if probes.may_begin else 0,
            Stage.VET: self._workers.room(Stage.VET, "")
            if slots and probes.may_begin and self._must_ask("")
            else 0,
            Stage.PREPARE: min(
                max((self._room(Stage.PREPARE, inbox) for inbox in self.inboxes), default=0), slots + AHEAD
            ),
        }
        if not any(room.values()):
            return
        chosen: list[tuple[Stage, Candidate]] = []
        too_dear: list[tuple[Candidate, str]] = []
        if why := self.limits.day_is_spent(spend):
            picks.spent[""] = DailyLimitReached(why)
        used = Used(self.limits, spend, self._journal.running, connecting)
        wanted = sum(room.values()) + sum(len(one.refused) for one in (brake, *brake.models.values()))
        shut = Shut(bool(why), shut_models(brake, turn.now) + used.full_models())
        for one in probes.in_order(self._order.merge(self._queues(turn, wanted, shut, used))):
            stage = Stage.SUBMIT if one.prepared else Stage.PREPARE
            if one.prepared and not one.part and self._must_ask(one.id):
                stage = Stage.VET
            if room[stage] <= 0 or not self._share(turn.shares, one.inbox, stage):
                continue
            if stage is not Stage.PREPARE:
                if not probes.allows(one) or used.why_full(one):
                    continue
                if not one.approved and (why := self._is_too_dear(one)):
                    too_dear.append((one, why))
                    continue
                if not one.approved and (spent := used.why_spent(one)):
                    if never := used.why_never(one):
                        job = self._journal.load([one.id])[one.id]
                        picks.spent.setdefault("over a day", DailyLimitReached(never, job))
                    else:
                        picks.spent |= {whose: DailyLimitReached(why) for whose, why in spent.items()}
                    continue
            if stage is Stage.SUBMIT:
                probes.begin(one)
                used.begin(one)
                self._order.took(one.inbox)
            room[stage] -= 1
            turn.shares[one.inbox, self._workers.lane(stage)] += 1
            chosen.append((stage, one))
        jobs = self._journal.load([one.id for _, one in chosen] + [one.id for one, _ in too_dear])
        picks.stages += [(stage, jobs[one.id]) for stage, one in chosen]
        picks.held += [(jobs[one.id], Held.BUDGET, why) for one, why in too_dear]

    def _is_too_dear(self, one: Candidate) -> str:
        limits = self.limits
        if one.part:
            return ""  # its clip was let pass as a whole
        if limits.credits_per_job_max is None and limits.credits_per_clip_max is None:
            return ""
        # The clips of a timeline are held one by one, and so approved.
        request = self._journal.load([one.id])[one.id].request
        why = limits.is_too_dear(one.credits_estimated) or (
            limits.is_timeline_too_dear(request.timeline_credits) if request.timeline else ""
        )
        return why or limits.is_clip_too_dear(self._journal.clip_cost(one.clip_id), one.credits_estimated)

    def _queues(self, turn: _Turn, wanted: int, shut: Shut, used: Used) -> dict[str, list[Candidate]]:
        busy = sum(map(self._workers.under_way, (Stage.PREPARE, Stage.VET, Stage.SUBMIT)))
        most = wanted + busy + AHEAD + len(turn.retiring)
        return {
            name: [
                one
                for one in self._with_excused(name, turn, self._queue(name, turn.now, most, shut, used))
                # A clip that is being retired is brought back only once that is over.
                if one.id not in self._in_flight and one.clip_id not in turn.retiring
            ]
            for name in self.inboxes
            if not (self.pauses.has(name) or self.pauses.awaits_scan(name)) and self._allows(name)
        }

    def _with_excused(self, inbox: str, turn: _Turn, found: list[Candidate]) -> list[Candidate]:
        """Put the jobs of an inbox that the brake does not hold before those that it does."""
        first = [
            candidate(job)
            for job in self._journal.load(turn.excused).values()
            if (job.inbox, job.state, job.held) == (inbox, State.QUEUED, None) and job.due_at <= turn.now
            if job.approved or self.limits.may_send(inbox, turn.now)
        ]
        ids = {one.id for one in first}
        return [*first, *(one for one in found if one.id not in ids)]

    def _queue(self, inbox: str, now: float, most: int, shut: Shut, used: Used) -> list[Candidate]:
        """Return the jobs of an inbox that may be sent next, however many others wait before them."""
        find = partial(self._journal.queue, inbox, now, most)
        if shut.approved_only:
            return find(approved_only=True, but_models=shut.models)
        found = find(but_models=shut.models)
        if not self.limits.may_send(inbox, now):
            ahead = [one for one in found if not (one.approved or one.prepared)]
        elif spent := {one.model for one in found if not one.approved and used.why_model_spent(one)}:
            others = find(but_models=[*shut.models, *spent])
            ahead = [one for one in [*found, *others] if not one.approved]
        else:
            return found
        every = {one.id: one for one in [*find(approved_only=True, but_models=shut.models), *ahead]}
        return sorted(every.values(), key=lambda one: -one.priority)

    def may_send(self, job: Job, now: float) -> bool:
        """Whether a job may be sent from its inbox now: not held, neither paused nor outside its hours."""
        # An older journal may have been found, and the job held, since it was picked.
        if stage_of(job) is None:
            return False
        is_open = job.approved or self.limits.may_send(job.inbox, now)
        return is_open and not self.pauses.has(job.inbox)

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
