"""Reads a folder once: its names, what each is, and the stamps of those that matter."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from clipspool.intake.names import Kind
from clipspool.intake.settle import Stamp, stamp_of

STAMPED = frozenset({Kind.CLIP, Kind.SIDECAR, Kind.DEFAULTS, Kind.FOLDER_PROMPT, Kind.IMAGE, Kind.TIMELINE})
NOT_REGULAR: Stamp = (1, 0, 0, 0, 0)
"""Stands for a link, FIFO, socket or device: no file of ours has inode 0."""


@dataclass(slots=True)
class Listing:
    """What a folder holds."""

    stamps: dict[str, Stamp] = field(default_factory=dict)
    others: set[str] = field(default_factory=set)
    """Files of which only the name matters."""
    folders: set[str] = field(default_factory=set)
    fresh: set[str] = field(default_factory=set)
    """Files whose kind was not known."""
    denied: OSError | None = None
    """Why a file was left out: it went, or it alone is broken."""


def listed(
    fd: int,
    kinds: dict[str, Kind],
    kind_of: Callable[[str], Kind],
    known: Mapping[str, Stamp],
    prompts: Collection[str],
) -> Listing:
    """Read an open folder; the kinds of new names are added to `kinds`, `known` are the stamps so far.

    `prompts` are the `.txt` files that are stamped. Raises OSError, also where names can be read and no file.
    """
    found = Listing()
    stamps, others, folders, fresh = found.stamps, found.others, found.folders, found.fresh
    with os.scandir(fd) as entries:
        for entry in entries:  # a tight loop: a NAS has each of 100,000 files here every `rescan_seconds`
            name = entry.name
            if entry.is_dir(follow_symlinks=False):
                folders.add(name)
                continue
            kind = kinds.get(name)
            if kind is None:
                kinds[name] = kind = kind_of(name)
                fresh.add(name)
            if kind not in STAMPED and (kind is not Kind.PROMPT or name not in prompts):
                others.add(name)
            elif entry.is_file(follow_symlinks=False):
                try:
                    s = entry.stat(follow_symlinks=False)
                except OSError as error:
                    found.denied = error
                    continue
                stamp = (s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino, s.st_dev)
                before = known.get(name)
                stamps[name] = before if before == stamp else stamp  # the same object compares at once
            else:
                stamps[name] = NOT_REGULAR
    if isinstance(found.denied, PermissionError) and not stamps:
        for name in fresh:
            del kinds[name]
        raise found.denied
    return found


def stamp_or_not_regular(status: os.stat_result) -> Stamp:
    """Return the stamp of a file status, `NOT_REGULAR` for what is no regular file."""
    return stamp_of(status) if stat.S_ISREG(status.st_mode) else NOT_REGULAR
