"""The configured ways: chooses one for a file, and puts, addresses and removes files on it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

import structlog

from clipspool.jobs.faults import Fault
from clipspool.media.plan import AsIs, Refuse
from clipspool.provider.protocol import Inline
from clipspool.provider.transport.way import LIFE_SECONDS, Parcel, Way

log = structlog.get_logger()

_TIDY_SECONDS = 3600.0
_REST_SECONDS = 60.0
"""How long a way that failed is not asked to remove anything: one that hangs takes minutes each time."""

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Choice(Generic[Made]):
    """A way, and how a file has to be converted to fit there."""

    way: str
    verdict: AsIs | Made | Refuse


def choose(
    ways: Sequence[Way], content_type: str, judge: Callable[[int], AsIs | Made | Refuse]
) -> Choice[Made]:
    """Choose the first way that carries a file unchanged, else the largest for which it can be made to fit.

    `judge` returns how the file has to be converted to fit into a number of bytes. Where all refuse, the
    refusal of the largest is returned.
    """
    judged = [(way, judge(way.room(content_type))) for way in ways]
    for way, verdict in judged:
        if isinstance(verdict, AsIs):
            return Choice(way.name, verdict)
    best = max(judged, key=lambda one: (not isinstance(one[1], Refuse), one[0].room(content_type)))
    return Choice(best[0].name, best[1])


class Depot:
    """All ways of a running daemon, in the order in which they are tried."""

    def __init__(self, ways: Sequence[Way], now: Callable[[], float]) -> None:
        """Take at least one way; `now` is Unix time in seconds."""
        self.ways = tuple(ways)
        self._by_name = {way.name: way for way in ways}
        self._now = now
        self._tidied_at = now() - _TIDY_SECONDS + 60.0  # soon after the start, but not during it
        self._lock = threading.Lock()
        self._asked_from: dict[str, float] = {}

    def put(self, way: str, parcel: Parcel) -> Fault | None:
        """Put a parcel on a way; raises OSError, and KeyError for a way that is not configured."""
        return self._by_name[way].put(parcel)

    def address(self, way: str, parcel: Parcel, put_at: float) -> Inline | str | None:
        """Return the parcel's value in a request; None when it has to be put there (again).

        `put_at` is when it was put there: an old file may be deleted while the request waits.
        """
        if way not in self._by_name:
            return None
        address = self._by_name[way].address(parcel)
        is_old = isinstance(address, str) and self._now() - put_at > LIFE_SECONDS
        return None if is_old else address

    def remove(self, clip_id: str) -> None:
        """Remove every file of a clip from all ways; failures are logged, and tidied up later."""
        now = self._now()
        with self._lock:
            is_time = now - self._tidied_at >= _TIDY_SECONDS
            if is_time:
                self._tidied_at = now
        for way in self.ways:
            if time.monotonic() < self._asked_from.get(way.name, 0.0):
                continue
            for work in (partial(way.remove, clip_id), *([partial(way.tidy, now)] if is_time else ())):
                try:
                    fault = work()
                    why = fault and fault.message
                except OSError as error:
                    why = error.strerror or str(error)
                if why:
                    log.warning("transport_not_tidied", way=way.name, why=why)
                    self._asked_from[way.name] = time.monotonic() + _REST_SECONDS
                    break

    def close(self) -> None:
        """Close connections."""
        for way in self.ways:
            way.close()
