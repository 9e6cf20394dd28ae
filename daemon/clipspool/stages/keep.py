"""Keeps fetched results of a job that ended without delivering them: in `_failed`, not in the outbox."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from clipspool.jobs.model import Clip, Job, State
from clipspool.jobs.naming import numbered
from clipspool.spool.layout import FAILED
from clipspool.spool.watchfolder import Bay
from clipspool.spool.workfolder import folder_of
from clipspool.system.atomic import join, name_of, parent, split_suffix


def keep_results(clip: Clip, jobs: Sequence[Job], bay: Bay) -> None:
    """Move fetched results that were not delivered to `_failed`, `shot.result.mp4` for one of `shot.mp4`.

    They were paid for, and the work folder is about to be removed. Done again after a crash it moves the
    rest. Raises OSError, Unavailable among them.
    """
    root = bay.inbox
    for job in jobs:
        if job.state is State.DELIVERED:
            continue
        for result in job.results:
            file = join(folder_of(clip.id), result.file)
            if result.name or not root.exists(file):
                continue
            folder = join(FAILED, parent(clip.path))
            root.make_folders(folder)
            stem, _ = split_suffix(name_of(clip.path))
            for name in numbered(stem, result.suffix, between=f"{job.variant}.result"):
                with suppress(FileExistsError):
                    root.move(file, root, join(folder, name))
                    break
