"""Keeps the folders of every inbox: creates new ones, recognizes known ones, and hands them to stages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import structlog

from clipspool.app.build import has_portable_names, places_of
from clipspool.app.settings import InboxSettings, Settings
from clipspool.journal import Journal
from clipspool.scheduler.loop import Scheduler
from clipspool.spool.peers import own_mark
from clipspool.spool.root import Guard, Root, Unavailable
from clipspool.spool.watchfolder import Folders

log = structlog.get_logger()

_FOLDERS = "folders"


def known_folders(journal: Journal) -> dict[str, str]:
    """Return the identities of the folders that a journal knows, by `inbox:NAME` and `outbox:NAME`."""
    return dict(journal.fact(_FOLDERS) or {})


class InboxFolders:
    """Holds each inbox's two roots across reloads; the journal keeps the folders' identities."""

    def __init__(
        self,
        journal: Journal,
        path: Path,
        next_turn: Callable[[Callable[[Scheduler], None]], None],
        epoch: int = 0,
    ) -> None:
        """`next_turn` runs a function in the scheduler's next turn; `epoch` is that of the lead in a farm."""
        self.roots: dict[str, tuple[Root, Root]] = {}
        """Inbox and outbox, by the inbox's name."""
        self.journal_id = str(journal.fact("id"))
        self.mark = own_mark(self.journal_id, path, epoch)
        """Identifies this daemon in each inbox."""
        self._identities = known_folders(journal)
        self._next_turn = next_turn

    def of(self, settings: Settings) -> Mapping[str, Folders]:
        """Return the bay of each inbox by the settings."""
        return {inbox.name: self._bay(inbox, settings) for inbox in settings.inbox}

    def accept(self, name: str) -> None:
        """Accept the folders of an inbox as they are now: the operator confirmed them."""
        for root in self.roots[name]:
            try:
                root.bind()
            except Unavailable:
                if root.guard is not None:
                    root.guard.adopt()

    def forget(self, name: str) -> None:
        """Drop an inbox that is not configured any more."""
        self.roots.pop(name)

    def _bay(self, inbox: InboxSettings, settings: Settings) -> Folders:
        if inbox.name not in self.roots:
            self.roots[inbox.name] = (
                self._root(inbox, "inbox", inbox.path),
                self._root(inbox, "outbox", inbox.outbox),
            )
        source, target = self.roots[inbox.name]
        return Folders(
            name=inbox.name,
            inbox=source,
            outbox=target,
            journal=self.journal_id,
            result_name=inbox.result_name,
            has_dated_archive=inbox.archive_dates,
            keeps_sources=inbox.source == "archive",
            places=places_of(settings, inbox),
            is_portable=has_portable_names(settings, inbox),
        )

    def _root(self, inbox: InboxSettings, kind: str, path: Path) -> Root:
        name = f"{kind}:{inbox.name}"
        known = self._identities.get(name)
        if known is None and path.parent.is_dir():
            # Never seen before: a folder to start with, not a mount that is missing.
            try:
                path.mkdir(exist_ok=True)
            except OSError as error:
                log.warning("folder_not_made", path=str(path), why=error.strerror)
        guard = Guard(kind, known, partial(self._remember, name))
        return Root(path, guard=guard, file_mode=inbox.file_mode, folder_mode=inbox.folder_mode)

    def _remember(self, name: str, identity: str) -> None:
        def command(scheduler: Scheduler) -> None:
            self._identities[name] = identity
            scheduler.journal.set_fact(_FOLDERS, self._identities)

        self._next_turn(command)
