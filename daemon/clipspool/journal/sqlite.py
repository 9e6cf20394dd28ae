"""Runs the statements of the journal by name on one connection, with settings fit for a power cut.

WAL with synchronous=FULL is the one setting of SQLite under which nothing acknowledged was lost when the
power went; it is set and read back. SQLite's errors become JournalError here, where they arise.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ParamSpec, Self, TypeVar

from clipspool.journal.database import Database, Row, journal_statements, to_json
from clipspool.journal.files import FileIdentity, JournalError, Lock, make_home, refuse_mark
from clipspool.journal.migrations import migrate, refuse_another, version_of
from clipspool.system.process import closed_on_error

_P = ParamSpec("_P")
_T = TypeVar("_T")

_WRITER: dict[str, str | int] = {
    "journal_mode": "wal",
    "synchronous": 2,
    "busy_timeout": 5000,
    "journal_size_limit": 64 << 20,  # to which the log is cut after a slow reader made it grow
    "foreign_keys": 1,
    "trusted_schema": 0,
}
_READER: dict[str, str | int] = {"busy_timeout": 5000, "trusted_schema": 0, "query_only": 1}
_OF_THE_DISK = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_NOMEM,
}
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def _from_json(columns: Mapping[str, str]) -> str:
    """Make a table of rows that come as a JSON array of arrays."""
    values = (f"json_extract(value, '$[{at}]') AS {name}" for at, name in enumerate(columns))
    return f"(SELECT {', '.join(values)} FROM json_each(:rows)) AS new"  # noqa: S608 - of columns in `statements.sql`


STATEMENTS = journal_statements(
    "sqlite.sql",
    is_in="IN (SELECT value FROM json_each(:{}))",
    is_not_in="NOT IN (SELECT value FROM json_each(:{}))",
    rows=_from_json,
)


class SQLiteDatabase(Database):
    """A connection for one thread at a time; a list is passed as JSON."""

    def __init__(self, path: Path, connection: sqlite3.Connection, *, is_reader: bool) -> None:
        self.path = path
        self._connection: sqlite3.Connection = connection
        self._is_reader = is_reader
        self._identity = FileIdentity()

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a journal for writing, checked, and made or migrated where needed; raises JournalError."""
        make_home(path)
        is_new = not path.exists()
        try:
            with closed_on_error(_connect(path, "mode=rwc")) as connection:
                _set(connection, _WRITER)
                if not is_new:
                    _check_integrity(connection, path)
                migrate(connection, path)
                database = cls(path, connection, is_reader=False)
                database._know_files()
        except (sqlite3.DatabaseError, OSError) as error:
            refuse_mark(path)
            raise JournalError(f"The journal {path} cannot be used ({error}). {_advice(error)}") from error
        return database

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Open a journal for reading beside its daemon; None where there is none. Raises JournalError."""
        if not path.exists():
            return None
        how = "mode=ro&immutable=1" if _is_at_rest(path) else "mode=ro"
        try:
            with closed_on_error(_connect(path, how)) as connection:
                _set(connection, _READER)
                version = version_of(connection)
                refuse_another(f"The journal {path}", version)
        except sqlite3.DatabaseError as error:
            refuse_mark(path)
            raise _unreadable(path, error) from error
        if version is None:
            connection.close()
            return None
        return cls(path, connection, is_reader=True)

    # --- statements by name -------------------------------------------------------------------------------

    def run(self, name: str, /, **values: Any) -> None:
        """Run a statement for its effect."""
        self._execute(name, values)

    def run_many(self, name: str, rows: Sequence[Row]) -> None:
        """Run a statement once for each row."""
        self._call(self._connection.executemany, STATEMENTS[name], rows)

    def _answer(self, name: str, values: Mapping[str, Any]) -> tuple[list[str], list[Any]]:
        cursor = self._execute(name, values)
        return [column[0] for column in cursor.description], self._call(cursor.fetchall)

    def _execute(self, name: str, values: Mapping[str, Any]) -> sqlite3.Cursor:
        bound = {key: to_json(value) if isinstance(value, list) else value for key, value in values.items()}
        if self._is_reader and not self._connection.in_transaction:
            self._call(self._connection.execute, "BEGIN")  # all answers are of one moment, until `rollback`
        return self._call(self._connection.execute, STATEMENTS[name], bound)

    def _call(self, act: Callable[_P, _T], *arguments: _P.args, **options: _P.kwargs) -> _T:
        """Raise JournalError for a fault of the world; a bug in a statement or its values stays a bug."""
        # A full or failing disk makes SQLite undo the whole transaction. Where a caller swallowed that error,
        # nothing may be written without what came before: an intent would be lost, and its gate would open.
        if self.in_transaction and not self._connection.in_transaction:
            raise JournalError("The journal cannot be written (SQLite undid the transaction).")
        try:
            return act(*arguments, **options)
        except (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.InterfaceError):
            raise
        except sqlite3.DatabaseError as error:
            if self._is_reader:
                raise _unreadable(self.path, error) from error
            raise JournalError(f"The journal cannot be written ({error}).") from error

    # --- transactions ---------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Begin a transaction for writing; no other connection can write until it ends."""
        self._call(self._connection.execute, "BEGIN IMMEDIATE")
        self.in_transaction = True

    def commit(self) -> None:
        """Make the transaction durable; raises JournalError where the journal's files were removed."""
        self._call(self._connection.execute, "COMMIT")
        self.in_transaction = False
        self._identity.make_sure()

    def rollback(self) -> None:
        """Undo the open transaction, if there is one. A reader sees newer data from its next question on."""
        self._connection.rollback()
        self.in_transaction = False

    def _know_files(self) -> None:
        """Remember the journal, its log and its lock, which each commit checks for.

        If somebody removed the lock as a leftover, a second daemon could run the same jobs.
        """
        real = self.path.resolve()  # SQLite follows a link, and writes beside the file itself
        lock = Lock(self.path).path
        for path in (self.path, real.with_name(f"{real.name}-wal"), *([lock] if lock.exists() else [])):
            self._identity.know(path)


