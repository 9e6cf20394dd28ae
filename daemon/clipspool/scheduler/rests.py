"""How long the scheduler rests after a turn, and how long it sleeps at most."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from clipspool.scheduler.mailbox import Mailbox

TURN_SECONDS_MAX: Final = 1.0
"""The longest sleep between two turns while a job is open, or a message came within `_CALM_SECONDS`."""
_CALM_SECONDS: Final = 15.0
_REST_SECONDS: Final = (0.004, 0.05)
"""The rest between two turns, three times the processor time of the last one, within these: under load a turn
receives more messages, which share one transaction and one sync. What a turn waits for, the disk or other
threads, does not count: messages gather meanwhile."""
_LEISURE_SECONDS: Final = 0.05
"""The rest before a turn for which nothing is urgent: what comes meanwhile shares it."""


class Rests:
    """What the last turns were like, and how long to wait for the next."""

    def __init__(self, mailbox: Mailbox, passed: Callable[[], float]) -> None:
        """Begin; `passed` counts seconds on a clock that cannot be set."""
        self._mailbox = mailbox
        self._passed = passed
        self._heard_at = passed()
        self._used_seconds = 0.0
        self._was_empty = False

    def turned(self, used_seconds: float, *, received: bool, handed_out: bool) -> None:
        """Record a turn: its processor time, and whether it received messages or handed something out."""
        self._used_seconds = used_seconds
        self._was_empty = not received and not handed_out
        if received:
            self._heard_at = self._passed()

    def sleep_seconds_max(self, *, is_any_open: bool, calm_seconds: float) -> float:
        """Return the longest sleep: `calm_seconds` while no job is open and no message came lately."""
        is_calm = not is_any_open and self._passed() - self._heard_at >= _CALM_SECONDS
        return calm_seconds if is_calm else TURN_SECONDS_MAX

    def rest(self) -> bool:
        """Rest, longer where nothing is urgent, and not after a turn without work; return if mail waits."""
        if self._was_empty:
            return False
        shortest = min(max(3 * self._used_seconds, _REST_SECONDS[0]), _REST_SECONDS[1])
        return self._mailbox.rest(shortest, _LEISURE_SECONDS)

    def sleep(self, seconds: float, seconds_max: float) -> None:
        """Sleep until a message comes, at most `seconds`, which is brought within limits."""
        self._mailbox.sleep(min(max(seconds, _REST_SECONDS[0]), seconds_max))
