"""Keeps `_status.txt` in inboxes up to date: reads the journal, and writes where something changed.

One thread an inbox, never the scheduler's: a slow share delays only its own file.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from clipspool.intake.inbox import Inbox
from clipspool.jobs.limits import Limits
from clipspool.jobs.messages import Accepted, Happened, InboxChanged, News, NotRetired, Retired
from clipspool.jobs.model import State
from clipspool.jobs.path_map import Places
from clipspool.jobs.text import DAY_SECONDS, STATUS_BEGINS, STATUS_NAME
from clipspool.journal import Journal, JournalError, Place
from clipspool.journal.looks import Window
from clipspool.reporting.looking import account_in, conditions_in
from clipspool.reporting.status_file.own import Keeper, OwnFile
from clipspool.reporting.status_file.text import (
    DAYS,
    ENDED_MOST,
    MOST,
    EndedJob,
    FolderStatus,
    body_of,
    text_of,
)
from clipspool.scheduler.workers import in_words
from clipspool.spool.peers import own_mark
from clipspool.spool.root import Root
from clipspool.system.process import start_thread

WRITE_SECONDS = 5.0
"""The file is written no more often than this."""
_LOOK_SECONDS = 1.0
_ANEW_SECONDS = 60.0
"""Read this often without news: days pass, and pauses end."""
_STOP_SECONDS = 2.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Kept:
    """An inbox whose status file is kept."""

    root: Root
    outbox: Path
    places: Places
    limits: Limits
    inbox: Inbox
    """Only its state and its waiting files are read."""


class StatusFile:
    """The status file of one inbox. `mark_stale` may be called from any thread, the rest from one at a time.

    Where several clipspools share an inbox, the first has `_status.txt`, each other a file with the beginning
    of its journal's identity in the name. The last one left has `_status.txt`.
    """

    def __init__(
        self,
        name: str,
        kept: Kept,
        journal: Path,
        now: Callable[[], float] = time.time,
        place: Place | None = None,
    ) -> None:
        """`now` returns Unix seconds; `place` is where the journal is, unless it is the file itself."""
        self.kept = kept
        self._name = name
        self._window = Window(place or journal)
        self._now = now
        self._is_stale = threading.Event()
        self._is_stale.set()
        self._seen: object = None
        self._body: list[str] = []
        self._looked_at = self._wrote_at = 0.0
        self._trouble = ""
        self._identity = ""
        self._place_id = own_mark("", journal).place
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def mark_stale(self) -> None:
        """Record that something happened in this inbox."""
        self._is_stale.set()

    def start(self, after: threading.Thread | None = None) -> None:
        """Start the thread, which first waits for the end of another that kept this file."""
        # A daemon thread: one that hangs on a dead share must not keep the process from ending.
        self._thread = start_thread(self._run, f"status-{self._name}", after)

    def stop(self) -> threading.Thread | None:
        """Stop the thread; returns it, to be waited for."""
        self._stopping.set()
        return self._thread

    def _run(self, after: threading.Thread | None) -> None:
        if after is not None:
            after.join()
        while not self._stopping.wait(_LOOK_SECONDS):
            try:
                self.refresh()
            except Exception:
                log.exception("bug", inbox=self._name)
                self._stopping.wait(_ANEW_SECONDS)

    def refresh(self) -> bool:
        """Write the file if something changed and it is time; True when it was written."""
        now = self._now()
        inbox = self.kept.inbox
        peers = [(peer.journal, peer.life, peer.clips if not peer.is_living else 0) for peer in inbox.peers]
        seen = (inbox.state, inbox.waiting, inbox.paused_by, peers)
        is_due = self._is_stale.is_set() or seen != self._seen or now - self._looked_at >= _ANEW_SECONDS
        if inbox.state != "watching" or not is_due or abs(now - self._wrote_at) < WRITE_SECONDS:
            return False
        self._is_stale.clear()
        is_written = self._write(now, has_stopped=False)
        if not self._trouble:
            self._seen, self._looked_at = seen, now
        return is_written

    def write_stopped(self) -> None:
        """Write the last status, and close the journal."""
        if self.kept.inbox.state == "watching":
            self._write(self._now(), has_stopped=True)
        self._window.close()

    def remove(self) -> None:
        """Remove the file if it is ours, and close the journal."""
        try:
            with self._window.look() as journal:
                self._identity = identity_of(journal)
            name, is_there = self._own().place()
            if name and is_there:
                self.kept.root.remove(name)
        except (OSError, JournalError) as error:
            log.warning("status_file_not_written", inbox=self._name, why=_in_words(error))
        self._window.close()

    def _write(self, now: float, *, has_stopped: bool) -> bool:
        root = self.kept.root
        try:
            picture = self._picture(now, has_stopped=has_stopped)
            body = body_of(picture, None)
            if body == self._body and not has_stopped:
                self._trouble = ""
                return False
            data = text_of(picture, now, None).encode("utf-8", "backslashreplace")
            own = self._own()
            name, is_there = own.place()
            if not name:
                if self._failed("it is not ours"):
                    why = f"{STATUS_NAME} does not begin with “{STATUS_BEGINS}”; it is left alone"
                    log.warning("status_file_not_ours", inbox=self._name, why=why)
                return False
            if is_there:
                root.replace(name, data)
            else:
                root.create(name, data)
            for file, keeper in own.remove_leftovers(name):
                log.info("status_file_removed", inbox=self._name, file=file, kept_by=keeper)
        except (OSError, JournalError) as error:
            # The folder is offline, the share is full, an editor has the file open: it is tried again.
            if self._failed(why := _in_words(error)):
                log.warning("status_file_not_written", inbox=self._name, why=why)
            return False
        self._body, self._wrote_at, self._trouble = body, now, ""
        return True

    def _own(self) -> OwnFile:
        return OwnFile(self.kept.root, Keeper(self._identity, self._place_id))

    def _failed(self, why: str) -> bool:
        """Have it tried again; True when the reason is new."""
        self._is_stale.set()
        self._wrote_at = self._now()
        before, self._trouble = self._trouble, why
        return why != before

    def _picture(self, now: float, *, has_stopped: bool) -> FolderStatus:
        name, kept = self._name, self.kept
        since = now - DAYS * DAY_SECONDS
        with self._window.look() as journal:
            self._identity = identity_of(journal)
            failed = journal.ended_jobs(State.FAILED, since, ENDED_MOST, name)
            clips = {job.id: journal.clip(job.clip_id) for job in failed}
            return FolderStatus(
                inbox=name,
                kept_by=self._identity,
                place=self._place_id,
                outbox=str(kept.outbox),
                tally=journal.open_jobs(name),
                waiting=kept.inbox.waiting,
                held=journal.held_jobs(MOST, name),
                under_way=journal.jobs_under_way(MOST, name),
                failed=[EndedJob(job, clip.lies_at if (clip := clips[job.id]) else None) for job in failed],
                delivered=journal.ended_jobs(State.DELIVERED, since, ENDED_MOST, name),
                conditions=conditions_in(journal, kept.limits, now),
                account=account_in(journal),
                places=kept.places,
                host=socket.gethostname(),
                peers=kept.inbox.peers,
                has_stopped=has_stopped,
            )


def identity_of(journal: Journal) -> str:
    """Return what distinguishes this clipspool from another that shares the inbox."""
    return str(journal.fact("id"))[:6]


def _in_words(error: OSError | JournalError) -> str:
    return in_words(error) if isinstance(error, OSError) else str(error)


class StatusFiles:
    """The status files of all inboxes that keep one."""

    def __init__(
        self, journal: Path, now: Callable[[], float] = time.time, place: Place | None = None
    ) -> None:
        """Start without files; `place` is where the journal is, where that is not the file `journal`."""
        self._journal, self._place = journal, place
        self._now = now
        self._files: Mapping[str, StatusFile] = {}

    def keep(self, wanted: Mapping[str, Kept]) -> None:
        """Keep the files of these inboxes, by name; those that are no longer wanted are removed."""
        before, after = self._files, dict[str, StatusFile]()
        for name, kept in wanted.items():
            known = before.get(name)
            if known is not None and known.kept == kept:
                after[name] = known
                continue
            after[name] = StatusFile(name, kept, self._journal, self._now, self._place)
            after[name].start(known.stop() if known is not None else None)
        self._files = after
        for name in before.keys() - after.keys():
            start_thread(_leave, f"status-{name}", before[name], before[name].stop())

    def on_news(self, news: News) -> None:
        """Take a piece of news, in the scheduler's thread: it only marks a file as stale."""
        match news:
            case Happened(after=job):
                inbox = job.inbox
            case Accepted(clip=clip) | Retired(clip=clip) | NotRetired(clip=clip):
                inbox = clip.inbox
            case InboxChanged(name=name):
                inbox = name
            case _:
                for one in self._files.values():
                    one.mark_stale()
                return
        if (file := self._files.get(inbox)) is not None:
            file.mark_stale()

    def stop(self) -> None:
        """Write into each file that clipspool has stopped; waits for 2 s at most."""
        files = list(self._files.values())
        self._files = {}
        _join([thread for one in files if (thread := one.stop()) is not None])
        last = [start_thread(one.write_stopped, "status-last") for one in files]
        _join([thread for thread in last if thread is not None])


def _leave(file: StatusFile, thread: threading.Thread | None) -> None:
    if thread is not None:
        thread.join()
    file.remove()


def _join(threads: Sequence[threading.Thread]) -> None:
    until = time.monotonic() + _STOP_SECONDS
    for thread in threads:
        thread.join(max(until - time.monotonic(), 0.0))
