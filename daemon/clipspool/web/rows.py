"""Prepares jobs for the page: the stable JSON, with words, times and buttons for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

from clipspool.jobs.conditions import Conditions
from clipspool.jobs.model import Held, Job, State
from clipspool.jobs.permissions import may_approve, may_attach, may_cancel, may_deliver_as_it_is, may_retry
from clipspool.jobs.records import OpenJobs
from clipspool.journal import UNDER_WAY
from clipspool.reporting.eta import Timing
from clipspool.reporting.status import balance_lines, job_json, maybe_task_ids
from clipspool.system.redaction import readable
from clipspool.web.cache import waits
from clipspool.web.media import delivered

_TONES = {
    State.DELIVERED: "good",
    State.FAILED: "bad",
    State.IN_DOUBT: "bad",
    State.CANCELLED: "quiet",
    State.QUEUED: "plain",
}
_ADVICE: Mapping[str, str] = {
    "in_doubt": "The request was sent, but no clear answer arrived: it may have been charged. "
    "Look for the task at the provider; attach it if it exists, retry if it does not.",
    "budget": "Over a limit. Approve it, or, for a daily limit, wait until tomorrow.",
    "duplicate": "Looks like a duplicate: the same clip with the same request.",
    "poison": "clipspool crashed three times while working on this clip. "
    "It is not processed again until you approve it.",
    "refused": "The provider refuses this clip with a message about the account, but accepts others. "
    "Check its prompt, model and price; approve to try again.",
    "parts": "Parts of it failed, are in doubt or are held; the others go on. Decide about each below: "
    "a part that is retried is paid for alone.",
    "veto": "The before_submit hook refused it. Approve to send it all the same.",
    "from_backup": "An older copy of the journal was put back, and shows it as not sent. It may have been "
    "sent and charged since: look for its result, then approve or cancel.",
    "overdue": "It has been rendering for longer than `task_seconds_max`, or the provider answers, but not "
    "about this task; it is still followed.",
    "lost": "The provider no longer knows the task; it is still asked from time to time.",
    "result": "The result could not be downloaded completely, or is not a video; it will be tried again.",
    "result here": "The result is downloaded. Approve to deliver it as it is; retry pays for another.",
    "outbox": "The result cannot be written to the outbox; it will be tried again.",
}
APPROVED_TOGETHER = (Held.BUDGET, Held.DUPLICATE)
"""What is approved for all jobs at once, however many; each other kind is looked at first."""
_NOT_SETTLED = frozenset({State.QUEUED, State.SUBMITTING, State.IN_DOUBT, State.RUNNING})
"""In these states the provider's figure is its estimate of the cost, not yet a charge."""
_VIDEO = frozenset({".mp4", ".mov", ".m4v", ".webm"})


def row_of(job: Job, conditions: Conditions, timing: Timing) -> dict[str, Any]:
    """Return what a row about a job shows."""
    shown = job_json(job, conditions)
    left = timing.left(job, conditions.now)
    kind = ""
    if waits(job):
        kind = Held.IN_DOUBT.value if job.state is State.IN_DOUBT else str(shown["held"])
    pictures = count(1)
    results = [
        {
            "number": number,
            "poster": None if result.is_untouched or result.suffix not in _VIDEO else next(pictures),
            "name": readable(result.name),
            "size": result.size,
            "is_video": result.suffix in _VIDEO,
            "is_folder": result.is_folder,
            "finished": result.finished,
        }
        for number, result in enumerate(delivered(job), start=1)
    ]
    credits_ = shown["credits"]
    return {
        **shown,
        "clip": readable(job.path),
        "prompt": shown["request"]["prompt"],
        "model": job.request.model,
        "timeline": job.request.timeline,
        "timeline_name": job.request.timeline_name,
        "timeline_credits": job.request.timeline_credits,
        "reason": _why(job, shown),
        "tone": "warn" if waits(job) and job.state is not State.IN_DOUBT else _TONES.get(job.state, "busy"),
        "word": job.state.value.replace("_", " "),
        "waits": waits(job),
        "kind": kind.replace("_", " "),
        "advice": _ADVICE.get("result here" if may_deliver_as_it_is(job) else kind, ""),
        "evidence": _evidence(job) if kind else "",
        "held_word": (shown["held"] or "").replace("_", " "),
        "percent": _percent(shown),
        "left": left,
        "cost": credits_ if credits_ is not None else job.credits_estimated,
        "cost_is_known": credits_ is not None and job.state not in _NOT_SETTLED,
        "results": results,
        "has_poster": any(result["poster"] for result in results),
        "is_tall": _is_tall(job),
        "ended": job.state.is_terminal,
        "acts": acts_of(job, conditions),
        "cancel_by": job.cancel_by,
    }


