"""The papers that go with a clip: where a result comes from, and why a source failed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import tomli_w

from clipspool import __version__
from clipspool.jobs.model import Clip, Error, Job, Paid, Request, Result, State, utc
from clipspool.jobs.path_map import AS_THEY_ARE, Places
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
    """Say where a result comes from; the same file is a valid sidecar for doing it again.

    `name` is the result's name in the outbox, `finished_at` the time in Unix seconds, `sent` what was sent
    where that was not the clip itself, `original_name` the name that other machines could not have opened.
    """
    facts: dict[str, Any] = {
        "name": _text(name),
        "size": result.size,
        "sha256": result.sha256,
        "source": _text(clip.path),
        "source_size": clip.size,
        "source_sha256": clip.sha256 or "",
        "job": job.id,
        "model": job.request.model,
        "accepted_at": utc(clip.accepted_at),
        "finished_at": utc(finished_at),
        "clipspool": __version__,
    }
    if original_name:
        facts["original_name"] = _text(original_name)
    facts |= length_of(result)
    if result.seconds is not None and job.reuse is None and (length := length_sent(clip, sent)):
        facts["sent_seconds"] = round(length.seconds, 3)
    facts |= _changes(result, None if job.reuse else sent)
    if job.missing:
        facts["missing"] = [redact(one.in_words()) for one in job.missing]
    if job.variant:
        facts["variant"] = job.variant.lstrip("_")
    if job.task is not None:
        facts["task"] = job.task.task_id or ""
        facts["provider"] = job.task.profile
        facts["attempts"] = job.task.number
        facts["submitted_at"] = utc(job.task.intent_at)
        if job.task.credits is not None:
            facts["credits"] = job.task.credits
    if job.reuse is not None:
        facts |= {"reused_from": job.reuse.job_id, "paid": "no"}
    elif job.credits_estimated is not None:
        facts["credits_estimated"] = job.credits_estimated
    return tomli_w.dumps({**as_sent(job.request), "result": facts}).encode()


def _changes(result: Result, sent: Sent | None) -> dict[str, Any]:
    """Say what was changed on the way there and on the way back; nothing for what went as it was."""
    facts: dict[str, Any] = {}
    if conformed := [change for one in files_of(sent) for change in one.changes]:
        facts["conformed"] = conformed
    if sent is not None and sent.source.made:
        facts |= {"sent_size": sent.source.size, "sent_sha256": sent.source.sha256}
    if sent is not None and sent.source.way != "inline":
        facts["transport"] = sent.source.way
    if result.finished:
        facts["finished"] = list(result.finished)
    if result.is_untouched:
        facts["untouched"] = True
    if result.credentials:
        facts["content_credentials"] = result.credentials
    if result.noticed:
        facts["noticed"] = list(result.noticed)
    return facts


def length_of(result: Result) -> dict[str, Any]:
    """Say how long a film lasts: seconds, frames, frames a second, as far as they are known."""
    facts: dict[str, Any] = {}
    if result.seconds is not None:
        facts["seconds"] = round(result.seconds, 3)
    if result.frames is not None:
        facts["frames"] = result.frames
    if result.fps:
        facts["frames_per_second"] = round(float(Fraction(result.fps)), 3)
    return facts


def as_sent(request: Request) -> dict[str, Any]:
    """Spell a request in a sidecar's keys, as it may be shown: signed addresses and keys are taken out."""
    prompt = redact_words(request.prompt)
    keys: dict[str, Any] = {"prompt": prompt, "model": request.model, "seed": request.seed}
    if request.ratio is not None:
        keys["ratio"] = request.ratio
    if request.references:
        keys["references"] = [redact(r.uri) or _text(r.name) for r in request.references]
    if request.priority:
        keys["priority"] = request.priority
    keys |= request.media_keys()
    if request.content_moderation:
        keys["content_moderation"] = redact_value(request.content_moderation)
    if request.extra:
        keys["extra"] = redact_value(request.extra)
    return keys


def is_ours(paper: dict[str, Any], job: Job, result: Result) -> bool:
    """Tell whether a provenance was written for this very result."""
    facts = paper.get("result")
    return isinstance(facts, dict) and facts.get("job") == job.id and facts.get("sha256") == result.sha256


_WORST = (Paid.NO, Paid.UNKNOWN, Paid.YES)


def error_note(clip: Clip, jobs: Sequence[Job], places: Places = AS_THEY_ARE) -> bytes:
    """Say why a clip failed: the first failed job's error, and every job's when there are several.

    `places` are what the editors call our folders.
    """
    told = {job.id: _facts(job, places) for job in jobs}
    first = next(job for job in jobs if job.state is not State.DELIVERED)
    body = {"clip": _text(clip.path), **told[first.id]}
    body["paid"] = max((job.paid for job in jobs), key=_WORST.index).value
    if len(jobs) > 1:
        body["job"] = [{"id": j.id, "state": j.state.value, **(told[j.id] if j.error else {})} for j in jobs]
    return tomli_w.dumps(body).encode()


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


def _text(name: str) -> str:
    """Spell a name in UTF-8; bytes that are not are shown escaped."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
