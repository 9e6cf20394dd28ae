"""Opens a configured folder and what lies beneath it, and reads there.

All that is beneath the folder is reached from its own descriptor without following links, so that no link,
`..` or race leads outside (FAULTS 1.10). Where it has a `Guard`, the folder is compared with the one it was,
at every single call: a vanished mount or another disk in its place is `Unavailable`, and nothing is read,
written or deleted there (promise 9).
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

from clipspool.spool.guard import Guard, MountGuard, Unavailable
from clipspool.system.atomic import (
    FOLDER_FLAGS,
    NotRegular,
    Opened,
    Rel,
    name_of,
    open_beneath,
    open_plain,
    open_regular,
    parent,
    parts,
    stat_entry,
    sync_folder,
)

_NOT_YET = -1


@contextmanager
def where_modes_are_kept() -> Iterator[None]:
    """Ignore a mode that cannot be set: FAT, exFAT and squashed shares keep none; a result must not wait."""
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.EPERM, errno.ENOSYS, errno.ENOTSUP}:
            raise


class CheckedFolder:
    """A configured folder: opened and compared with what it was, made where it is missing, read."""

    def __init__(
        self,
        path: Path,
        *,
        guard: Guard | MountGuard | None = None,
        file_mode: int | None = None,
        folder_mode: int | None = None,
    ) -> None:
        """`path` is absolute; modes are those of what we make, by the umask where None."""
        self.path = path
        self.guard = guard
        self.file_mode = file_mode
        self.folder_mode = folder_mode
        self._holding = threading.local()

    def _open_root(self) -> int:
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            why = os.strerror(error.errno or 0)
            raise Unavailable(error.errno, f"{self.path} cannot be opened: {why}") from error
        try:
            if self.guard is not None:
                self.guard.check(fd, self.path)
        except BaseException:
            os.close(fd)
            raise
        return fd

    @contextmanager
    def held(self) -> Iterator[None]:
        """Check the root at most once for all that this thread does beneath it in the block.

        It works on the very folder that was checked: what is mounted over it meanwhile is not touched.
        """
        if getattr(self._holding, "fd", None) is not None:
            yield  # in a block around this one
            return
        self._holding.fd = _NOT_YET
        try:
            yield
        finally:
            fd = self._holding.fd
            del self._holding.fd
            if fd != _NOT_YET:
                # Nothing was written through it, and what the block returns may be the id of a paid task.
                with suppress(OSError):
                    os.close(fd)

    def _top(self) -> tuple[int, bool]:
        """Return the root's descriptor, and whether the caller has to close it."""
        fd: int | None = getattr(self._holding, "fd", None)
        if fd is None:
            return self._open_root(), True
        if fd == _NOT_YET:
            fd = self._holding.fd = self._open_root()
        return fd, False

    def bind(self) -> None:
        """Make sure that the folder is there and is the one it was; raises Unavailable."""
        os.close(self._open_root())

    def folder(self, rel: Rel = "", *, make: bool = False) -> Opened:
        """Open a folder beneath the root for a block; `make` creates what is missing, durably."""
        names = parts(rel)
        top = Opened(*self._top())
        if not names:
            return top
        with top as fd:
            try:
                return Opened(open_beneath(fd, names))
            except FileNotFoundError:
                if not make:
                    raise
                return Opened(self._make_beneath(fd, names))

    def _make_beneath(self, root: int, names: list[str]) -> int:
        fd = os.dup(root)
        for name in names:
            with Opened(fd):
                fd = self._open_or_make(name, fd)
        return fd

    def _open_or_make(self, name: str, folder: int) -> int:
        with suppress(FileNotFoundError):
            return os.open(name, FOLDER_FLAGS, dir_fd=folder)
        with suppress(FileExistsError):
            self.make_in(name, folder)
        fd = os.open(name, FOLDER_FLAGS, dir_fd=folder)
        try:
            sync_folder(folder)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def make_in(self, name: str, folder: int) -> None:
        """Make a folder in an open one; raises FileExistsError."""
        if self.folder_mode is None:
            os.mkdir(name, dir_fd=folder)
            return
        # At once without the rights that nobody is to have: a hardened service may not be let set a mode with
        # the bit below.
        os.mkdir(name, self.folder_mode & 0o777, dir_fd=folder)
        # By the descriptor: the name may be somebody's link by now. The bit that passes the group on to files
        # in it is inherited from the folder around it.
        with Opened(os.open(name, FOLDER_FLAGS, dir_fd=folder)) as fd, where_modes_are_kept():
            os.fchmod(fd, self.folder_mode | os.fstat(fd).st_mode & stat.S_ISGID)

    def make_folders(self, rel: Rel) -> None:
        """Make a folder and those above it, durably; one that is there already is fine."""
        with self.folder(rel, make=True):
            pass

    def stat(self, rel: Rel) -> os.stat_result:
        """Stat without following a link."""
        with self.folder(parent(rel)) as fd:
            return stat_entry(name_of(rel), fd)

    def stat_if_there(self, rel: Rel) -> os.stat_result | None:
        """Stat without following a link; None where no entry has that name."""
        with suppress(FileNotFoundError, NotADirectoryError):
            return self.stat(rel)
        return None

    def exists(self, rel: Rel) -> bool:
        """Whether any entry has that name."""
        return self.stat_if_there(rel) is not None

    def has_any(self, folder: Rel, names: Iterable[str]) -> bool:
        """Whether a folder, which is opened once for all, has an entry of one of these names."""
        with suppress(FileNotFoundError, NotADirectoryError), self.folder(folder) as fd:
            for name in names:
                with suppress(FileNotFoundError):
                    stat_entry(name, fd)
                    return True
        return False

    def is_folder(self, rel: Rel) -> bool:
        """Whether a folder, not a link to one, has that name."""
        there = self.stat_if_there(rel)
        return there is not None and stat.S_ISDIR(there.st_mode)

    def open(self, rel: Rel) -> FileIO:
        """Open a regular file for reading; never blocks on a FIFO. Raises NotRegular."""
        with self.folder(parent(rel)) as fd:
            return open_regular(name_of(rel), fd)

    def read(self, rel: Rel, size_max: int) -> bytes:
        """Read a small file whole; raises ValueError above `size_max` bytes."""
        with self.folder(parent(rel)) as folder:
            file, there = open_plain(name_of(rel), folder, os.O_RDONLY)
        with Opened(file):  # a FileIO would ask twice more what it is, and a clip's files are read often
            size = there.st_size
            data = os.read(file, min(size, size_max) + 1)  # memory for so much is taken at once
            while size < len(data) <= size_max and (more := os.read(file, size_max + 1 - len(data))):
                data += more
        if len(data) > size_max:
            raise ValueError(f"larger than {size_max} bytes")
        return data

    def head(self, rel: Rel, size: int) -> bytes:
        """Read a file's first bytes."""
        with self.open(rel) as file:
            return file.read(size) or b""

    def read_if_there(self, rel: Rel, size_max: int) -> bytes | None:
        """Read a small file whole; None where there is none, or something that is not one of ours."""
        with suppress(FileNotFoundError, NotADirectoryError, NotRegular, ValueError):
            return self.read(rel, size_max)
        return None

    def names(self, rel: Rel = "") -> list[str]:
        """List a folder's entries."""
        with self.folder(rel) as fd:
            return os.listdir(fd)

    def names_if_there(self, rel: Rel) -> list[str]:
        """List a folder's entries; none where there is no such folder."""
        with suppress(FileNotFoundError, NotADirectoryError):
            return self.names(rel)
        return []

    def space(self) -> int:
        """Return the bytes free to us on this file system."""
        with self.folder() as fd:
            free = os.fstatvfs(fd)
        return free.f_bavail * free.f_frsize
