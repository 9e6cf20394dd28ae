"""Keeps this daemon's mark in one inbox, and finds whose accepted clips are there and who took which over.

For the inbox's own thread: a file server that hangs blocks nothing else.
"""

from __future__ import annotations

import errno
import os
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf

import structlog

from clipspool.jobs.events import TakenOver
from clipspool.jobs.records import Life, Peer
from clipspool.jobs.text import status_mark
from clipspool.spool.claims import is_claimed, is_in_work
from clipspool.spool.guard import Unavailable, forgiving
from clipspool.spool.handover import taker_of
from clipspool.spool.kept import holder_of
from clipspool.spool.layout import TAKEN, WORK
from clipspool.spool.peers import (
    KEEP_SECONDS,
    Mark,
    by_journal,
    copy_served,
    host_of,
    is_journal,
    life_of,
    mark_name,
    mark_of,
    marks_in,
    peer_of,
    silence,
)
from clipspool.spool.root import Root
from clipspool.spool.workfolder import Manifest, clear_away, folder_of, read_manifest

log = structlog.get_logger()

LOOK_SECONDS = 10.0
"""Others' marks are read this often."""
_SURVEY_SECONDS = 600.0
"""The owners of work folders are read this often while all daemons with a mark run."""
_COPY_SECONDS = 86_400.0
"""A copy that nobody has finished for this long is removed, where its daemon does not run."""
_READ_MAX = 500
"""Manifests read at once."""
_STATUS_BYTES_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class JournalAnswers:
    """Questions to this daemon's journal; a call may take a moment, and raise OSError."""

    known: Callable[[], Collection[str]]
    """The clips whose work folders in this inbox are this journal's."""
    is_open: Callable[[Collection[str]], Collection[str]]
    """Which of these clips have a job that has not ended."""
    give_up: Callable[[Mapping[str, TakenOver]], None]
    """Ends the jobs of clips that other journals took over."""
    report_lost: Callable[[Peer, str], None]
    """Reports a daemon whose clips nobody works on, and when it was last seen."""


