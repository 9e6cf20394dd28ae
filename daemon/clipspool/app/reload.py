"""Reads the configuration again for a running daemon, and answers those who asked for it."""

from __future__ import annotations

import queue
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from clipspool.app.settings import Settings, SettingsError, changes, load


class CannotReload(Exception):
    """The changed configuration cannot be applied; the message says why, and nothing was changed."""


class Reloads:
    """Requests for a reload, each waiting for its outcome: empty when it was applied, else why not."""

    def __init__(self, wake: Callable[[], None] = lambda: None) -> None:
        """Start without requests; `wake` ends the sleep of the thread that looks for them."""
        self._wake = wake
        self._asked: queue.SimpleQueue[Future[str]] = queue.SimpleQueue()

    def ask(self) -> Future[str]:
        """Ask for a reload; any thread may."""
        reply: Future[str] = Future()
        self._asked.put(reply)
        self._wake()
        return reply

    @property
    def is_asked(self) -> bool:
        """Whether a reload was asked for."""
        return not self._asked.empty()

    def answer(self, reload: Callable[[], str]) -> None:
        """Reload once, and answer all who asked before it began."""
        waiting = [self._asked.get() for _ in range(self._asked.qsize())]
        why = reload()
        for reply in waiting:
            reply.set_result(why)

    def refuse(self, why: str) -> None:
        """Refuse all requests, with a reason."""
        self.answer(lambda: why)


def reread(
    settings: Settings, refuse: Callable[[Settings], str] = lambda _new: ""
) -> tuple[Settings, Sequence[str]]:
    """Return the settings as they are written now, and the names of what changed; raises CannotReload.

    `refuse` returns why they cannot be applied, empty where they can.
    """
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
    if why := refuse(new):
        raise CannotReload(why)
    return new, change.live
