"""Records which inboxes submit nothing: an operator paused them, or an editor by a `_pause` file."""

from __future__ import annotations

from collections.abc import Iterable

import structlog

from clipspool.jobs.limits import ALL
from clipspool.journal import Journal

log = structlog.get_logger()


class Pauses:
    """The pauses of all inboxes, kept in the journal over a restart."""

    def __init__(self, journal: Journal) -> None:
        """Begin with what an earlier run recorded."""
        self._journal = journal
        self.by_operator = frozenset(journal.fact("paused") or ())
        """Inboxes that the operator paused; `*` is all of them."""
        self.files: dict[str, str] = dict(journal.fact("pause_files") or {})
        """By inbox, the `_pause` file with which an editor paused it."""
        self._unscanned: set[str] = set()

    def await_scans(self, inboxes: Iterable[str]) -> None:
        """Submit nothing from these before they are scanned: a `_pause` file may have come meanwhile."""
        self._unscanned = set(inboxes)

    def set_file(self, inbox: str, file: str) -> None:
        """Record the `_pause` file that intake found in an inbox; empty for none."""
        self._unscanned.discard(inbox)
        if file == self.files.get(inbox, ""):
            return
        self.files = {name: known for name, known in self.files.items() if name != inbox}
        if file:
            self.files[inbox] = file
            log.info("inbox_paused", inbox=inbox, file=file)
        else:
            log.info("inbox_resumed", inbox=inbox)
        self._journal.set_fact("pause_files", self.files)

    def set_by_operator(self, inboxes: Iterable[str]) -> None:
        """Record which inboxes the operator pauses; `*` is all of them."""
        self.by_operator = frozenset(inboxes)
        self._journal.set_fact("paused", sorted(self.by_operator))

    @property
    def are_all(self) -> bool:
        """Whether the operator paused every inbox at once."""
        return ALL in self.by_operator

    def has(self, inbox: str) -> bool:
        """Whether an operator or an editor paused an inbox."""
        return self.are_all or inbox in self.by_operator or inbox in self.files

    def awaits_scan(self, inbox: str) -> bool:
        """Whether an inbox was not scanned yet."""
        return inbox in self._unscanned
