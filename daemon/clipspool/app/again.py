"""Runs an ended job's clip once more, changed: makes the new request as intake would, checks and prices it.

The new job is the next version of its clip. Nothing is entered that cannot be sent, and with `dry_run`
nothing is entered at all: the price is known before the order.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from clipspool.app.choosing import Ask
from clipspool.intake.notes import sentence
from clipspool.intake.sidecar.keys import SEED_MAX
from clipspool.intake.sidecar.layers import Find, Wanted, drafts
from clipspool.intake.sidecar.parse import Layer, layer_of
from clipspool.intake.sidecar.presets import Configured, finder
from clipspool.intake.tree import IMAGE_BYTES_MAX
from clipspool.jobs.model import Clip, Job, Problem, Reference, Request
from clipspool.scheduler import versions
from clipspool.scheduler.commands import NotDone
from clipspool.scheduler.versions import OrderKey, Priced
from clipspool.spool.kept import is_unchanged
from clipspool.spool.layout import REFERENCE, REFERENCES
from clipspool.spool.watchfolder import Folders
from clipspool.spool.workfolder import folder_of
from clipspool.stages.provenance import as_sent, image_keys
from clipspool.stages.quoting import Quoting
from clipspool.stages.runner import Tools
from clipspool.system.atomic import Rel, join

_SENTENCES_MAX = 3


@dataclass(frozen=True, slots=True)
class WantedChange:
    """What is to be different, and whether that is only asked about."""

    by: str
    why: str = ""
    keys: Mapping[str, Any] = field(default_factory=dict)
    """Sidecar keys; None takes back what the earlier request named, so that a seed is drawn again."""
    is_dry: bool = False
    key: str = ""
    """Given by a program that may send the order again; empty without one."""

    def order(self, job_id: str) -> OrderKey | None:
        """Return the key by which the order is recognised when it comes again; None where it has none."""
        if not self.key or self.is_dry:
            return None
        what = json.dumps([job_id, dict(self.keys)], sort_keys=True, default=str)
        return OrderKey(_hash(f"{self.by}\n{self.key}"), _hash(what))

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> WantedChange:
        """Read the command's arguments. Raises NotDone."""
        keys = dict(given.get("set") or {})
        if given.get("prompt") is not None:
            keys["prompt"] = given["prompt"]
        if given.get("preset") is not None:
            keys["preset"] = given["preset"]
        if isinstance(keys.get("not_before"), str):
            with suppress(ValueError):  # the check of the keys reports a value that is no date
                keys["not_before"] = datetime.fromisoformat(keys["not_before"])
        return cls(
            str(given["by"]),
            str(given.get("why") or ""),
            keys,
            bool(given.get("dry_run")),
            str(given.get("key") or ""),
        )


def again(ask: Ask, tools: Tools, presets: Configured, **given: Any) -> list[dict[str, Any]]:
    """Run each of the jobs `ids` once more, changed by `prompt`, `preset`, `set`; return all answers.

    `versions` says which version each was shown to become: an order that came twice is carried out once. With
    a `key`, for a single job, it is answered the second time as the first.
    """
    change, shown = WantedChange.of(given), given.get("versions") or {}
    answers, priced = [], list[Priced]()
    for job_id in given["ids"]:
        try:
            answers.append(_again(ask, tools, presets, str(job_id), change, shown.get(job_id), priced))
        except NotDone as refused:
            answers.append({"id": job_id, "done": False, "why": str(refused)})
        except OSError as error:
            answers.append({"id": job_id, "done": False, "why": f"its inbox cannot be read: {error}"})
    return answers


