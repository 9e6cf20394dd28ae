"""What a journal needs of a database, whichever it is: a place, statements by name, and transactions.

`sqlite.py` and `postgres.py` are the two that there are. `statements.sql` holds the statements of both;
`sqlite.sql` and `postgres.sql` hold the others, each in its dialect, with the same names and parameters.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

Row: TypeAlias = Mapping[str, Any]
_LIST = re.compile(r"\b(NOT )?IN :(\w+)")
_ROWS = re.compile(r":rows \(([^)]*)\)")
_COLUMN = re.compile(r"(\w+) ([A-Z ]+)")
_ENCODER = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"))


def to_json(value: Any) -> str:
    """Write JSON in ASCII, which the database takes whatever a name holds."""
    return _ENCODER.encode(value)


def read_statements(file: Path) -> dict[str, str]:
    """Read a file of SQL, split at its lines `-- name: ...`, into statements by name."""
    blocks = re.split(r"^-- name: (\w+)$", file.read_text("utf-8"), flags=re.MULTILINE)[1:]
    return dict(zip(blocks[::2], blocks[1::2], strict=True))


def journal_statements(
    own: str, *, is_in: str, is_not_in: str, rows: Callable[[Mapping[str, str]], str]
) -> dict[str, str]:
    """Read the statements that both databases share, and those of one alone, from the file `own`.

    `is_in` and `is_not_in` test a list, named by `{}`; `rows` makes the table `new` of a turn's rows, from
    the type of each column.
    """
    here = Path(__file__)
    both = read_statements(here.with_name("statements.sql")) | read_statements(here.with_name(own))

    def written(statement: str) -> str:
        statement = _ROWS.sub(lambda found: rows(dict(_COLUMN.findall(found[1]))), statement)
        return _LIST.sub(lambda found: (is_not_in if found[1] else is_in).format(found[2]), statement)

    return {name: written(statement) for name, statement in both.items()}


@dataclass(frozen=True, slots=True)
class Address:
    """A journal in PostgreSQL; shown without its password."""

    url: str
    """`postgresql://USER@HOST/DATABASE`, as libpq takes it, without a password."""
    password: str | None = field(default=None, repr=False)
    """None: libpq looks for one in `$PGPASSFILE` and `$PGPASSWORD`."""

    def __str__(self) -> str:
        """Show where it is, for messages and logs, without user and parameters."""
        scheme, _, rest = self.url.partition("?")[0].partition("://")
        return f"{scheme}://{rest.rpartition('@')[2]}"


@dataclass(frozen=True, slots=True)
class Fence:
    """What begins each transaction of a writer that may be replaced by another one."""

    check: Callable[[Any], None]
    """Checks, on the connection, that this writer may still write. Raises JournalError if not."""
    seconds: float
    """How long a statement, or the rest between two, may take: a frozen writer must not keep its locks."""


Place: TypeAlias = Path | Address


class Database(ABC):
    """A connection for one thread at a time. Values are plain Python.

    What the world does to it is raised as JournalError; a bug in a statement or its values stays a bug. A
    reader's answers are all of one moment, until `rollback`.
    """

    _connection: Any
    in_transaction = False
    """Whether a change was begun, and neither committed nor rolled back."""

    def close(self) -> None:
        """Close the connection; what is not committed is lost."""
        self._connection.close()

    @abstractmethod
    def run(self, name: str, /, **values: Any) -> None:
        """Run a statement for its effect; `rows` are a table's rows, in the order of `rows.py`."""

    @abstractmethod
    def run_many(self, name: str, rows: Sequence[Row]) -> None:
        """Run a statement once for each row."""

    def rows(self, name: str, /, **values: Any) -> list[Row]:
        """Return all rows of an answer."""
        columns, found = self._answer(name, values)
        return [dict(zip(columns, row, strict=True)) for row in found]

    def column(self, name: str, /, **values: Any) -> list[Any]:
        """Return the first value of each row."""
        return [row[0] for row in self._answer(name, values)[1]]

    def value(self, name: str, /, **values: Any) -> Any:
        """Return the first value of the only row, None without one."""
        return next(iter(self.column(name, **values)), None)

    @abstractmethod
    def _answer(self, name: str, values: Mapping[str, Any]) -> tuple[list[str], list[Any]]:
        """Run a statement; return the names of its columns, and its rows."""

    @abstractmethod
    def begin(self) -> None:
        """Begin to write; from here on nobody else can."""

    @abstractmethod
    def commit(self) -> None:
        """Make the transaction durable."""

    @abstractmethod
    def rollback(self) -> None:
        """Undo the open transaction, if there is one. A reader sees newer data from its next question on."""
