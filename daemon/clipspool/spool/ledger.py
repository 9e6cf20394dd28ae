"""A work folder's ledger: a synced line for all that matters for money or names if the journal is lost."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from typing import Any

from clipspool.spool.layout import LEDGER
from clipspool.spool.root import Root
from clipspool.spool.workfolder import folder_of
from clipspool.system.atomic import join, write_all

_LEDGER_BYTES_MAX = 16 << 20
_SUBMISSIONS_MAX = 1_000_000


@dataclass(frozen=True, slots=True)
class Ledger:
    """A clip's ledger, open for adding lines."""

    _file: FileIO

    def note(self, job_id: str, what: str, **facts: Any) -> None:
        """Add one durable line: an intent, a task id, a name about to be used. Raises OSError."""
        line = json.dumps({"job": job_id, "what": what, **facts})
        # It starts a line of its own even after one that a full disk or a power cut tore.
        write_all(self._file, b"\n" + line.encode() + b"\n")


@contextmanager
def ledger_of(root: Root, clip_id: str) -> Iterator[Ledger]:
    """Open a clip's ledger, made where it is missing. Raises OSError, also where the work folder is gone.

    The folder is not made anew: a leader that was frozen may have an heir that delivered the clip.
    """
    with root.appending(join(folder_of(clip_id), LEDGER), makes_folder=False) as file:
        yield Ledger(file)


def note(root: Root, clip_id: str, job_id: str, what: str, **facts: Any) -> None:
    """Add one durable line to a ledger. Raises OSError."""
    with ledger_of(root, clip_id) as ledger:
        ledger.note(job_id, what, **facts)


def notes(root: Root, clip_id: str) -> list[Mapping[str, Any]]:
    """Return a ledger's lines; one torn by a power cut was never relied on and is left out."""
    try:
        return [entry for entry in _entries(root, clip_id) if entry is not None]
    except FileNotFoundError:
        return []


def whole_notes(root: Root, clip_id: str) -> list[Mapping[str, Any]]:
    """Return a ledger's lines where a gap proves something; raises OSError, ValueError for a damaged one."""
    entries = _entries(root, clip_id)
    if None in entries:
        raise ValueError(f"the ledger of {clip_id} has lines that cannot be read")
    return [entry for entry in entries if entry is not None]


def _entries(root: Root, clip_id: str) -> list[Mapping[str, Any] | None]:
    """Return the lines of a ledger, None for one that cannot be read."""
    data = root.read(join(folder_of(clip_id), LEDGER), _LEDGER_BYTES_MAX)
    return [_entry(line) for line in data.split(b"\n") if line]


def _entry(line: bytes) -> Mapping[str, Any] | None:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) else None


def submissions_beyond(root: Root, clip_id: str, job_id: str, known: int, before: str = "") -> int:
    """Return the ledger's newest submission above `known`; 0 without one, or if it was refused for certain.

    `before` is the token of an intent's line: that line and those after it do not count.
    """
    newest, is_open = 0, False
    for line in notes(root, clip_id):
        if before and line.get("token") == before:
            break
        if line.get("job") == job_id and line.get("what") == "intent":
            number = line.get("number", known + 1)
            if isinstance(number, int) and max(known, newest - 1) < number < _SUBMISSIONS_MAX:
                newest, is_open = number, True
        elif line.get("job") == job_id and line.get("what") == "not_submitted":
            # A daemon that was frozen may note its refusal after another one's intent.
            is_open = is_open and line.get("number", newest) != newest
    return newest if is_open else 0
