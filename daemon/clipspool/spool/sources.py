"""What a clip's source is on the disk: a file, or a folder of numbered pictures; its stamp and its hash."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from io import FileIO

from clipspool.jobs.model import Clip, Request
from clipspool.jobs.sequence import exact_rate, pictures_of
from clipspool.spool.layout import FILM
from clipspool.spool.root import Root
from clipspool.spool.workfolder import folder_of
from clipspool.system.atomic import CHUNK, NotRegular, Rel, join, open_regular, sha256_of

_LEFTOVERS = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini"})
"""What desktops leave in a folder, besides hidden files and the index folders of NAS makers."""


class Stopped(Exception):
    """The daemon stops before a long read is over."""


def stamp(root: Root, rel: Rel) -> tuple[int, int]:
    """Return a source's size in bytes and the time of its last change, of all pictures where it is a folder.

    Raises FileNotFoundError.
    """
    there = root.stat(rel)
    if not stat.S_ISDIR(there.st_mode):
        return there.st_size, there.st_mtime_ns
    names = pictures_of(root.names(rel))
    with root.folder(rel) as folder:
        found = [os.stat(name, dir_fd=folder, follow_symlinks=False) for name in names]
    return sum(one.st_size for one in found), max((one.st_mtime_ns for one in found), default=0)


def size_of(root: Root, rel: Rel) -> int | None:
    """Return a source's size in bytes, of all pictures where it is a folder; None where there is none."""
    with suppress(FileNotFoundError, NotADirectoryError):
        return stamp(root, rel)[0]
    return None


def strangers(root: Root, rel: Rel) -> list[str]:
    """Return what is in a folder of pictures besides them, apart from what desktops and NAS leave there."""
    names = root.names(rel)
    others = set(names) - set(pictures_of(names))
    return sorted(n for n in others if n[0] not in ".@#" and n.lower() not in _LEFTOVERS)


def digest(root: Root, rel: Rel, stopping: Callable[[], bool] = lambda: False) -> str:
    """Hash the names and the bytes of a folder's pictures, and sync them. Raises OSError, Stopped.

    The program that copied them here may not have synced them: a paid clip must survive a power cut.
    """
    total = hashlib.sha256()
    for name, file in pictures_in(root, rel):
        with file:
            each = hashlib.sha256()
            while chunk := file.read(CHUNK):
                each.update(chunk)
                if stopping():
                    raise Stopped
            os.fsync(file.fileno())
        total.update(os.fsencode(name) + b"\0" + each.digest())
    return total.hexdigest()


def holds(root: Root, rel: Rel, size: int, sha256: str) -> bool:
    """Whether a file, or a folder of pictures, has this size and this hash. Raises OSError."""
    try:
        if size_of(root, rel) != size:
            return False
        if root.is_folder(rel):
            return not strangers(root, rel) and digest(root, rel) == sha256
        with root.open(rel) as file:
            return sha256_of(file) == sha256
    except (FileNotFoundError, NotADirectoryError, NotRegular):
        return False


def pictures_in(root: Root, rel: Rel) -> Iterator[tuple[str, FileIO]]:
    """Open the pictures of a folder one after the other, by number; whoever gets one closes it."""
    names = pictures_of(root.names(rel))
    with root.folder(rel) as folder:
        for name in names:
            yield name, open_regular(name, folder)


def film_name(clip: Clip, request: Request) -> str:
    """Return the name in the work folder of the film that a folder's pictures are packed into, at a rate.

    It begins with the pictures' hash: a film of what they were before is never taken for it.
    """
    rate = exact_rate(request.frames_per_second)
    return f"{FILM}{(clip.sha256 or '')[:16]}-{rate.numerator}-{rate.denominator}.mov"


def open_source(root: Root, clip: Clip, request: Request) -> FileIO:
    """Open a clip as a film, in its work folder or where it retired to; raises FileNotFoundError.

    A folder of pictures is a film only in its work folder, once it was prepared.
    """
    if clip.is_pictures:
        return root.open(join(folder_of(clip.id), film_name(clip, request)))
    try:
        return root.open(join(folder_of(clip.id), clip.source))
    except FileNotFoundError:
        if clip.lies_at is None:
            raise
        return root.open(clip.lies_at)
