"""Keeps what was fetched of a job that ended without it: beside its source, never in the outbox."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from clipspool.jobs.model import Clip, Job, Result, State
from clipspool.jobs.naming import NAME_BYTES_MAX, shortened
from clipspool.spool.layout import FAILED
from clipspool.spool.watchfolder import Bay
from clipspool.spool.workfolder import folder_of
from clipspool.system.atomic import Rel, join, name_of, parent, split_suffix

_TRIES_MAX = 1000


def keep_results(clip: Clip, jobs: Sequence[Job], bay: Bay) -> None:
    """Move fetched results that were not delivered to `_failed`, `shot.result.mp4` for one of `shot.mp4`.

    They were paid for, and the work folder is about to go. Done again after a crash it moves the rest. Raises
    OSError, Unavailable among them.
    """
    root = bay.inbox
    for job in jobs:
        if job.state is State.DELIVERED:
            continue
        for result in job.results:
            file = join(folder_of(clip.id), result.file)
            if result.name or not root.exists(file):
                continue
            root.make_folders(join(FAILED, parent(clip.path)))
            for rel in _names(clip, job, result):
                try:
                    root.move(file, root, rel)
                except FileExistsError:
                    continue
                break


def _names(clip: Clip, job: Job, result: Result) -> Iterator[Rel]:
    stem, _ = split_suffix(name_of(clip.path))
    for count in range(1, _TRIES_MAX):
        tail = f"{job.variant}.result{f'-{count}' if count > 1 else ''}{result.suffix}"
        name = shortened(stem, NAME_BYTES_MAX - len(tail)) + tail
        yield join(FAILED, parent(clip.path), name)
