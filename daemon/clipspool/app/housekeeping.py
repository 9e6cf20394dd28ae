"""Runs the housekeeping of `[retention]` once a day, in a thread of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog

from clipspool.app.settings import Settings
from clipspool.scheduler.housekeeping import PRUNED_AT, Retention
from clipspool.scheduler.loop import Scheduler
from clipspool.system.process import start_thread

log = structlog.get_logger()

_DAY_SECONDS = 86_400.0
_FIRST_SECONDS = 600.0
"""After a start there is more urgent work."""


def retention_of(settings: Settings) -> Retention:
    """Return how long things are kept, by the settings."""
    return Retention(**dict(settings.retention))


class DailyHousekeeping:
    """Knows when the next run is due. For the scheduler's thread."""

    def __init__(
        self, scheduler: Scheduler, prune: Callable[..., dict[str, Any]], settings: Callable[[], Settings]
    ) -> None:
        """`prune` carries out the command of that name."""
        self._scheduler, self._prune, self._settings = scheduler, prune, settings
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
            done = self._prune(dry_run=False)
        except Exception:  # a bug here must not end the process, and the next run is tomorrow
            log.exception("bug", doing="housekeeping")
            return
        for one in done["inboxes"]:
            removed = {kind: one[kind] for kind in ("done", "failed", "posters") if one[kind]["files"]}
            if one["remembered"]:
                removed["remembered"] = one["remembered"]
            if removed or one["histories"]:
                log.info("pruned", inbox=one["name"], histories=one["histories"], **removed)
