"""The nouns: a clip, the jobs it asks for, their tasks and results, and the states of a job."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from fractions import Fraction
from typing import Any

# Defined in modules of their own, and imported from here as well.
from clipspool.jobs.faults import Problem as Problem  # noqa: PLC0414
from clipspool.jobs.nouns import plain as plain  # noqa: PLC0414
from clipspool.jobs.outputs import Missing as Missing  # noqa: PLC0414
from clipspool.jobs.outputs import Result as Result  # noqa: PLC0414
from clipspool.jobs.outputs import Reuse as Reuse  # noqa: PLC0414
from clipspool.jobs.request import KEYFRAME_WORDS as KEYFRAME_WORDS  # noqa: PLC0414
from clipspool.jobs.request import Duplicates as Duplicates  # noqa: PLC0414
from clipspool.jobs.request import Finish as Finish  # noqa: PLC0414
from clipspool.jobs.request import FinishCodec as FinishCodec  # noqa: PLC0414
from clipspool.jobs.request import FinishSize as FinishSize  # noqa: PLC0414
from clipspool.jobs.request import FinishTiming as FinishTiming  # noqa: PLC0414
from clipspool.jobs.request import LongClips as LongClips  # noqa: PLC0414
from clipspool.jobs.request import Reference as Reference  # noqa: PLC0414
from clipspool.jobs.request import Request as Request  # noqa: PLC0414

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32, so that no two letters look alike
_EPOCH = 1_735_689_600  # 2025-01-01: keeps the time part of an id at six letters until 2059


def new_id(now: float) -> str:
    """Return a new clip id: six letters that sort by second, then six at random."""
    number = int(max(now - _EPOCH, 0)) % (1 << 30) << 30 | secrets.randbits(30)
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(55, -5, -5))


_DATED = (datetime(2, 1, 1, tzinfo=UTC).timestamp(), datetime(9999, 1, 1, tzinfo=UTC).timestamp())


def has_date(seconds: float) -> bool:
    """Whether Unix seconds have a date in every zone: calendars end with the years 1 and 9999."""
    return _DATED[0] <= seconds < _DATED[1]


class State(StrEnum):
    """How far a job has come; PRODUCT.md has the same table in the user's words."""

    QUEUED = "queued"
    """Accepted; nothing sent, nothing spent. The scheduler moves it on; a crash changes nothing."""
    SUBMITTING = "submitting"
    """The intent is on disk; the request may be in flight. A crash here leads to `in_doubt`."""
    IN_DOUBT = "in_doubt"
    """The request was sent, but no clear answer arrived. Only the operator moves it on."""
    RUNNING = "running"
    """The provider gave a task id. Followed until it ends, across restarts."""
    RENDERED = "rendered"
    """The provider has finished; it keeps the result for a day or two."""
    FETCHED = "fetched"
    """Results are whole in the work folder, verified."""
    DELIVERED = "delivered"
    """Ended: results are durable in the outbox."""
    FAILED = "failed"
    """Ended: an error says why and what to do."""
    CANCELLED = "cancelled"
    """Ended: by the operator, or at the provider."""

    @property
    def is_terminal(self) -> bool:
        """Whether only the operator moves a job on from here."""
        return self in TERMINAL


TERMINAL = frozenset({State.DELIVERED, State.FAILED, State.CANCELLED})


class Held(StrEnum):
    """Why a job waits for a person."""

    IN_DOUBT = "in_doubt"
    """Money may be spent: attach, retry or cancel."""
    BUDGET = "budget"
    """It costs more than a job may: approve or cancel."""
    DUPLICATE = "duplicate"
    """The same clip with the same request is here already: approve or cancel."""
    OVERDUE = "overdue"
    """The provider renders longer than `task_seconds_max`; still polled, slowly."""
    LOST = "lost"
    """The provider does not know the task any more; still polled, slowly."""
    RESULT = "result"
    """The result is no video, and is fetched again; or its length is far from that of what was sent."""
    POISON = "poison"
    """It crashed clipspool's own process three times: approve or cancel."""
    REFUSED = "refused"
    """The provider refused it as it would refuse all clips, but took others: approve tries it again."""
    VETO = "veto"
    """The `before_submit` hook refused it: approve or cancel."""
    FROM_BACKUP = "from_backup"
    """An older journal, put back, shows it as not sent; it may have been since: approve or cancel."""
    OUTBOX = "outbox"
    """The outbox cannot be written to: full, read-only or gone; still tried."""
    DISK = "disk"
    """The inbox's disk cannot be written to or read; still tried."""
    PARTS = "parts"
    """One of its parts failed, is in doubt or is held: that part is retried, attached or approved alone."""


