"""What happens to a job, in the past tense: stages and operators say it, the lifecycle applies it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from clipspool.jobs.faults import Fault
from clipspool.jobs.model import Error, Held, Missing, Result, Reuse


@dataclass(frozen=True, slots=True)
class Prepared:
    """The clip was read whole and did not change meanwhile."""

    sha256: str
    size: int
    mtime_ns: int
    credits_estimated: float | None = None
    way: str = ""
    """How it reaches the provider, where not in the request itself."""
    sent_sha256: str = ""
    """Of what is sent, where that is not the clip itself."""
    sent_size: int | None = None
    changes: tuple[str, ...] = ()
    """What was changed to make it fit, in words."""
    fingerprint: str = ""
    """Equal for two jobs that ask the provider for the same."""
    alike: tuple[str, ...] = ()
    """The same for requests that name seed or ratio where this one leaves it open, or the other way round."""
    media: dict[str, Any] = field(default_factory=dict)
    """What is in the clip, where it changed after it was accepted."""


@dataclass(frozen=True, slots=True)
class DuplicateFound:
    """An earlier job delivered what this one asks for, and its result is to serve again."""

    reuse: Reuse


@dataclass(frozen=True, slots=True)
class Reused:
    """The earlier results are whole in this clip's work folder, verified."""

    results: tuple[Result, ...]
    from_job: str


@dataclass(frozen=True, slots=True)
class Changed:
    """What was prepared is not good any more, and has to be prepared again."""

    reason: str = "the clip is still being written"
    is_settled: bool = False
    """Whether the clip itself stands still: then it is prepared at once."""


@dataclass(frozen=True, slots=True)
class Postponed:
    """A stage could not go on yet, and that is nobody's fault: a clip still growing, a daemon that stops."""

    reason: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Connected:
    """A connection to the provider stands; once this is durable the bytes may leave."""

    profile: str


@dataclass(frozen=True, slots=True)
class NotSubmitted:
    """Surely no task was made: never sent, withdrawn, or clearly refused for now."""

    fault: Fault


@dataclass(frozen=True, slots=True)
class AnswerLost:
    """The request left and no clear answer came back."""

    message: str
    evidence: dict[str, Any]


@dataclass(frozen=True, slots=True)
class InDoubt:
    """The work folder tells of submissions that the journal does not know: it is a copy."""

    submissions: int
    """How many the work folder knows of."""
    profile: str


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The daemon ended while the request may have been in flight."""


@dataclass(frozen=True, slots=True)
class NotSent:
    """The daemon ended before a byte of the request left, or after it was surely refused."""


@dataclass(frozen=True, slots=True)
class TaskCreated:
    """The provider gave a task id."""

    task_id: str
    credits: float | None = None


@dataclass(frozen=True, slots=True)
class TaskSeen:
    """The task was looked at and is still open."""

    status: str
    """The provider's own word."""
    rendering: bool
    """False while it is queued or throttled there."""
    progress: float | None = None
    credits: float | None = None


@dataclass(frozen=True, slots=True)
class TaskMissing:
    """The provider says it does not know the task (yet)."""

    message: str


@dataclass(frozen=True, slots=True)
class StageFailed:
    """A stage met a fault of the moment; it is tried again after a pause."""

    code: str
    message: str
    retry_after_seconds: float | None = None
    held: Held | None = None
    """Said to the operator once it has gone on for some time."""
    trouble: Fault | None = None
    """The key was refused: that speaks for submissions too."""


@dataclass(frozen=True, slots=True)
class TaskSucceeded:
    """The provider is done."""

    credits: float | None = None
    charged: float | None = None
    """What the provider says that it cost; None where it does not say."""


