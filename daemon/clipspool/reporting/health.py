"""Checks the daemon's health: recent turns, recent scans, living event threads, a writable journal.

Each is tried: a living thread may hang, and a file system that took the last commit may be full or read-only
now.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from clipspool.intake.inbox import Inbox
from clipspool.jobs.text import iso
from clipspool.journal.files import numbers_of
from clipspool.system.process import start_thread

TURN_SECONDS_MAX = 30.0
"""Turns come at least once a second; a slow disk may make one long."""
SCAN_SECONDS_MIN = 120.0
"""A scan is fresh for three times `rescan_seconds`, and for no less than this."""
_PROBE_SECONDS = 10.0
"""One trial of the journal's disk serves all callers for this long."""
_HANGS_SECONDS = 5.0
_PROBE_BYTES = 4096


class Health:
    """Answers from any thread, within about `_HANGS_SECONDS` even when the disk hangs."""

    def __init__(
        self,
        trial: Callable[[], tuple[str, float | None]],
        turn_age_seconds: Callable[[], float],
        inboxes: Callable[[], Mapping[str, Inbox]],
        now: Callable[[], float] = time.time,
    ) -> None:
        """`trial` is the journal's, such as `Trial.look`; the others return what is checked."""
        self._trial = trial
        self._turn_age_seconds = turn_age_seconds
        self._inboxes = inboxes
        self._now = now

    def look(self) -> dict[str, Any]:
        """Return `ok`, whether all is well, and of each part `ok`, `why` not, and `since` when (ISO 8601)."""
        age = self._turn_age_seconds()
        is_fresh = age <= TURN_SECONDS_MAX
        why = "" if is_fresh else f"the scheduler ended no turn for {age:.0f} s"
        turn = {**self._part(why, age), "age_seconds": round(age, 1)}
        inboxes = {name: self._inbox(inbox) for name, inbox in dict(self._inboxes()).items()}
        trouble, for_seconds = self._trial()
        journal = self._part(trouble, for_seconds)
        is_well = all(part["ok"] for part in (turn, journal, *inboxes.values()))
        return {"ok": is_well, "turn": turn, "inboxes": inboxes, "journal": journal}

    def _part(self, why: str, for_seconds: float | None) -> dict[str, Any]:
        since = iso(self._now() - for_seconds) if why and for_seconds is not None else None
        return {"ok": not why, "why": why, "since": since}

    def _inbox(self, inbox: Inbox) -> dict[str, Any]:
        age = inbox.scan_age_seconds
        alive, wanted = inbox.emitters
        why = ""
        if inbox.state == "offline":
            why = f"offline: {inbox.reason}"
        elif age is None:
            why = "not scanned yet"
        elif age > max(SCAN_SECONDS_MIN, 3 * inbox.rescan_seconds):
            why = f"not scanned for {age:.0f} s"
        elif alive < wanted:
            why = f"{wanted - alive} of {wanted} threads that receive events have died"
        return {
            **self._part(why, age),
            "state": inbox.state,
            "detect": inbox.detect,
            "scan_age_seconds": None if age is None else round(age, 1),
            "emitters_alive": alive,
            "emitters_wanted": wanted,
        }


class WriteTrial:
    """Tries whether the journal could be written now, without using its connection.

    It writes and syncs a small file beside the journal. The journal's own file is not opened: closing it
    again would drop the locks that SQLite holds on it (POSIX locks belong to a process and a file).
    """

    def __init__(
        self,
        journal: Path,
        monotonic: Callable[[], float] = time.monotonic,
        *,
        write: Callable[[Path], object] | None = None,
        hangs_seconds: float = _HANGS_SECONDS,
    ) -> None:
        """`write` tries the journal's disk and raises OSError."""
        self._journal = journal
        self._write = write or _write_beside
        self._hangs_seconds = hangs_seconds
        self._monotonic = monotonic
        self._identity = numbers_of(journal)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._began = -_PROBE_SECONDS
        self._trouble = ""
        self._trouble_since: float | None = None

    def look(self) -> tuple[str, float | None]:
        """Return what is wrong, empty when nothing is, and for how many seconds it has been."""
        with self._lock:
            thread = self._thread
            if (
                thread is None or not thread.is_alive()
            ) and self._monotonic() - self._began >= _PROBE_SECONDS:
                self._began = self._monotonic()
                # Daemon: one that hangs in a sync must not keep the process from ending.
                thread = self._thread = start_thread(self._try, "health")
                if thread is None:
                    return "no thread can be started: a limit of the system is reached", 0.0
        if thread is not None:
            thread.join(max(self._began + self._hangs_seconds - self._monotonic(), 0.0))
            if thread.is_alive():
                for_seconds = self._monotonic() - self._began
                return f"a write to the journal's disk hangs: no answer for {for_seconds:.0f} s", for_seconds
        since = self._trouble_since
        return self._trouble, None if since is None else self._monotonic() - since

    def _try(self) -> None:
        trouble = ""
        try:
            if numbers_of(self._journal) != self._identity:
                trouble = "the journal's file was moved or replaced while it was in use"
            elif not os.access(self._journal, os.R_OK | os.W_OK):
                trouble = "the journal's file is not writable"
            else:
                self._write(self._journal)
        except OSError as error:
            trouble = f"the journal's folder cannot be written: {error.strerror or error}"
        if trouble and not self._trouble:
            self._trouble_since = self._began
        elif not trouble:
            self._trouble_since = None
        self._trouble = trouble


def _write_beside(journal: Path) -> None:
    """Write a small file, sync it and remove it; raises OSError."""
    trial = journal.with_name(f"{journal.name}.trial")
    fd = os.open(trial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, b"\0" * _PROBE_BYTES)
        os.fsync(fd)
    finally:
        os.close(fd)
        with suppress(OSError):
            trial.unlink()
