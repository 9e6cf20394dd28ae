"""Compares a clip's source with what was sent of it, and writes a note where they differ.

A program that has a file open when it is accepted can write on: in its work folder, and in `_done`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from clipspool.jobs.events import Failed
from clipspool.jobs.model import Clip, Error, Job, Paid, State
from clipspool.jobs.text import text
from clipspool.spool.root import Root
from clipspool.spool.sources import digest, stamp, strangers
from clipspool.spool.watchfolder import Folders
from clipspool.spool.workfolder import changed_note_of, folder_of
from clipspool.system.atomic import NotRegular, Rel, join, name_of, sha256_of

_NOTE_BYTES_MAX = 64 << 10
_DATE_NS = 2_000_000_000
"""How far file systems round a date: FAT keeps two seconds."""
_REPLACED = "it was replaced by something else after it was sent"


def change_of(clip: Clip, jobs: Sequence[Job], folders: Folders) -> str:
    """Return how a source differs from what was sent; empty where it does not. Raises OSError."""
    # A reused result cost nothing, but the source may be deleted for it all the same.
    if clip.sha256 is None or not any(
        job.paid is not Paid.NO or job.state is State.DELIVERED for job in jobs
    ):
        return ""
    for rel in (join(folder_of(clip.id), clip.source), clip.lies_at):
        if rel is not None and folders.inbox.exists(rel):
            compare = _compare_pictures if clip.is_pictures else _compare
            return compare(folders.inbox, rel, clip)
    return ""


def _compare(root: Root, rel: Rel, clip: Clip) -> str:
    try:
        file = root.open(rel)
    except NotRegular:
        return _REPLACED
    with file:
        now = os.fstat(file.fileno())
        if (now.st_size, now.st_mtime_ns) == (clip.size, clip.mtime_ns):
            return ""
        if now.st_size != clip.size:
            return (
                f"it changed after it was sent: {clip.size:,} bytes were sent, it now has "
                f"{now.st_size:,} bytes; the result shows what was sent"
            )
        if sha256_of(file) == clip.sha256:  # only its date was set
            return ""
    return "it was modified after it was sent; the result shows what was sent"


def _compare_pictures(root: Root, rel: Rel, clip: Clip) -> str:
    if not root.is_folder(rel):
        return _REPLACED
    if others := strangers(root, rel):
        return f"`{text(others[0])}` was put into it after it was sent"
    if stamp(root, rel) == (clip.size, clip.mtime_ns):
        return ""
    try:
        is_same = digest(root, rel) == clip.sha256
    except NotRegular:
        return _REPLACED
    return "" if is_same else "its pictures changed after they were sent; the result shows what was sent"


def why_another(read: Clip, clip: Clip, job: Job) -> Failed | None:
    """Return why a clip that was read is not the one that a job is about; None where it is.

    Of one that was brought back: somebody may have put another clip under its name, and the order to run the
    job again did not mean that one. A clip that never left its work folder may still be written to, until
    it was cut into parts.
    """
    if job.parts and read.sha256 != clip.sha256:
        # Its other parts may be paid for: they show another film now.
        changed = f"{clip.path} changed after it was cut into parts"
        return Failed(Error("CLIP.CHANGED", changed, "Cancel the job, and drop the clip again."))
    if clip.lies_at is None:
        return None
    is_same = read.sha256 == clip.sha256
    if clip.sha256 is None:  # it retired before anybody read it
        is_same = read.size == clip.size and abs(read.mtime_ns - clip.mtime_ns) <= _DATE_NS
    if is_same:
        return None
    sizes = "" if read.size == clip.size else f": {clip.size:,} bytes then, {read.size:,} now"
    return Failed(
        Error(
            "CLIP.CHANGED",
            f"{text(clip.lies_at)} is not the clip that was accepted as {text(clip.path)}{sizes}",
            "Put back the clip that was accepted, or drop the other one as a clip of its own.",
        )
    )


def write_note(root: Root, rel: Rel, clip: Clip, change: str) -> None:
    """Write a note beside the place where a changed source is about to be moved. Raises OSError."""
    lines = (
        f"{text(name_of(clip.path))}: {change}.",
        "",
        "To render it as it is now, drop it again with its sidecar; that is charged again.",
        f"(clip {clip.id}, SHA-256 of what was sent: {clip.sha256})",
    )
    root.replace(changed_note_of(rel), ("\n".join(lines) + "\n").encode())


def has_note(root: Root, rel: Rel, clip: Clip) -> bool:
    """Whether a note of ours beside a source is about this clip, changed."""
    note = root.read_if_there(changed_note_of(rel), _NOTE_BYTES_MAX)
    return note is not None and f"(clip {clip.id},".encode() in note
