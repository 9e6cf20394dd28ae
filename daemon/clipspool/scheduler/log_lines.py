"""Writes the log line of each message that the scheduler publishes."""

from __future__ import annotations

from typing import Any, assert_never

import structlog

from clipspool.jobs.events import Event, name_of
from clipspool.jobs.messages import (
    Accepted,
    DailyLimitReached,
    Happened,
    InboxChanged,
    JournalRestored,
    News,
    NotRetired,
    PeerLost,
    ProviderBlocked,
    ProviderUnblocked,
    Retired,
)
from clipspool.jobs.model import Job, State
from clipspool.jobs.text import utc

log = structlog.get_logger()


def log_line(news: News) -> None:
    """Write the log line of a piece of news; inboxes and the guard of the journal write their own."""
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
            model = {"model": news.model} if news.model else {}
            until = utc(news.until).isoformat()
            write("provider_blocked", code=fault.code, why=fault.message, until=until, **model)
        case ProviderUnblocked(model=model):
            log.info("provider_unblocked", **({"model": model} if model else {}))
        case DailyLimitReached(why=why, job=job):
            log.warning("daily_limit_reached", why=why, **({"job": job.id} if job else {}))
        case InboxChanged() | JournalRestored():
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
