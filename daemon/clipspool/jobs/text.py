"""How times, names, task ids and status files are written where people and scripts read them; pure."""

from __future__ import annotations

import os
from datetime import UTC, datetime

TASK_ID_LENGTH_MAX = 200


def utc(seconds: float) -> datetime:
    """Return Unix seconds as an aware time in UTC, to the millisecond."""
    return datetime.fromtimestamp(round(seconds, 3), UTC)


def iso(seconds: float) -> str:
    """Return a time as ISO 8601 in UTC, to the second."""
    return utc(seconds).strftime("%Y-%m-%dT%H:%M:%SZ")


def text(name: str) -> str:
    """Return a name in UTF-8; bytes that are not are escaped."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def is_task_id(value: object) -> bool:
    """Whether it can be a task's id: 1 to 200 printable characters, no `.` or `..`, not only spaces.

    Those two would change the path. Never a UUID check: gateways use their own form [PROVIDER trap 21].
    Slashes are harmless, since callers escape them.
    """
    is_text = isinstance(value, str) and 0 < len(value) <= TASK_ID_LENGTH_MAX and value.isprintable()
    return is_text and str(value).strip() not in {"", ".", ".."}


def sentences(*said: str) -> str:
    """Join what others wrote to sentences, each with its full stop; empty ones are left out."""
    return " ".join(one if one[-1] in ".!?" else f"{one}." for one in map(str.strip, said) if one)


def local_time(seconds: float) -> str:
    """Return a moment, Unix seconds, in this machine's time zone, with the zone's name."""
    return f"{utc(seconds).astimezone():%Y-%m-%d %H:%M:%S %Z}"


DAY_SECONDS = 86_400.0


def midnight(now: float) -> float:
    """Return the beginning of a moment's day, UTC, both in Unix seconds."""
    return now // DAY_SECONDS * DAY_SECONDS


def span(seconds: float) -> str:
    """Return a duration for people: `0.02 s`, `41 s`, `3:07`, `2:03:07`, `3 d 4 h`."""
    if seconds < 10:  # noqa: PLR2004
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"
    whole = int(seconds)
    if whole < 60:  # noqa: PLR2004
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:  # noqa: PLR2004
        return f"{hours // 24} d {hours % 24} h"
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


STATUS_NAME = "_status.txt"

STATUS_BEGINS = "This file is kept by clipspool"
"""The start of its first line; a file that starts otherwise is somebody else's, and is left alone."""


def status_mark(identity: str) -> str:
    """Return the start of a status file's first line, with the identity of its clipspool."""
    return f"{STATUS_BEGINS} ({identity})"


def other_status_name(identity: str) -> str:
    """Return a clipspool's name for its file where another one keeps `_status.txt`."""
    return f"_status-{identity}.txt"
