"""The queue through which workers, inboxes and people reach the scheduler's thread."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeAlias

from clipspool.jobs import events as on
from clipspool.jobs.messages import Accepted
from clipspool.scheduler.workers import AtGate, Done, HookDone, Retirement, Swept
from clipspool.system.process import Flag

MESSAGES_MAX = 500
"""The most messages of one turn."""
_LEISURELY = (on.TaskSeen, on.TaskSucceeded, on.Fetched, on.Delivered)
"""Events of jobs that are sent: nobody notices that they are recorded some hundredths of a second later."""


@dataclass(frozen=True, slots=True)
class Command:
    """An operator's command: run with the scheduler inside a turn, answered after its commit."""

    run: Callable[[Any], Any]
    reply: Future[Any]


Message: TypeAlias = Accepted | Done | AtGate | Retirement | Swept | HookDone | Command


def _is_urgent(message: Message) -> bool:
    match message:
        case Retirement() | Swept() | HookDone():
            return False
        case Done(event=event):
            return not isinstance(event, _LEISURELY)
        case _:
            return True


class Mailbox:
    """Messages in the order they came. `put` serves any thread and signal handler, the rest the scheduler."""

    def __init__(self) -> None:
        """Begin empty."""
        self._messages: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._has_urgent = Flag()
        """Set while a message waits on which a submission or a person waits."""
        self._first: list[Message] = []
        """What ended a sleep."""

    def put(self, message: Message) -> None:
        """Queue a message; it ends the scheduler's sleep."""
        self._messages.put(message)
        if _is_urgent(message):
            self._has_urgent.set()

    @property
    def is_empty(self) -> bool:
        """Whether no message waits."""
        return not self._first and self._messages.empty()

    def receive(self) -> list[Message]:
        """Take the messages of one turn, without waiting."""
        messages, self._first = self._first, []
        while len(messages) < MESSAGES_MAX:
            try:
                messages.append(self._messages.get_nowait())
            except queue.Empty:
                break
        self._has_urgent.clear()
        if not self._messages.empty():  # more than one turn takes, or what has just come: it may be urgent
            self._has_urgent.set()
        return messages

    def rest(self, shortest: float, leisure: float) -> bool:
        """Rest for `shortest` seconds, up to `leisure` while nothing is urgent; return whether mail waits."""
        time.sleep(shortest)
        return self._has_urgent.wait(leisure - shortest) or not self.is_empty

    def sleep(self, seconds: float) -> None:
        """Sleep until a message comes, for at most `seconds`."""
        try:
            self._first.append(self._messages.get(timeout=max(seconds, 0.0)))
        except queue.Empty:
            return
