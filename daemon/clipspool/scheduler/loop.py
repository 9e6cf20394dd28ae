"""The one thread that owns the journal: it receives events, records them, and hands out what is due.

Each turn is one transaction. Only after its commit do gates open, replies go out and workers get their work,
so nothing is spent or done that is not on disk first.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias, assert_never

import structlog

from clipspool.jobs import events as on
from clipspool.jobs.assignments import Assignment, new_attempt
from clipspool.jobs.circuit_breaker import Brake
from clipspool.jobs.events import Event
from clipspool.jobs.lifecycle import Stage, advance, may, stage_of
from clipspool.jobs.limits import Limits
from clipspool.jobs.messages import (
    Accepted,
    DailyLimitReached,
    Happened,
    Listener,
    News,
    NotRetired,
)
from clipspool.jobs.model import Duplicates, Held, Job, State
from clipspool.jobs.nouns import replace
from clipspool.jobs.pacing import CLOCK_SET_SECONDS, Pace, due_by, shifted
from clipspool.jobs.permissions import has_to_deliver
from clipspool.journal import Journal, JournalError
from clipspool.scheduler.braking import Braking
from clipspool.scheduler.budget import Spending
from clipspool.scheduler.cut_short import CutShort, LostLead
from clipspool.scheduler.dedup import Comparison, TaskOwners
from clipspool.scheduler.fallback import Fallbacks
from clipspool.scheduler.hooks import Hooks
from clipspool.scheduler.log_lines import log_line
from clipspool.scheduler.parts import Parts
from clipspool.scheduler.poison import Suspects
from clipspool.scheduler.restore_guard import RestoreGuard
from clipspool.scheduler.retirement import Retiring
from clipspool.scheduler.selection import InFlight, Picker
from clipspool.scheduler.workers import (
    MAY_RUN_TWICE,
    Done,
    Elsewhere,
    HookDone,
    Ready,
    Retirement,
    Stages,
    Swept,
    Workers,
)
from clipspool.system.failpoint import reach
from clipspool.system.process import seconds_since_boot

log = structlog.get_logger()

TURN_SECONDS_MAX = 1.0
"""The longest sleep between two turns: each feeds the service's watchdog."""
_REST_SECONDS = (0.004, 0.05)
"""The rest between two turns, three times as long as the last turn took, within these: under load a turn
receives more messages, which share one transaction and one sync."""
_LEISURE_SECONDS = 0.05
"""The rest before a turn for which nothing is urgent: what comes meanwhile shares it."""
_LEISURELY = (on.TaskSeen, on.TaskSucceeded, on.Fetched, on.Delivered)
"""Events of jobs that are sent: nobody notices that they are recorded some hundredths of a second later."""
_MESSAGES_MAX = 500
_REPEATED_SECONDS = 5.0
"""How long the end of a farm's leader waits for what another node may do anew."""
_DUE_STATES = (State.QUEUED, State.RUNNING, State.RENDERED, State.FETCHED)


@dataclass(frozen=True, slots=True)
class Command:
    """An operator's command: run inside a turn, answered after its commit."""

    run: Callable[[Scheduler], Any]
    reply: Future[Any]


Message: TypeAlias = Accepted | Done | Ready | Retirement | Swept | HookDone | Command


def _is_urgent(message: Message) -> bool:
    match message:
        case Retirement() | Swept() | HookDone():
            return False
        case Done(event=event):
            return not isinstance(event, _LEISURELY)
        case _:
            return True


