"""How long each model takes, learned from when its tasks were seen open and seen done.

A look tells only that a task ended between the look before and this one. Many such intervals together tell
more than each alone: the belief about a model is a share for each step of time, and each interval moves some
of it to where, by what is believed so far, that task ended.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from clipspool.events import TaskSucceeded
from clipspool.job import Task
from clipspool.news import Happened, News

_STEP = math.log(1.01)
"""A hundredth: at a render of a minute 0.6 s."""
_REMEMBERED = 30
"""Tasks after which what was learned before counts a third: a provider gets faster, or busier."""
_KEPT_SHARE = 1e-4
_LOOK_COST = 0.02
"""What a look may save in lateness to be worth it, in shortest pauses."""
_MOST_OUTLIVED = 0.98
"""A task that outlived so much of what is believed is no longer judged by it."""
_PROBES = 0.04
_ATTACHED_SECONDS = 600.0
"""A task made so long after its intent was found by a person: nobody knows when it began."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One task: still open so many seconds after it was made (0 when nobody looked), and done by so many."""

    profile: str
    model: str
    open_seconds: float
    done_seconds: float


@dataclass(slots=True)
class Belief:
    """What is believed of one model at one provider."""

    shares: dict[int, float] = field(default_factory=dict)
    """By steps of time; together 1 once anything was seen."""
    tasks: int = 0
    _ends: list[float] = field(default_factory=list)
    _sums: list[float] = field(default_factory=list)
    """Up to each end: the share, and beside it the share times its seconds."""
    _moments: list[float] = field(default_factory=list)

    def learn(self, open_seconds: float, done_seconds: float) -> None:
        """Take in that a task ended after one moment and by another, in seconds since it was made."""
        first, last = _step_of(max(open_seconds, done_seconds / 2, 0.1)), _step_of(max(done_seconds, 0.1))
        within = {n: share for n, share in self.shares.items() if _step_of(open_seconds) <= n <= last}
        if sum(within.values()) < _KEPT_SHARE:
            within = dict.fromkeys(range(first, last + 1), 1.0)
        self.tasks += 1
        weight = max(1.0 / self.tasks, 1.0 / _REMEMBERED)
        moved = {n: share * (1.0 - weight) for n, share in self.shares.items()}
        whole = sum(within.values())
        for n, share in within.items():
            moved[n] = moved.get(n, 0.0) + weight * share / whole
        kept = {n: share for n, share in sorted(moved.items()) if share >= _KEPT_SHARE}
        whole = sum(kept.values())
        self.shares = {n: share / whole for n, share in kept.items()}
        self._ends = [math.exp((n + 1) * _STEP) for n in self.shares]
        self._sums, self._moments = [0.0], [0.0]
        for end, share in zip(self._ends, self.shares.values(), strict=True):
            self._sums.append(self._sums[-1] + share)
            self._moments.append(self._moments[-1] + share * end)

    def next_look(
        self, age_seconds: float, pause_seconds: float, random: Callable[[], float]
    ) -> float | None:
        """Give the age at which a task of this age is best looked at next; None when nothing is known of it.

        Best is what costs least, lateness and looks together, when two looks lie at least `pause_seconds`
        apart. Now and then it is sooner than that: how early a task ends is not learned otherwise.
        """
        if not self.tasks or self._sum_to(age_seconds) >= _MOST_OUTLIVED:
            return None
        soonest = age_seconds + pause_seconds
        later = self._ends[bisect_right(self._ends, soonest) :]
        best = min((soonest, *later), key=lambda at: self._cost(at, pause_seconds))
        if random() < max(1.0 / (self.tasks + 1), _PROBES):
            return max(soonest, self._halfway(age_seconds, best))
        return best

    def _cost(self, at: float, pause: float) -> float:
        """Seconds late, looks counted as seconds, of a look at `at` and, if it is too early, the next."""
        again = at + pause
        late = self._lateness(at, 0.0)
        late_again = self._lateness(again, at)
        too_early, much_too_early = 1.0 - self._sum_to(at), 1.0 - self._sum_to(again)
        look = _LOOK_COST * pause
        return late + late_again + too_early * look + much_too_early * (look + pause / 2)

    def _lateness(self, at: float, since: float) -> float:
        first, last = bisect_right(self._ends, since), bisect_right(self._ends, at)
        share = self._sums[last] - self._sums[first]
        return share * at - (self._moments[last] - self._moments[first])

    def _sum_to(self, at: float) -> float:
        return self._sums[bisect_right(self._ends, at)]

    def _halfway(self, since: float, at: float) -> float:
        """Give the moment by which half of the tasks that end between the two have ended."""
        half = (self._sum_to(since) + self._sum_to(at)) / 2
        return self._ends[min(max(bisect_right(self._sums, half) - 1, 0), len(self._ends) - 1)]


class Durations:
    """What is believed of each model at each provider. Used by one thread."""

    def __init__(self, seen: Iterable[Seen] = ()) -> None:
        """Begin with what is remembered, oldest first."""
        self._beliefs: dict[tuple[str, str], Belief] = {}
        for one in seen:
            self.learn(one)

    def learn(self, seen: Seen) -> None:
        """Take in when a task ended."""
        belief = self._beliefs.setdefault((seen.profile, seen.model), Belief())
        belief.learn(seen.open_seconds, seen.done_seconds)

    def next_look(
        self, task: Task, model: str, age_seconds: float, pause_seconds: float, random: Callable[[], float]
    ) -> float | None:
        """Give the age at which to look at a task next, as `Belief.next_look`; None when nothing is known."""
        belief = self._beliefs.get((task.profile, model))
        return None if belief is None else belief.next_look(age_seconds, pause_seconds, random)

    def hear(self, news: News) -> None:
        """Learn from a task that was seen done."""
        if isinstance(news, Happened) and isinstance(news.event, TaskSucceeded):
            for seen in _seen(news):
                self.learn(seen)


def _seen(happened: Happened) -> Iterator[Seen]:
    before, task = happened.before, happened.before.task
    if task is None or task.created_at is None or task.created_at - task.intent_at > _ATTACHED_SECONDS:
        return
    # After a look that failed nobody knows when it was last open.
    open_at = before.updated_at if before.attempts == 0 and not before.cancel_by else task.created_at
    yield Seen(
        task.profile,
        before.request.model,
        max(open_at - task.created_at, 0.0),
        happened.after.updated_at - task.created_at,
    )


def _step_of(seconds: float) -> int:
    return math.floor(math.log(max(seconds, 0.01)) / _STEP)
