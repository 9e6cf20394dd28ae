"""Builds every part of the daemon from the settings, starts and stops them, and applies changes."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial

import structlog

from clipspool import __version__
from clipspool.app.binding import Binding
from clipspool.app.build import (
    calm_turn_seconds,
    hooks_of,
    inspection_of,
    kept_of,
    name_secret_of,
    pace_of,
    rules_of,
    warn_of_orphans,
)
from clipspool.app.commands import Answers, DaemonCalls
from clipspool.app.control import ControlSocket, socket_of
from clipspool.app.folders import InboxFolders
from clipspool.app.gateway import Gateway
from clipspool.app.monitoring import Monitoring
from clipspool.app.noting import LedgerNotes
from clipspool.app.page import PageHost
from clipspool.app.reload import Reloads, reread
from clipspool.app.settings import InboxSettings, Settings
from clipspool.app.shipping import depot_of, signer_of
from clipspool.app.term import Term, alone
from clipspool.intake.inbox import Inbox
from clipspool.intake.types import InboxPaused
from clipspool.jobs.messages import Accepted, InboxChanged
from clipspool.jobs.model import State
from clipspool.jobs.render_times import Durations
from clipspool.journal import JournalError
from clipspool.journal.looks import Window
from clipspool.media.decoder import Decoder
from clipspool.provider.catalog import Catalog
from clipspool.reporting.canonical_line import EndingLog, log_ending
from clipspool.reporting.headline import headline_of
from clipspool.reporting.status_file import StatusFiles
from clipspool.scheduler import commands
from clipspool.scheduler.balance import BalanceReader
from clipspool.scheduler.ending import await_answers, drain
from clipspool.scheduler.loop import Scheduler
from clipspool.scheduler.restore_marks import Marks
from clipspool.spool.peers import copy_served
from clipspool.stages.runner import StageRunner, Tools
from clipspool.system import logs
from clipspool.system.signals import Signals
from clipspool.system.systemd import Service

log = structlog.get_logger()

_DECODERS = 3  # two for conversions, and one for checks
_STATUS_SECONDS = 5.0
_END_SECONDS = 2.0


class Daemon:
    """All parts of a running daemon, for one term; built and run by one thread."""

    def __init__(
        self, settings: Settings, term: Term | None = None, *, now: Callable[[], float] = time.time
    ) -> None:
        """Build every part and touch no inbox yet; raises CannotStart. Without a term it is alone."""
        self.settings = settings
        self._now = now
        self._term = term = term or alone(settings, Signals(self.wake))
        self._signals = term.signals
        self._stopping = threading.Event()
        self._reloads = Reloads(self.wake)
        self.journal = term.journal
        self._page = PageHost(settings)
        self._folders = InboxFolders(self.journal, settings.journal.path, self._next_turn, term.epoch)
        self._folders.expect_settled(settings)
        self._decoder = Decoder(children=_DECODERS)
        self._secret = name_secret_of(self.journal)
        self._service = Service()
        self._inboxes: dict[str, Inbox] = {}
        self._bindings: dict[str, Binding] = {}
        self.monitoring = Monitoring(settings, self.journal, lambda: self._inboxes, now, term.node)
        self._gateway = Gateway(settings, self.monitoring.measured)
        self._durations = Durations(self.journal.durations())
        self._cut_short = list(self.journal.find(states=(State.SUBMITTING,)))
        self._stages = self._stage_runner()
        self.scheduler = Scheduler(
            self.journal,
            self._stages,
            profile=self._gateway.provider.profile,
            pace=pace_of(settings, self._durations),
            now=now,
            node=term.node,
        )
        self.scheduler.subscribe(self._durations.on_news)
        self._configure_scheduler()
        self.monitoring.subscribe_to(self.scheduler)
        self.scheduler.subscribe(EndingLog(self.journal, log_ending).on_news)
        self._notes = LedgerNotes(lambda: self._stages.tools.folders_of, self._folders.journal_id)
        self.scheduler.subscribe(self._notes.on_news)
        self._status_files = StatusFiles(settings.journal.path, now, settings.journal.place)
        self.scheduler.subscribe(self._status_files.on_news)
        self._marks = Marks(self.scheduler, self._folders.journal_id, self._folders.roots)
        self._inboxes.update((inbox.name, self._inbox(inbox)) for inbox in settings.inbox)
        self.answers = Answers(
            self.scheduler,
            self._folders,
            self._inboxes,
            Window(settings.journal.place),
            lambda: self.settings,
            now,
            DaemonCalls(self._reloads.ask, lambda: self._troubles, self._stages, term.node, term.nodes),
        )
        self._control = ControlSocket(socket_of(settings.journal.path), self.answers.answer)
        self._status_at = 0.0
        self._balance_reader = BalanceReader(
            lambda: self._gateway.provider.ask_balance(),  # noqa: PLW0108 - it is replaced
            self.scheduler.call_soon,
            now,
        )
        self.scheduler.subscribe(self._balance_reader.on_news)

    # --- building -------------------------------------------------------------------------------------

    def _stage_runner(self) -> StageRunner:
        return StageRunner(
            self._tools(),
            self._decoder,
            self._term.send_marks,
            self._now,
            self._term.may_send,
            stopping=lambda: self._stopping.is_set() or self._signals.stopping.is_set(),
            mark=lambda inbox, root: self._marks.before_sending(inbox, root),  # noqa: PLW0108 - made below
            copied=partial(copy_served, own=self._folders.mark, now=self._now),
        )

    def _tools(self) -> Tools:
        settings = self.settings
        return Tools(
            self._folders.of(settings),
            self._gateway.provider,
            Catalog.load(settings.models),
            depot_of(settings, self._secret, self._now),
            self._gateway.follow,
            hooks_of(settings, self._now),
            signer=signer_of(settings),
            draws_posters=self._term.has_page,
        )

    def _configure_scheduler(self) -> None:
        settings = self.settings
        self.scheduler.allow(settings.inbox_names, settings.limits)
        self.scheduler.hooks.use(settings.hooks.commands)
        quoting = self._stages.tools.quoting
        self.scheduler.fallbacks.use(quoting.fallback, quoting.patience)
        self.scheduler.short_of_credits.use(quoting.covered)
        self.scheduler.configure(
            self._gateway.provider.profile, pace_of(settings, self._durations), settings.duplicates
        )

    @property
    def _troubles(self) -> list[str]:
        ours = [*self.settings.troubles, *self._page.troubles]
        return [*ours, *self._gateway.troubles, *self._stages.tools.troubles]

    def _next_turn(self, command: Callable[[Scheduler], None]) -> None:
        self.scheduler.call_soon(command)

    def _inbox(self, inbox: InboxSettings) -> Inbox:
        folders = self._stages.tools.folders_of[inbox.name]
        binding = self._bindings[inbox.name] = Binding(
            folders,
            self.scheduler,
            self._marks,
            self._term.send_marks.waiting,
            self._folders.mark,
            cut_short=[job for job in self._cut_short if job.inbox == inbox.name],
            known=self.journal.folders(inbox.name),
            now=self._now,
        )
        return Inbox(
            folders.watched,
            rules_of(self.settings, inbox, self._folders.journal_id),
            home=None if folders.origin is None else folders.inbox,
            bind=binding,
            inspection=inspection_of(self._stages),
            on_message=self._from_inbox,
            now=self._now,
        )

    def _from_inbox(self, message: Accepted | InboxChanged | InboxPaused) -> None:
        if isinstance(message, Accepted):
            self.scheduler.enqueue(message)
        elif isinstance(message, InboxPaused):
            self.scheduler.call_soon(lambda scheduler: scheduler.pauses.set_file(message.name, message.file))
        else:
            self.scheduler.call_soon(lambda scheduler: scheduler.publish(message))

    # --- running --------------------------------------------------------------------------------------

    def run(self, *, until_idle: bool = False, accept_restored: bool = False) -> None:
        """Run until SIGTERM or SIGINT, or until nothing is left; then drain.

        `accept_restored`: submit even if the journal was restored from a backup. Raises JournalError when the
        journal cannot be written: nothing is spent that is not recorded.
        """
        self._signals.install()
        try:
            self.scheduler.begin(
                self._inboxes, is_excused=self._term.is_excused, lost_lead=self._term.lost_lead
            )
        except JournalError:
            self._term.pass_excuse_on()
            raise
        self.scheduler.guard(self._inboxes, accepts_restored=accept_restored)
        self._cut_short.clear()
        if accept_restored:
            self.scheduler.call_soon(commands.accept_restored)
        self._control.start()
        self._balance_reader.start()
        self._gateway.start()
        self._page.open(self.scheduler, self.answers, self._stages, lambda: self.settings, self.monitoring)
        for inbox in self._inboxes.values():
            inbox.start()
        self._keep_status_files()
        log.info("started", version=__version__, pid=os.getpid(), journal=str(self.settings.journal.place))
        warn_of_orphans(self.journal, self.settings.inbox_names)
        for trouble in self.settings.troubles:
            log.warning("secret_not_read", why=trouble)
        self._service.ready()
        draining_at: float | None = None
        try:
            calm = calm_turn_seconds(self.settings, self._service, until_idle=until_idle)
            each_turn = partial(self._each_turn, until_idle=until_idle)
            self.scheduler.run(self._signals.stopping, each_turn=each_turn, calm_seconds=calm)
            self._service.stopping("finishing what is under way")
            self._stopping.set()
            self._reloads.refuse("the daemon ends")
            self._end_inboxes()
            draining_at = time.monotonic()
            drain(self.scheduler, self._term.drain_seconds(), each_turn=self._report_alive)
            self._marks.keep(is_end=True)
        except JournalError:
            self._term.excuse()
            drained = 0.0 if draining_at is None else time.monotonic() - draining_at
            most = self._term.drain_seconds() - drained
            await_answers(self.scheduler, most, each_turn=self._service.watchdog)
            raise
        finally:
            self.close()
        log.info("stopped")

    def close(self) -> None:
        """Stop and close all parts, the last started first."""
        self._page.close()
        self._control.stop()
        self._balance_reader.stop()
        self.answers.close()
        self._status_files.stop()
        self._notes.stop()
        # Before the process ends: otherwise their files stay half-written.
        self._end_inboxes([thread for one in self._bindings.values() for thread in one.end()])
        self.monitoring.close()
        self._decoder.close()
        self._stages.tools.depot.close()
        self._gateway.close()
        self.journal.close()
        self._term.close(bool(self.scheduler.in_flight))

    def wake(self) -> None:
        """Start a turn of the scheduler."""
        self.scheduler.call_soon(lambda _: None)

    def _end_inboxes(self, others: Sequence[threading.Thread] = ()) -> None:
        """Wait for the inboxes' threads and others, two seconds for all of them, as a folder may hang."""
        until = time.monotonic() + _END_SECONDS
        for inbox in self._inboxes.values():
            inbox.stop(0.0)
        for inbox in self._inboxes.values():
            inbox.stop(max(until - time.monotonic(), 0.0))
        for thread in others:
            thread.join(max(until - time.monotonic(), 0.0))

    def _each_turn(self, *, until_idle: bool) -> bool:
        """Notify the watchdog, apply a reload, report the status; True when it is time to end."""
        self._report_alive()
        if self._signals.wants_reload() | self._reloads.is_asked:
            self._reloads.answer(self._reload)
        self._gateway.change(self.scheduler, self._stages)
        self._marks.keep()
        self.answers.housekeeping.start_if_due()
        self._page.retry_if_due()
        now = self._now()
        if self._service.is_there and now - self._status_at >= _STATUS_SECONDS:
            self._status_at = now
            self._service.status(headline_of(self.scheduler, self._inboxes, self._troubles))
        self._term.each_turn()
        are_idle = until_idle and all(inbox.is_idle for inbox in self._inboxes.values())
        return self._term.is_over() or (are_idle and self.scheduler.is_idle)

    def _report_alive(self) -> None:
        self._service.watchdog()
        self.monitoring.turned(self.scheduler)

    # --- changes --------------------------------------------------------------------------------------

    def _reload(self) -> Sequence[str]:
        """Read the settings again, apply them, and return what changed; raises CannotReload."""
        self._service.reloading()
        try:
            new, changed = reread(self.settings, self._folders.refuse_moved)
            self._apply(new)
        finally:
            self._service.ready()
        warn_of_orphans(self.journal, self.settings.inbox_names)
        return changed

    def _apply(self, new: Settings) -> None:
        old_names = set(self._inboxes)
        self.settings = new
        logs.configure(format=new.logs.format, level=new.logs.level, secrets=new.secrets)
        self._gateway.use(new, self.scheduler)
        self.monitoring.apply(new)
        self._stages.equip(self._tools())
        self._configure_scheduler()
        for inbox in new.inbox:
            if inbox.name in self._inboxes:
                self._inboxes[inbox.name].use_rules(rules_of(new, inbox, self._folders.journal_id))
            else:
                self._inboxes[inbox.name] = self._inbox(inbox)
                self._inboxes[inbox.name].start()
        for name in old_names - {inbox.name for inbox in new.inbox}:
            self._inboxes.pop(name).stop()
            self._bindings.pop(name).end()
            self._folders.forget(name)
        self._keep_status_files()

    def _keep_status_files(self) -> None:
        self._status_files.keep(kept_of(self.settings, self._stages.tools.folders_of, self._inboxes))
