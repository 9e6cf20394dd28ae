"""The signs of life of a running daemon: what it measures, whether it gets on, and whom it tells."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from clipspool.app.receivers import couriers_of
from clipspool.app.settings import Settings, changes
from clipspool.intake.inbox import Inbox
from clipspool.journal import Journal
from clipspool.provider.protocol import Provider
from clipspool.reporting.health import Health, Trial
from clipspool.reporting.metered import Measured
from clipspool.reporting.metrics import Metrics
from clipspool.reporting.notify.notices import Notices
from clipspool.reporting.snapshot import standing_of
from clipspool.scheduler.loop import Scheduler

_STANDING_SECONDS = 2.0
_STANDING_REST = 100.0
"""Between two pictures of how things stand lies so many times what one takes."""
_LAST_WORDS_SECONDS = 3.0


class Signs:
    """Built before the scheduler, so that the provider can be measured; then it attends to the scheduler."""

    def __init__(
        self,
        settings: Settings,
        journal: Journal,
        inboxes: Callable[[], Mapping[str, Inbox]],
        now: Callable[[], float] = time.time,
    ) -> None:
        """`inboxes` gives those that are watched now."""
        self.metrics = Metrics(inboxes)
        self.health = Health(
            Trial(settings.journal.path).look, lambda: self.metrics.turn_age_seconds, inboxes, now
        )
        self._notices = Notices(couriers_of(settings, self.metrics.noticed), journal.tallies(now()), now)
        journal.committed = self.metrics.committed
        self._settings = settings
        self._picture_due = 0.0

    def measured(self, provider: Provider) -> Provider:
        """Give a provider whose calls are timed."""
        return Measured(provider, self.metrics)

    def attend(self, scheduler: Scheduler) -> None:
        """Hear what the scheduler tells."""
        self.metrics.expect(scheduler.picker.inboxes)
        scheduler.listen(self.metrics.hear)
        scheduler.listen(self._notices.hear)

    def turned(self, scheduler: Scheduler) -> None:
        """Note, in the scheduler's thread, that a turn ended."""
        self.metrics.turned()
        self._notices.tick()
        begun = time.monotonic()
        if begun >= self._picture_due:
            self.metrics.standing = standing_of(scheduler)
            ended = time.monotonic()
            self._picture_due = ended + max(_STANDING_SECONDS, _STANDING_REST * (ended - begun))

    def apply(self, settings: Settings) -> None:
        """Tell those whom other settings name, where they differ; what was held back for a digest is said."""
        self.metrics.expect(inbox.name for inbox in settings.inbox)
        if changes(self._settings, settings).touches("notify"):
            self._notices.replace(couriers_of(settings, self.metrics.noticed))
        self._settings = settings

    def close(self) -> None:
        """Say what waits to be said, for a few seconds at most."""
        self._notices.close(_LAST_WORDS_SECONDS)
