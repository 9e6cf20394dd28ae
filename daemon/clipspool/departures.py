"""Requests that are about to leave: told by a file that outlives the process, so that fewer ends mean doubt.

A request's line is on the ledger's disk before its first byte leaves, so it stands there for some
milliseconds in which nothing was sent. This file tells them from those in which something was. It lies beside
the journal, on a local disk, and is never synced: it has to outlive the process, not the machine. After a
power cut the ledger alone speaks.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TypeAlias

from clipspool.boot import boot_id

Submission: TypeAlias = tuple[str, int]
"""A job's id and which submission of it, counted from 1."""

_SLOT_BYTES = 80
_SLOTS = 256
"""More than there are threads that submit."""
_WAITS, _LEAVES, _FREE = b"w", b"l", b" "
# It keeps Python's lock: to take it back, with other threads at work, takes longer than all else here.
_libc = ctypes.PyDLL(None, use_errno=True)
_libc.pwrite.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_long)
_libc.pwrite.restype = ctypes.c_ssize_t


def departures_file(journal: Path) -> Path:
    """Name the file of a journal."""
    return journal.with_name(f"{journal.name}.leaving")


def still_waiting(path: Path, boot: Callable[[], str] = boot_id) -> frozenset[Submission]:
    """Give the submissions of which nothing had left when the process died; none after another boot.

    Raises OSError where the file is there and cannot be read.
    """
    try:
        return frozenset(_read(path.read_bytes(), boot()).values())
    except FileNotFoundError:
        return frozenset()


class Departures:
    """The requests that are about to leave. Serves any thread; there is one for a journal, under its lock.

    It is never closed: at the daemon's end a thread may still wait for an answer.
    """

    def __init__(
        self, path: Path, keep: Collection[Submission] = (), boot: Callable[[], str] = boot_id
    ) -> None:
        """Take over the file; what it tells of `keep` stays until the next start. Raises OSError.

        `boot` names the machine's run; where it gives nothing, nothing is told by the file.
        """
        self._boot = boot()
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        slots = _read(os.pread(self._file, _SLOT_BYTES * _SLOTS, 0), self._boot)
        kept = {slot: one for slot, one in slots.items() if one in keep}
        content = b"".join(self._record(_WAITS, kept.get(slot)) for slot in range(_SLOTS))
        os.pwrite(self._file, content, 0)
        os.ftruncate(self._file, len(content))
        self.waiting = frozenset(kept.values())
        """What of `keep` had not left when the process died."""
        self._free = [slot for slot in range(_SLOTS) if slot not in kept]
        self._slots: dict[Submission, int] = {}
        """One that could not be cleared stays here: the same submission writes it anew, or is not made."""

    @contextmanager
    def of(self, job_id: str, number: int) -> Iterator[Callable[[], None]]:
        """Name a submission until the block ends; call what is given right before the first byte leaves.

        Both raise OSError, and then nothing may be sent.
        """
        submission = job_id, number
        slot = self._claim(submission)
        os.pwrite(self._file, self._record(_WAITS, submission), slot * _SLOT_BYTES)
        try:
            yield partial(self._leave, slot)
        finally:
            with suppress(OSError):
                os.pwrite(self._file, _FREE, slot * _SLOT_BYTES)
                del self._slots[submission]
                self._free.append(slot)

    def _claim(self, submission: Submission) -> int:
        if submission not in self._slots:
            try:
                self._slots[submission] = self._free.pop()
            except IndexError:
                raise OSError(errno.EAGAIN, "too many requests are about to leave") from None
        return self._slots[submission]

    def _leave(self, slot: int) -> None:
        if _libc.pwrite(self._file, _LEAVES, 1, slot * _SLOT_BYTES) != 1:
            trouble = ctypes.get_errno()
            raise OSError(trouble, f"what is about to leave cannot be noted: {os.strerror(trouble)}")

    def _record(self, state: bytes, submission: Submission | None) -> bytes:
        text = (
            b""
            if submission is None
            else b"%c %s %s %d"
            % (
                state,
                self._boot.encode(),
                submission[0].encode(),
                submission[1],
            )
        )
        return text.ljust(_SLOT_BYTES - 1) + b"\n"


def _read(content: bytes, boot: str) -> dict[int, Submission]:
    """Give the waiting submissions of this boot, by slot."""
    found = {}
    for slot in range(len(content) // _SLOT_BYTES):
        words = content[slot * _SLOT_BYTES : (slot + 1) * _SLOT_BYTES].decode("ascii", "replace").split()
        with suppress(ValueError):
            state, of_boot, job_id, number = words
            if boot and (state, of_boot) == (_WAITS.decode(), boot):
                found[slot] = (job_id, int(number))
    return found
