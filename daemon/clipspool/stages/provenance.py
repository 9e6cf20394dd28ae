"""Writes a result's provenance, and the note of a failed source."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import tomli_w

from clipspool import __version__
from clipspool.jobs.model import (
    Clip,
    Error,
    Job,
    Paid,
    Part,
    Reference,
    Request,
    Result,
    State,
    job_id,
    newest,
)
from clipspool.jobs.path_map import AS_THEY_ARE, Places
from clipspool.jobs.splitting import credits_of, paid_of
from clipspool.jobs.text import is_task_id, text, utc
from clipspool.spool.guard import Unavailable
from clipspool.spool.root import Root
from clipspool.spool.workfolder import MANIFEST_BYTES_MAX, error_note_of
from clipspool.stages.payload import Sent, files_of, length_sent
from clipspool.system.redaction import redact, redact_value, redact_words


def provenance(
    job: Job,
    clip: Clip,
    result: Result,
    name: str,
    finished_at: float,
    sent: Sent | None = None,
    original_name: str = "",
) -> bytes:
    """Return a result's provenance, which is also a valid sidecar for the same request.

    `name` is the result's name in the outbox, `finished_at` the time in Unix seconds, `sent` what was sent
    where that was not the clip itself, `original_name` the name that other machines could not have opened.
    """
    facts: dict[str, Any] = {
        "name": text(name),
        "size": result.size,
        "sha256": result.sha256,
        "source": text(clip.path),
        "source_size": clip.size,
        "source_sha256": clip.sha256 or "",
        "job": job.id,
        "model": job.request.model,
        "accepted_at": utc(clip.accepted_at),
        "finished_at": utc(finished_at),
        "clipspool": __version__,
    }
    if original_name:
        facts["original_name"] = text(original_name)
    facts |= length_of(result)
    if result.part:
        facts["part"] = result.part
    if (
        result.seconds is not None
        and job.reuse is None
        and not result.part
        and (length := length_sent(clip, sent))
    ):
        facts["sent_seconds"] = round(length.seconds, 3)
    facts |= _changes(result, None if job.reuse else sent)
    if job.missing:
        facts["missing"] = [redact(one.in_words()) for one in job.missing]
    if job.variant:
        facts["variant"] = job.variant.lstrip("_")
    if job.request.preset:
        facts["preset"] = text(job.request.preset)
    if job.request.instead_of:
        facts["instead_of"] = job.request.instead_of
    if job.node:
        facts["node"] = job.node
    if job.version > 1:
        facts["version"] = job.version
    facts |= _of_task(job)
    return tomli_w.dumps({**as_sent(job.request), "result": facts}).encode()


def _of_task(job: Job) -> dict[str, Any]:
    """Return by which task it was made, and what that cost; of a split clip by which of each part."""
    facts: dict[str, Any] = {}
    if job.task is not None:
        facts["task"] = job.task.task_id or ""
        facts["provider"] = job.task.profile
        facts["attempts"] = job.task.number
        facts["submitted_at"] = utc(job.task.intent_at)
    if (credits_ := credits_of(job, ())) is not None:
        facts["credits"] = credits_
    if job.reuse is not None:
        facts |= {"reused_from": job.reuse.job_id, "paid": "no"}
    elif job.credits_estimated is not None:
        facts["credits_estimated"] = job.credits_estimated
    if job.is_split and job.reuse is None:
        facts["part_task"] = [facts_of(part) for part in job.parts]
    return facts


def _changes(result: Result, sent: Sent | None) -> dict[str, Any]:
    """Return what was changed before sending and after fetching; nothing for what was not changed."""
    made = sent is not None and bool(sent.source.made)
    facts = {
        "conformed": [
            *(sent.changes if sent else ()),
            *(change for one in files_of(sent) for change in one.changes),
        ],
        "sent_size": sent.source.size if sent and made else None,
        "sent_sha256": sent.source.sha256 if sent and made else None,
        "transport": sent.source.way if sent and sent.source.way != "inline" else None,
        "finished": list(result.finished),
        "untouched": result.is_untouched,
        "content_credentials": result.credentials,
        "noticed": list(result.noticed),
    }
    return {key: value for key, value in facts.items() if value}


def facts_of(part: Part) -> dict[str, Any]:
    """Return which frames of the clip a part shows, what was sent of it, its task, and what that cost."""
    facts = {
        "number": part.number,
        "first_frame": part.start,
        "frames": part.frames,
        "overlap_frames": part.overlap,
        "sent_size": part.sent_size,
        "sent_sha256": part.sent_sha256 or None,
        "task": part.task_id,
        "credits": part.credits,
        "attempts": part.attempts,
    }
    return {key: value for key, value in facts.items() if value is not None}


def length_of(result: Result) -> dict[str, Any]:
    """Return a film's seconds, frames and frames a second, as far as they are known."""
    facts = {
        "seconds": None if result.seconds is None else round(result.seconds, 3),
        "frames": result.frames,
        "frames_per_second": round(float(Fraction(result.fps)), 3) if result.fps else None,
    }
    return {key: value for key, value in facts.items() if value is not None}


