"""Finds and removes what clipspool itself put into `_done` and `_failed`, and posters; never anything else.

A source counts as ours only while it has the size and the time of the last change that the journal knows. A
file is found first and compared once more right before its removal: an editor may have put another there.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from clipspool.jobs.model import Clip
from clipspool.spool.layout import DONE, FAILED, POSTERS
from clipspool.spool.root import Root
from clipspool.spool.sources import stamp, strangers
from clipspool.spool.workfolder import changed_note_of, error_note_of
from clipspool.system.atomic import Rel, join, parent, split_suffix

_PROMPT_BYTES_MAX = 64 << 10
_POSTER = re.compile(r"([0-9a-z]{12}(?:-v\d+)?)(?:-\d+)?\.jpg")


@dataclass(frozen=True, slots=True)
class File:
    """A file, or a folder of pictures, as it was found."""

    rel: Rel
    size: int
    mtime_ns: int

    def to_json(self) -> list[Any]:
        """Return it for the journal, whatever bytes its name has."""
        return [os.fsencode(self.rel).hex(), self.size, self.mtime_ns]

    @classmethod
    def from_json(cls, values: list[Any]) -> File:
        """Read what `to_json` returned."""
        return cls(os.fsdecode(bytes.fromhex(values[0])), values[1], values[2])


class NotOurs(Exception):
    """A file lies where a source was put, and it is another one now."""


def files_of(root: Root, clip: Clip, prompts: Collection[str]) -> list[File]:
    """Return what of a retired clip lies beneath an inbox: source, sidecar, prompt and notes, if any is left.

    `prompts` are those of its jobs, by which the text file is known that held one. A sidecar that was edited
    there is left out. Raises NotOurs where the source was replaced or changed, and OSError.
    """
    if clip.lies_at is None:
        return []
    source = _folder(root, clip.lies_at) if clip.is_pictures else file_at(root, clip.lies_at)
    if source is None and root.exists(clip.lies_at):
        raise NotOurs(clip.lies_at)
    if source is not None and (source.size, source.mtime_ns) != (clip.size, clip.mtime_ns):
        raise NotOurs(clip.lies_at)
    sidecar = None if edited_sidecar(root, clip) else clip.sidecar_lies_at
    beside = [sidecar, error_note_of(clip.lies_at), changed_note_of(clip.lies_at)]
    found = [source, *(file_at(root, rel) for rel in beside if rel is not None)]
    text = split_suffix(clip.lies_at)[0] + ".txt"
    prompt = root.read_if_there(text, _PROMPT_BYTES_MAX)
    if prompt is not None and prompt.decode(errors="replace").strip() in {one.strip() for one in prompts}:
        found.append(file_at(root, text))
    return [one for one in found if one is not None]


def edited_sidecar(root: Root, clip: Clip) -> Rel | None:
    """Return the sidecar beside a retired source where somebody wrote to it after it was put there."""
    found = None if clip.sidecar_lies_at is None else file_at(root, clip.sidecar_lies_at)
    if found is None or clip.retired_at is None or found.mtime_ns <= clip.retired_at * 1e9:
        return None
    return found.rel


def remove(root: Root, files: Collection[File]) -> None:
    """Remove files that are still what they were, and the sub-folders that this leaves empty.

    Raises OSError; done again after a crash it removes the rest.
    """
    for one in files:
        if file_at(root, one.rel) == one:
            root.remove(one.rel)
        elif _folder(root, one.rel) == one:
            root.discard(one.rel)
    for folder in {parent(one.rel) for one in files}:
        while folder.startswith((f"{DONE}/", f"{FAILED}/")) and root.remove_if_empty(folder):
            folder = parent(folder)  # noqa: PLW2901 - the folder around it may be empty now


def posters_of(root: Root) -> Mapping[str, list[File]]:
    """Return an inbox's posters by the id of the job that they show. Raises OSError."""
    found: dict[str, list[File]] = {}
    for name in root.names_if_there(POSTERS):
        match = _POSTER.fullmatch(name)
        if match and (one := file_at(root, join(POSTERS, name))) is not None:
            found.setdefault(match[1], []).append(one)
    return found


def file_at(root: Root, rel: Rel) -> File | None:
    """Return a regular file that is there; None for anything else."""
    there = root.stat_if_there(rel)
    if there is None or not stat.S_ISREG(there.st_mode):
        return None
    return File(rel, there.st_size, there.st_mtime_ns)


def _folder(root: Root, rel: Rel) -> File | None:
    """Return a folder of pictures that holds nothing else, as a file of all their bytes; None for others."""
    if not root.is_folder(rel) or strangers(root, rel):
        return None
    return File(rel, *stamp(root, rel))
