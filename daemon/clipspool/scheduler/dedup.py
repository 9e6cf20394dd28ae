"""Finds clips with an earlier request, to set aside or deliver its result, and tasks returned twice."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping

from clipspool.jobs.events import AnswerLost, DuplicateFound, Event, JobHeld, Prepared, TaskCreated
from clipspool.jobs.fingerprint import is_sent_alike
from clipspool.jobs.model import Clip, Duplicates, Held, Job, Paid, Reuse, State
from clipspool.jobs.nouns import replace
from clipspool.journal import Journal

_KEPT_MAX = 100_000
_WITHOUT_RESULT = frozenset({State.FAILED, State.CANCELLED})


class Comparison:
    """Compares each job once, in the turn that records its clip's hash. For the scheduler's thread.

    One thread compares one job after another, so of two that come at the same time exactly one goes on.
    """

    def __init__(self, journal: Journal) -> None:
        self.choices: Mapping[str, Duplicates] = {}
        """The operator's choice, by inbox; `hold` by default."""
        self._journal = journal
        self._fresh: dict[str, tuple[str, ...]] = {}
        """Jobs to compare, each with the fingerprints it would have with seed or ratio left open or named."""
        self._delivered: list[Job] = []

    def numbered(self, job: Job, event: Prepared, clip: Clip | None) -> Prepared:
        """Return the event with its job's version: the next one where its clip was dropped before."""
        is_new = bool(event.fingerprint) and event.fingerprint != job.fingerprint
        if clip is None or not is_new or job.is_again:
            return event
        earlier = self._journal.newest_version(replace(clip, sha256=event.sha256), job.variant, but=job.id)
        return replace(event, version=earlier + 1) if earlier else event

    def add(self, before: Job, event: Prepared) -> None:
        """Compare a job in this turn, unless that was done, or a person wants to pay for it."""
        is_meant = before.approved or before.request.again
        if event.fingerprint and event.fingerprint != before.fingerprint and not is_meant:
            self._fresh[before.id] = event.alike

    def add_delivered(self, job: Job) -> None:
        """Deliver a job's result again for those that were set aside because of it."""
        if job.fingerprint and "reuse" in self.choices.values():
            self._delivered.append(job)

    def verdicts(self) -> Iterator[tuple[Job, JobHeld | DuplicateFound]]:
        """Yield each new job with the request of an earlier one, and what becomes of it."""
        jobs = self._journal.load(self._fresh) if self._fresh else {}
        asked = {job.fingerprint for job in jobs.values()}.union(*self._fresh.values())
        clips = self._journal.clips_with(asked) if asked else Counter[str]()
        while self._fresh:
            job = jobs[next(iter(self._fresh))]
            alike = self._fresh.pop(job.id)
            choice = self.choices.get(job.inbox, "hold")
            is_alone = clips[job.fingerprint] == 1 and not any(clips[one] for one in alike)
            if choice == "run" or is_alone:
                continue
            # An older journal that was found meanwhile holds it: approved, it is not compared once more.
            if job.state is not State.QUEUED or job.held not in {None, Held.FROM_BACKUP}:
                continue
            if earlier := self._earlier(job, alike):
                yield job, _verdict(job, earlier, choice if job.held is None else "hold")
        while self._delivered:
            one = self._delivered.pop()
            for job in self._journal.duplicates_of(one):
                if self.choices.get(job.inbox) == "reuse" and _is_finished_alike(one, job):
                    yield job, DuplicateFound(Reuse(one.id, one.inbox, one.results))

    def _earlier(self, job: Job, alike: tuple[str, ...]) -> list[Job]:
        """Return the earlier jobs with the same request that are a reason to hold this one, oldest first.

        Jobs that come after it in this turn are compared with it, not it with them.
        """
        found = self._journal.same_request(job, self._fresh)
        for other in alike:
            near = self._journal.same_request(replace(job, fingerprint=other), self._fresh)
            found += [one for one in near if is_sent_alike(one.request, job.request)]
        if job.request.was_put_back:
            found = [one for one in found if one.state not in _WITHOUT_RESULT or not _is_consent(one)]
        return found


def _is_consent(one: Job) -> bool:
    """Whether moving an ended job's clip back means to pay once more: its note said that it may cost again.

    Never for one that was charged; for a variant or a version the note names the operator's order instead.
    """
    return one.paid is Paid.UNKNOWN and not (one.variant or one.is_again)


def _verdict(job: Job, earlier: list[Job], choice: Duplicates) -> JobHeld | DuplicateFound:
    if choice == "reuse":
        for one in earlier:
            if one.state is State.DELIVERED and _is_finished_alike(one, job):
                return DuplicateFound(Reuse(one.id, one.inbox, one.results))
    first = earlier[0]
    state = first.state.value.replace("_", " ")
    if first.state in _WITHOUT_RESULT:
        state = f"{'paid' if first.paid is Paid.YES else 'perhaps paid'}, and {state}"
    elif not first.state.is_terminal:
        # The reason stays as it is written here, while the other job goes on.
        state = f"which was {state} when this one was found"
    reason = (
        f"the same clip with the same request is job {first.id} ({first.path}), {state}; "
        "`clipspool approve` pays for it again, `clipspool cancel` ends this one "
        "(with `again = true` in its sidecar it would have been sent)"
    )
    return JobHeld(Held.DUPLICATE, reason)


def _is_finished_alike(one: Job, other: Job) -> bool:
    return one.request.media_keys() == other.request.media_keys()


class TaskOwners:
    """The tasks of open jobs, and those made in this run: an id that comes twice is another clip's task."""

    def __init__(self, known: Mapping[str, str]) -> None:
        self._job_of = OrderedDict(known)

    def add(self, task_id: str, job_id: str) -> None:
        """Record that a person attached a task to a job: an answer that names it is doubted."""
        self._job_of[task_id] = job_id

    def checked(self, job_id: str, event: Event) -> Event:
        """Return the event, or `AnswerLost` in its place where its task is another job's."""
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
