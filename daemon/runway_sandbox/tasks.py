"""Moves tasks from PENDING and THROTTLED over RUNNING to an end, by the time `now` alone; pure."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

PROGRESS_MAX_RUNNING = 0.99


class Status(StrEnum):
    """Runway's own words [PROVIDER 2.6]."""

    PENDING = "PENDING"
    THROTTLED = "THROTTLED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def is_terminal(self) -> bool:
        """Whether the task has ended."""
        return self in (Status.SUCCEEDED, Status.FAILED, Status.CANCELLED)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a task failed [PROVIDER 2.9]; a failure without a code occurs too."""

    code: str | None
    message: str

    @property
    def is_charged(self) -> bool:
        """Whether the credits are kept: moderated generations cost the same [PROVIDER 0.5]."""
        return "SAFETY" in (self.code or "")


@dataclass(frozen=True, slots=True)
class Output:
    """One file of a result."""

    path: Path
    name: str
    content_type: str


@dataclass(slots=True)
class Task:
    """One accepted request and its state. Times are seconds since the epoch."""

    id: str
    owner: str
    """Fingerprint of the key that made it; other keys cannot see it [PROVIDER 1.5]."""
    model: str
    prompt: str
    is_wrapped: bool
    credits: int
    created_at: float
    clip: Path | None
    seconds: float = 1.0
    """Length of its result, if that is a canned one."""
    status: Status = Status.PENDING
    started_at: float = 0.0
    ended_at: float = 0.0
    outputs: tuple[Output, ...] | None = None
    """None until they are rendered."""
    failure: Failure | None = None
    coming_failure: Failure | None = None
    """The failure with which it will end when its time is over."""
    is_stuck: bool = False
    is_invisible: bool = False
    outputs_count: int = 1
    repeats_output: bool = False
    content: str = "mp4"


@dataclass(slots=True)
class Table:
    """All tasks of the sandbox. `now` must never go back."""

    concurrency: int | None
    pending_seconds: float
    render_seconds: float
    tasks_max: int
    on_removed: Callable[[Task], None]
    """Called with each task that is removed from memory, so that its files can be deleted."""
    _tasks: dict[str, Task] = field(default_factory=dict)
    _waiting: deque[Task] = field(default_factory=deque)
    _due: list[tuple[float, str]] = field(default_factory=list)
    _running: int = 0
    _ended: deque[str] = field(default_factory=deque)

    def add(self, task: Task) -> None:
        """Add a new task; `advance` moves it on."""
        self._tasks[task.id] = task
        if task.status.is_terminal:
            self._ended.append(task.id)
        else:
            self._waiting.append(task)

    def get(self, task_id: str) -> Task | None:
        """Return a task of any owner."""
        return self._tasks.get(task_id)

    def advance(self, now: float) -> list[Task]:
        """End tasks that are due, start those that may start; return those that started, to be rendered."""
        while self._due and self._due[0][0] <= now:
            due, task_id = heapq.heappop(self._due)
            task = self._tasks.get(task_id)
            if task is not None and task.status is Status.RUNNING:
                self._finish_when_rendered(task, due)
        started = []
        while self._waiting and self._may_start(self._waiting[0], now):
            task = self._waiting.popleft()
            if task.status.is_terminal:
                continue
            task.status, task.started_at = Status.RUNNING, now
            self._running += 1
            if not task.is_stuck:
                heapq.heappush(self._due, (now + self.render_seconds, task.id))
            started.append(task)
        return started

    def _may_start(self, task: Task, now: float) -> bool:
        if task.status.is_terminal:
            return True
        return not self._is_full() and now >= task.created_at + self.pending_seconds

    def _is_full(self) -> bool:
        return self.concurrency is not None and self._running >= self.concurrency

    def rendered(self, task: Task, outputs: tuple[Output, ...], now: float) -> None:
        """Store the files of a running task, and end it if its time is over."""
        task.outputs = outputs
        is_due = now >= task.started_at + self.render_seconds
        if is_due and task.status is Status.RUNNING and not task.is_stuck:
            self._finish_when_rendered(task, now)

    def _finish_when_rendered(self, task: Task, at: float) -> None:
        if task.coming_failure is not None:
            self.fail(task, task.coming_failure, at)
        elif task.outputs is not None:
            self._end(task, Status.SUCCEEDED, at)

    def fail(self, task: Task, failure: Failure, now: float) -> None:
        """End a task as FAILED in any state."""
        task.failure = failure
        self._end(task, Status.FAILED, now)

    def cancel(self, task: Task, now: float) -> None:
        """End a task as CANCELLED in any state."""
        self._end(task, Status.CANCELLED, now)

    def _end(self, task: Task, status: Status, now: float) -> None:
        if task.status is Status.RUNNING:
            self._running -= 1
        if not task.status.is_terminal:
            self._ended.append(task.id)
        task.status, task.ended_at = status, now
        while len(self._ended) > self.tasks_max:
            self.remove(self._ended[0])

    def remove(self, task_id: str) -> None:
        """Remove a task; an open one is cancelled first."""
        task = self._tasks.pop(task_id, None)
        if task is None:
            return
        if task.status is Status.RUNNING:
            self._running -= 1
        if task.status.is_terminal:
            self._ended.remove(task_id)
        task.status = Status.CANCELLED
        self.on_removed(task)

    def shown(self, task: Task) -> Status:
        """Return the status as the API words it: a task that waits for a free place is THROTTLED."""
        if task.status is Status.PENDING and self._is_full():
            return Status.THROTTLED
        return task.status

    def progress(self, task: Task, now: float) -> float:
        """Return the progress of a task, 0.0 to 1.0."""
        if task.status.is_terminal:
            return 1.0
        if task.status is not Status.RUNNING:
            return 0.0
        share = (now - task.started_at) / self.render_seconds if self.render_seconds else 1.0
        return round(min(max(share, 0.0), PROGRESS_MAX_RUNNING), 3)

    def next_due(self) -> float | None:
        """Return when `advance` has something to do, None if only an event can change anything."""
        times = [self._due[0][0]] if self._due else []
        if self._waiting and not self._is_full():
            times.append(self._waiting[0].created_at + self.pending_seconds)
        return min(times, default=None)
