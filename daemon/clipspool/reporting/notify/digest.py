"""Decides when a message goes: the first note of a kind at once, later ones of that kind with all others.

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
"""Notes listed in a message; more are counted."""


@dataclass(frozen=True, slots=True)
class NoticeMessage:
    """One message to a receiver."""

    notes: tuple[Note, ...]
    """Oldest first."""
    counts: Mapping[Topic, int]
    """How many notes there were of each topic, those included that `notes` leaves out."""
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
    """Notes that wait for one receiver. Times are seconds of a clock that only goes forward."""

    def __init__(self, digest_seconds: float) -> None:
        self._digest_seconds = digest_seconds
        self._open_at: dict[Topic, float] = {}
        self._notes: list[Note] = []
        self._counts: Counter[Topic] = Counter()
        self.due = inf
        """When the next message goes; infinite while nothing waits."""

    def add(self, note: Note, now: float) -> None:
        """Add a note."""
        self._counts[note.topic] += 1
        if len(self._notes) < NOTES_MAX:
            self._notes.append(note)
        self.due = min(self.due, max(now, self._open_at.get(note.topic, -inf)))

    def take(self, now: float) -> NoticeMessage | None:
        """Return the message that is due, with all that waits; None when none is due."""
        if now < self.due:
            return None
        message = NoticeMessage(tuple(self._notes), dict(self._counts))
        for topic in self._counts:
            self._open_at[topic] = now + self._digest_seconds
        self._notes.clear()
        self._counts.clear()
        self.due = inf
        return message
