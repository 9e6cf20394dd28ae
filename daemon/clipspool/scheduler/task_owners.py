"""Knows whose task each of the provider's ids is: one that comes twice leads to another clip's result."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from clipspool.jobs.events import AnswerLost, Event, TaskCreated

_KEPT_MAX = 100_000


class Owners:
    """The tasks of open jobs, and those made in this run."""

    def __init__(self, known: Mapping[str, str]) -> None:
        """Take the job of each task id that the journal has open."""
        self._job_of = OrderedDict(known)

    def checked(self, job_id: str, event: Event) -> Event:
        """Give the event, or doubt in its place where the task it tells of is another job's."""
        if not isinstance(event, TaskCreated):
            return event
        owner = self._job_of.setdefault(event.task_id, job_id)
        if len(self._job_of) > _KEPT_MAX:
            self._job_of.popitem(last=False)
        if owner == job_id:
            return event
        message = (
            f"the provider answered with task {event.task_id}, which it had given to job {owner} already"
        )
        return AnswerLost(message, {"task_id": event.task_id})
