"""Reads the configuration again for a running daemon, and tells who asked what came of it."""

from __future__ import annotations

import queue
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from clipspool.app.settings import Settings, SettingsError, changes, load


class CannotReload(Exception):
    """The changed configuration cannot be taken up; the message says why, and nothing was changed."""


class Reloads:
    """Who asked for a reload and waits for its outcome: empty when all was taken up, else why not."""

    def __init__(self) -> None:
        """Nobody waits yet."""
        self._asked: queue.SimpleQueue[Future[str]] = queue.SimpleQueue()

    def ask(self) -> Future[str]:
        """Ask for one; any thread may."""
        reply: Future[str] = Future()
        self._asked.put(reply)
        return reply

    @property
    def is_asked(self) -> bool:
        """Whether somebody waits."""
        return not self._asked.empty()

    def answer(self, reload: Callable[[], str]) -> None:
        """Reload once, and tell all who had asked before it began."""
        waiting = [self._asked.get() for _ in range(self._asked.qsize())]
        why = reload()
        for reply in waiting:
            reply.set_result(why)

    def refuse(self, why: str) -> None:
        """Tell all who wait that nothing comes of it."""
        self.answer(lambda: why)


def reread(settings: Settings) -> tuple[Settings, Sequence[str]]:
    """Give the settings as they are written now, and the names of what changed; raises CannotReload."""
    try:
        new = load(settings.file)
    except SettingsError as error:
        raise CannotReload(str(error)) from error
    if not new.journal_named_by:  # a daemon stays with the journal that it began with
        new = new.with_journal(settings.journal.path)
    change = changes(settings, new)
    if change.restart:
        names = ", ".join(change.restart)
        raise CannotReload(f"a change of {names} needs a restart; nothing was changed")
    return new, change.live
