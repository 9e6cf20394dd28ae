"""Learns how long each model takes, from when its tasks were last seen open and first seen done.

A poll shows only that a task ended since the poll before. Many such intervals together show more than each
alone: the estimate for a model is a share for each step of time, and each interval moves some of it to where,
by the estimate so far, that task ended. The estimate is smoothed: otherwise shares gather in a few steps, and
polls wait for those as if they were certain.

Where render times vary by less than the shortest pause between two polls, one poll soon after the end is
best. Where they vary by more, half a pause late is the best possible; what is left to save is polls before
the first tasks end.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate

from clipspool.jobs.events import TaskSucceeded
from clipspool.jobs.messages import Happened, News
from clipspool.jobs.model import Task

_STEP = math.log(1.01)
"""A hundredth: at a render of a minute 0.6 s."""
_REMEMBERED = 30
"""Tasks after which what was learned before counts a third: a provider gets faster, or busier."""
_KEPT_SHARE = 1e-4
_NEAR = 32
"""Steps either way, a third of the time, within which shares are taken to belong together,"""
_SPREAD = 0.6
"""and how far each is spread, in standard deviations of what lies there; further while few were seen."""
_LOOK_COST = 0.02
"""What a poll has to save in lateness to be worth it, in shortest pauses."""
_MOST_OUTLIVED = 0.95
"""A task that outlived so much of the estimate is no longer judged by it."""
_PROBES = 0.04
_ATTACHED_SECONDS = 600.0
"""A task made so long after its intent was attached by a person: it is not known when it began."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One task: last seen open so many seconds after it was made (0: never), and done by so many."""

    profile: str
    model: str
    open_seconds: float
    done_seconds: float


@dataclass(slots=True)
class Belief:
    """The estimate for one model at one provider."""

    shares: dict[int, float] = field(default_factory=dict)
    """By steps of time; together 1 once anything was seen."""
    tasks: int = 0
    _likely: dict[int, float] = field(default_factory=dict)
    """The shares, smoothed."""
    _ends: list[float] = field(default_factory=list)
    _sums: list[float] = field(default_factory=list)
    """Up to each end: the share, and beside it the share times its seconds."""
    _moments: list[float] = field(default_factory=list)

    def learn(self, open_seconds: float, done_seconds: float) -> None:
        """Learn that a task ended between two moments, in seconds since it was made."""
        first, last = _step_of(max(open_seconds, done_seconds / 2, 0.1)), _step_of(max(done_seconds, 0.1))
        within = {n: share for n, share in self._likely.items() if _step_of(open_seconds) <= n <= last}
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
        self._likely = _smoothed(self.shares, self.tasks)
        self._ends = [math.exp((n + 1) * _STEP) for n in self._likely]
        self._sums, self._moments = [0.0], [0.0]
        for end, share in zip(self._ends, self._likely.values(), strict=True):
            self._sums.append(self._sums[-1] + share)
            self._moments.append(self._moments[-1] + share * end)

    def next_look(
        self, age_seconds: float, pause_seconds: float, random: Callable[[], float]
    ) -> float | None:
        """Return the age at which a task of this age is best polled next; None where nothing is known.

        Best is what costs least, lateness and polls together, with at least `pause_seconds` between polls.
        Now and then it is sooner than that: how early a task ends is not learned otherwise.
        """
        if not self.tasks or self._sum_to(age_seconds) >= _MOST_OUTLIVED:
            return None
        soonest = age_seconds + pause_seconds
        later = self._ends[bisect_right(self._ends, soonest) :]
        best = min((soonest, *later), key=lambda at: self._cost(age_seconds, at, pause_seconds))
        if random() < max(1.0 / (self.tasks + 1), _PROBES):
            return max(soonest, self._halfway(age_seconds, best))
        return best

    def _cost(self, age: float, at: float, pause: float) -> float:
        """Return the seconds late, polls counted as seconds, of a poll at `at` and up to two more.

        What ends later still counts half a pause.
        """
        look = _LOOK_COST * pause
        cost, since = 0.0, age
        for one in (at, at + pause, at + 2 * pause):
            cost += self._lateness(one, since) + (1.0 - self._sum_to(one)) * look
            since = one
        return cost + (1.0 - self._sum_to(since)) * pause / 2

    def _lateness(self, at: float, since: float) -> float:
        first, last = bisect_right(self._ends, since), bisect_right(self._ends, at)
        share = self._sums[last] - self._sums[first]
        return share * at - (self._moments[last] - self._moments[first])

    def _sum_to(self, at: float) -> float:
        return self._sums[bisect_right(self._ends, at)]

    def _halfway(self, since: float, at: float) -> float:
        """Return the moment by which half of the tasks that end between the two have ended."""
        half = (self._sum_to(since) + self._sum_to(at)) / 2
        return self._ends[min(max(bisect_right(self._sums, half) - 1, 0), len(self._ends) - 1)]