class Paid(StrEnum):
    """Whether money was spent for a job, as far as can be known."""

    NO = "no"
    YES = "yes"
    UNKNOWN = "unknown"


STILL_TRIED = frozenset({Held.OUTBOX, Held.DISK})
"""Holds that end by themselves: the job is still tried, in the queue too."""


PICTURES_SOURCE = "clip.pictures"
"""The name in its work folder of a folder of numbered pictures that is one clip."""


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip that was accepted: whole in its work folder until it retires."""

    id: str
    inbox: str
    path: str
    """Where it was dropped, relative to the inbox; names that are not UTF-8 carry surrogate escapes."""
    sidecar: str | None
    """Its sidecar's path relative to the inbox; None where the folder's defaults were used."""
    source: str
    """Its name inside the work folder (the last part of `path`)."""
    size: int
    mtime_ns: int
    accepted_at: float
    sha256: str | None = None
    """Lower-case hex; None until the prepare stage has read it."""
    media: dict[str, Any] = field(default_factory=dict)
    """The probe at intake."""
    lies_at: str | None = None
    """Where its source is once it retired, relative to the inbox; None while it is in its work folder."""
    sidecar_lies_at: str | None = None
    retired_at: float | None = None

    @property
    def is_pictures(self) -> bool:
        """Whether its source is a folder of numbered pictures; size and date are those of all of them."""
        return self.source == PICTURES_SOURCE


@dataclass(frozen=True, slots=True)
class Part:
    """Some frames of a clip, counted at its constant rate; some of them are sent with the part before too."""

    number: int
    """From 1."""
    of: int
    """How many parts there are."""
    start: int
    """The clip's frame that it begins with."""
    frames: int
    """How many frames are sent, the overlap included."""
    overlap: int
    """How many of them, at its beginning, are sent with the part before too; 0 at a scene change."""
    fps: str
    """The clip's frames a second, as "num/den"."""
    price: float | None = None
    """What it is estimated to cost, in credits; None where that is not known."""
    sent_size: int | None = None
    """Bytes of the file that was made of it."""
    sent_sha256: str = ""
    task_id: str = ""
    """Of its task, once its result is fetched."""
    credits: float | None = None
    """What that cost, as far as the provider said."""
    attempts: int = 0
    """How many submissions it took."""

    @property
    def begins_at(self) -> Fraction:
        """Where it begins in the clip, in seconds."""
        return self.start / Fraction(self.fps)

    @property
    def seconds(self) -> Fraction:
        """How long it is as it is sent."""
        return self.frames / Fraction(self.fps)


@dataclass(frozen=True, slots=True)
class Error:
    """Why a job failed, for the person who can act."""

    code: str
    message: str
    what_to_do: str = ""
    retryable: bool = False
    paid: Paid = Paid.NO

    @property
    def is_of_source(self) -> bool:
        """Whether the clip itself is at fault: as it lies there, the same order would fail again."""
        return self.code.startswith("CLIP.")


@dataclass(frozen=True, slots=True)
class Task:
    """One paid task at the provider, or the intent to make one."""

    number: int
    """Counts the submissions of this job from 1."""
    profile: str
    """Base URL and key fingerprint it was made with: no other key can see it."""
    intent_at: float
    task_id: str | None = None
    created_at: float | None = None
    credits: float | None = None
    """What the provider charged or, before it ended, said it would; None when it did not say."""
    succeeded: bool = False
    evidence: dict[str, Any] = field(default_factory=dict)
    """What is known of a lost answer."""


