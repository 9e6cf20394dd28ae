"""The one thread that owns the journal: it receives events, records them, and hands out what is due.

Each turn is one transaction. Only after its commit do gates open, replies go out and workers get their work,
so nothing is spent or done that is not on disk first.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any, assert_never

from clipspool.jobs import events as on
from clipspool.jobs.assignments import Assignment, new_attempt
from clipspool.jobs.lifecycle import may, stage_of
from clipspool.jobs.limits import Limits
from clipspool.jobs.messages import Accepted, NotRetired
from clipspool.jobs.model import Held, Job, State
from clipspool.jobs.pacing import CLOCK_SET_SECONDS, Pace
from clipspool.journal import Journal
from clipspool.scheduler.cut_short import CutShort, LostLead
from clipspool.scheduler.mailbox import Command, Mailbox, Message
from clipspool.scheduler.poison import Suspects
from clipspool.scheduler.recorder import Recorder
from clipspool.scheduler.restore_guard import RestoreGuard
from clipspool.scheduler.rests import TURN_SECONDS_MAX, Rests
from clipspool.scheduler.selection import InFlight, Picker
from clipspool.scheduler.workers import (
    AtGate,
    Done,
    Elsewhere,
    HookDone,
    Retirement,
    Stages,
    Swept,
    Workers,
)
from clipspool.system.failpoint import reach
from clipspool.system.process import Flag, seconds_since_boot

_DUE_STATES = (State.QUEUED, State.RUNNING, State.RENDERED, State.FETCHED)
_OPEN_STATES = tuple(state for state in State if not state.is_terminal)


class Scheduler(Recorder):
    """Owner of the journal. `enqueue`, `call` and `call_soon` serve any thread; all else is for its own."""

    def __init__(
        self,
        journal: Journal,
        stages: Stages,
        *,
        profile: str,
        pace: Pace,
        now: Callable[[], float],
        passed: Callable[[], float] = seconds_since_boot,
        is_draining: bool = False,
        node: str = "",
    ) -> None:
        """`profile` names the provider and key that new tasks are made with, `node` this one in a farm.

        `now` is Unix time; `passed` counts seconds on a clock that cannot be set.
        """
        self.mailbox = Mailbox()
        super().__init__(
            journal, Workers(stages, self.enqueue), profile=profile, pace=pace, now=now, node=node
        )
        self.seconds_since_boot = passed
        """A clock that cannot be set."""
        self._passed_at = passed()
        self._rests = Rests(self.mailbox, passed)
        self.is_draining = is_draining
        """Nothing is handed out or sent any more."""
        self.restore_guard = RestoreGuard(journal, self.decide, self.publish)
        self.picker = Picker(
            journal, self.workers, self.in_flight, self.restore_guard.allows, self.hooks.must_ask
        )
        self.pauses = self.picker.pauses
        self.suspects = Suspects(journal, node)
        self.cut_short = CutShort(
            journal, self.owners, self.suspects, self.in_flight.__contains__, self.record_and_cancel
        )

    def allow(self, inboxes: Sequence[str], limits: Limits) -> None:
        """Set the inboxes that are worked on and the operator's limits."""
        self.picker.allow(inboxes, limits)

    def guard(self, inboxes: Collection[str], *, accepts_restored: bool) -> None:
        """Submit nothing from an inbox before its mark and its pause file were read."""
        self.restore_guard.begin(inboxes, accepts=accepts_restored)
        self.pauses.await_scans(inboxes)

    def enqueue(self, message: Message) -> None:
        """Put a message into the queue, which wakes the scheduler."""
        self.mailbox.put(message)

    def call(self, command: Callable[[Scheduler], Any], seconds: float = 30.0) -> Any:
        """Run a command in the next turn and return its answer; raises what the command raised."""
        reply: Future[Any] = Future()
        self.enqueue(Command(command, reply))
        return reply.result(seconds)

    def call_soon(self, command: Callable[[Scheduler], Any]) -> None:
        """Run a command in the next turn, without waiting for it."""
        self.enqueue(Command(command, Future()))

    def begin(
        self,
        inboxes: Collection[str] = (),
        *,
        is_excused: bool = False,
        lost_lead: tuple[str, float] | None = None,
    ) -> None:
        """Settle what the last end left behind: a request that may have been in flight is in doubt.

        In `inboxes` the work folders are read first, and `cut_short.settle` gets what they show.
        `is_excused`: the last end was the journal's fault, and no clip's. `lost_lead`: the node that lost its
        lead of the farm, and the seconds within which its requests are sent and answered.
        """
        if lost_lead is not None:
            node, seconds = lost_lead
            self.cut_short.lost_lead = LostLead(node, self.seconds_since_boot() + seconds)
        self.turned_at = now = self.now()
        self._passed_at = self.seconds_since_boot()
        with self.journal.turn():
            ahead = (self.journal.last_written() or now) - now
            if ahead > CLOCK_SET_SECONDS:
                self.clock_was_set(now, -ahead)
            self.cut_short.begin(inboxes, now)
            self.parts.look_at(self.journal.find(states=(State.RUNNING,)))
            self.journal.flush()
            for one, why in self.suspects.begin(is_excused=is_excused):
                if isinstance(one, Job):
                    self.happen(one, on.JobHeld(Held.POISON, why))
                else:
                    self.journal.set_aside(one, now, why)
                    self.publish(NotRetired(one, why))
        reach("begun")
        self.run_deferred()
        if self.workers.elsewhere is not None:
            self._adopt(self.workers.elsewhere)

    def work_elsewhere(self, elsewhere: Elsewhere) -> None:
        """Let other machines run stages too; call it before `begin`."""
        self.workers.elsewhere = elsewhere

    def _adopt(self, elsewhere: Elsewhere) -> None:
        """Count as under way what other machines have of an earlier leader, where it is still wanted.

        All else is handed out again, and its former result ignored. Raises JournalError.
        """
        for one in elsewhere.start(self.enqueue):
            job = self.journal.job(one.job.id)
            if job is not None and stage_of(job) is one.stage and job.task == one.job.task:
                self.workers.count_elsewhere(one.stage)
                self.in_flight[job.id] = InFlight(one.stage, job, one.attempt, is_elsewhere=True)

    def run(
        self, stopping: Flag, *, each_turn: Callable[[], bool], calm_seconds: float = TURN_SECONDS_MAX
    ) -> None:
        """Run turns until `stopping` is set, or until `each_turn` returns true.

        `calm_seconds` is the longest sleep between two turns while no job is open and no message comes.
        """
        while not stopping.is_set():
            self.turn()
            if each_turn():
                return
            is_any_open = self.has_work_here or any(self.journal.present[state] for state in _OPEN_STATES)
            self.wait(self._rests.sleep_seconds_max(is_any_open=is_any_open, calm_seconds=calm_seconds))

    @property
    def has_work_here(self) -> bool:
        """Whether a worker has anything, of a job or of a clip that is retired."""
        return bool(self.in_flight or self.retiring.inboxes)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way and every open job waits for a person."""
        if self.has_work_here or not self.mailbox.is_empty or not self.hooks.is_idle:
            return False
        open_states = (State.SUBMITTING, *_DUE_STATES)
        if not any(self.journal.present[state] for state in open_states):
            return self.journal.next_retire(0.0) is None
        waits_for_resume = bool(self.restore_guard.restored)
        return all(
            job.held is not None
            or (job.state in {State.RUNNING, State.FETCHED} and stage_of(job) is None)
            or not self.picker.limits.serves(job.inbox)
            or (job.state is State.QUEUED and (waits_for_resume or self.pauses.has(job.inbox)))
            for job in self.journal.find(states=open_states)
        )

    def turn(self) -> None:
        """Receive, record and pick in one transaction, then do what waited for its commit.

        Raises where the journal can't be written: then every gate stays shut, and the daemon has to end.
        """
        began = time.thread_time()
        before, passed_before = self.turned_at, self._passed_at
        self.turned_at, self._passed_at = now, _ = self.now(), self.seconds_since_boot()
        set_by = now - before - (self._passed_at - passed_before)
        messages = self.mailbox.receive()
        begun = set(self.in_flight)
        try:
            with self.journal.turn():
                if abs(set_by) > CLOCK_SET_SECONDS:
                    self.clock_was_set(now, set_by)
                self.accept([one for one in messages if isinstance(one, Accepted)])
                for one in messages:
                    self._handle(one, now)
                self.cut_short.settle_late(now)
                self.parts.settle()
                self.retiring.record_ends(now)
                self.journal.flush()
                self.compare()
                if not self.is_draining:
                    self._pick(now)
                self.suspects.note(self.in_flight, self.retiring.moving)
                self.retiring.sweep()
        except BaseException as error:
            for one in messages:
                if isinstance(one, AtGate):
                    one.gate.set_result(False)  # its intent was not recorded: nothing may be sent
                elif isinstance(one, Command):
                    one.reply.set_exception(error)
                elif isinstance(one, Done):
                    begun.discard(one.job_id)
            # What this turn picked was not handed out, so no worker will report its end.
            for job_id in self.in_flight.keys() - begun:
                del self.in_flight[job_id]
            raise
        if self._deferred:
            reach("committed")
        is_handed_out = bool(self._deferred)
        self.run_deferred()
        self._rests.turned(time.thread_time() - began, received=bool(messages), handed_out=is_handed_out)

    def wait(self, seconds: float = TURN_SECONDS_MAX) -> None:
        """Rest, then sleep until a message comes or something is due."""
        now = self.turned_at  # what fell due since then was not picked yet
        if self._rests.rest():
            return
        due = [self.journal.next_due(state, now) for state in _DUE_STATES]
        due += [self.journal.next_retire(now), self.brake.wakes_at(now)]
        soonest = min((at for at in due if at is not None), default=now + seconds)
        self._rests.sleep(soonest - self.now(), seconds)

    def _pick(self, now: float) -> None:
        self.fall_back(now)
        polls = self.pace.poll.per_second_max
        excused = self.short_of_credits.excused(self.brake, self.in_flight, self.profile)
        picks = self.picker.pick(
            now, self.brake, self.spending.today, self.retiring.inboxes, polls, excused=excused
        )
        for whose, news in picks.spent.items():
            if self.spending.is_first_today(whose):
                self.publish(news)
        for job, held, why in picks.held:
            self.happen(job, on.JobHeld(held, why))
        self.suspects.choose(picks, self.in_flight, self.retiring.moving)
        for stage, job in picks.stages:
            clip = self.journal.clip(job.clip_id)
            if clip is None:
                raise LookupError(f"job {job.id} has no clip {job.clip_id}")
            given = Assignment(stage, job, clip, new_attempt())
            is_elsewhere = self.workers.place(given, partial(self.picker.is_full, job.inbox, stage))
            self.in_flight[job.id] = InFlight(stage, job, given.attempt, is_elsewhere)
            self.defer(partial(self.workers.start, given, is_elsewhere=is_elsewhere))
        self.retiring.begin(picks.retirements)
        self.hooks.start(now)

    def _handle(self, message: Message, now: float) -> None:
        match message:
            case Done():
                self._handle_done(message)
            case AtGate():
                self._open_gate(message)
            case Accepted():
                pass  # accepted together, at the turn's beginning
            case Retirement():
                self.suspects.clear(message.clip.id)
                if news := self.retiring.moved(message, now, self.pace.random):
                    self.publish(news)
            case Swept():
                self.retiring.swept(message)
            case HookDone():
                self.hooks.ran(message.job_id, message.run, now)
            case Command():
                self._answer(message)
            case never:
                assert_never(never)

    def _handle_done(self, done: Done) -> None:
        flying = self.in_flight.get(done.job_id)
        if flying is None or flying.attempt != done.attempt:
            return  # a machine that was given up goes on, or a leader before this one gave it the work
        del self.in_flight[done.job_id]
        self.workers.finished(flying.stage, is_elsewhere=flying.is_elsewhere)
        set_aside = self.suspects.lost(flying.job, flying.stage) if done.is_lost else ""
        if not done.is_lost:
            self.suspects.clear(done.job_id)
        if flying.is_stale:
            return
        job, event = flying.job, done.event
        if event is None:
            is_out = job.state is State.SUBMITTING
            event = on.AnswerLost(done.trouble, {}) if is_out else on.StageFailed("BUG", done.trouble)
        event = self.owners.checked(job.id, event)
        if isinstance(event, on.Prepared):
            event = self.comparison.numbered(job, event, self.journal.clip(job.clip_id))
            self.journal.hash_clip(job.clip_id, event.sha256, event.size, event.mtime_ns, event.media)
            self.comparison.add(job, event)
        is_own = self.brake.blames(job, event)
        if instead := self.fallbacks.instead_of_failure(job, event):
            job, event = self.happen(job, instead[0]), instead[1]
        if set_aside:
            event = on.JobHeld(Held.POISON, set_aside)
        moved = self.cancel_if_asked(self.happen(job, event), is_failed=isinstance(event, on.StageFailed))
        if is_own and may(moved, on.JobHeld):
            self.happen(
                moved, on.JobHeld(Held.REFUSED, f"{moved.reason}; the provider took another clip meanwhile")
            )

    def _open_gate(self, ready: AtGate) -> None:
        flying = self.in_flight[ready.job_id]
        is_trusted = self.restore_guard.allows(flying.job.inbox)
        may_send = is_trusted and self.picker.may_send(flying.job, self.turned_at)
        if self.is_draining or flying.job.cancel_by or flying.is_stale or not may_send:
            self.defer(lambda: ready.gate.set_result(False))
            return
        # The intent to pay and the day's sum are durable before the gate opens: a crash from here on leaves a
        # record of what may have been paid, never a payment without one.
        flying.job = self.happen(flying.job, on.Connected(self.profile))
        self.spending.add(flying.job)
        if self.restore_guard.note_send not in self._deferred:  # one commit, one mark: before its first gate
            self.defer(self.restore_guard.note_send)
        self.defer(lambda: ready.gate.set_result(True))

    def _answer(self, command: Command) -> None:
        try:
            self.journal.flush()  # a command sees what this turn recorded before it
            answer = command.run(self)
        except Exception as error:  # noqa: BLE001  (it is raised where the command was called)
            trouble = error
            self.defer(lambda: command.reply.set_exception(trouble))
            return
        self.defer(lambda: command.reply.set_result(answer))