@dataclass(frozen=True, slots=True)
class TaskCancelled:
    """The provider says the task was cancelled."""

    message: str
    charged: float | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The job cannot go on: a fault of the clip, the request or the render."""

    error: Error
    credits: float | None = None
    charged: float | None = None
    """What the provider says that the task cost; None where it does not say."""
    is_of_task: bool = False
    """The provider's task failed, not what we did before or after it."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What can be had of a task's outputs is whole in the work folder, verified."""

    results: tuple[Result, ...]
    warning: str = ""
    missing: tuple[Missing, ...] = ()
    """What was given up after many tries; it is named wherever the job is."""
    doubt: str = ""
    """Why a person has to look at it before it is delivered: it is far shorter or longer than was sent."""


@dataclass(frozen=True, slots=True)
class PartlyFetched:
    """Some of a task's outputs are in the work folder, and stay; the rest is tried again after a pause."""

    results: tuple[Result, ...]
    message: str
    missing: tuple[Missing, ...] = ()
    retry_after_seconds: float | None = None
    is_fault: bool = True
    """Whether it counts as a try; not where the daemon stops."""
    held: Held = Held.RESULT
    """What keeps the rest: the provider, or a disk of ours."""


@dataclass(frozen=True, slots=True)
class ResultGone:
    """A fetched result is no longer in the work folder; the provider still has it."""

    file: str
    results: tuple[Result, ...] = ()
    """The others: they are delivered already, or still there."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """All results are durable in the outbox."""

    results: tuple[Result, ...]


@dataclass(frozen=True, slots=True)
class JobHeld:
    """The scheduler set the job aside for a person, before anything was spent."""

    held: Held
    reason: str


@dataclass(frozen=True, slots=True)
class BalanceSeen:
    """The account was looked at after a doubt arose: whether it was charged is for a person to tell."""

    before: Mapping[str, Any] | None
    """The last look before the request left: `at`, `amount`, `unit`; None when there was none."""
    after: Mapping[str, Any]
    other_submissions: int
    """How many more were sent since the look before."""


@dataclass(frozen=True, slots=True)
class NotCharged:
    """The provider refused the load, and the account was not charged: the doubt has ended by itself."""

    message: str


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The operator ended it, and the provider was told where it can be."""

    by: str
    message: str = ""
    why: str = ""


TAKEN_OVER = "TAKEN_OVER"
"""Code of a job whose clip another journal took over: nothing can be done about it here."""


@dataclass(frozen=True, slots=True)
class TakenOver:
    """`recover` gave the clip to another journal: its daemon has the job, the task and every doubt now."""

    journal: str
    host: str = ""
    was_on_its_way: bool = False
    """Whether a request may have left that nobody here heard the answer of."""


@dataclass(frozen=True, slots=True)
class CancelAsked:
    """The operator wants it ended; it is once the stage under way allows."""

    by: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Retried:
    """The operator wants it run again, and consents to what that may cost."""

    by: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Attached:
    """The operator found the task of an in-doubt job."""

    by: str
    task_id: str
    profile: str
    why: str = ""
    is_seen: bool = True
    """Whether the provider knew the task when it was asked."""


@dataclass(frozen=True, slots=True)
class Approved:
    """The operator let a held job go."""

    by: str
    why: str = ""


ORDERS = (Approved, Attached, CancelAsked, Cancelled, Retried)
"""What people ordered: history keeps each, whatever it changed."""


Event = (
    Prepared
    | DuplicateFound
    | Reused
    | Changed
    | Postponed
    | Connected
    | NotSubmitted
    | AnswerLost
    | InDoubt
    | Interrupted
    | NotSent
    | TaskCreated
    | TaskSeen
    | TaskMissing
    | StageFailed
    | TaskSucceeded
    | TaskCancelled
    | Failed
    | Fetched
    | PartlyFetched
    | ResultGone
    | Delivered
    | JobHeld
    | BalanceSeen
    | NotCharged
    | Cancelled
    | TakenOver
    | CancelAsked
    | Retried
    | Attached
    | Approved
)


def name_of(event: type[Event]) -> str:
    """Name an event in logs and history: `TaskCreated` is `task_created`, `JobHeld` is `held`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", event.__name__).lower().removeprefix("job_")
