"""What a check says."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warn", "bad"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    level: Level
    """`ok`, `warn` (runs, but look at it), `bad` (will not run so)."""
    what: str
    why: str = ""
    what_to_do: str = ""


def is_fit(findings: list[Finding]) -> bool:
    """Say whether nothing is bad."""
    return all(finding.level != "bad" for finding in findings)


def why_of(error: OSError) -> str:
    """Say in the system's words what went wrong."""
    return os.strerror(error.errno) if error.errno else str(error)
