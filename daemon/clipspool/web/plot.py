"""Spend by day and inbox as an SVG picture: stacked bars, and the day's budget as a line."""

from __future__ import annotations

import math
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from clipspool.journal import DaySpent, Look

DAYS = 30
_SETTLED = 2
"""Days whose figures still change: today, and yesterday, whose tasks are ending."""
_RECENT_SECONDS = 5.0
_OLD_SECONDS = 600.0
_DAY_SECONDS = 86_400
COLOURS = 6
"""Of the style sheet; further inboxes share the last one."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 4, 10, 22
_GAP = 3


class RecentSpend:
    """Caches what was spent in the last days: old days are read seldom, the newest ones often."""

    def __init__(self) -> None:
        self._old: tuple[int, float, list[DaySpent]] | None = None
        self._recent: tuple[int, float, list[DaySpent]] | None = None
        self._lock = threading.Lock()

    def spent(self, look: Look, now: float) -> list[DaySpent]:
        """Return what was spent in each of the last `DAYS` days (UTC), by inbox."""
        today = int(now // _DAY_SECONDS)
        since, split = today - DAYS + 1, today - _SETTLED + 1
        at = time.monotonic()
        with self._lock:
            if self._old is None or self._old[0] != today or at - self._old[1] > _OLD_SECONDS:
                self._old = (today, at, look.spent_by_day(since, split))
            if self._recent is None or self._recent[0] != today or at - self._recent[1] > _RECENT_SECONDS:
                self._recent = (today, at, look.spent_by_day(split, today + 1))
            return [*self._old[2], *self._recent[2]]


@dataclass(frozen=True, slots=True)
class Bar:
    """One inbox's part of one day, in the picture's own units."""

    x: float
    y: float
    width: float
    height: float
    colour: int
    says: str


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark at one of the axes."""

    at: float
    says: str


@dataclass(frozen=True, slots=True)
class Plot:
    """A picture of spend, ready to be drawn, with the same figures as rows of a table."""

    unit: str
    """`credits`, or `submissions` where no price is known."""
    bars: tuple[Bar, ...]
    days: tuple[Tick, ...]
    levels: tuple[Tick, ...]
    limit_at: float | None
    """Height of the day's budget; None when there is none."""
    limit_says: str
    legend: tuple[tuple[int, str], ...]
    rows: tuple[tuple[str, str, int, float], ...]
    """Day, inbox, submissions, credits; newest first."""
    says: str
    """The picture in a sentence, for screen readers."""
    width: int
    height: int
    left: int
    right: int
    bottom: int


def plot(
    spent: Sequence[DaySpent],
    now: float,
    credits_per_day: float | None,
    submissions_per_day: int,
    *,
    days: int,
    width: int,
    height: int,
) -> Plot:
    """Draw what was spent in the last `days` days against the day's limit."""
    today = int(now // _DAY_SECONDS)
    first, bottom = today - days + 1, height - _BOTTOM
    spent = [one for one in spent if one.day >= first]
    is_priced = any(one.credits for one in spent)
    unit = "credits" if is_priced else "submissions"
    limit = credits_per_day if is_priced else float(submissions_per_day)
    figure = {(one.day, one.inbox): one.credits if is_priced else one.submissions for one in spent}
    totals: dict[int, float] = defaultdict(float)
    for (day, _), amount in figure.items():
        totals[day] += amount
    most = max(totals.values(), default=0.0)
    # A limit far above all that was spent would flatten the bars: it is shown in words only.
    shown_limit = limit if limit is not None and limit <= max(most * 4, 1.0) else None
    top = _round_up(max(most, shown_limit or 0.0, 1.0))
    inboxes = sorted({one.inbox for one in spent})
    scale = (bottom - _TOP) / top
    step = (width - _LEFT - _RIGHT) / days
    shown_days = range(first, today + 1)
    weeks = [day for day in shown_days if (today - day) % 7 == 0]
    limit_words = "" if limit is None else f"{limit:,.10g} {unit} a day"
    return Plot(
        unit=unit,
        bars=tuple(_bars(figure, inboxes, shown_days, unit, step=step, scale=scale, bottom=float(bottom))),
        days=tuple(Tick(round(_LEFT + (d - first + 0.5) * step, 1), _day(d)[5:]) for d in weeks),
        levels=tuple(Tick(round(bottom - level * scale, 1), f"{level:,.10g}") for level in (top / 2, top)),
        limit_at=None if shown_limit is None else round(bottom - shown_limit * scale, 1),
        limit_says=limit_words,
        legend=tuple((_colour(number), inbox) for number, inbox in enumerate(inboxes)),
        rows=tuple(
            (_day(one.day), one.inbox, one.submissions, one.credits)
            for one in sorted(spent, key=lambda one: (-one.day, one.inbox))
        ),
        says=(
            f"Spend of the last {days} days: {sum(totals.values()):,.10g} {unit}, "
            f"{totals.get(today, 0):,.10g} of them today"
            + (f", at most {limit_words}." if limit_words else "; no budget is set.")
        ),
        width=width,
        height=height,
        left=_LEFT,
        right=width - _RIGHT,
        bottom=bottom,
    )


def _bars(
    figure: Mapping[tuple[int, str], float],
    inboxes: Sequence[str],
    days: range,
    unit: str,
    *,
    step: float,
    scale: float,
    bottom: float,
) -> Iterator[Bar]:
    """Stack the inboxes' bars of each day; the amounts in `figure` are in `unit`."""
    for day in days:
        y = bottom
        for number, inbox in enumerate(inboxes):
            if not (amount := figure.get((day, inbox), 0)):
                continue
            tall = max(amount * scale, 1.0)
            y -= tall
            x = _LEFT + (day - days.start) * step + _GAP / 2
            says = f"{_day(day)}, {inbox}: {amount:,.10g} {unit}"
            width, height = round(step - _GAP, 1), round(tall, 1)
            yield Bar(round(x, 1), round(y, 1), width, height, _colour(number), says)


def _colour(number: int) -> int:
    return min(number, COLOURS - 1)


def _day(day: int) -> str:
    return datetime.fromtimestamp(day * _DAY_SECONDS, UTC).strftime("%Y-%m-%d")


def _round_up(value: float) -> float:
    """Round up to 1, 2, 4, 5, 6, 8 or 10 times a power of ten: half of it is a round number too."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 4, 5, 6, 8, 10) if step * power >= value)