def _again(
    ask: Ask,
    tools: Tools,
    presets: Configured,
    job_id: str,
    change: WantedChange,
    shown: int | None,
    priced: list[Priced],
) -> dict[str, Any]:
    """Quote or order one job; `priced` collects those of the same order that nothing would hold."""
    order = change.order(job_id)
    known = None if order is None else ask(lambda scheduler: versions.ordered(scheduler, order))
    if known is not None:
        return dict(known)
    job, clip, version = ask(lambda scheduler: versions.next_version(scheduler, job_id, shown))
    folders = tools.folders_of.get(clip.inbox)
    if folders is None:
        raise NotDone(f"the inbox {clip.inbox} is not configured any more")
    references = _References(folders, clip)
    if not references.has_source():
        raise NotDone(f"its source {clip.path} is gone: drop the clip again, with what is to be different")
    find = finder(folders.watched, presets)
    request = _request(job, clip, change, references, tools.quoting, find)
    credits_estimated = tools.quoting.price(request, clip.media)
    facts = {"version": version, "credits_estimated": credits_estimated, "request": as_sent(request)}
    if change.is_dry:
        this = Priced(clip, request.model, credits_estimated)
        waits = ask(lambda scheduler: versions.would_hold(scheduler, this, priced))
        priced += [] if waits else [this]
        return {"id": job.id, "done": True, "new": None, **facts, **waits}
    references.bring()
    entered: dict[str, Any] = ask(
        lambda scheduler: versions.again(
            scheduler, job_id, request, credits_estimated, change.by, change.why, version, order
        )
    )
    return {**facts, **entered}


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _request(
    job: Job, clip: Clip, change: WantedChange, references: _References, quoting: Quoting, find: Find
) -> Request:
    """Lay the change over the earlier request, as a sidecar is laid over defaults. Raises NotDone."""
    dropped = {key for key, value in change.keys.items() if value is None}
    wanted = {key: value for key, value in change.keys.items() if value is not None}
    earlier = Layer(keys={key: value for key, value in keys_of(job.request).items() if key not in dropped})
    changed = layer_of(wanted, "", is_own=True)
    if changed.variants:
        raise NotDone("a job is run again as one: order it once for each variant")
    made, problems = drafts([earlier], changed, find=find)
    if not problems:
        found, problems = references.find(made[0].references, job.request.references)
    if not problems:
        request = made[0].request(secrets.randbelow(SEED_MAX + 1), found)
        request = quoting.complete(replace(request, again=True), clip.media)
        problems = tuple(quoting.check(request, clip.media))
    if problems:
        raise NotDone("; ".join(sentence(one) for one in problems[:_SENTENCES_MAX]))
    return request


def keys_of(request: Request) -> dict[str, Any]:
    """Return what was asked for in a sidecar's keys, without what was drawn, chosen, or for once."""
    keys: dict[str, Any] = {
        "prompt": request.prompt,
        "model": request.instead_of or request.model,
        "seed": None if request.seed_is_drawn else request.seed,
        "ratio": None if request.ratio_is_chosen else request.ratio,
        **image_keys(request, lambda one: one.uri or one.name),
        "content_moderation": dict(request.content_moderation),
        "extra": dict(request.extra),
        "priority": request.priority,
        **request.media_keys(),
    }
    return {key: value for key, value in keys.items() if value not in (None, [], {})}


class _References:
    """The reference images of a clip that is run again: copies from before, and images in the inbox."""

    def __init__(self, folders: Folders, clip: Clip) -> None:
        self._root, self._watched, self._places = folders.inbox, folders.watched, folders.places
        self._clip = clip
        self._home = folder_of(clip.id)
        self._kept = join(REFERENCES, clip.id)
        self._to_copy: dict[Rel, str] = {}

    def has_source(self) -> bool:
        """Whether the clip lies in its work folder, or where it retired to, or stayed. Raises OSError."""
        places = (join(self._home, self._clip.source), self._clip.lies_at)
        if any(self._root.exists(place) for place in places if place):
            return True
        return self._watched is not self._root and is_unchanged(self._watched, self._clip)

    def find(
        self, wanted: Sequence[Wanted], before: Sequence[Reference]
    ) -> tuple[dict[Wanted, Reference], tuple[Problem, ...]]:
        """Find each image: the copy that was made before, else the file in the inbox. Raises OSError."""
        copies = {one.name: one for one in before if one.file and self._is_kept(one.file)}
        found: dict[Wanted, Reference] = {}
        for one in wanted:
            if one.is_address:
                continue
            if one.entry in copies:
                found[one] = copies[one.entry]
                continue
            paths = one.paths(self._places, str(self._watched.path))
            path = next(filter(self._is_image, paths), "")
            if not path:
                why = f"names `{one.entry}`, which is not in the inbox, or is no file of up to "
                return {}, (Problem(f"{why}{IMAGE_BYTES_MAX >> 20} MB", "references"),)
            self._to_copy.setdefault(path, self._free_name(path))
            found[one] = Reference(name=path, file=self._to_copy[path])
        return found, ()

    def bring(self) -> None:
        """Copy the images that have no copy yet to where the clip's are. Raises OSError."""
        is_in_work = self._root.exists(join(self._home, self._clip.source))
        folder = self._home if is_in_work else self._kept
        for path, name in self._to_copy.items():
            self._root.make_folders(folder)
            self._watched.copy(path, self._root, join(folder, name))

    def _is_kept(self, file: str) -> bool:
        return any(self._root.exists(join(folder, file)) for folder in (self._home, self._kept))

    def _is_image(self, path: Rel) -> bool:
        there = self._watched.stat_if_there(path)
        return there is not None and stat.S_ISREG(there.st_mode) and 0 < there.st_size <= IMAGE_BYTES_MAX

    def _free_name(self, path: Rel) -> str:
        taken = {name.partition(".")[0] for name in self._to_copy.values()}
        for folder in (self._home, self._kept):
            taken |= {name.partition(".")[0] for name in self._root.names_if_there(folder)}
        number = next(count for count in range(len(taken) + 1) if f"{REFERENCE}{count}" not in taken)
        return f"{REFERENCE}{number}{path[path.rindex('.') :].lower()}"