class Scheduler:
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
        self.journal = journal
        self.profile = profile
        self.node = node
        self.pace = pace
        self.now = now
        self._passed = passed
        self.in_flight: dict[str, InFlight] = {}
        self.workers = Workers(stages, self.enqueue)
        self.restore_guard = RestoreGuard(journal, self.decide)
        self.fallbacks = Fallbacks(journal)
        self.hooks = Hooks(journal, self.workers, self._defer)
        self.picker = Picker(
            journal, self.workers, self.in_flight, self.restore_guard.allows, self.hooks.must_ask
        )
        self.picker.pause(journal.fact("paused") or ())
        for inbox, file in dict(journal.fact("pause_files") or {}).items():
            self.picker.set_pause_file(inbox, file)
        self.comparison = Comparison(journal)
        self.suspects = Suspects(journal)
        self.braking = Braking(journal, self.publish)
        self.parts = Parts(journal, self.decide)
        self.retiring = Retiring(journal, self.workers, self._defer)
        self.spending = Spending(journal, now)
        self.is_draining = is_draining
        """Nothing is handed out or sent any more."""
        self._messages: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._is_urgent = threading.Event()
        """Set while a message waits on which a submission or a person waits."""
        self._pending: list[Message] = []
        self._owners = TaskOwners(journal.open_tasks())
        self.cut_short = CutShort(
            journal, self._owners, self.suspects, self.in_flight.__contains__, self._record_and_cancel
        )
        self._deferred: list[Callable[[], object]] = []
        self._subscribers: list[Listener] = [log_line]
        self._turned_at, self._passed_at = now(), passed()
        self._took_seconds = 0.0

    @property
    def brake(self) -> Brake:
        """What holds submissions back, of all models and of single ones."""
        return self.braking.brake

    def allow(self, inboxes: Sequence[str], limits: Limits) -> None:
        """Set the inboxes that are worked on and the operator's limits."""
        self.picker.allow(inboxes, limits)

    def configure(self, profile: str, pace: Pace, duplicates: Mapping[str, Duplicates]) -> None:
        """Set the provider's profile, the pace, and what happens to duplicates of each inbox."""
        self.profile, self.pace = profile, pace
        self.comparison.choices = duplicates

    def guard(self, inboxes: Collection[str], *, accepts_restored: bool) -> None:
        """Submit nothing from an inbox before its mark and its pause file were read."""
        self.restore_guard.begin(inboxes, accepts=accepts_restored)
        self.picker.await_scans(inboxes)

    def subscribe(self, listener: Listener) -> None:
        """Call a listener with all news, in this thread, once it is durable; it must not raise or block."""
        self._subscribers.append(listener)

    def publish(self, news: News) -> None:
        """Call all listeners, after this turn's commit."""
        for listener in self._subscribers:
            self._defer(partial(listener, news))

    # --- from any thread ------------------------------------------------------------------------------

    def enqueue(self, message: Message) -> None:
        """Put a message into the queue, which wakes the scheduler."""
        self._messages.put(message)
        if _is_urgent(message):
            self._is_urgent.set()

    def call(self, command: Callable[[Scheduler], Any], seconds: float = 30.0) -> Any:
        """Run a command in the next turn and return its answer; raises what the command raised."""
        reply: Future[Any] = Future()
        self.enqueue(Command(command, reply))
        return reply.result(seconds)

    def call_soon(self, command: Callable[[Scheduler], Any]) -> None:
        """Run a command in the next turn, without waiting for it."""
        self.enqueue(Command(command, Future()))

    # --- turns ----------------------------------------------------------------------------------------

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
            self.cut_short.lost_lead = LostLead(node, self._passed() + seconds)
        self._turned_at = now = self.now()
        self._passed_at = self._passed()
        with self.journal.turn():
            ahead = (self.journal.last_written() or now) - now
            if ahead > CLOCK_SET_SECONDS:
                self._clock_was_set(now, -ahead)
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
        self._run_deferred()
        if self.workers.elsewhere is not None:
            self._adopt(self.workers.elsewhere)

    @property
    def seconds_since_boot(self) -> float:
        """The clock that cannot be set, by which `lost_lead` counts."""
        return self._passed()

    def work_elsewhere(self, elsewhere: Elsewhere) -> None:
        """Give stages to other machines too; call it before `begin`."""
        self.workers.elsewhere = elsewhere

    def _adopt(self, elsewhere: Elsewhere) -> None:
        """Count as under way what other machines have of an earlier leader, where it is still wanted.

        All else is given out anew, and its result ignored. Raises JournalError.
        """
        for one in elsewhere.start(self.enqueue):
            job = self.journal.job(one.job.id)
            if job is not None and stage_of(job) is one.stage and job.task == one.job.task:
                self.workers.count_elsewhere(one.stage)
                self.in_flight[job.id] = InFlight(one.stage, job, one.attempt, is_elsewhere=True)

    def run(self, stopping: threading.Event, *, each_turn: Callable[[], bool]) -> None:
        """Run turns until `stopping` is set, or until `each_turn` returns true."""
        while not stopping.is_set():
            self.turn()
            if each_turn():
                return
            self.wait()

    def drain(self, seconds: float, *, each_turn: Callable[[], object]) -> None:
        """Hand out nothing more, and wait for what is under way here, for at most so many seconds."""
        self.is_draining = True
        self._leave_to_heir(lambda flying: flying.is_elsewhere)
        begun = self._passed()
        while (self.in_flight or self.retiring.inboxes) and self._passed() - begun < seconds:
            self.turn()
            each_turn()
            if self.workers.elsewhere is not None and self._passed() - begun > _REPEATED_SECONDS:
                # A download may stall for minutes; the farm must not wait for it without a leader that sends.
                self._leave_to_heir(lambda flying: flying.stage in MAY_RUN_TWICE)
            if self.in_flight or self.retiring.inboxes:
                self.wait(0.2)
        with self.journal.turn():
            self.suspects.note({})
        self.workers.stop()

    def _leave_to_heir(self, which: Callable[[InFlight], bool]) -> None:
        """Wait no more for stages that may run twice: whoever leads next hands them out anew."""
        for job_id in [job_id for job_id, flying in self.in_flight.items() if which(flying)]:
            del self.in_flight[job_id]

    def await_answers(self, seconds: float, *, each_turn: Callable[[], object]) -> None:
        """Wait for answers to requests on their way where the journal cannot be written: ledgers record them.

        For at most so many seconds; nothing more is sent.
        """
        until = time.monotonic() + seconds
        while any(f.stage is Stage.SUBMIT for f in self.in_flight.values()) and time.monotonic() < until:
            each_turn()
            with suppress(queue.Empty):
                match self._messages.get(timeout=_REST_SECONDS[1]):
                    case Done(job_id=job_id, attempt=attempt):
                        if (flying := self.in_flight.get(job_id)) and flying.attempt == attempt:
                            del self.in_flight[job_id]
                    case Ready(gate=gate):
                        gate.set_result(False)
                    case Command(reply=reply):
                        reply.set_exception(JournalError("The journal cannot be written; clipspool ends."))

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way and every open job waits for a person."""
        if self.in_flight or self.retiring.inboxes:
            return False
        if self._pending or not self._messages.empty() or not self.hooks.is_idle:
            return False
        open_states = (State.SUBMITTING, *_DUE_STATES)
        if not any(self.journal.present[state] for state in open_states):
            return self.journal.next_retire(0.0) is None
        return all(
            job.held is not None
            or (job.state in {State.RUNNING, State.FETCHED} and stage_of(job) is None)
            or not self.picker.limits.serves(job.inbox)
            or (job.state is State.QUEUED and self._waits_for_resume(job))
            for job in self.journal.find(states=open_states)
        )

    def _waits_for_resume(self, job: Job) -> bool:
        return bool(self.restore_guard.restored) or self.picker.is_paused(job.inbox)

    def turn(self) -> None:
        """Receive, record and pick in one transaction, then do what waited for its commit.

        Raises where the journal can't be written: then every gate stays shut, and the daemon has to end.
        """
        began = time.monotonic()
        before, passed_before = self._turned_at, self._passed_at
        self._turned_at, self._passed_at = now, _ = self.now(), self._passed()
        set_by = now - before - (self._passed_at - passed_before)
        messages = self._receive()
        begun = set(self.in_flight)
        try:
            with self.journal.turn():
                if abs(set_by) > CLOCK_SET_SECONDS:
                    self._clock_was_set(now, set_by)
                self.accept([one for one in messages if isinstance(one, Accepted)])
                for one in messages:
                    self._handle(one, now)
                self.cut_short.settle_late(now)
                self.parts.settle()
                self.retiring.record_ends(now)
                self.journal.flush()
                self._compare()
                if not self.is_draining:
                    self._pick(now)
                self.suspects.note(self.in_flight, self.retiring.moving)
                self.retiring.sweep()
        except BaseException as error:
            for one in messages:
                if isinstance(one, Ready):
                    one.gate.set_result(False)
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
        self._run_deferred()
        self._took_seconds = time.monotonic() - began

    def wait(self, seconds: float = TURN_SECONDS_MAX) -> None:
        """Rest, longer where nothing is urgent; then sleep until a message comes or something is due."""
        now = self._turned_at  # what fell due since then was not picked yet
        rest = min(max(3 * self._took_seconds, _REST_SECONDS[0]), _REST_SECONDS[1])
        time.sleep(rest)
        if self._is_urgent.wait(_LEISURE_SECONDS - rest) or not self._messages.empty():
            return
        due = [self.journal.next_due(state, now) for state in _DUE_STATES]
        due += [self.journal.next_retire(now), self.brake.wakes_at(now)]
        soonest = min((at for at in due if at is not None), default=now + seconds)
        try:
            self._pending.append(self._messages.get(timeout=min(max(soonest - self.now(), 0.0), seconds)))
        except queue.Empty:
            return

    def _clock_was_set(self, now: float, by: float) -> None:
        """Shift open tasks by the change of the clock, so that their age does not jump with it.

        After a clock set back, a task would be polled only after its result is gone; after one set forward,
        it would count as overdue or lost.
        """
        log.warning("clock_was_set", by_seconds=round(by))
        self.journal.shift_open_tasks(by)
        for flying in self.in_flight.values():
            flying.job = shifted(flying.job, by)
        if by < 0:
            self.journal.bring_forward(now)
        if self.brake != Brake():
            self.braking.set(self.brake.brought_forward(now))

    def _receive(self) -> list[Message]:
        messages, self._pending = self._pending, []
        while len(messages) < _MESSAGES_MAX:
            try:
                messages.append(self._messages.get_nowait())
            except queue.Empty:
                break
        self._is_urgent.clear()
        if not self._messages.empty():  # more than one turn takes, or what has just come: it may be urgent
            self._is_urgent.set()
        return messages

    def _defer(self, act: Callable[[], object]) -> None:
        """Do something once this turn is durable."""
        self._deferred.append(act)

    def _run_deferred(self) -> None:
        after, self._deferred = self._deferred, []
        for act in after:
            act()
        self.workers.staff()

    def _compare(self) -> None:
        is_any = False
        for job, verdict in self.comparison.verdicts():
            self.happen(job, verdict)
            is_any = True
        if is_any:
            self.journal.flush()

    def _fall_back(self) -> None:
        changed = [self.happen(job, event) for job, event in self.fallbacks.due(self.brake, self.in_flight)]
        if changed:
            self.journal.flush()

    def _pick(self, now: float) -> None:
        if self.brake.models:
            self._fall_back()
        polls = self.pace.poll.per_second_max
        picks = self.picker.pick(now, self.brake, self.spending.today, self.retiring.inboxes, polls)
        for whose, why in picks.spent.items():
            if self.spending.is_first_today(whose):
                self.publish(DailyLimitReached(why))
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
            self._defer(partial(self.workers.start, given, is_elsewhere=is_elsewhere))
        self.retiring.begin(picks.retirements)
        self.hooks.start()

    # --- recording ------------------------------------------------------------------------------------

    def happen(self, job: Job, event: Event) -> Job:
        """Apply an event at the time of this turn and record it; listeners are called once it is durable."""
        now = self._turned_at
        open_tasks = max(self.journal.present[State.RUNNING], 1)
        moved = advance(job, event, now, self.pace, open_tasks=open_tasks)
        if self.node != moved.node:
            moved = replace(moved, node=self.node)
        self.journal.record(job, moved, event)
        if isinstance(event, on.Delivered):
            self.comparison.add_delivered(moved)
        elif isinstance(event, on.Attached):
            self._owners.add(event.task_id, job.id)
        self.parts.on_change(job, moved, event, now)
        self.retiring.on_change(job, moved)
        self.hooks.on_change(job, moved, event, now)
        if job.state is State.SUBMITTING and moved.state in {State.QUEUED, State.FAILED}:
            self.spending.recount()
        self.braking.set(self.brake.after(job, event, now, self.pace.random, self.profile))
        self.publish(Happened(job, moved, event))
        return moved

    def run_again(self, job: Job, event: on.Again) -> Job:
        """Enter a new job of a known clip, queued; its source is brought back when it is prepared."""
        self.journal.add_job(job)
        self.retiring.want_again(job.clip_id)
        return self.happen(job, event)

    def decide(self, job: Job, event: Event) -> Job:
        """Apply an operator's event, also to a job that a worker has."""
        moved = self.happen(job, event)
        flying = self.in_flight.get(job.id)
        if flying is not None:
            # It stays stale, also where a second order changes nothing: what the worker reports is of the
            # former state, or of the task that another took the place of.
            is_other_task = isinstance(event, on.Attached)
            flying.is_stale = flying.is_stale or is_other_task or moved.state is not job.state
            flying.job = moved
        return moved

    def _handle(self, message: Message, now: float) -> None:
        match message:
            case Done():
                self._handle_done(message)
            case Ready():
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

    def accept(self, accepted: Sequence[Accepted]) -> int:
        """Enter clips with their jobs, but for those that the journal knows; return how many were new."""
        new = {one.clip.id: one for one in accepted}
        for clip_id in self.journal.known(new) if new else ():
            del new[clip_id]
        for one in new.values():
            if one.clip.accepted_at - self._turned_at > CLOCK_SET_SECONDS:
                # It comes from its work folder, and the clock was set back since: its task may be paid for.
                one = replace(one, jobs=tuple(due_by(job, self._turned_at) for job in one.jobs))  # noqa: PLW2901
            self.journal.accept(one.clip, one.jobs)
            self.parts.look_at(one.jobs)
            self.publish(one)
        return len(new)

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
        event = self._owners.checked(job.id, event)
        if isinstance(event, on.Prepared):
            event = self.comparison.numbered(job, event, self.journal.clip(job.clip_id))
            self.journal.hash_clip(job.clip_id, event.sha256, event.size, event.mtime_ns, event.media)
            self.comparison.add(job, event)
        is_own = self.brake.blames(job, event)
        if set_aside:
            event = on.JobHeld(Held.POISON, set_aside)
        moved = self._cancel_if_asked(self.happen(job, event), is_failed=isinstance(event, on.StageFailed))
        if is_own and may(moved, on.JobHeld):
            self.happen(
                moved, on.JobHeld(Held.REFUSED, f"{moved.reason}; the provider took another clip meanwhile")
            )

    def _record_and_cancel(self, job: Job, event: Event) -> Job:
        return self._cancel_if_asked(self.happen(job, event))

    def _cancel_if_asked(self, job: Job, *, is_failed: bool = False) -> Job:
        """Cancel a job whose end was ordered while a worker had it; what it has fetched is delivered first.

        Where that fails it ends all the same: what was fetched is kept beside its source then.
        """
        if job.cancel_by and job.state is not State.RUNNING and may(job, on.Cancelled):
            if has_to_deliver(job) and not is_failed:
                return job
            return self.happen(job, on.Cancelled(job.cancel_by))
        return job

    def _open_gate(self, ready: Ready) -> None:
        flying = self.in_flight[ready.job_id]
        is_trusted = self.restore_guard.allows(flying.job.inbox)
        may_send = is_trusted and self.picker.may_send(flying.job, self._turned_at)
        if self.is_draining or flying.job.cancel_by or flying.is_stale or not may_send:
            self._defer(lambda: ready.gate.set_result(False))
            return
        flying.job = self.happen(flying.job, on.Connected(self.profile))
        self.spending.add(flying.job)
        self._defer(self.restore_guard.note_send)
        self._defer(lambda: ready.gate.set_result(True))

    def _answer(self, command: Command) -> None:
        try:
            self.journal.flush()  # a command sees what this turn recorded before it
            answer = command.run(self)
        except Exception as error:  # noqa: BLE001  (it is raised where the command was called)
            trouble = error
            self._defer(lambda: command.reply.set_exception(trouble))
            return
        self._defer(lambda: command.reply.set_result(answer))

    # --- what holds all jobs back -----------------------------------------------------------------------

    def set_pause_file(self, inbox: str, file: str) -> None:
        """Record the `_pause` file that intake found in an inbox; empty for none."""
        if self.picker.set_pause_file(inbox, file):
            self.journal.set_fact("pause_files", self.picker.pause_files)
            if file:
                log.info("inbox_paused", inbox=inbox, file=file)
            else:
                log.info("inbox_resumed", inbox=inbox)

    def set_paused(self, paused: frozenset[str]) -> None:
        """Record which inboxes submit nothing; `*` is all of them."""
        self.picker.pause(paused)
        self.journal.set_fact("paused", sorted(paused))
