"""Says for `clipspool status` why nothing is submitted, and what to type; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from clipspool.jobs.text import span


def standstill(status: Mapping[str, Any], at: float) -> Iterator[tuple[str, str, int]]:
    """Yield words, their style, and how many lines they may take; `at` is now, in Unix seconds."""
    journal, provider = status["journal"], status["provider"]
    if journal["restored"]:
        yield f"Nothing is submitted: {journal['reason']}", "bold red", 5
    if provider["blocked"]:
        yield f"The provider is blocked: {provider['reason']}", "bold red", 3
        # Only a clip that is sent asks the provider: with none queued no retry is due.
        when = _soon(provider["until"], at) if status["jobs"].get("queued") else "with the next clip"
        yield f"Next retry {when}; once it is fixed: clipspool resume", "red", 2


def _soon(until: str | None, at: float) -> str:
    seconds = datetime.fromisoformat(until).timestamp() - at if until else 0.0
    return f"in {span(seconds)}" if seconds > 0 else "due now"
