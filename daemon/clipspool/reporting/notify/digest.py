"""When a message goes: the first note of a kind at once, the next of that kind together with all else later.

Each message closes its topics for `digest_seconds`; a note goes at once while its topic is open. So at most
one message a topic leaves in that time, whatever happens, and only a bounded number of notes is kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

from clipspool.reporting.notify.notes import Note
from clipspool.reporting.notify.topics import Topic

NOTES_MAX = 100
"""Notes told one by one in a message; more are counted."""


@dataclass(frozen=True, slots=True)
class Message:
    """What a receiver gets at one time."""

    notes: tuple[Note, ...]
    """Oldest first."""
    counts: Mapping[Topic, int]
    """All of them by topic, those left out included."""
    is_test: bool = False

    @property
    def count(self) -> int:
        """How many notes it stands for."""
        return sum(self.counts.values())

    @property
    def left_out(self) -> int:
        """How many notes are only counted."""
        return self.count - len(self.notes)


class Digest:
    """What waits for one receiver. Times are seconds of a clock that only goes forward."""

    def __init__(self, digest_seconds: float) -> None:
        """Begin with every topic open."""
        self._digest_seconds = digest_seconds
        self._open_at: dict[Topic, float] = {}
        self._notes: list[Note] = []
        self._counts: Counter[Topic] = Counter()
        self.due = inf
        """When the next message goes; infinite while there is nothing to say."""

    def add(self, note: Note, now: float) -> None:
        """Take a note."""
        self._counts[note.topic] += 1
        if len(self._notes) < NOTES_MAX:
            self._notes.append(note)
        self.due = min(self.due, max(now, self._open_at.get(note.topic, -inf)))

    def take(self, now: float) -> Message | None:
        """Give the message that is due, of all that waits; None when none is."""
        if now < self.due:
            return None
        message = Message(tuple(self._notes), dict(self._counts))
        for topic in self._counts:
            self._open_at[topic] = now + self._digest_seconds
        self._notes.clear()
        self._counts.clear()
        self.due = inf
        return message
