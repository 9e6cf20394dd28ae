"""Detects a restored, older journal by high-water marks (`restore_marks`) kept in the inboxes.

The number of the last event only grows. It is written into an inbox before each request from there is sent,
and now and then besides; a journal that has not reached that number is an older copy. Jobs that it shows as
not sent may have been charged, so nothing is submitted until the operator says so; running tasks are followed
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


class RestoreGuard:
    """Compares the journal with the marks. All but `recorded` is for the scheduler's thread."""

    def __init__(self, journal: Journal) -> None:
        """Read how far the journal has come, before anything is added."""
        self.restored = int(journal.fact(_RESTORED) or 0)
        """The mark that the journal has not reached; 0 for none."""
        self.accepts = False
        """The operator started with `--accept-restored`."""
        self.proven: set[str] | None = None
        """Inboxes whose mark was read; None where marks are not read at all."""
        self._journal = journal
        self.begun_at = self.reached()
        self.recorded = self.begun_at
        """How far the journal had come when it last allowed a request. Any thread may read it."""
        self._unproven: dict[str, int] = dict(journal.fact(_UNPROVEN) or {})

    def begin(self, inboxes: Collection[str], *, accepts: bool = False) -> None:
        """Record, beyond this run, how far the journal had come while an inbox's mark was not read.

        An inbox that stays offline for a run keeps its mark, while the journal counts on with the events of
        others: compared with the later count, an older journal would pass for the newest.
        """
        self.accepts = accepts
        before = self._unproven
        self._unproven = before | {
            name: min(before.get(name, self.begun_at), self.begun_at) for name in inboxes
        }
        with self._journal.turn():
            self._journal.set_fact(_UNPROVEN, self._unproven)

    def reached_before(self, inbox: str) -> int:
        """Return how far the journal had come when the mark of an inbox could last be compared."""
        return self._unproven.get(inbox, self.begun_at)

    def require_marks(self) -> None:
        """Allow nothing from an inbox before its mark was read."""
        self.proven = set()

    def prove(self, inbox: str) -> None:
        """Record that the mark of an inbox was read."""
        if self._unproven.pop(inbox, None) is not None:
            self._journal.set_fact(_UNPROVEN, self._unproven)

    def note_send(self) -> None:
        """Note how far the journal has come, right after the commit that allows a request."""
        self.recorded = self.reached()

    def reached(self) -> int:
        """Return how far the journal has come."""
        return self._journal.last_event() + int(self._journal.fact(_OFFSET) or 0)

    def allows(self, inbox: str) -> bool:
        """Whether clips of an inbox may be submitted."""
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
        """Continue with this journal, from beyond the marks; False where nothing was held for them."""
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