def as_sent(request: Request) -> dict[str, Any]:
    """Return a request in a sidecar's keys, as it may be shown: without signed addresses and API keys."""
    keys = {
        "ratio": request.ratio,
        **image_keys(request, lambda one: redact(one.uri) or text(one.name)),
        "priority": request.priority,
        **request.media_keys(),
        "content_moderation": redact_value(request.content_moderation),
        "extra": redact_value(request.extra),
    }
    prompt = redact_words(request.prompt)
    asked = {key: value for key, value in keys.items() if value}
    return {"prompt": prompt, "model": request.model, "seed": request.seed, **asked}


def image_keys(request: Request, named: Callable[[Reference], str]) -> dict[str, Any]:
    """Return the sidecar keys about images, each image `named` so."""
    frames = [{"at": one.position, "image": named(one)} for one in request.references if one.at]
    return {"references": [named(one) for one in request.references if not one.at], "keyframe": frames}


def is_ours(provenance: dict[str, Any], job: Job, result: Result) -> bool:
    """Whether a provenance was written for this very result."""
    facts = provenance.get("result")
    return isinstance(facts, dict) and facts.get("job") == job.id and facts.get("sha256") == result.sha256


def error_note(
    clip: Clip, jobs: Sequence[Job], places: Places = AS_THEY_ARE, unknown_tasks: Sequence[str] = ()
) -> bytes:
    """Return why a clip failed: the first failed job's error, and every job's where there are several.

    `places` are the editors' names of our folders; `unknown_tasks` were made for the clip, and the journal,
    which was put back from a backup, does not know them.
    """
    facts = {job.id: _facts(job, places) for job in jobs}
    first = next(job for job in newest(jobs) if job.state is not State.DELIVERED)
    body = {"clip": text(clip.path), **facts[first.id]}
    body["paid"] = paid_of(jobs[0], jobs[1:]).value
    if unknown_tasks:
        body["unknown_tasks"] = list(unknown_tasks)
    # Of parts only those are named that did not give a result.
    jobs = [job for job in jobs if not job.part or job.error is not None]
    if len(jobs) > 1:
        body["job"] = [{"id": j.id, "state": j.state.value, **(facts[j.id] if j.error else {})} for j in jobs]
    return tomli_w.dumps(body).encode()


def why_perhaps_paid(root: Root, clip: Clip, job: Job) -> str:
    """Return how a retired clip's error note contradicts a journal that says nothing was paid for a job.

    The journal was put back from a backup, then, and the note is of what happened since. Raises Unavailable.
    """
    if clip.lies_at is None or job.paid is not Paid.NO:
        return ""
    path = error_note_of(clip.lies_at)
    try:
        told = tomllib.loads(root.read(path, MANIFEST_BYTES_MAX).decode())
        # Where a clip has several jobs, each has an entry; else the note is about the one that it came with.
        several = told.get("job") or [told | {"id": job_id(clip.id, job.variant)}]
        entry: dict[str, Any] = next((one for one in several if one["id"] == job.id), {})
        paid, task_id = str(entry.get("paid")), entry.get("task_id")
    except Unavailable:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ""  # anybody may have written it
    is_known = bool(task_id) and job.task is not None and job.task.task_id == task_id
    if is_known or paid not in {Paid.YES.value, Paid.UNKNOWN.value}:
        return ""
    task = f"; its task is {task_id}" if is_task_id(task_id) else ""
    return f"`{text(path)}` says that it was sent since this journal was copied, and perhaps charged{task}"


def _facts(job: Job, places: Places) -> dict[str, Any]:
    error = job.error or Error("UNKNOWN", f"the job ended as {job.state}")
    return {
        "code": error.code,
        "message": redact(places.text(error.message)).encode("utf-8", "backslashreplace").decode(),
        "what_to_do": redact(places.text(error.what_to_do)),
        "retryable": error.retryable,
        "task_id": (job.task.task_id or "") if job.task else "",
        "paid": job.paid.value,
    }
