"""When a job is due again: backoff with full jitter, Retry-After, the poll budget, a clock that was set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from clipspool.jobs.model import Job, State
from clipspool.jobs.render_times import Durations

Random = Callable[[], float]
"""Returns a random number from 0 to below 1."""

NEVER = 32_503_680_000.0
"""Due in the year 3000: only a person, or another job, brings it forward."""
CLOCK_SET_SECONDS = 60.0
"""A clock that differs by more from the time that passed was set."""
_STAGE_SECONDS = (1.0, 600.0)
_SLOW_POLLS_MAX = 8
_RESULT_WAIT_SECONDS_MAX = 3600.0
_AGE_SHARE = 10
"""A task is polled again after a tenth of its age, so that a long render is polled less often."""


def backoff_seconds(attempts: int, bounds: tuple[float, float], random: Random) -> float:
    """Full jitter: evenly from nothing to `first * 2 ** attempts`, at most the second bound.

    `attempts` counts the faults before this one, from 0. A twentieth of the bound is the least, so that
    nothing spins.
    """
    first, most = bounds
    ceiling = min(most, first * 2.0 ** min(attempts, 30))
    return ceiling * max(random(), 0.05)


def retry_seconds(attempts: int, retry_after_seconds: float | None, random: Random) -> float:
    """Return one job's pause after a passing fault: at least what the provider asked for, or our backoff."""
    pause = backoff_seconds(attempts, _STAGE_SECONDS, random)
    return pause if retry_after_seconds is None else retry_after_seconds + min(pause, retry_after_seconds)


def within_a_result(retry_after_seconds: float | None) -> float | None:
    """Return what the provider asks for, as far as a task that is paid for can wait.

    Its result expires within a day or two [PROVIDER 2.6]: a wait of a day, which is the most that is believed
    of a server, could be all of that.
    """
    return None if retry_after_seconds is None else min(retry_after_seconds, _RESULT_WAIT_SECONDS_MAX)


@dataclass(frozen=True, slots=True)
class PollPace:
    """How often open tasks are polled."""

    seconds_min: float
    seconds_max: float
    per_second_max: float

    def pause(self, open_tasks: int) -> float:
        """Return the shortest time between two polls of one task, in seconds."""
        return max(self.seconds_min, open_tasks / self.per_second_max)

    def seconds(
        self,
        age_seconds: float,
        open_tasks: int,
        *,
        rendering: bool,
        random: Random,
        best_age_seconds: float | None = None,
    ) -> float:
        """Return the seconds to the next poll of one task, so that all together stay within the budget.

        `best_age_seconds` is the age at which a poll most likely finds the task ended, by earlier tasks or by
        the progress that the provider shows; None where neither is known. A task that only waits in the
        provider's queue is polled least often. Jitter is a twentieth either way, and none at the least pause:
        it would only make each poll later, and what keeps the provider from many polls at once is the budget.
        """
        pause = self.pause(open_tasks)
        if best_age_seconds is not None and rendering:
            return max(min(best_age_seconds - age_seconds, self.seconds_max), pause)
        wanted = age_seconds / _AGE_SHARE
        if not rendering:
            wanted = max(wanted, self.seconds_min * 2)
        if wanted > self.seconds_min:
            wanted = min(wanted, self.seconds_max) * (0.95 + 0.1 * random())
        return max(wanted, pause)

    def after_fault(self, attempts: int, retry_after_seconds: float | None, random: Random) -> float:
        """Return the seconds to the next poll after one that failed."""
        most = max(self.seconds_max * _SLOW_POLLS_MAX, self.seconds_min)
        pause = self.seconds_min + backoff_seconds(attempts, (self.seconds_min, most), random)
        return max(pause, within_a_result(retry_after_seconds) or 0.0)


@dataclass(frozen=True, slots=True)
class Pace:
    """The figures that decide when a job is due again."""

    poll: PollPace
    random: Random
    settle_seconds: float = 3.0
    task_seconds_max: float = 3600.0
    missing_seconds_max: float = 600.0
    """Seconds before a new task is visible at the provider [PROVIDER 1.5]."""
    held_seconds: float = 300.0
    """Seconds between polls of a task that is overdue or lost."""
    resubmits_max: int = 0
    """How often a lost answer leads to a new submission: 0, or 1 by `ambiguous_submit = "resubmit"`."""
    durations: Durations = field(default_factory=Durations)
    """What was learned of the models' render times; it goes on learning."""


class PollBudget:
    """Limits all polls together: to a number a second, and never more than a second's worth at once.

    After a restart thousands of tasks are due in the same moment; the provider must not feel it.
    """

    def __init__(self) -> None:
        self._left = float("inf")
        self._counted_at = 0.0

    def room(self, now: float, per_second_max: float) -> int:
        """Return how many polls may begin now."""
        most = max(per_second_max, 1.0)
        self._left = min(most, self._left + max(now - self._counted_at, 0.0) * per_second_max)
        self._counted_at = now
        return int(self._left)

    @property
    def left(self) -> float:
        """How many polls could begin when `room` was last called; infinite before that."""
        return max(self._left, 0.0)

    def spend(self, polls: int) -> None:
        """Count polls that begin."""
        self._left -= polls


def shifted(job: Job, by: float) -> Job:
    """Return a job whose open task counts its age from shifted times: the clock was set by `by` seconds."""
    task, since = job.task, job.rendering_since
    if job.state is not State.RUNNING or task is None:
        return job
    task = replace(task, created_at=None if task.created_at is None else task.created_at + by)
    return replace(job, task=task, rendering_since=None if since is None else since + by)


def due_by(job: Job, now: float) -> Job:
    """Return a job whose times a clock that was set back left in the future: due now, or at `not_before`."""
    not_before = job.request.not_before if job.state is State.QUEUED else None
    task = job.task
    if task is not None and task.created_at is not None:
        task = replace(task, created_at=min(task.created_at, now))
    due_at = job.due_at if job.due_at >= NEVER else min(job.due_at, max(now, not_before or 0.0))
    return replace(job, task=task, due_at=due_at)
