"""Whether the journal is the newest there was: told by a mark in each inbox, where a restore does not reach.

The number of the last event only grows. It is written into the inboxes' own folders while the daemon runs; a
journal that has not come that far is an older copy, put back. What it takes for unsent may have been paid
for, so nothing is submitted until the operator says so; what runs is followed and delivered all the same.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import structlog

from clipspool import threads
from clipspool.files import OURS, Rel
from clipspool.journal import Journal
from clipspool.root import Root

if TYPE_CHECKING:
    from clipspool.scheduler import Scheduler

log = structlog.get_logger()

KEEP_SECONDS = 60.0
"""How old a mark may get while things happen."""
_END_SECONDS = 2.0
_RESTORED = "restored"
_OFFSET = "mark_offset"
_NUMBER = re.compile(r"[0-9]{1,18}")


class Trust:
    """What the marks say of the journal. Belongs to the scheduler's thread, but for `prove`."""

    def __init__(self, journal: Journal) -> None:
        """Take the journal as it is at the start, before anything is added."""
        self.restored = int(journal.fact(_RESTORED) or 0)
        """The mark that the journal does not come up to; 0 when there is none."""
        self.accepts = False
        """The operator started with `--accept-restored`."""
        self.proven: set[str] | None = None
        """Inboxes whose mark was looked at; None where nobody looks."""
        self._journal = journal
        self.begun_at = self.reached()

    def reached(self) -> int:
        """Give how far the journal has come."""
        return self._journal.last_event() + int(self._journal.fact(_OFFSET) or 0)

    def lets(self, inbox: str) -> bool:
        """Tell whether clips of an inbox may be submitted."""
        return not self.restored and (self.proven is None or inbox in self.proven)

    def hold(self, mark: int) -> None:
        """Submit nothing more: a mark is ahead of the journal."""
        if self.accepts:
            self.accept(mark)
            return
        self.restored = max(self.restored, mark)
        self._journal.set_fact(_RESTORED, self.restored)
        log.error("journal_restored", reached=self.begun_at, mark=mark, why=WHY)

    def accept(self, mark: int = 0) -> bool:
        """Go on with this journal, from beyond the marks; False when nothing was held for them."""
        mark = max(mark, self.restored)
        if not mark:
            return False
        offset = int(self._journal.fact(_OFFSET) or 0) + max(mark - self.reached(), 0) + 1
        self._journal.set_fact(_OFFSET, offset)
        self._journal.forget_fact(_RESTORED)
        self.restored = 0
        self.begun_at = self.reached()
        log.warning("restored_accepted", mark=mark)
        return True


WHY = (
    "the journal is an older copy, put back: what it takes for unsent may have been paid for. "
    "Look through its queued jobs, cancel those that are done, then `clipspool resume --accept-restored`"
)


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
        return [int(number) for number in numbers if _NUMBER.fullmatch(number)]

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
            for name in due:
                if name in self._writing:
                    self._writing[name].join(_END_SECONDS)

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
