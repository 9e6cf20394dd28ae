"""Read the clip whole, before anything is spent: what is hashed here is what is sent."""

from __future__ import annotations

import os
from collections.abc import Callable
from io import FileIO

from clipspool.bay import Bay
from clipspool.events import Changed, Event, Failed, Prepared
from clipspool.files import join, sha256_of
from clipspool.job import Clip, Error, Job, Request
from clipspool.work import bring_back, folder_of

Estimate = Callable[[Request, float | None], float | None]
"""Credits of a request for a clip of so many seconds; None when they cannot be told."""


def prepare(job: Job, clip: Clip, bay: Bay, estimate: Estimate) -> Event:
    """Hash the clip, looking before and after whether somebody still writes to it.

    A clip that had retired is brought back from where it lies. Raises OSError, Unavailable among them.
    """
    try:
        bring_back(bay.inbox, clip, job, bay.journal)
        with bay.inbox.open(join(folder_of(clip.id), clip.source)) as file:
            before = os.fstat(file.fileno())
            sha256 = clip.sha256
            if sha256 is None or (before.st_size, before.st_mtime_ns) != (clip.size, clip.mtime_ns):
                sha256 = sha256_of(file)
            after = os.fstat(file.fileno())
    except FileNotFoundError:
        return Failed(
            Error(
                "CLIP.MISSING",
                f"{clip.path} is gone: it is neither in its work folder nor where it retired to",
                "Drop the clip again.",
            )
        )
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns) or after.st_size == 0:
        return Changed()
    seconds = clip.media.get("seconds")
    credits_estimated = estimate(job.request, None if seconds is None else float(seconds))
    return Prepared(sha256, after.st_size, after.st_mtime_ns, credits_estimated)


def open_unchanged(bay: Bay, clip: Clip) -> FileIO:
    """Open the clip if it still is the one that was hashed; raises OSError when it is not."""
    file = bay.inbox.open(join(folder_of(clip.id), clip.source))
    here = os.fstat(file.fileno())
    if (here.st_size, here.st_mtime_ns) != (clip.size, clip.mtime_ns):
        file.close()
        raise ClipChanged(f"{clip.path} changed after it was read")
    return file


class ClipChanged(OSError):
    """The clip is not the one that was hashed."""
