"""A clip's work folder: its names, its manifest, and how files get in and out.

`.clipspool/work/CLIP/` holds `manifest.toml` (written before the clip is moved in), `ledger.jsonl` (a
synced line for all that matters for money or names), the clip and its sidecar under plain names, copies of
reference images, and results until they are delivered.
"""

from __future__ import annotations

import json
import os
import threading
import tomllib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import tomli_w

from clipspool.jobs.model import Clip, Job, Request
from clipspool.jobs.naming import marked
from clipspool.jobs.nouns import read
from clipspool.spool.guard import forgiving
from clipspool.spool.layout import (
    CHANGED_NOTE,
    CLAIMED_MANIFEST,
    ERROR_NOTE,
    FAILED,
    KEPT_NAME,
    MANIFEST,
    PROMPT,
    REFERENCE,
    REFERENCES,
    SENT,
    SIDECAR,
    SOURCE,
    WORK,
    claimed_manifest,
)
from clipspool.spool.manifest_check import vet
from clipspool.spool.root import Root
from clipspool.system.atomic import NotRegular, Rel, join, name_of, parent

KEPT_MAX = 500
"""Clips whose images are kept; beyond it the oldest go: ids sort by time."""
MANIFEST_BYTES_MAX = 4 << 20
_OF_JOB = ("id", "variant", "version", "priority", "due_at")
_MANIFESTS = threading.Lock()


def folder_of(clip_id: str) -> Rel:
    """Return a clip's work folder, relative to its inbox."""
    return f"{WORK}/{clip_id}"


def made_name(job: Job, attempt: str, rest: str) -> str:
    """Return the name of a file that an attempt makes for a job in its work folder.

    No two attempts make files of one name: a machine that was frozen may go on with one that was given up.
    """
    return f"{job.id}.{attempt}{rest}" if attempt else job.id + rest


def error_note_of(rel: Rel) -> Rel:
    """Return the path of the note beside a source in `_failed`; each long name has one of its own.

    It also proves that a clip was moved back, so that of another clip must not be taken for it.
    """
    return join(parent(rel), marked(name_of(rel), ERROR_NOTE))


def changed_note_of(rel: Rel) -> Rel:
    """Return the path of the note beside a source that changed after it was sent."""
    return join(parent(rel), marked(name_of(rel), CHANGED_NOTE))


def trace_of(clip_id: str, name: str) -> Rel:
    """Return the path of the record of a file that is moved out of or into a work folder by copying."""
    return join(folder_of(clip_id), f".{name}.moved")


def clear_away(root: Root, clip_id: str) -> None:
    """Remove a work folder without a clip; one that is moved in meanwhile stays. Raises OSError."""
    root.remove_folder(folder_of(clip_id), but=f"{SOURCE}.")


@dataclass(frozen=True, slots=True)
class Manifest:
    """What was accepted: the clip and its jobs as they were at that moment."""

    clip: Clip
    jobs: tuple[Job, ...]
    journal: str = ""
    """The identity of the journal that has them: several machines can share an inbox."""
    prompt: Rel | None = None
    """The `.txt` that held the prompt: it is moved with the clip."""
    kept: str = ""
    """The name of the file that remembers the clip, where its inbox is only read."""

    def of_inbox(self, name: str) -> Manifest:
        """Return the same manifest in an inbox of that name."""
        jobs = tuple(replace(job, inbox=name) for job in self.jobs)
        return replace(self, clip=replace(self.clip, inbox=name), jobs=jobs)

    def to_toml(self) -> bytes:
        """Return it as TOML."""
        clip = self.clip
        names = ("id", "inbox", "source", "size", "mtime_ns", "accepted_at")
        body: dict[str, Any] = {
            "journal": self.journal,
            "clip": {
                **{name: getattr(clip, name) for name in names},
                "path": _spell(clip.path),
                "media": json.dumps(clip.media),  # as tables it would be larger than all the rest
            },
            "job": [
                {**{name: getattr(job, name) for name in _OF_JOB}, "request": job.request.to_dict()}
                for job in self.jobs
            ],
        }
        if clip.sidecar is not None:
            body["clip"]["sidecar"] = _spell(clip.sidecar)
        if self.prompt is not None:
            body["prompt_file"] = _spell(self.prompt)
        if self.kept:
            body["kept"] = self.kept
        return tomli_w.dumps(body).encode()

    @classmethod
    def from_toml(cls, data: bytes) -> Manifest:
        """Read it back; raises ValueError, KeyError or TypeError where it is damaged."""
        body = tomllib.loads(data.decode())
        entry = body["clip"]
        sidecar = entry.get("sidecar")
        media = json.loads(entry["media"])
        if not isinstance(media, dict):
            raise TypeError("its media facts are no table")
        sidecar = None if sidecar is None else _read(sidecar)
        clip = Clip(**{**entry, "path": _read(entry["path"]), "sidecar": sidecar, "media": media})
        jobs = tuple(
            Job(
                clip_id=clip.id,
                inbox=clip.inbox,
                request=read(Request, one["request"]),
                created_at=clip.accepted_at,
                updated_at=clip.accepted_at,
                **{name: one[name] for name in _OF_JOB if name in one},  # 0.1 wrote no versions
            )
            for one in body["job"]
        )
        prompt = body.get("prompt_file")
        prompt = None if prompt is None else _read(prompt)
        kept = str(body.get("kept", ""))
        if kept and not KEPT_NAME.fullmatch(kept):  # anybody may have written it, and it is used as a name
            raise ValueError("`kept` is no name of ours")
        return cls(clip, jobs, str(body["journal"]), prompt, kept)


