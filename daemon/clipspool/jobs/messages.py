"""What the scheduler announces once it is durable: to the log, and to every other listener.

A listener is called in the scheduler's thread, after the commit: it must be quick and must not block.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, assert_never

import structlog

from clipspool.jobs.events import Event, name_of
from clipspool.jobs.faults import Fault
from clipspool.jobs.model import Clip, Job, State, utc
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


log = structlog.get_logger()


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


@dataclass(frozen=True, slots=True)
class PeerLost:
    """An inbox holds accepted clips of another daemon that does not run."""

    peer: Peer
    silence: str
    """When it was last seen, in words."""


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
)
Listener: TypeAlias = Callable[[News], None]


def log_line(news: News) -> None:
    """Write the log line of a piece of news; inboxes write their own."""
    match news:
        case Accepted(clip=clip):
            jobs = [job.id for job in news.jobs]
            log.info("accepted", clip=clip.path, inbox=clip.inbox, jobs=jobs, size=clip.size)
        case Happened():
            if news.is_transition:
                _log_transition(news.before, news.after, news.event)
        case Retired(clip=clip):
            log.info("retired", clip=clip.path, inbox=clip.inbox, lies_at=clip.lies_at)
            if news.change:
                log.warning("source_changed", clip=clip.path, inbox=clip.inbox, why=news.change)
        case NotRetired(clip=clip):
            log.warning("retire_failed", clip=clip.path, inbox=clip.inbox, why=news.why)
        case ProviderBlocked(fault=fault):
            write = log.warning if news.is_new else log.info
            facts = {"model": news.model} if news.model else {}
            until = utc(news.until).isoformat()
            write("provider_blocked", code=fault.code, why=fault.message, until=until, **facts)
        case ProviderUnblocked(model=model):
            log.info("provider_unblocked", **({"model": model} if model else {}))
        case DailyLimitReached(why=why):
            log.warning("daily_limit_reached", why=why)
        case InboxChanged():
            pass
        case PeerLost(peer=peer):
            log.warning(
                "foreign_work_found",
                inbox=peer.inbox,
                clips=peer.clips,
                journal=peer.journal,
                host=peer.host,
                seen_at=None if peer.seen_at is None else utc(peer.seen_at).isoformat(),
                why=f"accepted by another clipspool; {news.silence}",
                what_to_do=f"start it again, or `{peer.command}`",
            )
        case never:
            assert_never(never)


def _log_transition(before: Job, after: Job, event: Event) -> None:
    facts: dict[str, Any] = {"job": after.id, "clip": after.path, "inbox": after.inbox}
    facts |= {"from": before.state.value, "to": after.state.value}
    if after.held is not None:
        facts["held"] = after.held.value
    if after.error is not None:
        facts |= {"code": after.error.code, "why": after.error.message}
    elif after.reason:
        facts["why"] = after.reason
    is_trouble = after.state in {State.FAILED, State.IN_DOUBT} or after.held is not None
    (log.warning if is_trouble else log.info)(name_of(type(event)), **facts)
