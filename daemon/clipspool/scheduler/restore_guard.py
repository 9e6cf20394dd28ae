"""Detects a restored, older journal by high-water marks (`restore_marks`) kept in the inboxes.

The number of the last event only grows. It is written into an inbox before each request from there is sent,
and now and then besides; a journal that has not reached that number is an older copy. Jobs that it shows as
not sent may have been charged, so nothing is submitted until the operator says so; running tasks are followed
and delivered all the same.

Each job that was queued in it is held besides, until it is approved by itself. The source of most jobs that
were delivered since is gone from the work folder; but that of a version which was ordered with `again`, and a
clip of an inbox that is only read, would be found and paid for once more.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import structlog

from clipspool.jobs import events as on
from clipspool.jobs.conditions import WHY
from clipspool.jobs.events import Event
from clipspool.jobs.messages import JournalRestored
from clipspool.jobs.model import STILL_TRIED, Held, Job, State
from clipspool.journal import Journal

log = structlog.get_logger()

FROM_BACKUP = (
    "it comes from an older copy of the journal, and may have been sent and paid for since: look for its "
    "result; `clipspool approve` sends it, `clipspool cancel` ends it"
)
_RESTORED = "restored"
_HELD = "restored_held"
"""The fact that the jobs which were queued in a restored journal are held."""
_OFFSET = "mark_offset"
_UNPROVEN = "marks_not_seen"


class RestoreGuard:
    """Compares the journal with the marks. All but `recorded` is for the scheduler's thread."""

    def __init__(
        self,
        journal: Journal,
        decide: Callable[[Job, Event], object],
        publish: Callable[[JournalRestored], object] = lambda _: None,
    ) -> None:
        """Read how far the journal has come, before anything is added. `decide` records an event of a job."""
        self.restored = int(journal.fact(_RESTORED) or 0)
        """The highest mark beyond what the journal has reached; 0 where there is none."""
        self.accepts = False
        """The operator started with `--accept-restored`."""
        self.proven: set[str] | None = None
        """Inboxes whose mark was read; None where marks are not read at all."""
        self._journal, self._decide, self._publish = journal, decide, publish
        self.begun_at = self.reached()
        self.recorded = self.begun_at
        """How far the journal had come when it last allowed a request. Any thread may read it."""
        self._unproven: dict[str, int] = dict(journal.fact(_UNPROVEN) or {})

    def begin(self, inboxes: Collection[str], *, accepts: bool = False) -> None:
        """Record, beyond this run, how far the journal had come while an inbox's mark was not read.

        While an inbox is offline its mark stays, and events of other inboxes raise the journal's count.
        Compared with that later count, an older journal would pass for the newest.
        """
        self.accepts = accepts
        before = self._unproven
        self._unproven = before | {
            name: min(before.get(name, self.begun_at), self.begun_at) for name in inboxes
        }
        # Durable before the first request: a crash after it must not make an older journal look complete.
        with self._journal.turn():
            self._journal.set_fact(_UNPROVEN, self._unproven)
            if self.restored:
                self._hold_queued()
            if self.restored and not accepts:
                self._publish(JournalRestored())

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
        # An inbox whose mark was not read yet may know of requests that this journal lost.
        return not self.restored and (self.proven is None or self.is_proven(inbox))

    def is_proven(self, inbox: str) -> bool:
        """Whether the mark of an inbox was read, and the next run will know that it was.

        Nothing raises the mark before: a daemon that was killed between the two would find its own mark ahead
        of what the journal had reached when the mark was last known to be read, and send nothing any more.
        """
        return self.proven is not None and inbox in self.proven and inbox not in self._unproven

    def hold(self, inbox: str, mark: int) -> None:
        """Submit nothing more, as an inbox's mark is ahead of the journal."""
        if mark <= self.reached_before(inbox):
            return  # the operator accepted this journal since the mark was read: what is queued now is new
        self._hold_queued()
        if self.accepts:
            self.accept(mark)
            return
        if not self.restored:  # each inbox knows of it
            self._publish(JournalRestored())
        self.restored = max(self.restored, mark)
        self._journal.set_fact(_RESTORED, self.restored)
        log.error("journal_restored", reached=self.begun_at, mark=mark, why=WHY)

    def _hold_queued(self) -> None:
        """Hold each job that the older journal shows as not sent, once: what comes in since is new."""
        if self._journal.fact(_HELD):
            return
        self._journal.set_fact(_HELD, True)
        for job in list(self._journal.find(states=(State.QUEUED,))):
            if job.held is Held.FROM_BACKUP:
                continue  # since an earlier restore
            # In place of any other hold: an approval of a price, or of a duplicate, says nothing about a
            # request that was sent since.
            is_held = job.held is not None and job.held not in STILL_TRIED
            reason = f"{job.reason}; {FROM_BACKUP}" if is_held else FROM_BACKUP
            self._decide(job, on.JobHeld(Held.FROM_BACKUP, reason))

    def accept(self, mark: int = 0) -> bool:
        """Continue with this journal, from beyond the marks; False where nothing was held for them."""
        mark = max(mark, self.restored)
        if not mark:
            return False
        offset = int(self._journal.fact(_OFFSET) or 0) + max(mark - self.reached(), 0) + 1
        self._journal.set_fact(_OFFSET, offset)
        self._journal.forget_fact(_RESTORED)
        self._journal.forget_fact(_HELD)
        self._journal.forget_fact(_UNPROVEN)
        self._unproven.clear()
        self.restored = 0
        self.begun_at = self.reached()
        log.warning("restored_accepted", mark=mark)
        return True
