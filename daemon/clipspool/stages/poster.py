"""Draws a poster for each delivered result: a small picture of source and result side by side."""

from __future__ import annotations

import os
from collections.abc import Sequence
from io import FileIO
from zlib import crc32

import structlog

from clipspool.jobs.model import Clip, Job, Result, State
from clipspool.media.decoder import Decoder
from clipspool.media.facts import MediaFault
from clipspool.spool.layout import POSTERS
from clipspool.spool.sources import open_source
from clipspool.spool.watchfolder import Folders
from clipspool.system.atomic import Rel, join, name_of, temporary_name, unlink

log = structlog.get_logger()

POSTERS_MAX = 2000
"""Where there are more, the oldest are removed: ids sort by time."""
_DRAWN_BETWEEN = 32
"""Posters drawn between two removals of older ones, about: listing all costs a fifth of drawing one."""


def draw_posters(clip: Clip, jobs: Sequence[Job], folders: Folders, decoder: Decoder) -> None:
    """Draw the posters of a clip's delivered results; one that cannot be drawn is logged and left out."""
    for job in jobs:
        if job.state is State.DELIVERED and not job.part:
            draw_posters_of(clip, job, folders, decoder)


def draw_posters_of(clip: Clip, job: Job, folders: Folders, decoder: Decoder) -> None:
    """Draw the posters of one job, whose results are in the outbox."""
    shown = (one for one in job.results if not (one.is_untouched or one.part))
    for number, result in enumerate(shown, start=1):
        try:
            _picture(job, clip, folders, result, number, decoder)
        except OSError as error:
            log.info("poster_not_made", job=job.id, why=error.strerror or str(error))


def _picture(job: Job, clip: Clip, folders: Folders, result: Result, number: int, decoder: Decoder) -> None:
    name = name_of(poster_of(job, number))
    if not result.is_film or folders.inbox.exists(poster_of(job, number)):
        return
    with (
        open_source(folders.inbox, clip, job.request) as source,
        folders.outbox.open(result.name) as file,
        folders.inbox.folder(POSTERS, make=True) as folder,
    ):
        fault = _draw(source, file, name, folder, folders, decoder)
        if crc32(name.encode()) % _DRAWN_BETWEEN == 0:
            _forget_oldest(folders, folder)
    if fault is not None:
        log.info("poster_not_made", job=job.id, why=fault.message)


def _draw(
    clip: FileIO, file: FileIO, name: str, folder: int, folders: Folders, decoder: Decoder
) -> MediaFault | None:
    temporary = temporary_name()
    try:
        with folders.inbox.create_in(temporary, folder, to_read=True) as target:
            drawn = decoder.poster(clip.fileno(), file.fileno(), target.fileno())
        if isinstance(drawn, MediaFault):
            return drawn
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    finally:
        unlink(temporary, folder)
    return None


def _forget_oldest(folders: Folders, folder: int) -> None:
    names = sorted(name for name in folders.inbox.names(POSTERS) if name.endswith(".jpg"))
    for name in names[:-POSTERS_MAX]:
        unlink(name, folder)


def poster_of(job: Job, number: int = 1) -> Rel:
    """Return the path of the poster of a job's result, relative to its inbox; counted from 1."""
    return join(POSTERS, f"{job.id}.jpg" if number == 1 else f"{job.id}-{number}.jpg")
