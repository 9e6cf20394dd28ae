"""The lease of the node that leads: a row with node, epoch and until when, by the database's clock.

A leader may be frozen at any moment, for longer than its lease. Three things keep it from paying for what
its successor pays for: each transaction begins with the row (`fence`), so nothing more is recorded; a
request's intent is in the journal and in the ledger before its first byte, so the successor knows of it; and
right before that byte the node's own clock is asked (`may_send`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from clipspool.journal.database import Fence, read_statements
from clipspool.journal.files import JournalError
from clipspool.system.process import seconds_since_boot

_SPARE = 0.2
"""The part of a lease that has to be left where a transaction begins: its request is sent after it."""
_SEND_SPARE = 0.1
"""The part that has to be left right before the first byte: two machines' clocks differ in their rate."""
_TRANSACTION = 2 / 3
"""The part that a transaction may take: one that froze must not keep a take-over waiting."""

_STATEMENTS = read_statements(Path(__file__).with_name("farm.sql"))


class LeaseLost(JournalError):
    """This node leads no more, or not for long enough: what was gathered is dropped."""


def ask(
    connection: psycopg.Connection[Any], name: str, values: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """Run a statement of `farm.sql` by its name, and return its rows; none where it returns none."""
    with connection.cursor(row_factory=dict_row) as cursor:
        cursor.execute(_STATEMENTS[name].encode(), values)
        return cursor.fetchall() if cursor.description else []


class Lease:
    """One term of leading; all threads may use it, and the heartbeat's alone renews and ends it."""

    def __init__(
        self,
        node: str,
        epoch: int,
        seconds: float,
        asked_at: float,
        *,
        at: float = 0.0,
        lost: tuple[str, float] = ("", 0.0),
        passed: Callable[[], float] = seconds_since_boot,
    ) -> None:
        """`asked_at`: when the take-over was sent, by `passed`, which counts the sleep of the machine too.

        `at`: when the database carried it out, in Unix seconds by its clock.
        """
        self.node, self.epoch, self.seconds = node, epoch, seconds
        self.lost_node, self.lost_seconds = lost
        """The last node that lost its lease instead of giving it back, empty for none, and how long ago."""
        self._passed = passed
        self._deadline = asked_at + seconds
        self._booted_at = at - asked_at
        self._ended = threading.Event()

    def fence(self, connection: psycopg.Connection[Any]) -> None:
        """Begin a transaction of the leader; raises LeaseLost, and then nothing of it may be done."""
        left = {"node": self.node, "epoch": self.epoch, "spare": self.seconds * _SPARE}
        # In the same transaction as all that follows: a leader that was frozen in between records nothing.
        if self.is_ended or not ask(connection, "fence", left):
            raise LeaseLost(f"The node {self.node} no longer leads the farm (epoch {self.epoch}).")

    @property
    def as_fence(self) -> Fence:
        """The fence for the journal's writer."""
        return Fence(self.fence, self.seconds * _TRANSACTION)

    def may_send(self) -> bool:
        """Whether a paid request may still leave, by this node's own clock.

        The deadline counts from before the renewal was sent, so it is never later than the database's. The
        clock goes on while the machine sleeps: one that stops with it would let a request go after the lease.
        """
        return not self.is_ended and self._passed() < self._deadline - self.seconds * _SEND_SPARE

    def now(self) -> float:
        """Return the Unix time for what the leader records, by the database's clock of the take-over.

        Nodes' clocks may differ by hours: to the next leader a task would be overdue, or not due for hours.
        """
        return self._booted_at + self._passed()

    def renewed(self, asked_at: float) -> None:
        """Count from a renewal that was sent at `asked_at`."""
        self._deadline = asked_at + self.seconds

    @property
    def is_ended(self) -> bool:
        """Whether it was lost or given back, for good."""
        return self._ended.is_set()

    def end(self) -> None:
        """End it: no request may leave any more."""
        self._ended.set()
