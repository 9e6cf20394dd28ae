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
        self._roots = self._recognised(known)
        """Its folders as the journal recognises them; none as long as nobody has served it."""

    def __call__(self) -> None:
        if self._roots:
            with suppress(OSError):
                self._look()
                return
        # Another node may have served it since, or the operator has accepted another folder.
        self._roots = self._recognised(_known(self._settings)) or self._roots
        self._look()

    def _look(self) -> None:
        if not self._roots:
            os.scandir(self._inbox.path).close()
            return
        ours, *only_read = self._roots
        with ours.folder(OURS) as folder:
            # Mounted read-only, or closed to this machine's user: no stage can end here.
            if not os.access(".", os.W_OK, dir_fd=folder):
                raise PermissionError(errno.EACCES, "it cannot be written to", str(ours.path))
        for origin in only_read:
            with origin.folder() as folder, os.scandir(folder) as entries:
                next(entries, None)

    def _recognised(self, known: Mapping[str, str]) -> list[Root]:
        inbox = self._inbox
        kind = "kept" if inbox.is_read_only else "inbox"
        identity = known.get(f"{kind}:{inbox.name}")
        if identity is None:
            return []
        ours = Root(inbox.home, guard=Guard(kind, identity, lambda _: None))
        return [ours, origin_of(inbox, self._settings, known)] if inbox.is_read_only else [ours]
