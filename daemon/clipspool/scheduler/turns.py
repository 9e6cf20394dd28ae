"""Merges the inboxes' queues: highest priority first, and among equals in turn, as often as weights say."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence

from clipspool.journal import Candidate


class Turns:
    """Decides which inbox is served next: the one that has spent the least; a submission costs it 1/weight.

    An inbox that had nothing to send begins where the others are, so that it does not catch up on its pause.
    """

    def __init__(self) -> None:
        self.weights: Mapping[str, float] = {}
        """By inbox; 1 unless named."""
        self._spent: dict[str, float] = {}
        self._served = 0.0
        """How much the inbox that was served last had spent by then."""
        self._last = ""

    def merge(self, queues: Mapping[str, Sequence[Candidate]]) -> Iterator[Candidate]:
        """Iterate over all queues, each sorted by priority, then age; what is taken is not counted."""
        # Of those that spent as much, the one goes first that waits the longest: it stands behind the last.
        names = sorted(queues, key=lambda name: (name <= self._last, name))
        waiting = {name: deque(queues[name]) for name in names if queues[name]}
        spent = {name: self._spent_by(name) for name in waiting}
        while waiting:
            highest = max(queue[0].priority for queue in waiting.values())
            first = min((n for n in waiting if waiting[n][0].priority == highest), key=spent.__getitem__)
            spent[first] += self._price(first)
            queue = waiting.pop(first)
            yield queue.popleft()
            if queue:
                waiting[first] = queue

    def took(self, inbox: str) -> None:
        """Count a submission of an inbox."""
        self._last, self._served = inbox, self._spent_by(inbox)
        self._spent[inbox] = self._served + self._price(inbox)
        # An inbox that spent less counts as having spent this much, so it need not be remembered.
        self._spent = {name: spent for name, spent in self._spent.items() if spent > self._served}

    def _spent_by(self, inbox: str) -> float:
        return max(self._spent.get(inbox, 0.0), self._served)

    def _price(self, inbox: str) -> float:
        return 1.0 / self.weights.get(inbox, 1.0)
