"""How times and file names are written where people and scripts read them; pure."""

from __future__ import annotations

import os

from clipspool.jobs.model import utc


def iso(seconds: float) -> str:
    """Spell a time as ISO 8601 in UTC, to the second."""
    return utc(seconds).strftime("%Y-%m-%dT%H:%M:%SZ")


def text(name: str) -> str:
    """Spell a name in UTF-8; bytes that are not are shown escaped."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


_DAY_SECONDS = 86_400.0


def midnight(now: float) -> float:
    """Give the beginning of a moment's day, UTC, both in Unix seconds."""
    return now // _DAY_SECONDS * _DAY_SECONDS


def span(seconds: float) -> str:
    """Spell a time between two moments for people: `0.02 s`, `41 s`, `3:07`, `2:03:07`, `3 d 4 h`."""
    if seconds < 10:  # noqa: PLR2004 - three digits tell enough
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"
    whole = int(seconds)
    if whole < 60:  # noqa: PLR2004
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:  # noqa: PLR2004
        return f"{hours // 24} d {hours % 24} h"
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
