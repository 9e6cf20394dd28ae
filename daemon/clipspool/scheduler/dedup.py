"""Clips that ask for what was asked for already: set aside, or served with the earlier result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from clipspool.jobs.events import DuplicateFound, JobHeld, Prepared
from clipspool.jobs.fingerprint import is_sent_alike
from clipspool.jobs.model import Duplicates, Held, Job, Paid, Reuse, State
from clipspool.journal import Journal


class Comparison:
    """Compares each job once, in the turn that hears what its clip holds. Belongs to the scheduler's thread.

    One thread compares one job after another, so of two that come at the same time exactly one goes on.
    """

    def __init__(self, journal: Journal) -> None:
        """Take the journal that knows all jobs."""
        self.choices: Mapping[str, Duplicates] = {}
        """What the operator chose, by inbox; `hold` where nothing is said."""
        self._journal = journal
        self._fresh: dict[str, tuple[str, ...]] = {}
        """Jobs to compare, each with the fingerprints it would have with seed or ratio left open or named."""
        self._delivered: list[Job] = []

    def note(self, before: Job, event: Prepared) -> None:
        """Remember to compare a job, unless it was compared for just this, or a person wants it paid for."""
        is_meant = before.approved or before.request.again
        if event.fingerprint and event.fingerprint != before.fingerprint and not is_meant:
            self._fresh[before.id] = event.alike

    def note_delivered(self, job: Job) -> None:
        """Remember to serve with a job's result those that were set aside because of it."""
        if job.fingerprint and "reuse" in self.choices.values():
            self._delivered.append(job)

    def verdicts(self) -> Iterator[tuple[Job, JobHeld | DuplicateFound]]:
        """Give each new job that asks for the same as one before it, and what becomes of it."""
        jobs = self._journal.load(self._fresh) if self._fresh else {}
        shared = self._journal.shared({job.fingerprint for job in jobs.values()}) if jobs else set()
        while self._fresh:
            job = jobs[next(iter(self._fresh))]
            alike = self._fresh.pop(job.id)
            choice = self.choices.get(job.inbox, "hold")
            if choice == "run" or (job.fingerprint not in shared and not alike):
                continue
            if job.state is not State.QUEUED or job.held is not None:
                continue
            if earlier := self._earlier(job, alike):
                yield job, _verdict(job, earlier, choice)
        while self._delivered:
            one = self._delivered.pop()
            for job in self._journal.duplicates_of(one):
                if self.choices.get(job.inbox) == "reuse" and _is_finished_alike(one, job):
                    yield job, DuplicateFound(Reuse(one.id, one.inbox, one.results))

    def _earlier(self, job: Job, alike: tuple[str, ...]) -> list[Job]:
        """Give the jobs that asked for the same before, oldest first, as far as they are a reason to hold it.

        Those that come after it in this turn are compared with it, not it with them.
        """
        found = self._journal.same_request(job, self._fresh)
        for other in alike:
            near = self._journal.same_request(replace(job, fingerprint=other), self._fresh)
            found += [one for one in near if is_sent_alike(one.request, job.request)]
        if job.request.was_put_back:
            # Its editor saw that it failed, and moved it back. That says nothing about one that was paid for.
            found = [one for one in found if one.state is not State.FAILED or one.paid is Paid.YES]
        return found


def _verdict(job: Job, earlier: list[Job], choice: Duplicates) -> JobHeld | DuplicateFound:
    if choice == "reuse":
        for one in earlier:
            if one.state is State.DELIVERED and _is_finished_alike(one, job):
                return DuplicateFound(Reuse(one.id, one.inbox, one.results))
    first = earlier[0]
    state = first.state.value.replace("_", " ")
    if first.state is State.FAILED:
        state = "paid, and failed" if first.paid is Paid.YES else "perhaps paid, and failed"
    reason = (
        f"the same clip with the same request is job {first.id} ({first.path}), {state}; "
        "`clipspool approve` pays for it again, `clipspool cancel` ends this one "
        "(`again = true` in its sidecar would have said that it is meant)"
    )
    return JobHeld(Held.DUPLICATE, reason)


def _is_finished_alike(one: Job, other: Job) -> bool:
    return one.request.media_keys() == other.request.media_keys()
