"""The journal's database: one file on a local disk, one process that writes, settings fit for a power cut.

WAL with synchronous=FULL is the one setting of SQLite under which nothing acknowledged was lost when the
power went (FAULTS 1.4); it is set and read back.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DatabaseError

from clipspool.journal.tables import metadata
from clipspool.system.failpoint import reach

HEAD = "0002"
"""The newest migration; compared at every start: Alembic is imported only for a journal that is older."""


_VERSION_TABLE = """
CREATE TABLE alembic_version (
    version_num VARCHAR(32) NOT NULL,
    CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
)
"""
"""As Alembic makes it."""
_LOOK_AGAIN_SECONDS = 0.05


class JournalError(Exception):
    """The journal cannot be used: damaged, newer than this program, or somebody else's."""


def make_home(journal: Path) -> None:
    """Make a journal's folder where there is none; others than user and group have no way into it.

    Who reads a journal can hold its locks, and who writes its folder can put another in its place.
    """
    journal.parent.mkdir(0o750, parents=True, exist_ok=True)


def make_for_owner(journal: Path) -> None:
    """Make a journal's files where they are missing, as the owner of their folder has to have them.

    Only root can, and only root needs to: the daemon of that folder is another user's. Raises OSError.
    """
    folder = journal.parent.stat()
    for path in (journal, Lock(journal).path):
        with suppress(FileExistsError):
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(path, flags, 0o644)
            try:
                os.fchown(fd, folder.st_uid, folder.st_gid)
            finally:
                os.close(fd)


class Lock:
    """Says that one process owns the journal; the kernel lets go of it when the process ends, however."""

    def __init__(self, journal: Path) -> None:
        """Take nothing yet; the lock file lies beside the journal."""
        self.path = journal.with_name(journal.name + ".lock")
        self._fd: int | None = None

    def take(self, wait_seconds: float = 0.0) -> bool:
        """Take it; False when another process holds it, and still does after the wait."""
        until = time.monotonic() + wait_seconds
        while not self._try():
            if time.monotonic() >= until:
                return False
            time.sleep(_LOOK_AGAIN_SECONDS)
        return True

    def _try(self) -> bool:
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        self._fd = fd
        return True

    def holder(self) -> int | None:
        """Give the process id of the holder, None when nobody holds it."""
        if self._fd is not None:
            return os.getpid()
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            with suppress(ValueError):
                return int(os.pread(fd, 32, 0))
            return 0
        finally:
            os.close(fd)
        return None

    def release(self) -> None:
        """Let go."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


class Identity:
    """Which files the open journal is: once their names are gone or another's, what is written is lost."""

    def __init__(self) -> None:
        """Know none yet."""
        self._known: dict[Path, tuple[int, int]] = {}

    def know(self, path: Path) -> None:
        """Take the file that has the name now. Raises OSError."""
        self._known[path] = _numbers(path)

    def make_sure(self) -> None:
        """Raise JournalError where a file was taken away, or another put in its place."""
        for path, known in self._known.items():
            try:
                is_known = _numbers(path) == known
            except (FileNotFoundError, NotADirectoryError) as error:
                raise JournalError(f"{path} was in use and is gone.") from error
            except OSError:  # what may not be looked at is not gone: the commit went well
                continue
            if not is_known:
                raise JournalError(f"{path} was in use and is another file now.")


def _numbers(path: Path) -> tuple[int, int]:
    there = path.stat()
    return there.st_dev, there.st_ino


_WRITER = {
    "journal_mode": "wal",
    "synchronous": 2,
    "busy_timeout": 5000,
    "journal_size_limit": 64 << 20,  # what a reader that would not end let the log grow to is given back
    "foreign_keys": 1,
    "trusted_schema": 0,
}
_READER = {"busy_timeout": 5000, "trusted_schema": 0, "query_only": 1}


