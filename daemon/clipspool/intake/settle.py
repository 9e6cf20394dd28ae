"""Which sightings have stopped changing."""

from __future__ import annotations

import os
from collections.abc import Mapping
from math import inf

Stamp = tuple[int, int, int, int, int]
"""Size, mtime and ctime in nanoseconds, inode, device: a file whose stamp stands still is left alone."""

SIZE = 0
MTIME_NS = 1
CTIME_NS = 2
INODE = 3
LOOKS = 4
"""How often a file is looked at while it settles, besides when an event says so."""


def stamp_of(status: os.stat_result) -> Stamp:
    """Take the stamp of a file's status."""
    return (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev)


class Settling:
    """What is known of one folder's files: each one's stamp, and since when it stands.

    A file settles when a look at least `settle_seconds` after its last observed change finds the same stamp.
    Time is the caller's monotonic seconds, so a jump of the clock means nothing. Empty files never settle.
    """

    def __init__(self, settle_seconds: float) -> None:
        """Take the seconds, more than 0, that a file has to stand still."""
        self.settle_seconds = settle_seconds
        self._stamps: dict[str, Stamp] = {}
        self._since: dict[str, float] = {}
        self._pauses: dict[str, float] = {}
        self._unsettled: set[str] = set()

    def see_all(self, stamps: dict[str, Stamp], now: float) -> set[str]:
        """Take the look at a whole folder; give the names that came, changed, went or have just settled."""
        known = self._stamps
        affected: set[str] = set()
        if stamps != known:
            for name in known.keys() - stamps.keys():
                self._forget(name)
                affected.add(name)
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
        """Take the look at one file, None when it is gone; say whether it changed, went or just settled."""
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
            self._pauses.pop(name, None)  # it was begun anew
        self._stamps[name] = stamp
        self._since[name] = now
        self._unsettled.add(name)

    def _forget(self, name: str) -> None:
        self._stamps.pop(name, None)
        self._since.pop(name, None)
        self._pauses.pop(name, None)
        self._unsettled.discard(name)

    def _has_stood(self, name: str, now: float) -> bool:
        return self._stamps[name][SIZE] > 0 and now >= self._since[name] + self.settle_seconds

    def settled(self, name: str) -> Stamp | None:
        """Give the stamp of a file that has settled, else None."""
        return None if name in self._unsettled else self._stamps.get(name)

    def since(self, name: str) -> float:
        """Since when a known file has had its present stamp, as first observed."""
        return self._since[name]

    def pause(self, name: str) -> float:
        """How many seconds passed at most between two growths of a file, as far as they were seen."""
        return self._pauses.get(name, 0.0)

    @property
    def stamps(self) -> Mapping[str, Stamp]:
        """Every known file's last stamp."""
        return self._stamps

    def candidates(self) -> list[str]:
        """Name the files that may settle: known, not settled, not empty."""
        return [name for name in self._unsettled if self._stamps[name][SIZE] > 0]

    def next_look(self, now: float) -> float:
        """Say when to look again: when the next file is due, or a step of the way; infinity for never."""
        since = min((self._since[name] for name in self.candidates()), default=inf)
        due = since + self.settle_seconds
        return due if due <= now or since == inf else min(due, now + self.settle_seconds / LOOKS)
