"""Decides which news become notifications, and words them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from clipspool.jobs.conditions import WHY
from clipspool.jobs.events import Again, Connected, Event, StageFailed
from clipspool.jobs.faults import Fault, FaultOf
from clipspool.jobs.messages import (
    Accepted,
    DailyLimitReached,
    Happened,
    InboxChanged,
    JournalRestored,
    News,
    PeerLost,
    ProviderBlocked,
    ProviderUnblocked,
    Retired,
)
from clipspool.jobs.model import STILL_TRIED, Held, Job, State
from clipspool.jobs.nouns import replace
from clipspool.jobs.text import text
from clipspool.reporting.notify.topics import Topic

MOMENT_SECONDS = 600.0
"""A temporary fault of the provider is notified once it has lasted this long."""
QUIET_SECONDS = 10.0
"""A batch is finished when no job of its inbox has changed or come for this long."""
HELD_ATTEMPTS = 3
"""A failing stage is notified at this many faults in a row: most are over before."""
STUCK_ATTEMPTS = 10
"""A step before the request, such as an upload or a hook, at this many: some eight minutes."""


@dataclass(frozen=True, slots=True)
class Note:
    """One notification."""

    topic: Topic
    at: float
    """Unix seconds."""
    text: str
    """One line for people."""
    inbox: str = ""
    """Empty where it concerns all inboxes."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """The same for programs: JSON values, stable names."""


@dataclass(slots=True)
class JobCounts:
    """Counts an inbox's open jobs, and those that ended since it last had none."""

    moving: int = 0
    """Jobs that continue automatically."""
    stuck: int = 0
    """Jobs that wait for the operator."""
    ended: Counter[State] = field(default_factory=Counter)
    still_since: float | None = None


class Reporter:
    """Turns news into notes. It has no clock: call `tick` about once a second."""

    def __init__(self, counts_by_inbox: Mapping[str, tuple[int, int]] | None = None) -> None:
        """`counts_by_inbox`: of each inbox, the open jobs that continue automatically and those that wait."""
        self._counts: defaultdict[str, JobCounts] = defaultdict(JobCounts)
        for inbox, (moving, stuck) in (counts_by_inbox or {}).items():
            self._counts[inbox] = JobCounts(moving, stuck)
        self._offline: set[str] = set()
        self._notified_disks: set[tuple[str, Held]] = set()
        self._notified_steps: set[tuple[str, str]] = set()
        """Inbox, and code of what keeps its clips from being sent."""
        self._blocked_since: float | None = None
        self._fault: Fault | None = None
        self._notified: dict[str, str] = {}
        """The code that was notified, by model; empty where all clips wait, not those of one model."""

    def notes_for(self, news: News, now: float) -> list[Note]:
        """Return the notes for a piece of news, mostly none."""
        match news:
            case Happened(before=before, after=after, event=event):
                self._count(None if isinstance(event, Again) else before, after, now)
                return list(_of_job(news, now)) if self._is_first(before, after, event) else []
            case Accepted(jobs=jobs):
                for job in jobs:
                    self._count(None, job, now)
                return [_job_note(Topic.IN_DOUBT, job, now) for job in jobs if job.state is State.IN_DOUBT]
            case ProviderBlocked(fault=fault, model=model):
                return self._blocked(fault, model, now)
            case ProviderUnblocked(model=model):
                return self._unblocked(model, now)
            case DailyLimitReached():
                return [_limit_note(news, now)]
            case InboxChanged():
                return self._changed(news, now)
            case Retired(clip=clip, change=change) if change:
                name = text(clip.path)
                facts = {"clip": name, "why": change}
                return [Note(Topic.SOURCE_CHANGED, now, f"{name}: {change}", clip.inbox, facts)]
            case PeerLost():
                return [_peer_note(news, now)]
            case JournalRestored():
                facts = {"code": "JOURNAL.RESTORED", "why": WHY}
                return [Note(Topic.PROVIDER_BLOCKED, now, f"clips are not submitted: {WHY}", facts=facts)]
            case _:
                return []

    def _is_first(self, before: Job, after: Job, event: Event) -> bool:
        """Whether trouble of a folder, upload or hook is new: it is notified once, not for each clip."""
        if isinstance(event, Connected):
            self._notified_steps = {one for one in self._notified_steps if one[0] != after.inbox}
        if isinstance(event, StageFailed) and _is_stuck(after):
            is_first = (after.inbox, event.code) not in self._notified_steps
            self._notified_steps.add((after.inbox, event.code))
            return is_first
        if before.held in STILL_TRIED and after.held is None:
            self._notified_disks.discard((after.inbox, before.held))
        if after.held not in STILL_TRIED or after.attempts != HELD_ATTEMPTS:
            return True
        is_first = (after.inbox, after.held) not in self._notified_disks
        self._notified_disks.add((after.inbox, after.held))
        return is_first

    def tick(self, now: float) -> list[Note]:
        """Return the notes that are due at `now`."""
        notes: list[Note] = []
        fault, since = self._fault, self._blocked_since
        is_due = since is not None and now - since >= MOMENT_SECONDS
        if fault is not None and is_due and "" not in self._notified:
            self._notified[""] = fault.code
            notes.append(_blocked_note(fault, now))
        for inbox, counts in self._counts.items():
            if counts.still_since is not None and now - counts.still_since >= QUIET_SECONDS:
                notes.append(_batch_note(inbox, counts, now))
                counts.still_since = None
                counts.ended.clear()
        return notes

    def finish(self, now: float) -> list[Note]:
        """Return the notes that wait for a quiet time, because the daemon stops."""
        stills = [counts for counts in self._counts.values() if counts.still_since is not None]
        for counts in stills:
            counts.still_since = now - QUIET_SECONDS
        return self.tick(now)

    def _count(self, before: Job | None, after: Job, now: float) -> None:
        if after.part:
            return  # counted with the job that it is a part of
        counts = self._counts[after.inbox]
        was_moving, was_stuck = _standing(before)
        is_moving, is_stuck = _standing(after)
        counts.moving = max(counts.moving + is_moving - was_moving, 0)
        counts.stuck = max(counts.stuck + is_stuck - was_stuck, 0)
        has_ended = before is not None and before.state.is_terminal
        if after.state.is_terminal and not has_ended:
            counts.ended[after.state] += 1
        elif before is not None and has_ended and not after.state.is_terminal:
            counts.ended[before.state] = max(counts.ended[before.state] - 1, 0)
        if counts.moving or not counts.ended.total():
            counts.still_since = None
        elif counts.still_since is None and (was_moving or was_stuck):
            counts.still_since = now

    def _blocked(self, fault: Fault, model: str, now: float) -> list[Note]:
        if not model:
            self._fault = fault
            if self._blocked_since is None:
                self._blocked_since = now
            if fault.of is not FaultOf.ACCOUNT:
                return []  # it may pass within moments
        if self._notified.get(model) == fault.code:
            return []
        self._notified[model] = fault.code
        return [_blocked_note(fault, now, model)]

    def _unblocked(self, model: str, now: float) -> list[Note]:
        if not model:
            self._fault = self._blocked_since = None
        code = self._notified.pop(model, "")
        words = f"the provider accepts clips{f' for {model}' if model else ''} again"
        facts = {"code": code, "model": model} if model else {"code": code}
        return [Note(Topic.PROVIDER_BACK, now, words, facts=facts)] if code else []

    def _changed(self, news: InboxChanged, now: float) -> list[Note]:
        name = news.name
        if news.state == "offline" and name not in self._offline:
            self._offline.add(name)
            reason = text(news.reason)
            words = f"inbox {name} is offline: {reason}; clips are neither accepted nor delivered there"
            return [Note(Topic.INBOX_OFFLINE, now, words, name, {"inbox": name, "reason": reason})]
        if news.state == "watching" and name in self._offline:
            self._offline.discard(name)
            return [Note(Topic.INBOX_BACK, now, f"inbox {name} is online again", name, {"inbox": name})]
        return []