def _spell(rel: Rel) -> str:
    """Return a path in UTF-8; one that is not becomes its bytes as hex behind a NUL, which no path has."""
    try:
        rel.encode()
    except UnicodeEncodeError:
        return "\0" + os.fsencode(rel).hex()
    return rel


def _read(spelled: str) -> Rel:
    return os.fsdecode(bytes.fromhex(spelled[1:])) if spelled.startswith("\0") else spelled


def bring_prompt(root: Root, manifest: Manifest) -> None:
    """Move the `.txt` with the prompt in after its accepted clip; one that cannot be moved does no harm."""
    path = manifest.prompt
    # Anybody may have written the manifest: nothing but a text file beside the clip is moved for it.
    if path is None or parent(path) != parent(manifest.clip.path) or not path.lower().endswith(".txt"):
        return
    target = join(folder_of(manifest.clip.id), PROMPT)
    with suppress(OSError, ValueError):
        if not root.exists(target):
            root.move(path, root, target)


def settle_in(root: Root, manifest: Manifest, *, is_ours: bool = True) -> None:
    """Finish a claim: bring its prompt in, remove an old error note. After a crash it is called again."""
    bring_prompt(root, manifest)
    # With the note left, the next copy of that name would be paid for like one that its editor moved back.
    # Another daemon's clip may be failing again at this moment, and the note may be about that.
    if is_ours and any(job.request.was_put_back for job in manifest.jobs):
        forget_failure(root, manifest.clip.path)


def bring_back(
    root: Root, clip: Clip, job: Job, journal: str, copy: Callable[[], None] | None = None
) -> None:
    """Move the source of a retired clip into its work folder again, unless it is there already.

    `copy` brings that of an inbox that is only read. Raises FileNotFoundError where it is in neither place.
    """
    home = folder_of(clip.id)
    source, sidecar = join(home, clip.source), join(home, SIDECAR)
    if root.exists(source):
        if clip.lies_at is not None or copy is not None or job.is_again:
            _add_to_manifest(root, clip, job, journal)
        if clip.lies_at is not None:
            root.finish_move(clip.lies_at, source, trace=trace_of(clip.id, clip.source))
            if not root.exists(clip.lies_at):
                root.remove(error_note_of(clip.lies_at))
        return
    if clip.lies_at is None and copy is None:
        raise FileNotFoundError(clip.path)
    root.make_folders(home)
    _move_all(root, join(REFERENCES, clip.id), home)
    _add_to_manifest(root, clip, job, journal)
    if clip.lies_at is None:
        if copy is not None:
            copy()
            root.remove(error_note_of(join(FAILED, clip.path)))
        return
    if clip.sidecar_lies_at is not None and root.exists(clip.sidecar_lies_at):
        trace = trace_of(clip.id, SIDECAR)
        if not root.finish_move(clip.sidecar_lies_at, sidecar, trace=trace) and not root.exists(sidecar):
            root.move(clip.sidecar_lies_at, root, sidecar, trace=trace)
    root.move(clip.lies_at, root, source, trace=trace_of(clip.id, clip.source))
    root.remove(error_note_of(clip.lies_at))
    root.remove(changed_note_of(clip.lies_at))


