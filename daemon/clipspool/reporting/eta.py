"""Estimates how long a job will still take, by the last jobs of its model."""

from __future__ import annotations

import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from clipspool.jobs.model import Job, State
from clipspool.journal import Look

_LOOK_BACK = 300
"""Delivered jobs that are read, of all models together."""
_OF_A_MODEL = 50
_FRESH_SECONDS = 60.0
_FEWEST = 3


@dataclass(frozen=True, slots=True)
class TimeLeft:
    """How long a task will still take, estimated from its model's history."""

    seconds: float
    """Below 0: it takes that many seconds longer than usual."""
    usual_seconds: float
    of: int
    """How many earlier tasks this rests on."""


class Timing:
    """The median time from task to result, by model; read at most once a minute."""

    def __init__(self) -> None:
        self._usual: Mapping[str, tuple[float, int]] = {}
        self._at: float | None = None
        self._lock = threading.Lock()

    def refresh(self, look: Look) -> None:
        """Read the figures again if they are old."""
        now = time.monotonic()
        with self._lock:
            if self._at is not None and now - self._at < _FRESH_SECONDS:
                return
            self._at = now
        found: dict[str, list[float]] = defaultdict(list)
        for model, seconds in look.seconds_to_result(_LOOK_BACK):
            if len(found[model]) < _OF_A_MODEL:
                found[model].append(seconds)
        self._usual = {
            model: (statistics.median(all_), len(all_))
            for model, all_ in found.items()
            if len(all_) >= _FEWEST
        }

    def left(self, job: Job, now: float) -> TimeLeft | None:
        """Return the time left of a job's task; None when it is not at the provider, or nothing is known."""
        if job.state is not State.RUNNING or job.task is None or job.task.created_at is None:
            return None
        usual = self._usual.get(job.request.model)
        if usual is None:
            return None
        return TimeLeft(job.task.created_at + usual[0] - now, *usual)
