"""Carries out an operator's command: through the running daemon, or on the journal when none runs."""

from __future__ import annotations

import getpass
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from clipspool.app.settings import InboxSettings, Settings
from clipspool.cli.output import ask_daemon, fail

if TYPE_CHECKING:
    from clipspool.app.commands import Orders
    from clipspool.journal import Journal, Lock
    from clipspool.spool.root import Root
    from clipspool.spool.watchfolder import Folders
    from clipspool.stages.runner import Tools


class OperatorCommands(ExitStack):
    """Carries out commands; raises OperatorError, or ends the process, when one cannot be carried out.

    Leaving its block closes the journal.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self._settings = settings
        self.is_running = False
        """Whether a running daemon carried it out; else the next one reads it from the journal."""
        self._orders: Orders | None = None

    def do(self, name: str, /, *, makes: bool = False, **arguments: Any) -> Any:
        """Carry out a command: by the daemon, else by the farm's leader, else here.

        With `makes` a missing journal is created, where clips lie in the inboxes.
        """
        answer = ask_daemon(self._settings.journal.path, name, **arguments)
        if answer is None:
            answer = self._ask_leader(name, arguments)
        if answer is not None:
            self.is_running = True
            return answer[0]
        from clipspool.scheduler.commands import NotDone

        try:
            if self._orders is None:
                self._orders = self._own_orders(makes=makes)
            return self._orders.answer(name, arguments)
        except NotDone as error:
            fail(str(error))
        except OSError as error:
            if not makes:
                raise
            fail(f"an inbox cannot be read: {error}")

    def _ask_leader(self, name: str, arguments: Mapping[str, Any]) -> tuple[Any] | None:
        """Have the farm's leader carry it out; None where there is no farm, or no node leads."""
        from clipspool.journal import Address
        from clipspool.journal.place import require_driver

        place = self._settings.journal.place
        if not isinstance(place, Address):
            return None
        require_driver()
        from clipspool.app import farm_client
        from clipspool.farm.nodes import leader_of

        if leader_of(farm_client.nodes(place)) is None:
            return None
        return (farm_client.order(self._settings, place, name, arguments),)

    def _hold_clips(self) -> bool:
        """Whether clips of any journal are in the inboxes' work folders, or may be."""
        from clipspool.spool.peers import own_mark
        from clipspool.spool.takeover import others_in

        own = own_mark("", self._settings.journal.path)
        with suppress(OSError):
            return any(others_in(one.name, self._root(one), own, set()) for one in self._settings.inbox)
        return True

    def _root(self, inbox: InboxSettings) -> Root:
        from clipspool.spool.root import Root

        return Root(inbox.home, file_mode=inbox.file_mode, folder_mode=inbox.folder_mode)

    def _folders(self, journal: Journal) -> dict[str, Folders]:
        """Return the folders of each inbox; one that is only read is recognised by what the journal knows."""
        from clipspool.app.build import places_of
        from clipspool.app.folders import known_folders, origin_of
        from clipspool.spool.root import Root
        from clipspool.spool.watchfolder import Folders

        known = known_folders(journal)
        return {
            one.name: Folders(
                one.name,
                self._root(one),
                Root(one.outbox, file_mode=one.file_mode, folder_mode=one.folder_mode),
                origin=origin_of(one, self._settings, known) if one.is_read_only else None,
                places=places_of(self._settings, one),
            )
            for one in self._settings.inbox
        }

    def _tools(self, folders: Mapping[str, Folders]) -> Tools:
        from clipspool.app.build import follows, provider_of
        from clipspool.app.shipping import depot_of
        from clipspool.provider.catalog import Catalog
        from clipspool.stages.runner import Tools

        settings = self._settings
        provider = provider_of(settings)
        follow = follows(lambda: provider, partial(provider_of, settings), settings.provider.addresses)
        return Tools(folders, provider, Catalog.load(settings.models), depot_of(settings, b""), follow)

    def _own_orders(self, *, makes: bool) -> Orders:
        """Open the journal, and return what carries out commands on it."""
        from clipspool.app.commands import Orders
        from clipspool.journal.looks import Window
        from clipspool.scheduler.housekeeping import Housekeeping
        from clipspool.scheduler.mailbox import Command
        from clipspool.spool.peers import own_mark

        scheduler = self._own_scheduler(makes=makes)

        def ask(command: Callable[[Any], Any]) -> Any:
            reply: Future[Any] = Future()
            scheduler.enqueue(Command(command, reply))
            scheduler.turn()
            return reply.result(0)

        window = Window(self._settings.journal.place)
        self.callback(window.close)
        folders = self._folders(scheduler.journal)
        return Orders(
            ask,
            cache(lambda: self._tools(folders)),
            lambda: self._settings,
            own_mark(str(scheduler.journal.fact("id")), self._settings.journal.path),
            Housekeeping(ask, window.look, time.time),
        )

    def _own_scheduler(self, *, makes: bool) -> Any:
        """Open the journal, and record what happened to it since a daemon ran."""
        from clipspool.app.build import CannotStart, pace_of, provider_of
        from clipspool.app.noting import LedgerNotes
        from clipspool.scheduler import commands
        from clipspool.scheduler.loop import Scheduler

        # One is made only for clips: made as another user, it would hide that the right one was not found.
        has_clips = makes and self._hold_clips()
        try:
            journal, lock, lost_lead, now = self._open_journal(makes=has_clips)
        except CannotStart as error:
            no_clips = "No inbox holds clips to take over. " if makes and not has_clips else ""
            fail(f"{no_clips}{error}")
        profile = provider_of(self._settings).profile
        # No work may be handed out here: a turn only records.
        pace = pace_of(self._settings)
        scheduler = Scheduler(journal, _NoWork(), profile=profile, pace=pace, now=now, is_draining=True)
        folders = cache(lambda: self._folders(journal))
        scheduler.subscribe(LedgerNotes(folders, str(journal.fact("id")), lambda work: work()).on_news)
        scheduler.allow(self._settings.inbox_names, self._settings.limits)
        scheduler.begin(scheduler.picker.inboxes, is_excused=lock.was_excused, lost_lead=lost_lead)
        cut_short = self._what_came_of_cut_short(scheduler)
        scheduler.call_soon(lambda scheduler: scheduler.cut_short.settle(cut_short))
        # Clips that another machine took over must not be reported as queued here.
        scheduler.call_soon(lambda scheduler: commands.give_up(scheduler, self._taken_over(scheduler)))
        scheduler.turn()
        return scheduler

    def _open_journal(
        self, *, makes: bool
    ) -> tuple[Journal, Lock, tuple[str, float] | None, Callable[[], float]]:
        """Open the journal for a command, with its clock; in a farm this process leads until it is done."""
        from clipspool.app.build import open_journal
        from clipspool.journal import Address

        place = self._settings.journal.place
        if not isinstance(place, Address):
            journal, lock = open_journal(self._settings, makes=makes, gives_away=True)
            self.callback(lock.release)
            self.callback(journal.close)
            return journal, lock, None, time.time
        from clipspool.app.farm_client import BriefLead
        from clipspool.app.node import lost_lead

        lead = BriefLead(self._settings, place, makes=makes)
        self.callback(lead.close)
        self.callback(lead.journal.close)
        return lead.journal, lead.lock, lost_lead(lead.lease, self._settings), lead.lease.now

    def _taken_over(self, scheduler: Any) -> dict[str, Any]:
        from clipspool.scheduler import commands
        from clipspool.spool.neighbours import takers_in

        found: dict[str, Any] = {}
        for inbox in self._settings.inbox:
            with suppress(OSError):
                journal_id = str(scheduler.journal.fact("id"))
                is_open = partial(commands.open_clips, scheduler)
                found |= takers_in(self._root(inbox), journal_id, is_open)
        return found

    def _what_came_of_cut_short(self, scheduler: Any) -> dict[str, Any]:
        """Read the work folders, as a starting daemon does: a command must know the state of a job."""
        from clipspool.jobs.model import State
        from clipspool.spool.guard import Unavailable
        from clipspool.spool.recovery import what_came_of
        from clipspool.spool.send_marks import left_waiting

        roots = {inbox.name: self._root(inbox) for inbox in self._settings.inbox}
        journal_id = str(scheduler.journal.fact("id"))
        found = scheduler.journal.find(states=(State.SUBMITTING,))
        waiting = left_waiting(self._settings.journal.path)
        outcomes: dict[str, Any] = {}
        for job in found:
            # Where the inbox is away, the next start of the daemon looks for as long as it needs.
            with suppress(KeyError, Unavailable):
                outcomes[job.id] = what_came_of(roots[job.inbox], job, waiting, journal_id)
        return outcomes


class _NoWork:
    """Stands for the stages; no work is handed out to it."""

    def work(self, *_: Any) -> Any:
        raise NotImplementedError

    retire = sweep = run_hook = work


def operator_name() -> str:
    """Return who gives a command, and from where, for the history: `ann@edit-3 (pts/1)`."""
    user = "operator"
    with suppress(OSError, KeyError):
        user = getpass.getuser()
    terminal = ""
    with suppress(OSError, ValueError):
        terminal = f" ({os.ttyname(sys.stdin.fileno()).removeprefix('/dev/')})"
    return f"{user}@{socket.gethostname()}{terminal}"