def _uri(path: Path) -> str:
    return str(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def open_engine(path: Path, *, read_only: bool = False) -> sa.Engine:
    """Prepare the connection, settings read back; raises JournalError when the file system refuses one."""
    pragmas = _READER if read_only else _WRITER
    how = {"mode": "ro" if read_only else "rwc", "uri": "true"}
    if read_only and _is_at_rest(path):
        how["immutable"] = "1"
    url = sa.URL.create(
        "sqlite", database=f"file:{_uri(path)}", query=how
    )  # a string would be unquoted twice
    engine = sa.create_engine(url, poolclass=sa.NullPool, connect_args={"check_same_thread": False})

    @sa.event.listens_for(engine, "connect")
    def set_and_read_back(connection: Any, _record: Any) -> None:
        connection.isolation_level = (
            None  # SQLAlchemy says BEGIN, so that a schema change is a transaction too
        )
        for name, value in pragmas.items():
            connection.execute(f"PRAGMA {name} = {value}").fetchall()
            got = connection.execute(f"PRAGMA {name}").fetchone()[0]
            if got != value:
                raise JournalError(f"The journal's file system does not allow {name} = {value} (got {got}).")

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    return engine


def _is_at_rest(path: Path) -> bool:
    """Say whether a reader has to take the file as it stands: at rest, and in a folder that takes nothing.

    SQLite would make a file beside it to keep writers in step. Nobody writes while its log is not there.
    """
    folder = path.resolve().parent
    is_written = path.resolve().with_name(f"{path.resolve().name}-wal").exists()
    return not is_written and not os.access(folder, os.W_OK)


def unreadable(path: Path, error: DatabaseError) -> JournalError:
    """Say what keeps a reader out; a change that a crash cut short is ended by whoever may write."""
    if getattr(error.orig, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_READONLY:
        return JournalError(f"The journal {path} was cut short in a change; `clipspool run` puts it right.")
    return JournalError(f"The journal {path} cannot be read ({error.orig}).")


def check_integrity(connection: sa.Connection, path: Path) -> None:
    """Read the whole file; raises JournalError when it is damaged."""
    found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
    connection.rollback()
    if found != "ok":
        raise JournalError(
            f"The journal {path} is damaged ({' '.join(str(found).split())}). Keep the file, "
            "move it aside and run `clipspool recover`."
        )


def version_of(connection: sa.Connection) -> str | None:
    """Give the schema's number; None for a file that is still empty."""
    is_made = connection.exec_driver_sql(
        "SELECT count(*) FROM sqlite_master WHERE name = 'alembic_version'"
    ).scalar()
    number = (
        connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() if is_made else None
    )
    connection.rollback()
    return None if number is None else str(number)


def migrate(connection: sa.Connection, path: Path) -> None:
    """Bring the schema to HEAD in one transaction; a journal with anything in it is copied before."""
    version = version_of(connection)
    if version == HEAD:
        return
    if version is not None and version > HEAD:
        raise JournalError(
            f"The journal {path} was written by a newer clipspool (schema {version}, this one knows {HEAD})."
        )
    if version is None:
        _make(connection)
    else:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.rollback()
        _keep_copy(path, path.with_name(f"{path.name}.before-{HEAD}"))
        reach("migrate-copied")
        _upgrade(connection)
    reach("migrated")
    connection.commit()


def _make(connection: sa.Connection) -> None:
    """Give a new journal what all migrations would: they take 0.2 s, and 10 MB that stay."""
    metadata.create_all(connection, checkfirst=False)
    connection.exec_driver_sql(_VERSION_TABLE)
    connection.exec_driver_sql("INSERT INTO alembic_version VALUES (?)", (HEAD,))


def _upgrade(connection: sa.Connection) -> None:
    from alembic import command  # noqa: PLC0415  (see above; needed once in a version's life)
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _keep_copy(path: Path, copy: Path) -> None:
    """Copy a journal that nobody writes to, so that the copy's name never shows less than the whole."""
    partial = copy.with_name(copy.name + ".part")
    shutil.copy2(path, partial)
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(copy)
    folder = os.open(copy.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
