"""Reads the journal beside a running daemon, and what is known without one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from clipspool.app import control
from clipspool.app.settings import Settings
from clipspool.cli.group import fail

if TYPE_CHECKING:
    from clipspool.journal import Journal


@contextmanager
def open_to_read(settings: Settings) -> Iterator[Journal]:
    """Open the journal for reading; ends the process with a sentence when there is none."""
    from clipspool.journal import Journal, JournalError

    try:
        journal = Journal.read(settings.journal.path)
    except (JournalError, OSError) as error:
        fail(str(error))
    if journal is None:
        fail(f"There is no journal at {settings.journal.path} yet: `clipspool run` makes it.")
    try:
        yield journal
    finally:
        journal.close()


def conditions_in(journal: Journal, settings: Settings) -> Any:
    """Give what holds jobs back, as the journal has it."""
    from clipspool.app.build import limits_of
    from clipspool.reporting.looking import conditions_in as look

    return look(journal, limits_of(settings), time.time())


def status_of(settings: Settings) -> dict[str, Any]:
    """Give what `status --json` prints: from the daemon, else from the journal and the folders."""
    try:
        return dict(control.ask(settings.journal.path, "status"))
    except control.NoDaemon:
        pass
    except control.Failed as error:
        fail(str(error))
    from clipspool.journal import JournalError  # late: it loads the database's library

    try:
        return without_daemon(settings)
    except JournalError as error:
        fail(str(error))


def without_daemon(settings: Settings, most: int | None = None) -> dict[str, Any]:
    """Give the status as the journal and the folders have it, at most so many waiting clips an inbox.

    Raises JournalError.
    """
    from clipspool.intake.unwatched import clips_in
    from clipspool.jobs.conditions import Conditions
    from clipspool.jobs.text import iso, text
    from clipspool.journal import Journal, Lock
    from clipspool.reporting.status import InboxView, status_json

    inboxes = []
    for inbox in settings.inbox:
        lying = list(clips_in(inbox.path, frozenset(inbox.extensions), inbox.ignore))
        waiting = [
            {"path": text(path), "reason": reason, "since": iso(since), "problem": problem}
            for path, reason, since, problem in lying[:most]
        ]
        view = InboxView(inbox.name, "unwatched", "none", "no daemon runs", waiting, len(lying))
        inboxes.append(view)
    daemon: dict[str, Any] = {
        "running": False,
        "pid": Lock(settings.journal.path).holder(),
        "since": None,
        "troubles": [],
    }
    journal = Journal.read(settings.journal.path)
    if journal is None:
        return status_json({}, Conditions(time.time()), inboxes, daemon)
    try:
        return status_json(journal.counts, conditions_in(journal, settings), inboxes, daemon)
    finally:
        journal.close()
