"""Runs a node of a farm: it follows until it leads, then runs the daemon for a term, then starts over.

A term ends when its lease is lost, the database is gone, or the operator or another node wants the lead:
answers under way go to the ledgers, nothing more is sent, and the process replaces itself. No thread of a
former term can act beside the next one, which begins by reading the journal, so that a commit of unknown end
is known then. Without a database in common there is one term, which lasts as long as the process.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from clipspool import __version__
from clipspool.app.build import CannotStart, announce, lock_journal, open_send_marks
from clipspool.app.daemon import Daemon
from clipspool.app.node_sight import looks_of
from clipspool.app.settings import Settings
from clipspool.app.term import DRAIN_SECONDS, Term
from clipspool.journal import Address, Journal, JournalError, JournalUnreachable
from clipspool.journal.place import require_driver
from clipspool.reporting.headline import headline_of
from clipspool.reporting.health import TURN_SECONDS_MAX
from clipspool.system import logs
from clipspool.system.process import boot_id, closed_on_error, keep_what_is_loaded, on_any_processor
from clipspool.system.signals import Signals, keep_for_next
from clipspool.system.systemd import Service

if TYPE_CHECKING:
    from clipspool.farm.lease import Lease
    from clipspool.farm.nodes import Identity

log = structlog.get_logger()

_LOOK_SECONDS = 0.5
_STEP_SECONDS = 1.0
_SAY_SECONDS = 60.0
_SNAPSHOT_SECONDS = 2.0
_WAITING_MAX = 200
_HAND_OVER_SECONDS = 5.0
"""For what is under way when another node gets the lead because it reaches more inboxes: here it may hang."""


class Replaced(CannotStart):
    """Another node of the farm has this one's name."""


def run(settings: Settings, *, until_idle: bool = False, accept_restored: bool = False) -> None:
    """Run the daemon, alone or as a node of a farm; returns at SIGTERM and the like.

    Raises CannotStart and JournalError. Where a node's term ends otherwise it does not return: the process
    begins again, with the same number and command.
    """
    place = settings.journal.place
    if not isinstance(place, Address):
        daemon = Daemon(settings)
        keep_what_is_loaded()
        daemon.run(until_idle=until_idle, accept_restored=accept_restored)
        return
    try:
        require_driver()
    except JournalError as error:
        raise CannotStart(str(error)) from error
    node = FarmNode(settings, place)
    logs.name_node(settings.farm.name)
    try:
        is_over = node.run(until_idle=until_idle, accept_restored=accept_restored)
    finally:
        node.close()
    if not is_over:
        _start_over(node.is_stopping)


