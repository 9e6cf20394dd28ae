"""Keeps the folders of every inbox: creates new ones, recognizes known ones, and hands them to stages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import structlog

from clipspool.app.build import CannotStart, has_portable_names, places_of
from clipspool.app.settings import InboxSettings, Settings
from clipspool.journal import Address, Journal
from clipspool.scheduler.loop import Scheduler
from clipspool.spool.guard import Guard, MountGuard, Unavailable
from clipspool.spool.peers import own_mark
from clipspool.spool.root import Root
from clipspool.spool.watchfolder import Folders

log = structlog.get_logger()

_FOLDERS = "folders"


def known_folders(journal: Journal) -> dict[str, str]:
    """Return the identities of the folders that a journal knows, by `inbox:NAME` and `outbox:NAME`."""
    return dict(journal.fact(_FOLDERS) or {})


def origin_of(
    inbox: InboxSettings,
    settings: Settings,
    known: Mapping[str, str],
    remember: Callable[[str, str], None] = lambda _name, _identity: None,
) -> Root:
    """Return an inbox that is only read, as it is recognised; `known` has what the journal knows."""
    # Each node of a farm may reach the folder by another protocol.
    node = f"@{settings.farm.name}" if isinstance(settings.journal.place, Address) else ""
    name = f"mount:{inbox.name}{node}"
    is_served_elsewhere = any(one.startswith(f"mount:{inbox.name}@") for one in known.keys() - {name})
    guard = MountGuard(known.get(name), partial(remember, name), is_served_elsewhere=is_served_elsewhere)
    return Root(inbox.path, guard=guard)


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
        self.origins: dict[str, Root] = {}
        """The inboxes that are only read, by name; what is ours of them lies in their outbox."""
        self._journal = journal
        self._identities = known_folders(journal)
        self._next_turn = next_turn

    def of(self, settings: Settings) -> Mapping[str, Folders]:
        """Return the folders of each inbox by the settings."""
        return {inbox.name: self._of(inbox, settings) for inbox in settings.inbox}

    def served(self, settings: Settings) -> Mapping[str, Folders]:
        """Return the folders of the inboxes that a leader has served: another may be an empty mount point."""
        names = {key.partition(":")[2] for key in self._identities if key.startswith(("inbox:", "kept:"))}
        return {one.name: self._of(one, settings) for one in settings.inbox if one.name in names}

    def accept(self, name: str) -> None:
        """Accept the folders of an inbox as they are now: the operator confirmed them."""
        origin = self.origins.get(name)
        for root in (*self.roots[name], *([origin] if origin is not None else [])):
            try:
                root.bind()
            except Unavailable:
                if root.guard is not None:
                    root.guard.adopt()

    def forget(self, name: str) -> None:
        """Drop an inbox that is not configured any more."""
        self.roots.pop(name)
        self.origins.pop(name, None)

    def refuse_moved(self, settings: Settings) -> str:
        """Return why an inbox cannot be served: clips are under way from before `source` changed.

        Their work folders would not be found in the other place. Empty where all can be.
        """
        for inbox in settings.inbox:
            before = f"inbox:{inbox.name}" if inbox.is_read_only else f"kept:{inbox.name}"
            if before in self._identities and (ids := self._journal.folders(inbox.name)):
                were = 'before source = "keep" was set' if inbox.is_read_only else 'with source = "keep"'
                number = f"{len(ids):,} clip{'s' * (len(ids) != 1)}"
                return (
                    f"The inbox {inbox.name} still has {number} accepted {were}: set `source` as it was, let "
                    "`clipspool run --until-idle` finish them, and change it then."
                )
        return ""

    def expect_settled(self, settings: Settings) -> None:
        """Raise CannotStart where `refuse_moved` says why; else forget how inboxes were recognised before."""
        if why := self.refuse_moved(settings):
            raise CannotStart(why)
        kinds = ("inbox",), ("kept", "mount")
        former = {
            f"{kind}:{inbox.name}" for inbox in settings.inbox for kind in kinds[not inbox.is_read_only]
        }
        if gone := [name for name in self._identities if name.partition("@")[0] in former]:
            for name in gone:
                del self._identities[name]
            with self._journal.turn():
                self._journal.set_fact(_FOLDERS, self._identities)

    def _of(self, inbox: InboxSettings, settings: Settings) -> Folders:
        if inbox.name not in self.roots:
            kind = "kept" if inbox.is_read_only else "inbox"
            self.roots[inbox.name] = (
                self._root(inbox, kind, inbox.home),
                self._root(inbox, "outbox", inbox.outbox),
            )
            if inbox.is_read_only:
                self.origins[inbox.name] = origin_of(inbox, settings, self._identities, self._remember)
        source, target = self.roots[inbox.name]
        for root in (source, target):  # those of before a reload
            root.file_mode, root.folder_mode = inbox.file_mode, inbox.folder_mode
        return Folders(
            name=inbox.name,
            inbox=source,
            outbox=target,
            origin=self.origins.get(inbox.name),
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
