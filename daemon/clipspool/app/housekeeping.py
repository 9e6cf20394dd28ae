"""Runs the housekeeping of `[retention]` once a day in a thread of its own, and when a command asks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from clipspool.app.folders import known_folders, origin_of
from clipspool.app.settings import Settings
from clipspool.journal.looks import Window
from clipspool.scheduler.housekeeping import PRUNED_AT, Housekeeping, Pruned, Retention
from clipspool.scheduler.loop import Scheduler
from clipspool.spool.root import Root
from clipspool.system.process import start_thread

log = structlog.get_logger()

_DAY_SECONDS = 86_400.0
_FIRST_SECONDS = 600.0
"""After a start there is more urgent work."""


def retention_of(settings: Settings) -> Retention:
    """Return how long things are kept, by the settings."""
    return Retention(**dict(settings.retention))


def roots_of(settings: Settings, window: Window) -> tuple[dict[str, Root], dict[str, Root]]:
    """Return the folder with our files for each inbox, and the inboxes that are only read, for a command.

    The latter are identified by what the journal knows: one that is not mounted would look empty.
    """
    roots = {
        inbox.name: Root(inbox.home, file_mode=inbox.file_mode, folder_mode=inbox.folder_mode)
        for inbox in settings.inbox
    }
    with window.look() as journal:
        known = known_folders(journal)
    origins = {one.name: origin_of(one, settings, known) for one in settings.inbox if one.is_read_only}
    return roots, origins


def report_json(reports: Mapping[str, Pruned], *, dry_run: bool) -> dict[str, Any]:
    """Return what `clipspool prune --json` prints."""
    inboxes = [{"name": name, **report.to_json()} for name, report in reports.items()]
    return {"dry_run": dry_run, "inboxes": inboxes}


class DailyHousekeeping:
    """Knows when the next run is due. `start_if_due` is for the scheduler's thread, `prune` for any."""

    def __init__(
        self,
        scheduler: Scheduler,
        housekeeping: Housekeeping,
        settings: Callable[[], Settings],
        roots: Callable[[], tuple[Mapping[str, Root], Mapping[str, Root]]],
    ) -> None:
        """`roots` returns the folder with our files for each inbox, and the inboxes that are only read."""
        self._scheduler, self._housekeeping = scheduler, housekeeping
        self._settings, self._roots = settings, roots
        self._is_under_way = threading.Lock()
        rest = float(scheduler.journal.fact(PRUNED_AT) or 0.0) + _DAY_SECONDS - scheduler.now()
        self._due_at = scheduler.seconds_since_boot() + min(max(rest, _FIRST_SECONDS), _DAY_SECONDS)

    def start_if_due(self) -> None:
        """Start a run when the last one is a day old.

        By a clock that cannot be set: one that jumps ahead would remove at once what has days left, and
        may be put right within the day.
        """
        now = self._scheduler.seconds_since_boot()
        if now < self._due_at:
            return
        self._due_at = now + _DAY_SECONDS
        if retention_of(self._settings()):
            start_thread(self._run, "housekeeping")

    def _run(self) -> None:
        try:
            done = self.prune(dry_run=False)
        except Exception:  # a bug here must not end the process, and the next run is tomorrow
            log.exception("bug", doing="housekeeping")
            return
        for one in done["inboxes"]:
            removed = {kind: one[kind] for kind in ("done", "failed", "posters") if one[kind]["files"]}
            if one["remembered"]:
                removed["remembered"] = one["remembered"]
            if removed or one["histories"]:
                log.info("pruned", inbox=one["name"], histories=one["histories"], **removed)

    def prune(self, *, dry_run: bool) -> dict[str, Any]:
        """Remove what is not kept, or count it, and return `prune --json`; one at a time."""
        with self._is_under_way:
            retention = retention_of(self._settings())
            reports = self._housekeeping.run(retention, *self._roots(), dry_run=dry_run)
        return report_json(reports, dry_run=dry_run)
