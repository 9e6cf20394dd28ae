"""Brings a journal's schema to the newest number: one transaction, with a copy of the journal kept before.

`0001.sql` makes a new journal; each further file changes what the one before left.
"""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from clipspool.journal.files import JournalError, sync
from clipspool.system.failpoint import reach

_SCRIPTS = {file.stem: file for file in sorted(Path(__file__).parent.glob("[0-9]*.sql"))}
HEAD = max(_SCRIPTS)
"""The newest schema's number."""


def version_of(connection: sqlite3.Connection) -> str | None:
    """Return the number of a journal's schema; None for a file that is still empty, "" for no journal."""
    names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    if "alembic_version" not in names:
        return "" if names else None
    found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return None if found is None else str(found[0])


class OlderJournal(JournalError):
    """A journal of an earlier version, which only a start converts."""


def refuse_another(what: str, version: str | None) -> None:
    """Raise JournalError for a journal of a newer version, OlderJournal for one of an older."""
    if version == "":
        raise JournalError(f"{what} is a database of another program: name another `path` in [journal].")
    if version is not None and version > HEAD:
        raise JournalError(
            f"{what} was written by a newer clipspool (schema {version}, this one knows {HEAD}): use that "
            "version, or a copy from before its upgrade."
        )
    if version is not None and version < HEAD:
        raise OlderJournal(
            f"{what} is of an older clipspool (schema {version}, this one reads {HEAD}): `clipspool run` "
            "converts it, and keeps a copy."
        )


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Make a new journal's tables, or change an older one's; raises JournalError for a newer one."""
    version = version_of(connection)
    if version == HEAD:
        return
    with suppress(OlderJournal):
        refuse_another(f"The journal {path}", version)
    if version is not None:
        _keep_copy(connection, path, path.with_name(f"{path.name}.before-{HEAD}"))
        reach("migrate-copied")
    connection.execute("BEGIN IMMEDIATE")
    try:
        for number, file in _SCRIPTS.items():
            if version is None or number > version:
                for statement in file.read_text("utf-8").split(";\n"):
                    connection.execute(statement)
        reach("migrated")
        connection.execute("COMMIT")
    except BaseException:
        connection.rollback()
        raise


def _keep_copy(connection: sqlite3.Connection, path: Path, copy: Path) -> None:
    """Copy a journal, its log included, so that the copy's name never shows less than the whole."""
    partial = copy.with_name(copy.name + ".part")
    partial.unlink(missing_ok=True)
    with closing(sqlite3.connect(partial)) as target:
        connection.backup(target)
    shutil.copymode(path, partial)
    sync(partial)
    partial.replace(copy)
    sync(copy.parent)
