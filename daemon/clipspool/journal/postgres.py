"""Runs the statements of the journal by name on one connection, for a journal that several machines share.

A connection that is lost ends what was gathered: the journal is opened and read again.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Self

import psycopg
from psycopg.errors import InFailedSqlTransaction
from psycopg.pq import TransactionStatus

from clipspool.journal.database import Address, Database, Fence, Row, journal_statements
from clipspool.journal.files import JournalError
from clipspool.journal.migrations.postgres import HEAD, SCRIPTS
from clipspool.journal.server import connect, number_of, refuse_unfit, translated
from clipspool.system.process import closed_on_error

_WRITER: Mapping[str, str] = {
    # A turn takes milliseconds. A writer that froze must not keep its locks for long.
    "idle_in_transaction_session_timeout": "10s",
    "statement_timeout": "10s",
    "lock_timeout": "5s",
}
_READER: Mapping[str, str] = {
    "idle_in_transaction_session_timeout": "60s",
    "statement_timeout": "60s",
    "default_transaction_read_only": "on",
}
_DURABLE = (
    b"SELECT set_config('synchronous_commit', 'on', false) "
    b"WHERE current_setting('synchronous_commit') IN ('off', 'local')"
)
"""A commit that was acknowledged must outlive a crash: it may have let a request go."""
_OWNERSHIP = b"SELECT pg_try_advisory_lock(hashtext('clipspool writes'), hashtext(current_schema()))"
_OWNERSHIP_TOGETHER = _OWNERSHIP.replace(b"lock(", b"lock_shared(")
MIGRATING = b"SELECT pg_advisory_xact_lock(hashtext('clipspool migrates'), hashtext(current_schema()))"
_OWNERSHIP_SECONDS = 12.0
"""Longer than the server takes to notice that the last owner's machine is gone."""
_LIVE_NODES = (
    b"SELECT string_agg(name, ', ' ORDER BY name) FROM nodes "
    b"WHERE stopped_at IS NULL AND seen_at > now() - make_interval(secs => lease_seconds)"
)
_LOOK_AGAIN_SECONDS = 0.2
_FENCED_SECONDS_MAX = 10.0


def _in_psycopgs_words(statement: str) -> bytes:
    """Turn `:name` into psycopg's `%(name)s`; `::TYPE` stays."""
    return re.sub(r"(?<!:):(\w+)", r"%(\1)s", statement).encode()


def _from_arrays(columns: Mapping[str, str]) -> str:
    """Return the SQL of a table whose columns are passed as one list each: `:0`, `:1` and so on."""
    arrays = (f":{at}::{kind}[]" for at, kind in enumerate(columns.values()))
    return f"unnest({', '.join(arrays)}) AS new ({', '.join(columns)})"


STATEMENTS = {
    name: _in_psycopgs_words(statement)
    for name, statement in journal_statements(
        "postgres.sql", is_in="= ANY (:{}::TEXT[])", is_not_in="!= ALL (:{}::TEXT[])", rows=_from_arrays
    ).items()
}


class PostgresDatabase(Database):
    """A connection for one thread at a time; see `Database`."""

    def __init__(
        self, address: Address, connection: psycopg.Connection, *, is_reader: bool, fence: Fence | None = None
    ) -> None:
        self._address = address
        self._connection: psycopg.Connection = connection
        self._is_reader = is_reader
        self._fence = fence
        self._failed: JournalError | None = None
        """Why the open transaction cannot go on, where a statement of it failed."""

    @classmethod
    def open(cls, address: Address, fence: Fence | None = None) -> Self:
        """Open a journal for writing, made or migrated where needed, while nobody else writes it.

        `fence` begins each transaction, and raises where this process may write no more; without one a lock
        of the session keeps others away. Raises JournalUnreachable where the server does not answer, and
        JournalError.
        """
        return cls(address, connect_to_write(address, fence), is_reader=False, fence=fence)

    @classmethod
    def read(cls, address: Address) -> Self | None:
        """Open a journal for reading; None where there is none.

        Raises JournalUnreachable where the server does not answer, and JournalError.
        """
        connection = connect(address, _READER, target="any")
        with translated(address), closed_on_error(connection):
            number = number_of(connection)
            if number is not None and number != HEAD:
                raise _of_another_version(address, number)
        if number is None:
            connection.close()
            return None
        return cls(address, connection, is_reader=True)

    # --- statements by name -------------------------------------------------------------------------------

    def run(self, name: str, /, **values: Any) -> None:
        """Run a statement for its effect; it gets `rows` as a list a column."""
        if "rows" in values:
            columns = zip(*values["rows"], strict=True)
            values = {str(at): _as_array(column) for at, column in enumerate(columns)}
        self._execute(name, values)

    def run_many(self, name: str, rows: Sequence[Row]) -> None:
        """Run a statement once for each row, in one step."""
        with self._translated():
            self._connection.cursor().executemany(STATEMENTS[name], rows)

    def _answer(self, name: str, values: Mapping[str, Any]) -> tuple[list[str], list[Any]]:
        cursor = self._execute(name, values)
        return [column.name for column in cursor.description or ()], cursor.fetchall()

    def _execute(self, name: str, values: Mapping[str, Any]) -> psycopg.Cursor[tuple[Any, ...]]:
        with self._translated():
            if self._is_reader and self._connection.info.transaction_status is TransactionStatus.IDLE:
                # All answers are of one moment, until `rollback`.
                self._connection.execute(b"BEGIN ISOLATION LEVEL REPEATABLE READ")
            return self._connection.execute(STATEMENTS[name], values)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Raise what the world did as JournalError: for all statements of a transaction what the first met.

        A caller may swallow that, and the server says of those that follow no more than that it was.
        """
        try:
            with translated(self._address):
                yield
        except JournalError as error:
            if self._failed is not None and isinstance(error.__cause__, InFailedSqlTransaction):
                raise type(self._failed)(str(self._failed)) from error
            self._failed = error
            raise

    # --- transactions ---------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Begin to write; raises JournalError where a newer clipspool has changed the tables meanwhile.

        Also where the fence says that this process may write no more. Then nothing can be written any more: a
        caller may swallow the error, as the scheduler does for an operator's command, and go on in its turn.
        """
        self._failed = None
        with translated(self._address), closed_on_error(self._connection):
            cursor = self._connection.execute(b"BEGIN; SELECT number FROM journal_schema")
            cursor.nextset()
            ((number,),) = cursor.fetchall()
            self.in_transaction = True
            if number != HEAD:
                raise _of_another_version(self._address, number)
            if self._fence is not None:
                self._fence.check(self._connection)

    def commit(self) -> None:
        """Make the transaction durable.

        Raises JournalUnreachable where the server does not answer: the transaction may be durable or lost.
        """
        with translated(self._address):
            ended = self._connection.execute(b"COMMIT").statusmessage
        self.in_transaction = False
        # A transaction in which a statement failed ends with ROLLBACK, whatever is asked. Where a caller
        # swallowed that error, an intent would be lost and its gate would open.
        if ended != "COMMIT":
            raise JournalError(f"The journal in {self._address} undid the change ({ended}).")

    def rollback(self) -> None:
        """Roll back the open transaction, if there is one; the next query sees the journal as it is then."""
        self.in_transaction = False
        if self._connection.info.transaction_status is not TransactionStatus.IDLE:
            with suppress(psycopg.OperationalError):  # then there is none any more
                self._connection.execute(b"ROLLBACK")