class Neighbours:
    """This daemon's mark in an inbox, and what is known of other daemons there. For one thread."""

    def __init__(
        self,
        inbox: str,
        root: Root,
        own: Mark,
        journal: JournalAnswers,
        *,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.peers: tuple[Peer, ...] = ()
        """Other daemons that have clips here or run; first those whose clips nobody works on."""
        self._inbox, self._root, self._own, self._journal = inbox, root, own, journal
        self._now, self._monotonic = now, monotonic
        self._marked_at = self._looked_at = self._surveyed_at = -inf
        self._server_at = 0.0
        self._owners: dict[str, str] = {}
        """The journals of the clips here that are not ours, by the clip's id."""
        self._taken_stamp: tuple[int, ...] = ()
        self._is_settled = False
        self._taken: set[str] = set()
        """Clips that were taken over; no job of theirs is open here."""
        self._reported: set[str] = set()
        """Journals that were reported as lost."""

    def refresh(self) -> Sequence[Peer]:
        """Write the mark and read the others', where it is time. Raises Unavailable."""
        self._write_mark_when_due()
        at = self._monotonic()
        try:
            self._read_takers()
            if at - self._looked_at >= LOOK_SECONDS:
                self._looked_at = at
                self._read_others(at)
        except Unavailable:
            raise
        except OSError as error:
            log.warning("neighbours_not_seen", inbox=self._inbox, why=error.strerror or str(error))
        return self.peers

    def serve_alone(self) -> None:
        """Make sure that no other daemon serves a copy of this journal, and write the mark.

        Both would send what both have queued. Raises Unavailable while the other one runs.
        """
        if copied := copy_served(self._root, self._own, self._now):
            self._marked_at = -inf  # the mark is the other's, and not ours to end
            raise Unavailable(errno.EBUSY, copied)
        self._write_mark_when_due()

    def end(self) -> None:
        """Record in the mark that this daemon has stopped. Raises OSError."""
        seen = mark_of(self._root, self._own.journal)
        is_anothers = seen is not None and seen.mark.epoch > self._own.epoch  # it leads the farm now
        if self._marked_at > -inf and not is_anothers:
            self._root.replace(mark_name(self._own.journal), replace(self._own, is_stopped=True).to_toml())

    def _read_takers(self) -> None:
        """Stop following clips that `recover` took over.

        The folder itself is opened each time: a client of a file server caches for half a minute that a name
        it has looked up is not there.
        """
        try:
            with self._root.folder(TAKEN) as folder:
                here = os.fstat(folder)
                stamp = (here.st_ino, here.st_mtime_ns, here.st_ctime_ns)
                is_same = stamp == self._taken_stamp
                if is_same and self._is_settled:
                    return
                names = {entry.name for entry in os.scandir(folder) if is_journal(entry.name)}
        except (FileNotFoundError, NotADirectoryError):
            return
        # Two equal stamps in a row: what comes within the server's tick after a listing leaves the date.
        self._is_settled, self._taken_stamp = is_same, stamp
        if not is_same:
            self._owners.clear()
        gone, ours = _takers(self._root, self._own.journal, names - self._taken, self._journal.is_open)
        self._taken = names - ours
        if gone:
            # Asked again next time: a request that is on its way is answered first.
            self._is_settled = False
            self._journal.give_up(gone)

    def _write_mark_when_due(self) -> None:
        at = self._monotonic()
        if at - self._marked_at < KEEP_SECONDS:
            return
        name = mark_name(self._own.journal)
        try:
            self._root.replace(name, self._own.to_toml())
            self._server_at = self._root.stat(name).st_mtime
        except Unavailable:
            raise
        except OSError as error:
            log.warning("daemon_not_marked", inbox=self._inbox, why=error.strerror or str(error))
            self._server_at = self._now()
        self._marked_at = at

    def _read_others(self, at: float) -> None:
        server_now = self._server_at + (at - self._marked_at)
        seen = marks_in(self._root)
        seen.pop(self._own.journal, None)
        lives = {journal: life_of(one, self._own, server_now) for journal, one in seen.items()}
        is_due = at - self._surveyed_at >= _SURVEY_SECONDS
        if is_due or any(lives.get(one) is not Life.LIVING for one in {*lives, *self._owners.values()}):
            self._surveyed_at = at
            self._read_owners({one for one, life in lives.items() if life is Life.LIVING}, server_now)
        counts, now = Counter(self._owners.values()), self._now()
        found = {
            journal: peer_of(
                self._inbox, journal, seen.get(journal), self._own, counts[journal], server_now, now
            )
            for journal in {*seen, *counts}
        }
        for journal, life in lives.items():
            if life is not Life.LIVING:
                self._tidy(found[journal])
        lost = {peer.journal: peer for peer in found.values() if peer.clips and not peer.is_living}
        for journal in sorted(lost.keys() - self._reported):
            self._journal.report_lost(lost[journal], silence(lost[journal], now))
        self._reported = set(lost)
        self.peers = tuple(peer for peer in by_journal(found.values()) if peer.clips or peer.is_living)

    def _read_owners(self, living: Collection[str], server_now: float) -> None:
        """Read whose the clips are that are not ours; each manifest is read once."""
        try:
            names = set(self._root.names(WORK))
        except FileNotFoundError:
            names = set()
        self._owners = {name: owner for name, owner in self._owners.items() if name in names}
        if new := names - self._owners.keys():
            new -= set(self._journal.known())
        for name in sorted(new)[:_READ_MAX]:
            owner = self._owner_of(name, living, server_now)
            if owner != self._own.journal and is_journal(owner):
                self._owners[name] = owner

    def _owner_of(self, clip_id: str, living: Collection[str], server_now: float) -> str:
        """Return whose a work folder is; empty without a clip in it or a manifest that can be read."""
        with forgiving(OSError, ValueError):
            manifest = read_manifest(self._root, clip_id)
            clip = manifest.clip
            if is_in_work(self._root, clip) or is_claimed(self._root, clip, manifest.kept):
                return manifest.journal
            if manifest.journal not in {*living, self._own.journal}:
                self._clear_copy(manifest, server_now)
        return ""

    def _clear_copy(self, manifest: Manifest, server_now: float) -> None:
        """Remove what a daemon that runs no more was copying from an inbox that is only read, after a day.

        Its journal may be lost, and then nobody else would. A clip that was decided on is left alone.
        """
        clip_id = manifest.clip.id
        age = server_now - self._root.stat(folder_of(clip_id)).st_mtime
        if manifest.kept and age > _COPY_SECONDS and holder_of(self._root, manifest.kept) != clip_id:
            clear_away(self._root, clip_id)
            log.info("copy_removed", inbox=self._inbox, clip=manifest.clip.path, journal=manifest.journal)

    def _tidy(self, peer: Peer) -> None:
        """Remove what a daemon left: its status file once it has ended, its mark once no clips are left."""
        if peer.life is not Life.STOPPED or not peer.clips:
            self._remove_status_file(peer.journal)
        if not peer.clips:
            self._root.remove(mark_name(peer.journal))

    def _remove_status_file(self, journal: str) -> None:
        mark = status_mark(journal[:6]).encode()
        for name in self._root.names():
            is_status = name.startswith("_status") and name.endswith(".txt")
            if is_status and (self._root.read_if_there(name, _STATUS_BYTES_MAX) or b"").startswith(mark):
                self._root.remove(name)


def takers_in(
    root: Root, journal: str, is_open: Callable[[Collection[str]], Collection[str]]
) -> Mapping[str, TakenOver]:
    """Return the open clips of a journal in an inbox that others took over. Raises OSError."""
    names = {name for name in root.names_if_there(TAKEN) if is_journal(name)}
    return _takers(root, journal, names, is_open)[0]


def _takers(
    root: Root, journal: str, names: Collection[str], is_open: Callable[[Collection[str]], Collection[str]]
) -> tuple[Mapping[str, TakenOver], set[str]]:
    """Return who took over which open clips of a journal, and the set of all its open clips."""
    ours = set(is_open(names)) if names else set()
    takers = {clip_id: taker_of(root, clip_id, journal) for clip_id in sorted(ours)}
    return {c: TakenOver(taker, host_of(root, taker)) for c, taker in takers.items() if taker}, ours
