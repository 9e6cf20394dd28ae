"""Marks requests that are about to be sent, in memory that outlives the process, so that fewer are in doubt.

A request's line is on the ledger's disk before its first byte is sent, so for some milliseconds it is there
and nothing was sent. This file distinguishes the two, by a token of each attempt that is in its line too. It
is on a tmpfs, so it outlives the process and nothing else; after a power cut only the ledger is left. A disk
would not do: one that comes back may show an earlier content.
"""

from __future__ import annotations

import ctypes
import errno
import os
import secrets
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from io import FileIO
from pathlib import Path

from clipspool.system import mounts

_SHARED_MEMORY = "/dev/shm"  # noqa: S108  (whose file it is gets looked at)
_RUNTIME = Path("/run")
_SLOT_BYTES = 32
_SLOTS = 128
"""More than there are threads that submit."""
_WAITS, _WAITED, _SENDS, _FREE = b"w", b"v", b"l", b" "
"""`v`: it waited when the last process ended; kept for one start, in case that is cut short too."""
# It keeps Python's lock: to get it back, with other threads at work, takes longer than all else here.
_libc = ctypes.PyDLL(None, use_errno=True)
_libc.pwrite.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_long)
_libc.pwrite.restype = ctypes.c_ssize_t


def send_marks_file(journal: Path, env: Mapping[str, str] = os.environ) -> Path | None:
    """Return the path of an existing journal's marks; None where this machine has no such memory.

    It is in the service's RuntimeDirectory, else in the system's shared memory, and its name holds device and
    inode of the journal's file: another journal at the same path has other marks. Raises OSError.
    """
    home = Path(env.get("RUNTIME_DIRECTORY", "").partition(":")[0] or _SHARED_MEMORY)
    if not home.is_dir() or mounts.filesystem_of(home).type != "tmpfs":
        return None
    here = journal.stat()
    return home / f"clipspool-{here.st_dev:x}-{here.st_ino:x}.leaving"


def left_waiting(journal: Path, env: Mapping[str, str] = os.environ) -> frozenset[str]:
    """Return the waiting tokens of a daemon that crashed, for a command that opened its journal.

    Its environment is not ours, so each place is read where it may have kept them. What cannot be read counts
    as not marked: then its request is in doubt.
    """
    homes = [Path(env.get("RUNTIME_DIRECTORY", "").partition(":")[0] or _SHARED_MEMORY)]
    homes += [_RUNTIME / journal.parent.name, Path(_SHARED_MEMORY)]
    found: frozenset[str] = frozenset()
    for home in dict.fromkeys(homes):
        with suppress(OSError):
            owner = journal.stat().st_uid
            path = send_marks_file(journal, {"RUNTIME_DIRECTORY": str(home)})
            found |= still_waiting(path, owner)
    return found


def still_waiting(path: Path | None, owner: int | None = None) -> frozenset[str]:
    """Return the tokens of requests of which nothing had been sent when the process ended. Raises OSError.

    `owner` is whose file it must be; None: ours.
    """
    if path is None or not _is_of(path, os.geteuid() if owner is None else owner):
        return frozenset()
    with FileIO(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
        return frozenset(token for _, token in _read(file.read()))


def _is_of(path: Path, user: int) -> bool:
    """Whether it is a file of that user: anybody may put one into shared memory."""
    try:
        here = path.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISREG(here.st_mode) and here.st_uid == user


def _open(path: Path) -> int | None:
    """Open the file, or make it; None where it is somebody else's. Raises OSError."""
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
    if _is_of(path, os.geteuid()):
        return os.open(path, flags)
    try:
        return os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return None


@dataclass(frozen=True, slots=True)
class SendMark:
    """The mark of one request that is about to be sent."""

    token: str
    """For its line in the ledger; empty where no marks are kept."""
    set_sending: Callable[[], None]
    """To be called right before the first byte; raises OSError, and then it must not be sent."""


class SendMarks:
    """The marks of all requests. Serves any thread; there is one for a journal, under its lock.

    It is never closed: at the daemon's end a thread may still wait for an answer.
    """

    def __init__(self, path: Path | None) -> None:
        """Take over the file. Raises OSError.

        Without one, or with another program's, each crash after a request is in the ledger leaves a doubt.
        """
        self._path = path
        self._file = None if path is None else _open(path)
        size = _SLOT_BYTES * _SLOTS
        found = [] if self._file is None else _read(os.pread(self._file, size, 0))
        kept = [_record(_WAITED, token) for state, token in found if state == _WAITS][: _SLOTS // 2]
        if self._file is not None:
            os.pwrite(self._file, b"".join(kept).ljust(size), 0)
        self.waiting = frozenset(token for _, token in found)
        """The tokens of requests of which nothing had been sent when the process ended."""
        self._free = list(range(len(kept), _SLOTS))

    @contextmanager
    def mark(self) -> Iterator[SendMark]:
        """Mark a request until the block ends. Raises OSError, and then it must not be sent."""
        if self._file is None:
            yield SendMark("", lambda: None)
            return
        token = secrets.token_hex(8)
        try:
            slot = self._free.pop()
        except IndexError:
            raise OSError(errno.EAGAIN, "too many requests are about to be sent") from None
        os.pwrite(self._file, _record(_WAITS, token), slot * _SLOT_BYTES)
        try:
            yield SendMark(token, partial(_set_sending, self._file, slot))
        finally:
            with suppress(OSError):
                os.pwrite(self._file, _FREE, slot * _SLOT_BYTES)
                self._free.append(slot)

    def remove(self) -> None:
        """Remove the file: no request is under way any more."""
        if self._file is not None and self._path is not None:
            with suppress(OSError):
                self._path.unlink()


def _set_sending(file: int, slot: int) -> None:
    if _libc.pwrite(file, _SENDS, 1, slot * _SLOT_BYTES) != 1:
        trouble = ctypes.get_errno()
        raise OSError(trouble, f"the send mark cannot be written: {os.strerror(trouble)}")


def _record(state: bytes, token: str) -> bytes:
    return (state + token.encode()).ljust(_SLOT_BYTES)


def _read(content: bytes) -> list[tuple[bytes, str]]:
    """Return the state and token of all that wait, or waited."""
    records = [content[at : at + _SLOT_BYTES] for at in range(0, len(content), _SLOT_BYTES)]
    return [
        (one[:1], one[1:].decode("ascii", "replace").strip())
        for one in records
        if one[:1] in {_WAITS, _WAITED} and one[1:].strip()
    ]