def _connect(path: Path, how: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?{how}",
        uri=True,
        isolation_level=None,  # Python begins no transaction of its own
        check_same_thread=False,
    )


_LOCKED = "Another program, such as a backup or `sqlite3`, holds it: end that, and try again."


def _advice(error: Exception) -> str:
    """Return what to do about a journal that cannot be opened.

    Without its journal a daemon does not know what was paid for, so only damage is a reason to set it aside.
    """
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in _BUSY:
        return _LOCKED
    if isinstance(error, OSError) or code in _OF_THE_DISK:
        return (
            "That need not be the file: leave it where it is, see to the disk it lies on (free room, rights, "
            "mount), and start clipspool again."
        )
    return "Keep the file, move it aside and run `clipspool recover`."


def _set(connection: sqlite3.Connection, pragmas: Mapping[str, str | int]) -> None:
    """Set what SQLite is to do, and read it back; raises JournalError where the file system refuses."""
    for name, value in pragmas.items():
        connection.execute(f"PRAGMA {name} = {value}").fetchall()
        (got,) = connection.execute(f"PRAGMA {name}").fetchone()
        if got != value:
            raise JournalError(f"The journal's file system does not allow {name} = {value} (got {got}).")


def _check_integrity(connection: sqlite3.Connection, path: Path) -> None:
    """Read the whole file; raises JournalError where it is damaged."""
    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise JournalError(
            f"The journal {path} is damaged ({' '.join(str(found).split())}). Keep the file, "
            "move it aside and run `clipspool recover`."
        )


def _is_at_rest(path: Path) -> bool:
    """Whether nobody writes a journal, and its folder takes no file that SQLite would make for a reader."""
    real = path.resolve()
    return not real.with_name(f"{real.name}-wal").exists() and not os.access(real.parent, os.W_OK)


def _unreadable(path: Path, error: sqlite3.DatabaseError) -> JournalError:
    """Name what keeps a reader out; a change that a crash cut short is ended by whoever may write."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_READONLY:
        return JournalError(f"The journal {path} was cut short in a change; `clipspool run` puts it right.")
    more = f" {_LOCKED}" if code in _BUSY else ""
    return JournalError(f"The journal {path} cannot be read ({error}).{more}")
