"""Writes a timeline into the outbox once all its clips have ended: the same one, linked to the results.

What could not be linked is said in a text beside it. A job that is retried later writes it again, under the
next name.
"""

from __future__ import annotations

import errno
import hashlib
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any
from urllib.parse import quote

import structlog
import tomli_w

from clipspool.jobs.model import Clip, Job, State, newest
from clipspool.jobs.naming import numbered, portable
from clipspool.jobs.text import text
from clipspool.media import timelines
from clipspool.media.decoder import Decoder
from clipspool.media.facts import MediaFault, Probe
from clipspool.media.timelines import Link, NoTimeline
from clipspool.spool.layout import DONE, FAILED
from clipspool.spool.timelines import (
    Plan,
    PlannedCut,
    document_of,
    ends_of,
    is_written,
    note_end,
    note_left,
    note_written,
    plan_of,
    sidecar_of,
    was_written,
)
from clipspool.spool.watchfolder import Folders
from clipspool.spool.workfolder import error_note_of
from clipspool.stages.deliver import names, portable_folder
from clipspool.system.atomic import Rel, join, name_of, parent, split_suffix
from clipspool.system.redaction import redact

REPORT = ".txt"
"""Behind a timeline's name: what was linked, and what was not."""
_LOCK = threading.Lock()
"""Two clips of one timeline may end at the same moment; this process alone moves sources."""

log = structlog.get_logger()


def note_ends(
    clip: Clip,
    jobs: Sequence[Job],
    folders: Folders,
    decoder: Decoder,
    now: float,
    may_publish: Callable[[], bool],
) -> None:
    """Record how a clip's jobs ended, and write its timeline if it was the last.

    Done again it changes nothing. Raises OSError, Unavailable among them.
    """
    for timeline in sorted({job.request.timeline for job in jobs} - {""}):
        with _LOCK:
            plan = plan_of(folders.inbox, timeline)
            if plan is None:
                continue
            note_end(folders.inbox, plan, clip.id, _ended(clip, jobs))
            ends = ends_of(folders.inbox, plan)
            if plan.clips <= ends.keys():
                _Relinking(plan, ends, folders, decoder, now, may_publish).run()


