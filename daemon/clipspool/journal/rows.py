"""Turns clips, jobs and tasks into the rows of the journal's tables, and rows back into them.

The values of a row stand in the order of its statement in `statements.sql`.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from clipspool.jobs.model import (
    Clip,
    Error,
    Held,
    Job,
    Missing,
    Paid,
    Part,
    Request,
    Result,
    Reuse,
    State,
    Task,
    plain,
)
from clipspool.jobs.nouns import read
from clipspool.journal.database import Row, to_json

NODE = "here"
"""The one machine that owns every job, as long as a journal is not shared."""
_PLAIN_OF_JOB = (
    *("id", "clip_id", "inbox", "variant", "created_at", "priority", "due_at", "reason", "updated_at"),
    *("cancel_by", "attempts", "doubts", "progress", "rendering_since", "credits_estimated", "version"),
    *("prepared_by", "part"),
)
_PLAIN_OF_TASK = ("profile", "intent_at", "task_id", "created_at", "credits")
_PLAIN_OF_CLIP = ("id", "inbox", "source", "size", "mtime_ns", "accepted_at", "sha256", "retired_at")
"""Fields that stand in a row as they are."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A queued job, as far as the choice of the next one needs it."""

    id: str
    clip_id: str
    inbox: str
    priority: int
    prepared: bool
    approved: bool
    credits_estimated: float | None
    model: str
    part: int = 0
    """Which part of a long clip it is; 0 for none."""
    is_split: bool = False
    """It is sent in parts, and spends nothing itself."""


def candidate(job: Job) -> Candidate:
    """Return what the choice needs of a queued job."""
    return Candidate(
        job.id,
        job.clip_id,
        job.inbox,
        job.priority,
        job.prepared,
        job.approved,
        job.credits_estimated,
        job.request.model,
        job.part,
        not job.part and bool(job.parts),
    )


def job_row(job: Job) -> list[Any]:
    """Return the values of a new job for `insert_jobs`."""
    request = to_json(job.request.to_dict())
    return [*job_change(job), job.clip_id, job.inbox, job.variant, request, job.created_at, job.part]


def job_change(job: Job) -> list[Any]:
    """Return a job's id and the values that may change, for `update_jobs`."""
    return [
        job.id,
        job.state.value,
        job.priority,
        job.due_at,
        None if job.held is None else job.held.value,
        job.reason.encode("utf-8", "backslashreplace").decode(),  # a file's name may be in it
        job.updated_at,
        job.prepared,
        job.approved,
        job.cancel_by,
        job.attempts,
        job.doubts,
        job.progress,
        job.rendering_since,
        None if job.task is None else job.task.number,
        job.credits_estimated,
        None if job.error is None else to_json(plain(job.error)),
        # What is missing of a task's outputs stands among those that are not.
        to_json(_results(job.results) + [plain(one) for one in job.missing]),
        job.paid.value,
        job.fingerprint or None,
        None if job.reuse is None else _write_reuse(job.reuse),
        job.version,
        job.prepared_by,
        to_json([os.fsencode(name).hex() for name in job.chosen]) if job.chosen else None,
        job.node or NODE,
        to_json([plain(one) for one in job.parts]) if job.parts else None,
    ]


def _results(results: Sequence[Result]) -> list[dict[str, Any]]:
    return [{**plain(r), "name": os.fsencode(r.name).hex()} for r in results]


def _write_reuse(reuse: Reuse) -> str:
    return to_json({"job_id": reuse.job_id, "inbox": reuse.inbox, "results": _results(reuse.results)})


def _read_reuse(text: str) -> Reuse:
    entry: dict[str, Any] = json.loads(text)
    return Reuse(entry["job_id"], entry["inbox"], _results_of(entry["results"]))


def task_row(job: Job, task: Task) -> list[Any]:
    """Return the values of a job's task for `upsert_tasks`."""
    return [
        job.id,
        task.number,
        0,
        task.profile,
        task.intent_at,
        task.task_id,
        task.created_at,
        task.credits,
        job.credits_estimated,
        task.succeeded,
        to_json(task.evidence),
    ]


def read_job(row: Row) -> Job:
    """Build a job, its current task included, from a row of the statement `jobs`."""
    task = None
    if row["task_number"] is not None and row["task_intent_at"] is not None:
        task = Task(
            number=row["task_number"],
            **{name: row[f"task_{name}"] for name in _PLAIN_OF_TASK},
            succeeded=bool(row["task_succeeded"]),
            evidence=json.loads(row["task_evidence"]),
        )
    return Job(
        **{name: row[name] for name in _PLAIN_OF_JOB},
        **_read_outputs(row["results"]),
        request=read(Request, json.loads(row["request"])),
        state=State(row["state"]),
        held=None if row["held"] is None else Held(row["held"]),
        prepared=bool(row["prepared"]),
        approved=bool(row["approved"]),
        task=task,
        error=None if row["error"] is None else read(Error, json.loads(row["error"])),
        path=os.fsdecode(row["path"]),
        paid=Paid(row["paid"]),
        fingerprint=row["fingerprint"] or "",
        reuse=None if row["reuse"] is None else _read_reuse(row["reuse"]),
        node="" if row["node"] == NODE else row["node"],
        chosen=tuple(os.fsdecode(bytes.fromhex(name)) for name in json.loads(row["chosen"] or "[]")),
        parts=tuple(read(Part, one) for one in json.loads(row["parts"] or "[]")),
    )


def _read_outputs(text: str) -> dict[str, Any]:
    entries: list[dict[str, Any]] = json.loads(text)
    return {
        "results": _results_of([one for one in entries if "file" in one]),
        "missing": tuple(read(Missing, one) for one in entries if "file" not in one),
    }


def _results_of(entries: Sequence[dict[str, Any]]) -> tuple[Result, ...]:
    return tuple(
        read(Result, {**entry, "name": os.fsdecode(bytes.fromhex(entry["name"]))}) for entry in entries
    )


def clip_row(clip: Clip) -> dict[str, Any]:
    """Return the values of a new clip for `insert_clips`; paths are bytes, so they go by name."""
    return {
        **{name: getattr(clip, name) for name in _PLAIN_OF_CLIP},
        "path": os.fsencode(clip.path),
        "sidecar": path_bytes(clip.sidecar),
        "media": to_json(clip.media),
        "lies_at": path_bytes(clip.lies_at),
        "sidecar_lies_at": path_bytes(clip.sidecar_lies_at),
    }


def read_clip(row: Row) -> Clip:
    """Build a clip from a row of the statement `clips`."""
    return Clip(
        **{name: row[name] for name in _PLAIN_OF_CLIP},
        path=os.fsdecode(row["path"]),
        sidecar=_decoded(row["sidecar"]),
        media=json.loads(row["media"]),
        lies_at=_decoded(row["lies_at"]),
        sidecar_lies_at=_decoded(row["sidecar_lies_at"]),
    )


def read_candidate(row: Row) -> Candidate:
    """Build a candidate from a row of the statement `queue`; SQLite has no booleans."""
    truths = ("prepared", "approved", "is_split")
    return Candidate(**{**row, **{name: bool(row[name]) for name in truths}})


def path_bytes(path: str | None) -> bytes | None:
    """Return a path in the bytes it has on the disk."""
    return None if path is None else os.fsencode(path)


def _decoded(path: bytes | None) -> str | None:
    return None if path is None else os.fsdecode(path)


def read_counts(rows: Sequence[Row]) -> Counter[State]:
    """Read how many jobs each state has."""
    return Counter({State(row["state"]): row["number"] for row in rows})
