"""Moves a file or a folder between two open ones: one rename, else copied, synced, compared, named, removed.

A rename fails between file systems, and one folder may span several: disks pooled by mergerfs, a mount or a
subvolume in a sub-folder. Each reports that with another error, so any error leads to the copy.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from operator import attrgetter

from clipspool.system.atomic import (
    FOLDER_FLAGS,
    Opened,
    copy_bytes,
    discard,
    is_folder,
    is_present,
    open_regular,
    remove_tree,
    rename_new,
    rename_to_own,
    sha256_of,
    sync_and_close,
    sync_folder,
    temporary_name,
    unlink,
)
from clipspool.system.failpoint import reach
from clipspool.system.rights import Create, Make, dress, keep

_stamp = attrgetter("st_ino", "st_dev", "st_size", "st_mtime_ns", "st_ctime_ns")


class Unsteady(OSError):
    """A file or folder changed while it was copied: a program still writes to it."""


class Withdrawn(Exception):
    """Whoever asked for it may not do it any more; nothing was named."""


class MoveRefused(OSError):
    """Neither a rename nor a copy works there; the text names each call and its error."""


def idle(*_: object) -> None:
    """Do nothing: the callback of a copy that nobody watches."""


def make_folder(name: str, folder: int) -> None:
    """Make a folder in an open one, with the rights that the umask leaves."""
    os.mkdir(name, dir_fd=folder)


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
    make: Make = make_folder
    """Makes the folder where one is copied."""


def move(
    name: str,
    folder: int,
    to_name: str,
    to_folder: int,
    create: Create,
    trace: Callable[[int], object] = idle,
) -> None:
    """Move a file or folder that nobody else moves; its date, owner and mode are kept where possible.

    After a crash at any point the file is whole under one of the two names or under both. `trace` gets the
    inode of a copy before the copy is named. Raises FileExistsError, and MoveRefused where nothing works.
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
    make: Make,
    may: Callable[[], bool],
    beside: str = "",
) -> None:
    """Move a file of ours to a folder of others, with the rights of a file made there; raises as `move`.

    So is a folder of files, which appears with all of them at once. `beside` is a file just made there.

    `may` is asked right before the new name is given; Withdrawn is raised where it is not so.
    """

    def ask(*_: object) -> None:
        if not may():
            raise Withdrawn

    try:
        dress(name, folder, to_folder, create, make, beside)
        ask()
        rename_new(name, folder, to_name, to_folder)
    except OSError as refused:
        # A copy takes long: it is asked once more in its end.
        how = How(is_moved=True, trace=ask, make=make)
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
    return (Unsteady if isinstance(second, Unsteady) else MoveRefused)(second.errno, text)


def copy(name: str, folder: int, to_name: str, to_folder: int, create: Create, how: How | None = None) -> str:
    """Copy a regular file, whole, synced and compared before it gets its name; return its SHA-256.

    A folder is copied with all in it, and named when that is whole; its SHA-256 is left empty. Raises
    FileExistsError, and Unsteady where what is to be moved changed meanwhile.
    """
    how = how or How()
    if is_folder(name, folder):
        _copy_folder(name, folder, to_name, to_folder, create, how)
        return ""
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
        _show_copied(to_folder)
        if how.is_moved:
            with suppress(FileNotFoundError):
                _expect(before, os.stat(name, dir_fd=folder, follow_symlinks=False))
                unlink(name, folder)
                sync_folder(folder)
    return digest


def _show_copied(folder: int) -> None:
    sync_folder(folder)
    reach("copied")


def _copy_folder(name: str, folder: int, to_name: str, to_folder: int, create: Create, how: How) -> None:
    """Copy a folder under a temporary name, and rename it once it is whole."""
    temporary = temporary_name()
    with Opened(os.open(name, FOLDER_FLAGS, dir_fd=folder)) as source:
        before = _stamps_in(source)
        try:
            how.make(temporary, to_folder)
            with Opened(os.open(temporary, FOLDER_FLAGS, dir_fd=to_folder)) as target:
                _copy_all(source, target, create, how)
                inode = os.fstat(target).st_ino
            if how.is_moved:
                _expect_stamps(source, before)
            how.trace(inode)
            rename = rename_to_own if how.is_alone else rename_new
            rename(temporary, to_folder, to_name, to_folder)
        except BaseException:
            with suppress(OSError):
                remove_tree(temporary, to_folder)
            raise
        _show_copied(to_folder)
        if how.is_moved:
            _expect_stamps(source, before)
            discard(name, folder)
            sync_folder(folder)


def _copy_all(source: int, target: int, create: Create, how: How) -> None:
    each = How(keeps_rights=how.keeps_rights, is_alone=True, beat=how.beat)
    for name in sorted(entry.name for entry in os.scandir(source)):
        if not is_folder(name, source):
            copy(name, source, name, target, create, each)
            continue
        os.mkdir(name, dir_fd=target)
        with (
            Opened(os.open(name, FOLDER_FLAGS, dir_fd=source)) as below,
            Opened(os.open(name, FOLDER_FLAGS, dir_fd=target)) as to_below,
        ):
            _copy_all(below, to_below, create, how)
    if how.keeps_rights:
        keep(source, target)
    sync_folder(target)


def _stamps_in(folder: int) -> dict[str, object]:
    """Return the stamp of each file in an open folder and below it: any change changes one."""
    found: dict[str, object] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                with Opened(os.open(entry.name, FOLDER_FLAGS, dir_fd=folder)) as below:
                    found[entry.name] = _stamps_in(below)
            else:
                found[entry.name] = _stamp(entry.stat(follow_symlinks=False))
    return found


def _expect_stamps(folder: int, before: dict[str, object]) -> None:
    if _stamps_in(folder) != before:
        raise Unsteady(errno.EBUSY, "it changed while it was copied")


def digest_of(name: str, folder: int) -> str:
    """Hash a file, or a folder: the names in it and what they hold. Raises OSError."""
    if not is_folder(name, folder):
        with open_regular(name, folder) as file:
            return sha256_of(file)
    digest = hashlib.sha256()
    with Opened(os.open(name, FOLDER_FLAGS, dir_fd=folder)) as below:
        for entry in sorted(one.name for one in os.scandir(below)):
            digest.update(os.fsencode(entry) + b"\0" + digest_of(entry, below).encode())
    return digest.hexdigest()


def _compare(copied: str, folder: int, digest: str, name: str) -> None:
    with open_regular(copied, folder) as again:
        if sha256_of(again) != digest:
            raise OSError(errno.EIO, f"the copy of {name} does not read back as written")


def _expect(before: os.stat_result, now: os.stat_result) -> None:
    """Raise Unsteady where a file is another one, or was written to since."""
    if _stamp(before) != _stamp(now):
        raise Unsteady(errno.EBUSY, "it changed while it was copied")
