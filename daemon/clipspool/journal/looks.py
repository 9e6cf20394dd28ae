"""Looks at a journal again and again, beside the daemon that owns it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from clipspool.journal.database import Place
from clipspool.journal.files import JournalError, NoJournal, numbers_of
from clipspool.journal.journal import Journal


class Window:
    """A connection that is kept between looks; for one thread at a time."""

    def __init__(self, place: Place) -> None:
        """Take the journal's place; nothing is opened before the first look."""
        self.place = place
        self._journal: Journal | None = None
        self._identity: tuple[int, int] | None = None

    @contextmanager
    def look(self) -> Iterator[Journal]:
        """Open the journal as it is now; raises JournalError, as may every question in the block."""
        try:
            journal = self._open()
            try:
                yield journal
            finally:
                journal.rest()
        except JournalError:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection; a later look opens another."""
        if self._journal is not None:
            self._journal.close()
        self._journal = None

    def _open(self) -> Journal:
        identity = _identity(self.place)
        if self._journal is None or identity != self._identity:  # moved aside, and another one begun
            self.close()
            self._journal = Journal.read(self.place)
            self._identity = identity
        if self._journal is None:
            raise NoJournal(self.place)
        return self._journal


def _identity(place: Place) -> tuple[int, int] | None:
    """Return which file it is; None without one, and for a journal in PostgreSQL."""
    with suppress(OSError):
        return numbers_of(place) if isinstance(place, Path) else None
    return None
