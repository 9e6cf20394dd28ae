"""A finding of `check`, and checks that several of its parts share."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Level = Literal["ok", "warn", "bad"]


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check."""

    level: Level
    """`ok`, `warn` (runs, but should be looked at), `bad` (does not run)."""
    what: str
    why: str = ""
    what_to_do: str = ""


def is_fit(findings: list[Finding]) -> bool:
    """Whether nothing is bad."""
    return all(finding.level != "bad" for finding in findings)


def why_of(error: OSError) -> str:
    """Return the system's message for an error."""
    return os.strerror(error.errno) if error.errno else str(error)


def look_at_file(what: str, file: Path | None, *, is_secret: bool = True) -> Iterator[Finding]:
    """Check that a configured file can be read, and a secret one by no other user."""
    if file is None:
        return
    try:
        mode = file.stat().st_mode
        with file.open("rb"):
            pass
    except OSError as error:
        yield Finding(
            "bad", what, f"{file} cannot be read: {why_of(error)}", "fix the path or its permissions"
        )
        return
    if is_secret and mode & (stat.S_IRWXG | stat.S_IRWXO):
        yield Finding("warn", what, f"other users can read {file}", f"chmod 600 {file}")
