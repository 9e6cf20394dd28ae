"""Lends decoding processes to calls: which one, in what order, and when another is worth its beginning."""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, Protocol, TypeVar

PATIENCE_SECONDS: Final = 0.25
"""What a call waits before another is begun: that takes 0.1 s and 20 MB, where most calls take 10 ms."""


class Member(Protocol):
    """One who works when asked, and is begun by the first call it gets."""

    @property
    def lives(self) -> bool:
        """Whether it is there already, so that a call need not wait for its beginning."""


M = TypeVar("M", bound=Member)


@dataclass(eq=False, slots=True)
class _Place(Generic[M]):
    """A call's place in the queue."""

    is_long: bool
    is_patient: bool = True
    given: queue.SimpleQueue[M] = field(default_factory=queue.SimpleQueue)


class Crew(Generic[M]):
    """Some members, of whom few live while there is little to do; its methods may be called from any thread.

    What takes long is with all but one of them at most, so that what is short never waits for its end. First
    come, first served, but for that.
    """

    def __init__(self, members: Sequence[M], patience_seconds: float = PATIENCE_SECONDS) -> None:
        """Take at least one; with a single one, what is short has to wait for what takes long."""
        self._free = list(members)
        self._size = len(members)
        self._long_left = max(1, len(members) - 1)
        self._patience_seconds = patience_seconds
        self._queue: list[_Place[M]] = []
        self._changed = threading.Condition()

    def take(self, *, is_long: bool) -> M:
        """Wait for one of one's own, to be given back; it may have to be begun."""
        place = _Place[M](is_long)
        with self._changed:
            self._queue.append(place)
            self._serve()
        try:
            return place.given.get(timeout=self._patience_seconds)
        except queue.Empty:
            with self._changed:
                place.is_patient = False
                self._serve()
            return place.given.get()

    def take_first(self) -> M | None:
        """Take one if all are asleep, to begin it before a call comes; None otherwise."""
        with self._changed:
            return self._free.pop() if self._all_asleep() else None

    def give_back(self, member: M, *, is_long: bool = False) -> None:
        """End what `take` began."""
        with self._changed:
            self._free.append(member)
            self._long_left += is_long
            self._serve()
            self._changed.notify_all()

    def wait_for_all(self) -> None:
        """Wait until every member was given back."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._free) == self._size)

    def _serve(self) -> None:
        for place in list(self._queue):
            member = self._member_for(place)
            if member is not None:
                self._free.remove(member)
                self._long_left -= place.is_long
                self._queue.remove(place)
                place.given.put(member)

    def _member_for(self, place: _Place[M]) -> M | None:
        if not self._free or (place.is_long and not self._long_left):
            return None
        # The one that worked last: the others may end for want of work.
        living = next((member for member in reversed(self._free) if member.lives), None)
        if living is None and (not place.is_patient or self._all_asleep()):
            return self._free[-1]
        return living

    def _all_asleep(self) -> bool:
        return len(self._free) == self._size and not any(member.lives for member in self._free)
