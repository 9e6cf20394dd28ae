"""Which jobs a command concerns: those that are named, with their parts, and those that fail or are held."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from clipspool.jobs.model import Held, Job, State
from clipspool.jobs.splitting import is_waiting_for_parts, ordered
from clipspool.journal import Journal


def named(journal: Journal, ids: Sequence[str]) -> list[Job]:
    """Return the jobs that exist, each once."""
    return [job for job in map(journal.job, dict.fromkeys(ids)) if job is not None]


def concerned(journal: Journal, ids: Sequence[str], may: Callable[[Job], bool]) -> list[Job]:
    """Return the named jobs; in place of one that waits for its parts those that may get the order."""
    return [one for job in named(journal, ids) for one in ordered(job, journal.parts_of(job), may)]


def names_of(ids: Sequence[str], chosen: Sequence[Job]) -> list[str]:
    """Return the ids to order for: what is shown and asked about, and names that no job has."""
    found = {job.id for job in chosen} | {job.whole_id for job in chosen}
    return [*(job.id for job in chosen), *(one for one in ids if one not in found)]


def failed_jobs(journal: Journal, code: str | None) -> list[Job]:
    """Return the failed jobs; of parts those whose job still waits for them."""
    found = list(journal.find(states=(State.FAILED,), code=code))
    wholes = journal.load({job.whole_id for job in found if job.part})
    waiting = {job_id for job_id, whole in wholes.items() if is_waiting_for_parts(whole)}
    return [job for job in found if not job.part or job.whole_id in waiting]


def held_in(journal: Journal, inbox: str, folder: str | None) -> list[Job]:
    """Return an inbox's jobs that a person has to let go on, or those of one folder of it."""
    kinds = {Held.BUDGET, Held.DUPLICATE, Held.FROM_BACKUP}
    within = f"{folder.strip('/')}/" if folder else ""
    return [
        job
        for job in journal.find(states=(State.QUEUED,))
        if job.inbox == inbox and job.held in kinds and job.path.startswith(within)
    ]