def _standing(job: Job | None) -> tuple[int, int]:
    """Return 1 or 0 each: whether a job continues automatically, whether it waits for the operator."""
    if job is None or job.state.is_terminal:
        return 0, 0
    is_stuck = job.held is not None or job.state is State.IN_DOUBT
    return int(not is_stuck), int(is_stuck)


def _is_stuck(job: Job) -> bool:
    return job.state is State.QUEUED and job.held is None and job.attempts == STUCK_ATTEMPTS


def _of_job(news: Happened, now: float) -> Iterator[Note]:
    before, after = news.before, news.after
    if after.state is not before.state and after.state is State.FAILED:
        yield _job_note(Topic.FAILED, after, now)
    elif after.state is not before.state and after.state is State.IN_DOUBT:
        yield _job_note(Topic.IN_DOUBT, after, now)
    elif after.state is not before.state and after.state is State.DELIVERED:
        if after.missing or any(one.noticed for one in after.results):
            yield _incomplete_note(after, now)
    elif isinstance(news.event, StageFailed) and _is_stuck(after):
        yield _job_note(Topic.HELD, after, now)
    elif after.held in {None, Held.IN_DOUBT, Held.PARTS}:
        return  # of a part that waits there is a note of its own
    elif isinstance(news.event, StageFailed):
        if after.attempts == HELD_ATTEMPTS:
            yield _job_note(Topic.HELD, after, now)
    elif after.held is not before.held:
        yield _job_note(Topic.BUDGET if after.held is Held.BUDGET else Topic.HELD, after, now)


_WORDS = {
    Topic.FAILED: "failed",
    Topic.IN_DOUBT: "is in doubt and may have been charged",
    Topic.BUDGET: "waits for approval",
    Topic.HELD: "waits for the operator",
}


