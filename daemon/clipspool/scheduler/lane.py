"""A lane: a limited number of threads that do pieces of work in turn, started as they are needed."""

from __future__ import annotations

import queue
from collections.abc import Callable

from clipspool.system.process import start_thread


class Lane:
    """A bounded number of threads, started as they are first needed."""

    def __init__(self, name: str, size: int) -> None:
        """`name` is the prefix of the threads' names; `size`, at least 1, limits how many there are."""
        self.size = size
        self.busy = 0
        """Pieces of work handed out and not reported yet; for the scheduler's thread alone."""
        self._name = name
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._threads = 0

    def hand_out(self, work: Callable[[], None]) -> None:
        """Queue a piece of work, which must not raise."""
        self.busy += 1
        self.begin(work)

    def begin(self, work: Callable[[], None]) -> None:
        """Queue a piece of work that is counted already."""
        self._work.put(work)
        self.staff()

    def staff(self) -> bool:
        """Start the threads that the work needs; False where the system refuses one: the work waits."""
        while self._threads < min(self.busy, self.size):
            if start_thread(self._run, f"{self._name}-{self._threads + 1}") is None:
                return False
            self._threads += 1
        return True

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            work()

    def stop(self) -> None:
        """Stop the threads after the work in their queue."""
        for _ in range(self._threads):
            self._work.put(None)
