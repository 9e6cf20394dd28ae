"""Which jobs a command concerns: those that are named, with their parts, and those that fail or are held."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from clipspool.intake.names import composed
from clipspool.jobs.model import Held, Job, State
from clipspool.jobs.splitting import is_waiting_for_parts, ordered
from clipspool.journal import Journal

_HELD = frozenset({Held.BUDGET, Held.DUPLICATE, Held.FROM_BACKUP})
"""What an approval of many jobs at once releases."""


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


def of_timelines(journal: Journal, names: Sequence[str]) -> tuple[list[str], list[Job]]:
    """Return which names are those of timelines with held jobs, and these jobs.

    A timeline is named by its path in the inbox, or by its file name alone.
    """
    found: dict[str, Job] = {}
    meant: set[str] = set()
    for job in journal.find(states=(State.QUEUED,)):
        path = composed(job.request.timeline_name)
        if path and job.held in _HELD and (said := {path, path.rpartition("/")[2]} & {*map(composed, names)}):
            found[job.id] = job
            meant |= said
    return [one for one in names if composed(one) in meant], list(found.values())


def held_in(journal: Journal, inbox: str, folder: str | None) -> list[Job]:
    """Return an inbox's jobs that a person has to let go on, or those of one folder of it."""
    within = f"{composed(folder.strip('/'))}/" if folder else ""  # a Mac may have named it
    return [
        job
        for job in journal.find(states=(State.QUEUED,))
        if job.inbox == inbox and job.held in _HELD and composed(job.path).startswith(within)
    ]