def _job_note(topic: Topic, job: Job, now: float) -> Note:
    clip, error = text(job.path), job.error if topic is Topic.FAILED else None
    if job.part:
        clip = f"{clip} (part {job.part} of {job.parts[0].of})"
    why = error.message if error is not None else job.reason
    todo = error.what_to_do if error is not None else _what_to_do(topic, job)
    held = None if job.held is None else job.held.value
    facts = {**_facts(job, why, todo), "part": job.part or None, "held": held}
    if error is not None:
        facts |= {"code": error.code, "retryable": error.retryable}
    words = f"{clip} in {job.inbox} {_WORDS[topic]}" + (f": {why}" if why else "")
    return Note(topic, now, f"{words.rstrip('.')}. {todo}".strip(), job.inbox, facts)


def _limit_note(news: DailyLimitReached, now: float) -> Note:
    if news.job is not None:
        return _job_note(Topic.BUDGET, replace(news.job, reason=news.why), now)
    words = f"{news.why}; queued jobs continue tomorrow (UTC), or after `clipspool approve`"
    return Note(Topic.BUDGET, now, words, facts={"why": news.why})


def _incomplete_note(job: Job, now: float) -> Note:
    noticed = [said for one in job.results for said in one.noticed]
    why = "; ".join([*(one.in_words() for one in job.missing), *noticed])
    todo = f"See `clipspool show {job.id}`."
    missing = [{"output": one.number, "why": one.why} for one in job.missing]
    facts = {**_facts(job, why, todo), "missing": missing}
    words = f"{text(job.path)} in {job.inbox} was delivered, but {why.rstrip('.')}. {todo}"
    return Note(Topic.INCOMPLETE, now, words, job.inbox, facts)


def _facts(job: Job, why: str, todo: str) -> dict[str, Any]:
    return {
        "job": job.id,
        "clip": text(job.path),
        "inbox": job.inbox,
        "state": job.state.value,
        "why": why,
        "what_to_do": todo,
        "paid": job.paid.value,
    }


def _what_to_do(topic: Topic, job: Job) -> str:
    match topic, job.held:
        case Topic.IN_DOUBT, _:
            todo = "look for the task at the provider, then attach, retry or cancel it"
            return f"See `clipspool show {job.id}`, {todo}."
        case Topic.BUDGET, _:
            return f"`clipspool approve {job.id}` or `clipspool cancel {job.id}`."
        case Topic.HELD, None:
            return f"It is tried again by itself; see `clipspool show {job.id}`."
        case _, Held.OUTBOX | Held.DISK:
            return "Free space there, or let clipspool write there; it then continues automatically."
        case _, Held.RESULT if job.state is State.FETCHED:
            return f"`clipspool approve {job.id}` delivers it, `clipspool retry {job.id}` pays for another."
        case _, Held.DUPLICATE | Held.POISON | Held.REFUSED | Held.VETO | Held.FROM_BACKUP:
            return f"`clipspool approve {job.id}` or `clipspool cancel {job.id}`."
        case _:
            return f"See `clipspool show {job.id}`."


def _blocked_note(fault: Fault, now: float, model: str = "") -> Note:
    what = f"clips for {model} are not submitted" if model else "clips are not submitted"
    words = f"{what}: {fault.message.rstrip('.')} ({fault.code}). {fault.what_to_do}".strip()
    facts = {"code": fault.code, "why": fault.message, "what_to_do": fault.what_to_do, "of": fault.of.value}
    facts |= {"model": model} if model else {}
    return Note(Topic.PROVIDER_BLOCKED, now, words, facts=facts)


def _peer_note(news: PeerLost, now: float) -> Note:
    peer = news.peer
    clips, wait, them = f"{peer.clips:,} accepted clips", "wait", "them"
    if peer.clips == 1:
        clips, wait, them = "1 accepted clip", "waits", "it"
    todo = f"Start it again, or take {them} over: `{peer.command}`."
    words = f"{clips} of {peer.name} in {peer.inbox} {wait}: {news.silence}. {todo}"
    facts: dict[str, Any] = {
        "inbox": peer.inbox,
        "journal": peer.journal,
        "host": text(peer.host),
        "clips": peer.clips,
        "why": news.silence,
        "what_to_do": todo,
    }
    return Note(Topic.PEER_LOST, now, words, peer.inbox, facts)


def _batch_note(inbox: str, counts: JobCounts, now: float) -> Note:
    numbers = {state.value: counts.ended[state] for state in (State.DELIVERED, State.FAILED, State.CANCELLED)}
    said = [f"{count} {state}" for state, count in numbers.items() if count]
    if counts.stuck:
        said.append(f"{counts.stuck} waiting for the operator")
    words = f"all jobs in {inbox} are finished: {', '.join(said)}"
    return Note(Topic.BATCH_FINISHED, now, words, inbox, {"inbox": inbox, **numbers, "waiting": counts.stuck})
