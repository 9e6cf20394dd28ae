"""What people and scripts are shown of the journal: stable JSON, and the reason why each job waits."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from clipspool.brake import Brake
from clipspool.history import balance_in_words
from clipspool.job import Held, Job, State, utc
from clipspool.journal import Entry, Spend
from clipspool.peers import Peer, silence
from clipspool.picking import ALL, Limits
from clipspool.provenance import as_sent, length_of
from clipspool.redaction import redact, redact_value
from clipspool.trust import WHY


@dataclass(frozen=True, slots=True)
class Conditions:
    """What holds jobs back besides themselves."""

    now: float
    brake: Brake = field(default_factory=Brake)
    paused: frozenset[str] = frozenset()
    spend: Spend = field(default_factory=Spend)
    limits: Limits = field(default_factory=Limits)
    is_restored: bool = False
    """The journal is an older copy, put back."""
    pause_files: Mapping[str, str] = field(default_factory=dict)
    """What an editor put into an inbox so that nothing of it is sent, by the inbox."""

    def is_paused(self, inbox: str) -> bool:
        """Say whether nothing of an inbox is sent because an operator or an editor said so."""
        return bool(self.paused & {ALL, inbox}) or inbox in self.pause_files

    def why_paused(self, inbox: str) -> str:
        """Say which file an editor put into an inbox to pause it; empty where none lies there."""
        file = self.pause_files.get(inbox)
        return f"`{file}` lies in it: remove it, and sending goes on" if file else ""

    def _pause_in_words(self, inbox: str) -> str:
        if self.paused & {ALL, inbox}:
            return "submitting is paused; `clipspool resume` lets it go on"
        return f"`{self.pause_files[inbox]}` lies in the inbox: remove it, and sending goes on"

    def why_waiting(self, job: Job) -> tuple[str | None, str]:
        """Give what a job is held by, and the reason in words; (None, …) when nothing holds it."""
        if job.held is not None:
            return job.held.value, job.reason
        if not job.state.is_terminal and not self.limits.serves(job.inbox):
            return "inbox", f"the inbox {job.inbox} is not in the configuration: put it back under that name"
        if job.state is not State.QUEUED:
            return None, job.reason
        if self.is_restored:
            return "restored", WHY
        if self.is_paused(job.inbox):
            return "paused", self._pause_in_words(job.inbox)
        if job.due_at > self.now:
            return _why_later(job, self.now)
        if not job.approved and (why := self.limits.day_is_spent(self.spend, job.credits_estimated or 0.0)):
            return Held.BUDGET.value, f"{why}; it goes on tomorrow (UTC), or after `clipspool approve`"
        if self.brake.fault is not None:
            return "provider", f"{self.brake.fault.message}; tried again {iso(self.brake.until)}"
        of_model = self.brake.models.get(job.request.model)
        if of_model is not None and of_model.fault is not None:
            why = f"{of_model.fault.message} {of_model.fault.what_to_do}".strip()
            return "model", f"{why} Tried again {iso(of_model.until)}"
        return None, job.reason or "waits for its turn"


def _why_later(job: Job, now: float) -> tuple[str, str]:
    """Tell a time that somebody wants from the pause between two tries."""
    if (job.request.not_before or 0.0) > now or not (job.attempts or job.reason):
        return "not_before", f"not before {iso(job.due_at)}"
    return "retry", f"{job.reason or 'its last try failed'}; tried again {iso(job.due_at)}"


def iso(seconds: float) -> str:
    """Spell a time as ISO 8601 in UTC, to the second."""
    return utc(seconds).strftime("%Y-%m-%dT%H:%M:%SZ")


def text(name: str) -> str:
    """Spell a name in UTF-8; bytes that are not are shown escaped."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def job_json(job: Job, conditions: Conditions) -> dict[str, Any]:
    """Give a job in the stable form of `jobs --json` and `show --json`."""
    held, reason = conditions.why_waiting(job)
    error = None
    if job.error is not None:
        error = {
            "code": job.error.code,
            "message": redact(job.error.message),
            "what_to_do": redact(job.error.what_to_do),
            "retryable": job.error.retryable,
        }
    return {
        "id": job.id,
        "inbox": job.inbox,
        "clip": text(job.path),
        "variant": job.variant.lstrip("_"),
        "state": job.state.value,
        "held": held,
        "reason": redact(reason),
        "task_id": job.task.task_id if job.task else None,
        "maybe_task_ids": maybe_task_ids(job),
        "attempts": job.task.number if job.task else 0,
        "progress": job.progress,
        "rendering_since": None if job.rendering_since is None else iso(job.rendering_since),
        "request": as_sent(job.request),
        "credits_estimated": job.credits_estimated,
        "credits": job.task.credits if job.task else None,
        "paid": job.paid.value,
        "reused_from": job.reuse.job_id if job.reuse else None,
        "created_at": iso(job.created_at),
        "updated_at": iso(job.updated_at),
        "results": [
            {"name": text(r.name), "size": r.size, "sha256": r.sha256, **length_of(r)}
            for r in job.results
            if r.name
        ],
        "missing": [{"output": one.number, "why": redact(one.why)} for one in job.missing],
        "error": error,
    }


