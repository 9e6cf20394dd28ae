"""A work folder's ledger: a synced line for all that matters for money or names if the journal is lost."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from io import FileIO
from typing import Any

from clipspool.jobs.model import Job, Part, part_id
from clipspool.jobs.text import is_task_id
from clipspool.spool.layout import LEDGER
from clipspool.spool.root import Root
from clipspool.spool.workfolder import folder_of
from clipspool.system.atomic import NotRegular, join, write_all

_LEDGER_BYTES_MAX = 16 << 20
SUBMISSIONS_MAX = 1_000_000
_CODE_MAX, _WORDS_MAX = 64, 2000
"""Of what a ledger says of an error: anybody may have written it."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """A clip's ledger, open for adding lines."""

    _file: FileIO

    def note(self, job_id: str, what: str, **facts: Any) -> None:
        """Add one durable line: an intent, a task id, a name about to be used. Raises OSError."""
        line = json.dumps({"job": job_id, "what": what, **facts})
        # The first line break ends a line that a full disk or a power cut left unfinished: a task id that is
        # written behind half a line would be lost.
        write_all(self._file, b"\n" + line.encode() + b"\n")


@contextmanager
def ledger_of(root: Root, clip_id: str) -> Iterator[Ledger]:
    """Open a clip's ledger, made where it is missing. Raises OSError, also where the work folder is gone.

    The folder is not made again: a leader that was frozen may have an heir that delivered the clip.
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


def note_followed(root: Root, job: Job) -> None:
    """Note the task of a job that is followed again, where the ledger was made since. Raises OSError."""
    task = job.task
    if task is None or any(line.get("task_id") == task.task_id for line in notes(root, job.clip_id)):
        return
    facts = {"profile": task.profile, "number": task.number}
    with ledger_of(root, job.clip_id) as ledger:
        ledger.note(job.id, "intent", **facts, attempt=job.prepared_by, version=job.version)
        ledger.note(job.id, "task", **facts, task_id=task.task_id)


def whole_notes(root: Root, clip_id: str) -> list[Mapping[str, Any]]:
    """Return a ledger's lines where a gap proves something; raises OSError, ValueError for a damaged one."""
    entries = _entries(root, clip_id)
    # The line that cannot be read may be the intent of a paid request: "none was sent" is not proven.
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


def end_noted(lines: Sequence[Mapping[str, Any]], job_id: str) -> tuple[str, str] | None:
    """Return the code and message with which a job ended, an empty code for a cancel; None if it did not."""
    decisive = {"intent", "retried", "cancelled", "failed"}
    last: Mapping[str, Any] = {}
    for line in lines:
        last = line if line.get("job") == job_id and line.get("what") in decisive else last
    match last.get("what"):
        case "cancelled":
            return "", ""
        case "failed":  # what was refused as moderated, say, must not be sent again by itself
            return str(last.get("code") or "FAILED")[:_CODE_MAX], str(last.get("message"))[:_WORDS_MAX]
        case _:
            return None


def parts_noted(lines: Sequence[Mapping[str, Any]], job_id: str) -> tuple[Part, ...]:
    """Return the parts that a job's clip was cut into, where one of them was, or may have been, sent."""
    parts: tuple[Part, ...] = ()
    for line in lines:
        if line.get("job") == job_id and line.get("what") == "parts":
            with suppress(KeyError, TypeError, ValueError, ZeroDivisionError):
                parts = _parts_of(line)
    ids = {part_id(job_id, part.number) for part in parts}
    is_sent = any(line.get("what") == "intent" and line.get("job") in ids for line in lines)
    return parts if is_sent else ()


def _parts_of(line: Mapping[str, Any]) -> tuple[Part, ...]:
    """Read the parts of a line, which anybody may have written; raises KeyError, TypeError or ValueError."""
    parts = tuple(Part(**one) for one in line["parts"])
    for number, part in enumerate(parts, start=1):
        figures = (part.number, part.of, part.start, part.frames, part.overlap)
        if any(type(figure) is not int for figure in figures) or not isinstance(part.fps, str):
            raise TypeError("a figure of a part is no number")
        if (part.number, part.of) != (number, len(parts)):
            raise ValueError("the parts are not whole")
        if part.start < 0 or part.frames < 1 or part.overlap < 0 or Fraction(part.fps) <= 0:
            raise ValueError("a part has no length")
    return parts


def tasks_beyond(root: Root, clip_id: str, known: Mapping[str, int]) -> list[str]:
    """Return the tasks that a ledger has of requests above those `known`, the newest number of each job."""
    try:
        lines = [line for line in notes(root, clip_id) if line.get("what") == "task"]
    except (NotRegular, ValueError):
        return []
    return [
        line["task_id"]
        for line in lines
        if is_task_id(line.get("task_id")) and isinstance(number := line.get("number"), int)
        if number > known.get(str(line.get("job")), 0)
    ]


def submissions_beyond(root: Root, clip_id: str, job_id: str, known: int, before: str = "") -> int:
    """Return the ledger's newest submission above `known`; 0 without one, or if it was refused for certain.

    `before` is the token of an intent's line: that line and those after it do not count.
    """
    newest, is_open = 0, False
    for line in notes(root, clip_id):
        if before and line.get("token") == before:
            break
        if line.get("job") == job_id and line.get("what") == "intent":
            # A line without a number counts as unknown to the journal: a doubt costs less than a second task.
            number = line.get("number", known + 1)
            if isinstance(number, int) and max(known, newest - 1) < number < SUBMISSIONS_MAX:
                newest, is_open = number, True
        elif line.get("job") == job_id and line.get("what") == "not_submitted":
            # A daemon that was frozen may note its refusal after another one's intent.
            is_open = is_open and line.get("number", newest) != newest
    return newest if is_open else 0
