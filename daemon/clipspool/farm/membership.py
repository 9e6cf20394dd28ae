"""Keeps this node's row in the farm fresh, and its lease, in a thread with a connection of its own.

Nothing else waits in that thread: neither a slow turn nor a file server that hangs ends a lease.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import psycopg
import structlog
from psycopg.types.json import Jsonb

from clipspool.farm.lease import Lease, ask
from clipspool.farm.nodes import Identity, Member, members, node_json, sees_more
from clipspool.journal.files import JournalError
from clipspool.system.process import seconds_since_boot

log = structlog.get_logger()

Connect = Callable[[], "psycopg.Connection[Any]"]
"""Opens a connection that commits each statement; raises JournalError."""

_BEATS = 5
"""Heartbeats in a lease: four may be lost."""
_BEAT_SECONDS_MAX = 3.0
_HEIR_SECONDS = 5.0
"""How long a lease that was given back for one node to take is kept for that node."""
_STEP_SECONDS = 0.05
_AGAIN_SECONDS = 0.5
_LATE = 0.1
"""The part of a lease by which a transaction of the former leader may outlast it."""
_HAND_OVER_BEATS = 2
"""Heartbeats in a row in which another node has to see more, before a leader hands over."""


class Membership:
    """This node in the farm. `start` once; all properties serve any thread."""

    def __init__(
        self,
        connect: Connect,
        identity: Identity,
        lease_seconds: float,
        *,
        sees: Callable[[], Collection[str]] = frozenset,
        doing: Callable[[], str] = str,
        leads_on: Callable[[], bool] = lambda: True,
        passed: Callable[[], float] = seconds_since_boot,
    ) -> None:
        """`sees` returns the inboxes that this node can reach, `doing` a line for people.

        `leads_on`: whether the scheduler still turns; without it the lease runs out. The caller holds the
        lock that `identity.place` names. `passed` counts seconds, the machine's sleep included.
        """
        self.identity = identity
        self.lease: Lease | None = None
        """The lease that was taken last; it may have ended."""
        self._drained_at: float | None = None
        self.replaced_by = ""
        """Who has taken this node's name, in words; empty while it is its own."""
        self.trouble = ""
        """Why the database cannot be asked; empty while it can."""
        self.members: Sequence[Member] = ()
        """All nodes, read right before this one takes the lead, and at each heartbeat while it leads."""
        self.heir = ""
        """The node that sees more inboxes than this one, which leads; empty for none."""
        self.has_orders = False
        """Whether orders waited for the leader at the last heartbeat."""
        self._connect, self._seconds = connect, lease_seconds
        self._sees, self._doing, self._leads_on, self._passed = sees, doing, leads_on, passed
        self._beat_seconds = min(lease_seconds / _BEATS, _BEAT_SECONDS_MAX)
        self._connection: psycopg.Connection[Any] | None = None
        self._is_registered = False
        self._booted_at = time.time() - passed()
        self._in_contact_since: float | None = None
        self._blind_beats = 0
        self._wants_lead = threading.Event()
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    # --- from any thread ----------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to beat."""
        self._thread.start()

    def now(self) -> float:
        """Return the Unix time by the database's clock; this machine's may be wrong by days."""
        return self._booted_at + self._passed()

    @property
    def leads(self) -> bool:
        """Whether this node leads, as far as it knows."""
        return self.lease is not None and not self.lease.is_ended

    @property
    def is_drained(self) -> bool:
        """Whether the operator wants this node to finish and take nothing more."""
        return self._drained_at is not None

    @property
    def drained_seconds(self) -> float:
        """The seconds since this node knows that; 0 while it is not drained."""
        since = self._drained_at
        return 0.0 if since is None else self._passed() - since

    @property
    def nodes(self) -> list[dict[str, Any]]:
        """All nodes as `status --json` has them."""
        return [node_json(one) for one in self.members]

    @property
    def has_page(self) -> bool:
        """Whether any node of the farm has a page, or had one before it went; asked by who leads."""
        return any(one.has_page for one in self.members)

    def await_lead(self, seconds: float) -> Lease | None:
        """Wait at most `seconds` for the lead; None where it did not come, or cannot come."""
        if not self._wants_lead.is_set():
            self._wants_lead.set()
            self._wake.set()
        with self._changed:
            self._changed.wait_for(lambda: self.leads or bool(self.replaced_by), seconds)
        return self.lease if self.leads else None

    def look_now(self) -> None:
        """Beat at once instead of in some seconds."""
        self._wake.set()

    def give_back(self, heir: str = "") -> None:
        """End the lease and record that, so that another node need not wait for it; `heir` goes first."""
        self._wants_lead.clear()
        lease = self.lease
        if lease is None or lease.is_ended:
            return
        # Ended here before it is free there: between the two nobody sends, in the other order two would.
        lease.end()
        with suppress(psycopg.Error, JournalError), self._connect() as connection:
            ask(connection, "release", {"node": lease.node, "epoch": lease.epoch, "heir": heir})

    def stop(self) -> None:
        """Stop beating, and record that this node has ended."""
        self.give_back()
        self._stopping.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(self._beat_seconds)
        with suppress(psycopg.Error, JournalError), self._connect() as connection:
            ask(connection, "stop", asdict(self.identity))

    # --- the heartbeat ------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                pause = self.beat()
            except (psycopg.Error, JournalError) as error:
                self._lose_contact(error)
                pause = min(self._beat_seconds, 1.0)
            self._wake.wait(pause)
            self._wake.clear()
        if self._connection is not None:
            self._connection.close()

    def beat(self) -> float:
        """Write and read once; return after how many seconds to do so again.

        Raises psycopg.Error and JournalError.
        """
        connection = self._open()
        leads = self.leads
        lease = self.lease if leads and self._leads_on() else None  # else it may run out
        values = {
            **self._names,
            "sees": Jsonb(sorted(self._sees())),
            "doing": self._doing(),
            "epoch": None if lease is None else lease.epoch,
            "seconds": self._seconds,
        }
        # Counted from before the question: this node must never believe that its lease lasts longer.
        asked_at = self._passed()
        (row,) = ask(connection, "beat", values)
        self._booted_at = row["at"] - asked_at
        is_drained = row["is_drained"]  # None where this node is not entered
        if is_drained is None and not self._register_again(connection):
            return self._beat_seconds
        if not is_drained:
            self._drained_at = None
        elif self._drained_at is None:
            self._drained_at = self._passed()
        if self._in_contact_since is None:
            self._in_contact_since = self._passed()
        self.trouble, self.has_orders = "", row["has_orders"]
        if lease is not None:
            if row["is_renewed"]:
                lease.renewed(asked_at)
            elif is_drained is not None:
                self._lose_lease("it ran out")
            self._look_for_heir(connection)
        if leads:
            return self._beat_seconds
        return self._take_over_if_free(connection, row)

    @property
    def _names(self) -> dict[str, Any]:
        return {"name": self.identity.name, "instance": self.identity.instance}

    def _open(self) -> psycopg.Connection[Any]:
        if self._connection is None or self._connection.closed:
            self._connection = self._connect()
            if not self._is_registered:
                self._register(self._connection)
        return self._connection

    def _register(self, connection: psycopg.Connection[Any]) -> None:
        row = asdict(self.identity) | {"stages": Jsonb(list(self.identity.stages)), "seconds": self._seconds}
        ask(connection, "register", row)
        self._is_registered = True

    def _register_again(self, connection: psycopg.Connection[Any]) -> bool:
        """Enter this node again where a restored database lacks it; False where another one has its name."""
        found = ask(connection, "namesake", self._names)
        if not found or found[0]["place"] == self.identity.place:  # its process has ended: the lock is ours
            self._register(connection)
            return True
        self.replaced_by = f"process {found[0]['pid']} on {found[0]['host']}"
        self._lose_lease("another one has its name")
        with self._changed:
            self._changed.notify_all()
        return False

    def _lose_contact(self, error: Exception) -> None:
        why = " ".join(str(error).split()) or type(error).__name__
        if not self.trouble:
            log.warning("database_not_reached", why=why)
        self.trouble = why
        # After an outage nobody but the former leader takes over for one lease: it may still be at work.
        self._in_contact_since = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    # --- the lease ----------------------------------------------------------------------------------------

    def _look_for_heir(self, connection: psycopg.Connection[Any]) -> None:
        """Find the node to hand over to, where this one lacks an inbox that the other sees."""
        self.members = members(connection)
        better = sees_more(self.members, self.identity.name, self._sees())
        self._blind_beats = self._blind_beats + 1 if better else 0
        self.heir = better if self._blind_beats >= _HAND_OVER_BEATS else ""

    def _lose_lease(self, why: str) -> None:
        if self.leads and self.lease is not None:
            self.lease.end()
            log.warning("lead_lost", node=self.lease.node, epoch=self.lease.epoch, why=why)

    def _take_over_if_free(self, connection: psycopg.Connection[Any], row: Mapping[str, Any]) -> float:
        """Take the lead where it is free; `row` says who has it. Return the seconds until the next beat."""
        is_ours = row["place"] == self.identity.place
        wait = 0.0 if is_ours or not row["node"] else self._seconds_to_expiry(row["left_seconds"])
        if row["heir"] not in {"", self.identity.name}:
            wait = max(wait, _HEIR_SECONDS + row["left_seconds"])
        if wait > 0:
            soon = _AGAIN_SECONDS if row["is_handed_over"] else self._beat_seconds
            return min(wait + _STEP_SECONDS, soon, self._beat_seconds)
        if (
            self._wants_lead.is_set()
            and not self.is_drained
            and not self._defers(connection, row["left_seconds"])
        ):
            self._take_over(connection, row["epoch"], row["node"])
            return self._beat_seconds if self.leads else min(_AGAIN_SECONDS, self._beat_seconds)
        return self._beat_seconds

    def _seconds_to_expiry(self, left_seconds: float) -> float:
        since = self._in_contact_since
        contact = self._seconds if since is None else self._seconds - (self._passed() - since)
        return max(left_seconds, contact)

    def _defers(self, connection: psycopg.Connection[Any], left_seconds: float) -> bool:
        """Whether to let a node go first that sees more inboxes, for a while."""
        self.members = members(connection)
        better = sees_more(self.members, self.identity.name, self._sees())
        return bool(better) and left_seconds > -_HEIR_SECONDS

    def _take_over(self, connection: psycopg.Connection[Any], epoch: int, before: str) -> None:
        late = {"epoch": epoch, "seconds": self._seconds * _LATE}
        # The open transaction of a frozen leader holds the lease's row: nobody could lead until it thaws.
        ask(connection, "end_transactions_of_former_leader", late)
        name, asked_at = self.identity.name, self._passed()
        taken = ask(
            connection,
            "take_over",
            {"node": name, "epoch": epoch, "seconds": self._seconds, "place": self.identity.place},
        )
        if not taken:
            return
        (row,) = taken
        self.heir, self._blind_beats = "", 0
        with self._changed:
            lost = (row["lost"], row["lost_seconds"])
            term = {"at": row["at"], "lost": lost, "passed": self._passed}
            self.lease = Lease(name, row["epoch"], self._seconds, asked_at, **term)
            self._changed.notify_all()
        log.info("leads", node=name, epoch=self.lease.epoch, after=before or None)
