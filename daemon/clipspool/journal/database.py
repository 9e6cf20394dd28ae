"""What a journal needs of a database, whichever it is: a place, statements by name, and transactions.

`sqlite.py` and `postgres.py` are the two that there are. `sqlite.sql` and `postgres.sql` hold the same
statements with the same parameters, each in its dialect.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias

Row: TypeAlias = Mapping[str, Any]
_ENCODER = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"))


def to_json(value: Any) -> str:
    """Write JSON in ASCII, which the database takes whatever a name holds."""
    return _ENCODER.encode(value)


def read_statements(file: Path) -> dict[str, str]:
    """Read a file of SQL, split at its lines `-- name: ...`, into statements by name."""
    blocks = re.split(r"^-- name: (\w+)$", file.read_text("utf-8"), flags=re.MULTILINE)[1:]
    return dict(zip(blocks[::2], blocks[1::2], strict=True))


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


class Database(Protocol):
    """A connection for one thread at a time. Values are plain Python.

    What the world does to it is raised as JournalError; a bug in a statement or its values stays a bug. A
    reader's answers are all of one moment, until `rollback`.
    """

    in_transaction: bool
    """Whether a change was begun, and neither committed nor rolled back."""

    def close(self) -> None:
        """Close the connection; what is not committed is lost."""

    def run(self, name: str, /, **values: Any) -> None:
        """Run a statement for its effect; `rows` are a table's rows, in the order of `rows.py`."""

    def run_many(self, name: str, rows: Sequence[Row]) -> None:
        """Run a statement once for each row."""

    def rows(self, name: str, /, **values: Any) -> list[Row]:
        """Return all rows of an answer."""

    def column(self, name: str, /, **values: Any) -> list[Any]:
        """Return the first value of each row."""

    def value(self, name: str, /, **values: Any) -> Any:
        """Return the first value of the only row, None without one."""

    def begin(self) -> None:
        """Begin to write; from here on nobody else can."""

    def commit(self) -> None:
        """Make the transaction durable."""

    def rollback(self) -> None:
        """Undo the open transaction, if there is one. A reader sees newer data from its next question on."""
