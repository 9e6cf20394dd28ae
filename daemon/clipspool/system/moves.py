"""Moves a file between two open folders: by one rename, else copied, synced, compared, named and removed.

A rename fails between file systems, and one folder may span several: disks pooled by mergerfs, a mount or a
subvolume in a sub-folder. Each reports that with another error, so any error leads to the copy.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from operator import attrgetter

from clipspool.system.atomic import (
    copy_bytes,
    is_present,
    open_regular,
    rename_new,
    rename_to_own,
    sha256_of,
    sync_and_close,
    sync_folder,
    temporary_name,
    unlink,
)
from clipspool.system.failpoint import reach
from clipspool.system.rights import Create, dress, keep


class Unsteady(OSError):
    """A file changed while it was copied: a program still writes to it."""


class Withdrawn(Exception):
    """Whoever asked for it may not do it any more; nothing was named."""


class Refused(OSError):
    """Neither a rename nor a copy works there; the text names each call and its error."""


def idle(*_: object) -> None:
    """Do nothing: the callback of a copy that nobody watches."""


@dataclass(frozen=True, slots=True)
class How:
    """The options of a copy."""

    is_moved: bool = False
    """Remove the original in the end, unless a program wrote to it."""
    keeps_rights: bool = False
    """Set on the copy the original's date, owner and mode where possible, instead of a new file's."""
    is_alone: bool = False
    """Only we use the new name, so a plain rename gives it."""
    trace: Callable[[int], object] = idle
    """Called with the copy's inode right before it gets its name."""
    beat: Callable[[], object] = idle
    """Called after each megabyte."""


def move(
    name: str,
    folder: int,
    to_name: str,
    to_folder: int,
    create: Create,
    trace: Callable[[int], object] = idle,
) -> None:
    """Move a file that nobody else moves; its date, owner and mode are kept where possible.

    After a crash at any point the file is whole under one of the two names or under both. `trace` gets the
    inode of a copy before the copy is named. Raises FileExistsError, and Refused where nothing works.
    """
    try:
        rename_new(name, folder, to_name, to_folder)
    except OSError as refused:
        how = How(is_moved=True, keeps_rights=True, trace=trace)
        _copy_instead(name, folder, to_name, to_folder, create, how, refused)


def publish(
    name: str,
    folder: int,
    to_name: str,
    to_folder: int,
    create: Create,
    may: Callable[[], bool],
) -> None:
    """Move a file of ours to a folder of others, with the rights of a file made there; raises as `move`.

    `may` is asked right before the new name is given; Withdrawn is raised where it is not so.
    """

    def ask(*_: object) -> None:
        if not may():
            raise Withdrawn

    try:
        dress(name, folder, to_folder, create)
        ask()
        rename_new(name, folder, to_name, to_folder)
    except OSError as refused:
        # A copy takes long: it is asked once more in its end.
        how = How(is_moved=True, trace=ask)
        _copy_instead(name, folder, to_name, to_folder, create, how, refused)


def link(name: str, folder: int, to_name: str, to_folder: int, create: Create) -> None:
    """Give a regular file a second name, or copy it where the file system has no links between the two.

    Raises FileExistsError where the name is in use, NotRegular for what is no file.
    """
    open_regular(name, folder).close()
    try:
        os.link(name, to_name, src_dir_fd=folder, dst_dir_fd=to_folder, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError:
        copy(name, folder, to_name, to_folder, create)
    else:
        sync_folder(to_folder)


def _copy_instead(
    name: str, folder: int, to_name: str, to_folder: int, create: Create, how: How, refused: OSError
) -> None:
    if isinstance(refused, FileExistsError) or not is_present(name, folder):
        raise refused
    try:
        copy(name, folder, to_name, to_folder, create, how)
    except FileExistsError:
        raise
    except OSError as also:
        raise both(refused, "rename", also, "copy") from also


def both(first: OSError, by: str, second: OSError, and_by: str) -> OSError:
    """Return one error for two calls that failed, with the second's number."""
    text = f"{by}: {first.strerror or first}; {and_by}: {second.strerror or second}"
    return (Unsteady if isinstance(second, Unsteady) else Refused)(second.errno, text)


def copy(name: str, folder: int, to_name: str, to_folder: int, create: Create, how: How | None = None) -> str:
    """Copy a regular file, whole, synced and compared before it gets its name; return its SHA-256.

    Raises FileExistsError, and Unsteady where a file to be moved changed meanwhile.
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
            (rename_to_own if how.is_alone else rename_new)(temporary, to_folder, to_name, to_folder)
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
    """Raise Unsteady where a file is another one, or was written to since."""
    stamp = attrgetter("st_ino", "st_dev", "st_size", "st_mtime_ns", "st_ctime_ns")
    if stamp(before) != stamp(now):
        raise Unsteady(errno.EBUSY, "it changed while it was copied")
