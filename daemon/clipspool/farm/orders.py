"""Orders from any node to the leader: a row each, taken up once, answered in the row.

An order is never carried out twice: what became of one whose leader ended meanwhile, a person looks up.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import psycopg
import structlog
from psycopg.types.json import Jsonb

from clipspool.farm.lease import Lease, ask
from clipspool.farm.membership import Connect, Membership
from clipspool.jobs.faults import OperatorError
from clipspool.journal.files import JournalError
from clipspool.system.process import start_thread

log = structlog.get_logger()

ANSWER_SECONDS = 30.0
_CHANNEL = b"clipspool_orders"
_LOOK_SECONDS = 2.0
_OLD_SECONDS = 60.0
"""An order that nobody took for this long is not carried out any more: who gave it has gone on."""
_REST_SECONDS = (0.05, 0.5)
_LATE = "no node that leads took it up in time; nothing was done"
_LOST = (
    "the node that took it up leads no more, and may have carried it out or not: look at the jobs before you "
    "give it again"
)
_SILENCE = "the node that leads has not answered yet; it may still carry it out"
_UNKNOWN = "; the order may be carried out all the same: look at the jobs before you give it again"


class NotAnswered(OperatorError):
    """An order was not carried out, or nobody knows; the message says which."""


def give(connect: Connect, node: str, command: str, arguments: Mapping[str, Any], seconds: float) -> Any:
    """Have the leader carry out a command, and return its answer; raises NotAnswered, JournalError."""
    try:
        with connect() as connection:
            row = {"node": node, "command": command, "arguments": Jsonb(dict(arguments))}
            (given,) = ask(connection, "give_order", row)
            connection.execute(b"NOTIFY " + _CHANNEL)
            return _await(connection, given["id"], seconds)
    except psycopg.DataError as error:
        raise NotAnswered("the order was not given: a part of it is no UTF-8, or holds a NUL") from error
    except psycopg.Error as error:
        why = f"the farm's database cannot be asked ({' '.join(str(error).split())})"
        # Where the connection was lost the order may be there, and the leader takes it up.
        is_unknown = isinstance(error, psycopg.OperationalError)
        raise NotAnswered(why + _UNKNOWN * is_unknown) from error


def _await(connection: psycopg.Connection[Any], order: int, seconds: float) -> Any:
    until, rest = time.monotonic() + seconds, _REST_SECONDS[0]
    while True:
        (row,) = ask(connection, "look_at_order", {"id": order})
        if row["is_answered"]:
            if row["trouble"]:
                raise NotAnswered(row["trouble"])
            return row["answer"]
        if time.monotonic() >= until:
            break
        time.sleep(rest)
        rest = min(rest * 1.5, _REST_SECONDS[1])
    if ask(connection, "withdraw_order", {"id": order}):
        raise NotAnswered("no node of the farm leads now, so nothing was done (`clipspool farm` shows them)")
    raise NotAnswered(_SILENCE)


class OrderDesk:
    """Takes up orders for the leader, for one term, in a thread with a connection of its own."""

    def __init__(
        self,
        connect: Connect,
        lease: Lease,
        answer: Callable[[str, Mapping[str, Any]], Any],
        heartbeat: Membership,
    ) -> None:
        """`answer` carries out a command; what it raises is the order's answer.

        `heartbeat` sees orders whose notice was lost, and looks at once where a notice came.
        """
        self.snapshot: Mapping[str, Any] = {}
        """What only the leader knows, kept for the other nodes whenever it changed."""
        self._kept: Mapping[str, Any] = {}
        self._connect, self._lease, self._answer, self._heartbeat = connect, lease, answer, heartbeat
        self._stopping = threading.Event()

    def start(self) -> None:
        """Begin to take orders."""
        start_thread(self._run, "orders")

    def stop(self) -> None:
        """Take no more."""
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.is_set() and not self._lease.is_ended:
            try:
                with self._connect() as connection:
                    connection.execute(b"LISTEN " + _CHANNEL)
                    self._serve(connection)
            except (psycopg.Error, JournalError):
                self._stopping.wait(_LOOK_SECONDS)

    def _serve(self, connection: psycopg.Connection[Any]) -> None:
        ask(connection, "forget_orders")
        ask(connection, "forget_nodes")
        is_noticed = True  # what came before it listened
        while not self._stopping.is_set() and not self._lease.is_ended:
            # A notice is a hint, and one may be lost: then the heartbeat has seen the order.
            if is_noticed or self._heartbeat.has_orders:
                self.look(connection)
            if is_noticed:
                self._heartbeat.look_now()  # this node may have been drained
            if self.snapshot != self._kept:
                self._kept = self.snapshot
                row = {"epoch": self._lease.epoch, "body": Jsonb(dict(self._kept))}
                ask(connection, "keep_snapshot", row)
            is_noticed = any(True for _ in connection.notifies(timeout=_LOOK_SECONDS, stop_after=1))

    def look(self, connection: psycopg.Connection[Any]) -> None:
        """Take up what is there, each order in a thread of its own.

        One may ask a provider or a file server.
        """
        limits = {"epoch": self._lease.epoch, "old": _OLD_SECONDS, "late": _LATE, "lost": _LOST}
        for order in ask(connection, "take_orders", limits):
            start_thread(self._carry_out, "order-1", order)

    def _carry_out(self, order: Mapping[str, Any]) -> None:
        trouble, answer = None, None
        try:
            answer = self._answer(order["command"], order["arguments"])
        except TimeoutError:  # its scheduler hangs, perhaps with the database
            trouble = _SILENCE
        except Exception as error:  # noqa: BLE001 - it is the answer; the leader goes on
            trouble = str(error) or type(error).__name__
        with suppress(psycopg.Error, JournalError), self._connect() as connection:
            row = {"id": order["id"], "answer": Jsonb(answer), "trouble": trouble}
            ask(connection, "answer_order", row)
