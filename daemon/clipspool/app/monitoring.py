"""Builds metrics, health and notifications of a running daemon, and subscribes them to the scheduler."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from clipspool.app.receivers import couriers_of
from clipspool.app.settings import Settings, changes
from clipspool.intake.inbox import Inbox
from clipspool.journal import Journal
from clipspool.provider.protocol import Provider
from clipspool.reporting.health import Health, WriteTrial
from clipspool.reporting.metered import Measured
from clipspool.reporting.notify.heartbeat import Heartbeat
from clipspool.reporting.notify.notices import Notifications
from clipspool.reporting.snapshot import snapshot_of
from clipspool.scheduler.loop import Scheduler

if TYPE_CHECKING:
    from clipspool.reporting.metrics import Metrics

_SNAPSHOT_SECONDS = 2.0
_SNAPSHOT_REST = 100.0
"""The pause between two snapshots, as a multiple of the time that one takes."""
_LAST_WORDS_SECONDS = 3.0


class Monitoring:
    """Built before the scheduler, so that the provider can be measured; then subscribed to the scheduler."""

    def __init__(
        self,
        settings: Settings,
        journal: Journal,
        inboxes: Callable[[], Mapping[str, Inbox]],
        now: Callable[[], float] = time.time,
        node: str = "",
    ) -> None:
        """`inboxes` returns those that are watched now; `node` is this one's name in the farm it leads."""
        self._turned_at = time.monotonic()
        self.metrics = self._counted(journal, inboxes, node) if settings.web.listen is not None else None
        """None without a page: nobody could read them."""
        self.health = Health(WriteTrial(settings.journal.path).look, self.turn_age_seconds, inboxes, now)
        self._notices = Notifications(couriers_of(settings, self._count), journal.tallies(now()), now)
        self._heartbeat = Heartbeat(lambda: self.health.look()["ok"])
        self._settings = settings
        self._snapshot_due = 0.0

    def _counted(self, journal: Journal, inboxes: Callable[[], Mapping[str, Inbox]], node: str) -> Metrics:
        # Late: it takes 2 MB and 20 ms.
        from clipspool.reporting.metrics import Metrics  # noqa: PLC0415

        metrics = Metrics(inboxes, self.turn_age_seconds, node=node)
        metrics.leads = bool(node)
        journal.on_commit(metrics.committed)
        return metrics

    def turn_age_seconds(self) -> float:
        """Return how long ago the scheduler ended a turn; right after the start, how long ago that was."""
        return max(time.monotonic() - self._turned_at, 0.0)

    def measured(self, provider: Provider) -> Provider:
        """Return a provider whose calls are timed, where somebody may ask for that."""
        return provider if self.metrics is None else Measured(provider, self.metrics)

    def subscribe_to(self, scheduler: Scheduler) -> None:
        """Subscribe metrics and notifications to the scheduler's news."""
        if self.metrics is not None:
            self.metrics.expect(scheduler.picker.inboxes)
            scheduler.subscribe(self.metrics.on_news)
        scheduler.subscribe(self._notices.on_news)
        self._use_heartbeat(self._settings)

    def turned(self, scheduler: Scheduler) -> None:
        """Record the end of a turn, in the scheduler's thread."""
        self._turned_at = begun = time.monotonic()
        self._notices.tick()
        if self.metrics is not None and begun >= self._snapshot_due:
            self.metrics.snapshot = snapshot_of(scheduler)
            ended = time.monotonic()
            self._snapshot_due = ended + max(_SNAPSHOT_SECONDS, _SNAPSHOT_REST * (ended - begun))

    def apply(self, settings: Settings) -> None:
        """Replace the receivers of notifications where they changed; waiting digests are sent first."""
        if self.metrics is not None:
            self.metrics.expect(inbox.name for inbox in settings.inbox)
        changed = changes(self._settings, settings)
        if changed.touches("notify") or changed.touches("provider.ca_file"):
            self._notices.replace(couriers_of(settings, self._count))
            self._use_heartbeat(settings)
        self._settings = settings

    def _count(self, receiver: str, outcome: str, count: int) -> None:
        if self.metrics is not None:
            self.metrics.noticed(receiver, outcome, count)

    def _use_heartbeat(self, settings: Settings) -> None:
        ca_file = settings.provider.ca_file
        self._heartbeat.use(settings.notify.heartbeat_url, None if ca_file is None else str(ca_file))

    def close(self) -> None:
        """Send what waits to be sent, for a few seconds at most."""
        self._heartbeat.stop()
        self._notices.close(_LAST_WORDS_SECONDS)
