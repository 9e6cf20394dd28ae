"""How far the journal has come, marked in each inbox by the name of an empty file; `trust.py` tells why."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping
from functools import partial

import structlog

from clipspool import threads
from clipspool.files import OURS, Rel
from clipspool.root import Root
from clipspool.scheduler import Scheduler

log = structlog.get_logger()

KEEP_SECONDS = 60.0
"""How old a mark may get while things happen."""
_AHEAD_MAX = 10**9
"""Events that no backup lacks. A mark beyond is none of ours: whoever drops clips can make one, and to accept
it once would lift the journal's count to where marks are no longer read."""
_END_SECONDS = 2.0
_NUMBER = re.compile(r"[0-9]{1,18}")


class Marks:
    """Reads the mark of each inbox once in a run, and keeps them up, each in a thread of its own."""

    def __init__(self, scheduler: Scheduler, journal_id: str, roots: Mapping[str, tuple[Root, Root]]) -> None:
        """Let nothing be submitted from an inbox whose mark was not looked at; `roots` gives both folders."""
        self._roots = roots
        self._scheduler = scheduler
        self._trust = scheduler.trust
        self._trust.proven = set()
        self._prefix = f"journal-{journal_id}."
        self._kept: dict[str, tuple[float, int]] = {}
        self._writing: dict[str, threading.Thread] = {}

    def prove(self, inbox: str, root: Root) -> None:
        """Look at an inbox's mark, in the inbox's own thread; raises OSError."""
        proven = self._trust.proven
        if proven is None or inbox in proven:
            return
        mark = self._read(root)
        if mark > self._trust.begun_at:
            self._scheduler.ask(lambda scheduler: scheduler.trust.hold(mark))
        proven.add(inbox)

    def _read(self, root: Root) -> int:
        return max(self._marks_in(root), default=0)

    def _marks_in(self, root: Root) -> list[int]:
        try:
            names = root.names(OURS)
        except FileNotFoundError:
            return []
        numbers = (name.removeprefix(self._prefix) for name in names if name.startswith(self._prefix))
        most = self._trust.begun_at + _AHEAD_MAX
        return [int(number) for number in numbers if _NUMBER.fullmatch(number) and int(number) <= most]

    def keep(self, *, is_end: bool = False) -> None:
        """Write the marks that are due, after a commit; at the end wait a little for them."""
        now = self._scheduler.now()
        due = [name for name in self._roots if self._is_due(name, now, is_end=is_end)]
        reached = self._trust.reached() if due else 0
        for name in due:
            before = self._kept.get(name, (0.0, -1))[1]
            self._kept[name] = (now, reached)
            if reached != before:
                write = partial(self._write, self._roots[name][0], reached)
                if (thread := threads.begin(write, f"mark-{name}")) is not None:
                    self._writing[name] = thread
        if is_end:
            until = time.monotonic() + _END_SECONDS
            for name in due:
                if name in self._writing:
                    self._writing[name].join(max(until - time.monotonic(), 0.0))

    def _is_due(self, name: str, now: float, *, is_end: bool) -> bool:
        if self._trust.restored or name not in (self._trust.proven or ()):
            return False
        if name in self._writing and self._writing[name].is_alive():
            return False
        return is_end or name not in self._kept or now - self._kept[name][0] >= KEEP_SECONDS

    def _write(self, root: Root, reached: int) -> None:
        """Let the mark's very name say it: a rename is whole or has not happened, and leaves nothing."""
        try:
            before = self._marks_in(root)
            if not before:
                root.append(self._name(reached), b"")
            elif max(before) != reached:
                root.move(self._name(max(before)), root, self._name(reached))
        except OSError as error:
            log.warning("mark_not_written", folder=str(root.path), why=error.strerror)

    def _name(self, number: int) -> Rel:
        return f"{OURS}/{self._prefix}{number}"
