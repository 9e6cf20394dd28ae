"""Whether the journal is the newest there was: told by marks (`marks.py`) that no restore reaches.

The number of the last event only grows. It is written into the inboxes' own folders while the daemon runs; a
journal that has not come that far is an older copy, put back. What it takes for unsent may have been paid
for, so nothing is submitted until the operator says so; what runs is followed and delivered all the same.
"""

from __future__ import annotations

import structlog

from clipspool.journal import Journal

log = structlog.get_logger()

_RESTORED = "restored"
_OFFSET = "mark_offset"


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
