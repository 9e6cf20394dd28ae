"""Builds the stable JSON of jobs and status for people and scripts, with the reason why each job waits."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from clipspool.jobs.account import Account
from clipspool.jobs.conditions import WHY, Conditions
from clipspool.jobs.model import Clip, Job, State
from clipspool.jobs.records import HistoryEntry, Peer
from clipspool.jobs.shares import shown
from clipspool.jobs.splitting import credits_of
from clipspool.jobs.text import iso, sentences, text, utc
from clipspool.reporting.history import balance_in_words
from clipspool.spool.peers import silence
from clipspool.stages.provenance import as_sent, length_of
from clipspool.system.redaction import redact, redact_value


def job_json(job: Job, conditions: Conditions, parts: Sequence[Job] = ()) -> dict[str, Any]:
    """Return a job in the stable form of `jobs --json` and `show --json`, with the jobs of its parts."""
    held, reason = conditions.why_waiting(job)
    working = conditions.working.get(job.id)
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
        "version": job.version,
        "chosen": bool(job.chosen),
        "state": job.state.value,
        "held": held,
        "reason": redact(reason),
        "task_id": job.task.task_id if job.task else None,
        "maybe_task_ids": maybe_task_ids(job),
        "attempts": job.task.number if job.task else 0,
        "node": job.node,
        "progress": job.progress if working is None else working.share,
        "doing": None if working is None else working.doing,
        "rendering_since": None if job.rendering_since is None else iso(job.rendering_since),
        "request": as_sent(job.request),
        "instead_of": job.request.instead_of or None,
        "preset": job.request.preset or None,
        "credits_estimated": job.credits_estimated,
        "credits": credits_of(job, parts),
        "paid": job.paid.value,
        "reused_from": job.reuse.job_id if job.reuse else None,
        "created_at": iso(job.created_at),
        "updated_at": iso(job.updated_at),
        "results": [
            {"name": text(r.name), "size": r.size, "sha256": r.sha256, **length_of(r)}
            for r in job.results
            if r.name
        ],
        "part": job.part or None,
        "part_of": job.whole_id if job.part else None,
        "parts": [_part_json(one, conditions) for one in parts],
        "missing": [{"output": one.number, "why": redact(one.why)} for one in job.missing],
        "error": error,
    }


def _part_json(job: Job, conditions: Conditions) -> dict[str, Any]:
    """Return how a part stands, and which frames of the clip are sent as it."""
    held, reason = conditions.why_waiting(job)
    error = job.error
    return {
        "id": job.id,
        "number": job.part,
        "first_frame": job.parts[0].start,
        "frames": job.parts[0].frames,
        "overlap_frames": job.parts[0].overlap,
        "sent_size": job.parts[0].sent_size,
        "sent_sha256": job.parts[0].sent_sha256 or None,
        "state": job.state.value,
        "held": held,
        "reason": redact(reason),
        "task_id": job.task.task_id if job.task else None,
        "attempts": job.task.number if job.task else 0,
        "progress": job.progress,
        "credits_estimated": job.credits_estimated,
        "credits": job.task.credits if job.task else None,
        "paid": job.paid.value,
        "error": None if error is None else {"code": error.code, "message": redact(error.message)},
    }


_NO_ACCOUNT = Account()
_AS_NEAR = 0.25
"""An estimate counts started seconds: the bill may be lower by up to this much."""


def about_json(
    job: Job,
    clip: Clip | None,
    history: Sequence[HistoryEntry],
    conditions: Conditions,
    parts: Sequence[Job] = (),
) -> dict[str, Any]:
    """Return all about a job in the stable form of `show --json`, its history oldest first."""
    return {
        **job_json(job, conditions, parts),
        "media": clip.media if clip else {},
        "submitted_at": iso(job.task.intent_at) if job.task else None,
        "evidence": redact_value(job.task.evidence) if job.task else {},
        "history": [entry_json(entry) for entry in history],
    }


def entry_json(entry: HistoryEntry) -> dict[str, Any]:
    """Return one entry of the history."""
    return {
        "at": iso(entry.at),
        "event": entry.event,
        "from": entry.from_state,
        "to": entry.to_state,
        "facts": redact_value(entry.facts),
    }


def film_in_words(media: Mapping[str, Any]) -> str:
    """Describe a clip in a line: size, `24 fps, 3 s, prores in mov`."""
    parts = []
    if media.get("width") and media.get("height"):
        parts.append(f"{media['width']} \N{MULTIPLICATION SIGN} {media['height']}")
    if rate := str(media.get("fps") or ""):
        above, _, below = rate.partition("/")
        with suppress(ValueError, ZeroDivisionError):
            parts.append(f"{float(above) / float(below or 1):.5g} fps")
    if isinstance(seconds := media.get("seconds"), int | float):
        parts.append(f"{seconds:.4g} s")
    parts += [str(media["video_codec"])] if media.get("video_codec") else []
    return ", ".join(parts) + (f" in {media['container']}" if media.get("container") else "")


def maybe_task_ids(job: Job) -> list[str]:
    """Return the ids in an unclear answer that may be the job's task, the likeliest first."""
    found = job.task.evidence.get("maybe_task_ids") if job.task and not job.task.task_id else None
    return [str(one) for one in found] if isinstance(found, list) else []


