"""Records in the work folder what is sent for a job, where that is not the clip itself in the request.

There is none for a clip that is sent byte for byte in the request. It outlives the daemon and the journal, so
a crash or a wait of days in the queue neither loses what was made nor makes it twice; it has no addresses.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from typing import Any

import tomli_w

from clipspool.jobs.model import Clip, Job
from clipspool.jobs.nouns import read
from clipspool.media.facts import Probe
from clipspool.media.lengths import Length
from clipspool.media.timeline import Bars
from clipspool.spool.layout import SENT
from clipspool.spool.root import Root
from clipspool.spool.workfolder import folder_of, made_name
from clipspool.system.atomic import Rel, join

_PAPER_BYTES_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class SentFile:
    """A file in the work folder that is sent, and how."""

    file: str
    """Its name in the work folder."""
    size: int
    mtime_ns: int
    sha256: str
    content_type: str
    way: str
    """`inline`, `bucket`, `public_url` or `upload`."""
    put_at: float = 0.0
    """Unix seconds."""
    made: dict[str, Any] = field(default_factory=dict)
    """The plan it was made by, from `of`; empty where it is unchanged."""
    of: str = ""
    """SHA-256 of what it was made from."""
    changes: tuple[str, ...] = ()
    """What was changed, in words."""


@dataclass(frozen=True, slots=True)
class Sent:
    """Everything that is sent for a job: its clip, and its references that are files, in order."""

    source: SentFile
    references: tuple[SentFile, ...] = ()
    bars: Bars | None = None
    """The black bars around the pictures of each part, of a clip that is sent in parts."""
    changes: tuple[str, ...] = ()
    """What was done to such a clip, in words; each part has a record of its own."""

    @property
    def is_plain(self) -> bool:
        """Whether nothing of it has to be recorded."""
        return not self.changes and not any(
            one.made or one.way != "inline" for one in (self.source, *self.references)
        )


def paper_of(clip: Clip, job: Job, attempt: str) -> Rel:
    """Return the path of the record that an attempt wrote for a job."""
    return join(folder_of(clip.id), made_name(job, attempt, SENT))


def read_sent(root: Root, clip: Clip, job: Job) -> Sent | None:
    """Read the record of the attempt that prepared a job; None where there is none, or it is damaged."""
    try:
        body = tomllib.loads(root.read(paper_of(clip, job, job.prepared_by), _PAPER_BYTES_MAX).decode())
        split = body.get("split", {})
        sent = {"source": body["source"], "references": body.get("reference", []), **split}
        return read(Sent, {**sent, "changes": map(str, split.get("changes", ()))})
    except (FileNotFoundError, ValueError, KeyError, TypeError, RecursionError):
        return None


def write_sent(root: Root, clip: Clip, job: Job, attempt: str, sent: Sent) -> None:
    """Write the record of an attempt, where there is something to record. Raises OSError."""
    if sent.is_plain:
        root.remove(paper_of(clip, job, attempt))
        return
    body: dict[str, Any] = {"source": asdict(sent.source)}
    if sent.references:
        body["reference"] = [asdict(one) for one in sent.references]
    if sent.changes:
        body["split"] = {"changes": list(sent.changes)}
        if sent.bars is not None:
            body["split"]["bars"] = asdict(sent.bars)
    root.replace(paper_of(clip, job, attempt), tomli_w.dumps(body).encode())


def part_sent(sent: Sent | None) -> tuple[float, float | None]:
    """Return the part of the clip that was sent: its start, and its length where it is not the whole."""
    made = sent.source.made if sent else {}
    if not made:
        return 0.0, None
    return float(made.get("start_seconds", 0.0)), float(made.get("own_seconds") or made["seconds"])


def rate_sent(sent: Sent | None) -> str:
    """Return the frames a second of what was made of the clip, as "num/den"; empty where nothing was."""
    return str(sent.source.made.get("fps", "")) if sent else ""


def bars_sent(sent: Sent | None) -> Bars | None:
    """Return the black bars around the pictures that were sent; None where there were none."""
    if sent is not None and sent.bars is not None:
        return sent.bars
    made = sent.source.made if sent else {}
    aspect = str(made.get("picture_aspect", ""))
    return Bars(int(made["width"]), int(made["height"]), aspect) if aspect else None


def was_extended(sent: Sent | None) -> bool:
    """Whether something was added to the clip that has to come off its result: bars, or held pictures."""
    made = sent.source.made if sent else {}
    return bool(made.get("picture_aspect") or made.get("own_seconds"))


def length_sent(clip: Clip, sent: Sent | None) -> Length | None:
    """Return the length of what was sent: the clip, or what was made of it; None where it is not known."""
    made = sent.source.made if sent else {}
    if made:
        fps = Fraction(made["fps"])
        return Length(float(made["seconds"]), round(float(made["seconds"]) * fps), made["fps"])
    if not clip.media.get("seconds"):
        return None
    probe = Probe.from_dict(dict(clip.media))
    frames = probe.frames
    if frames is None and probe.fps and not probe.variable_frame_rate:
        frames = round(probe.seconds * Fraction(probe.fps))
    return Length(probe.seconds, frames, probe.fps)


def files_of(sent: Sent | None) -> Sequence[SentFile]:
    """Return every file of a record."""
    return () if sent is None else (sent.source, *sent.references)