class Durations:
    """The estimates of all models at all providers. Used by one thread."""

    def __init__(self, seen: Iterable[Seen] = ()) -> None:
        self._beliefs: dict[tuple[str, str], Belief] = {}
        for one in seen:
            self.learn(one)

    def learn(self, seen: Seen) -> None:
        """Learn when a task ended."""
        belief = self._beliefs.setdefault((seen.profile, seen.model), Belief())
        belief.learn(seen.open_seconds, seen.done_seconds)

    def next_look(
        self, task: Task, model: str, age_seconds: float, pause_seconds: float, random: Callable[[], float]
    ) -> float | None:
        """Return the age at which to poll a task next, as `Belief.next_look` does."""
        belief = self._beliefs.get((task.profile, model))
        return None if belief is None else belief.next_look(age_seconds, pause_seconds, random)

    def on_news(self, news: News) -> None:
        """Learn from a task that was seen done."""
        if isinstance(news, Happened) and isinstance(news.event, TaskSucceeded):
            for seen in _seen(news):
                self.learn(seen)


def _seen(happened: Happened) -> Iterator[Seen]:
    before, task = happened.before, happened.before.task
    if task is None or task.created_at is None or task.created_at - task.intent_at > _ATTACHED_SECONDS:
        return
    # After a failed poll it is not known when it was last open.
    open_at = before.updated_at if before.attempts == 0 and not before.cancel_by else task.created_at
    yield Seen(
        task.profile,
        before.request.model,
        max(open_at - task.created_at, 0.0),
        happened.after.updated_at - task.created_at,
    )


def _smoothed(shares: Mapping[int, float], tasks: int) -> dict[int, float]:
    """Spread each share around itself, the wider the more those near it vary, and the fewer they are."""
    first, last = min(shares), max(shares)
    steps = range(first - _NEAR, last + _NEAR + 1)
    masses, sums, squares = [0.0], [0.0], [0.0]
    for place, n in enumerate(steps):
        share = shares.get(n, 0.0)
        masses.append(masses[-1] + share)
        sums.append(sums[-1] + share * place)
        squares.append(squares[-1] + share * place * place)
    changes = [0.0] * (len(steps) + 1)
    for n, share in shares.items():
        place = n - steps.start
        low, high = place - _NEAR, place + _NEAR + 1
        mass = masses[high] - masses[low]
        mean = (sums[high] - sums[low]) / mass
        variance = max((squares[high] - squares[low]) / mass - mean * mean, 0.0)
        reach = min(int(max(_SPREAD * math.sqrt(variance), _NEAR / tasks)), _NEAR)
        changes[place - reach] += share / (2 * reach + 1)
        changes[place + reach + 1] -= share / (2 * reach + 1)
    likely = zip(steps, accumulate(changes), strict=False)
    return {n: share for n, share in likely if share >= _KEPT_SHARE / 10}


def _step_of(seconds: float) -> int:
    return math.floor(math.log(max(seconds, 0.01)) / _STEP)
