"""Judges whether a settled clip is complete, and how long it waits if nothing in it shows that."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
from dataclasses import dataclass, replace
from io import BytesIO, FileIO
from math import inf
from pathlib import Path
from typing import BinaryIO

from clipspool.intake.pair import Waits
from clipspool.intake.settle import SIZE, Stamp
from clipspool.intake.types import Rules
from clipspool.media.boxes import Complete, Incomplete, Unrecognised, completeness
from clipspool.media.gaps import Span, gap_in, holes_in
from clipspool.system import mounts
from clipspool.system.atomic import Rel

PAUSE_FACTOR = 4
"""A clip without a marked end must be unchanged this many times longer than its longest pause in growing."""
PAUSE_SECONDS_MAX = 900.0
"""A longer pause was an interruption: a copy begun in the evening and ended in the morning."""
_CLOSED_SHARE = 0.1
"""How much of the wait remains once its writer has closed it: more data is unlikely to come."""
HAS_WRITER = "a program still has it open for writing"
_UNTIL_CLOSED = f"{HAS_WRITER}; it goes on by itself once that is over"
_WRITER_SECONDS = 0.5
"""How often a complete clip is checked for a writer: most close it at once."""
_LOOK_SECONDS = 5.0
"""How often a clip without a marked end is checked for a writer."""
_SMALL_BYTES = 1 << 20
_NFS_SERVER = Path("/proc/net/rpc/nfsd")


@dataclass(slots=True)
class _Known:
    """What is known about a clip with one stamp."""

    stamp: Stamp
    holes: tuple[Span, ...]
    verdict: Complete | None = None
    """Result of its headers, once no part is known to be missing."""
    doubt: str = ""
    """Why it may be incomplete; empty if its end is marked."""


class Wholeness:
    """Keeps what is known about the clips of one inbox that may be incomplete."""

    def __init__(self, rules: Rules, folder: Path) -> None:
        self._rules = rules
        self._writers = Writers(folder)
        self._known: dict[Rel, _Known] = {}
        self._with_writer: set[Rel] = set()

    def forget(self, path: Rel) -> None:
        """Drop what is known about a clip that is gone or accepted."""
        self._known.pop(path, None)
        self._with_writer.discard(path)

    def judge(
        self, file: FileIO, path: Rel, stamp: Stamp, since: float, pause: float, now: float
    ) -> Complete | Unrecognised | Waits:
        """Judge an open clip that has been unchanged since `since`, at `now` (monotonic seconds)."""
        known = self._known.get(path)
        if known is None or known.stamp != stamp:
            # Before anything reads the file: on ext4 a read makes preallocated space look like data.
            known = self._known[path] = _Known(stamp, holes_in(file.fileno(), stamp[SIZE]))
        if known.verdict is None:
            due = since + self._rules.sidecar_wait_seconds
            with _reader(file.fileno(), stamp[SIZE]) as headers:
                verdict = completeness(headers, stamp[SIZE])
                if isinstance(verdict, Incomplete):
                    return Waits.until(path, verdict.reason, due, now)
                if isinstance(verdict, Unrecognised) or verdict.container == "zip":
                    return verdict
                gap = gap_in(headers, stamp[SIZE], verdict, known.holes)
            if gap is not None and gap.is_certain:
                return Waits.until(path, gap.reason, due, now)
            if verdict.doubt and now < due:
                return Waits(path, verdict.doubt, look_at=due, proceeds=True)
            known.verdict = replace(verdict, film=None)  # it may wait for long
            known.doubt = verdict.open_end or (gap.reason if gap is not None else "")
        if known.doubt:
            return self._wait_for_end(file, path, known.doubt, since, pause, now) or known.verdict
        return self._wait_for_writer(file, path, since, pause, now) or known.verdict

    def _wait_for_writer(
        self, file: FileIO, path: Rel, since: float, pause: float, now: float
    ) -> Waits | None:
        """Let a clip that is complete by every sign wait while a program has it open for writing."""
        until = since + max(self._rules.unsure_seconds, pause)
        if now >= until or not self._writers.has_one(file.fileno()):
            return None
        is_problem = now >= since + self._rules.sidecar_wait_seconds
        look_at = min(until, now + _WRITER_SECONDS)
        return Waits(path, _UNTIL_CLOSED, is_problem, look_at=look_at, proceeds=True)

    def _wait_for_end(
        self, file: FileIO, path: Rel, doubt: str, since: float, pause: float, now: float
    ) -> Waits | None:
        """Let a clip without a marked end wait; None once it has waited long enough."""
        has_writer = self._writers.has_one(file.fileno())
        if has_writer:
            self._with_writer.add(path)
        seconds = self._rules.unsure_seconds
        if has_writer is False and path in self._with_writer and self._writers.are_all_seen():
            seconds *= _CLOSED_SHARE
        seconds = max(seconds, PAUSE_FACTOR * min(pause, PAUSE_SECONDS_MAX))
        left = since + seconds - now
        if left <= 0 and not has_writer:
            return None
        is_problem = now >= since + min(self._rules.sidecar_wait_seconds, seconds / 2)
        why = f"it goes on by itself when it has not changed for {_in_words(seconds)}"
        reason = f"{doubt}: more may come; {_UNTIL_CLOSED if has_writer else why}"
        look_at = now + min(_LOOK_SECONDS, left if left > 0 else inf)
        return Waits(path, reason, is_problem, look_at=look_at, proceeds=True)


def _reader(descriptor: int, size: int) -> BinaryIO:
    """Return what reads a clip: buffered, since headers lie side by side; a small one is read as a whole.

    It is looked at in dozens of places, each of which would be two calls to the system.
    """
    if size <= _SMALL_BYTES and len(data := os.pread(descriptor, size, 0)) == size:
        return BytesIO(data)
    return open(descriptor, "rb", closefd=False)


def _in_words(seconds: float) -> str:
    return f"{seconds / 60:.3g} minutes" if seconds >= 120 else f"{seconds:.3g} s"  # noqa: PLR2004


class Writers:
    """Asks the kernel whether a program on this machine has a file of one inbox open for writing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._device: int | None = None
        self._is_known = False

    def has_one(self, descriptor: int) -> bool | None:
        """Return whether a file, open for reading, is open for writing elsewhere; None if unknown.

        A read lease is refused while somebody writes; it is held only for an instant. On a share a refusal
        means something else, and a user who neither owns the file nor is root gets no lease.
        """
        if not self._is_local(descriptor):
            return None
        try:
            # A writer that opens it in this instant makes the kernel send a signal: SIGIO would end us.
            fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        except OSError as error:
            return True if error.errno == errno.EAGAIN else None
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        return False

    def are_all_seen(self) -> bool:
        """Return whether only this machine can write: an NFS server opens and closes files at any time."""
        return not _NFS_SERVER.exists()

    def _is_local(self, descriptor: int) -> bool:
        if not self._is_known:
            self._is_known = True
            if mounts.filesystem_of(self._folder).kind is mounts.MountKind.LOCAL:
                self._device = self._folder.stat().st_dev
        return os.fstat(descriptor).st_dev == self._device
