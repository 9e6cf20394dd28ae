"""Copies a journal while its daemon writes it, and puts a copy back; for journals in SQLite alone."""

from __future__ import annotations

import glob
import hashlib
import os
import re
import shutil
import sqlite3
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from clipspool.journal.files import JournalError, Lock, NoJournal, make_for_owner, make_home, sync
from clipspool.journal.migrations import OlderJournal, refuse_another, version_of
from clipspool.system.atomic import NEW_FLAGS, Opened, rename_new

_CHUNK = 1 << 20
_LOGS = ("-shm", "-wal")


@dataclass(frozen=True, slots=True)
class Copied:
    """A journal in a file: how large it is, how far it has come, and whose it is."""

    bytes: int
    sha256: str
    reached: int
    """The number of its last event, with what a restored journal was advanced by."""
    identity: str
    held_for: int = 0
    """The mark that it is behind, where it was restored and is not accepted yet."""


def back_up(journal: Path, target: Path) -> Copied:
    """Copy a journal as it is at one moment into a new file, checked, readable by its owner alone.

    Its daemon may write meanwhile: SQLite's backup reads one snapshot. `TARGET.sha256` holds the checksum as
    `sha256sum -c` reads it, and is written last: it is of the copy that got the name. Raises FileExistsError,
    JournalError and OSError.
    """
    if not journal.exists():
        raise NoJournal(journal)
    sums = _sums_of(target)
    if not target.exists():
        _clear_left(sums, target)
    for path in (target, sums):
        if path.exists():
            raise FileExistsError(str(path))
    part = target.with_name(f".{target.name}.{os.getpid()}.part")  # of two at once each has its own
    os.close(os.open(part, NEW_FLAGS, 0o600))
    try:
        with closing(_open(journal, "ro")) as source, closing(_open(part, "rw")) as copy:
            source.execute("PRAGMA schema_version").fetchone()  # `backup` waits for ever where it is locked
            source.backup(copy)
            copy.execute("PRAGMA locking_mode = exclusive").fetchall()  # a NAS may share no memory
            copy.execute("PRAGMA journal_mode = delete").fetchall()  # one file, whole by itself
        copied = examine(part, f"The journal {journal}")
        sync(part)
        _name(part, target)
    except sqlite3.DatabaseError as error:
        raise JournalError(f"The journal {journal} cannot be copied to {target} ({error}).") from error
    finally:
        part.unlink(missing_ok=True)
    try:
        _write_new(sums, f"{copied.sha256}  {target.name}\n".encode())
    except OSError:
        target.unlink(missing_ok=True)
        raise
    sync(target.parent)
    return copied


def _clear_left(sums: Path, target: Path) -> None:
    """Remove what a backup of this name left that was killed, and the checksum of one that was removed."""
    for left in target.parent.glob(f".{glob.escape(target.name)}.*.part*"):
        number = left.name.removeprefix(f".{target.name}.").split(".part")[0]
        if number.isdigit() and not Path(f"/proc/{number}").exists():
            left.unlink(missing_ok=True)
    with suppress(FileNotFoundError):
        own = rf"[0-9a-f]{{64}}  {re.escape(target.name)}\n"
        if re.fullmatch(own, sums.read_text("utf-8", "surrogateescape")):
            sums.unlink()


def examine(file: Path, shown: str = "") -> Copied:
    """Check a copy: its checksum where there is one, its pages, and its schema; raises JournalError.

    `shown` is what errors call it; its path unless given.
    """
    shown = shown or str(file)
    with file.open("rb") as data:
        digest = hashlib.file_digest(data, "sha256").hexdigest()
    with suppress(FileNotFoundError):
        match = re.match(r"[0-9a-f]{64}", _sums_of(file).read_text("ascii", "replace"))
        if match is None or match[0] != digest:
            raise JournalError(
                f"{file} is not what was backed up: its checksum differs from {_sums_of(file).name}."
            )
    # Where a journal's files were copied as they lay, its newest changes are in the log beside it.
    how = "ro" if _log_of(file).exists() else "ro&immutable=1"
    try:
        with closing(_open(file, how)) as connection:
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            version = version_of(connection)
            if found != "ok" or version is None:
                raise JournalError(f"{shown} is damaged, or no journal of clipspool.")
            with suppress(OlderJournal):
                refuse_another(shown, version)
            (last,) = connection.execute("SELECT coalesce(max(id), 0) FROM events").fetchone()
            facts = dict(connection.execute("SELECT name, value FROM facts").fetchall())
    except sqlite3.DatabaseError as error:
        raise JournalError(f"{shown} is damaged, or no journal of clipspool ({error}).") from error
    offset = int(facts.get("mark_offset", 0))
    identity = str(facts.get("id", "")).strip('"')
    return Copied(file.stat().st_size, digest, last + offset, identity, int(facts.get("restored", 0)))


