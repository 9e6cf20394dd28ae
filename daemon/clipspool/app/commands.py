"""Answers commands and the page in a running daemon, most in the scheduler's next turn."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from clipspool.app.again import again
from clipspool.app.attaching import attach
from clipspool.app.choosing import Ask, choose
from clipspool.app.folders import InboxFolders
from clipspool.app.housekeeping import DailyHousekeeping, retention_of
from clipspool.app.settings import Settings
from clipspool.intake.inbox import Inbox
from clipspool.intake.sidecar.presets import listed
from clipspool.jobs.account import balance_json
from clipspool.jobs.conditions import Conditions
from clipspool.jobs.messages import Accepted, Happened, News, NotRetired, Retired
from clipspool.jobs.model import plain
from clipspool.jobs.records import Peer
from clipspool.jobs.text import iso, text
from clipspool.journal.looks import Window
from clipspool.reporting.looking import account_in, jobs_in_view
from clipspool.reporting.status import InboxView, status_json
from clipspool.scheduler import commands
from clipspool.scheduler.housekeeping import Housekeeping
from clipspool.scheduler.loop import Scheduler
from clipspool.spool.peers import Mark
from clipspool.spool.recovery import adoptable
from clipspool.spool.takeover import others_in, refuse_living
from clipspool.stages.runner import StageRunner, Tools

_CHANGED_MAX = 100
"""Sources that `status` names because they changed after they were sent; the oldest go first."""


@dataclass(frozen=True, slots=True)
class DaemonCalls:
    """Functions of the daemon that answers need."""

    reload: Callable[[], None]
    """Has the settings read again; raises CannotReload, with why nothing was changed."""
    troubles: Callable[[], Sequence[str]]
    """What is wrong with the daemon itself, in sentences."""
    stages: StageRunner
    """Runs the stages; its tools are looked up at each call, since a reload replaces them."""
    node: str = ""
    """This node's name in a farm."""
    nodes: Callable[[], Sequence[Mapping[str, Any]]] | None = None
    """The farm's nodes; None where there is no farm."""


@dataclass(frozen=True, slots=True)
class Orders:
    """Carries out an operator's commands: for a daemon, and for a command where none runs."""

    ask: Ask
    """Runs a function in a turn of the scheduler and returns its answer."""
    tools: Callable[[], Tools]
    """Returns what the stages work with; a reload replaces it."""
    settings: Callable[[], Settings]
    own: Mark
    """Identifies the journal in the inboxes."""
    house: Housekeeping
    _pruning: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, do: str, arguments: Mapping[str, Any]) -> Any:
        """Carry out a command and return its answer; raises NotDone, and what the command raises."""
        beside: Mapping[str, Callable[..., Any]] = {
            "again": lambda **given: again(self.ask, self.tools(), self.settings().presets, **given),
            "attach": lambda **given: attach(self.ask, self.tools(), **given),
            "balance": lambda: balance_json(self.tools().provider.ask_balance()),
            "choose": lambda **given: choose(self.ask, self.tools().folders_of, **given),
            "others": lambda: [plain(peer) for peer in self._others()],
            "presets": self._presets,
            "prune": self.prune,
            "recover": self._recover,
        }
        if do in beside:
            return beside[do](**arguments)
        command = commands.COMMANDS.get(do)
        if command is None:
            raise commands.NotDone(f"this daemon knows no command `{do}`")
        return self.ask(lambda scheduler: command(scheduler, **arguments))

    def prune(self, *, dry_run: bool) -> dict[str, Any]:
        """Remove what is not kept, or count it, and return `prune --json`; one at a time."""
        folders = self.tools().folders_of.items()
        origins = {name: one.origin for name, one in folders if one.origin is not None}
        with self._pruning:
            reports = self.house.run(
                retention_of(self.settings()),
                {name: one.inbox for name, one in folders},
                origins,
                dry_run=dry_run,
            )
        inboxes = [{"name": name, **report.to_json()} for name, report in reports.items()]
        return {"dry_run": dry_run, "inboxes": inboxes}

    def _presets(self, inbox: str) -> list[dict[str, Any]]:
        folders = self.tools().folders_of.get(inbox)
        if folders is None:
            raise commands.NotDone(f"there is no inbox {inbox}")
        return [preset.to_dict() for preset in listed(folders.watched, self.settings().presets)]

    def _known(self, inbox: str) -> set[str]:
        return set(self.ask(lambda scheduler: scheduler.journal.folders(inbox)))

    def _others(self) -> list[Peer]:
        """Find other daemons whose clips lie in the inboxes."""
        return [
            peer
            for name, folders in self.tools().folders_of.items()
            for peer in others_in(name, folders.inbox, self.own, self._known(name))
        ]

    def _recover(self, journals: Collection[str]) -> int:
        """Take over what these journals left in the work folders, and what a crash left of this one's."""

        def entered(ids: Collection[str]) -> Collection[str]:
            return set(self.ask(lambda scheduler: scheduler.journal.known(ids)))

        refuse_living(self._others(), journals)
        found: list[Accepted] = []
        for name, folders in self.tools().folders_of.items():
            known = self._known(name)
            found += adoptable(name, folders.inbox, self.own.journal, known, entered, journals)
        return int(self.ask(lambda scheduler: scheduler.accept(found)))


