"""Checks an inbox before it is scanned: its identity, leftovers of the last run, other daemons using it."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from functools import partial

from clipspool.jobs.messages import PeerLost
from clipspool.jobs.model import Job
from clipspool.jobs.records import Peer
from clipspool.journal import JournalError
from clipspool.scheduler import commands
from clipspool.scheduler.loop import Scheduler
from clipspool.scheduler.restore_marks import Marks
from clipspool.spool.guard import Unavailable, forgiving
from clipspool.spool.layout import TAKEN, WORK
from clipspool.spool.neighbours import JournalAnswers, Neighbours
from clipspool.spool.peers import Mark
from clipspool.spool.recovery import claimed_late, late_answer, left_behind, tidy, what_came_of
from clipspool.spool.root import Root
from clipspool.spool.watchfolder import Folders
from clipspool.system.process import start_thread

_ASK_SECONDS = 5.0
_LATE_SECONDS = 5.0
"""How often late work of a former leader of the farm is looked for: answers in ledgers, and claims."""


class Binding:
    """Called in the inbox's thread before each scan; returns the other daemons that use the inbox."""

    def __init__(
        self,
        folders: Folders,
        scheduler: Scheduler,
        marks: Marks,
        waiting: Collection[str],
        own: Mark,
        *,
        cut_short: Sequence[Job],
        known: set[str],
        now: Callable[[], float] = time.time,
    ) -> None:
        """`cut_short`: jobs that the last run left submitting; `known`: the journal's work folders.

        `waiting`: tokens of requests that were certainly not sent.
        """
        # In a farm a former leader may still note answers in the ledgers, and end a claim that it had begun.
        self._may_be_late, self._late_at = own.epoch > 0, 0.0
        self._recorded, self._unrecorded = set(known), set[str]()
        self._folders, self._scheduler, self._marks = folders, scheduler, marks
        self._waiting, self._cut_short, self._known, self._now = waiting, list(cut_short), known, now
        self._is_surveyed = False
        self._threads: list[threading.Thread] = []
        ask = partial(scheduler.call, seconds=_ASK_SECONDS)
        journal = JournalAnswers(
            known=lambda: ask(lambda one: one.journal.folders(folders.name)),
            is_open=lambda ids: ask(partial(commands.open_clips, ids=ids)),
            give_up=lambda takers: scheduler.call_soon(partial(commands.give_up, takers=takers)),
            report_lost=self._report_lost,
        )
        self._neighbours = Neighbours(folders.name, folders.inbox, own, journal, now=now)

    def _report_lost(self, peer: Peer, silence: str) -> None:
        self._scheduler.call_soon(lambda scheduler: scheduler.publish(PeerLost(peer, silence)))

    def __call__(self) -> Sequence[Peer]:
        """Check the inbox; raises OSError, also where the journal cannot be asked: the daemon is ending."""
        try:
            with self._folders.inbox.held():
                return self._check()
        except JournalError as error:
            raise Unavailable(errno.EIO, str(error)) from error

    def _check(self) -> Sequence[Peer]:
        root = self._folders.inbox
        if self._cut_short:
            journal = self._folders.journal
            outcomes = {job.id: what_came_of(root, job, self._waiting, journal) for job in self._cut_short}
            self._scheduler.call_soon(lambda scheduler: scheduler.cut_short.settle(outcomes))
            self._cut_short.clear()
        root.bind()
        if self._folders.origin is not None:
            self._folders.origin.bind()
        # Before anything may be submitted from here.
        self._neighbours.serve_alone()
        self._marks.prove(self._folders.name, root)
        if not self._is_surveyed:
            self._survey(root)
        if self._may_be_late and time.monotonic() - self._late_at >= _LATE_SECONDS:
            self._late_at = time.monotonic()
            self._read_late_answers(root)
            self._enter_late_claims(root)
        return self._neighbours.refresh()

    def _enter_late_claims(self, root: Root) -> None:
        """Enter clips that a former leader claimed after it had lost its lead: it could not record them."""
        try:
            names = set(root.names(WORK))
        except FileNotFoundError:
            return
        self._recorded &= names
        if new := names - self._recorded:
            self._recorded |= set(self._scheduler.call(lambda one: one.journal.known(new), _ASK_SECONDS))
        # Seen twice, so that a claim is not read while it is made.
        late = self._unrecorded & (names - self._recorded)
        self._unrecorded = names - self._recorded
        for accepted in claimed_late(self._folders.name, root, self._folders.journal, late):
            self._scheduler.enqueue(accepted)

    def _read_late_answers(self, root: Root) -> None:
        """End the doubts whose answer a former leader noted after it had lost its lead."""
        ask = partial(commands.doubts_of_lost_leads, inbox=self._folders.name)
        doubts = self._scheduler.call(ask, _ASK_SECONDS)
        answers = {job.id: answer for job in doubts if (answer := late_answer(root, job)) is not None}
        if answers:
            self._scheduler.call_soon(lambda scheduler: scheduler.cut_short.end_doubts(answers))

    def _survey(self, root: Root) -> None:
        # The outbox is marked at once: if its disk is unmounted later, the bare mount point has no mark.
        thread = start_thread(partial(_bind, self._folders.outbox, self._now), f"outbox-{self._folders.name}")
        self._threads += [thread] if thread is not None else []
        with forgiving(OSError):  # read-only, full, or a file has its name: each look tries again
            # This comes before any look for a name in it: a file server's client caches that a name was not
            # found.
            root.make_folders(TAKEN)
        tidy(root, self._now())
        for accepted in left_behind(self._folders.name, root, self._folders.journal, self._known):
            self._scheduler.enqueue(accepted)
        self._is_surveyed = True

    def end(self) -> list[threading.Thread]:
        """Note in the inbox that this daemon has stopped; returns threads that may still write there."""

        def note() -> None:
            with suppress(OSError):
                self._neighbours.end()

        thread = start_thread(note, f"stopped-{self._folders.name}")
        return [*self._threads, *([thread] if thread is not None else [])]


def _bind(root: Root, now: Callable[[], float]) -> None:
    """Check a folder for the first time, in a thread of its own: its file server may hang."""
    with suppress(OSError):
        root.bind()
        tidy(root, now())
