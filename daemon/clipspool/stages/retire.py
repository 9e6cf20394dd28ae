"""Moves a clip's source to `_done` or `_failed` once all its jobs have ended, and removes its work folder."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from clipspool.jobs.model import Clip, Job, State, newest
from clipspool.jobs.naming import numbered
from clipspool.spool.layout import DONE, FAILED, PROMPT, SIDECAR
from clipspool.spool.ledger import tasks_beyond
from clipspool.spool.root import Root
from clipspool.spool.sources import stamp
from clipspool.spool.watchfolder import Folders
from clipspool.spool.workfolder import (
    changed_note_of,
    clear_away,
    error_note_of,
    folder_of,
    keep_references,
    trace_of,
)
from clipspool.stages.changed import change_of, has_note, write_note
from clipspool.stages.provenance import error_note
from clipspool.system.atomic import NotRegular, Rel, join, name_of, parent, split_suffix
from clipspool.system.failpoint import reach

TXT = ".txt"
_SIDECAR_BYTES = len(".toml")
_NOTE_BYTES_MAX = 1 << 20


def retire(clip: Clip, jobs: Sequence[Job], folders: Folders, may_move: Callable[[], bool]) -> Clip:
    """Move the source, and return the clip with its new place; a second call changes nothing.

    `may_move` is asked right before anything is moved: a machine that was frozen may have an heir, and the
    clip may be needed again by a job that was retried there. Raises OSError where it is not so.

    Only after every result is durable in the outbox and the journal has recorded that. The work folder stays:
    `sweep` removes it once the journal has the new place. Raises OSError, Unavailable among them.
    """
    root = folders.inbox
    is_done = _is_done(jobs)
    change = change_of(clip, jobs, folders)
    if folders.origin is not None:
        return _retire_copy(clip, jobs, folders, may_move, is_done=is_done)
    source = _where(root, join(folder_of(clip.id), clip.source), clip.lies_at)
    sidecar = _where(root, join(folder_of(clip.id), SIDECAR), clip.sidecar_lies_at)
    # A source that changed after it was sent is not what the result shows, and may be the only copy: kept.
    if is_done and not folders.keeps_sources and not change:
        _ask(may_move)
        _remove_all(root, clip, source, sidecar)
        return replace(clip, lies_at=None, sidecar_lies_at=None)
    home = join(_archive(jobs, is_dated=folders.has_dated_archive) if is_done else FAILED, parent(clip.path))
    root.make_folders(home)
    note = b"" if is_done else error_note(clip, jobs, folders.places, unknown_tasks(clip, jobs, root))
    retiring = _Retiring(root, clip, source, sidecar, note, change, may_move)
    # `.toml` behind it makes its sidecar's name.
    for name in numbered(*split_suffix(name_of(clip.path)), spare=_SIDECAR_BYTES):
        if (retired := retiring.to(join(home, name))) is not None:
            return retired
    raise FileExistsError(f"no free name in {home} for {clip.path}")


@dataclass(slots=True)
class _Retiring:
    """Moves one clip to the first free name in its archive."""

    root: Root
    clip: Clip
    source: Rel | None
    sidecar: Rel | None
    """Where they lie now; None where they were moved, or are gone."""
    note: bytes
    """The error note of a clip that failed."""
    change: str
    may_move: Callable[[], bool]

    def to(self, rel: Rel) -> Clip | None:
        """Move the clip to a name, and return it with its new place; None where the name is another's."""
        root, clip = self.root, self.clip
        beside = _sidecar_name(clip, rel)
        there = replace(clip, lies_at=rel, sidecar_lies_at=beside)
        # It was retired before, and all its jobs ended again before one of them brought it back.
        stays = self.source == rel
        self.sidecar = _unmoved(root, self.sidecar, beside, trace_of(clip.id, SIDECAR))
        # The sidecar is moved first: while it is here, the same clip over there is somebody's link.
        if self.sidecar is None:
            self.source = _unmoved(root, self.source, rel, trace_of(clip.id, clip.source))
        if self.source is None and not root.exists(rel):
            # Somebody emptied the work folder: there is nothing left to move.
            return replace(clip, lies_at=None, sidecar_lies_at=None)
        if self.source is None and (_is_same(root, rel, clip) or has_note(root, rel, clip)):
            # It was moved just before a crash.
            return there
        # A sidecar that is not in the work folder was moved just before a crash: the one over there is ours.
        beside_taken = beside if self.sidecar is not None else None
        if self.source is None or (not stays and _is_taken(root, rel, beside_taken, self.note)):
            return None
        _ask(self.may_move)
        _write_notes(root, rel, clip, self.note, self.change)
        try:
            # The source is moved last: while it is in the work folder, a crash means that all is done again.
            if self.sidecar is not None and beside is not None and self.sidecar != beside:
                root.move(self.sidecar, root, beside, is_last=stays, trace=trace_of(clip.id, SIDECAR))
            _move_prompt(root, clip, rel)
            if not stays:
                root.move(self.source, root, rel, trace=trace_of(clip.id, clip.source))
            reach("retired")
        except FileExistsError:
            return None
        if clip.lies_at not in {None, rel}:
            root.remove(error_note_of(clip.lies_at))
            root.remove(changed_note_of(clip.lies_at))
        return there


def missing(retired: Clip, jobs: Sequence[Job], folders: Folders) -> str:
    """Return what is missing of a retired clip: its source, or tasks in the journal; empty for nothing."""
    if tasks := unknown_tasks(retired, jobs, folders.inbox):
        why = "the journal was put back from a backup, and does not know what was sent since"
        return f"{why}: task {', '.join(tasks)}"
    is_kept = folders.keeps_sources or not _is_done(jobs)
    if retired.lies_at is not None or folders.origin is not None or not is_kept:
        return ""
    return "its source is gone: somebody removed it from its work folder before it could be archived"