def _add_to_manifest(root: Root, clip: Clip, job: Job, journal: str) -> None:
    """Name a job that is run again in its clip's manifest, made where it is missing.

    Without it `recover` would forget the job, and what was paid for it. Variants come back side by side.
    """
    path = join(folder_of(clip.id), MANIFEST)
    with _MANIFESTS:
        try:
            there = read_manifest(root, clip.id)
        except FileNotFoundError:
            root.create(path, Manifest(clip, (job,), journal).to_toml())
            return
        except (ValueError, NotRegular):
            return
        # Another journal's manifest stays as it is: that daemon follows what was paid for by it.
        if there.journal == journal and all(one.id != job.id for one in there.jobs):
            root.replace(path, Manifest(clip, (*there.jobs, job), journal).to_toml())


def was_put_back(root: Root, path: Rel) -> bool:
    """Whether a clip in the inbox failed before and was moved back: only its error note is left in `_failed`.

    A copy that a mirror drops again and again leaves the failed clip where it is. Raises Unavailable.
    """
    failed = join(FAILED, path)
    with forgiving(OSError, ValueError, RecursionError):
        note = tomllib.loads(root.read(error_note_of(failed), MANIFEST_BYTES_MAX).decode())
        return "code" in note and "paid" in note and not root.exists(failed)
    return False


def forget_failure(root: Root, path: Rel) -> None:
    """Remove the error note of a clip that failed before and is accepted again."""
    with suppress(OSError):  # a stale note harms nobody
        if was_put_back(root, path):
            root.remove(error_note_of(join(FAILED, path)))


def keep_references(root: Root, clip: Clip) -> None:
    """Keep the copies of a clip's reference images when its work folder is removed. Raises OSError.

    Of one that failed, or was cancelled, the records of what was sent are kept too: its task may be followed
    after all, and bars that were added to the clip have to come off the result.
    """
    home = folder_of(clip.id)
    is_done = clip.lies_at is not None and not clip.lies_at.startswith(f"{FAILED}/")
    names = [
        name
        for name in root.names_if_there(home)
        if name.startswith(REFERENCE) or (name.endswith(SENT) and not is_done)
    ]
    if names:
        kept = join(REFERENCES, clip.id)
        root.make_folders(kept)
        _move_all(root, home, kept, names)
        for forgotten in sorted(root.names(REFERENCES))[:-KEPT_MAX]:
            root.remove_folder(join(REFERENCES, forgotten))


def _move_all(root: Root, source: Rel, target: Rel, names: Sequence[str] | None = None) -> None:
    """Move files between two folders of ours; a file that a crash left in both is kept once."""
    if not root.exists(source):
        return
    for name in root.names(source) if names is None else names:
        root.remove(join(target, name))
        root.move(join(source, name), root, join(target, name))
    if names is None:
        root.remove_folder(source)


def read_manifest(root: Root, clip_id: str) -> Manifest:
    """Read a work folder's manifest; raises OSError, or ValueError where it is damaged.

    Where a take-over was cut short, it is the taker's.
    """
    home, taker = folder_of(clip_id), ""
    try:
        try:
            data = root.read(join(home, MANIFEST), MANIFEST_BYTES_MAX)
        except FileNotFoundError:
            taker = claimant_of(root, clip_id)
            if not taker:
                raise
            data = root.read(join(home, claimed_manifest(taker)), MANIFEST_BYTES_MAX)
        manifest = Manifest.from_toml(data)
        if taker:
            manifest = replace(manifest, journal=taker)
        vet(clip_id, manifest.clip, manifest.jobs)
    except (KeyError, TypeError, AttributeError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError(f"the manifest of {clip_id} is damaged: {error}") from error
    return manifest


def claimant_of(root: Root, clip_id: str) -> str:
    """Return the journal that has begun to take a clip over and not finished; empty where none has."""
    found = [CLAIMED_MANIFEST.fullmatch(name) for name in root.names(folder_of(clip_id))]
    return next((match[1] for match in found if match), "")
