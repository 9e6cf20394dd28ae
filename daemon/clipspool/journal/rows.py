"""How the nouns become rows of the journal, and rows nouns again."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import RowMapping, and_, select

from clipspool.jobs.model import (
    Clip,
    Error,
    Held,
    Job,
    Missing,
    Paid,
    Request,
    Result,
    Reuse,
    State,
    Task,
    plain,
)
from clipspool.journal.tables import clips, jobs, tasks

NODE = "here"
"""The one machine that owns every job, as long as a journal is not shared."""

CLIP_BYTES = frozenset({"lies_at", "sidecar_lies_at"})
"""Changing columns of a clip that hold paths, in the bytes they have on the disk."""

_ENCODER = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"))

IS_CURRENT = and_(tasks.c.job_id == jobs.c.id, tasks.c.number == jobs.c.task_number, tasks.c.segment == 0)
select_jobs = select(
    *jobs.c, clips.c.path, *(c.label(f"task_{c.name}") for c in tasks.c if c.name != "number")
).select_from(jobs.join(clips).outerjoin(tasks, IS_CURRENT))
select_clips = select(clips)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A queued job, as far as the choice of who goes next needs it."""

    id: str
    clip_id: str
    inbox: str
    priority: int
    prepared: bool
    approved: bool
    credits_estimated: float | None
    model: str


def to_json(value: Any) -> str:
    """Write JSON in ASCII, so that no name whatever breaks the database's text."""
    return _ENCODER.encode(value)


def job_row(job: Job) -> dict[str, Any]:
    """Spread a job over its columns."""
    return {
        "id": job.id,
        "clip_id": job.clip_id,
        "inbox": job.inbox,
        "variant": job.variant,
        "node": NODE,
        "request": to_json(job.request.to_dict()),
        "created_at": job.created_at,
        **_changing(job),
    }


def job_change(job: Job) -> dict[str, Any]:
    """Give the columns that may change, and the id."""
    return {"id": job.id, **_changing(job)}


def _changing(job: Job) -> dict[str, Any]:
    return {
        "state": job.state.value,
        "priority": job.priority,
        "due_at": job.due_at,
        "held": None if job.held is None else job.held.value,
        "reason": job.reason.encode("utf-8", "backslashreplace").decode(),  # a file's name may be in it
        "updated_at": job.updated_at,
        "prepared": job.prepared,
        "approved": job.approved,
        "cancel_by": job.cancel_by,
        "attempts": job.attempts,
        "doubts": job.doubts,
        "progress": job.progress,
        "rendering_since": job.rendering_since,
        "task_number": None if job.task is None else job.task.number,
        "credits_estimated": job.credits_estimated,
        "error": None if job.error is None else to_json(plain(job.error)),
        # What is missing of a task's outputs stands among those that are not.
        "results": to_json(_results(job.results) + [plain(one) for one in job.missing]),
        "paid": job.paid.value,
        "fingerprint": job.fingerprint or None,
        "reuse": None if job.reuse is None else _write_reuse(job.reuse),
    }


def _results(results: Sequence[Result]) -> list[dict[str, Any]]:
    return [{**plain(r), "name": os.fsencode(r.name).hex()} for r in results]


def _write_reuse(reuse: Reuse) -> str:
    return to_json({"job_id": reuse.job_id, "inbox": reuse.inbox, "results": _results(reuse.results)})


def _read_reuse(text: str) -> Reuse:
    entry: dict[str, Any] = json.loads(text)
    return Reuse(entry["job_id"], entry["inbox"], _results_of(entry["results"]))


def task_row(job: Job, task: Task) -> dict[str, Any]:
    """Spread a job's task over its columns."""
    return {
        "job_id": job.id,
        "number": task.number,
        "segment": 0,
        "profile": task.profile,
        "intent_at": task.intent_at,
        "task_id": task.task_id,
        "created_at": task.created_at,
        "credits": task.credits,
        "credits_reserved": job.credits_estimated,
        "succeeded": task.succeeded,
        "evidence": to_json(task.evidence),
    }