def _as_array(column: Sequence[Any]) -> list[Any]:
    """Return a column's values for an array, which may not hold both whole numbers and fractions."""
    if any(isinstance(value, float) for value in column):
        return [None if value is None else float(value) for value in column]
    return list(column)


def connect_to_write(address: Address, fence: Fence | None = None) -> psycopg.Connection:
    """Connect as the one writer of a journal, whose tables are made or changed where needed.

    With a fence there may be a former writer, which the fence stops. Raises JournalUnreachable where the
    server does not answer, and JournalError.
    """
    connection = connect(address, _WRITER)
    with translated(address), closed_on_error(connection):
        refuse_unfit(address, connection)
        connection.execute(_DURABLE)
        _become_owner(address, connection, is_fenced=fence is not None)
        if fence is not None:
            within = f"{min(fence.seconds, _FENCED_SECONDS_MAX) * 1000:.0f}ms"
            for key in ("idle_in_transaction_session_timeout", "statement_timeout", "lock_timeout"):
                connection.execute(b"SELECT set_config(%s, %s, false)", (key, within))
        _migrate(address, connection)
    return connection


def connect_beside(address: Address) -> psycopg.Connection:
    """Connect beside the journal's writer, for statements that are a transaction each.

    Raises JournalUnreachable where the server does not answer, and JournalError.
    """
    return connect(address, _WRITER)


def make_schema(address: Address) -> None:
    """Make a new journal's tables, or change an older one's, before anybody leads.

    Raises JournalUnreachable where the server does not answer, and JournalError.
    """
    with connect_beside(address) as connection, translated(address):
        refuse_unfit(address, connection)
        _migrate(address, connection)


def _become_owner(address: Address, connection: psycopg.Connection, *, is_fenced: bool) -> None:
    """Keep other writers away as long as the connection lasts; raises JournalError where there is one.

    Fenced writers keep each other away by their fences, and together those that have none.
    """
    wanted = _OWNERSHIP_TOGETHER if is_fenced else _OWNERSHIP
    until = time.monotonic() + _OWNERSHIP_SECONDS
    while connection.execute(wanted).fetchone() != (True,):
        if time.monotonic() >= until:
            raise JournalError(f"Another clipspool writes the journal in {address}: stop it first.")
        time.sleep(_LOOK_AGAIN_SECONDS)


def _migrate(address: Address, connection: psycopg.Connection) -> None:
    """Make a new journal's tables, or change an older one's, in one transaction."""
    if number_of(connection) == HEAD:
        return
    with connection.transaction():
        connection.execute(b"SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0")
        connection.execute(MIGRATING)
        number = number_of(connection)
        if number is not None and number > HEAD:
            raise _of_another_version(address, number)
        if number is not None:
            _refuse_older_nodes(address, connection, number)
        for one, script in SCRIPTS.items():
            if number is None or one > number:
                connection.execute(script)


def _refuse_older_nodes(address: Address, connection: psycopg.Connection, number: str) -> None:
    """Raise JournalError where nodes of an older version still run: they could not write any more."""
    if connection.execute(b"SELECT to_regclass('nodes')").fetchone() == (None,):
        return
    live = connection.execute(_LIVE_NODES).fetchone()
    if live is not None and live[0]:
        raise JournalError(
            f"The journal in {address} is in use by an older clipspool (schema {number}, this has {HEAD}) "
            f"on {live[0]}: stop those nodes first, and install the same version on all."
        )


def _of_another_version(address: Address, number: str) -> JournalError:
    if number > HEAD:
        return JournalError(
            f"The journal in {address} belongs to a newer clipspool (schema {number}, this one knows "
            f"{HEAD}); all nodes have to be of one version."
        )
    return JournalError(
        f"The journal in {address} belongs to an older clipspool (schema {number}, this one reads {HEAD}); "
        "`clipspool run` takes it over."
    )
