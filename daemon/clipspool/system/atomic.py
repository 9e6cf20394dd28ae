"""Makes durable changes on disk: on descriptors, whole, synced, and never over what is there.

A function for each recipe of FAULTS 1.5 and 1.6; `spool/root` uses them beneath a configured folder.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import re
import secrets
import stat
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import FileIO

from clipspool.jobs.naming import NAME_BYTES_MAX, ending

OURS = ".clipspool"
CHUNK = 1 << 20
TIME_NS_MAX = 1 << 63
"""A file's date from the year 2262 on fits no journal; some file systems have such dates."""
FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
NEW_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_RENAME_NOREPLACE = 1
_RESERVED_SECONDS = 60.0
_TEMPORARY = re.compile(r"\.[0-9a-f]{16}\.tmp")
CLAIMED = re.compile(r"\.claimed-([0-9a-zA-Z]+)-(.+)", re.DOTALL)
"""The hidden name of a clip or sidecar on its way into its work folder: the clip's id, and its own name."""
_libc = ctypes.CDLL(None, use_errno=True)

Rel = str
"""A path relative to a root, `/` between its parts, surrogate escapes for bytes that are not UTF-8."""


_LEADING_ELSEWHERE = frozenset({"", ".", ".."})


class NotRegular(OSError):
    """A link, FIFO, socket, device or folder has the name of a regular file."""


def parts(rel: Rel) -> list[str]:
    """Split a relative path; raises ValueError for anything that could lead elsewhere."""
    names = rel.split("/") if rel else []
    if not _LEADING_ELSEWHERE.isdisjoint(names) or "\0" in rel:
        msg = f"not a plain relative path: {rel!r}"
        raise ValueError(msg)
    return names


def parent(rel: Rel) -> Rel:
    """Return the folder part; empty for the root."""
    return rel.rpartition("/")[0]


def name_of(rel: Rel) -> str:
    """Return the last part."""
    return rel.rpartition("/")[2]


def split_suffix(rel: Rel) -> tuple[str, str]:
    """Split the last suffix off: `a/b.mov` gives `a/b` and `.mov`; a leading dot begins no suffix."""
    return os.path.splitext(rel)


def join(*rels: Rel) -> Rel:
    """Join relative paths, leaving out empty ones."""
    return "/".join(filter(None, rels))


# `struct open_how` of linux/openat2.h: flags, mode, and RESOLVE_NO_MAGICLINKS, _NO_SYMLINKS and _BENEATH.
_BENEATH = struct.pack("=QQQ", FOLDER_FLAGS & ~os.O_NOFOLLOW, 0, 0x02 | 0x04 | 0x08)
_OPENAT2 = 437


def open_beneath(root: int, names: list[str]) -> int:
    """Open a folder below an open one, following no link: by openat2 where there is one, else step by step.

    Also step by step where a folder is missing: another machine may have made it, and NFS sees it only after
    its parent was opened.
    """
    path = "/".join(names)
    fd: int = _libc.syscall(_OPENAT2, root, os.fsencode(path), _BENEATH, len(_BENEATH))
    if fd >= 0:
        return fd
    code = ctypes.get_errno()
    if code not in {errno.ENOSYS, errno.EPERM, errno.EAGAIN, errno.EINVAL, errno.ENOENT}:
        raise OSError(code, os.strerror(code), path)
    fd = os.open(".", FOLDER_FLAGS, dir_fd=root)
    for name in names:
        with Opened(fd):
            fd = os.open(name, FOLDER_FLAGS, dir_fd=fd)
    return fd


class Opened:
    """Closes a descriptor on leaving a block, if it is the block's; a generator would take twice the time."""

    __slots__ = ("_fd", "_is_ours")

    def __init__(self, fd: int, is_ours: bool = True) -> None:
        self._fd = fd
        self._is_ours = is_ours

    def __enter__(self) -> int:
        return self._fd

    def __exit__(self, *_: object) -> None:
        if self._is_ours:
            os.close(self._fd)


def temporary_name() -> str:
    """Return a new name that intake ignores and no tool picks up."""
    return f".{secrets.token_hex(8)}.tmp"


