"""Recognises an inbox or outbox: a vanished mount or another disk in its place is `Unavailable`."""

from __future__ import annotations

import errno
import os
import secrets
import threading
import tomllib
from collections.abc import Callable
from contextlib import suppress
from io import FileIO
from pathlib import Path
from types import TracebackType

import tomli_w

from clipspool.system import mounts
from clipspool.system.atomic import (
    FOLDER_FLAGS,
    NEW_FLAGS,
    OURS,
    Opened,
    open_regular,
    rename_new,
    sync_and_close,
    sync_folder,
    temporary_name,
    unlink,
    write_all,
)


class Unavailable(OSError):
    """The folder is not the one it was: unmounted, another disk, or gone."""


class forgiving(suppress):  # noqa: N801 - as `suppress` is named
    """Suppresses errors of single files and folders; that the whole folder is unavailable is still raised."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        return not isinstance(error, Unavailable) and super().__exit__(kind, error, trace)


class MountGuard:
    """Recognises a folder in which nothing may be written, by its file system and its place there.

    An empty mount point, or another disk or share in its place, is not the folder that it was.
    """

    def __init__(
        self, known: str | None, remember: Callable[[str], None], *, is_served_elsewhere: bool = False
    ) -> None:
        """`known` is what it was recognised by before (None: never seen here).

        `is_served_elsewhere`: whether another machine has seen it, where it may be mounted otherwise.
        """
        self._known, self._remember = known, remember
        self._is_served_elsewhere = is_served_elsewhere
        self._lock = threading.Lock()

    def check(self, folder: int, path: Path) -> None:
        """Make sure that an open folder is the known one; the first becomes it. Raises Unavailable."""
        found = mounts.identity_of(folder)
        with self._lock:
            if not found:
                raise Unavailable(errno.ENODEV, f"{path} cannot be recognised: its mount is not known")
            if self._known is not None and self._known != found:
                todo = "mount it again, or `clipspool resume` with the inbox's name if you replaced it"
                raise Unavailable(
                    errno.ENODEV,
                    f"{path} is not the inbox it was ({self._known}): it is {found}; {todo}",
                )
            # Money: what it holds elsewhere would be forgotten as gone, and accepted again when it is back.
            if self._known is None and self._is_served_elsewhere and not os.listdir(folder):
                todo = "mount it here, or `clipspool resume` with the inbox's name if that is right"
                raise Unavailable(errno.ENODEV, f"{path} is empty, and another node has served it; {todo}")
            if self._known is None:
                self._known = found
                self._remember(found)

    def adopt(self) -> None:
        """Accept the folder as it is now: the operator confirmed that it is the right one."""
        with self._lock:
            self._known, self._is_served_elsewhere = None, False


class Guard:
    """Recognises a folder by a file of ours in it, and so distinguishes it from an empty mount point."""

    def __init__(self, kind: str, known: str | None, remember: Callable[[str], None]) -> None:
        """`kind` is `inbox`, `outbox`, or `kept` for an outbox that holds all our files of an inbox.

        `known` is the identity it had (None: never seen).
        """
        self._rel = (OURS, f"{kind}.toml")
        self._kind = kind
        self._known = known
        self._remember = remember
        self._seen: tuple[int, ...] | None = None
        self._lock = threading.Lock()

    def check(self, folder: int, path: Path) -> None:
        """Make sure that an open folder is the known one; the first becomes it. Raises Unavailable."""
        stamp = self._stamp(folder, path)
        if stamp and stamp == self._seen:
            return
        with self._lock:
            found = self._read(folder)
            if found is None and self._known is None:
                found = self._mark(folder)
            if found is None or self._known not in {None, found}:
                what = f"has {'no' if found is None else 'another'} {'/'.join(self._rel)}"
                todo = "mount it again, or `clipspool resume` with the inbox's name if you replaced it"
                kind = "outbox" if self._kind == "kept" else self._kind
                raise Unavailable(errno.ENODEV, f"{path} is not the {kind} it was: it {what}; {todo}")
            if self._known is None:
                self._known = found
                self._remember(found)
            self._seen = stamp

    def _stamp(self, folder: int, path: Path) -> tuple[int, ...]:
        """Return what distinguishes the folder from another in its place; empty where our file is not in it.

        The folder's own numbers do not: a disk mounted after another mostly gets the same device, and the
        top of a file system has the same inode on each.
        """
        here = os.fstat(folder)
        try:
            mark = os.stat("/".join(self._rel), dir_fd=folder, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return ()
        except OSError as error:
            why = os.strerror(error.errno or 0)
            raise Unavailable(error.errno, f"{path} cannot be looked into: {why}") from error
        return here.st_dev, here.st_ino, mark.st_ino, mark.st_mtime_ns, mark.st_ctime_ns

    def adopt(self) -> None:
        """Accept the folder as it is now: the operator confirmed that it is the right one."""
        with self._lock:
            self._known, self._seen = None, None

    def _read(self, folder: int) -> str | None:
        try:
            with (
                Opened(os.open(self._rel[0], FOLDER_FLAGS, dir_fd=folder)) as ours,
                open_regular(self._rel[1], ours) as file,
            ):
                return str(tomllib.loads(file.read(4096).decode())["id"])
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, RecursionError):
            return ""

    def _mark(self, folder: int) -> str | None:
        about = {"id": secrets.token_hex(8), "about": f"clipspool's {self._kind}"}
        with suppress(FileExistsError):
            os.mkdir(self._rel[0], dir_fd=folder)
        with Opened(os.open(self._rel[0], FOLDER_FLAGS, dir_fd=folder)) as ours:
            temporary = temporary_name()
            with FileIO(os.open(temporary, NEW_FLAGS, 0o666, dir_fd=ours), "wb") as file:
                write_all(file, tomli_w.dumps(about).encode())
                sync_and_close(file)
            try:
                rename_new(temporary, ours, self._rel[1], ours)
            except FileExistsError:
                # Another inbox or machine with the same folder was faster: its file identifies the folder.
                unlink(temporary, ours)
            except OSError:
                unlink(temporary, ours)
                raise
            sync_folder(ours)
        sync_folder(folder)
        return self._read(folder)