class Answers:
    """Answers commands; any thread may ask."""

    def __init__(
        self,
        scheduler: Scheduler,
        folders: InboxFolders,
        inboxes: Mapping[str, Inbox],
        window: Window,
        settings: Callable[[], Settings],
        now: Callable[[], float],
        calls: DaemonCalls,
    ) -> None:
        """`window` is closed by `close`; `inboxes` changes with a reload."""
        self._scheduler, self._folders, self._inboxes = scheduler, folders, inboxes
        self._window, self._looks = window, threading.Lock()
        self._settings, self._now, self._calls = settings, now, calls
        self._started_at = now()
        self._not_put_away: dict[str, tuple[str, dict[str, Any]]] = {}
        self._changed: dict[str, tuple[str, dict[str, Any]]] = {}
        scheduler.subscribe(self._keep_stuck)
        house = Housekeeping(scheduler.call, Window(settings().journal.place).look, now)
        self._orders = Orders(scheduler.call, lambda: calls.stages.tools, settings, folders.mark, house)
        self.housekeeping = DailyHousekeeping(scheduler, self._orders.prune, settings)
        self._doors: Mapping[str, Callable[..., Any]] = {
            "status": lambda waiting_max=None: scheduler.call(partial(self.status, most=waiting_max)),
            "look": self._view_of_all,
            "reload": calls.reload,
            "working": lambda: {job_id: one.to_dict() for job_id, one in calls.stages.working().items()},
        }
        """Commands for which a daemon has to run, by name."""

    def _keep_stuck(self, news: News) -> None:
        """Remember which clips have ended and still lie in their work folders, in the scheduler's thread."""
        match news:
            case NotRetired(clip=clip, why=why):
                reason = f"it has ended, but cannot be moved out of its work folder: {why}"
                _, known = self._not_put_away.get(clip.id, ("", {"since": iso(self._now())}))
                row = {"path": text(clip.path), "reason": reason, "since": known["since"], "problem": True}
                self._not_put_away[clip.id] = (clip.inbox, row)
            case Retired(clip=clip, change=change):
                self._not_put_away.pop(clip.id, None)
                if change:  # shown until the next start; its note, the log and its history still have it
                    since = iso(self._now())
                    row = {"path": text(clip.lies_at or clip.path), "reason": change, "since": since}
                    self._changed[clip.id] = (clip.inbox, {**row, "problem": True})
                    if len(self._changed) > _CHANGED_MAX:
                        del self._changed[next(iter(self._changed))]
            case Happened(before=before, after=job) if before.state.is_terminal and not job.state.is_terminal:
                self._not_put_away.pop(job.clip_id, None)
                self._changed.pop(job.clip_id, None)

    def answer(self, do: str, arguments: Mapping[str, Any]) -> Any:
        """Carry out a command and return its answer; raises NotDone, and what the command raises."""
        if do == "resume":
            self._let_in(arguments.get("inbox"))
        door = self._doors.get(do)
        return self._orders.answer(do, arguments) if door is None else door(**arguments)

    def status(self, scheduler: Scheduler, most: int | None = None) -> dict[str, Any]:
        """Return what `status --json` prints; `most` limits the waiting files of each inbox."""
        stuck: dict[str, list[dict[str, Any]]] = {}
        for name, row in (*self._not_put_away.values(), *self._changed.values()):
            stuck.setdefault(name, []).append(row)
        views = [_view(name, inbox, most, stuck.get(name, ())) for name, inbox in self._inboxes.items()]
        daemon = {
            "running": True,
            "pid": os.getpid(),
            "since": iso(self._started_at),
            "troubles": list(self._calls.troubles()),
        }
        lanes = scheduler.workers.loads()
        conditions = self.conditions(scheduler)
        account = account_in(scheduler.journal)
        status = status_json(scheduler.journal.counts, conditions, views, daemon, lanes, account)
        if self._calls.nodes is None:
            return status
        return {**status, "daemon": {**daemon, "node": self._calls.node}, "nodes": list(self._calls.nodes())}

    def conditions(self, scheduler: Scheduler) -> Conditions:
        """Return what holds jobs back now, and what is done to them; in the scheduler's thread."""
        return replace(commands.conditions_of(scheduler), working=self._calls.stages.working())

    def close(self) -> None:
        """Close the journal's reader."""
        with self._looks:
            self._window.close()

    def _view_of_all(self, most: int) -> dict[str, Any]:
        """Return all that `status` draws, so that the command itself need not load a database."""
        status = self._scheduler.call(partial(self.status, most=most))
        with self._looks, self._window.look() as journal:
            return {
                "status": status,
                "jobs": jobs_in_view(
                    journal, self._settings().limits, self._now(), most, self._calls.stages.working()
                ),
            }

    def _let_in(self, inbox: str | None) -> None:
        """Accept an inbox's folders as they are, and check again what was set aside there."""
        if inbox is None:
            for one in self._inboxes.values():
                one.forgive()
        elif inbox in self._folders.roots:
            self._folders.accept(inbox)
            self._inboxes[inbox].forgive()


def _view(name: str, inbox: Inbox, most: int | None, stuck: Sequence[Mapping[str, Any]]) -> InboxView:
    """Return an inbox as it is now; of what waits the first `most`, those with a problem before others.

    `stuck`: rows for clips that have ended and still lie in it; an offline inbox cannot say why.
    """
    waiting = inbox.waiting
    first = waiting if most is None else sorted(waiting, key=lambda one: not one.problem)[:most]
    shown = [
        {"path": text(w.path), "reason": w.reason, "since": iso(w.since), "problem": w.problem} for w in first
    ]
    left = [] if inbox.state == "offline" else [dict(one) for one in stuck]
    return InboxView(
        name=name,
        state=inbox.state,
        detect=inbox.detect,
        reason=inbox.reason,
        waiting=[*left, *shown][:most],
        waiting_count=len(waiting) + len(left),
        peers=inbox.peers,
    )
