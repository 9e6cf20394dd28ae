"""Answers for a node that does not lead: what the leader keeps for all nodes, and orders to it.

The page, the commands and `/healthz` of every node show the whole farm. What changes something is given to
the leader as an order.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing
from functools import partial
from typing import Any

from clipspool.app.control import OTHER_SECONDS, ControlSocket, socket_of
from clipspool.app.folders import InboxFolders
from clipspool.app.page import PageHost, clip_doors
from clipspool.app.reload import Reloads, reread
from clipspool.app.settings import Settings
from clipspool.farm.lease import ask
from clipspool.farm.membership import Membership
from clipspool.farm.nodes import leader_of, members, node_json
from clipspool.farm.orders import ANSWER_SECONDS, give
from clipspool.intake.sidecar.presets import listed
from clipspool.jobs.conditions import Conditions
from clipspool.jobs.text import iso, span
from clipspool.journal import Address, Journal, JournalError
from clipspool.journal.looks import Window
from clipspool.journal.postgres import connect_beside
from clipspool.journal.server import translated
from clipspool.reporting.looking import account_in, conditions_in, jobs_in_view
from clipspool.reporting.metrics import Metrics
from clipspool.reporting.status import status_json
from clipspool.spool.watchfolder import Folders
from clipspool.stages.runner import StageRunner
from clipspool.system import logs
from clipspool.web.context import DaemonHandle

_STALE_SECONDS = 15.0
_FRESH_SECONDS = 2.0
"""How long the folders' identities are kept; an operator may accept others."""


def farm_status(
    settings: Settings, address: Address, daemon: Mapping[str, Any], now: float
) -> dict[str, Any]:
    """Return what `status --json` prints on a node that does not lead. Raises JournalError.

    The leader keeps it, so it is some seconds old; `daemon` is this node's own.
    """
    with translated(address), closing(connect_beside(address)) as connection:
        kept, found = ask(connection, "snapshot"), members(connection)
    troubles = list(daemon["troubles"])
    if leader_of(found) is None:
        troubles.append("no node of the farm leads now")
    if kept and kept[0]["age_seconds"] > _STALE_SECONDS and leader_of(found) is None:
        troubles.append(f"inboxes and lanes are shown as they were {span(kept[0]['age_seconds'])} ago")
    body = kept[0]["body"] if kept else status_json({}, Conditions(now), (), daemon)
    shown = {**body, "daemon": {**daemon, "troubles": troubles}, "nodes": [node_json(one) for one in found]}
    journal = Journal.read(settings.journal.place)
    if journal is None:
        return shown
    with closing(journal):
        conditions = conditions_in(journal, settings.limits, now)
        fresh = status_json(journal.counts, conditions, (), daemon, account=account_in(journal))
    return {**shown, **{key: fresh[key] for key in ("jobs", "spend", "provider", "journal")}}


class Follower:
    """What a node answers while it does not lead."""

    def __init__(
        self,
        settings: Settings,
        address: Address,
        membership: Membership,
        stages: Callable[[], StageRunner],
    ) -> None:
        """Open nothing before `start`. `stages` quotes the clips that this node's page takes."""
        self.settings, self._address, self._membership = settings, address, membership
        self._stages = stages
        self._known: tuple[float, Mapping[str, Folders]] = (-_FRESH_SECONDS, {})
        self.reloads = Reloads()
        self._since = membership.now()
        self._page = PageHost(settings)
        self._metrics = Metrics(dict, node=membership.identity.name)
        self._control = ControlSocket(socket_of(settings.journal.path), self.answer)

    def start(self) -> None:
        """Begin to answer."""
        self._control.start()
        handle = DaemonHandle(
            self.settings.journal.place,
            self._state,
            self.answer,
            self._folders,
            self._membership.now,
            metrics=self._metrics.text,
            health=self.health,
            # An inbox is on shared folders: a clip that this node puts there is taken like any other.
            clips=clip_doors(
                self._stages, self._folders, lambda: self.settings, self._membership.identity.name
            ),
            count_wrong_token=self._metrics.token_refused,
            publishes_news=False,
        )
        self._page.serve(handle)

    def stop(self) -> None:
        """Answer no more."""
        self._page.close()
        self._control.stop()

    @property
    def headline(self) -> str:
        """What this node does, in a line."""
        trouble = self._membership.trouble
        if trouble:
            return f"follows; the database is not reached: {trouble}"
        return "drained: it takes nothing more" if self._membership.is_drained else "follows"

    def reload(self) -> Sequence[str]:
        """Read the settings again, for the next term, and return what changed; raises CannotReload."""
        self.settings, changed = reread(self.settings)
        new = self.settings
        logs.configure(format=new.logs.format, level=new.logs.level, secrets=new.secrets)
        return changed

    def answer(self, do: str, arguments: Mapping[str, Any]) -> Any:
        """Answer a command: from what the leader keeps, or as an order to it; raises why it cannot be."""
        if do == "status":
            return self.status()
        if do == "look":
            with closing(Window(self.settings.journal.place)) as window, window.look() as journal:
                most = arguments["most"]
                jobs = jobs_in_view(journal, self.settings.limits, self._membership.now(), most)
            return {"status": self.status(), "jobs": jobs}
        if do == "reload":
            self.reloads.ask()
            return None
        if do == "presets":  # a form asks for them, and each node has them
            folders = self._folders()[arguments["inbox"]]
            return [preset.to_dict() for preset in listed(folders.watched, self.settings.presets)]
        seconds = OTHER_SECONDS.get(do, ANSWER_SECONDS)
        connect, node = partial(connect_beside, self._address), self._membership.identity.name
        return give(connect, node, do, arguments, seconds)

    def status(self) -> dict[str, Any]:
        """Return what `status --json` prints."""
        trouble = self._membership.trouble
        daemon = {
            "running": True,
            "pid": os.getpid(),
            "since": iso(self._since),
            "troubles": [*([trouble] if trouble else []), *self.settings.troubles, *self._page.troubles],
            "node": self._membership.identity.name,
        }
        return farm_status(self.settings, self._address, daemon, self._membership.now())

    def health(self) -> dict[str, Any]:
        """Return `ok`, whether this node is of use to the farm, and what is not well."""
        trouble = self._membership.trouble
        node = {"ok": not trouble, "why": trouble, "name": self._membership.identity.name, "leads": False}
        return {"ok": not trouble, "node": node}

    def _state(self) -> Future[tuple[Mapping[str, Any], Conditions]]:
        reply: Future[tuple[Mapping[str, Any], Conditions]] = Future()
        try:
            with closing(Window(self.settings.journal.place)) as window, window.look() as journal:
                conditions = conditions_in(journal, self.settings.limits, self._membership.now())
            reply.set_result((self.status(), conditions))
        except JournalError as error:
            reply.set_exception(error)
        return reply

    def _folders(self) -> Mapping[str, Folders]:
        """Return the folders of each inbox as the journal knew them a moment ago. Raises JournalError."""
        at, folders = self._known
        if time.monotonic() - at >= _FRESH_SECONDS:
            with closing(Window(self.settings.journal.place)) as window, window.look() as journal:
                known = InboxFolders(journal, self.settings.journal.path, lambda _: None)
                folders = known.served(self.settings)
            self._known = (time.monotonic(), folders)
        return folders
