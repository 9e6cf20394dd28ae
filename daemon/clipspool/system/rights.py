"""Who may do what with a file: owner, group, mode, ACL and label, read from one file and given to another."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO

from clipspool.system.atomic import open_regular, temporary_name, unlink

Create = Callable[[str, int], FileIO]
"""Makes a new file in an open folder, for writing."""
_NAMESPACES = ("system.", "security.")


@dataclass(frozen=True, slots=True)
class Rights:
    """Who may do what with a file."""

    owner: int
    group: int
    mode: int
    attributes: Mapping[str, bytes]
    """ACLs and labels, as the file system holds them."""

    @classmethod
    def of(cls, fd: int) -> Rights:
        """Read those of an open file."""
        there = os.fstat(fd)
        names: list[str] = []
        with suppress(OSError):  # not every file system has any
            names = [name for name in os.listxattr(fd) if name.startswith(_NAMESPACES)]
        attributes = {}
        for name in names:
            with suppress(OSError):
                attributes[name] = os.getxattr(fd, name)
        return cls(there.st_uid, there.st_gid, stat.S_IMODE(there.st_mode), attributes)


def dress(name: str, folder: int, like: int, create: Create) -> None:
    """Give a file the rights that a new one in another folder gets.

    A rename carries the rights of the folder in which a file was made. Raises OSError where they cannot be
    given; a copy made in that folder has them by itself.
    """
    sample = temporary_name()
    try:
        with create(sample, like) as made:
            wanted = Rights.of(made.fileno())
    finally:
        unlink(sample, like)
    with open_regular(name, folder) as file:
        fd = file.fileno()
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
    """Give a copy the date and rights of its original, as far as they may be given there."""
    rights, there = Rights.of(source), os.fstat(source)
    with suppress(OSError):
        os.fchown(target, rights.owner, rights.group)
    with suppress(OSError):
        os.fchmod(target, rights.mode & 0o777)
    for attribute, value in rights.attributes.items():
        with suppress(OSError):
            os.setxattr(target, attribute, value)
    with suppress(OSError, OverflowError):
        os.utime(target, ns=(there.st_atime_ns, there.st_mtime_ns))
