"""Tracks the files of a folder until they stop changing; pure."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterator, Mapping
from heapq import heappop, heappush
from math import inf
from typing import Generic, TypeVar

Stamp = tuple[int, int, int, int, int]
"""Size, mtime and ctime in nanoseconds, inode, device: while it stays the same, nobody writes to the file."""

SIZE, MTIME_NS, CTIME_NS, INODE = range(4)
LOOKS = 4
"""How often a file is checked while it settles, besides when an event reports it."""


def stamp_of(status: os.stat_result) -> Stamp:
    """Return the stamp of a file status."""
    return (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev)


class Settling:
    """Keeps the stamp of each file of one folder, and since when it is unchanged.

    A file settles when a check at least `settle_seconds` after its last observed change finds the same stamp.
    Time is the caller's monotonic seconds, so changes of the clock have no effect. Empty files never settle.
    """

    def __init__(self, settle_seconds: float) -> None:
        self.settle_seconds = settle_seconds
        self._stamps: dict[str, Stamp] = {}
        self._since: dict[str, float] = {}
        self._pauses: dict[str, float] = {}
        self._unsettled: set[str] = set()

    def see_all(self, stamps: dict[str, Stamp], now: float) -> set[str]:
        """Record the stamps of a whole folder; return the names that came, changed, went or just settled."""
        known = self._stamps
        affected: set[str] = set()
        if stamps != known:
            affected |= known.keys() - stamps.keys()
            for name in affected:
                self._forget(name)
            for name, stamp in stamps.items():
                if known.get(name) != stamp:
                    self._change(name, stamp, now)
                    affected.add(name)
        for name in list(self._unsettled):
            if name not in affected and self._has_stood(name, now):
                self._unsettled.discard(name)
                affected.add(name)
        return affected

    def see(self, name: str, stamp: Stamp | None, now: float) -> bool:
        """Record one stamp, None if the file is gone; return whether it changed, went or just settled."""
        known = self._stamps.get(name)
        if stamp is None:
            self._forget(name)
            return known is not None
        if stamp != known:
            self._change(name, stamp, now)
            return True
        if name in self._unsettled and self._has_stood(name, now):
            self._unsettled.discard(name)
            return True
        return False

    def _change(self, name: str, stamp: Stamp, now: float) -> None:
        before = self._stamps.get(name)
        if before is not None and before[INODE] == stamp[INODE] and 0 < before[SIZE] < stamp[SIZE]:
            self._pauses[name] = max(now - self._since[name], self._pauses.get(name, 0.0))
        elif before is not None and before[SIZE] != stamp[SIZE]:
            self._pauses.pop(name, None)  # the copy was started again
        self._stamps[name] = stamp
        self._since[name] = now
        self._unsettled.add(name)

    def _forget(self, name: str) -> None:
        for known in (self._stamps, self._since, self._pauses):
            known.pop(name, None)
        self._unsettled.discard(name)

    def _has_stood(self, name: str, now: float) -> bool:
        return self._stamps[name][SIZE] > 0 and now >= self._since[name] + self.settle_seconds

    def settled(self, name: str) -> Stamp | None:
        """Return the stamp of a file that has settled, else None."""
        return None if name in self._unsettled else self._stamps.get(name)

    def since(self, name: str) -> float:
        """Return since when a known file has had its present stamp."""
        return self._since[name]

    def pause(self, name: str) -> float:
        """Return the longest time in seconds that was seen between two growths of a file."""
        return self._pauses.get(name, 0.0)

    @property
    def stamps(self) -> Mapping[str, Stamp]:
        """Last stamp of every known file."""
        return self._stamps

    def candidates(self) -> list[str]:
        """Return the files that may settle: known, not settled, not empty."""
        return [name for name in self._unsettled if self._stamps[name][SIZE] > 0]

    def next_look(self, now: float) -> float:
        """Return when to check again: when the next file is due, or a step before; infinity for never."""
        since = min((self._since[name] for name in self.candidates()), default=inf)
        due = since + self.settle_seconds
        return due if due <= now or since == inf else min(due, now + self.settle_seconds / LOOKS)


K = TypeVar("K", bound=Hashable)


class Timers(Generic[K]):
    """Keeps when each of many things must be judged again though nothing changed, in monotonic seconds."""

    def __init__(self) -> None:
        self._queue: list[tuple[float, K]] = []
        self._at: dict[K, float] = {}

    def next_at(self) -> float:
        """Return when the next is due; infinity for never."""
        return self._queue[0][0] if self._queue else inf

    def add(self, key: K, at: float) -> None:
        """Have one judged at a time, or earlier if that was asked for before."""
        if at < self._at.get(key, inf):
            self._at[key] = at
            heappush(self._queue, (at, key))

    def drop(self, key: K) -> None:
        """Forget one and its time."""
        self._at.pop(key, None)

    def take_due(self, now: float) -> Iterator[K]:
        """Yield what is due at `now`, and forget it."""
        while self._queue and self._queue[0][0] <= now:
            at, key = heappop(self._queue)
            if self._at.get(key) == at:
                del self._at[key]
                yield key
