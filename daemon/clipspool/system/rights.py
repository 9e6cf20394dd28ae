"""Reads a file's owner, group, mode, ACL and labels, and copies them to another file."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO

from clipspool.system.atomic import (
    FOLDER_FLAGS,
    Opened,
    is_folder,
    open_regular,
    remove_tree,
    temporary_name,
    unlink,
)

Create = Callable[[str, int], FileIO]
"""Creates a file in an open folder, for writing."""
Make = Callable[[str, int], None]
"""Makes a folder in an open one."""
_NAMESPACES = ("system.", "security.")


@dataclass(frozen=True, slots=True)
class Rights:
    """A file's access rights."""

    owner: int
    group: int
    mode: int
    attributes: Mapping[str, bytes]
    """ACLs and labels, as the file system stores them."""

    @classmethod
    def of(cls, fd: int) -> Rights:
        """Read the rights of an open file."""
        found, attributes = os.fstat(fd), {}
        with suppress(OSError):  # not every file system has attributes
            for name in os.listxattr(fd):
                if name.startswith(_NAMESPACES):
                    with suppress(OSError):
                        attributes[name] = os.getxattr(fd, name)
        return cls(found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode), attributes)


def dress(name: str, folder: int, like: int, create: Create, make: Make, beside: str = "") -> None:
    """Set the rights on a file that a new file in another folder gets; raises OSError where that fails.

    `beside` is a file that was just made there, whose rights are copied; without one a sample file is made.
    A folder and the files in it get those of a new folder there and of a file in it. What is renamed keeps
    the rights of the folder in which it was made; a copy made there needs no such step.
    """
    if not is_folder(name, folder):
        with open_regular(name, folder) as file:
            _give(file.fileno(), _of_new_file(like, create, beside))
        return
    sample = temporary_name()
    make(sample, like)
    try:
        with (
            Opened(os.open(sample, FOLDER_FLAGS, dir_fd=like)) as made,
            Opened(os.open(name, FOLDER_FLAGS, dir_fd=folder)) as fd,
        ):
            wanted = _of_new_file(made, create)
            for each in os.scandir(fd):
                with open_regular(each.name, fd) as file:
                    _give(file.fileno(), wanted)
            _give(fd, Rights.of(made))
    finally:
        remove_tree(sample, like)


def _of_new_file(folder: int, create: Create, beside: str = "") -> Rights:
    if beside:
        with suppress(OSError), open_regular(beside, folder) as made:
            return Rights.of(made.fileno())
    sample = temporary_name()
    try:
        with create(sample, folder) as made:
            return Rights.of(made.fileno())
    finally:
        unlink(sample, folder)


def _give(fd: int, wanted: Rights) -> None:
    had = Rights.of(fd)
    if had == wanted:
        return
    if (had.owner, had.group) != (wanted.owner, wanted.group):
        os.fchown(fd, wanted.owner, wanted.group)
    os.fchmod(fd, wanted.mode)
    for attribute in had.attributes.keys() - wanted.attributes.keys():
        os.removexattr(fd, attribute)
    for attribute, value in wanted.attributes.items():
        if had.attributes.get(attribute) != value:
            os.setxattr(fd, attribute, value)
    if Rights.of(fd) != wanted:
        raise OSError(errno.EPERM, "the rights of a file made there cannot be given")


def keep(source: int, target: int) -> None:
    """Set the date and rights of the original on a copy, where its file system and user allow it."""
    rights, dates = Rights.of(source), os.fstat(source)
    with suppress(OSError):
        os.fchown(target, rights.owner, rights.group)
    with suppress(OSError):
        os.fchmod(target, rights.mode & 0o777)
    for attribute, value in rights.attributes.items():
        with suppress(OSError):
            os.setxattr(target, attribute, value)
    with suppress(OSError, OverflowError):
        os.utime(target, ns=(dates.st_atime_ns, dates.st_mtime_ns))
