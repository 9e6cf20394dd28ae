"""Settles requests that the last end of a scheduler cut short: sent and answered, not sent, or in doubt."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from clipspool.jobs import events as on
from clipspool.jobs.events import Event
from clipspool.jobs.model import Held, Job, State
from clipspool.journal import Journal
from clipspool.scheduler.dedup import TaskOwners
from clipspool.scheduler.poison import Suspects

SETTLE_SECONDS = 30.0
"""How long a work folder may take to show what became of a request: a file server may hang."""

Happen = Callable[[Job, Event], Job]
"""Records an event of a job and cancels the job if that was asked for meanwhile; returns the job."""


@dataclass(frozen=True, slots=True)
class LostLead:
    """The node that led the farm before, and lost its lead: it may be frozen with a request in its hands."""

    node: str
    answered_by: float
    """The time by which all its requests have an answer, unless it is frozen; in seconds since boot."""


class CutShort:
    """Jobs whose request the last end cut short, until their work folder shows what became of it."""

    def __init__(
        self,
        journal: Journal,
        owners: TaskOwners,
        suspects: Suspects,
        is_under_way: Callable[[str], bool],
        happen: Happen,
    ) -> None:
        self.lost_lead: LostLead | None = None
        self._journal, self._owners, self._suspects = journal, owners, suspects
        self._is_under_way, self._happen = is_under_way, happen
        self._job_ids: set[str] = set()
        self._until = 0.0

    def begin(self, inboxes: Collection[str], now: float) -> None:
        """Find them. In `inboxes` the work folders are read first; elsewhere nothing can show more."""
        for job in list(self._journal.find(states=(State.SUBMITTING,))):
            if job.inbox in inboxes:
                self._job_ids.add(job.id)
            else:
                self._happen(job, self._interrupted)
        self._until = now + SETTLE_SECONDS

    @property
    def _interrupted(self) -> on.Interrupted:
        return on.Interrupted("" if self.lost_lead is None else self.lost_lead.node)

    def settle(self, events: Mapping[str, Event]) -> None:
        """Record the events that the work folders prove, by job id."""
        self._job_ids -= events.keys()
        for job in self._journal.load(events).values():
            if job.state is not State.SUBMITTING or self._is_under_way(job.id):
                continue
            event = self._owners.checked(job.id, events[job.id])
            event = self._interrupted if isinstance(event, on.Interrupted) else event
            moved = self._happen(job, event)
            if why := self._suspects.verdict(moved):
                self._happen(moved, on.JobHeld(Held.POISON, why))
        # Its folder was away for too long, and the ledger in it knew the task.
        self.end_doubts({key: one for key, one in events.items() if isinstance(one, on.TaskCreated)})

    def settle_late(self, now: float) -> None:
        """Take those for in doubt whose work folder has shown nothing in time."""
        if self._job_ids and now >= self._until:
            self.settle(dict.fromkeys(self._job_ids, self._interrupted))

    def end_doubts(self, created: Mapping[str, on.TaskCreated]) -> None:
        """Record answers that a ledger showed only once its job was in doubt, by the job's id."""
        for job in self._journal.load(created).values():
            if job.state is State.IN_DOUBT:
                event = self._owners.checked(job.id, created[job.id])
                if isinstance(event, on.TaskCreated):
                    self._happen(job, event)