class FarmNode:
    """One process of a farm. Built and run by one thread."""

    def __init__(self, settings: Settings, address: Address) -> None:
        """Lock this machine's state, and ask nothing of the database yet; raises CannotStart."""
        self.settings, self._address = settings, address
        self._signals, self._service = Signals(self._wake), Service()
        self._daemon: Daemon | None = None
        self._announcement = announce(settings)
        with closed_on_error(self._announcement):
            self._lock = lock_journal(settings)
        self._send_marks = open_send_marks(settings.journal.path)
        self._snapshot_at = 0.0

    def _wake(self) -> None:
        if self._daemon is not None:
            self._daemon.wake()

    def is_stopping(self) -> bool:
        """Whether this process was asked to stop."""
        return self._signals.stopping.is_set()

    def close(self) -> None:
        """Release this machine's state."""
        self._lock.release()
        self._announcement.close()

    def run(self, *, until_idle: bool, accept_restored: bool) -> bool:
        """Run until the process has to end; False where it has to start over. Raises CannotStart."""
        # A daemon that is alone needs no driver.
        from clipspool.app.node_stages import NodeStages  # noqa: PLC0415
        from clipspool.farm.membership import Membership  # noqa: PLC0415
        from clipspool.farm.sight import Sight  # noqa: PLC0415
        from clipspool.journal.postgres import connect_beside  # noqa: PLC0415

        self._signals.install()
        if not self._await_journal():
            return True
        self._connect = partial(connect_beside, self._address)
        self._sight = Sight(looks_of(self.settings))
        self._membership = Membership(
            self._connect,
            identity_of(self.settings),
            self.settings.farm.lease_seconds,
            sees=self._sight.names,
            doing=lambda: self._doing or self._stages.doing,
            leads_on=self._turns,
        )
        self._doing = ""
        self._stages = NodeStages(
            self.settings, self._address, self._membership, self._sight.names, self._signals.stopping.is_set
        )
        self._sight.start()
        self._membership.start()
        self._stages.start()
        begun = time.monotonic()
        lease = self._follow()
        is_over = True
        if lease is not None:
            # Money: what was accepted is the journal of that moment, and not what it lost while another led.
            accepts = accept_restored and time.monotonic() - begun < 2 * self.settings.farm.lease_seconds
            is_over = self._lead(lease, until_idle=until_idle, accept_restored=accepts)
        self._stages.stop()
        self._sight.stop()
        if is_over:
            self._membership.stop()
        if self._membership.replaced_by:
            raise Replaced(
                f"Another clipspool runs as the node {self.settings.farm.name} of this farm "
                f"({self._membership.replaced_by}): give each machine a name of its own, `node` in [farm]."
            )
        return is_over

    def _turns(self) -> bool:
        daemon = self._daemon
        return daemon is None or daemon.monitoring.turn_age_seconds() < TURN_SECONDS_MAX

    # --- before there is a database -------------------------------------------------------------------------

    def _await_journal(self) -> bool:
        """Wait until the database answers, and make its tables; False where the process has to end before."""
        from clipspool.journal.postgres import make_schema  # noqa: PLC0415

        said_at = -_SAY_SECONDS
        while not self._signals.stopping.is_set():
            try:
                make_schema(self._address)
            except JournalUnreachable as error:
                now = time.monotonic()
                if now - said_at >= _SAY_SECONDS:
                    log.warning("journal_awaited", why=str(error))
                    said_at = now
                self._service.ready(f"nothing is sent: {error}")
                self._service.watchdog()
                self._signals.wants_reload()  # it also notices a closed terminal
                self._signals.stopping.wait(_LOOK_SECONDS)
            except JournalError as error:
                raise CannotStart(str(error)) from error
            else:
                return True
        return False

    # --- following ------------------------------------------------------------------------------------------

    def _follow(self) -> Lease | None:
        """Answer for this node until it leads; None where the process has to end."""
        from clipspool.app.follower import Follower  # noqa: PLC0415

        membership = self._membership
        if (lease := membership.await_lead(_STEP_SECONDS)) is not None:
            return lease  # at once: a single node needs nobody to answer before
        follower = Follower(self.settings, self._address, membership, self._stages.runner)
        follower.start()
        log.info("follows", version=__version__, pid=os.getpid(), node=membership.identity.name)
        try:
            while not self._signals.stopping.is_set() and not membership.replaced_by:
                self._service.ready(follower.headline)
                self._service.watchdog()
                if self._signals.wants_reload() | follower.reloads.is_asked:
                    follower.reloads.answer(follower.reload)
                    self._use(follower.settings)
                    self._stages.use(self.settings)
                if (lease := membership.await_lead(_STEP_SECONDS)) is not None:
                    return lease
        finally:
            follower.stop()
        return None

    # --- leading --------------------------------------------------------------------------------------------

    def _lead(self, lease: Lease, *, until_idle: bool, accept_restored: bool) -> bool:
        """Run the daemon for one term; whether the process has to end after it."""
        from clipspool.farm.orders import OrderDesk  # noqa: PLC0415

        desk = None
        try:
            journal = Journal.open(self._address, lease.as_fence)
            self._daemon = daemon = Daemon(self.settings, self._term(lease, journal), now=lease.now)
            daemon.scheduler.work_elsewhere(self._stages.elsewhere())
            self._desk = desk = OrderDesk(self._connect, lease, daemon.answers.answer, self._membership)
            desk.start()
            daemon.run(until_idle=until_idle, accept_restored=accept_restored)
        except JournalError as error:
            if isinstance(error, JournalUnreachable):
                log.warning("journal_lost", node=lease.node, why=str(error))
            else:
                log.warning("term_ended", node=lease.node, epoch=lease.epoch, why=str(error))
            return self._signals.stopping.is_set()
        finally:
            self._daemon = None
            if desk is not None:
                desk.stop()
        return until_idle or self._signals.stopping.is_set()

    def _term(self, lease: Lease, journal: Journal) -> Term:
        membership = self._membership

        def is_over() -> bool:
            return lease.is_ended or membership.is_drained or bool(membership.heir)

        def drain_seconds() -> float:
            if lease.is_ended or membership.trouble:
                return lease.seconds
            return _HAND_OVER_SECONDS if membership.heir else DRAIN_SECONDS

        def close(is_sending: bool) -> None:
            # Where a request is still on its way nobody may take over before the lease has run out.
            if not is_sending and not membership.trouble:
                membership.give_back(membership.heir)
            lease.end()

        return Term(
            journal,
            self._send_marks,
            self._signals,
            is_excused=self._lock.was_excused,
            excuse=self._lock.excuse,
            pass_excuse_on=self._lock.pass_excuse_on,
            may_send=lease.may_send,
            is_over=is_over,
            drain_seconds=drain_seconds,
            lost_lead=lost_lead(lease, self.settings),
            node=lease.node,
            epoch=lease.epoch,
            nodes=lambda: membership.nodes,
            has_page=lambda: membership.has_page,
            each_turn=self._keep_snapshot,
            close=close,
        )

    def _use(self, settings: Settings) -> None:
        if settings is not self.settings:
            self.settings = settings
            self._sight.use(looks_of(settings))

    def _keep_snapshot(self) -> None:
        """Keep what only the leader knows, for the other nodes; in the scheduler's thread."""
        daemon, now = self._daemon, time.monotonic()
        if daemon is None or now - self._snapshot_at < _SNAPSHOT_SECONDS:
            return
        self._use(daemon.settings)
        self._snapshot_at = now
        status = daemon.answers.status(daemon.scheduler, _WAITING_MAX)
        # Each node reads the nodes itself; with them it would change, and be written, at each heartbeat.
        self._desk.snapshot = {key: value for key, value in status.items() if key != "nodes"}
        self._doing = headline_of(daemon.scheduler, {}, ())


