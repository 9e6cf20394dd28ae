"""Builds every part of the daemon from the settings, starts and stops them in order, and takes up changes."""

from __future__ import annotations

import os
import secrets
import signal
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from clipspool import __version__, logs, operator
from clipspool.adopt import adoptable, survey, tidy
from clipspool.bay import Bay
from clipspool.catalog import Catalog
from clipspool.control import Listener, socket_of
from clipspool.intake.inbox import Inbox
from clipspool.intake.terms import Accepted, InboxChanged
from clipspool.job import State
from clipspool.media.decoder import Decoder
from clipspool.parts import limits_of, open_journal, pace_of, provider_of, rules_of
from clipspool.provider import Provider
from clipspool.root import Guard, Root, Unavailable
from clipspool.scheduler import Scheduler
from clipspool.service import Service
from clipspool.settings import InboxSettings, Settings, SettingsError, changes, load
from clipspool.shipping import depot_of
from clipspool.views import InboxView, iso, status_json, text
from clipspool.workshop import Shop, Tools

log = structlog.get_logger()

DRAIN_SECONDS = 50.0
"""Within the 60 s that SIGTERM may take (promise 12)."""
_STATUS_SECONDS = 5.0
_FOLDERS = "folders"
_NAME_KEY = "name_key"


class Daemon:
    """Everything that runs. Built and run by one thread."""

    def __init__(self, settings: Settings, *, now: Callable[[], float] = time.time) -> None:
        """Build every part and touch no inbox yet; raises CannotStart."""
        self.settings = settings
        self.started_at = now()
        self._now = now
        self._stopping = threading.Event()
        self._reload = threading.Event()
        self.journal, self._lock = open_journal(settings)
        self._journal_id = str(self.journal.fact("id"))
        self._folders: dict[str, str] = dict(self.journal.fact(_FOLDERS) or {})
        self._roots: dict[str, tuple[Root, Root]] = {}
        self._decoder, self._studio = Decoder(), Decoder(children=2)
        self._secret = self._name_secret()
        self._service = Service()
        self._provider = provider_of(settings)
        self._shop = Shop(self._tools(), self._decoder, self._studio, now, self._stopping.is_set)
        self.scheduler = Scheduler(
            self.journal, self._shop, profile=self._provider.profile, pace=pace_of(settings), now=now
        )
        self.scheduler.allow([inbox.name for inbox in settings.inbox], limits_of(settings))
        self._inboxes = {inbox.name: self._inbox(inbox) for inbox in settings.inbox}
        self._control = Listener(socket_of(settings.journal.path), self._answer)
        self._said_at = 0.0

    # --- building -------------------------------------------------------------------------------------

    def _tools(self) -> Tools:
        settings = self.settings
        bays = {inbox.name: self._bay(inbox) for inbox in settings.inbox}
        older: dict[str, Provider] = {}

        def follow(profile: str) -> Provider | None:
            if profile == self._provider.profile:
                return self._provider
            address, _, print_ = profile.partition("#")
            ours, _, our_print = self._provider.profile.partition("#")
            # Another key of the same provider may see the task; this key must not be shown elsewhere.
            if address == ours:
                return self._provider
            if print_ != our_print:
                return None
            return older.setdefault(address, provider_of(settings, address))

        catalog = Catalog.load(settings.models)
        return Tools(bays, self._provider, catalog, depot_of(settings, self._secret, self._now), follow)

    def _name_secret(self) -> bytes:
        """Give what makes the names of files that are put up unguessable: this journal's, for good."""
        kept = self.journal.fact(_NAME_KEY)
        if kept is None:
            kept = secrets.token_hex(32)
            with self.journal.turn():
                self.journal.set_fact(_NAME_KEY, kept)
        return bytes.fromhex(str(kept))

    def _bay(self, inbox: InboxSettings) -> Bay:
        if inbox.name not in self._roots:
            self._roots[inbox.name] = (
                self._root(inbox, "inbox", inbox.path),
                self._root(inbox, "outbox", inbox.outbox),
            )
        source, target = self._roots[inbox.name]
        return Bay(
            name=inbox.name,
            inbox=source,
            outbox=target,
            journal=self._journal_id,
            result_name=inbox.result_name,
            keeps_sources=inbox.source == "archive",
        )

    def _root(self, inbox: InboxSettings, kind: str, path: Path) -> Root:
        name = f"{kind}:{inbox.name}"
        known = self._folders.get(name)
        if known is None and path.parent.is_dir():
            # Never seen before: a folder to start with, not a mount that is missing.
            try:
                path.mkdir(exist_ok=True)
            except OSError as error:
                log.warning("folder_not_made", path=str(path), why=error.strerror)
        guard = Guard(kind, known, partial(self._remember, name))
        return Root(path, guard=guard, file_mode=inbox.file_mode, folder_mode=inbox.folder_mode)

    def _remember(self, name: str, identity: str) -> None:
        def command(scheduler: Scheduler) -> None:
            self._folders[name] = identity
            scheduler.journal.set_fact(_FOLDERS, self._folders)

        self.scheduler.tell(command)

    def _inbox(self, inbox: InboxSettings) -> Inbox:
        root = self._shop.tools.bays[inbox.name].inbox
        known = self.journal.folders(inbox.name)
        is_surveyed = False

        def bind() -> None:
            nonlocal is_surveyed
            root.bind()
            if not is_surveyed:
                self._take_on(inbox.name, root, known)
                is_surveyed = True

        return Inbox(
            root,
            rules_of(self.settings, inbox, self._journal_id),
            bind=bind,
            check=self._shop.check,
            inspect=self._shop.inspect,
            tell=self._tell,
            now=self._now,
        )

    def _take_on(self, name: str, root: Root, known: set[str]) -> None:
        """Hand over what a crash left between a clip's acceptance and its entry in the journal."""
        tidy(root, self._now())
        found = survey(root, self._journal_id, known)
        for one in found.ours:
            self.scheduler.hear(Accepted(one.clip, one.jobs))
        if found.foreign:
            log.warning(
                "foreign_work_found",
                inbox=name,
                clips=len(found.foreign),
                why="accepted by another journal: another machine's, or one that was lost",
            )
        for folder in found.damaged:
            log.error("work_folder_damaged", inbox=name, folder=folder)

    def _tell(self, told: Accepted | InboxChanged) -> None:
        if isinstance(told, Accepted):
            self.scheduler.hear(told)
        else:
            self.scheduler.tell(lambda scheduler: scheduler.publish(told))

    # --- running --------------------------------------------------------------------------------------

    def run(self, *, until_idle: bool = False) -> None:
        """Run until SIGTERM or SIGINT, or until nothing is left; then drain.

        Raises what the journal raises when it cannot be written: nothing is spent that is not recorded.
        """
        self._take_signals()
        self.scheduler.begin()
        self._control.start()
        for inbox in self._inboxes.values():
            inbox.start()
        log.info("started", version=__version__, pid=os.getpid(), journal=str(self.settings.journal.path))
        self._service.ready()
        try:
            self.scheduler.run(self._stopping, each_turn=lambda: self._each_turn(until_idle=until_idle))
            self._service.stopping("finishing what is under way")
            self._stopping.set()
            for inbox in self._inboxes.values():
                inbox.stop(2.0)
            self.scheduler.drain(DRAIN_SECONDS, each_turn=self._service.watchdog)
        finally:
            self.close()
        log.info("stopped")

    def close(self) -> None:
        """Give everything back, in the opposite order."""
        self._control.stop()
        for inbox in self._inboxes.values():
            inbox.stop(0.0)
        self._decoder.close()
        self._studio.close()
        self._shop.tools.depot.close()
        self._provider.close()
        self.journal.close()
        self._lock.release()

    def _take_signals(self) -> None:
        def stop(_number: int, _frame: object) -> None:
            self._stopping.set()
            self.scheduler.tell(lambda _: None)

        def reread(_number: int, _frame: object) -> None:
            self._reload.set()
            self.scheduler.tell(lambda _: None)

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        signal.signal(signal.SIGHUP, reread)

    def _each_turn(self, *, until_idle: bool) -> bool:
        """Feed the watchdog, take up a reload, say how things are; True when it is time to end."""
        self._service.watchdog()
        if self._reload.is_set():
            self._reload.clear()
            self._take_up_changes()
        now = self._now()
        if now - self._said_at >= _STATUS_SECONDS:
            self._said_at = now
            counts = self.journal.counts
            open_ = ", ".join(f"{counts[s]} {s.value}" for s in State if not s.is_terminal and counts[s])
            self._service.status(open_ or "idle")
        return (
            until_idle and all(inbox.is_idle for inbox in self._inboxes.values()) and self.scheduler.is_idle
        )

    # --- changes --------------------------------------------------------------------------------------

    def _take_up_changes(self) -> None:
        """Read the settings again; what is wrong changes nothing and is said."""
        self._service.reloading()
        try:
            new = load(self.settings.file)
        except SettingsError as error:
            log.warning("reload_refused", why=str(error))
        else:
            change = changes(self.settings, new)
            if change.restart:
                names = ", ".join(change.restart)
                log.warning("reload_refused", why=f"a change of {names} needs a restart; nothing was changed")
            else:
                self._apply(new)
                log.info("reloaded", changed=list(change.live))
        self._service.ready()

    def _apply(self, new: Settings) -> None:
        old_names = set(self._inboxes)
        self.settings = new
        logs.configure(format=new.logs.format, level=new.logs.level, secrets=new.secrets)
        old_profile = self._provider.profile
        self._provider = provider_of(new)
        # The ways that were are not closed: a worker may be on one, and they end with their last use.
        self._shop.tools = self._tools()
        self.scheduler.profile = self._provider.profile
        self.scheduler.pace = pace_of(new)
        self.scheduler.allow([inbox.name for inbox in new.inbox], limits_of(new))
        if self._provider.profile != old_profile:
            self.scheduler.tell(lambda scheduler: scheduler.release_brake())
        for inbox in new.inbox:
            if inbox.name in self._inboxes:
                self._inboxes[inbox.name].apply(rules_of(new, inbox, self._journal_id))
            else:
                self._inboxes[inbox.name] = self._inbox(inbox)
                self._inboxes[inbox.name].start()
        for name in old_names - {inbox.name for inbox in new.inbox}:
            self._inboxes.pop(name).stop()
            self._roots.pop(name)

    # --- commands -------------------------------------------------------------------------------------

    def _answer(self, do: str, arguments: Mapping[str, Any]) -> Any:
        """Answer a command, in the control thread; the scheduler does it in its next turn."""
        if do == "status":
            return self.scheduler.ask(self._status)
        if do == "resume" and arguments.get("inbox") in self._roots:
            self._accept_folders(str(arguments["inbox"]))
        if do == "recover":
            return self._recover()
        command = operator.COMMANDS.get(do)
        if command is None:
            raise operator.Refused(f"this daemon knows no command `{do}`")
        return self.scheduler.ask(lambda s: command(s, **arguments))

    def _accept_folders(self, name: str) -> None:
        """Take the folders of an inbox as they are now: the operator says that they are the right ones."""
        for root in self._roots[name]:
            try:
                root.bind()
            except Unavailable:
                if root.guard is not None:
                    root.guard.adopt()
        self._inboxes[name].wake()

    def _recover(self) -> int:
        found: list[Accepted] = []
        for name, (root, _) in self._roots.items():
            known = self.scheduler.ask(partial(operator.known_folders, inbox=name))
            found += adoptable(root, self._journal_id, known)
        return int(self.scheduler.ask(partial(operator.take_on, found=found)))

    def _status(self, scheduler: Scheduler) -> dict[str, Any]:
        views = [
            InboxView(
                name=name,
                state=inbox.state,
                detect=inbox.detect,
                reason=inbox.reason,
                waiting=[
                    {"path": text(w.path), "reason": w.reason, "since": iso(w.since), "problem": w.problem}
                    for w in inbox.waiting
                ],
            )
            for name, inbox in self._inboxes.items()
        ]
        daemon = {"running": True, "pid": os.getpid(), "since": iso(self.started_at)}
        return status_json(scheduler.journal.counts, operator.conditions_of(scheduler), views, daemon)