def is_temporary(name: str) -> bool:
    """Whether `temporary_name` makes such names."""
    return _TEMPORARY.fullmatch(name) is not None


def claimed_name(clip_id: str, name: str) -> str:
    """Return the name of a claimed file in its own folder; a long name keeps its end, with the suffix."""
    begin = f".claimed-{clip_id}-"
    return begin + ending(name, NAME_BYTES_MAX - len(begin))


def is_claimed_name(name: str) -> bool:
    """Whether `claimed_name` makes such names."""
    return name.startswith(".claimed-") and CLAIMED.fullmatch(name) is not None


def open_regular(name: str, folder: int) -> FileIO:
    """Open a regular file in an open folder for reading. Raises NotRegular."""
    return FileIO(open_plain(name, folder, os.O_RDONLY)[0], "rb")


def open_to_append(name: str, folder: int) -> FileIO:
    """Open a file for synced appending; raises NotRegular, also where it has other names (hard links)."""
    fd, there = open_plain(name, folder, os.O_WRONLY | os.O_APPEND | os.O_DSYNC)
    if there.st_nlink > 1:
        os.close(fd)
        raise NotRegular(errno.EINVAL, f"{name} has other names (hard links)")
    return FileIO(fd, "ab")


def open_plain(name: str, folder: int, flags: int) -> tuple[int, os.stat_result]:
    """Open a regular file and nothing else; never blocks. Return its descriptor, and what it is."""
    try:
        fd = os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENXIO}:
            raise NotRegular(error.errno, f"{name} is no regular file") from error
        raise
    there = os.fstat(fd)
    if not stat.S_ISREG(there.st_mode):
        os.close(fd)
        raise NotRegular(errno.EINVAL, f"{name} is no regular file")
    return fd, there


def unlink(name: str, folder: int) -> None:
    """Remove a name from an open folder, if it is there."""
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)


def is_folder(name: str, folder: int) -> bool:
    """Whether a name in an open folder is a folder, not a link to one."""
    with suppress(FileNotFoundError):
        return stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    return False


def remove_tree(name: str, folder: int) -> None:
    """Remove a folder from an open one with all that is in it, never following a link."""
    with Opened(os.open(name, FOLDER_FLAGS, dir_fd=folder)) as fd:
        for entry in list(os.scandir(fd)):
            if entry.is_dir(follow_symlinks=False):
                remove_tree(entry.name, fd)
            else:
                unlink(entry.name, fd)
    os.rmdir(name, dir_fd=folder)


def discard(name: str, folder: int) -> None:
    """Remove a file, or a folder with all in it, from an open folder; gone already is fine.

    A folder is first renamed to a name that nobody reads: a crash must not leave a part of it under its own.
    """
    if not is_folder(name, folder):
        unlink(name, folder)
        return
    temporary = temporary_name()
    os.rename(name, temporary, src_dir_fd=folder, dst_dir_fd=folder)
    sync_folder(folder)
    remove_tree(temporary, folder)


def sync_and_close(file: FileIO) -> None:
    """Sync a file's bytes to disk; an error of the close itself counts (NFS reports lost writes there)."""
    os.fsync(file.fileno())
    file.close()


def sync_folder(fd: int) -> None:
    """Sync a folder's names to disk, where its file system can."""
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP, errno.EBADF}:
            raise


def stat_entry(name: str, folder: int) -> os.stat_result:
    """Stat an entry without following a link; to a name that is too long there is none, as for any other."""
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name) from error


def is_present(name: str, folder: int) -> bool:
    """Whether a name is in an open folder now, by its file server and not by a cache.

    NFS caches for half a minute that a name was missing, and asks again once the folder is opened.
    """
    with Opened(os.open(".", FOLDER_FLAGS, dir_fd=folder)) as fresh:
        with suppress(FileNotFoundError):
            stat_entry(name, fresh)
            return True
        return name in os.listdir(fresh)


