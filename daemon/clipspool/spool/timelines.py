"""Timelines that were accepted: the document, which clip and job stands for which cut, and how each ended.

`.clipspool/timelines/ID/` holds the document and its sidecar, `plan.json` (written before the first of its
clips is claimed), `ended-CLIP.json` for each clip that retired, and `left.json`: what was put into `_done` or
`_failed` besides these clips. It stays for a while after the end: a job that is retried then changes the
timeline again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from clipspool.spool.layout import DONE, FAILED, TIMELINES, WORK
from clipspool.spool.pruning import File, file_at
from clipspool.spool.root import Root
from clipspool.spool.workfolder import read_manifest
from clipspool.system.atomic import NotRegular, Rel, join

KEPT_MAX = 500
"""Timelines that are kept; beyond it the oldest go."""
DOCUMENT_BYTES_MAX = 16 << 20
_PLAN, _DOCUMENT, _SIDECAR, _WRITTEN = "plan.json", "timeline", "sidecar.toml", "written"
_LEFT = "left.json"
_ENDED = "ended-"
_PLAN_BYTES_MAX = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedCut:
    """One clip of the timeline, and the job that renders it; times are fractions of seconds as text."""

    number: int
    name: str
    clip: Rel = ""
    """The path of its media in the inbox; empty where no job is made of it."""
    variant: str = ""
    why: str = ""
    """Why no job is made of a marked clip, or what its editor should know."""
    start: str = "0"
    """What the timeline's clock for the media shows at the first frame that is sent."""
    first: int = 0
    """The first frame of the media that is sent, handles included."""
    frames: int = 0
    before: int = 0
    """How many of the frames are handles before the cut."""
    after: int = 0
    fps: str = "25/1"
    has_timecode: bool = False
    """Whether the timeline counts by the timecode of the media."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """An accepted timeline."""

    id: str
    path: Rel
    """Where it was dropped, relative to the inbox."""
    sidecar: Rel | None = None
    cuts: tuple[PlannedCut, ...] = ()
    unmarked: int = 0
    """How many clips have no mark."""
    credits: float | None = None

    @property
    def clips(self) -> frozenset[Rel]:
        """The media of which jobs are made."""
        return frozenset(cut.clip for cut in self.cuts if cut.clip)


def home_of(timeline_id: str) -> Rel:
    """Return the folder of a timeline, relative to the inbox."""
    return f"{TIMELINES}/{timeline_id}"


def keep(root: Root, plan: Plan, document: bytes, sidecar: bytes) -> None:
    """Write an accepted timeline down, durable: the document first, the plan last. Raises OSError."""
    home = home_of(plan.id)
    root.make_folders(home)
    root.replace(join(home, _DOCUMENT), document)
    if sidecar:
        root.replace(join(home, _SIDECAR), sidecar)
    root.replace(join(home, _PLAN), json.dumps(asdict(plan)).encode())


def plan_of(root: Root, timeline_id: str) -> Plan | None:
    """Read a plan; None where there is none that can be used: anybody may have written it. Raises OSError."""
    if not timeline_id.isalnum():
        return None
    try:
        body = json.loads(root.read(join(home_of(timeline_id), _PLAN), _PLAN_BYTES_MAX))
        plan = Plan(**{**body, "cuts": tuple(PlannedCut(**cut) for cut in body["cuts"])})
        paths = (plan.path, *filter(None, (plan.sidecar,)), *plan.clips)
        if plan.id != timeline_id or not all(map(_is_plain, paths)):
            return None
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return plan


def _is_plain(path: Rel) -> bool:
    return bool(path) and "\0" not in path and not any(part in {"", ".", ".."} for part in path.split("/"))


def claimed_of(root: Root, plan: Plan) -> frozenset[Rel]:
    """Return the media of a plan that were accepted for it already: in work, or ended. Raises OSError."""
    found = set(ends_of(root, plan))
    for clip_id in root.names_if_there(WORK):
        with suppress(ValueError, FileNotFoundError, NotADirectoryError, NotRegular):
            manifest = read_manifest(root, clip_id)
            if any(job.request.timeline == plan.id for job in manifest.jobs):
                found.add(manifest.clip.path)
    return plan.clips & found


def document_of(root: Root, plan: Plan) -> bytes:
    """Return the timeline as it was dropped. Raises OSError."""
    return root.read(join(home_of(plan.id), _DOCUMENT), DOCUMENT_BYTES_MAX)


def sidecar_of(root: Root, plan: Plan) -> bytes:
    """Return its sidecar as it was dropped; empty where it had none. Raises OSError."""
    return root.read_if_there(join(home_of(plan.id), _SIDECAR), DOCUMENT_BYTES_MAX) or b""


def note_end(root: Root, plan: Plan, clip_id: str, ended: Mapping[str, Any]) -> None:
    """Record how the jobs of a clip ended. Raises OSError."""
    body = json.dumps(ended, sort_keys=True).encode()
    root.replace(join(home_of(plan.id), f"{_ENDED}{clip_id}.json"), body)


def ends_of(root: Root, plan: Plan) -> dict[Rel, dict[str, Any]]:
    """Return how each clip ended, by its path; the newest where there are several. Raises OSError."""
    found: dict[Rel, dict[str, Any]] = {}
    for name in sorted(root.names(home_of(plan.id))):  # ids sort by time
        if name.startswith(_ENDED):
            with suppress(ValueError, TypeError, KeyError):
                body = json.loads(root.read(join(home_of(plan.id), name), _PLAN_BYTES_MAX))
                found[str(body["path"])] = body
    return found


def is_written(root: Root, plan: Plan, digest: str) -> bool:
    """Whether the timeline was written for these very ends. Raises OSError."""
    return root.read_if_there(join(home_of(plan.id), _WRITTEN), 256) == digest.encode()


def was_written(root: Root, plan: Plan) -> bool:
    """Whether the timeline was written before, however its jobs had ended then. Raises OSError."""
    return root.exists(join(home_of(plan.id), _WRITTEN))


def note_written(root: Root, plan: Plan, digest: str) -> None:
    """Record that the timeline was written, and forget the oldest of many. Raises OSError."""
    root.replace(join(home_of(plan.id), _WRITTEN), digest.encode())
    names = [name for name in root.names(TIMELINES) if root.exists(join(TIMELINES, name, _WRITTEN))]
    if len(names) > KEPT_MAX:
        names.sort(key=lambda name: root.stat(join(TIMELINES, name)).st_mtime)
        for name in names[:-KEPT_MAX]:
            root.remove_folder(join(TIMELINES, name))


@dataclass(frozen=True, slots=True)
class Left:
    """What an accepted timeline left in `_done` and `_failed`, besides the clips that have jobs."""

    files: tuple[File, ...] = ()
    ended_at: float | None = None
    """Unix seconds: when it was last written; None while it waits for its clips."""


def note_left(root: Root, plan: Plan, rels: Iterable[Rel], ended_at: float | None = None) -> None:
    """Record what was put away for a timeline, and when it ended. Raises OSError."""
    left = left_of(root, plan.id)
    files = {one.rel: one for one in left.files}
    files |= {rel: found for rel in rels if (found := file_at(root, rel)) is not None}
    body = {
        "ended_at": left.ended_at if ended_at is None else ended_at,
        "files": [one.to_json() for one in files.values()],
    }
    root.replace(join(home_of(plan.id), _LEFT), json.dumps(body).encode())


def left_of(root: Root, timeline_id: str) -> Left:
    """Return what a timeline left; nothing where the record cannot be read. Raises OSError."""
    try:
        body = json.loads(root.read(join(home_of(timeline_id), _LEFT), _PLAN_BYTES_MAX))
        files = tuple(File.from_json(one) for one in body["files"])
        ended_at = body["ended_at"]
        if not all(_is_put_away(one) for one in files) or not isinstance(ended_at, int | float | None):
            return Left()
    except (FileNotFoundError, NotRegular, ValueError, KeyError, TypeError, IndexError, RecursionError):
        return Left()
    return Left(files, ended_at)


def _is_put_away(one: File) -> bool:
    return _is_plain(one.rel) and one.rel.startswith((f"{DONE}/", f"{FAILED}/"))


def ended_timelines(root: Root) -> Iterator[tuple[str, Left]]:
    """Yield the timelines that ended, and what each left. Raises OSError."""
    for name in root.names_if_there(TIMELINES):
        left = left_of(root, name) if name.isalnum() else Left()
        if left.ended_at is not None:
            yield name, left


def forget(root: Root, timeline_id: str) -> None:
    """Remove all that is remembered of a timeline. Raises OSError."""
    root.remove_folder(home_of(timeline_id))
