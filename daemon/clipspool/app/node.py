"""Runs the daemon, and runs it anew where the journal's database was lost.

A term that lost its database ends as a crash ends it: nothing more is sent, answers under way go to the
ledgers, and the process replaces itself. No thread of the old term can act beside the new one, which begins
by reading the journal, so that a commit of unknown end is known then.
"""

from __future__ import annotations

import os
import sys
import time

import structlog

from clipspool.app.build import CannotStart
from clipspool.app.daemon import Daemon
from clipspool.app.settings import Settings
from clipspool.journal import JournalError, JournalUnreachable
from clipspool.journal.place import why_unreachable
from clipspool.system.signals import Signals
from clipspool.system.systemd import Service

log = structlog.get_logger()

_LOOK_SECONDS = 0.5
_SAY_SECONDS = 60.0


def run(settings: Settings, *, until_idle: bool = False, accept_restored: bool = False) -> None:
    """Run the daemon once its journal can be reached; returns at SIGTERM and the like.

    Raises CannotStart and JournalError. Where the connection to the database is lost it does not return: the
    process begins again.
    """
    if not _await_journal(settings):
        return
    try:
        Daemon(settings).run(until_idle=until_idle, accept_restored=accept_restored)
    except JournalUnreachable as error:
        log.warning("journal_lost", why=str(error))
        _begin_anew()


def _await_journal(settings: Settings) -> bool:
    """Wait until the journal's server answers; False where the process has to end before."""
    if not _why_unreachable(settings):
        return True
    signals, service = Signals(lambda: None), Service()
    signals.install()
    said_at = -_SAY_SECONDS
    while why := _why_unreachable(settings):
        now = time.monotonic()
        if now - said_at >= _SAY_SECONDS:
            log.warning("journal_awaited", why=why)
            said_at = now
        service.ready(f"nothing is sent: {why}")
        service.watchdog()
        signals.wants_reload()  # it also notices a closed terminal
        if signals.stopping.wait(_LOOK_SECONDS):
            return False
    signals.remove()
    return not signals.stopping.is_set()


def _why_unreachable(settings: Settings) -> str:
    try:
        return why_unreachable(settings.journal.place)
    except JournalError as error:
        raise CannotStart(str(error)) from error


def _begin_anew() -> None:
    """Replace this process by a new one with the same number and command."""
    # A journal that was restored was accepted as it was then: what the database lost since is another matter.
    words = [word for word in sys.orig_argv[1:] if word != "--accept-restored"]
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.orig_argv[0], *words])  # noqa: S606 - our own command
