"""The nouns: a clip, the jobs it asks for, their tasks and results, and the states of a job."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal, Self

# Nouns too, in a module of their own; whoever knows jobs finds them here.
from clipspool.jobs.outputs import Missing as Missing  # noqa: PLC0414
from clipspool.jobs.outputs import Result as Result  # noqa: PLC0414
from clipspool.jobs.outputs import Reuse as Reuse  # noqa: PLC0414

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32, so that no two letters look alike
_EPOCH = 1_735_689_600  # 2025-01-01: keeps the time part of an id at six letters until 2059


def new_id(now: float) -> str:
    """Make a clip's id: six letters that sort by second, then six at random."""
    number = int(max(now - _EPOCH, 0)) % (1 << 30) << 30 | secrets.randbits(30)
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(55, -5, -5))


_DATED = (datetime(2, 1, 1, tzinfo=UTC).timestamp(), datetime(9999, 1, 1, tzinfo=UTC).timestamp())


def has_date(seconds: float) -> bool:
    """Tell whether Unix seconds have a date in every zone: calendars end with the years 1 and 9999."""
    return _DATED[0] <= seconds < _DATED[1]


def utc(seconds: float) -> datetime:
    """Turn Unix seconds into an aware time in UTC, whole milliseconds."""
    return datetime.fromtimestamp(round(seconds, 3), UTC)


def plain(noun: Any) -> dict[str, Any]:
    """Give a noun or an event as JSON holds it; `dataclasses.asdict` copies deeply, five times the cost."""
    return {name: _plain(getattr(noun, name)) for name in noun.__dataclass_fields__}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return plain(value) if hasattr(value, "__dataclass_fields__") else value


class State(StrEnum):
    """Where a job stands; PRODUCT's table says the same in the user's words."""

    QUEUED = "queued"
    """Accepted; nothing sent, nothing spent. The scheduler moves it on; a crash changes nothing."""
    SUBMITTING = "submitting"
    """The intent is on disk; the request may be in flight. A crash here leads to `in_doubt`."""
    IN_DOUBT = "in_doubt"
    """The request left and no answer came. Only the operator moves it on."""
    RUNNING = "running"
    """The provider gave a task id. Followed until it ends, across restarts."""
    RENDERED = "rendered"
    """The provider is done; the result waits there for a day or two."""
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
        """Whether nothing moves a job on from here but the operator."""
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
    """The provider knows nothing of the task any more; still asked, slowly."""
    RESULT = "result"
    """What the provider serves is no video, and still tried; or it is here, and far shorter or longer."""
    POISON = "poison"
    """It ended clipspool's own process three times: approve or cancel."""
    REFUSED = "refused"
    """The provider refuses this one in words about everybody, and takes others: approve tries it again."""
    OUTBOX = "outbox"
    """The outbox takes nothing: full, read-only or gone; still tried."""
    DISK = "disk"
    """The inbox's disk takes nothing, or cannot be read; still tried."""


class Paid(StrEnum):
    """Whether money was spent for a job, as far as can be known."""

    NO = "no"
    YES = "yes"
    UNKNOWN = "unknown"


STILL_TRIED = frozenset({Held.OUTBOX, Held.DISK})
"""What ends by itself: a job that is held so is still tried, in the queue too."""
LongClips = Literal["refuse", "trim"]
"""What happens with a clip that is longer than its model takes."""
Duplicates = Literal["hold", "run", "reuse"]
"""What happens with a clip that asks for what was asked for already."""
Finish = Literal["as_is", "timeline"]
"""Whether a result is delivered as the provider made it, or made to lie where its source lay."""
FinishSize = Literal["result", "source"]
"""Whose dimensions a result has that is made ready for the timeline."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference image: an https address, or a file copied into the work folder at acceptance."""

    uri: str = ""
    """The address, or empty where `file` is set."""
    name: str = ""
    """The path inside the inbox as the sidecar gave it."""
    file: str = ""
    """The copy's path inside the clip's work folder."""

    def to_dict(self) -> dict[str, str]:
        """Give the fields that are set."""
        return {k: v for k, v in (("uri", self.uri), ("name", self.name), ("file", self.file)) if v}


