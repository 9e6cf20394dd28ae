"""What happens to a job, in the past tense: stages and operators report it, the lifecycle applies it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from clipspool.jobs.faults import Fault
from clipspool.jobs.model import Error, Held, Missing, Paid, Part, Result, Reuse


@dataclass(frozen=True, slots=True)
class Prepared:
    """The clip was read whole and did not change meanwhile."""

    sha256: str
    size: int
    mtime_ns: int
    credits_estimated: float | None = None
    way: str = ""
    """How it is sent to the provider, where not in the request itself."""
    sent_sha256: str = ""
    """Of the file that is sent, where that is not the clip itself."""
    sent_size: int | None = None
    changes: tuple[str, ...] = ()
    """What was changed to make it fit, in words."""
    fingerprint: str = ""
    """Equal for two jobs that ask the provider for the same."""
    alike: tuple[str, ...] = ()
    """Fingerprints of requests that name a seed or ratio which this one leaves open, and the reverse."""
    parts: tuple[Part, ...] = ()
    """How a clip that is too long is cut; each part is prepared and submitted by itself."""
    media: dict[str, Any] = field(default_factory=dict)
    """The clip's probe, where it changed after it was accepted."""
    version: int | None = None
    """Which version of its clip it is, where the journal knows earlier ones."""
    attempt: str = ""
    """Which attempt it was: its name is part of its files' names."""
    node: str = ""
    """The node of a farm that did it; empty for the one that leads."""


@dataclass(frozen=True, slots=True)
class DuplicateFound:
    """An earlier job delivered the same request; its result is delivered again."""

    reuse: Reuse


@dataclass(frozen=True, slots=True)
class Reused:
    """The earlier results were copied into this clip's work folder and verified."""

    results: tuple[Result, ...]
    from_job: str


@dataclass(frozen=True, slots=True)
class Changed:
    """What was prepared does not match the clip any more; it is prepared again."""

    reason: str = "the clip is still being written"
    is_settled: bool = False
    """Whether the clip itself does not change: then it is prepared at once."""


@dataclass(frozen=True, slots=True)
class Postponed:
    """A stage could not go on yet, without a fault: a clip that still grows, a daemon that stops."""

    reason: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Vetted:
    """The `before_submit` hook let it pass; it is sent when its turn comes."""

    seconds: float
    output: str = ""


@dataclass(frozen=True, slots=True)
class FellBack:
    """The provider refuses its model, and another serves instead; nothing was paid."""

    model: str
    instead_of: str
    ratio: str | None = None
    ratio_is_chosen: bool = False
    why: str = "is not offered now"
    """What is wrong with the model that was asked for; its name goes before."""


@dataclass(frozen=True, slots=True)
class Connected:
    """The connection to the provider is open; once this event is durable the request may be sent."""

    profile: str


@dataclass(frozen=True, slots=True)
class NotSubmitted:
    """No task was made, for certain: never sent, withdrawn, or clearly refused for now."""

    fault: Fault


@dataclass(frozen=True, slots=True)
class AnswerLost:
    """The request was sent, and no clear answer arrived."""

    message: str
    evidence: dict[str, Any]


@dataclass(frozen=True, slots=True)
class InDoubt:
    """The work folder, or a clip's error note, records what the journal lacks: the journal is a copy."""

    submissions: int
    """How many are recorded."""
    profile: str
    reason: str = "its work folder records a submission that the journal does not know"


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The daemon ended, or lost its lead, while the request may have been in flight."""

    node: str = ""
    """The node of a farm that lost its lead: it may only be frozen, and send the request when it goes on."""


@dataclass(frozen=True, slots=True)
class NotSent:
    """The daemon ended before a byte of the request was sent, or after it was refused for certain."""


@dataclass(frozen=True, slots=True)
class TaskCreated:
    """The provider accepted the request and returned a task id."""

    task_id: str
    credits: float | None = None


@dataclass(frozen=True, slots=True)
class TaskSeen:
    """A poll found the task still open."""

    status: str
    """The provider's own word."""
    rendering: bool
    """False while it is queued or throttled there."""
    progress: float | None = None
    credits: float | None = None


@dataclass(frozen=True, slots=True)
class TaskMissing:
    """The provider does not know the task (yet)."""

    message: str


@dataclass(frozen=True, slots=True)
class StageFailed:
    """A stage met a temporary fault; it is tried again after a pause."""

    code: str
    message: str
    retry_after_seconds: float | None = None
    held: Held | None = None
    """What keeps it, as the operator sees it."""
    trouble: Fault | None = None
    """The refusal of the key, which holds for submissions too."""


@dataclass(frozen=True, slots=True)
class TaskSucceeded:
    """The provider has finished the task."""

    credits: float | None = None
    charged: float | None = None
    """What the provider says it cost; None where it does not."""


@dataclass(frozen=True, slots=True)
class TaskCancelled:
    """The task was cancelled at the provider."""

    message: str
    charged: float | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The job cannot go on: the clip, the request or the render is at fault."""

    error: Error
    credits: float | None = None
    charged: float | None = None
    """What the provider says the task cost; None where it does not."""
    is_of_task: bool = False
    """Whether the provider's task failed, and not our own work before or after it."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A task's outputs are in the work folder, verified."""

    results: tuple[Result, ...]
    warning: str = ""
    missing: tuple[Missing, ...] = ()
    """Outputs that were given up after many tries."""
    doubt: str = ""
    """Why a person has to look before it is delivered: it is far shorter or longer than what was sent."""
    node: str = ""
    """The node of a farm that did it; empty for the one that leads."""


@dataclass(frozen=True, slots=True)
class PartlyFetched:
    """Some of a task's outputs are in the work folder; the rest is tried again after a pause."""

    results: tuple[Result, ...]
    message: str
    missing: tuple[Missing, ...] = ()
    retry_after_seconds: float | None = None
    is_fault: bool = True
    """Whether it counts as an attempt; not where the daemon stops."""
    held: Held = Held.RESULT
    """What keeps the rest: the provider, or one of our disks."""


