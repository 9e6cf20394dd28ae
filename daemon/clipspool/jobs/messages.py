"""What the scheduler announces once it is durable: to the log, and to every other listener.

A listener is called in the scheduler's thread, after the commit: it must be quick and must not block.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from clipspool.jobs.events import Event
from clipspool.jobs.faults import Fault
from clipspool.jobs.model import Clip, Job
from clipspool.jobs.records import Peer

InboxState = Literal["starting", "watching", "offline"]


@dataclass(frozen=True, slots=True)
class Accepted:
    """A clip is in its work folder, whole and durable; these are its jobs."""

    clip: Clip
    jobs: tuple[Job, ...]


@dataclass(frozen=True, slots=True)
class InboxChanged:
    """An inbox came online, went offline, or is watched in another way."""

    name: str
    state: InboxState
    reason: str
    """Why it is offline, else empty."""
    detect: Literal["events", "rescan"]


@dataclass(frozen=True, slots=True)
class Happened:
    """An event was recorded for a job."""

    before: Job
    after: Job
    event: Event

    @property
    def is_transition(self) -> bool:
        """Whether the job's state, hold or reason changed."""
        before, after = self.before, self.after
        return (before.state, before.held, before.reason) != (after.state, after.held, after.reason)


@dataclass(frozen=True, slots=True)
class Retired:
    """All jobs of a clip ended, and its source was moved out of the work folder."""

    clip: Clip
    change: str = ""
    """How the source differs from what was sent, where it does."""


@dataclass(frozen=True, slots=True)
class NotRetired:
    """A clip's source could not be moved yet; it is tried again."""

    clip: Clip
    why: str


@dataclass(frozen=True, slots=True)
class ProviderBlocked:
    """Nothing is submitted until a time (Unix seconds): the provider or the account is in the way."""

    fault: Fault
    until: float
    is_new: bool
    """False where the same fault goes on."""
    model: str = ""
    """The model whose clips wait, where others go on; empty where all wait."""


@dataclass(frozen=True, slots=True)
class ProviderUnblocked:
    """Submissions go on."""

    model: str = ""


@dataclass(frozen=True, slots=True)
class DailyLimitReached:
    """A daily limit holds jobs back for the first time today; they continue tomorrow (UTC)."""

    why: str
    job: Job | None = None
    """One that is dearer than any day allows, and continues only by an approval; None where others wait."""


@dataclass(frozen=True, slots=True)
class PeerLost:
    """An inbox holds accepted clips of another daemon that does not run."""

    peer: Peer
    silence: str
    """When it was last seen, in words."""


@dataclass(frozen=True, slots=True)
class JournalRestored:
    """An older copy of the journal was put back: nothing is submitted before a person accepts it."""


News: TypeAlias = (
    Accepted
    | Happened
    | Retired
    | NotRetired
    | ProviderBlocked
    | ProviderUnblocked
    | DailyLimitReached
    | InboxChanged
    | PeerLost
    | JournalRestored
)
Listener: TypeAlias = Callable[[News], None]
