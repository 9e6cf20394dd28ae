"""Delivers notes to one receiver, in a thread of its own.

Callers never wait, and a receiver that hangs delays no other.
"""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Protocol

import structlog

from clipspool.jobs.pacing import backoff_seconds
from clipspool.reporting.notify.digest import Digest, NoticeMessage
from clipspool.reporting.notify.notes import Note
from clipspool.reporting.notify.topics import Topic
from clipspool.system.process import start_thread

log = structlog.get_logger()

REFUSALS_MAX = 8
"""After so many refusals a message is dropped, and logged: later ones wait for it."""
KEPT_SECONDS = 86_400.0
"""How long a message is kept that its receiver has not refused: a network may be down overnight."""
_PAUSE_SECONDS = (5.0, 300.0)


class NotDelivered(Exception):
    """A receiver did not take a message; the text says why, without address and secrets."""

    def __init__(self, why: str, *, is_refusal: bool = False, is_final: bool = False) -> None:
        super().__init__(why)
        self.is_refusal = is_refusal
        """Whether the receiver answered that it does not take this message; another may be right."""
        self.is_final = is_final
        """Whether the receiver refuses all further messages."""


class Sender(Protocol):
    """Sends to one receiver; every call must end within about a minute."""

    @property
    def name(self) -> str:
        """Name the receiver in logs and metrics, without the secrets of its address."""

    def send(self, message: NoticeMessage, message_id: str) -> None:
        """Send a message; raises NotDelivered. Another attempt of the same message has the same id."""


@dataclass(frozen=True, slots=True)
class Interests:
    """The notes that a receiver gets."""

    topics: frozenset[Topic] = frozenset(Topic)
    inboxes: frozenset[str] = frozenset()
    """Empty for all; notes about no single inbox go to every receiver."""

    def wants(self, note: Note) -> bool:
        """Whether a note is for this receiver."""
        if note.topic not in self.topics:
            return False
        return not self.inboxes or not note.inbox or note.inbox in self.inboxes


CountSent = Callable[[str, str, int], object]
"""Called with the receiver, `sent` | `tried_again` | `dropped` | `left_out`, and how many."""


class Courier:
    """One receiver and the notes that wait for it."""

    def __init__(
        self,
        sender: Sender,
        interests: Interests,
        digest_seconds: float,
        *,
        count: CountSent = lambda _receiver, _outcome, _count: None,
        new_id: Callable[[], str],
        pause_seconds: tuple[float, float] = _PAUSE_SECONDS,
    ) -> None:
        self._sender = sender
        self._interests = interests
        self._digest = Digest(digest_seconds)
        self._count = count
        self._new_id = new_id
        self._pause_seconds = pause_seconds
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_stopping = False
        self._is_unwanted = False

    @property
    def name(self) -> str:
        """Name the receiver."""
        return self._sender.name

    def add(self, note: Note) -> None:
        """Add a note, from any thread; never blocks for long."""
        if not self._interests.wants(note):
            return
        if self._is_unwanted:
            self._count(self.name, "dropped", 1)
            return
        with self._changed:
            if self._is_stopping:
                return
            self._digest.add(note, time.monotonic())
            if self._thread is None:
                # Daemon: a receiver that hangs must not keep the process from ending.
                self._thread = start_thread(self._run, "notify")
            self._changed.notify()

    def stop(self) -> None:
        """Send what waits, each message tried once, and end; `join` waits for that."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify()

    def join(self, seconds: float) -> None:
        """Wait for the end, at most `seconds`; what was not sent by then is lost, and logged."""
        thread = self._thread
        if thread is None:
            return
        thread.join(seconds)
        if thread.is_alive():
            self._count(self.name, "dropped", 1)
            log.warning("notification_dropped", receiver=self.name, why="the daemon ends and it hangs")

    def _run(self) -> None:
        while (message := self._next()) is not None:
            if message.left_out:
                self._count(self.name, "left_out", message.left_out)
            try:
                self._deliver(message)
            except Exception as error:  # a bug with one message must not stop the others
                log.exception("notification_broken", receiver=self.name)
                self._drop(message, type(error).__name__)

    def _next(self) -> NoticeMessage | None:
        """Wait for the next message; None when it is time to end."""
        with self._changed:
            while True:
                if self._is_unwanted:
                    return None
                if self._is_stopping:
                    return self._digest.take(inf) if self._digest.due < inf else None
                message = self._digest.take(time.monotonic())
                if message is not None:
                    return message
                left = self._digest.due - time.monotonic()
                self._changed.wait(None if left == inf else min(max(left, 0.0), threading.TIMEOUT_MAX))

    def _deliver(self, message: NoticeMessage) -> None:
        message_id, begun, refusals = self._new_id(), time.monotonic(), 0
        for tries in itertools.count(1):
            try:
                self._sender.send(message, message_id)
            except NotDelivered as trouble:
                why = str(trouble)
                if trouble.is_final:
                    self._is_unwanted = True
                    why += "; nothing more is sent there"
                refusals += trouble.is_refusal
                is_over = refusals >= REFUSALS_MAX or time.monotonic() - begun >= KEPT_SECONDS
                if trouble.is_final or is_over or self._is_stopping:
                    self._drop(message, why)
                    return
                if tries == 1:
                    log.warning("notification_failed", receiver=self.name, why=why)
                self._count(self.name, "tried_again", 1)
                self._rest(backoff_seconds(tries - 1, self._pause_seconds, random.random))
            else:
                self._count(self.name, "sent", 1)
                log.info("notified", receiver=self.name, notes=message.count, tries=tries)
                return

    def _rest(self, seconds: float) -> None:
        """Wait before another try; new notes do not end it, stopping does."""
        until = time.monotonic() + seconds
        with self._changed:
            while not self._is_stopping and (left := until - time.monotonic()) > 0:
                self._changed.wait(left)

    def _drop(self, message: NoticeMessage, why: str) -> None:
        self._count(self.name, "dropped", 1)
        topics = {topic.value: count for topic, count in message.counts.items()}
        log.error("notification_dropped", receiver=self.name, why=why, notes=topics)
