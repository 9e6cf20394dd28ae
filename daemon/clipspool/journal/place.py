"""Where a journal is: in a file of SQLite on this machine, or in a PostgreSQL that several share.

Everything that opens a journal comes through here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from clipspool.journal.database import Database
from clipspool.journal.files import JournalError
from clipspool.journal.sqlite import SQLiteDatabase

if TYPE_CHECKING:
    from clipspool.journal.postgres import PostgresDatabase


@dataclass(frozen=True, slots=True)
class Address:
    """A journal in PostgreSQL; shown without its password."""

    url: str
    """`postgresql://USER@HOST/DATABASE`, as libpq takes it, without a password."""
    password: str | None = field(default=None, repr=False)
    """None: libpq looks for one in `$PGPASSFILE` and `$PGPASSWORD`."""

    def __str__(self) -> str:
        """Show where it is, for messages and logs; parameters after `?` are left out."""
        return self.url.partition("?")[0]


Place: TypeAlias = Path | Address


def open_database(place: Place) -> Database:
    """Open a journal for writing, checked, and made or migrated where needed; raises JournalError."""
    match place:
        case Path():
            return SQLiteDatabase.open(place)
        case Address():
            return _postgres().open(place)


def read_database(place: Place) -> Database | None:
    """Open a journal for reading beside its daemon; None where there is none. Raises JournalError."""
    match place:
        case Path():
            return SQLiteDatabase.read(place)
        case Address():
            return _postgres().read(place)


def _postgres() -> type[PostgresDatabase]:
    """Load the driver, which only a journal in PostgreSQL needs."""
    try:
        from clipspool.journal.postgres import PostgresDatabase  # noqa: PLC0415
    except ImportError as error:
        raise JournalError(
            f"A journal in PostgreSQL needs psycopg, which cannot be loaded ({error}): "
            "`pip install 'clipspool[farm]'`, in the environment that clipspool runs in."
        ) from error
    return PostgresDatabase
