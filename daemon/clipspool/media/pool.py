"""Lends decoding processes to calls: which one, in what order, and when another one is started."""

from __future__ import annotations

import os
import queue
import shutil
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Final, Generic, Protocol, TypeVar

PATIENCE_SECONDS: Final = 0.25
"""How long a call waits for another one to end before one more process is started: that takes 0.1 s and 20
MB, and most calls take 10 ms."""
_START_PATIENCES: Final = 4
"""A call waits this many times as long while a process starts, which takes longer where the processors are
busy."""
_QUEUE_PATIENCES: Final = 8
"""A call waits this many times as long in a queue that moves on: more processes would only share the
processors."""

SCRATCH: Final = "clipspool-decoder-"
SCRATCH_SECONDS: Final = 24 * 3600
MEMORY: Final = "/dev/shm"  # noqa: S108  (a folder of its own is made in it)

Scratch = tempfile.TemporaryDirectory[str]


def scratch_folder(known: Scratch | None) -> Scratch | None:
    """Return a process's folder, in which x264 keeps what its first pass found out; made where it is gone.

    It lies in memory where it can: nothing is written outside the configured folders then. Without one, x264
    codes in one pass.
    """
    if known is not None:
        if Path(known.name).is_dir():
            return known
        known.cleanup()  # somebody removed it: nothing is left to do, and Python need not warn
    home = MEMORY if os.access(MEMORY, os.W_OK) else tempfile.gettempdir()
    try:
        _sweep(Path(home))
        return tempfile.TemporaryDirectory(prefix=SCRATCH, dir=home, ignore_cleanup_errors=True)
    except OSError:
        return None


def _sweep(home: Path) -> None:
    """Remove the folders of daemons that were killed, after a day."""
    for folder in home.glob(f"{SCRATCH}*"):
        with suppress(OSError):
            there = folder.lstat()
            if there.st_uid == os.geteuid() and there.st_mtime < time.time() - SCRATCH_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)


class PoolProcess(Protocol):
    """A process, or what starts one at its first call."""

    @property
    def is_running(self) -> bool:
        """Whether it is started already: then a call need not wait for its start."""


M = TypeVar("M", bound=PoolProcess)


@dataclass(eq=False, slots=True)
class _Place(Generic[M]):
    """A call's place in the queue."""

    is_long: bool
    is_patient: bool = True
    lent: queue.SimpleQueue[M] = field(default_factory=queue.SimpleQueue)


class Crew(Generic[M]):
    """A pool of members, few of them running while there is little to do; for any thread.

    Long calls get all members but one at most, so that short calls never wait for their end; apart from that,
    first come, first served.
    """

    def __init__(self, members: Sequence[M], patience_seconds: float = PATIENCE_SECONDS) -> None:
        """Take at least one member; with only one, short calls wait for long ones."""
        self._free = list(members)
        self._size = len(members)
        self._long_left = max(1, len(members) - 1)
        self._patience_seconds = patience_seconds
        self._queue: list[_Place[M]] = []
        self._moved_at = -inf
        """When a member was given back last; later than now while one may be starting."""
        self._changed = threading.Condition()

    def borrow(self, *, is_long: bool) -> M:
        """Wait for a member and borrow it until `give_back`; it may have to be started."""
        place = _Place[M](is_long)
        with self._changed:
            self._queue.append(place)
            self._serve()
        patience = self._patience_seconds
        until = time.monotonic() + _QUEUE_PATIENCES * patience
        while place.is_patient:
            with suppress(queue.Empty):
                return place.lent.get(timeout=patience)
            with self._changed:
                now = time.monotonic()
                place.is_patient = now < until and now - self._moved_at < patience
                self._serve()
        return place.lent.get()

    def borrow_first(self) -> M | None:
        """Borrow a member if none is running, to start it before a call comes; None otherwise."""
        with self._changed:
            if not self._none_runs():
                return None
            self._expect_start()
            return self._free.pop()

    def give_back(self, member: M, *, is_long: bool = False) -> None:
        """Return a borrowed member."""
        with self._changed:
            self._free.append(member)
            self._moved_at = max(self._moved_at, time.monotonic())
            self._long_left += is_long
            self._serve()
            self._changed.notify_all()

    def wait_for_all(self) -> None:
        """Wait until all members are given back."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._free) == self._size)

    def _serve(self) -> None:
        for place in list(self._queue):
            member = self._member_for(place)
            if member is not None:
                if not member.is_running:
                    self._expect_start()
                self._free.remove(member)
                self._long_left -= place.is_long
                self._queue.remove(place)
                place.lent.put(member)

    def _expect_start(self) -> None:
        self._moved_at = time.monotonic() + (_START_PATIENCES - 1) * self._patience_seconds

    def _member_for(self, place: _Place[M]) -> M | None:
        if not self._free or (place.is_long and not self._long_left):
            return None
        # The one that worked last: the others may end for lack of work.
        running = next((member for member in reversed(self._free) if member.is_running), None)
        if running is None and (not place.is_patient or self._none_runs()):
            return self._free[-1]
        return running

    def _none_runs(self) -> bool:
        return len(self._free) == self._size and not any(member.is_running for member in self._free)
