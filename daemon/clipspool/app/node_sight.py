"""Finds out which inboxes a node of a farm reaches; another folder in an inbox's place does not count."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping
from contextlib import closing, suppress

from clipspool.app.folders import known_folders, origin_of
from clipspool.app.settings import InboxSettings, Settings
from clipspool.journal import Journal, JournalError
from clipspool.journal.place import read_database
from clipspool.spool.guard import Guard
from clipspool.spool.root import Root
from clipspool.system.atomic import OURS


def looks_of(settings: Settings) -> Mapping[str, Callable[[], None]]:
    """Return a look for each inbox, by its name; it raises OSError where the inbox is not reached."""
    known = _known(settings)
    return {inbox.name: _Look(inbox, settings, known) for inbox in settings.inbox}


def _known(settings: Settings) -> Mapping[str, str]:
    with suppress(JournalError):
        database = read_database(settings.journal.place)
        if database is not None:
            # Nothing is counted: while a file server is away this is asked often.
            with closing(Journal(database)) as journal:
                return known_folders(journal)
    return {}


class _Look:
    """Looks at one inbox again and again, in one thread."""

    def __init__(self, inbox: InboxSettings, settings: Settings, known: Mapping[str, str]) -> None:
        self._inbox, self._settings = inbox, settings
        self._ours: list[tuple[Root, str]] = []
        """As the journal recognises them, and where in them we write; none before it was served."""
        self._only_read: list[Root] = []
        self._recognise(known)

    def __call__(self) -> None:
        if self._ours:
            with suppress(OSError):
                self._look()
                return
        # Another node may have served it since, or the operator has accepted another folder.
        self._recognise(_known(self._settings))
        self._look()

    def _look(self) -> None:
        if not self._ours:
            os.scandir(self._inbox.path).close()
        for root, place in self._ours:
            with root.folder(place) as folder:
                # Mounted read-only, or closed to this machine's user: no stage can end here.
                if not os.access(".", os.W_OK, dir_fd=folder):
                    raise PermissionError(errno.EACCES, "it cannot be written to", str(root.path))
        for root in self._only_read:
            with root.folder() as folder, os.scandir(folder) as entries:
                next(entries, None)

    def _recognise(self, known: Mapping[str, str]) -> None:
        inbox = self._inbox
        # A leader without the outbox could deliver nothing, and perhaps another node can.
        folders = {"inbox": (inbox.path, OURS), "outbox": (inbox.outbox, "")}
        if inbox.is_read_only:
            folders = {"kept": (inbox.home, OURS)}
        identities = {kind: known.get(f"{kind}:{inbox.name}") for kind in folders}
        if identities.get("kept") or identities.get("inbox"):
            self._ours = [
                (Root(path, guard=Guard(kind, identities[kind], lambda _: None)), place)
                for kind, (path, place) in folders.items()
                if identities[kind]
            ]
            self._only_read = [origin_of(inbox, self._settings, known)] if inbox.is_read_only else []
