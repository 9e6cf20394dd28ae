"""Which hooks are due: `before_submit` for a job that may be sent, the others once each after a job's end.

What is due after an end is written into the journal in the turn that records the end, so that no crash
forgets it. That a job passed `before_submit` is known in memory alone: after a crash it is asked again. That
a person let it pass is kept until it leaves the queue.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import structlog

from clipspool.jobs.events import Event, Vetted
from clipspool.jobs.model import Job, State
from clipspool.jobs.records import HookRun
from clipspool.journal import Journal
from clipspool.scheduler.workers import Workers

log = structlog.get_logger()

_PREFIX = "hook:"
_APPROVED = "hook_approved:"
"""The facts with the jobs that were approved against the hook."""
_OF_ENDS = {State.DELIVERED: "after_delivery", State.FAILED: "on_failure"}
_BEFORE = "before_submit"
_DUE_MAX = 5000
_RETIRE_SECONDS = 60.0
"""How long after its job's end a hook waits for the clip's source to be moved, which is where it finds it."""


class Hooks:
    """Used in the scheduler's thread only."""

    def __init__(
        self, journal: Journal, workers: Workers, later: Callable[[Callable[[], object]], object]
    ) -> None:
        """`later` does something once this turn is durable."""
        self._journal, self._workers, self._later = journal, workers, later
        self._names: frozenset[str] = frozenset()
        self._passed: set[str] = set()
        self._approved = {key.removeprefix(_APPROVED) for key in journal.facts_below(_APPROVED)}
        self._under_way: set[str] = set()
        self._due = {key: float(journal.fact(key) or 0.0) for key in journal.facts_below(_PREFIX)}

    @property
    def is_idle(self) -> bool:
        """Whether no hook is due or running."""
        return not self._due

    def use(self, names: Collection[str]) -> None:
        """Set which hooks are configured."""
        self._names = frozenset(names)

    def must_ask(self, job_id: str) -> bool:
        """Whether `before_submit` has to pass a job before it is sent."""
        return _BEFORE in self._names and job_id not in self._passed and job_id not in self._approved

    def pass_over(self, job_id: str) -> None:
        """Let a job pass that the hook refused: the operator approved it."""
        self._approved.add(job_id)
        self._journal.set_fact(_APPROVED + job_id, True)

    def on_change(self, before: Job, after: Job, event: Event, now: float) -> None:
        """Record that a job passed, was changed, or has ended."""
        if isinstance(event, Vetted):
            self._passed.add(after.id)
        elif after.state not in {State.QUEUED, State.SUBMITTING} or not after.prepared:
            self._passed.discard(after.id)
        if after.id in self._approved and after.state not in {State.QUEUED, State.SUBMITTING}:
            self._approved.discard(after.id)
            self._journal.forget_fact(_APPROVED + after.id)
        if after.part:
            return  # the job that it is a part of ends, or waits for a person
        name = _OF_ENDS.get(after.state, "")
        if after.state is before.state or name not in self._names:
            return
        if len(self._due) >= _DUE_MAX:
            log.warning("hook_dropped", hook=name, job=after.id, why=f"{_DUE_MAX} are waiting")
            return
        key = f"{_PREFIX}{name}:{after.id}"
        self._due[key] = now
        self._journal.set_fact(key, now)

    def start(self, now: float) -> None:
        """Hand out what is due, as many as the lane takes at once."""
        lane = self._workers.after_hooks
        for key in [one for one in self._due if one not in self._under_way][: max(lane.size - lane.busy, 0)]:
            _, name, job_id = key.split(":", 2)
            job = self._journal.load([job_id]).get(job_id)
            clip = None if job is None else self._journal.clip(job.clip_id)
            if job is None or clip is None:
                self._forget(key)
                continue
            # The path that it is given would be gone before it could be read.
            is_moving = clip.retired_at is None and not self._journal.has_open_job(clip.id)
            if is_moving and 0.0 <= now - self._due[key] < _RETIRE_SECONDS:
                continue
            self._under_way.add(key)
            lane.busy += 1
            self._later(lambda n=name, j=job, c=clip: self._workers.start_hook(n, j, c))  # type: ignore[misc]

    def ran(self, job_id: str, run: HookRun, now: float) -> None:
        """Record how a hook ended; one that clipspool's own end cut short is run again."""
        self._workers.after_hooks.busy -= 1
        key = f"{_PREFIX}{run.hook}:{job_id}"
        if run.was_stopped:
            return  # it stays under way for the rest of this run, and due for the next
        self._under_way.discard(key)
        self._forget(key)
        job = self._journal.load([job_id]).get(job_id)
        if job is not None:
            self._journal.hook_ran(job, run, now)
        if run.trouble:
            log.warning("hook_failed", hook=run.hook, job=job_id, why=run.trouble, output=run.output)

    def _forget(self, key: str) -> None:
        self._due.pop(key, None)
        self._journal.forget_fact(key)
