"""Writes the log line at a job's end: seconds by state, bytes in and out, cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog

from clipspool.jobs.messages import Happened, News
from clipspool.jobs.model import Job, State
from clipspool.journal import Journal
from clipspool.reporting.history import seconds_by_state

log = structlog.get_logger()


def log_ending(facts: dict[str, Any]) -> None:
    """Write the line to the log."""
    log.info("job_ended", **facts)


class EndingLog:
    """Subscribes to the scheduler's news, and writes `job_ended` for each job that ends."""

    def __init__(self, journal: Journal, write: Callable[[dict[str, Any]], object]) -> None:
        """`journal` is read in the scheduler's thread only; `write` gets a line's facts."""
        self._journal, self._write = journal, write

    def on_news(self, news: News) -> None:
        """Take a piece of news."""
        match news:
            case Happened(before=was, after=job) if job.state.is_terminal and job.state is not was.state:
                self._write(self._facts(job))

    def _facts(self, job: Job) -> dict[str, Any]:
        clip = self._journal.clip(job.clip_id)
        spent = seconds_by_state(self._journal.history(job), job.updated_at)
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
            "bytes_in": clip.size if clip else 0,
            "bytes_out": sum(result.size for result in job.results if result.name),
            "attempts": job.task.number if job.task else 0,
            "credits_estimated": job.credits_estimated,
            "credits": job.task.credits if job.task else None,
            "paid": job.paid.value,
        }
