"""Reads the configuration again for a running daemon, and answers those who asked for it."""

from __future__ import annotations

import queue
from collections.abc import Callable, Sequence
from concurrent.futures import Future

import structlog

from clipspool.app.build import provider_of
from clipspool.app.settings import Settings, SettingsError, changes, load

log = structlog.get_logger()

_SECONDS = 30.0
"""How long a request waits; the control socket answers within 40 s."""


class CannotReload(Exception):
    """The changed configuration was not applied, or not in time; the message says why."""


class Reloads:
    """Requests for a reload, each waiting for its outcome."""

    def __init__(self, wake: Callable[[], None] = lambda: None) -> None:
        """Start without requests; `wake` ends the sleep of the thread that looks for them."""
        self._wake = wake
        self._asked: queue.SimpleQueue[Future[None]] = queue.SimpleQueue()

    def ask(self) -> None:
        """Have the settings read again, from any thread; raises CannotReload."""
        reply: Future[None] = Future()
        self._asked.put(reply)
        self._wake()
        try:
            reply.result(_SECONDS)
        except TimeoutError:
            why = "the daemon is busy; its log shows whether the change was applied"
            raise CannotReload(why) from None

    @property
    def is_asked(self) -> bool:
        """Whether a reload was asked for."""
        return not self._asked.empty()

    def answer(self, reload: Callable[[], Sequence[str]]) -> None:
        """Reload once, and answer all who asked before it began; `reload` returns what changed."""
        waiting = self._waiting()
        try:
            log.info("reloaded", changed=list(reload()))
        except CannotReload as error:
            log.warning("reload_refused", why=str(error))
            for reply in waiting:
                reply.set_exception(_refused(str(error)))
        else:
            for reply in waiting:
                reply.set_result(None)

    def refuse(self, why: str) -> None:
        """Refuse all requests, with a reason."""
        for reply in self._waiting():
            reply.set_exception(_refused(why))

    def _waiting(self) -> list[Future[None]]:
        return [self._asked.get() for _ in range(self._asked.qsize())]


def _refused(why: str) -> CannotReload:
    return CannotReload(f"Nothing was changed: {why}")


def reread(
    settings: Settings, refuse: Callable[[Settings], str] = lambda _new: ""
) -> tuple[Settings, Sequence[str]]:
    """Return the settings as they are written now, and the names of what changed; raises CannotReload.

    `refuse` returns why they cannot be applied, empty where they can.
    """
    try:
        new = load(settings.file)
        provider_of(new)  # its certificates have to be readable before anything is changed
    except SettingsError as error:
        raise CannotReload(str(error)) from error
    if not new.journal_named_by:  # a daemon stays with the journal that it began with
        new = new.with_journal(settings.journal.path)
    change = changes(settings, new)
    if change.restart:
        names = ", ".join(change.restart)
        raise CannotReload(f"a change of {names} needs a restart")
    if why := refuse(new):
        raise CannotReload(why)
    return new, change.live
