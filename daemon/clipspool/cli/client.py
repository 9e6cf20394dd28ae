"""Carries out an operator's command: through the running daemon, or on the journal when none runs."""

from __future__ import annotations

import getpass
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from clipspool.app.settings import InboxSettings, Settings
from clipspool.cli.output import ask_daemon, fail

if TYPE_CHECKING:
    from clipspool.journal import Journal, Lock
    from clipspool.spool.root import Root


class OperatorCommands(ExitStack):
    """Carries out commands; raises OperatorError, or ends the process, when one cannot be carried out.

    Leaving its block closes the journal.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self._settings = settings
        self.is_running = False
        """Whether a running daemon carried it out; else the next one reads it from the journal."""
        self._scheduler: Any = None

    def do(self, name: str, **arguments: Any) -> Any:
        """Carry out a command by its name in `scheduler.commands.COMMANDS`."""
        from clipspool.scheduler import commands

        return self._carry_out(
            name, lambda scheduler: commands.COMMANDS[name](scheduler, **arguments), arguments
        )

    def attach(self, **arguments: Any) -> list[dict[str, Any]]:
        """Attach a task to a job, after the provider was asked about it."""

        def command(scheduler: Any) -> Any:
            from clipspool.app.attaching import AttachTools, attach
            from clipspool.app.build import follows, provider_of

            current, settings = provider_of(self._settings), self._settings
            follow = follows(lambda: current, partial(provider_of, settings), settings.provider.addresses)
            # No other process has this journal: asking within the turn delays nobody.
            return attach(AttachTools(lambda do: do(scheduler), follow, self._folders), **arguments)

        return list(self._carry_out("attach", command, arguments))

    def again(self, **arguments: Any) -> list[dict[str, Any]]:
        """Run clips once more, changed; with `dry_run` only say what that would be, and cost."""

        def command(scheduler: Any) -> Any:
            from clipspool.app.again import AgainTools, again
            from clipspool.app.shipping import depot_of
            from clipspool.provider.catalog import Catalog
            from clipspool.stages.quoting import Quoting

            quoting = Quoting(Catalog.load(self._settings.models), depot_of(self._settings, b"").ways)
            return again(
                AgainTools(lambda do: do(scheduler), quoting, self._folders, self._settings.presets),
                **arguments,
            )

        return list(self._carry_out("again", command, arguments))

    def choose(self, **arguments: Any) -> list[dict[str, Any]]:
        """Mark delivered jobs as the chosen version of their clips, or take that back."""

        def command(scheduler: Any) -> Any:
            from clipspool.app.choosing import choose

            return choose(lambda do: do(scheduler), self._folders, **arguments)

        return list(self._carry_out("choose", command, arguments))

    def balance(self) -> Mapping[str, Any] | None:
        """Ask the provider what the account has left, for 10 s at most; None where it does not tell."""

        def command(_scheduler: Any) -> Any:
            from clipspool.app.build import provider_of
            from clipspool.jobs.account import balance_json

            return balance_json(provider_of(self._settings).ask_balance())

        found: Mapping[str, Any] | None = self._carry_out("balance", command, {})
        return found

    def others(self) -> list[Any]:
        """Return the other daemons that have clips in the inboxes."""
        from clipspool.jobs.model import plain
        from clipspool.spool.takeover import read_peer

        def command(scheduler: Any) -> list[dict[str, Any]]:
            return [plain(peer) for peer in self._others(scheduler.journal)]

        return [read_peer(one) for one in self._carry_out("others", command, {}, makes=True)]

    def recover(self, journals: Sequence[str]) -> int:
        """Take over what these journals left in the work folders, and what a crash left of this one's."""
        from clipspool.spool.recovery import adoptable
        from clipspool.spool.takeover import refuse_living

        def command(scheduler: Any) -> int:
            refuse_living(self._others(scheduler.journal), journals)
            taken_over = 0
            for inbox in self._settings.inbox:
                known = scheduler.journal.folders(inbox.name)
                entered = scheduler.journal.known
                journal_id = str(scheduler.journal.fact("id"))
                found = adoptable(inbox.name, self._root(inbox), journal_id, known, entered, journals)
                taken_over += scheduler.accept(found)
            return taken_over

        return int(self._carry_out("recover", command, {"journals": list(journals)}, makes=True))

    def prune(self, *, dry_run: bool) -> dict[str, Any]:
        """Remove what `[retention]` does not keep, or count it."""
        asked = {"dry_run": dry_run}
        answer = ask_daemon(self._settings.journal.path, "prune", **asked) or self._ask_leader("prune", asked)
        if answer is not None:
            return dict(answer[0])
        from clipspool.app.housekeeping import report_json, retention_of, roots_of
        from clipspool.journal.looks import Window
        from clipspool.scheduler.housekeeping import Housekeeping

        window = Window(self._settings.journal.place)
        self.callback(window.close)
        # Each step is a turn of its own: what is to be removed is recorded first.
        house = Housekeeping(partial(self._by_ourselves, makes=False), window.look, time.time)
        reports = house.run(retention_of(self._settings), *roots_of(self._settings, window), dry_run=dry_run)
        return report_json(reports, dry_run=dry_run)

    def _carry_out(
        self, name: str, command: Callable[[Any], Any], arguments: Mapping[str, Any], *, makes: bool = False
    ) -> Any:
        """Ask the daemon; where none runs, run the command here, with `makes` on a new journal too."""
        answer = ask_daemon(self._settings.journal.path, name, **arguments)
        if answer is None:
            answer = self._ask_leader(name, arguments)
        if answer is not None:
            self.is_running = True
            return answer[0]
        from clipspool.scheduler.commands import NotDone

        try:
            return self._by_ourselves(command, makes=makes)
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

    def _others(self, journal: Journal | None) -> list[Any]:
        """Find the daemons with clips in the inboxes besides that of `journal`; without one, all."""
        from clipspool.spool.peers import own_mark
        from clipspool.spool.takeover import others_in

        own = own_mark(str(journal.fact("id")) if journal else "", self._settings.journal.path)
        return [
            peer
            for inbox in self._settings.inbox
            for peer in others_in(
                inbox.name, self._root(inbox), own, journal.folders(inbox.name) if journal else set()
            )
        ]

    def _hold_clips(self) -> bool:
        """Whether clips of any journal are in the inboxes' work folders, or may be."""
        try:
            return bool(self._others(None))
        except OSError:
            return True

    def _root(self, inbox: InboxSettings) -> Root:
        from clipspool.spool.root import Root

        return Root(inbox.home, file_mode=inbox.file_mode, folder_mode=inbox.folder_mode)

    def _folders(self, name: str) -> Any:
        from clipspool.app.build import places_of
        from clipspool.spool.root import Root
        from clipspool.spool.watchfolder import Folders

        for inbox in self._settings.inbox:
            if inbox.name == name:
                outbox = Root(inbox.outbox, file_mode=inbox.file_mode, folder_mode=inbox.folder_mode)
                origin = Root(inbox.path) if inbox.is_read_only else None
                places = places_of(self._settings, inbox)
                return Folders(name, self._root(inbox), outbox, origin=origin, places=places)
        return None

    def _by_ourselves(self, command: Callable[[Any], Any], *, makes: bool) -> Any:
        if self._scheduler is None:
            self._scheduler = self._own_scheduler(makes=makes)
        scheduler = self._scheduler
        from concurrent.futures import Future

        from clipspool.scheduler.mailbox import Command

        reply: Future[Any] = Future()
        scheduler.enqueue(Command(command, reply))
        scheduler.turn()
        return reply.result(0)

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
        notes = LedgerNotes(self._folders, str(journal.fact("id")), lambda work: work())
        scheduler.subscribe(notes.on_news)
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
