"""Reads the journal beside a running daemon, and shows what is known without one."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from clipspool.app import control
from clipspool.app.settings import InboxSettings, Settings
from clipspool.cli.output import fail, utf8
from clipspool.intake.unwatched import clips_in
from clipspool.jobs.conditions import Conditions
from clipspool.jobs.text import iso, text
from clipspool.jobs.working import Working
from clipspool.journal import Journal, JournalError, Lock, NoJournal
from clipspool.journal.looks import Window
from clipspool.reporting.looking import account_in, conditions_in, jobs_in_view
from clipspool.reporting.status import InboxView, status_json

if TYPE_CHECKING:
    from clipspool.jobs.model import Job


@contextmanager
def open_to_read(settings: Settings) -> Iterator[Journal]:
    """Open the journal for reading; ends the process with a sentence when there is none."""
    try:
        journal = Journal.read(settings.journal.place)
    except OSError as error:
        fail(str(error))
    if journal is None:
        fail(str(NoJournal(settings.journal.place)))
    with closing(journal):
        yield journal


def expect_inbox(settings: Settings, journal: Journal, inbox: str | None) -> None:
    """End the process with a sentence where an inbox is neither configured nor has jobs in the journal."""
    if inbox is None or inbox in settings.inbox_names:
        return
    if inbox != utf8(inbox) or not journal.ids(inbox=inbox, most=1):
        fail(f"There is no inbox {inbox}; configured: {', '.join(settings.inbox_names)}.")


def job_in(journal: Journal, job_id: str) -> Job:
    """Return a job, or end the process with a sentence when there is none of that id."""
    job = journal.job(job_id)
    if job is None:
        fail(f"There is no job {job_id}; `clipspool jobs` lists them.")
    return job


def working_now(settings: Settings) -> dict[str, Working]:
    """Ask the daemon what it does at this moment, by job; nothing where none answers."""
    with suppress(control.NoDaemon, control.CommandFailed):
        answer = control.ask(settings.journal.path, "working")
        return {job_id: Working.from_dict(one) for job_id, one in answer.items()}
    return {}


def without_daemon(
    settings: Settings, most: int | None = None, *, expects_journal: bool = True
) -> dict[str, Any]:
    """Return what `status --json` prints without a daemon, at most `most` waiting clips of each inbox.

    Raises JournalError, also where there is no journal yet and one is expected.
    """
    from clipspool.journal import Address
    from clipspool.journal.place import require_driver

    place = settings.journal.place
    if not isinstance(place, Address):
        return _without_any(settings, most, expects_journal=expects_journal)
    require_driver()
    from clipspool.app import farm_client
    from clipspool.farm.nodes import leader_of, node_json

    nodes = farm_client.nodes(place)
    if leader_of(nodes) is not None:
        return farm_client.status(settings, place)
    found = _without_any(settings, most, expects_journal=expects_journal)
    return {**found, "nodes": [node_json(one) for one in nodes]}


def _without_any(settings: Settings, most: int | None, *, expects_journal: bool) -> dict[str, Any]:
    holder = Lock(settings.journal.path).holder()
    why = "no daemon runs" if holder is None else "the daemon does not answer"
    inboxes = []
    for inbox in settings.inbox:
        lying = list(clips_in(inbox.path, frozenset(inbox.extensions), inbox.ignore, _is_new_in(inbox)))
        waiting = [
            {
                "path": text(path),
                "reason": "see the note beside it" if problem else why,
                "since": iso(since),
                "problem": problem,
            }
            for path, since, problem in lying[:most]
        ]
        inboxes.append(InboxView(inbox.name, "unwatched", "none", why, waiting, len(lying)))
    daemon: dict[str, Any] = {"running": False, "pid": holder, "since": None, "troubles": []}
    journal = Journal.read(settings.journal.place)
    if journal is None:
        if expects_journal:
            raise NoJournal(settings.journal.place)
        return status_json({}, Conditions(time.time()), inboxes, daemon)
    with closing(journal):
        return status_json(
            journal.counts,
            conditions_in(journal, settings.limits, time.time()),
            inboxes,
            daemon,
            account=account_in(journal),
        )


def _is_new_in(inbox: InboxSettings) -> Callable[[str, os.stat_result], bool]:
    """Return a test for clips that are still to be accepted; in a read-only inbox accepted ones stay."""
    if not inbox.is_read_only:
        return lambda _rel, _there: True
    from clipspool.spool.kept import Memory
    from clipspool.spool.root import Root

    memory = Memory(Root(inbox.home))
    with suppress(OSError):
        memory.load(makes=False)
    return lambda rel, there: not memory.holds(rel, {rel: (there.st_size, there.st_mtime_ns)})


class Offline:
    """Looks again and again at a journal that no daemon answers for; for one thread."""

    def __init__(self, settings: Settings, *, expects_journal: bool = False) -> None:
        self._settings, self._expects_journal = settings, expects_journal
        self._window = Window(settings.journal.place)

    def close(self) -> None:
        """Close the journal."""
        self._window.close()

    def status(self, most: int) -> tuple[Mapping[str, Any], str]:
        """Return what `status --json` prints, and what went wrong; empty where nothing did."""
        try:
            return without_daemon(self._settings, most, expects_journal=self._expects_journal), ""
        except JournalError as error:
            return {}, str(error)

    def jobs(self, now: float, most: int) -> tuple[Mapping[str, Any], str]:
        """Return the jobs to draw, none where there is no journal yet, and what went wrong."""
        try:
            with self._window.look() as journal:
                return jobs_in_view(journal, self._settings.limits, now, most), ""
        except NoJournal:
            return {}, ""
        except JournalError as error:
            return {}, str(error)
