"""The stages that a node runs for the one that leads: with its own folders, decoder and transports."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Collection
from contextlib import closing
from functools import cache, partial

from clipspool.app.build import follows, name_secret_of, provider_of
from clipspool.app.folders import InboxFolders
from clipspool.app.settings import Settings
from clipspool.app.shipping import signer_of, ways_of
from clipspool.app.term import DRAIN_SECONDS
from clipspool.farm.dispatch import Dispatch
from clipspool.farm.membership import Membership
from clipspool.farm.nodes import Member
from clipspool.farm.queue import beat_seconds, queues_of, stalled_seconds
from clipspool.farm.worker import StageWorker
from clipspool.jobs.assignments import Assignment
from clipspool.jobs.events import Event
from clipspool.journal import Address, Journal
from clipspool.journal.server import conninfo_of
from clipspool.media.decoder import Decoder
from clipspool.provider.catalog import Catalog
from clipspool.provider.transport import Depot, SecretNames
from clipspool.provider.transport.way import PutLater
from clipspool.spool.guard import Unavailable
from clipspool.spool.send_marks import SendMarks
from clipspool.stages.runner import StageRunner, Tools

_DECODERS = 2


class NodeStages:
    """This node's part in the work of the farm, for as long as the process lives."""

    def __init__(
        self,
        settings: Settings,
        address: Address,
        membership: Membership,
        sees: Callable[[], Collection[str]],
        stopping: Callable[[], bool],
    ) -> None:
        """`sees` returns the inboxes that this node reaches now."""
        self._settings, self._address = settings, address
        self._membership, self._sees, self._stopping = membership, sees, stopping
        self._decoder = Decoder(children=_DECODERS)
        self._runner: StageRunner | None = None
        self._lock = threading.Lock()
        name = membership.identity.name
        beat = beat_seconds(settings.farm.lease_seconds)
        self._worker = StageWorker(
            conninfo_of(address), name, self._work, self._queues, beat, is_ending=self._is_ending
        )

    def start(self) -> None:
        """Begin to take stages."""
        self._worker.start()

    def stop(self) -> None:
        """Take nothing more; wait some seconds for what is under way, and give back the rest."""
        self._worker.stop()
        self._decoder.close()

    def use(self, settings: Settings) -> None:
        """Use other settings from the next stage on."""
        with self._lock:
            self._settings, self._runner = settings, None

    def elsewhere(self) -> Dispatch:
        """Return the other nodes' part, for a term in which this one leads."""
        membership, ours = self._membership, self._membership.identity

        def others() -> list[Member]:
            return [
                one
                for one in membership.members
                if one.is_live and one.name != ours.name and one.version == ours.version
            ]

        return Dispatch(
            conninfo_of(self._address), others, stalled_seconds(self._settings.farm.lease_seconds)
        )

    @property
    def doing(self) -> str:
        """What is under way here, in a line for people; empty for nothing."""
        under_way = self._worker.under_way
        runner = self._runner
        working = {} if runner is None else runner.working()

        def line(given: Assignment) -> str:
            share = working[given.job.id].share if given.job.id in working else None
            return f"{given.stage.value} {given.job.id}" + ("" if share is None else f" {share:.0%}")

        return ", ".join(sorted(map(line, under_way)))

    def _queues(self) -> list[str]:
        """Return what this node takes now: nothing while it leads, when its threads are the daemon's own."""
        membership = self._membership
        is_free = not (
            membership.leads or membership.is_drained or membership.replaced_by or self._stopping()
        )
        return queues_of(membership.identity.stages, self._sees()) if is_free else []

    def _is_ending(self) -> bool:
        """Whether what is under way has to end: one that is drained has some seconds for it."""
        return self._stopping() or self._membership.drained_seconds > DRAIN_SECONDS

    def _work(self, given: Assignment) -> Event:
        try:
            # Its gate stays shut: what is paid for is sent by the node that leads.
            return self.runner(given.job.inbox).work(given, lambda: False)
        except Unavailable:
            self.use(self._settings)  # the operator may have accepted another folder since
            raise

    def runner(self, inbox: str = "") -> StageRunner:
        """Return what runs stages and quotes clips here, built when first needed. Raises JournalError.

        For a stage of an `inbox` raises Unavailable where that is not configured here, or not served yet.
        """
        with self._lock:
            if self._runner is None or (inbox and inbox not in self._runner.tools.folders_of):
                self._runner = self._built(self._settings)
            if inbox and inbox not in self._runner.tools.folders_of:
                raise Unavailable(errno.ENODEV, f"it knows no inbox {inbox}")
            return self._runner

    def _built(self, settings: Settings) -> StageRunner:
        """Build what runs stages, with what the journal knows of the folders. Raises JournalError."""
        journal = Journal.read(self._address)
        if journal is None:
            raise LookupError(f"there is no journal in {self._address}")
        with closing(journal):
            # What this node finds out of a folder is not recorded: the leader does that.
            folders = InboxFolders(journal, settings.journal.path, lambda _: None)
            secret = name_secret_of(journal)
        provider = provider_of(settings)
        follow = follows(lambda: provider, cache(partial(provider_of, settings)), settings.provider.addresses)
        catalog = Catalog.load(settings.models)
        # The address of an upload is kept in the memory of who uploaded, which has to be who submits.
        ways = [
            PutLater(way) if way.name == "upload" else way for way in ways_of(settings, SecretNames(secret))
        ]
        now = self._membership.now
        depot = Depot(ways, now)
        tools = Tools(folders.served(settings), provider, catalog, depot, follow, signer=signer_of(settings))
        # What spends, publishes or moves a source is the leader's alone.
        return StageRunner(
            tools, self._decoder, SendMarks(None), now, may_send=lambda: False, stopping=self._is_ending
        )
