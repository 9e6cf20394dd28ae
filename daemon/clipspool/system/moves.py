"""Moves a file between two open folders: by one rename, else copied, synced, compared, named and removed.

A rename is refused between file systems, and what looks like one folder may lie on several: disks pooled by
mergerfs, a mount or a subvolume in a sub-folder. Which error says so differs, so any error leads to the copy.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from clipspool.system.atomic import (
    copy_bytes,
    lies,
    open_regular,
    rename_new,
    sha256_of,
    sync_and_close,
    sync_folder,
    take,
    temporary_name,
    unlink,
)
from clipspool.system.failpoint import reach
from clipspool.system.rights import Create, dress, keep


class Unsteady(OSError):
    """A file changed while it was copied: somebody still writes to it."""


class Refused(OSError):
    """No way of moving a file works there; the text names each call, and what it answered."""


def idle() -> None:
    """Do nothing: what a copy calls after each megabyte where nobody waits for a sign of life."""


def _no_trace(_inode: int) -> None:
    pass


@dataclass(frozen=True, slots=True)
class How:
    """What sets one copy apart from another."""

    is_moved: bool = False
    """The first file goes in the end, unless somebody wrote to it."""
    keeps_rights: bool = False
    """The copy gets date, owner and mode of the first, as far as it may, instead of a new file's."""
    is_alone: bool = False
    """Nobody else can have the new name, so a plain rename gives it."""
    trace: Callable[[int], object] = _no_trace
    """Called with the copy's inode right before it gets its name."""
    beat: Callable[[], object] = idle
    """Called after each megabyte."""


def move(
    name: str,
    folder: int,
    to_name: str,
    to_folder: int,
    create: Create,
    trace: Callable[[int], object] = _no_trace,
) -> None:
    """Move a file that nobody else moves; it keeps its date, owner and mode, as far as they may be kept.

    Cut anywhere, the file is whole under one of the two names or under both; `trace` is told the inode of a
    copy before it gets its name. Raises FileExistsError, and Refused where neither a rename nor a copy works.
    """
    try:
        rename_new(name, folder, to_name, to_folder)
    except OSError as refused:
        how = How(is_moved=True, keeps_rights=True, trace=trace)
        _copy_instead(name, folder, to_name, to_folder, create, how, refused)


def publish(name: str, folder: int, to_name: str, to_folder: int, create: Create) -> None:
    """Move a file of ours to where others look, with the rights of a file made there; raises as `move`."""
    try:
        dress(name, folder, to_folder, create)
        rename_new(name, folder, to_name, to_folder)
    except OSError as refused:
        _copy_instead(name, folder, to_name, to_folder, create, How(is_moved=True), refused)


def _copy_instead(
    name: str, folder: int, to_name: str, to_folder: int, create: Create, how: How, refused: OSError
) -> None:
    if isinstance(refused, FileExistsError) or not lies(name, folder):
        raise refused
    try:
        copy(name, folder, to_name, to_folder, create, how)
    except FileExistsError:
        raise
    except OSError as also:
        raise both(refused, "rename", also, "copy") from also


def both(first: OSError, by: str, second: OSError, and_by: str) -> OSError:
    """Tell of two calls that failed, as one error with the second's number."""
    text = f"{by}: {first.strerror or first}; {and_by}: {second.strerror or second}"
    return (Unsteady if isinstance(second, Unsteady) else Refused)(second.errno, text)


def copy(name: str, folder: int, to_name: str, to_folder: int, create: Create, how: How | None = None) -> str:
    """Copy a regular file, whole, durable and compared before it gets its name; gives its SHA-256.

    Raises FileExistsError, and Unsteady where a file that is moved changed meanwhile.
    """
    how = how or How()
    temporary = temporary_name()
    with open_regular(name, folder) as source:
        before = os.fstat(source.fileno())
        try:
            with create(temporary, to_folder) as target:
                digest = copy_bytes(source, target, how.beat)
                if how.keeps_rights:
                    keep(source.fileno(), target.fileno())
                inode = os.fstat(target.fileno()).st_ino
                sync_and_close(target)
            _compare(temporary, to_folder, digest, name)
            if how.is_moved:
                _expect(before, os.fstat(source.fileno()))
            how.trace(inode)
            (take if how.is_alone else rename_new)(temporary, to_folder, to_name, to_folder)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary, dir_fd=to_folder)
            raise
        sync_folder(to_folder)
        reach("copied")
        if how.is_moved:
            with suppress(FileNotFoundError):
                _expect(before, os.stat(name, dir_fd=folder, follow_symlinks=False))
                unlink(name, folder)
                sync_folder(folder)
    return digest


def _compare(copied: str, folder: int, digest: str, name: str) -> None:
    with open_regular(copied, folder) as again:
        if sha256_of(again) != digest:
            raise OSError(errno.EIO, f"the copy of {name} does not read back as written")


def _expect(before: os.stat_result, now: os.stat_result) -> None:
    """Raise Unsteady where a file is not the one it was, or somebody wrote to it since."""

    def stamp(there: os.stat_result) -> tuple[Any, ...]:
        return there.st_ino, there.st_dev, there.st_size, there.st_mtime_ns, there.st_ctime_ns

    if stamp(before) != stamp(now):
        raise Unsteady(errno.EBUSY, "it changed while it was copied")
