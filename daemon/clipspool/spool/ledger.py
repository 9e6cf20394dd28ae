"""A work folder's ledger: what matters for money or names, a synced line each, should the journal be lost."""

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
    """A clip's ledger, open to be added to."""

    _file: FileIO

    def note(self, job_id: str, what: str, **facts: Any) -> None:
        """Add one durable line: an intent, a task id, a name about to be used. Raises OSError."""
        line = json.dumps({"job": job_id, "what": what, **facts}, ensure_ascii=True)
        # On a line of its own even behind one that a full disk or a power cut tore.
        write_all(self._file, b"\n" + line.encode() + b"\n")


@contextmanager
def ledger_of(root: Root, clip_id: str) -> Iterator[Ledger]:
    """Open a clip's ledger, made where it is missing. Raises OSError."""
    with root.appending(join(folder_of(clip_id), LEDGER)) as file:
        yield Ledger(file)


def note(root: Root, clip_id: str, job_id: str, what: str, **facts: Any) -> None:
    """Add one durable line to a ledger. Raises OSError."""
    with ledger_of(root, clip_id) as ledger:
        ledger.note(job_id, what, **facts)


def notes(root: Root, clip_id: str) -> list[Mapping[str, Any]]:
    """Read the ledger; a last line torn by a power cut was never relied on and is left out."""
    try:
        return [entry for entry in _entries(root, clip_id) if entry is not None]
    except FileNotFoundError:
        return []


def whole_notes(root: Root, clip_id: str) -> list[Mapping[str, Any]]:
    """Read a ledger in which a gap is to prove something; raises OSError, ValueError when it is damaged."""
    entries = _entries(root, clip_id)
    if None in entries:
        msg = f"the ledger of {clip_id} has lines that cannot be read"
        raise ValueError(msg)
    return [entry for entry in entries if entry is not None]


def _entries(root: Root, clip_id: str) -> list[Mapping[str, Any] | None]:
    """Give the lines of a ledger, None for one that cannot be read."""
    data = root.read(join(folder_of(clip_id), LEDGER), _LEDGER_BYTES_MAX)
    return [_entry(line) for line in data.split(b"\n") if line]


def _entry(line: bytes) -> Mapping[str, Any] | None:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) else None


def submissions_beyond(root: Root, clip_id: str, job_id: str, known: int, before: str = "") -> int:
    """Give the ledger's newest submission above `known`; 0 when there is none, or it was surely refused.

    `before` is the token of an intent's line: what stands behind that line does not count.
    """
    newest = 0
    is_open = False
    for line in notes(root, clip_id):
        if before and line.get("token") == before:
            break
        if line.get("job") == job_id and line.get("what") == "intent":
            number = line.get("number", known + 1)
            newest, is_open = (
                (number, True)
                if isinstance(number, int) and known < number < _SUBMISSIONS_MAX
                else (newest, False)
            )
        elif line.get("job") == job_id and line.get("what") == "not_submitted":
            is_open = False
    return newest if is_open else 0
