"""Retires clips: from the end of a clip's last job until its source is moved and its work folder removed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TypeAlias

from clipspool.jobs.messages import News, NotRetired, Retired
from clipspool.jobs.model import Clip, Job
from clipspool.jobs.pacing import Random, backoff_seconds
from clipspool.journal import Journal
from clipspool.scheduler.workers import Retirement, Swept, Workers

Later: TypeAlias = Callable[[Callable[[], object]], object]
"""Does something once this turn is durable."""
_PAUSE_SECONDS = (2.0, 600.0)


class Retiring:
    """The clips that are being retired. For the scheduler's thread."""

    def __init__(self, journal: Journal, workers: Workers, later: Later) -> None:
        self.moving: set[str] = set()
        """Clips whose source is being moved."""
        self._journal = journal
        self._workers = workers
        self._later = later
        self._inboxes: dict[str, str] = {}
        self._ended: set[str] = set()
        self._wanted_again: set[str] = set()
        """Clips with an ended job that was retried, or run again: only those can have an open job while they
        are retired."""
        self._to_sweep: list[Clip] = []
        self._is_sweeping = False

    @property
    def inboxes(self) -> Mapping[str, str]:
        """The inbox of each clip that is being retired; empty once only its work folder is left."""
        return self._inboxes

    def look_at(self, jobs: Iterable[Job]) -> None:
        """Retire the clip of jobs that have all ended: they were cancelled before a journal was lost."""
        self._ended.update(job.clip_id for job in jobs if job.state.is_terminal)

    def on_change(self, job: Job, moved: Job) -> None:
        """Note a job's change: a clip retires once all its jobs have ended, and stays if one is retried."""
        if moved.state.is_terminal and not job.state.is_terminal:
            self._ended.add(job.clip_id)
        if job.state.is_terminal and not moved.state.is_terminal:
            self._journal.bring_back(job.clip_id)
            self.want_again(job.clip_id)

    def want_again(self, clip_id: str) -> None:
        """Note that a clip of which all jobs had ended has an open one again."""
        self._wanted_again.add(clip_id)

    def record_ends(self, now: float) -> None:
        """Retire the clips of this turn whose jobs have all ended."""
        self._journal.retire_ended(self._ended, now)
        self._ended.clear()

    def begin(self, chosen: Sequence[tuple[Clip, list[Job], int]]) -> None:
        """Move sources; each clip comes with its jobs, and how often it was tried before."""
        for clip, jobs, attempts in chosen:
            self._inboxes[clip.id] = clip.inbox
            self.moving.add(clip.id)
            self._later(partial(self._workers.start_retirement, clip, jobs, attempts))

    def moved(self, retirement: Retirement, now: float, random: Random) -> News | None:
        """Record that a source was moved, or when it is tried again."""
        self._workers.finished_disk()
        clip = retirement.clip
        self.moving.discard(clip.id)
        if clip.id in self._wanted_again and self._journal.has_open_job(clip.id):
            # A job of it was retried or run again meanwhile: it is needed again, from where it is now.
            self._journal.relocate(clip)
            self._inboxes.pop(clip.id, None)
            return None
        if retirement.trouble:
            self._inboxes.pop(clip.id, None)
            pause = backoff_seconds(retirement.attempts, _PAUSE_SECONDS, random)
            self._journal.retire_later(clip.id, now + pause, retirement.attempts + 1)
            return NotRetired(clip, retirement.trouble)
        self._journal.retired(clip, now, retirement.change)
        self._to_sweep.append(clip)
        self._inboxes[clip.id] = ""  # a removal that hangs takes no inbox's share of the threads
        self._wanted_again.discard(clip.id)
        return Retired(clip, retirement.change)

    def sweep(self) -> None:
        """Remove the work folders of retired clips, many at a time."""
        if self._to_sweep and not self._is_sweeping:
            clips, self._to_sweep = self._to_sweep, []
            self._is_sweeping = True
            self._later(partial(self._workers.start_sweep, clips))

    def swept(self, done: Swept) -> None:
        """Forget clips whose work folders were removed."""
        self._workers.finished_disk()
        self._is_sweeping = False
        for clip_id in done.clip_ids:
            self._inboxes.pop(clip_id, None)
