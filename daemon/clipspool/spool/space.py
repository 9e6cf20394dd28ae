"""Finds why a folder has no room for a result: full, out of inodes, read-only, beyond a quota."""

from __future__ import annotations

import ctypes
import errno
import os
from collections import defaultdict
from math import inf
from threading import Lock
from time import monotonic

from clipspool.spool.guard import Unavailable
from clipspool.spool.root import Root
from clipspool.system.atomic import Opened, Rel, parent, temporary_name, unlink

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
REFUSED_NAME = frozenset({errno.EINVAL, errno.EILSEQ, errno.ENOENT, errno.ENAMETOOLONG})
"""How file systems refuse a name; exFAT in user space reports that the folder does not exist."""
_IN_THE_WAY = {
    errno.ELOOP: "a symbolic link is in its place or on the way, and none is followed",
    errno.ENOTDIR: "a file is in the place of a folder",
}
"""What the system's words for these leave to guess."""
_KEEP_SIZE = 1  # FALLOC_FL_KEEP_SIZE, from linux/falloc.h
_TRIED_BYTES = 64 << 10
_TRIED_SECONDS = 5.0
"""A trial holds for the clips that follow it so soon: to reserve space costs more than all else before a
request where the file system fills it with zeros, as tmpfs does, or a server has to be asked."""
_TURNS: defaultdict[int, Lock] = defaultdict(Lock)
"""One lock for each device: room that one thread reserves for a moment must not look used to another."""
_tried: dict[tuple[int, int], tuple[float, int]] = {}
"""By folder: when a trial last succeeded there (monotonic seconds), and with how many bytes."""
_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


def lacking(root: Root, size: int, rel: Rel = "", *, tries: bool = False) -> str:
    """Return in words why `size` bytes do not fit there; empty where they do. Raises Unavailable.

    `rel` is the folder that is to hold them; where it is missing, the one that it will be made in. `tries`
    makes a file for a moment: the system's figures do not show quotas and rights. It does so once in some
    seconds for each folder, for the largest size that was asked for.
    """
    try:
        opened, rel = _nearest(root, rel)
    except Unavailable:
        raise
    except OSError as error:
        return _refused(root, rel, error)
    where = root.path / rel
    with opened as fd, _TURNS[(here := os.fstat(fd)).st_dev]:
        free = os.fstatvfs(fd)
        if free.f_flag & os.ST_RDONLY:
            return f"mounted read-only: {where}"
        if (missing := size - free.f_bavail * free.f_frsize) > 0:
            return f"no room for a result: {where} needs {missing:,} bytes more free space"
        if free.f_files and not free.f_favail:
            return f"no room for another file: no inodes are left in {where}"
        folder = here.st_dev, here.st_ino
        tried_at, tried_bytes = _tried.get(folder, (-inf, 0))
        if not tries or (monotonic() - tried_at < _TRIED_SECONDS and size <= tried_bytes):
            return ""
        try:
            _try(root, fd, size)
        except OSError as error:
            if error.errno in _NO_ROOM:
                return f"no room for a result of {size:,} bytes in {where}: {os.strerror(error.errno or 0)}"
            return _refused(root, rel, error)
        _tried[folder] = monotonic(), size
    return ""


def _nearest(root: Root, rel: Rel) -> tuple[Opened, Rel]:
    """Open a folder, or the deepest above it that is there; return its path too."""
    while True:
        try:
            return root.folder(rel), rel
        except OSError as error:
            # One whose name is refused is made under another.
            if not rel or error.errno not in REFUSED_NAME:
                raise
            rel = parent(rel)


def _refused(root: Root, rel: Rel, error: OSError) -> str:
    why = _IN_THE_WAY.get(error.errno or 0) or os.strerror(error.errno or 0)
    return f"no file can be made in {root.path / rel}: {why}"


def _try(root: Root, folder: int, size: int) -> None:
    """Reserve the bytes for a moment where the file system can, else write a few. Raises OSError."""
    name = temporary_name()
    try:
        with root.create_in(name, folder) as file:
            if _libc.fallocate(file.fileno(), _KEEP_SIZE, 0, size) == 0:
                return
            if (trouble := ctypes.get_errno()) in _NO_ROOM:
                raise OSError(trouble, os.strerror(trouble))
            file.write(bytes(_TRIED_BYTES))
    finally:
        unlink(name, folder)
