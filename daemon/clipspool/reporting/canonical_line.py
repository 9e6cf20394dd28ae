"""Writes the log line at a job's end: seconds by state, bytes in and out, cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import structlog

from clipspool.jobs.messages import Accepted, Happened, News
from clipspool.jobs.model import Job, State
from clipspool.journal import Journal
from clipspool.reporting.history import seconds_by_state

log = structlog.get_logger()


def log_ending(facts: dict[str, Any]) -> None:
    """Write the line to the log."""
    log.info("job_ended", **facts)


@dataclass(slots=True)
class _Open:
    """Figures of an open job that was accepted in this run."""

    size: int
    since: float
    spent: dict[State, float] = field(default_factory=dict)


class EndingLog:
    """Subscribes to the scheduler's news, and writes `job_ended` for each job that ends.

    Jobs accepted in this run are timed from memory; those open at the start, and those run again, from the
    journal's history, by one query a job.
    """

    def __init__(self, journal: Journal, write: Callable[[dict[str, Any]], object]) -> None:
        """`journal` is read in the scheduler's thread only; `write` gets a line's facts."""
        self._journal = journal
        self._write = write
        self._open: dict[str, _Open] = {}

    def on_news(self, news: News) -> None:
        """Take a piece of news."""
        match news:
            case Accepted(clip=clip, jobs=jobs):
                fresh = (job for job in jobs if not job.state.is_terminal)
                self._open.update((job.id, _Open(clip.size, clip.accepted_at)) for job in fresh)
            case Happened(before=before, after=after) if before.state is not after.state:
                self._moved(before.state, after)
            case _:
                return

    def _moved(self, left: State, job: Job) -> None:
        known = self._open.get(job.id)
        if known is not None:
            known.spent[left] = known.spent.get(left, 0.0) + max(job.updated_at - known.since, 0.0)
            known.since = job.updated_at
        if job.state.is_terminal:
            self._open.pop(job.id, None)
            facts = self._facts(job, known.size, known.spent) if known else self._old(job)
            self._write(facts)

    def _old(self, job: Job) -> dict[str, Any]:
        clip = self._journal.clip(job.clip_id)
        spent = seconds_by_state(self._journal.history(job), job.updated_at)
        return self._facts(job, clip.size if clip else 0, spent)

    def _facts(self, job: Job, size: int, spent: dict[State, float]) -> dict[str, Any]:
        facts: dict[str, Any] = {
            "job": job.id,
            "clip": job.path,
            "inbox": job.inbox,
            "model": job.request.model,
            "outcome": job.state.value,
        }
        if job.error is not None:
            facts["code"] = job.error.code
        facts["seconds"] = round(sum(spent.values()), 3)
        facts |= {f"{state}_seconds": round(spent[state], 3) for state in State if state in spent}
        return facts | {
            "bytes_in": size,
            "bytes_out": sum(result.size for result in job.results if result.name),
            "attempts": job.task.number if job.task else 0,
            "credits_estimated": job.credits_estimated,
            "credits": job.task.credits if job.task else None,
            "paid": job.paid.value,
        }