@dataclass(frozen=True, slots=True)
class Request:
    """The effective request of one job, frozen at acceptance."""

    prompt: str
    model: str
    seed: int
    ratio: str | None = None
    references: tuple[Reference, ...] = ()
    content_moderation: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)
    priority: int = 0
    not_before: float | None = None
    """Unix seconds: sent no earlier."""
    long_clips: LongClips = "refuse"
    start_seconds: float = 0.0
    """Where the part begins that is sent of a clip cut to length."""
    finish: Finish = "as_is"
    finish_size: FinishSize = "result"
    keep_untouched: bool = False
    """With `finish = "timeline"`: the provider's own file is delivered too."""
    seed_is_drawn: bool = False
    """Whether nobody asked for this seed: then any other serves as well."""
    ratio_is_chosen: bool = False
    """Whether nobody asked for this ratio: it is the model's nearest to the clip's shape."""
    again: bool = False
    """The editor says that the same request once more is meant, and paid for."""
    was_put_back: bool = False
    """It failed before, and somebody moved it from `_failed` back into the inbox."""

    def to_dict(self) -> dict[str, Any]:
        """Give a form that JSON and TOML hold, without what is not set."""
        body: dict[str, Any] = {"prompt": self.prompt, "model": self.model, "seed": self.seed}
        if self.ratio is not None:
            body["ratio"] = self.ratio
        if self.references:
            body["references"] = [r.to_dict() for r in self.references]
        set_ = ("content_moderation", "extra", "priority")
        body |= {name: value for name in set_ if (value := getattr(self, name))}
        if self.not_before is not None:
            body["not_before"] = self.not_before
        marks = ("seed_is_drawn", "ratio_is_chosen", "again", "was_put_back")
        body |= {name: True for name in marks if getattr(self, name)}
        return {**body, **self.media_keys()}

    def media_keys(self) -> dict[str, Any]:
        """Give what is asked for about the pictures themselves, as a sidecar spells it; defaults left out."""
        keys = {
            "long_clips": (self.long_clips, "refuse"),
            "start_seconds": (self.start_seconds, 0.0),
            "finish": (self.finish, "as_is"),
            "finish_size": (self.finish_size, "result"),
            "keep_untouched": (self.keep_untouched, False),
        }
        return {key: value for key, (value, usual) in keys.items() if value != usual}

    @classmethod
    def from_dict(cls, body: dict[str, Any]) -> Self:
        """Read what `to_dict` gave."""
        references = tuple(Reference(**r) for r in body.get("references", ()))
        return cls(**{**body, "references": references})


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip that was accepted: whole in its work folder until it retires."""

    id: str
    inbox: str
    path: str
    """Where it lay, relative to the inbox; names that are not UTF-8 carry surrogate escapes."""
    sidecar: str | None
    """Its sidecar's path relative to the inbox; None when the folder's defaults served."""
    source: str
    """Its name inside the work folder (the last part of `path`)."""
    size: int
    mtime_ns: int
    accepted_at: float
    sha256: str | None = None
    """Lower-case hex; None until the prepare stage has read it."""
    media: dict[str, Any] = field(default_factory=dict)
    """What the probe saw at intake."""
    lies_at: str | None = None
    """Where its source lies, relative to the inbox, once it retired; None while it is in its work folder."""
    sidecar_lies_at: str | None = None
    retired_at: float | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """Something about a clip or its sidecar that its editor can mend; it becomes a line of the note."""

    message: str
    """What is wrong and what would be right, in plain words."""
    key: str = ""
    """The sidecar's key, dotted, where it is about one."""
    line: int | None = None
    """Counted from 1, where known."""
    file: str = ""
    """The file that has to be mended, relative to the inbox; empty for the clip itself."""
    text: str = ""
    """That line as it was written, shortened."""
    right: str = ""
    """What to write in its place, a line or more."""


@dataclass(frozen=True, slots=True)
class Error:
    """Why a job failed, for the person who can act."""

    code: str
    message: str
    what_to_do: str = ""
    retryable: bool = False
    paid: Paid = Paid.NO


@dataclass(frozen=True, slots=True)
class Task:
    """One paid task at the provider, or the intent to make one."""

    number: int
    """Counts the submissions of this job from 1."""
    profile: str
    """Base URL and key fingerprint that made it: nobody else can see it."""
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
    """The operator let it pass the budget or the duplicate check."""
    cancel_by: str = ""
    """Who asked for its end; the stage under way finishes first."""
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
    """Outputs of its task that could not be had, once they are given up."""
    path: str = ""
    """The clip's path in its inbox, for people; filled in by the journal."""
    paid: Paid = Paid.NO
    """Whether money was spent for it, in any of its submissions."""
    fingerprint: str = ""
    """What the provider would be asked for, clip included, as a hash; empty until it is prepared."""
    reuse: Reuse | None = None
    """Set where an earlier result serves; then nothing is submitted."""


def job_id(clip_id: str, variant: str) -> str:
    """Name a job after its clip: `k3m9…` alone, `k3m9…-v2` for its second variant."""
    return clip_id + variant.replace("_", "-")