def rename_to_own(name: str, folder: int, to_name: str, to_folder: int) -> None:
    """Claim a file by renaming it to a name that only we use: of many claimants exactly one succeeds.

    A plain rename, which the file server decides alone; on NFS two clients can link the same file. An error
    proves nothing, since a lost answer makes the client repeat the call: so the target is checked first.
    """
    try:
        os.rename(name, to_name, src_dir_fd=folder, dst_dir_fd=to_folder)
    except OSError:
        if not is_present(to_name, to_folder):
            raise


def rename_new(name: str, folder: int, to_name: str, to_folder: int) -> None:
    """Rename a file of ours without replacing any; raises FileExistsError, and OSError where no way works.

    renameat2 where the file system has it (ext4, xfs, btrfs, tmpfs, SMB), else link and unlink (NFS), else a
    check before a plain rename, under a reservation that every process of ours honours. No error number says
    for sure which of them works, so the next is tried after any error.
    """
    if not _libc.renameat2(folder, os.fsencode(name), to_folder, os.fsencode(to_name), _RENAME_NOREPLACE):
        return
    code = ctypes.get_errno()
    try:
        if code == errno.EEXIST:
            raise OSError(code, os.strerror(code), name, None, to_name)
        _link_and_unlink(name, folder, to_name, to_folder)
    except OSError:
        # A file server whose answer was lost is asked again, and then refuses what it has already done.
        if is_present(name, folder) or not is_present(to_name, to_folder):
            raise


def _link_and_unlink(name: str, folder: int, to_name: str, to_folder: int) -> None:
    try:
        os.link(name, to_name, src_dir_fd=folder, dst_dir_fd=to_folder, follow_symlinks=False)
    except OSError as error:
        if not _is_same(name, folder, to_name, to_folder):
            if isinstance(error, FileExistsError | FileNotFoundError):
                raise
            with _reserved(to_name, to_folder):
                os.rename(name, to_name, src_dir_fd=folder, dst_dir_fd=to_folder)
            return
    unlink(name, folder)


def _is_same(name: str, folder: int, to_name: str, to_folder: int) -> bool:
    try:
        one = os.stat(name, dir_fd=folder, follow_symlinks=False)
        other = os.stat(to_name, dir_fd=to_folder, follow_symlinks=False)
    except OSError:
        return False
    # The same inode under one name proves nothing: where case is ignored, both names may be that one.
    return one.st_nlink > 1 and (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)


@contextmanager
def _reserved(name: str, folder: int) -> Iterator[None]:
    """Reserve a free name against other processes of ours; raises FileExistsError, and EBUSY if reserved.

    The reservation is a hidden file beside the name: under the name itself others would see an empty file,
    and a crash would leave it there. One that a crash left expires after a minute.
    """
    reservation = f".{hashlib.blake2b(os.fsencode(name.casefold()), digest_size=8).hexdigest()}.tmp"
    with suppress(FileNotFoundError):
        made_at = os.stat(reservation, dir_fd=folder, follow_symlinks=False).st_mtime
        if abs(time.time() - made_at) > _RESERVED_SECONDS:
            unlink(reservation, folder)
    try:
        os.close(os.open(reservation, NEW_FLAGS, dir_fd=folder))
    except FileExistsError:
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), name) from None
    try:
        with suppress(FileNotFoundError):
            os.stat(name, dir_fd=folder, follow_symlinks=False)
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)
        yield
    finally:
        unlink(reservation, folder)


def rename_over(name: str, folder: int, to_name: str, to_folder: int) -> None:
    """Rename a file, replacing whatever has the name."""
    os.rename(name, to_name, src_dir_fd=folder, dst_dir_fd=to_folder)


def sha256_of(file: FileIO) -> str:
    """Hash a file from its position to its end; lower-case hex."""
    return hashlib.file_digest(file, "sha256").hexdigest()


def copy_bytes(source: FileIO, target: FileIO, beat: Callable[[], object] = lambda: None) -> str:
    """Copy to the end and return the SHA-256 of what was copied; `beat` is called after each megabyte."""
    digest = hashlib.sha256()
    while chunk := source.read(CHUNK):
        digest.update(chunk)
        write_all(target, chunk)
        beat()
    return digest.hexdigest()


def write_all(file: FileIO, data: bytes) -> None:
    """Write every byte to an unbuffered file; a full disk raises."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]