def entry_json(entry: Entry) -> dict[str, Any]:
    """Give one line of history."""
    return {
        "at": iso(entry.at),
        "event": entry.event,
        "from": entry.from_state,
        "to": entry.to_state,
        "facts": redact_value(entry.facts),
    }


def maybe_task_ids(job: Job) -> list[str]:
    """Give the ids in an unclear answer that may be the job's task, the likeliest first."""
    found = job.task.evidence.get("maybe_task_ids") if job.task and not job.task.task_id else None
    return [str(one) for one in found] if isinstance(found, list) else []


def evidence_lines(submitted_at: str | None, evidence: Mapping[str, Any], job_id: str) -> list[str]:
    """Say in sentences what is known of a lost answer; none where no answer was lost."""
    if not evidence:
        return []
    evidence = redact_value(evidence)
    lines = [f"the request left at {evidence.get('sent_at') or submitted_at}"]
    if "bytes_written" in evidence:
        lines.append(f"{evidence['bytes_written']} of {evidence.get('bytes_total', '?')} bytes left")
    came = [f"HTTP {evidence['http_status']}"] if "http_status" in evidence else []
    came += [str(evidence[name]) for name in ("error", "answer") if evidence.get(name)]
    lines.append("what came back: " + ("; ".join(came) or str(evidence.get("message") or "nothing")))
    lines += [
        f"this answer holds the id {one}: `clipspool attach {job_id} {shlex.quote(one)}`"
        for one in evidence.get("maybe_task_ids", ())
    ]
    before, after = evidence.get("balance_before"), evidence.get("balance_after")
    if before:
        lines.append(f"the account had {_amount(before)} before")
    if after:
        others = evidence.get("other_submissions", 0)
        beside = f"; {others} other submissions were made since" if others else ""
        lines.append(f"and {_amount(after)} after{beside}" if before else f"the account had {_amount(after)}")
    return lines


def _amount(look: Mapping[str, Any]) -> str:
    return f"{balance_in_words(look)} ({look['at']})"


@dataclass(frozen=True, slots=True)
class InboxView:
    """One inbox as it is now."""

    name: str
    state: str
    """`watching`, `offline`, `starting`, `paused`, or `unwatched` when no daemon runs."""
    detect: str
    reason: str = ""
    waiting: Sequence[Mapping[str, Any]] = ()
    waiting_count: int | None = None
    """How many wait, where `waiting` holds only the first of them."""
    peers: Sequence[Peer] = ()
    """Other daemons that take clips from it, or took some and are gone."""


def _peer_json(peer: Peer, now: float) -> dict[str, Any]:
    return {
        "journal": peer.journal,
        "host": text(peer.host),
        "life": peer.life.value,
        "clips": peer.clips,
        "seen_at": None if peer.seen_at is None else iso(peer.seen_at),
        "reason": "" if peer.is_living else silence(peer, now),
        "command": peer.command if peer.clips and not peer.is_living else "",
    }


def status_json(
    counts: Mapping[State, int],
    conditions: Conditions,
    inboxes: Sequence[InboxView],
    daemon: Mapping[str, Any],
    lanes: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Give what `status --json` prints; `lanes` as the running daemon's workers tell."""
    brake = conditions.brake
    return {
        "daemon": dict(daemon),
        "provider": {
            "blocked": brake.fault is not None,
            "reason": redact(f"{brake.fault.message} {brake.fault.what_to_do}".strip())
            if brake.fault
            else "",
            "until": iso(brake.until) if brake.fault else None,
            "models": [
                {"model": model, "reason": redact(one.fault.message), "until": iso(one.until)}
                for model, one in sorted(brake.models.items())
                if one.fault
            ],
        },
        "journal": {
            "restored": conditions.is_restored,
            "reason": WHY if conditions.is_restored else "",
        },
        "inboxes": [
            {
                "name": view.name,
                # Offline goes first: `resume INBOX` takes a folder as it is, also an empty mount point.
                "state": "paused"
                if conditions.is_paused(view.name) and view.state != "offline"
                else view.state,
                "detect": view.detect,
                "reason": view.reason or conditions.why_paused(view.name),
                "waiting": [{**w, "reason": redact(w["reason"])} for w in view.waiting],
                "waiting_count": len(view.waiting) if view.waiting_count is None else view.waiting_count,
                "peers": [_peer_json(peer, conditions.now) for peer in view.peers],
            }
            for view in inboxes
        ],
        "jobs": {state.value: counts.get(state, 0) for state in State},
        "spend": {
            "day": utc(conditions.now).strftime("%Y-%m-%d"),
            "credits": conditions.spend.credits,
            "submissions": conditions.spend.submissions,
            "credits_per_day": conditions.limits.credits_per_day,
            "submissions_per_day": conditions.limits.submissions_per_day,
        },
        "lanes": [dict(lane) for lane in lanes],
    }