def lost_lead(lease: Lease, settings: Settings) -> tuple[str, float] | None:
    """Return the node that lost its lead a moment ago, and the seconds in which it may still be answered."""
    left = settings.provider.connect_seconds + settings.provider.answer_seconds - lease.lost_seconds
    return (lease.lost_node, left) if lease.lost_node and left > 0 else None


def identity_of(settings: Settings) -> Identity:
    """Return what this process enters about itself; the caller holds the lock of its journal's path."""
    from clipspool.farm.nodes import Identity  # noqa: PLC0415

    machine = ""
    with suppress(OSError):
        machine = Path("/etc/machine-id").read_text().strip()
    lock = settings.journal.path.with_name(f"{settings.journal.path.name}.lock").stat()
    where = f"{machine}:{socket.gethostname()}:{boot_id()}:{lock.st_dev}:{lock.st_ino}"
    return Identity(
        name=settings.farm.name,
        instance=secrets.token_hex(8),
        place=hashlib.sha256(where.encode()).hexdigest()[:16],
        host=socket.gethostname(),
        pid=os.getpid(),
        version=__version__,
        stages=settings.farm.stages,
        has_page=settings.web.listen is not None,
    )


def _start_over(is_stopping: Callable[[], bool]) -> None:
    """Replace this process by a new one with the same number and command, unless it was asked to stop."""
    keep_for_next()
    if is_stopping():
        return
    # A journal that was restored was accepted as it was then: what the database lost since is another matter.
    words = [word for word in sys.orig_argv[1:] if word != "--accept-restored"]
    sys.stdout.flush()
    sys.stderr.flush()
    with on_any_processor():  # the new process may use those it begins with
        os.execv(sys.executable, [sys.orig_argv[0], *words])  # noqa: S606 - our own command