def evidence_lines(submitted_at: str | None, evidence: Mapping[str, Any], job_id: str) -> list[str]:
    """Return sentences on what is known of a lost answer; none where no answer was lost."""
    if not evidence:
        return []
    evidence = redact_value(evidence)
    lines = [f"request sent at {evidence.get('sent_at') or submitted_at}"]
    if "bytes_written" in evidence:
        lines.append(
            f"sent {_count(evidence['bytes_written'])} of {_count(evidence.get('bytes_total'))} bytes"
        )
    came = [f"HTTP {evidence['http_status']}"] if "http_status" in evidence else []
    came += [str(evidence[name]) for name in ("error", "answer") if evidence.get(name)]
    lines.append("answer: " + ("; ".join(came) or str(evidence.get("message") or "none")))
    lines += [
        f"the answer contains the id {one}: `clipspool attach {job_id} {shlex.quote(one)}`"
        for one in evidence.get("maybe_task_ids", ())
    ]
    before, after = evidence.get("balance_before"), evidence.get("balance_after")
    if before:
        lines.append(f"account balance before: {_amount(before)}")
    if after:
        others = evidence.get("other_submissions", 0)
        beside = f"; {others} other submission{'s' * (others != 1)} in between" if others else ""
        lines.append(f"account balance {'after' if before else 'now'}: {_amount(after)}{beside}")
    return lines


def balance_lines(job: Job) -> list[str]:
    """Return sentences on what the account's balance says of a lost answer; none where it says nothing.

    They help a person to decide, and decide nothing: a refund of another task may hide a charge.
    """
    evidence = job.task.evidence if job.task is not None and job.state is State.IN_DOUBT else {}
    before, after = evidence.get("balance_before"), evidence.get("balance_after")
    if not before or not after or before["unit"] != after["unit"]:
        return []
    unit = str(after["unit"])
    fell = float(before["amount"]) - float(after["amount"])
    moved = f"fell by {fell:,.10g} {unit}" if fell > 0 else "did not fall"
    others = int(evidence.get("other_submissions") or 0)
    line = f"The account's balance {moved} between the readings before and after it."
    price, known = job.credits_estimated, float(evidence.get("other_credits") or 0.0)
    if unit != "credits" or price is None:
        return [line]
    if others:
        several = "another request explains" if others == 1 else f"{others} other requests explain"
        line = f"{line[:-1]}; {several} about {known:,.10g}."
    left, near = fell - known, max(_AS_NEAR * price, 1.0)
    if abs(left - price) <= near:
        return [f"{line} This one, about {price:,.10g}, was probably charged."]
    if abs(left) <= near < price:
        return [f"{line} This one, about {price:,.10g}, was probably not charged."]
    # A wrong "not charged" would be paid for twice: figures that do not add up are said to be such.
    return [f"{line} This one costs about {price:,.10g}: the figures do not tell whether it was charged."]


def _count(number: object) -> str:
    return f"{number:,}" if isinstance(number, int) else "?"


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


def hours_json(inbox: str, conditions: Conditions) -> dict[str, Any] | None:
    """Return an inbox's hours and when it goes on sending (None: it does now); None without hours."""
    hours = conditions.limits.hours.get(inbox)
    if hours is None:
        return None
    opens_at = hours.opens_at(conditions.now)
    return {"times": list(hours.written), "opens_at": iso(opens_at) if opens_at > conditions.now else None}


def status_json(
    counts: Mapping[State, int],
    conditions: Conditions,
    inboxes: Sequence[InboxView],
    daemon: Mapping[str, Any],
    lanes: Sequence[Mapping[str, Any]] = (),
    account: Account = _NO_ACCOUNT,
) -> dict[str, Any]:
    """Return what `status --json` prints; `lanes` come from the running daemon's workers."""
    brake, shares = conditions.brake, conditions.limits.shares
    limits = shown(shares.inboxes, conditions.running, conditions.spend, of=0)
    return {
        "daemon": dict(daemon),
        "provider": {
            "blocked": brake.fault is not None,
            "reason": redact(sentences(brake.fault.message, brake.fault.what_to_do)) if brake.fault else "",
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
                "reason": view.reason or conditions.why_paused(view.name) or conditions.why_closed(view.name),
                "hours": hours_json(view.name, conditions),
                "limits": limits.get(view.name),
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
            "models": shown(shares.models, conditions.running, conditions.spend, of=1),
            **account.to_dict(),
        },
        "lanes": [dict(lane) for lane in lanes],
    }
