"""Updates a split job after each event of one of its parts, in the same turn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from clipspool.jobs import events as on
from clipspool.jobs.events import Event
from clipspool.jobs.lifecycle import may
from clipspool.jobs.model import Job, State
from clipspool.jobs.permissions import is_taken_over, may_retry
from clipspool.jobs.splitting import is_waiting_for_parts, ordered, paid_of, part_jobs, seen
from clipspool.journal import Journal

Decide: TypeAlias = Callable[[Job, Event], Job]
"""Applies an event to a job, also to one that a worker is busy with, and records it."""


class Parts:
    """The split jobs of which a part has changed in this turn. For the scheduler's thread."""

    def __init__(self, journal: Journal, decide: Decide) -> None:
        self._journal, self._decide = journal, decide
        self._changed: dict[str, None] = {}
        """Ids of whole jobs to look at, in the order of their changes."""

    def look_at(self, jobs: Iterable[Job]) -> None:
        """Look at those of the jobs that wait for their parts: of one that was recovered all may be there."""
        self._changed.update(dict.fromkeys(job.id for job in jobs if job.is_split))

    def on_change(self, job: Job, moved: Job, event: Event, now: float) -> None:
        """Note a job's change; enter the parts of one that was split just now."""
        if isinstance(event, on.Split):
            self._enter(moved, now)
        if isinstance(event, on.PartGone):
            self._fetch_again(moved, event)
        is_moved = (job.state, job.held, job.progress, job.cancel_by) != (
            moved.state,
            moved.held,
            moved.progress,
            moved.cancel_by,
        )
        if is_moved and (moved.part or moved.is_split):
            self._changed[moved.whole_id] = None

    def ordered(self, ids: Iterable[str], may: Callable[[Job], bool]) -> list[str]:
        """Return whom an order concerns: in place of a job that waits for its parts those that may get it."""
        found: list[str] = []
        for job_id in ids:
            job = self._journal.job(job_id)
            concerned = [] if job is None else ordered(job, self._journal.parts_of(job), may)
            found += [one.id for one in concerned] or [job_id]
        return found

    def why_not_alone(self, job: Job) -> str:
        """Return why a part is not run again by itself; empty where it may be, or for what is no part."""
        whole = self._journal.job(job.whole_id) if job.part else None
        if whole is None or is_waiting_for_parts(whole):
            return ""
        return f"the job that it is a part of is {whole.state}; `clipspool retry {whole.id}` runs it again"

    def settle(self) -> None:
        """Move on the jobs whose parts have changed, and end the parts of those that have ended."""
        while self._changed:
            self._journal.flush()
            changed, self._changed = list(self._changed), {}
            for whole in self._journal.load(changed).values():
                if whole.is_split:
                    self._settle(whole)

    def _settle(self, whole: Job) -> None:
        if whole.state.is_terminal:
            if not is_taken_over(whole):  # then its parts are the taker's too
                self._end(whole)
            return
        if not is_waiting_for_parts(whole):
            return
        parts = self._journal.parts_of(whole)
        if whole.cancel_by:
            if all(one.state.is_terminal or one.state is State.FETCHED for one in parts):
                self._cancel(whole, parts)
            return
        if (event := seen(whole, parts)) is not None:
            self._decide(whole, event)

    def _cancel(self, whole: Job, parts: Sequence[Job]) -> None:
        """End a job that was cancelled; its error says whether anything was paid for any of its parts."""
        if (paid := paid_of(whole, parts)) is not whole.paid:
            whole = self._decide(whole, on.PartsSeen(whole.reason, whole.progress or 0.0, paid))
        self._decide(whole, on.Cancelled(whole.cancel_by))

    def _end(self, whole: Job) -> None:
        """End the parts of a job that has ended: what is fetched of one that was cancelled is kept."""
        for one in self._journal.parts_of(whole):
            if whole.state is State.DELIVERED and may(one, on.Joined):
                self._decide(one, on.Joined())
            elif not one.state.is_terminal and may(one, on.Cancelled):
                self._decide(one, on.Cancelled(whole.cancel_by or "its job's end"))

    def _enter(self, whole: Job, now: float) -> None:
        """Enter the parts, or, where the whole job is run again, retry those that ended without a result."""
        known = {one.id: one for one in self._journal.parts_of(whole)}
        self._journal.add_parts([one for one in part_jobs(whole, now) if one.id not in known])
        for one in known.values():
            # Its operator ordered the whole job to be run again, and was told what that may cost.
            if one.state.is_terminal and may_retry(one):
                self._decide(one, on.Retried("its job, which is run again"))

    def _fetch_again(self, whole: Job, event: on.PartGone) -> None:
        for one in self._journal.parts_of(whole):
            if one.part == event.part and may(one, on.ResultGone):
                self._decide(one, on.ResultGone(event.file))
