"""Makes notes of the scheduler's news, and passes them to the couriers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import structlog

from clipspool.jobs.messages import News
from clipspool.jobs.model import State
from clipspool.jobs.records import Tally
from clipspool.reporting.notify.courier import Courier
from clipspool.reporting.notify.notes import Note, Reporter

log = structlog.get_logger()


class Notifications:
    """For the scheduler's thread; no method blocks, except `close`."""

    def __init__(
        self, couriers: Sequence[Courier], tallies: Sequence[Tally], now: Callable[[], float] = time.time
    ) -> None:
        """`tallies` are the journal's, before the first news."""
        self._couriers = tuple(couriers)
        self._reporter = Reporter(_crowds_of(tallies))
        self._now = now

    def on_news(self, news: News) -> None:
        """Take a piece of news."""
        try:
            self._send(self._reporter.notes_for(news, self._now()))
        except Exception:  # a bug in notifications must not end the daemon
            log.exception("notification_broken")

    def tick(self) -> None:
        """Send the notes that are due by time; once a second is enough."""
        self._send(self._reporter.tick(self._now()))

    def replace(self, couriers: Sequence[Courier]) -> None:
        """Replace the couriers; the old ones send what they have."""
        old, self._couriers = self._couriers, tuple(couriers)
        for courier in old:
            courier.stop()

    def close(self, seconds: float) -> None:
        """Send what waits; gives up after `seconds` in all."""
        self._send(self._reporter.finish(self._now()))
        until = time.monotonic() + seconds
        for courier in self._couriers:
            courier.stop()
        for courier in self._couriers:
            courier.join(max(until - time.monotonic(), 0.0))

    def _send(self, notes: Sequence[Note]) -> None:
        for note in notes:
            for courier in self._couriers:
                courier.add(note)


def _crowds_of(tallies: Sequence[Tally]) -> Mapping[str, tuple[int, int]]:
    counts_by_inbox: dict[str, tuple[int, int]] = {}
    for tally in tallies:
        moving, stuck = counts_by_inbox.get(tally.inbox, (0, 0))
        if tally.held is None and tally.state is not State.IN_DOUBT:
            moving += tally.count
        else:
            stuck += tally.count
        counts_by_inbox[tally.inbox] = (moving, stuck)
    return counts_by_inbox