@dataclass(frozen=True, slots=True)
class Job:
    """One request for one clip, leading to one result."""

    id: str
    clip_id: str
    inbox: str
    variant: str
    """Empty, or `_v1`, `_v2`, … for a clip with `[[variant]]` tables."""
    request: Request
    created_at: float
    state: State = State.QUEUED
    priority: int = 0
    """The request's priority and the inbox's, added."""
    due_at: float = 0.0
    """Unix seconds: nothing happens to it earlier."""
    held: Held | None = None
    reason: str = ""
    """Why it is held, or what it waits for, in words."""
    updated_at: float = 0.0
    prepared: bool = False
    approved: bool = False
    """The operator approved it despite the budget or the duplicate check."""
    cancel_by: str = ""
    """Who asked to cancel it; the stage under way finishes first."""
    attempts: int = 0
    """Faults in a row in the present state; a snooze is none."""
    doubts: int = 0
    """Submissions whose answer was lost, ever."""
    progress: float | None = None
    """0 to 1 while running, where the provider says."""
    rendering_since: float | None = None
    """When the provider was first seen at work; queued and throttled time does not count."""
    task: Task | None = None
    credits_estimated: float | None = None
    error: Error | None = None
    results: tuple[Result, ...] = ()
    missing: tuple[Missing, ...] = ()
    """Outputs of its task that were given up."""
    path: str = ""
    """The clip's path in its inbox, for people; filled in by the journal."""
    paid: Paid = Paid.NO
    """Whether money was spent for it, in any of its submissions."""
    fingerprint: str = ""
    """What the provider would be asked for, clip included, as a hash; empty until it is prepared."""
    reuse: Reuse | None = None
    """Set where an earlier result is delivered again; then nothing is submitted."""
    version: int = 1
    """From 1: how often this clip's variant was asked for under its name. It is part of results' names."""
    chosen: tuple[str, ...] = ()
    """Paths relative to the outbox under which its results also lie, as the chosen version of its clip."""

    prepared_by: str = ""
    """The attempt that prepared it, whose files are sent; empty before, and for one that 0.1 prepared."""
    node: str = ""
    """The node of a farm that led when something last happened to it; empty where there is no farm."""
    part: int = 0
    """Which part of a long clip it is, from 1; 0 for a job of a whole clip."""
    parts: tuple[Part, ...] = ()
    """The parts that a long clip was cut into; of a part's job that part alone."""

    @property
    def is_again(self) -> bool:
        """Whether an operator ordered it with `again`, for a clip that had been accepted before."""
        return not self.part and self.id != job_id(self.clip_id, self.variant)

    @property
    def is_split(self) -> bool:
        """Whether its clip was cut into parts, each with a job of its own."""
        return bool(self.parts) and not self.part

    @property
    def part_ids(self) -> list[str]:
        """The ids of its parts' jobs, in their order; none for a job that was not split."""
        return [part_id(self.id, part.number) for part in self.parts] if self.is_split else []

    @property
    def whole_id(self) -> str:
        """The id of the job that it is a part of; its own for one that is no part."""
        return self.id.removesuffix(f"-p{self.part:03}") if self.part else self.id


def newest(jobs: Iterable[Job]) -> list[Job]:
    """Return the newest version of each variant: one that failed and was run again is settled by that.

    Parts are left out: what counts is what became of the job that they belong to.
    """
    wholes = (job for job in jobs if not job.part)
    return list({job.variant: job for job in sorted(wholes, key=lambda one: one.version)}.values())


def part_id(whole_id: str, number: int) -> str:
    """Return the id of a part's job, which sorts by its number: `k3m9…-p003`."""
    return f"{whole_id}-p{number:03}"


def job_id(clip_id: str, variant: str, version: int = 1) -> str:
    """Return a job's id: its clip's, `k3m9…`, with `-v2` for the second variant.

    A job made by `again` has its version behind that: `k3m9…-v2-r3`.
    """
    return clip_id + variant.replace("_", "-") + (f"-r{version}" if version > 1 else "")
