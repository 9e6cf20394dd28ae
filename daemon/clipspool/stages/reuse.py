"""Takes over an earlier job's results for the same request: copied and verified, without paying."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from clipspool.jobs.events import Event, JobHeld, Reused
from clipspool.jobs.model import Clip, Held, Job, Result, Reuse
from clipspool.spool.ledger import note
from clipspool.spool.sources import holds, stamp
from clipspool.spool.watchfolder import Folders
from clipspool.spool.workfolder import folder_of, made_name
from clipspool.system.atomic import NotRegular, join
from clipspool.system.failpoint import reach


def reuse(job: Job, clip: Clip, folders_of: Mapping[str, Folders], given: Reuse, *, attempt: str) -> Event:
    """Copy each result into the work folder; after a crash all are copied again.

    Where a result is gone or changed, the job is held for a person. Raises OSError.
    """
    earlier = folders_of.get(given.inbox)
    if earlier is None:
        return _not_reused(given, f"the inbox {given.inbox} is not configured any more")
    home = folder_of(clip.id)
    folders = folders_of[job.inbox]
    folders.inbox.make_folders(home)
    results: list[Result] = []
    for number, result in enumerate(given.results, start=1):
        file = made_name(job, attempt, f"-{number}{result.suffix}")
        if trouble := _bring(result, earlier, folders, join(home, file)):
            return _not_reused(given, trouble)
        results.append(replace(result, file=file, name=""))
    # If the journal is lost, the work folder records that this clip is not to be paid for.
    note(folders.inbox, clip.id, job.id, "reused", from_job=given.job_id)
    reach("reused")
    return Reused(tuple(results), given.job_id)


def _bring(result: Result, earlier: Folders, folders: Folders, rel: str) -> str:
    """Copy a result; return why it cannot be used, empty where it can."""
    folders.inbox.discard(rel)
    changed = f"its result {result.name} is not what was delivered"
    try:
        if stamp(earlier.outbox, result.name)[0] != result.size:
            return changed
        earlier.outbox.copy(result.name, folders.inbox, rel)
    except (FileNotFoundError, NotADirectoryError):
        return f"its result {result.name} is not in the outbox any more"
    except NotRegular:
        return changed
    if not holds(folders.inbox, rel, result.size, result.sha256):
        folders.inbox.discard(rel)
        return changed
    return ""


def _not_reused(given: Reuse, why: str) -> JobHeld:
    reason = f"job {given.job_id} delivered the same, but {why}; `clipspool approve` pays for it again"
    return JobHeld(Held.DUPLICATE, reason)