def unknown_tasks(clip: Clip, jobs: Sequence[Job], root: Root) -> list[str]:
    """Return the tasks that a journal which was put back lacks: nothing else leads to what they made."""
    return tasks_beyond(root, clip.id, {job.id: job.task.number if job.task else 0 for job in jobs})


def _is_done(jobs: Sequence[Job]) -> bool:
    return all(job.state is State.DELIVERED for job in newest(jobs))


def _retire_copy(
    clip: Clip, jobs: Sequence[Job], folders: Folders, may_move: Callable[[], bool], *, is_done: bool
) -> Clip:
    """Remove the copy of a clip from an inbox that is only read; of one that failed, leave the note."""
    root = folders.inbox
    _ask(may_move)
    if not is_done:
        note = error_note_of(join(FAILED, clip.path))
        root.make_folders(parent(note))
        root.replace(note, error_note(clip, jobs, folders.places, unknown_tasks(clip, jobs, root)))
    root.remove(join(folder_of(clip.id), clip.source))
    return replace(clip, lies_at=None, sidecar_lies_at=None)


def _remove_all(root: Root, clip: Clip, source: Rel | None, sidecar: Rel | None) -> None:
    for rel in (source, sidecar, _where(root, join(folder_of(clip.id), PROMPT), None)):
        if rel is not None:
            (root.discard if rel == source else root.remove)(rel)


def _ask(may_move: Callable[[], bool]) -> None:
    if not may_move():
        raise OSError(errno.EBUSY, "the lead of the farm was lost before the source was moved")


def _archive(jobs: Sequence[Job], *, is_dated: bool) -> Rel:
    """Return the folder of delivered sources: with a date, that of the day on which their last job ended.

    Not today's: after a crash just before midnight the source has to be looked for where it was moved.
    """
    if not is_dated:
        return DONE
    ended_at = max(job.updated_at for job in jobs)
    return join(DONE, datetime.fromtimestamp(ended_at, UTC).astimezone().strftime("%Y-%m-%d"))


def _write_notes(root: Root, rel: Rel, clip: Clip, note: bytes, change: str) -> None:
    """Write what the editor has to know beside the place where a source is about to be moved."""
    if note:
        root.replace(error_note_of(rel), note)
    if change:
        write_note(root, rel, clip, change)


def _move_prompt(root: Root, clip: Clip, rel: Rel) -> None:
    """Move the `.txt` that held the prompt beside the source, under a free name."""
    source, trace = join(folder_of(clip.id), PROMPT), trace_of(clip.id, PROMPT)
    if not root.exists(source):
        return
    for name in numbered(name_of(split_suffix(rel)[0]), TXT):
        to_rel = join(parent(rel), name)
        with suppress(FileExistsError):
            if not root.finish_move(source, to_rel, trace=trace):
                root.move(source, root, to_rel, is_last=False, trace=trace)
            return


def _unmoved(root: Root, rel: Rel | None, to_rel: Rel | None, trace: Rel) -> Rel | None:
    """Return what is still to be moved: nothing where only the end of a move was cut."""
    return None if rel and to_rel and root.finish_move(rel, to_rel, trace=trace) else rel


def _is_taken(root: Root, rel: Rel, beside: Rel | None, note: bytes) -> bool:
    if root.exists(rel) or (beside is not None and root.exists(beside)):
        return True
    try:
        return root.read(error_note_of(rel), _NOTE_BYTES_MAX) != note
    except FileNotFoundError:
        return False
    except (NotRegular, ValueError):  # a folder, a link or a large file: not a note of ours
        return True


def _is_same(root: Root, rel: Rel, clip: Clip) -> bool:
    return root.is_folder(rel) == clip.is_pictures and stamp(root, rel) == (clip.size, clip.mtime_ns)


def sweep(clip: Clip, folders: Folders) -> None:
    """Remove the work folder of a retired clip; a source that is still in it is kept.

    A clip may be run again, with its reference images: their copies are kept.
    """
    home = folder_of(clip.id)
    # A source that is still here was not moved, whatever the journal says: it may be the only copy.
    if not folders.inbox.exists(join(home, clip.source)):
        if clip.lies_at is not None or folders.origin is not None:
            keep_references(folders.inbox, clip)
        clear_away(folders.inbox, clip.id)


def _where(root: Root, in_work: Rel, retired_to: Rel | None) -> Rel | None:
    for rel in (in_work, retired_to):
        if rel is not None and root.exists(rel):
            return rel
    return None


def _sidecar_name(clip: Clip, rel: Rel) -> Rel | None:
    """Return the sidecar's path for the name that its clip got, in the style of its own name."""
    if clip.sidecar is None:
        return None
    if name_of(clip.sidecar) == name_of(clip.path) + ".toml":
        return rel + ".toml"
    return split_suffix(rel)[0] + ".toml"


def keep_results(clip: Clip, jobs: Sequence[Job], folders: Folders) -> None:
    """Move fetched results that were not delivered to `_failed`, `shot.result.mp4` for one of `shot.mp4`.

    They were paid for, and the work folder is about to be removed. Done again after a crash it moves the
    rest. Raises OSError, Unavailable among them.
    """
    root = folders.inbox
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
            part = f".part{job.part:03}" if job.part else ""
            for name in numbered(stem, result.suffix, between=f"{job.variant}{part}.result"):
                with suppress(FileExistsError):
                    root.move(file, root, join(folder, name))
                    break