def restore(file: Path, journal: Path) -> Path | None:
    """Put a copy in a journal's place, and return where the former one lies now; None where there was none.

    What the copy lacks may have been paid for, so nothing is submitted from it before a person accepts it.
    That is not needed where the former journal can be read, has the same identity, holds nothing newer than
    the copy, and does not wait to be accepted itself. Raises JournalError and OSError.
    """
    journal = journal.resolve()  # a link is kept, and what it leads to replaced
    make_home(journal)
    lock = Lock(journal)
    if os.geteuid() == 0:
        make_for_owner(lock.path)
    if not lock.take():
        raise JournalError(f"A daemon{lock.who()} uses the journal {journal}: stop it first.")
    try:
        copied = examine(file)
        new = journal.with_name(f"{journal.name}.restoring")
        for part in (new, _log_of(new)):
            part.unlink(missing_ok=True)
        _copy(file, new, journal)
        if _log_of(file).exists():
            _copy(_log_of(file), _log_of(new), journal)
            _write_back(new)
        former = _reached(journal)
        lacks_nothing = former and (former.identity, former.reached) == (copied.identity, copied.reached)
        if former is None or not lacks_nothing or former.held_for:
            reached, held_for = (former.reached, former.held_for) if former else (0, 0)
            mark = max(copied.reached + 1, reached + 1, held_for)
            with closing(_open(new, "rw")) as connection, connection:
                connection.execute("REPLACE INTO facts (name, value) VALUES ('restored', ?)", (str(mark),))
                connection.execute("DELETE FROM facts WHERE name = 'restored_held'")
        sync(new)
        aside = _set_aside(journal)
        sync(journal.parent)
        new.replace(journal)  # at once: a start in between would make a new journal, which knows of nothing
        sync(journal.parent)
    finally:
        lock.release()
    return aside


def is_held(journal: Path) -> bool:
    """Whether a journal that was put back waits for a person."""
    with closing(_open(journal, "ro")) as connection:
        return connection.execute("SELECT 1 FROM facts WHERE name = 'restored'").fetchone() is not None


def _reached(journal: Path) -> Copied | None:
    """Return whose a journal is and how far it has come; None where that cannot be read."""
    if not journal.exists():
        return None
    try:
        _write_back(journal)
        return examine(journal)
    except (JournalError, sqlite3.DatabaseError, OSError):
        return None


def _write_back(journal: Path) -> None:
    """Write what a journal's log holds into the journal."""
    with closing(_open(journal, "rw")) as connection:
        connection.execute("PRAGMA wal_checkpoint(truncate)").fetchall()


def _set_aside(journal: Path) -> Path | None:
    """Rename a journal, since the copy is about to take its name; its log is moved.

    Where the journal can be read, its log was written back, and is empty.
    """
    if not journal.exists():
        return None
    begin = f"{journal.name}.before-restore-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}"
    names = (begin, *(f"{begin}-{number}" for number in range(2, 100)))
    aside = next(one for name in names if not (one := journal.with_name(name)).exists())
    try:
        os.link(journal, aside)
    except OSError:  # no file system for links
        _copy(journal, aside, journal)
        sync(aside)
    # Beside another journal a log must not be taken for that one's.
    for suffix in _LOGS:
        path = journal.with_name(journal.name + suffix)
        if path.exists():
            path.rename(aside.with_name(aside.name + suffix))
    return aside


def _copy(file: Path, new: Path, journal: Path) -> None:
    """Copy a backup beside a journal, with the rights and the owner that the journal's daemon needs."""
    model = journal if journal.exists() else journal.parent
    there = model.stat()
    fd = os.open(new, NEW_FLAGS, 0o600)
    with os.fdopen(fd, "wb") as target, file.open("rb") as source:
        shutil.copyfileobj(source, target, _CHUNK)
        if model is journal:
            os.fchmod(target.fileno(), there.st_mode & 0o777)
        if os.geteuid() == 0:
            os.fchown(target.fileno(), there.st_uid, there.st_gid)


def _open(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=5.0)


def _log_of(file: Path) -> Path:
    return file.with_name(f"{file.name}-wal")


def _sums_of(file: Path) -> Path:
    return file.with_name(f"{file.name}.sha256")


def _write_new(path: Path, data: bytes) -> None:
    fd = os.open(path, NEW_FLAGS, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        path.unlink(missing_ok=True)
        raise


def _name(part: Path, target: Path) -> None:
    """Rename a whole copy to its name, never over a file that came meanwhile; needs no hard links."""
    with Opened(os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as folder:
        try:
            rename_new(part.name, folder, target.name, folder)
        except FileExistsError:
            raise FileExistsError(str(target)) from None
