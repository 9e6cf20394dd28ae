"""Makes the lasting changes beneath a configured folder: files written whole, moved, copied and removed.

Each is durable when the call returns, and under its final name nobody ever sees a file half-written.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from io import FileIO

from clipspool.spool.checked_folder import CheckedFolder, where_modes_are_kept
from clipspool.spool.guard import Unavailable
from clipspool.system import moves
from clipspool.system.atomic import (
    NEW_FLAGS,
    Rel,
    discard,
    is_temporary,
    join,
    name_of,
    open_to_append,
    parent,
    remove_tree,
    rename_new,
    rename_over,
    sync_and_close,
    sync_folder,
    temporary_name,
    unlink,
    write_all,
)

_TEMPORARY_SECONDS = 3600.0
_TRACE_BYTES_MAX = 8192


@contextmanager
def _refusals(rel: Rel, to: Root, to_rel: Rel) -> Iterator[None]:
    """Name source and target in the error of a move for which no way works."""
    try:
        yield
    except moves.MoveRefused as error:
        where = to.path / parent(to_rel)
        why = f"{rel} cannot be moved into {where} ({error.strerror}); check that folder's rights and mount"
        raise moves.MoveRefused(error.errno, why) from error


def _traced(inode: int, to_inode: int, rel: Rel, to_rel: Rel) -> bytes:
    return f"{inode} {to_inode}\n{rel}\n{to_rel}\n".encode(errors="surrogateescape")


class Root(CheckedFolder):
    """A configured folder, and the lasting changes that clipspool may make beneath it."""

    def create(self, rel: Rel, data: bytes, *, is_last: bool = True) -> None:
        """Write a new file so that its name never shows less than the whole; raises FileExistsError.

        Not `is_last`: what follows in the same folder syncs its names, this one's with them.
        """
        with self.filling(rel, rename_new, is_last=is_last) as file:
            write_all(file, data)

    def replace(self, rel: Rel, data: bytes) -> None:
        """Write a file whole in the place of whatever had its name."""
        with self.filling(rel, rename_over) as file:
            write_all(file, data)

    @contextmanager
    def filling(
        self,
        rel: Rel,
        rename: Callable[[str, int, str, int], None] = rename_over,
        *,
        is_last: bool = True,
        part: str = "",
    ) -> Iterator[FileIO]:
        """Fill a file under a temporary name; it gets its final one when the block ends, whole and durable.

        `part` names the temporary file where a crash is likely, so that the next try replaces it.
        """
        temporary = part or temporary_name()
        with self.folder(parent(rel), make=True) as fd:
            try:
                if part:
                    unlink(part, fd)
                with self.create_in(temporary, fd, to_read=True) as file:
                    yield file
                    # Before the rename: else a power cut leaves the final name with nothing in it.
                    sync_and_close(file)
                rename(temporary, fd, name_of(rel), fd)
            except BaseException:
                with suppress(OSError):
                    os.unlink(temporary, dir_fd=fd)
                raise
            if is_last:
                sync_folder(fd)

    def create_in(self, name: str, folder: int, *, to_read: bool = False) -> FileIO:
        """Open a new file for writing in an open folder, and to read it too; raises FileExistsError."""
        flags = NEW_FLAGS & ~os.O_WRONLY | os.O_RDWR if to_read else NEW_FLAGS
        fd = os.open(name, flags, 0o666, dir_fd=folder)
        if self.file_mode is not None:
            try:
                with where_modes_are_kept():
                    os.fchmod(fd, self.file_mode)
            except OSError:
                os.close(fd)
                raise
        return FileIO(fd, "rb+" if to_read else "wb")

    @contextmanager
    def appending(self, rel: Rel, *, makes_folder: bool = True) -> Iterator[FileIO]:
        """Open a file of ours to add to its end, made durably where it is missing.

        A write is one call that writes and syncs: before it nothing is there, after it all is durable.
        Raises NotRegular, also where the file has other names: one of them may be anywhere.
        """
        with self.folder(parent(rel), make=makes_folder) as folder:
            try:
                file = open_to_append(name_of(rel), folder)
            except FileNotFoundError:
                self.create_in(name_of(rel), folder).close()
                sync_folder(folder)  # synced lines are lost with a name that is not
                file = open_to_append(name_of(rel), folder)
        with file:
            yield file

    def append(self, rel: Rel, data: bytes) -> None:
        """Add to the end of a file of ours, durably; makes it where it is missing."""
        with self.appending(rel) as file:
            write_all(file, data)

    def move(
        self, rel: Rel, to: Root, to_rel: Rel, *, is_last: bool = True, trace: Rel | None = None
    ) -> None:
        """Move a file or folder of ours, durably, without ever replacing one: renamed, or copied and removed.

        The target's folder is synced: a journaling file system has both ends of a rename or none. Not
        `is_last`: the move that follows into the same folder does it. `trace` names a file of ours that
        records a copy until its original is gone, so that `finish_move` recognises both. Raises
        FileExistsError where the name is in use, and Refused.
        """
        is_left = False

        def leave_trace(inode: int) -> None:
            nonlocal is_left
            if trace is not None:
                self.replace(trace, _traced(self.stat(rel).st_ino, inode, rel, to_rel))
                is_left = True

        with (
            _refusals(rel, to, to_rel),
            self.folder(parent(rel)) as source,
            to.folder(parent(to_rel), make=True) as target,
        ):
            moves.move(name_of(rel), source, name_of(to_rel), target, to.create_in, leave_trace)
            if is_last:
                sync_folder(target)
        if is_left and trace is not None:
            self.remove(trace)

    def publish(self, rel: Rel, to: Root, to_rel: Rel, may: Callable[[], bool], *, beside: str = "") -> None:
        """Move a result into an outbox, durably; it never replaces a file, and is never seen half-written.

        It may be a folder of pictures, and has the rights of what is made there, which those of `beside` are,
        a file that we just made. Raises FileExistsError where the name is in use, Refused, and Withdrawn
        where it may not be named any more.
        """
        with (
            _refusals(rel, to, to_rel),
            self.folder(parent(rel)) as source,
            to.folder(parent(to_rel), make=True) as target,
        ):
            moves.publish(
                name_of(rel), source, name_of(to_rel), target, to.create_in, to.make_in, may, beside
            )
            # Before anybody records the result as delivered, and lets the source go.
            sync_folder(target)

    def finish_move(self, rel: Rel, to_rel: Rel, *, trace: Rel | None = None) -> bool:
        """Remove the first name of a move that was cut short after the second; return whether it was.

        Recognised by the inodes: one file's by link and unlink (NFS), or both that the trace of a copy names,
        for somebody else's file may have the same name, size and bytes. Raises OSError.
        """
        try:
            here, there = self.stat(rel), self.stat(to_rel)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            if isinstance(error, Unavailable) or error.errno != errno.ELOOP:
                raise
            return False
        is_one = (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)
        # A name that is its own second, perhaps in another letter case, or a folder, which no link doubles:
        # nothing was moved, and what would be removed is the only one there is.
        is_same_name = rel == to_rel or (parent(rel) == parent(to_rel) and here.st_nlink == 1)
        if is_one and (is_same_name or stat.S_ISDIR(here.st_mode)):
            return False
        # A folder's size is that of its list of names, by the file system's own measure.
        has_other_size = here.st_size != there.st_size and not stat.S_ISDIR(here.st_mode)
        pair = _traced(here.st_ino, there.st_ino, rel, to_rel)
        # When in doubt both stay: a file too many does no harm, one too few may be the only one.
        if not is_one and (
            trace is None or has_other_size or self.read_if_there(trace, _TRACE_BYTES_MAX) != pair
        ):
            return False
        with self.folder(parent(rel)) as fd:
            discard(name_of(rel), fd)
            sync_folder(fd)
        if trace is not None:
            self.remove(trace)
        return True

    def copy(self, rel: Rel, to: Root, to_rel: Rel) -> str:
        """Copy a file or folder under a new name, whole, durable and compared; return a file's SHA-256.

        The bytes are written under a temporary name in the target's folder. Raises FileExistsError.
        """
        with (
            _refusals(rel, to, to_rel),
            self.folder(parent(rel)) as source,
            to.folder(parent(to_rel), make=True) as target,
        ):
            how = moves.How(make=to.make_in)
            return moves.copy(name_of(rel), source, name_of(to_rel), target, to.create_in, how)

    def link(self, rel: Rel, to_rel: Rel) -> None:
        """Give a file a second name, durably, or copy it; raises FileExistsError, NotRegular."""
        with self.folder(parent(rel)) as source, self.folder(parent(to_rel), make=True) as target:
            moves.link(name_of(rel), source, name_of(to_rel), target, self.create_in)

    def clear_temporaries(self, rel: Rel, names: Collection[str], now: float) -> None:
        """Remove half-written files and folders of ours that a crash left, an hour old or more."""
        for name in names:
            if not is_temporary(name):
                continue
            with suppress(FileNotFoundError), self.folder(rel) as fd:
                there = os.stat(name, dir_fd=fd, follow_symlinks=False)
                if now - there.st_mtime <= _TEMPORARY_SECONDS:
                    continue
                if stat.S_ISDIR(there.st_mode):
                    remove_tree(name, fd)
                elif stat.S_ISREG(there.st_mode):
                    os.unlink(name, dir_fd=fd)

    def remove(self, rel: Rel) -> None:
        """Remove a file; one that is gone already is fine."""
        with suppress(FileNotFoundError), self.folder(parent(rel)) as fd:
            os.unlink(name_of(rel), dir_fd=fd)

    def discard(self, rel: Rel) -> None:
        """Remove a file, or a folder with all in it at once, durably; one that is gone already is fine."""
        with suppress(FileNotFoundError), self.folder(parent(rel)) as fd:
            discard(name_of(rel), fd)
            sync_folder(fd)

    def remove_if_empty(self, rel: Rel) -> bool:
        """Remove a folder that nothing is in; return whether it is gone."""
        try:
            with self.folder(parent(rel)) as fd:
                os.rmdir(name_of(rel), dir_fd=fd)
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return True

    def remove_folder(self, rel: Rel, *, but: str | None = None) -> None:
        """Remove a folder of ours with all that is in it, never following a link; gone already is fine.

        Entries whose name begins with `but` stay, and the folder with them.
        """
        try:
            with self.folder(rel) as fd:
                for entry in list(os.scandir(fd)):
                    if but is not None and entry.name.startswith(but):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        self.remove_folder(join(rel, entry.name))
                    else:
                        os.unlink(entry.name, dir_fd=fd)
            with self.folder(parent(rel)) as fd:
                os.rmdir(name_of(rel), dir_fd=fd)
        except FileNotFoundError:
            return
        except OSError as error:
            if but is None or error.errno != errno.ENOTEMPTY:
                raise
