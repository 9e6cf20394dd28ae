"""Estimates when a task is done: from the provider's progress, or from earlier tasks of its model.

Quantiles of a model's last tasks say when a task is best polled. A poll shows only that a task ended since
the poll before. Its end is taken to be the mean of the middle of that time and of all ends known before that
lie in it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from clipspool.jobs.events import TaskSucceeded
from clipspool.jobs.messages import Happened, News
from clipspool.jobs.model import Job, Task

_REMEMBERED = 50
"""How many of a model's last tasks are used: older ones say little, since providers become faster or
busier."""
_FIRST, _MOST = 0.08, 0.9
"""The quantiles of tasks at which the first have ended, and most of them."""
_GAP = 2.0
"""Number of pauses to wait without a poll where no earlier task ended within them."""
_PROBES = 0.04
_ATTACHED_SECONDS = 600.0
"""A task made this long after its intent was attached by a person: it is not known when it began."""
_TOLD_STEPS = 2.5
"""Progress need not be even: no pause is longer than this many times the one before."""
_TOLD_MARGIN = 0.01
"""A poll right before the end costs a whole pause more, and most providers round to a percent."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One task: seconds from its creation until it was last seen open (0: never) and first seen done."""

    profile: str
    model: str
    open_seconds: float
    done_seconds: float


class Durations:
    """When the last tasks of all models at all providers ended. Used by one thread."""

    def __init__(self, seen: Iterable[Seen] = ()) -> None:
        self._ends: defaultdict[tuple[str, str], deque[float]]
        self._ends = defaultdict(lambda: deque(maxlen=_REMEMBERED))
        for one in seen:
            self.learn(one)

    def learn(self, seen: Seen) -> None:
        """Remember when a task ended."""
        ends, begin, done = self._ends[seen.profile, seen.model], seen.open_seconds, seen.done_seconds
        within = [end for end in ends if begin < end <= done]
        middle = (max(begin, done / 2) + done) / 2
        ends.append((sum(within) + middle) / (len(within) + 1))

    def next_look(
        self, task: Task, model: str, age_seconds: float, pause_seconds: float, random: Callable[[], float]
    ) -> float | None:
        """Return the age at which a task of this age is best polled next; None where nothing is known.

        Where most tasks end within one pause (the least between two polls), the poll is when most have ended.
        Otherwise it is after one pause, or, where none ended for long, when the first ones end. Now and then
        it is when half have ended, since only an early poll shows how early tasks end.
        """
        ends = sorted(self._ends.get((task.profile, model), ()))
        later = ends[bisect_right(ends, age_seconds) :]
        if not later:
            return None
        at, soonest = _at(later, _FIRST), age_seconds + pause_seconds
        if _at(ends, _MOST) - _at(ends, _FIRST) <= pause_seconds:
            at = _at(later, _MOST)
        elif at < age_seconds + _GAP * pause_seconds:
            at = soonest
        if random() < max(1.0 / (len(ends) + 1), _PROBES):
            at = min(at, _at(later, 0.5))
        return max(at, soonest)

    def on_news(self, news: News) -> None:
        """Learn from a task that was seen done."""
        if not (isinstance(news, Happened) and isinstance(news.event, TaskSucceeded)):
            return
        before, task = news.before, news.before.task
        if task is None or task.created_at is None or task.created_at - task.intent_at > _ATTACHED_SECONDS:
            return
        # After a failed poll it is not known when it was last open.
        open_at = before.updated_at if before.attempts == 0 and not before.cancel_by else task.created_at
        made_at, done_seconds = task.created_at, news.after.updated_at - task.created_at
        self.learn(Seen(task.profile, before.request.model, max(open_at - made_at, 0.0), done_seconds))


def seconds_left(job: Job, progress: float | None, now: float) -> float | None:
    """Estimate the seconds left of a render from its progress since the last poll; None if that says nothing.

    Gateways put a constant for each status in its place, such as 0.3 or 0.5 [PROVIDER 1.3]. So what has not
    changed is not believed, nor whole twentieths, unless it has grown evenly since the task was made.
    """
    before, passed = job.progress or 0.0, now - job.updated_at
    if progress is None or passed <= 0 or not before < progress < 1:
        return None
    if (progress * 20).is_integer() and not _is_even(job, before, progress, now):
        return None
    left = (1 - progress + _TOLD_MARGIN) * passed / (progress - before)
    return min(left, passed * _TOLD_STEPS)


def _is_even(job: Job, before: float, progress: float, now: float) -> bool:
    """Whether progress has grown in a straight line up to the last poll, and from there to `now`."""
    if not before or job.task is None or job.task.created_at is None:
        return False
    age, age_before = now - job.task.created_at, job.updated_at - job.task.created_at
    return abs(progress * age_before - before * age) <= _TOLD_MARGIN * age


def _at(ends: list[float], share: float) -> float:
    return ends[int(share * len(ends))]
