"""When an inbox may send: weekly hours by the wall clock of a zone, over midnight and clock changes; pure.

An hour that the clock repeats counts both times; what would begin in one that it skips begins at its end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_FULL_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_DAY_MINUTES = 24 * 60
_DAY_SECONDS = 86_400.0
_AHEAD_DAYS = 22
"""How far ahead the next opening is looked for: it is within a week, unless summer time skips that hour."""
_EXAMPLE = 'such as "Mon-Fri 19:00-07:00", "Sat-Sun" or "Europe/Berlin Mon-Sun 22:00-06:00"'


@dataclass(frozen=True, slots=True)
class WeeklyHours:
    """Some hours of some days of the week, by the wall clock of a zone."""

    days: frozenset[int]
    """The days it begins on: 0 is Monday."""
    begin: int
    """Minutes after midnight, 0 to 1439."""
    end: int
    """Minutes after the same midnight, above `begin`; beyond 1440 on the next day."""
    zone: tzinfo | None = None
    """None is this machine's own zone."""

    def is_open(self, at: float) -> bool:
        """Whether a moment (Unix seconds) lies within."""
        wall = _wall(at, self.zone)
        minutes, day = wall.hour * 60 + wall.minute, wall.weekday()
        is_of_today = day in self.days and self.begin <= minutes < self.end
        return is_of_today or ((day - 1) % 7 in self.days and minutes < self.end - _DAY_MINUTES)

    def opens_at(self, at: float) -> float:
        """Return the first moment from `at` on (Unix seconds) that lies within."""
        if self.is_open(at):
            return at
        midnight = _wall(at, self.zone).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
        # By the calendar: a step of 24 hours would leave out a day of 23 hours, begun late in the evening.
        for day in range(_AHEAD_DAYS):
            begins = self._beginnings(midnight + timedelta(days=day))
            found = [one for one in begins if one > at and self.is_open(one)]
            if found:
                return min(found)
        return at + _AHEAD_DAYS * _DAY_SECONDS

    def _beginnings(self, midnight: datetime) -> Iterator[float]:
        """Return the moments of a day at which it may begin: by the clock, and where the clock changes."""
        if midnight.weekday() in self.days:
            begin = midnight + timedelta(minutes=self.begin)
            for fold in (0, 1):
                yield _moment(begin.replace(fold=fold), self.zone)
        first, last = (_moment(day, self.zone) for day in (midnight, midnight + timedelta(days=1)))
        if (before := _offset(first, self.zone)) != _offset(last, self.zone):
            while last - first > 1.0:
                middle = (first + last) // 2
                first, last = (middle, last) if _offset(middle, self.zone) == before else (first, middle)
            yield last


@dataclass(frozen=True, slots=True)
class Hours:
    """All windows of an inbox, and how they were written."""

    windows: tuple[WeeklyHours, ...]
    written: tuple[str, ...]

    def is_open(self, at: float) -> bool:
        """Whether anything may be sent at a moment (Unix seconds)."""
        return any(window.is_open(at) for window in self.windows)

    def opens_at(self, at: float) -> float:
        """Return the first moment at or after `at` (Unix seconds) when sending is allowed."""
        return min(window.opens_at(at) for window in self.windows)

    def in_words(self) -> str:
        """Return the hours for people, as they were written."""
        return ", ".join(self.written)


@lru_cache(maxsize=256)
def read_hours(written: tuple[str, ...]) -> Hours | None:
    """Read the hours of an inbox; None where there are none. Raises ValueError with what would be right."""
    return Hours(tuple(_read(one) for one in written), written) if written else None


def _read(text: str) -> WeeklyHours:
    words = text.split()
    zone = _zone(words.pop(0)) if words and _names_zone(words[0]) else None
    times = words.pop() if words and words[-1][0].isdigit() else ""
    if len(words) > 1 or not (words or times):
        raise ValueError(f"must be days and times, {_EXAMPLE}")
    days = _days(words[0]) if words else frozenset(range(7))
    begin, end = _times(times) if times else (0, _DAY_MINUTES)
    return WeeklyHours(days, begin, end, zone)


def _names_zone(word: str) -> bool:
    return "/" in word or word == "UTC"


def _zone(name: str) -> tzinfo:
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - few name a zone

    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        raise ValueError(f"names a time zone that this machine does not know: {name}") from None


def _days(text: str) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        begin = _day(first)
        length = (_day(last) - begin) % 7 if dash else 0
        found.update((begin + n) % 7 for n in range(length + 1))
    return frozenset(found)


def _day(name: str) -> int:
    lower = name.lower()
    for names in (_DAYS, _FULL_DAYS):
        if lower in names:
            return names.index(lower)
    raise ValueError(f"names a day that there is not: `{name}`; write Mon, Tue, Wed, Thu, Fri, Sat or Sun")


def _times(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d\d?):(\d\d)-(\d\d?):(\d\d)", text)
    if match is None:
        raise ValueError(f"must have times as HH:MM-HH:MM, {_EXAMPLE}")
    hour, minute, end_hour, end_minute = (int(one) for one in match.groups())
    begin, end = hour * 60 + minute, end_hour * 60 + end_minute
    if begin >= _DAY_MINUTES or end > _DAY_MINUTES or max(minute, end_minute) >= 60:  # noqa: PLR2004
        raise ValueError("has a time that no clock shows; 00:00 to 24:00 are possible")
    if begin == end:
        raise ValueError("begins and ends at the same time; leave the times out for the whole day")
    return begin, end if end > begin else end + _DAY_MINUTES


def _wall(at: float, zone: tzinfo | None) -> datetime:
    return datetime.fromtimestamp(at, zone) if zone else datetime.fromtimestamp(at).astimezone()


def _moment(wall: datetime, zone: tzinfo | None) -> float:
    # A naive time is this machine's; an aware one of `astimezone` would keep the offset of another season.
    return (wall if zone else wall.replace(tzinfo=None)).timestamp()


def _offset(at: float, zone: tzinfo | None) -> timedelta | None:
    return _wall(at, zone).utcoffset()