def _ended(clip: Clip, jobs: Sequence[Job]) -> dict[str, Any]:
    """Return how each of a clip's jobs ended, by its variant."""
    facts = {}
    for job in newest(jobs):
        films = (one.name for one in job.results if one.is_film and not one.is_untouched and one.name)
        is_delivered = job.state is State.DELIVERED
        facts[job.variant] = {
            "id": job.id,
            "state": job.state.value,
            "result": next(films, "") if is_delivered else "",
            "error": redact(job.error.message) if job.error is not None and not is_delivered else "",
        }
    return {"path": clip.path, "clip": clip.id, "jobs": facts}


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of each marked clip, in words."""

    linked: list[str]
    left: list[str]


@dataclass(frozen=True, slots=True)
class _Relinking:
    plan: Plan
    ends: Mapping[Rel, dict[str, Any]]
    folders: Folders
    decoder: Decoder
    now: float
    may_publish: Callable[[], bool]

    def run(self) -> None:
        """Write the timeline and its text, archive what was dropped, and record that. Raises OSError."""
        inbox = self.folders.inbox
        digest = hashlib.sha256(json.dumps(self.ends, sort_keys=True).encode()).hexdigest()
        if is_written(inbox, self.plan, digest):
            return
        document = document_of(inbox, self.plan)
        outcome = _Outcome([], [])
        links = {}
        for cut in self.plan.cuts:
            link = self._link(cut, outcome)
            if link is not None:
                links[cut.number] = link
        suffix = split_suffix(name_of(self.plan.path))[1]
        name = ""
        if links:
            try:
                made = timelines.relink(document, suffix.lower(), links)
            except NoTimeline as error:  # it could be read when it was accepted
                outcome.left.append(f"the timeline itself: {error}")
            else:
                name = self._publish(made, suffix, outcome)
        left: list[Rel] = []
        if not was_written(inbox, self.plan):
            wanted = sum(bool(cut.clip) for cut in self.plan.cuts)
            left = self._archive(document, outcome, is_whole=bool(name) and len(outcome.linked) == wanted)
        note_left(inbox, self.plan, left, self.now)
        note_written(inbox, self.plan, digest)
        log.info(
            "timeline_relinked",
            inbox=self.folders.name,
            timeline=text(self.plan.path),
            written=text(name),
            linked=len(outcome.linked),
            left=len(outcome.left),
        )

    def _link(self, cut: PlannedCut, outcome: _Outcome) -> Link | None:
        """Return the result that replaces a cut's media, or say why there is none."""
        named = f"clip {cut.number} `{text(cut.name)}`"
        job = self.ends.get(cut.clip, {}).get("jobs", {}).get(cut.variant) if cut.clip else None
        if job is None:
            outcome.left.append(f"{named}: {cut.why or 'it has no job any more'}")
            return None
        if not job["result"]:
            ended = f"ended as {job['state']}. {job['error']}".rstrip(". ")
            outcome.left.append(f"{named}: job {job['id']} {ended}")
            return None
        seen = self._probe(job["result"])
        if isinstance(seen, str):
            outcome.left.append(f"{named}: `{text(job['result'])}` {seen}")
            return None
        fps = Fraction(cut.fps)
        if seen.frames != cut.frames or not seen.fps or Fraction(seen.fps) != fps:
            has = f"{seen.frames} frames at {seen.frames_per_second:.6g} a second"
            needed = f"{cut.frames} at {float(fps):.6g}"
            outcome.left.append(f"{named}: `{text(job['result'])}` has {has}, and {needed} are needed")
            return None
        handles = f"{cut.before} and {cut.after} frames of handles"
        why = f" ({cut.why})" if cut.why else ""
        outcome.linked.append(f"{named}: `{text(job['result'])}`, {cut.frames} frames, {handles}{why}")
        there = self.folders.places.path(join(str(self.folders.outbox.path), job["result"]))
        return Link(
            name=text(name_of(job["result"])),
            url=file_url(there),
            start=Fraction(cut.start),
            seconds=cut.frames / fps,
            fps=fps,
            width=seen.width,
            height=seen.height,
            timecode=seen.timecode,
            has_timecode=cut.has_timecode,
        )

    def _probe(self, result: Rel) -> Probe | str:
        try:
            with self.folders.outbox.open(result) as file:
                seen = self.decoder.probe(file.fileno())
        except FileNotFoundError:
            return "is not in the outbox any more"
        if not isinstance(seen, MediaFault):
            return seen
        if seen.code == "MEDIA.STOPPED":
            raise OSError(seen.message)
        return f"cannot be read: {seen.message}"

    def _publish(self, made: bytes, suffix: str, outcome: _Outcome) -> Rel:
        """Write the timeline under a free name, its text first; one that a crash left half is completed."""
        outbox, folder = self.folders.outbox, parent(self.plan.path)
        stem = split_suffix(name_of(self.plan.path))[0]
        if self.folders.is_portable:  # beside the results, which lie under such a path too
            folder, stem = portable_folder(outbox, folder), portable(stem)
        outbox.make_folders(folder)
        for name in names(stem, suffix):
            rel, beside = join(folder, name), join(folder, name + REPORT)
            report = self._report(outcome).encode("utf-8", "backslashreplace")
            if self._holds(rel, made) and self._holds(beside, report):
                return rel
            is_free = self.folders.outbox_names.reserve(outbox, folder, (name, name + REPORT), self.now)
            is_begun = not outbox.exists(rel) and self._holds(beside, report)
            if not is_free and not is_begun:
                continue
            try:
                self._ask()
                if not is_begun:
                    outbox.create(beside, report, is_last=False)
                outbox.create(rel, made)
            except FileExistsError:
                continue
            except OSError:
                self.folders.outbox_names.forget()
                raise
            return rel
        raise FileExistsError(f"no free name for the timeline {self.plan.path}")

    def _ask(self) -> None:
        if not self.may_publish():
            raise OSError(errno.EBUSY, "the lead of the farm was lost before the timeline was written")

    def _holds(self, rel: Rel, data: bytes) -> bool:
        return self.folders.outbox.read_if_there(rel, len(data) + 1) == data

    def _report(self, outcome: _Outcome) -> str:
        """Return the text beside the timeline."""
        total = len(outcome.linked) + len(outcome.left)
        lines = [f"`{text(name_of(self.plan.path))}`, linked to its results by clipspool.", ""]
        lines += [f"Linked ({len(outcome.linked)} of {total} marked clips):"]
        lines += [f"  - {line}" for line in outcome.linked]
        if outcome.left:
            lines += ["", "Not linked, as it was in the timeline:", *(f"  - {line}" for line in outcome.left)]
            lines += ["", "A job that is retried writes the timeline again, under the next name."]
        if self.plan.unmarked:
            lines += ["", f"Without a mark, and left as they were: {self.plan.unmarked}"]
        return "\n".join(lines) + "\n"

    def _archive(self, document: bytes, outcome: _Outcome, *, is_whole: bool) -> list[Rel]:
        """Write the timeline as it was dropped, and its sidecar, to `_done` or `_failed`; return what."""
        if is_whole and not self.folders.keeps_sources:
            return []
        inbox, home = self.folders.inbox, join(DONE if is_whole else FAILED, parent(self.plan.path))
        inbox.make_folders(home)
        sidecar = sidecar_of(inbox, self.plan)
        for name in numbered(*split_suffix(name_of(self.plan.path)), spare=len(".error.toml")):
            rel = join(home, name)
            if inbox.exists(rel) and inbox.read(rel, len(document) + 1) != document:
                continue
            if not is_whole:
                inbox.replace(error_note_of(rel), _error_note(self.plan, outcome))
            if sidecar and not inbox.exists(f"{rel}.toml"):
                inbox.create(f"{rel}.toml", sidecar)
            if not inbox.exists(rel):
                inbox.create(rel, document)
            return [rel, f"{rel}.toml", error_note_of(rel)]
        return []


def _error_note(plan: Plan, outcome: _Outcome) -> bytes:
    """Return the note beside a timeline of which not every job could be linked."""
    body = {
        "clip": text(plan.path),
        "code": "TIMELINE.INCOMPLETE",
        "message": "; ".join(outcome.left),
        "what_to_do": "`clipspool retry JOB` for what failed: the timeline is written again when that ended.",
        "retryable": False,
    }
    return tomli_w.dumps(body).encode()


def file_url(path: str) -> str:
    """Return the address of a file on an editor's machine: a path, a drive or a share of Windows."""
    slashed = path.replace("\\", "/")
    if "://" in slashed:  # path_map names a share by its address
        return quote(slashed, safe="/:@")
    whole = quote(slashed.encode("utf-8", "surrogateescape"), safe="/:")
    if whole.startswith("//"):
        return f"file:{whole}"
    return f"file://{whole}" if whole.startswith("/") else f"file:///{whole}"
