"""Checks whether a manifest in an inbox can be one of ours: whoever drops clips there can write one too.

What passes leads nowhere outside its folders and fits the journal; so a work folder that was tampered with,
or damaged on its disk, harms no other clip.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

from clipspool.jobs.model import Clip, Job, has_date, job_id
from clipspool.system.atomic import OURS, parent, parts

_CLIP_ID = re.compile(r"[0-9a-z]{1,32}")
_VARIANT = re.compile(r"(_v[0-9]{1,4})?")
_SOURCE = re.compile(r"clip(\.[^/\0]*)?")
_COPY = re.compile(r"ref-[0-9]{1,4}\.[0-9a-z]{1,8}")
_JOBS_MAX = 5000
VERSION_MAX = 1_000_000
_NUMBER_MAX = 1 << 63
_TEXT_MAX = 65_536
_KINDS: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("prompt", "preset", "model", "instead_of", "long_clips", "finish", "finish_size"), str),
    **dict.fromkeys(("target_aspect", "output_format", "finish_codec", "finish_timing"), str),
    **dict.fromkeys(("keep_untouched", "again", "was_put_back", "ratio_is_chosen", "keep_parts"), bool),
    **dict.fromkeys(("content_moderation", "extra"), dict),
    **dict.fromkeys(("seed", "priority", "overlap_frames"), int),
    "ratio": (str, type(None)),
    "references": tuple,
    "not_before": (int, float, type(None)),
    "start_seconds": (int, float),
    **dict.fromkeys(("timeline", "timeline_name"), str),
    **dict.fromkeys(("length_seconds", "timeline_credits"), (int, float, type(None))),
    "frames_per_second": (int, float),
}


def vet(name: str, clip: Clip, jobs: tuple[Job, ...]) -> None:
    """Raise ValueError, with the reason, where this cannot have been accepted as the work folder `name`."""
    for trouble in (*_of_clip(name, clip), *_of_jobs(clip, jobs)):
        raise ValueError(f"the manifest of {name} is not one of ours: {trouble}")


def _of_clip(name: str, clip: Any) -> Iterator[str]:
    if clip.id != name or not _CLIP_ID.fullmatch(name):
        yield "it names another clip"
    if not isinstance(clip.path, str) or not _is_place(clip.path):
        yield "its path leads elsewhere"
    elif clip.sidecar is not None and not (
        isinstance(clip.sidecar, str)
        and _is_place(clip.sidecar)
        and parent(clip.sidecar) == parent(clip.path)
    ):
        yield "its sidecar lay elsewhere"
    if not isinstance(clip.source, str) or not _SOURCE.fullmatch(clip.source):
        yield "its clip has another name"
    if not (_is_whole(clip.size) and _is_whole(clip.mtime_ns) and _is_moment(clip.accepted_at)):
        yield "a figure is no number"
    if not (isinstance(clip.inbox, str) and isinstance(clip.media, dict)):
        yield "a field is of the wrong type"
    if any(one is not None for one in (clip.sha256, clip.lies_at, clip.sidecar_lies_at, clip.retired_at)):
        yield "it has facts from after its acceptance"


def _of_jobs(clip: Clip, jobs: Any) -> Iterator[str]:
    if not 0 < len(jobs) <= _JOBS_MAX:
        yield f"it has {len(jobs)} jobs"
    if len({job.id for job in jobs}) < len(jobs):
        yield "two jobs have one id"
    for job in jobs:
        if not (isinstance(job.variant, str) and _VARIANT.fullmatch(job.variant)):
            yield "a variant is invalid"
        elif not (_is_whole(job.version) and 0 < job.version <= VERSION_MAX):
            yield "a version is invalid"
        elif job.id not in {job_id(clip.id, job.variant), job_id(clip.id, job.variant, job.version)}:
            yield "a job is another clip's"
        if not (_is_whole(job.priority) and _is_moment(job.due_at)):
            yield "a figure is no number"
        yield from _of_request(job.request)


def _of_request(request: Any) -> Iterator[str]:
    for key, kind in _KINDS.items():
        value = getattr(request, key)
        is_odd = isinstance(value, bool) and kind is not bool
        if is_odd or not isinstance(value, kind) or not _fits(value):
            yield f"`{key}` of a request is of the wrong type, or too large"
            return
    if request.not_before is not None and not _is_moment(request.not_before):
        yield "`not_before` of a request has no date"
    for one in request.references:
        is_text = all(isinstance(text, str) for text in (one.uri, one.name, one.file, one.at))
        if not is_text or (one.file and not _COPY.fullmatch(one.file)):
            yield "a reference leads elsewhere"


def _is_place(rel: str) -> bool:
    try:
        names = parts(rel)
    except ValueError:
        return False
    return bool(names) and names[0] != OURS


def _fits(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= _TEXT_MAX
    return isinstance(value, bool) or not isinstance(value, int | float) or _is_number(value)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < _NUMBER_MAX


def _is_moment(value: object) -> bool:
    return _is_number(value) and has_date(value)  # type: ignore[arg-type]


def _is_number(value: object) -> bool:
    is_real = isinstance(value, float) and math.isfinite(value) and abs(value) < _NUMBER_MAX
    return is_real or _is_whole(value)
