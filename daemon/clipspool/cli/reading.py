"""Reads the journal beside a running daemon, and what is known without one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from clipspool import control
from clipspool.cli.group import fail
from clipspool.journal import Journal, JournalError, Lock
from clipspool.settings import Settings


@contextmanager
def open_to_read(settings: Settings) -> Iterator[Journal]:
    """Open the journal for reading; ends the process with a sentence when there is none."""
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
    from clipspool.parts import limits_of
    from clipspool.scheduler import read_brake
    from clipspool.views import Conditions

    now = time.time()
    return Conditions(
        now=now,
        brake=read_brake(journal.fact("brake")),
        paused=frozenset(journal.fact("paused") or ()),
        spend=journal.spent(now // 86_400 * 86_400),
        limits=limits_of(settings),
        is_restored=bool(journal.fact("restored")),
    )


def status_of(settings: Settings) -> dict[str, Any]:
    """Give what `status` shows: from the daemon, or, without one, from the journal and the folders."""
    try:
        return dict(control.ask(settings.journal.path, "status"))
    except control.NoDaemon:
        pass
    except control.Failed as error:
        fail(str(error))
    from clipspool.intake.lying import lying_in
    from clipspool.views import Conditions, InboxView, iso, status_json, text

    inboxes = [
        InboxView(
            inbox.name,
            "unwatched",
            "none",
            "no daemon runs",
            [
                {"path": text(path), "reason": reason, "since": iso(since), "problem": problem}
                for path, reason, since, problem in lying_in(
                    inbox.path, frozenset(inbox.extensions), inbox.ignore
                )
            ],
        )
        for inbox in settings.inbox
    ]
    daemon = {"running": False, "pid": Lock(settings.journal.path).holder(), "since": None}
    if not settings.journal.path.exists():
        return status_json({}, Conditions(time.time()), inboxes, daemon)
    with open_to_read(settings) as journal:
        return status_json(journal.counts, conditions_in(journal, settings), inboxes, daemon)
