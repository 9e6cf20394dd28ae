"""Detects an older journal that was put back, by marks (`restore_marks`) that no restore reaches.

The number of the last event only grows. It is written into an inbox's own folder before each request from
there leaves, and now and then besides; a journal that has not come that far is an older copy. What it takes
for unsent may have been paid for, so nothing is submitted until the operator says so; what runs is followed
and delivered all the same.
"""

from __future__ import annotations

from collections.abc import Collection

import structlog

from clipspool.jobs.conditions import WHY
from clipspool.journal import Journal

log = structlog.get_logger()

_RESTORED = "restored"
_OFFSET = "mark_offset"
_UNPROVEN = "marks_not_seen"


class Trust:
    """What the marks say of the journal. All but `recorded` belongs to the scheduler's thread."""

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
        self.recorded = self.begun_at
        """How far the journal had come when it last let a request leave. Any thread may read it."""
        self._unproven: dict[str, int] = dict(journal.fact(_UNPROVEN) or {})

    def begin(self, inboxes: Collection[str]) -> None:
        """Remember, beyond this run, how far the journal had come when an inbox was last not looked at.

        An inbox that stays offline for a run keeps its mark, while the journal counts on by what happens in
        others: compared with the later count, an older journal would pass for the newest.
        """
        before = self._unproven
        self._unproven = before | {
            name: min(before.get(name, self.begun_at), self.begun_at) for name in inboxes
        }
        with self._journal.turn():
            self._journal.set_fact(_UNPROVEN, self._unproven)

    def had_reached(self, inbox: str) -> int:
        """Give how far the journal had come when the mark of an inbox could be compared with it."""
        return self._unproven.get(inbox, self.begun_at)

    def prove(self, inbox: str) -> None:
        """Note that the mark of an inbox was looked at."""
        if self._unproven.pop(inbox, None) is not None:
            self._journal.set_fact(_UNPROVEN, self._unproven)

    def let_one_leave(self) -> None:
        """Note how far the journal has come, right after the commit that lets a request leave."""
        self.recorded = self.reached()

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
        self._journal.forget_fact(_UNPROVEN)
        self._unproven.clear()
        self.restored = 0
        self.begun_at = self.reached()
        log.warning("restored_accepted", mark=mark)
        return True