def _percent(shown: Mapping[str, Any]) -> int | None:
    """Return how far it has come: at the provider, or in what clipspool does to it now."""
    is_shown = shown["doing"] is not None or shown["state"] == State.RUNNING
    return round(shown["progress"] * 100) if is_shown and shown["progress"] is not None else None


def _is_tall(job: Job) -> bool:
    """Whether its result is higher than wide: what was seen of it, or before that the ratio asked for."""
    film = next((one for one in job.results if one.is_film), None)
    if film is not None and film.is_tall is not None:
        return film.is_tall
    across, _, down = (job.request.ratio or "").partition(":")
    return across.isdigit() and down.isdigit() and int(across) < int(down)


def _evidence(job: Job) -> str:
    """Describe in one line what is known of a request whose answer was lost."""
    evidence = job.task.evidence if job.task is not None else {}
    said = []
    if isinstance(written := evidence.get("bytes_written"), int):
        total = evidence.get("bytes_total")
        said.append(
            f"{written:,}" + (f" of {total:,}" if isinstance(total, int) else "") + " bytes were sent"
        )
    if sent_at := evidence.get("sent_at"):
        said.append(f"at {str(sent_at)[:19].replace('T', ' ')} UTC")
    if status := evidence.get("http_status"):
        said.append(f"answered with HTTP {status}")
    if found := maybe_task_ids(job):
        said.append(f"the answer contains the id {found[0]}")
    words = ", ".join(said)
    return " ".join(filter(None, (f"{words[:1].upper()}{words[1:]}." if words else "", *balance_lines(job))))


def _why(job: Job, shown: Mapping[str, Any]) -> str:
    if job.cancel_by and not job.state.is_terminal:
        return "is being cancelled"
    return str(shown["error"]["message"] if shown["error"] else shown["reason"])


def acts_of(job: Job, conditions: Conditions) -> list[str]:
    """Return the actions that an operator may take on a job now; the daemon checks them again."""
    held, _ = conditions.why_waiting(job)
    acts = {
        "approve": may_approve(job)
        and (
            held in {"poison", "refused", "veto", "from_backup"}
            or may_deliver_as_it_is(job)
            or (held in {"budget", "duplicate", "hours"} and not job.approved)
        ),
        "attach": may_attach(job),
        "retry": may_retry(job),
        "cancel": may_cancel(job) and not job.cancel_by,
    }
    return [act for act, is_possible in acts.items() if is_possible]


def tiles_of(counts: OpenJobs, failed: int, ended: Mapping[str, int]) -> list[dict[str, Any]]:
    """Return the figures at the top of the page; each open job is counted in one of them."""
    of, held = counts.by_state, counts.held.total()
    under_way = sum(of[state] for state in UNDER_WAY)
    doubts = of[State.IN_DOUBT]
    return [
        {"label": "need you", "count": held + doubts, "link": "/jobs?state=held", "hot": held + doubts > 0},
        {
            "label": "failed in a day",
            "count": failed,
            "link": "/jobs?state=failed",
            "hot": failed > 0,
            "of": ended["failed"],
        },
        {"label": "queued", "count": of[State.QUEUED], "link": "/jobs?state=queued", "hot": False},
        {"label": "under way", "count": under_way, "link": "/jobs?state=under_way", "hot": False},
        {"label": "delivered", "count": ended["delivered"], "link": "/jobs?state=delivered", "hot": False},
    ]


def problems_first(waiting: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Sort waiting files: those that an editor has to mend come first, since not all are shown."""
    return sorted(waiting, key=lambda one: not one.get("problem"))


_AT_WORK = {"prepare": "prepared", "submit": "sent", "fetch": "downloaded", "deliver": "delivered"}


def at_work(lanes: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what the daemon's workers do at this moment, by kind: `2 downloaded`."""
    stages = {stage: count for lane in lanes for stage, count in lane["stages"].items()}
    return [f"{stages[stage]} {word}" for stage, word in _AT_WORK.items() if stages.get(stage)]
