"""The ways that are configured: which of them a file takes, and what becomes of it there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import structlog

from clipspool.jobs.faults import Fault
from clipspool.media.plan import AsIs, Refuse
from clipspool.provider.protocol import Inline
from clipspool.provider.transport.way import LIFE_SECONDS, Parcel, Way

log = structlog.get_logger()

_TIDY_SECONDS = 3600.0

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Choice(Generic[Made]):
    """A way, and what has to be made of a file so that it fits there."""

    way: str
    verdict: AsIs | Made | Refuse


def choose(
    ways: Sequence[Way], content_type: str, judge: Callable[[int], AsIs | Made | Refuse]
) -> Choice[Made]:
    """Take the first way that carries a file as it is, else the roomiest for which it can be made to fit.

    `judge` says what has to be made of the file for so many bytes. Where all refuse, the roomiest speaks.
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
        self._now = now
        self._tidied_at = now() - _TIDY_SECONDS + 60.0  # soon after the start, not in its rush
        self._lock = threading.Lock()

    def put(self, way: str, parcel: Parcel) -> Fault | None:
        """Put a parcel on its way; raises OSError, and KeyError for a way that is not configured."""
        return self._way(way).put(parcel)

    def address(self, way: str, parcel: Parcel, put_at: float) -> Inline | str | None:
        """Give what stands for the parcel in a request; None when it has to be put up (again).

        `put_at` is when it was put there: what lies there for too long may be gone while it is waited for.
        """
        known = next((one for one in self.ways if one.name == way), None)
        if known is None:
            return None
        address = known.address(parcel)
        if isinstance(address, str) and self._now() - put_at > LIFE_SECONDS:
            return None
        return address

    def remove(self, clip_id: str) -> None:
        """Remove every file of a clip from everywhere; what fails is said, and tidied up later."""
        now = self._now()
        with self._lock:
            is_time = now - self._tidied_at >= _TIDY_SECONDS
            if is_time:
                self._tidied_at = now
        for way in self.ways:
            for work in (lambda w=way: w.remove(clip_id), lambda w=way: w.tidy(now) if is_time else None):
                try:
                    fault = work()  # type: ignore[no-untyped-call]
                except OSError as error:
                    log.warning("transport_not_tidied", way=way.name, why=error.strerror or str(error))
                    continue
                if fault is not None:
                    log.warning("transport_not_tidied", way=way.name, why=fault.message)

    def close(self) -> None:
        """Give back connections."""
        for way in self.ways:
            way.close()

    def _way(self, name: str) -> Way:
        return next(way for way in self.ways if way.name == name)