def read_job(row: RowMapping) -> Job:
    """Gather a job, its current task included, from a row of `select_jobs`."""
    task = None
    if row["task_number"] is not None and row["task_intent_at"] is not None:
        task = Task(
            number=row["task_number"],
            profile=row["task_profile"],
            intent_at=row["task_intent_at"],
            task_id=row["task_task_id"],
            created_at=row["task_created_at"],
            credits=row["task_credits"],
            succeeded=bool(row["task_succeeded"]),
            evidence=json.loads(row["task_evidence"]),
        )
    error = None
    if row["error"] is not None:
        fields = json.loads(row["error"])
        error = Error(**{**fields, "paid": Paid(fields["paid"])})
    return Job(
        id=row["id"],
        clip_id=row["clip_id"],
        inbox=row["inbox"],
        variant=row["variant"],
        request=Request.from_dict(json.loads(row["request"])),
        created_at=row["created_at"],
        state=State(row["state"]),
        priority=row["priority"],
        due_at=row["due_at"],
        held=None if row["held"] is None else Held(row["held"]),
        reason=row["reason"],
        updated_at=row["updated_at"],
        prepared=bool(row["prepared"]),
        approved=bool(row["approved"]),
        cancel_by=row["cancel_by"],
        attempts=row["attempts"],
        doubts=row["doubts"],
        progress=row["progress"],
        rendering_since=row["rendering_since"],
        task=task,
        credits_estimated=row["credits_estimated"],
        error=error,
        **_read_outputs(row["results"]),
        path=os.fsdecode(row["path"]),
        paid=Paid(row["paid"]),
        fingerprint=row["fingerprint"] or "",
        reuse=None if row["reuse"] is None else _read_reuse(row["reuse"]),
    )


def _read_outputs(text: str) -> dict[str, Any]:
    entries: list[dict[str, Any]] = json.loads(text)
    return {
        "results": _results_of([one for one in entries if "file" in one]),
        "missing": tuple(Missing(**one) for one in entries if "file" not in one),
    }


def _results_of(entries: Sequence[dict[str, Any]]) -> tuple[Result, ...]:
    return tuple(
        Result(
            **{
                **entry,
                "name": os.fsdecode(bytes.fromhex(entry["name"])),
                "finished": tuple(entry.get("finished", ())),
                "noticed": tuple(entry.get("noticed", ())),
            }
        )
        for entry in entries
    )


def clip_row(clip: Clip) -> dict[str, Any]:
    """Spread a clip over its columns."""
    return {
        "id": clip.id,
        "inbox": clip.inbox,
        "path": os.fsencode(clip.path),
        "sidecar": _encoded(clip.sidecar),
        "source": clip.source,
        "size": clip.size,
        "mtime_ns": clip.mtime_ns,
        "accepted_at": clip.accepted_at,
        "sha256": clip.sha256,
        "media": to_json(clip.media),
        "lies_at": _encoded(clip.lies_at),
        "sidecar_lies_at": _encoded(clip.sidecar_lies_at),
        "retired_at": clip.retired_at,
    }


def read_clip(row: RowMapping) -> Clip:
    """Gather a clip from a row of `select_clips`."""
    return Clip(
        id=row["id"],
        inbox=row["inbox"],
        path=os.fsdecode(row["path"]),
        sidecar=_decoded(row["sidecar"]),
        source=row["source"],
        size=row["size"],
        mtime_ns=row["mtime_ns"],
        accepted_at=row["accepted_at"],
        sha256=row["sha256"],
        media=json.loads(row["media"]),
        lies_at=_decoded(row["lies_at"]),
        sidecar_lies_at=_decoded(row["sidecar_lies_at"]),
        retired_at=row["retired_at"],
    )


def clip_change(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Give columns of a clip as the journal keeps them."""
    change = {name: _encoded(value) if name in CLIP_BYTES else value for name, value in columns.items()}
    return change | {"media": to_json(columns["media"])} if "media" in columns else change


def _encoded(path: str | None) -> bytes | None:
    """Spell a path in the bytes it has on the disk."""
    return None if path is None else os.fsencode(path)


def _decoded(path: bytes | None) -> str | None:
    return None if path is None else os.fsdecode(path)
