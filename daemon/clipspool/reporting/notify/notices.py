"""All that people are told: the one listener that makes notes of news, and the couriers that bring them."""

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


class Notices:
    """Its methods belong to the scheduler's thread; none of them waits, but for `close`."""

    def __init__(
        self, couriers: Sequence[Courier], tallies: Sequence[Tally], now: Callable[[], float] = time.time
    ) -> None:
        """`tallies` are the journal's, before the first news."""
        self._couriers = tuple(couriers)
        self._reporter = Reporter(_crowds_of(tallies))
        self._now = now

    def hear(self, news: News) -> None:
        """Hear a piece of news."""
        try:
            self._tell(self._reporter.hear(news, self._now()))
        except Exception:  # a mistake of ours in what people are told must not end the daemon
            log.exception("notification_broken")

    def tick(self) -> None:
        """Let time bring its notes; once a second is enough."""
        self._tell(self._reporter.tick(self._now()))

    def replace(self, couriers: Sequence[Courier]) -> None:
        """Go on with other couriers; the old ones say what they have."""
        old, self._couriers = self._couriers, tuple(couriers)
        for courier in old:
            courier.stop()

    def close(self, seconds: float) -> None:
        """Say what waits to be said; gives up after so many seconds in all."""
        self._tell(self._reporter.finish(self._now()))
        until = time.monotonic() + seconds
        for courier in self._couriers:
            courier.stop()
        for courier in self._couriers:
            courier.join(max(until - time.monotonic(), 0.0))

    def _tell(self, notes: Sequence[Note]) -> None:
        for note in notes:
            for courier in self._couriers:
                courier.hear(note)


def _crowds_of(tallies: Sequence[Tally]) -> Mapping[str, tuple[int, int]]:
    crowds: dict[str, tuple[int, int]] = {}
    for tally in tallies:
        moving, stuck = crowds.get(tally.inbox, (0, 0))
        if tally.held is None and tally.state is not State.IN_DOUBT:
            moving += tally.count
        else:
            stuck += tally.count
        crowds[tally.inbox] = (moving, stuck)
    return crowds