@dataclass(frozen=True, slots=True)
class ResultGone:
    """A fetched result is no longer in the work folder; the provider still has it."""

    file: str
    results: tuple[Result, ...] = ()
    """The other results: delivered already, or still in the work folder."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """All results are durable in the outbox."""

    results: tuple[Result, ...]


@dataclass(frozen=True, slots=True)
class Split:
    """A long clip goes on in parts, each a job of its own; its ledger names them."""

    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class PartsSeen:
    """The parts of a job have come further, or one of them needs a person."""

    message: str
    progress: float
    paid: Paid
    held: Held | None = None


@dataclass(frozen=True, slots=True)
class PartsFetched:
    """The results of all parts of a job are in the work folder; they are joined next."""

    results: tuple[Result, ...]
    parts: tuple[Part, ...]
    """With the task and the credits of each."""
    paid: Paid


@dataclass(frozen=True, slots=True)
class PartGone:
    """The result of a part is no longer in the work folder: it is fetched again before parts are joined."""

    part: int
    file: str


@dataclass(frozen=True, slots=True)
class Joined:
    """The result that this part belongs to is delivered."""


@dataclass(frozen=True, slots=True)
class JobHeld:
    """The scheduler set the job aside for a person."""

    held: Held
    reason: str


@dataclass(frozen=True, slots=True)
class BalanceSeen:
    """The balance after a doubt arose: evidence for the person who decides whether it was charged."""

    before: Mapping[str, Any] | None
    """The last balance before the request was sent: `at`, `amount`, `unit`; None without one."""
    after: Mapping[str, Any]
    other_submissions: int
    """How many other requests were sent between the two."""
    other_credits: float = 0.0
    """What those are estimated to cost."""


@dataclass(frozen=True, slots=True)
class NotCharged:
    """The provider refused for load, and the balance proves that nothing was charged: the doubt is over."""

    message: str


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The operator ended it; its task was cancelled at the provider where that was possible."""

    by: str
    message: str = ""
    why: str = ""
    is_duplicate: bool | None = None
    """It was held because it asks for the same as an earlier job; None leaves it out of the history."""
    may_go_on: bool | None = None
    """The provider did not confirm that its task was cancelled; None leaves it out of the history."""


NOT_AT_PROVIDER = "CANCELLED.NOT_AT_PROVIDER"
"""Error code of a job that was cancelled while its task may go on at the provider, and be charged."""
TAKEN_OVER = "TAKEN_OVER"
"""Error code of a job whose clip another journal took over."""


@dataclass(frozen=True, slots=True)
class TakenOver:
    """`recover` gave the clip to another journal, whose daemon has the job, its task and its doubts now."""

    journal: str
    host: str = ""
    was_on_its_way: bool = False
    """Whether a request may have been sent whose answer was not received here."""


@dataclass(frozen=True, slots=True)
class CancelAsked:
    """The operator wants it ended; it ends after the stage under way."""

    by: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Retried:
    """The operator wants it run again, and consents to what that may cost."""

    by: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Again:
    """The operator wants an ended job's clip run once more, changed: this is the new job."""

    by: str
    from_job: str
    version: int
    why: str = ""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A person marked its results as the ones to use, of all versions and variants of its clip."""

    by: str
    names: tuple[str, ...]
    """Where they lie besides: paths relative to the outbox."""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Unchosen:
    """A person took that mark back, or chose another version."""

    by: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Attached:
    """The operator named the task of an in-doubt job."""

    by: str
    task_id: str
    profile: str
    why: str = ""
    is_seen: bool = True
    """Whether the provider knew the task."""


@dataclass(frozen=True, slots=True)
class Approved:
    """The operator released a held job."""

    by: str
    why: str = ""


QueueEvent = Prepared | DuplicateFound | Reused | Changed | Vetted | FellBack | Connected
SubmitEvent = NotSubmitted | AnswerLost | InDoubt | Interrupted | NotSent | TaskCreated
DoubtEvent = BalanceSeen | NotCharged
TaskEvent = TaskSeen | TaskMissing | TaskSucceeded | TaskCancelled
ResultEvent = Fetched | PartlyFetched | ResultGone | Delivered
PartsEvent = Split | PartsSeen | PartsFetched | PartGone | Joined
AnyTimeEvent = Postponed | StageFailed | JobHeld | Failed | TakenOver
Order = Again | Approved | Attached | CancelAsked | Cancelled | Chosen | Retried | Unchosen
"""What a person ordered: the history keeps each, even one that changed nothing."""
Event = QueueEvent | SubmitEvent | DoubtEvent | TaskEvent | ResultEvent | PartsEvent | AnyTimeEvent | Order


def name_of(event: type[Event]) -> str:
    """Name an event in logs and history: `TaskCreated` is `task_created`, `JobHeld` is `held`."""
    return _in_words(event.__name__)


@cache
def _in_words(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower().removeprefix("job_")
