"""Copies a journal of SQLite that no daemon uses into an empty PostgreSQL, in one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from psycopg import Connection, sql

from clipspool.journal.database import Address
from clipspool.journal.files import JournalError, sync
from clipspool.journal.postgres import connect_to_write
from clipspool.journal.server import translated
from clipspool.journal.sqlite import SQLiteDatabase

_FIRST = ("clips", "jobs", "tasks")
"""Tables in the order in which their rows refer to each other; the others follow."""
_SUFFIX = ".imported"


def import_journal(path: Path, address: Address, on_table: Callable[[str, int], object]) -> Path:
    """Copy a journal, and give its file another name; return that. The caller holds the file's lock.

    `on_table` is called with each table that was copied, and the number of its rows. Where an earlier import
    ended before the file got its other name, only that is done. Raises JournalError: then PostgreSQL is as it
    was.
    """
    SQLiteDatabase.open(path).close()  # checked, and brought to the newest schema
    with closing(connect_to_write(address)) as target, closing(sqlite3.connect(path)) as source:
        source.text_factory = lambda text: text.decode("utf-8", "surrogateescape")
        with translated(address), target.transaction():
            _copy(source, target, address, on_table)
        source.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    moved = path.with_name(path.name + _SUFFIX)
    path.rename(moved)
    sync(path.parent)
    return moved


def _copy(
    source: sqlite3.Connection, target: Connection, address: Address, on_table: Callable[[str, int], object]
) -> None:
    target.execute(b"SET LOCAL statement_timeout = 0")
    tables = _tables(source)
    if _is_same(source, target):
        return
    for table in tables:
        if table != "facts" and target.execute(_sql("SELECT 1 FROM {} LIMIT 1", table)).fetchone():
            raise JournalError(f"{address} holds a journal already: a journal is copied into an empty one.")
    target.execute(b"DELETE FROM facts")
    for table, columns in tables.items():
        kinds = _kinds(target, table)
        if missing := [name for name in columns if name not in kinds]:
            raise LookupError(f"{table} has no {missing} in PostgreSQL")
        names = sql.SQL(", ").join(map(sql.Identifier, columns))
        with target.cursor().copy(_sql("COPY {} ({}) FROM STDIN", table, names)) as copy:
            for row in _rows(source, table, columns, kinds):
                copy.write_row(row)
        ((written,),) = target.execute(_sql("SELECT count(*) FROM {}", table)).fetchall()
        ((there,),) = source.execute(f"SELECT count(*) FROM {table}")  # noqa: S608 - a table of ours
        if written != there:
            raise JournalError(f"Of {there} rows of {table} {written} came to {address}; nothing was kept.")
        on_table(table, there)
    target.execute(
        b"SELECT setval(pg_get_serial_sequence('events', 'id'), (SELECT coalesce(max(id), 1) FROM events))"
    )


def _tables(source: sqlite3.Connection) -> Mapping[str, list[str]]:
    """Return the columns of each table of the journal, by its name."""
    found = source.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    names = {str(name) for (name,) in found} - {"alembic_version"}
    return {
        name: [str(row[1]) for row in source.execute(f"PRAGMA table_info({name})")]
        for name in (*_FIRST, *sorted(names - set(_FIRST)))
    }


def _kinds(target: Connection, table: str) -> Mapping[str, str]:
    """Return the type of each column of a table in PostgreSQL."""
    rows = target.execute(
        b"SELECT attname, atttypid::REGTYPE::TEXT FROM pg_attribute "
        b"WHERE attrelid = %s::REGCLASS AND attnum > 0 AND NOT attisdropped",
        [table],
    )
    return dict(rows.fetchall())


def _rows(
    source: sqlite3.Connection, table: str, columns: Sequence[str], kinds: Mapping[str, str]
) -> Iterator[Sequence[Any]]:
    """Iterate over a table's rows; SQLite has no truth values, and gives a whole number for them."""
    rows = source.execute(f"SELECT {', '.join(columns)} FROM {table}")  # noqa: S608 - a table of ours
    truths = [at for at, name in enumerate(columns) if kinds[name] == "boolean"]
    for row in rows:
        if truths:
            row = list(row)  # noqa: PLW2901
            for at in truths:
                row[at] = None if row[at] is None else bool(row[at])
        yield row


def _is_same(source: sqlite3.Connection, target: Connection) -> bool:
    """Whether PostgreSQL already holds the same journal, up to the same event."""
    asked = "SELECT (SELECT value FROM facts WHERE name = 'id'), (SELECT max(id) FROM events)"
    return bool(source.execute(asked).fetchone() == target.execute(asked.encode()).fetchone() != (None, None))


def _sql(text: str, table: str, *more: sql.Composable) -> sql.Composed:
    return sql.SQL(text).format(sql.Identifier(table), *more)
