"""Carries out an operator's command: through the running daemon, or on the journal when there is none."""

from __future__ import annotations

import getpass
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from clipspool.app import control
from clipspool.app.settings import InboxSettings, Settings
from clipspool.cli.group import fail

if TYPE_CHECKING:
    from clipspool.spool.root import Root


class Desk:
    """A place to give commands. Ends the process with a sentence when one cannot be carried out."""

    def __init__(self, settings: Settings) -> None:
        """Take the settings that say where the journal is."""
        self._settings = settings
        self.was_heard = False
        """Whether a daemon that runs did it; else it stands in the journal for the next one."""
        self._close: list[Callable[[], object]] = []
        self._scheduler: Any = None

    def __enter__(self) -> Self:
        """Nothing is opened before it is needed."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        """Give the journal back."""
        for close in reversed(self._close):
            close()

    def do(self, command: str, **arguments: Any) -> Any:
        """Give a command by its name in `app.COMMANDS`."""
        try:
            answer = control.ask(self._settings.journal.path, command, **arguments)
        except control.NoDaemon:
            pass
        except control.Failed as error:
            fail(str(error))
        else:
            self.was_heard = True
            return answer
        from clipspool.scheduler import commands as operator

        try:
            return self._by_ourselves(lambda scheduler: operator.COMMANDS[command](scheduler, **arguments))
        except operator.Refused as error:
            fail(str(error))

    def attach(self, **arguments: Any) -> list[dict[str, Any]]:
        """Let a job follow a task, once the provider was asked about it."""
        try:
            answers: list[dict[str, Any]] = control.ask(self._settings.journal.path, "attach", **arguments)
        except control.NoDaemon:
            return self._attach_by_ourselves(arguments)
        except control.Failed as error:
            fail(str(error))
        self.was_heard = True
        return answers

    def _attach_by_ourselves(self, arguments: Mapping[str, Any]) -> list[dict[str, Any]]:
        from clipspool.app.attaching import attach
        from clipspool.app.build import older_address, provider_of
        from clipspool.scheduler import commands as operator

        current = provider_of(self._settings)

        def follow(profile: str) -> Any:
            address = older_address(profile, current.profile)
            return None if address is None else provider_of(self._settings, address or None)

        try:
            # Nobody else is at this journal: asking within the turn keeps nobody waiting.
            return list(
                self._by_ourselves(lambda scheduler: attach(lambda do: do(scheduler), follow, **arguments))
            )
        except operator.Refused as error:
            fail(str(error))

    def others(self) -> list[Any]:
        """Return the other daemons that have clips in the inboxes."""
        from clipspool.jobs.model import plain
        from clipspool.spool.takeover import read_peer

        def look(scheduler: Any) -> list[dict[str, Any]]:
            return [plain(peer) for peer in self._others(scheduler)]

        return [read_peer(one) for one in self._asked("others", look)]

    def recover(self, journals: Sequence[str]) -> int:
        """Take on what these journals left in the work folders, and what a crash left of this one's."""
        from clipspool.scheduler import commands as operator
        from clipspool.spool.recovery import adoptable
        from clipspool.spool.takeover import refuse_living

        def command(scheduler: Any) -> int:
            refuse_living(self._others(scheduler), journals)
            taken = 0
            for inbox in self._settings.inbox:
                known = operator.known_folders(scheduler, inbox.name)
                entered = partial(operator.entered_clips, scheduler)
                journal_id = str(scheduler.journal.fact("id"))
                found = adoptable(inbox.name, self._root(inbox), journal_id, known, entered, journals)
                taken += operator.take_on(scheduler, found)
            return taken

        return int(self._asked("recover", command, journals=list(journals)))

    def _asked(self, do: str, command: Callable[[Any], Any], **arguments: Any) -> Any:
        """Ask the daemon, and where there is none, do it here."""
        try:
            return control.ask(self._settings.journal.path, do, **arguments)
        except control.NoDaemon:
            pass
        except control.Failed as error:
            fail(str(error))
        from clipspool.spool.takeover import Refused

        try:
            return self._by_ourselves(command, makes=True)
        except Refused as error:
            fail(str(error))
        except OSError as error:
            fail(f"an inbox cannot be read: {error}")

    def _others(self, scheduler: Any) -> list[Any]:
        from clipspool.scheduler import commands as operator
        from clipspool.spool.peers import own_mark
        from clipspool.spool.takeover import others_in

        own = own_mark(str(scheduler.journal.fact("id")), self._settings.journal.path)
        return [
            peer
            for inbox in self._settings.inbox
            for peer in others_in(
                inbox.name, self._root(inbox), own, operator.known_folders(scheduler, inbox.name)
            )
        ]

    def _root(self, inbox: InboxSettings) -> Root:
        from clipspool.spool.root import Root

        return Root(inbox.path, file_mode=inbox.file_mode, folder_mode=inbox.folder_mode)

    def _by_ourselves(self, command: Callable[[Any], Any], *, makes: bool = False) -> Any:
        if self._scheduler is None:
            self._scheduler = self._own_scheduler(makes=makes)
        scheduler = self._scheduler
        from concurrent.futures import Future

        from clipspool.scheduler.loop import Asked

        reply: Future[Any] = Future()
        scheduler.hear(Asked(command, reply))
        scheduler.turn()
        return reply.result(0)

    def _own_scheduler(self, *, makes: bool) -> Any:
        """Take the journal over, and see what became of it since a daemon ran."""
        from clipspool.app.build import CannotStart, open_journal, pace_of, provider_of
        from clipspool.scheduler import commands as operator
        from clipspool.scheduler.loop import Scheduler

        try:
            journal, lock = open_journal(self._settings, makes=makes, gives_away=True)
        except CannotStart as error:
            fail(str(error))
        self._close += [lock.release, journal.close]
        profile = provider_of(self._settings).profile
        scheduler = Scheduler(
            journal, _NoWork(), profile=profile, pace=pace_of(self._settings), now=time.time
        )
        scheduler.allow(self._settings.inbox_names, self._settings.limits)
        # Nothing may be handed out here: a turn hears, records, and that is all.
        scheduler.is_draining = True
        scheduler.begin(asked=scheduler.picker.inboxes)
        cut_short = self._what_came_of_cut_short(scheduler)
        scheduler.tell(lambda scheduler: scheduler.take_up(cut_short))
        # What another machine took over must not be said to be queued here.
        scheduler.tell(lambda scheduler: operator.give_up(scheduler, self._taken_over(scheduler)))
        scheduler.turn()
        return scheduler

    def _taken_over(self, scheduler: Any) -> dict[str, Any]:
        from clipspool.scheduler import commands as operator
        from clipspool.spool.neighbours import takers_in

        found: dict[str, Any] = {}
        for inbox in self._settings.inbox:
            with suppress(OSError):
                journal_id = str(scheduler.journal.fact("id"))
                is_open = partial(operator.open_clips, scheduler)
                found |= takers_in(self._root(inbox), journal_id, is_open)
        return found

    def _what_came_of_cut_short(self, scheduler: Any) -> dict[str, Any]:
        """Ask the work folders, as a starting daemon does: a command needs to know where a job stands."""
        from clipspool.jobs.model import State
        from clipspool.spool.recovery import what_came_of
        from clipspool.spool.send_marks import left_waiting

        roots = {inbox.name: self._root(inbox) for inbox in self._settings.inbox}
        journal_id = str(scheduler.journal.fact("id"))
        found = scheduler.journal.find(states=(State.SUBMITTING,))
        waiting = left_waiting(self._settings.journal.path)
        return {
            job.id: what_came_of(roots[job.inbox], job, waiting, journal_id)
            for job in found
            if job.inbox in roots
        }


class _NoWork:
    """Nothing is handed out to it."""

    def work(self, *_: Any) -> Any:
        raise NotImplementedError

    change_of = retire = sweep = work


def operator_name() -> str:
    """Name the one who gives a command, and from where, for the history: `ann@edit-3 (pts/1)`."""
    user = "operator"
    with suppress(OSError, KeyError):
        user = getpass.getuser()
    terminal = ""
    with suppress(OSError, ValueError):
        terminal = f" ({os.ttyname(sys.stdin.fileno()).removeprefix('/dev/')})"
    return f"{user}@{socket.gethostname()}{terminal}"
