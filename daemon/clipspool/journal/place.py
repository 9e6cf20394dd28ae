"""Opens a journal where it is: a file of SQLite on this machine, or a PostgreSQL that several share.

Everything that opens a journal comes through here.
"""

from __future__ import annotations

from pathlib import Path

from clipspool.journal.database import Address, Database, Fence, Place
from clipspool.journal.files import JournalError
from clipspool.journal.sqlite import SQLiteDatabase


def open_database(place: Place, fence: Fence | None = None) -> Database:
    """Open a journal for writing, checked, and made or migrated where needed; raises JournalError.

    `fence` begins each transaction in a PostgreSQL that several machines share.
    """
    match place:
        case Path():
            return SQLiteDatabase.open(place)
        case Address():
            require_driver()
            from clipspool.journal.postgres import PostgresDatabase  # noqa: PLC0415

            return PostgresDatabase.open(place, fence)


def read_database(place: Place) -> Database | None:
    """Open a journal for reading beside its daemon; None where there is none. Raises JournalError."""
    match place:
        case Path():
            return SQLiteDatabase.read(place)
        case Address():
            require_driver()
            from clipspool.journal.postgres import PostgresDatabase  # noqa: PLC0415

            return PostgresDatabase.read(place)


def require_driver() -> None:
    """Raise JournalError where the driver is missing, which only a journal in PostgreSQL needs."""
    try:
        import psycopg  # noqa: F401, PLC0415
    except ImportError as error:
        raise JournalError(
            f"A journal in PostgreSQL needs psycopg, which cannot be loaded ({error}): "
            "`pip install 'clipspool[farm]'`, in the environment that clipspool runs in."
        ) from error
