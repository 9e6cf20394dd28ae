"""Reads a clip that is a folder of numbered pictures, and packs it into one film, which is made to fit.

The folder stays the clip's source: it is what is hashed, retires and comes back. The film lies beside it in
the work folder, holds the very bytes of the pictures, and goes when the work folder goes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from io import FileIO
from typing import Any

from clipspool.jobs.events import Changed, Failed, Postponed
from clipspool.jobs.model import Clip, Error, Job
from clipspool.jobs.sequence import (
    PICTURES,
    Facts,
    at_rate,
    exact_rate,
    pictures_of,
    sequence_of,
    timecode_of,
)
from clipspool.media.decoder import Decoder
from clipspool.media.facts import EXPORT_AGAIN, MediaFault, Probe
from clipspool.media.stills import Unfit, survey
from clipspool.spool.root import Root
from clipspool.spool.sources import Stopped, digest, film_name, pictures_in, stamp
from clipspool.spool.watchfolder import Folders
from clipspool.spool.workfolder import folder_of, made_name
from clipspool.stages.fit import NotMade, Trouble, media_trouble
from clipspool.system.atomic import Rel, join

_PACKING = threading.Lock()
"""One folder is packed at a time: it keeps a disk busy, and variants of a clip find the film of the first."""


def read_pictures(root: Root, clip: Clip, stopping: Callable[[], bool]) -> Clip | Changed | Postponed:
    """Hash a folder's pictures, and return the clip as it is now. Raises OSError."""
    rel = join(folder_of(clip.id), clip.source)
    before, sha256 = stamp(root, rel), clip.sha256
    if sha256 is None or before != (clip.size, clip.mtime_ns):
        try:
            sha256 = digest(root, rel, stopping)
        except Stopped:
            return Postponed("the daemon stops", 0.0)
    if stamp(root, rel) != before or not before[0]:
        return Changed()
    return replace(clip, sha256=sha256, size=before[0], mtime_ns=before[1])


def look_at_pictures(clip: Clip, job: Job, folders: Folders, decoder: Decoder) -> Clip | Trouble:
    """Read the facts of a folder that changed after it was accepted. Raises OSError."""
    found = facts_in(folders.inbox, join(folder_of(clip.id), clip.source), decoder)
    if isinstance(found, Unfit):
        return Failed(
            Error("MEDIA.INCOMPLETE", f"it changed after it was taken: {found.reason}", EXPORT_AGAIN)
        )
    if isinstance(found, MediaFault):
        return media_trouble(found)
    return replace(clip, media=dict(at_rate(found, job.request.frames_per_second)))


def facts_in(root: Root, rel: Rel, decoder: Decoder) -> dict[str, Any] | Unfit | MediaFault:
    """Return the media facts of a folder of pictures, or why it is no film. Raises OSError."""
    sequence = sequence_of(pictures_of(root.names(rel)))
    found = Unfit(sequence) if isinstance(sequence, str) else survey(sequence, pictures_in(root, rel))
    if isinstance(found, Unfit):
        return found
    with root.open(join(rel, found.first)) as file:
        seen = decoder.still(file.fileno(), found.kind)
    return seen if isinstance(seen, MediaFault) else media_of(seen, found, stamp(root, rel)[0])


def media_of(first: Probe, facts: Facts, size: int) -> dict[str, Any]:
    """Return the media facts of a folder of pictures with `size` bytes in all, from its first picture."""
    return {**first.to_dict(), "size_bytes": size, PICTURES: facts.to_dict()}


def open_film(
    clip: Clip, job: Job, folders: Folders, decoder: Decoder, *, attempt: str
) -> FileIO | Trouble | Changed:
    """Open the film of a folder's pictures, packed at the job's rate where it is not there yet.

    Raises OSError.
    """
    root, home = folders.inbox, folder_of(clip.id)
    film = join(home, film_name(clip, job.request))
    with _PACKING:
        if not root.exists(film):
            fault = _pack(clip, job, root, decoder, film, made_name(job, attempt, ".film.part"))
            if fault is not None:
                return media_trouble(fault)
        # What was packed is what was hashed only if nobody wrote to it meanwhile.
        if stamp(root, join(home, clip.source)) != (clip.size, clip.mtime_ns):
            root.remove(film)
            return Changed()
    return root.open(film)


def _pack(clip: Clip, job: Job, root: Root, decoder: Decoder, film: Rel, part: str) -> MediaFault | None:
    facts = Facts.of(clip.media)
    if facts is None:
        raise TypeError(f"the clip {clip.id} has no facts about its pictures")
    rate = exact_rate(job.request.frames_per_second)
    pictures = pictures_in(root, join(folder_of(clip.id), clip.source))

    def filled(file: FileIO) -> None:
        packed = decoder.pack(
            pictures,
            file.fileno(),
            kind=facts.kind,
            rate=f"{rate.numerator}/{rate.denominator}",
            count=facts.count,
            timecode=timecode_of(facts.start, rate),
        )
        if isinstance(packed, MediaFault):
            raise NotMade(packed)

    try:
        with root.filling(film, part=part) as file:
            filled(file)
    except NotMade as trouble:
        return trouble.fault
    return None
