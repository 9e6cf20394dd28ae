"""Builds metrics, health and notifications of a running daemon, and subscribes them to the scheduler."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from clipspool import __version__
from clipspool.app.receivers import couriers_of
from clipspool.app.settings import Settings, changes
from clipspool.intake.inbox import Inbox
from clipspool.journal import Journal
from clipspool.provider.protocol import Provider
from clipspool.reporting.health import Health, Trial
from clipspool.reporting.metered import Measured
from clipspool.reporting.metrics import Metrics
from clipspool.reporting.notify.heartbeat import Heartbeat
from clipspool.reporting.notify.notices import Notifications
from clipspool.reporting.snapshot import snapshot_of
from clipspool.scheduler.loop import Scheduler

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
        self.metrics = Metrics(inboxes, node=node)
        self.metrics.leads = bool(node)
        self.health = Health(
            Trial(settings.journal.path).look, lambda: self.metrics.turn_age_seconds, inboxes, now
        )
        self._notices = Notifications(
            couriers_of(settings, self.metrics.noticed), journal.tallies(now()), now
        )
        self._heartbeat = Heartbeat(lambda: self.health.look()[0], user_agent=f"clipspool/{__version__}")
        journal.on_commit(self.metrics.committed)
        self._settings = settings
        self._snapshot_due = 0.0

    def measured(self, provider: Provider) -> Provider:
        """Return a provider whose calls are timed."""
        return Measured(provider, self.metrics)

    def subscribe_to(self, scheduler: Scheduler) -> None:
        """Subscribe metrics and notifications to the scheduler's news."""
        self.metrics.expect(scheduler.picker.inboxes)
        scheduler.subscribe(self.metrics.on_news)
        scheduler.subscribe(self._notices.on_news)
        self._use_heartbeat(self._settings)

    def turned(self, scheduler: Scheduler) -> None:
        """Record the end of a turn, in the scheduler's thread."""
        self.metrics.turned()
        self._notices.tick()
        begun = time.monotonic()
        if begun >= self._snapshot_due:
            self.metrics.keep(snapshot_of(scheduler))
            ended = time.monotonic()
            self._snapshot_due = ended + max(_SNAPSHOT_SECONDS, _SNAPSHOT_REST * (ended - begun))

    def apply(self, settings: Settings) -> None:
        """Replace the receivers of notifications where they changed; waiting digests are sent first."""
        self.metrics.expect(inbox.name for inbox in settings.inbox)
        if changes(self._settings, settings).touches("notify"):
            self._notices.replace(couriers_of(settings, self.metrics.noticed))
            self._use_heartbeat(settings)
        self._settings = settings

    def _use_heartbeat(self, settings: Settings) -> None:
        ca_file = settings.provider.ca_file
        self._heartbeat.use(settings.notify.heartbeat_url, None if ca_file is None else str(ca_file))

    def close(self) -> None:
        """Send what waits to be sent, for a few seconds at most."""
        self._heartbeat.stop()
        self._notices.close(_LAST_WORDS_SECONDS)
