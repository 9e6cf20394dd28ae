"""Applies what happens to a job, records it in the turn's transaction, and tells who has to know.

Nothing outside is told or handed out before the commit: `defer` holds it until the turn is durable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import chain

import structlog

from clipspool.jobs import events as on
from clipspool.jobs.circuit_breaker import Brake
from clipspool.jobs.events import Event
from clipspool.jobs.lifecycle import Stage, advance, may
from clipspool.jobs.messages import Accepted, Happened, Listener, News
from clipspool.jobs.model import Duplicates, Job, State
from clipspool.jobs.nouns import replace
from clipspool.jobs.pacing import CLOCK_SET_SECONDS, Pace, due_by, shifted
from clipspool.jobs.permissions import has_to_deliver
from clipspool.journal import Journal
from clipspool.scheduler.braking import Braking
from clipspool.scheduler.budget import Spending
from clipspool.scheduler.dedup import Comparison, TaskOwners
from clipspool.scheduler.fallback import Fallbacks
from clipspool.scheduler.hooks import Hooks
from clipspool.scheduler.log_lines import log_line
from clipspool.scheduler.parts import Parts
from clipspool.scheduler.retirement import Retiring
from clipspool.scheduler.selection import InFlight
from clipspool.scheduler.short_of_credits import ShortOfCredits
from clipspool.scheduler.workers import Workers

log = structlog.get_logger()


class Recorder:
    """Records events of jobs, in the scheduler's thread and inside its turn."""

    def __init__(
        self,
        journal: Journal,
        workers: Workers,
        *,
        profile: str,
        pace: Pace,
        now: Callable[[], float],
        node: str,
    ) -> None:
        """`profile` names the provider and key that new tasks are made with, `node` this one in a farm.

        `now` is Unix time in seconds.
        """
        self.journal = journal
        self.workers = workers
        self.profile = profile
        self.node = node
        self.pace = pace
        self.now = now
        self.turned_at = now()
        """The time of this turn: one for all that it records."""
        self.in_flight: dict[str, InFlight] = {}
        self.comparison = Comparison(journal)
        self.braking = Braking(journal, self.publish)
        self.parts = Parts(journal, self.decide)
        self.retiring = Retiring(journal, workers, self.defer)
        self.hooks = Hooks(journal, workers, self.defer)
        self.fallbacks = Fallbacks(journal)
        self.short_of_credits = ShortOfCredits(journal)
        self.spending = Spending(journal, now)
        self.owners = TaskOwners(journal.open_tasks())
        self._deferred: list[Callable[[], object]] = []
        self._subscribers: list[Listener] = [log_line]

    @property
    def brake(self) -> Brake:
        """What holds submissions back, of all models and of single ones."""
        return self.braking.brake

    def configure(self, profile: str, pace: Pace, duplicates: Mapping[str, Duplicates]) -> None:
        """Set the provider's profile, the pace, and what happens to duplicates of each inbox."""
        self.profile, self.pace = profile, pace
        self.comparison.choices = duplicates

    def subscribe(self, listener: Listener) -> None:
        """Call a listener with all news, in this thread, once it is durable; it must not raise or block."""
        self._subscribers.append(listener)

    def publish(self, news: News) -> None:
        """Call all listeners, after this turn's commit."""
        for listener in self._subscribers:
            self.defer(partial(listener, news))

    def defer(self, act: Callable[[], object]) -> None:
        """Do something once this turn is durable."""
        self._deferred.append(act)

    def run_deferred(self) -> None:
        """Do what waited for the commit, and start threads that the system refused before."""
        after, self._deferred = self._deferred, []
        for act in after:
            act()
        self.workers.staff()

    def happen(self, job: Job, event: Event) -> Job:
        """Apply an event at the time of this turn and record it; listeners are called once it is durable."""
        now = self.turned_at
        open_tasks = max(self.journal.present[State.RUNNING], 1)
        moved = advance(job, event, now, self.pace, open_tasks=open_tasks)
        if self.node != moved.node:
            moved = replace(moved, node=self.node)
        self.journal.record(job, moved, event)
        if isinstance(event, on.Delivered):
            self.comparison.add_delivered(moved)
        elif isinstance(event, on.Attached):
            self.owners.add(event.task_id, job.id)
        self.parts.on_change(job, moved, event, now)
        self.retiring.on_change(job, moved)
        self.hooks.on_change(job, moved, event, now)
        self.fallbacks.on_change(job, event, now)
        if job.state is State.SUBMITTING and moved.state in {State.QUEUED, State.FAILED}:
            self.spending.recount()
        if not self.short_of_credits.passes(job, event, self.brake):
            self.braking.set(self.brake.after(job, event, now, self.pace.random, self.profile))
        self.short_of_credits.on_change(job, moved, event, now)
        self.publish(Happened(job, moved, event))
        return moved

    def fall_back(self, now: float) -> None:
        """Switch jobs to another model where theirs is refused, or the account does not cover it."""
        refused = self.fallbacks.due(self.brake, self.in_flight, now)
        uncovered = self.short_of_credits.due(self.brake, self.in_flight, self.profile)
        if [self.happen(job, event) for job, event in chain(refused, uncovered)]:
            self.journal.flush()

    def withdraw_connecting(self) -> None:
        """Have connections that are open, and not used yet, send nothing: another address or key counts now.

        What is recorded before a request is sent names the one that it is sent with.
        """
        for flying in self.in_flight.values():
            if flying.stage is Stage.SUBMIT and flying.job.state is State.QUEUED:
                flying.is_stale = True

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

    def record_and_cancel(self, job: Job, event: Event) -> Job:
        """Record an event; a job whose end was ordered meanwhile is cancelled then."""
        return self.cancel_if_asked(self.happen(job, event))

    def cancel_if_asked(self, job: Job, *, is_failed: bool = False) -> Job:
        """Cancel a job whose end was ordered while a worker had it; what it has fetched is delivered first.

        Where that fails it ends all the same: what was fetched is kept beside its source then.
        """
        if job.cancel_by and job.state is not State.RUNNING and may(job, on.Cancelled):
            if has_to_deliver(job) and not is_failed:
                return job
            return self.happen(job, on.Cancelled(job.cancel_by))
        return job

    def clock_was_set(self, now: float, by: float) -> None:
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

    def compare(self) -> None:
        """Record which of the clips that were hashed are duplicates."""
        is_any = False
        for job, verdict in self.comparison.verdicts():
            self.happen(job, verdict)
            is_any = True
        if is_any:
            self.journal.flush()

    def accept(self, accepted: Sequence[Accepted]) -> int:
        """Enter clips with their jobs, but for those that the journal knows; return how many were new."""
        new = {one.clip.id: one for one in accepted}
        for clip_id in self.journal.known(new) if new else ():
            del new[clip_id]
        for one in new.values():
            if one.clip.accepted_at - self.turned_at > CLOCK_SET_SECONDS:
                # It comes from its work folder, and the clock was set back since: its task may be paid for.
                one = replace(one, jobs=tuple(due_by(job, self.turned_at) for job in one.jobs))  # noqa: PLW2901
            self.journal.accept(one.clip, one.jobs)
            self.parts.look_at(one.jobs)
            self.retiring.look_at(one.jobs)
            self.publish(one)
        return len(new)
