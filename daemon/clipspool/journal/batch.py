"""Writes many rows in one step of the database.

Python lets go of its lock at every row that SQLite is handed or hands back, and gets it again only when
another thread is done with it: with busy workers that is a millisecond a row. So a turn's rows travel as one
JSON value.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from clipspool.journal.rows import to_json


class Batch:
    """A statement for any number of rows of one table; no column of it may hold bytes."""

    def __init__(self, statement: str, columns: Sequence[str]) -> None:
        """Take SQL that reads `:rows`, an array of arrays in the order of `columns`."""
        self._statement = sa.text(statement)
        self._columns = columns

    def run(self, connection: sa.Connection, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write the rows."""
        values = [[row[name] for name in self._columns] for row in rows]
        connection.execute(self._statement, {"rows": to_json(values)})


def _values(count: int) -> str:
    return ", ".join(f"json_extract(r.value, '$[{place}]')" for place in range(count))


def insert(table: sa.Table, columns: Sequence[str]) -> Batch:
    """Add rows."""
    names = ", ".join(columns)
    return Batch(
        f"INSERT INTO {table.name} ({names}) SELECT {_values(len(columns))} FROM json_each(:rows) AS r",  # noqa: S608
        columns,
    )


def upsert(table: sa.Table, keys: Sequence[str], columns: Sequence[str]) -> Batch:
    """Add rows, or change those whose `keys` are there already."""
    names = ", ".join((*keys, *columns))
    changes = ", ".join(f"{name} = excluded.{name}" for name in columns)
    return Batch(
        f"INSERT INTO {table.name} ({names}) "  # noqa: S608
        f"SELECT {_values(len(keys) + len(columns))} FROM json_each(:rows) AS r WHERE true "
        f"ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {changes}",
        (*keys, *columns),
    )


def update(table: sa.Table, key: str, columns: Sequence[str]) -> Batch:
    """Change the rows that have these keys."""
    changes = ", ".join(
        f"{name} = json_extract(r.value, '$[{place}]')" for place, name in enumerate(columns, start=1)
    )
    return Batch(
        f"UPDATE {table.name} SET {changes} FROM json_each(:rows) AS r "  # noqa: S608
        f"WHERE {table.name}.{key} = json_extract(r.value, '$[0]')",
        (key, *columns),
    )
