"""Writes into each inbox how far the journal has come, for `restore_guard`: as the name of an empty file."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import partial

import structlog

from clipspool.scheduler.loop import Scheduler
from clipspool.spool.root import Root
from clipspool.system.atomic import OURS, Rel
from clipspool.system.process import start_thread

log = structlog.get_logger()

KEEP_SECONDS = 60.0
"""How old a mark may get while events are recorded."""
_AHEAD_MAX = 10**9
"""No backup lacks this many events. A higher mark is not ours: anybody who drops clips can make one, and if
it were accepted, it would raise the journal's count so far that marks are no longer read."""
_END_SECONDS = 2.0
_NUMBER = re.compile(r"[0-9]{1,18}")


class Marks:
    """Reads the mark of each inbox once in a run, and keeps all up to date, each in a thread of its own."""

    def __init__(self, scheduler: Scheduler, journal_id: str, roots: Mapping[str, tuple[Root, Root]]) -> None:
        """Block submissions from every inbox until its mark is read; `roots` has inbox and outbox by name."""
        self._roots = roots
        self._scheduler = scheduler
        self._guard = scheduler.restore_guard
        self._guard.require_marks()
        self._prefix = f"journal-{journal_id}."
        self._kept: dict[str, tuple[float, int]] = {}
        self._writing: dict[str, threading.Thread] = {}
        self._on_disk: dict[str, int] = {}
        self._locks = {name: threading.Lock() for name in roots}

    def prove(self, inbox: str, root: Root) -> None:
        """Read an inbox's mark, in the inbox's own thread; raises OSError."""
        proven = self._guard.proven
        if proven is None or inbox in proven:
            return
        mark = self._read(root)
        if mark > self._guard.reached_before(inbox):
            # Waited for, unlike what follows: no job of this inbox may be sent before the hold is there.
            self._scheduler.call(lambda scheduler: scheduler.restore_guard.hold(inbox, mark))
        self._scheduler.call_soon(lambda scheduler: scheduler.restore_guard.prove(inbox))
        proven.add(inbox)

    def before_sending(self, inbox: str, root: Root) -> None:
        """Write the mark before a request is sent; in a worker's thread, raises OSError.

        The intent is in the journal by now, so a backup from before it is behind the mark, even if the daemon
        is killed right after. Requests sent at the same time share one mark.
        """
        reached = self._guard.recorded
        with self._lock_of(inbox):
            if self._on_disk.get(inbox, -1) < reached:
                self._mark(inbox, root, reached)

    def _lock_of(self, inbox: str) -> threading.Lock:
        return self._locks.setdefault(inbox, threading.Lock())

    def _read(self, root: Root) -> int:
        return max(self._marks_in(root), default=0)

    def _marks_in(self, root: Root) -> list[int]:
        try:
            names = root.names(OURS)
        except FileNotFoundError:
            return []
        numbers = (name.removeprefix(self._prefix) for name in names if name.startswith(self._prefix))
        most = self._guard.begun_at + _AHEAD_MAX
        return [int(number) for number in numbers if _NUMBER.fullmatch(number) and int(number) <= most]

    def keep(self, *, is_end: bool = False) -> None:
        """Write the marks that are due, after a commit; at the daemon's end wait a little for them."""
        now = self._scheduler.now()
        due = [name for name in self._roots if self._is_due(name, now, is_end=is_end)]
        reached = self._guard.reached() if due else 0
        for name in due:
            before = self._kept.get(name, (0.0, -1))[1]
            self._kept[name] = (now, reached)
            if reached != before:
                write = partial(self._write, name, self._roots[name][0], reached)
                if (thread := start_thread(write, f"mark-{name}")) is not None:
                    self._writing[name] = thread
        if is_end:
            until = time.monotonic() + _END_SECONDS
            for name in due:
                if name in self._writing:
                    self._writing[name].join(max(until - time.monotonic(), 0.0))

    def _is_due(self, name: str, now: float, *, is_end: bool) -> bool:
        if self._guard.restored or not self._guard.is_proven(name):
            return False
        if name in self._writing and self._writing[name].is_alive():
            return False
        return is_end or name not in self._kept or now - self._kept[name][0] >= KEEP_SECONDS

    def _write(self, inbox: str, root: Root, reached: int) -> None:
        with self._lock_of(inbox):
            if self._on_disk.get(inbox, -1) >= reached:
                return  # a request was sent meanwhile
            try:
                self._mark(inbox, root, reached)
            except OSError as error:
                log.warning("mark_not_written", folder=str(root.path), why=error.strerror)

    def _mark(self, inbox: str, root: Root, reached: int) -> None:
        """Put the number into the mark's name: a rename happens whole or not at all."""
        before = self._on_disk.pop(inbox, None)
        if before is not None and before < reached:
            with suppress(FileNotFoundError):  # somebody removed it: list what is there
                root.move(self._name(before), root, self._name(reached))
                self._on_disk[inbox] = reached
                return
        before = max(self._marks_in(root), default=None)
        if before is None:
            root.append(self._name(reached), b"")
        elif before < reached:
            root.move(self._name(before), root, self._name(reached))
        self._on_disk[inbox] = max(reached, before or 0)

    def _name(self, number: int) -> Rel:
        return f"{OURS}/{self._prefix}{number}"
