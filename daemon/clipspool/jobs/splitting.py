"""The parts of a long clip: what is asked for each, and what their states mean for the job as a whole; pure.

A split clip is one whole job and a job for each part: `k3m9…` and `k3m9…-p001`, `k3m9…-p002`, … Each part is
submitted, followed and fetched like any job. The whole job has no task of its own: it waits for its parts,
and goes on when all of them are fetched.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from clipspool.jobs.events import PartsFetched, PartsSeen
from clipspool.jobs.model import Held, Job, Paid, Part, Reference, Request, State, part_id
from clipspool.jobs.nouns import replace

_SHOWN_MAX = 3
"""Parts that a reason names one by one."""
_BY_MONEY = (Paid.NO, Paid.UNKNOWN, Paid.YES)


def part_jobs(whole: Job, now: float) -> list[Job]:
    """Return the jobs of a split job's parts, queued: with its seed, prompt, priority and approval."""
    return [
        Job(
            id=part_id(whole.id, part.number),
            clip_id=whole.clip_id,
            inbox=whole.inbox,
            variant=whole.variant,
            request=request_of(whole.request, part),
            created_at=whole.created_at,
            updated_at=now,
            priority=whole.priority,
            due_at=now,
            approved=whole.approved,
            credits_estimated=part.price,
            path=whole.path,
            version=whole.version,
            part=part.number,
            parts=(replace(part, sent_size=None, sent_sha256="", task_id="", credits=None, attempts=0),),
        )
        for part in whole.parts
    ]


def request_of(request: Request, part: Part) -> Request:
    """Return what is asked for a part: the same, with the keyframes that it shows, at their times in it."""
    references = tuple(found for one in request.references if (found := _in_part(one, part)) is not None)
    return replace(request, references=references)


def _in_part(reference: Reference, part: Part) -> Reference | None:
    if not reference.at:
        return reference
    if reference.at == "first":
        return reference if part.number == 1 else None
    if reference.at == "last":
        return reference if part.number == part.of else None
    at = Fraction(reference.at) - part.begins_at
    length = Fraction(part.frames) / Fraction(part.fps)
    is_shown = 0 <= at < length or (part.number == part.of and at == length)
    return replace(reference, at=f"{float(at):.6g}") if is_shown else None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the parts of a job have come."""

    fetched: int = 0
    of: int = 0
    needing: tuple[str, ...] = ()
    """What needs a person, in words: the parts that failed, were cancelled, are in doubt or are held."""

    def in_words(self) -> str:
        """Return it for people: `5 of 12 parts are here`."""
        words = f"{self.fetched} of {self.of} parts {'is' if self.fetched == 1 else 'are'} here"
        if not self.needing:
            return words
        more = len(self.needing) - _SHOWN_MAX
        shown = "; ".join(self.needing[:_SHOWN_MAX]) + (f"; and {more} more" if more > 0 else "")
        return f"{words}; {shown}"


def progress_of(parts: Sequence[Job]) -> Progress:
    """Return how far parts have come."""
    return Progress(
        fetched=sum(one.state in {State.FETCHED, State.DELIVERED} for one in parts),
        of=len(parts),
        needing=tuple(_need(one) for one in parts if needs_person(one)),
    )


def needs_person(part: Job) -> bool:
    """Whether a part goes on only by a person's order."""
    return part.held is not None or part.state in {State.FAILED, State.CANCELLED}


def _need(part: Job) -> str:
    name = f"part {part.part} ({part.id})"
    match part.state:
        case State.IN_DOUBT:
            return f"{name} is in doubt: {part.reason.rstrip('.')}"
        case State.FAILED if part.error is not None and part.error.is_of_source:
            return f"{name} failed: {part.error.message.rstrip('.')}. {part.error.what_to_do}".rstrip(". ")
        case State.FAILED:
            why = "for an unknown reason" if part.error is None else part.error.message.rstrip(".")
            return f"{name} failed: {why}; `clipspool retry {part.id}` pays for it alone"
        case State.CANCELLED:
            return f"{name} was cancelled; `clipspool retry {part.id}` runs it alone"
        case _:
            return f"{name} is held: {part.reason.rstrip('.')}"


def paid_of(whole: Job, parts: Sequence[Job]) -> Paid:
    """Return what is known about money for a job and its parts together: YES if for any of them."""
    return max((one.paid for one in (whole, *parts)), key=_BY_MONEY.index)


def credits_of(job: Job, parts: Sequence[Job]) -> float | None:
    """Return what the provider charged for a job and its parts; None where it said nothing of any."""
    charges = [one.task.credits for one in (job, *parts) if one.task]
    if job.is_split and not parts:
        charges = [one.credits for one in job.parts]
    known = [one for one in charges if one is not None]
    return sum(known) if known else None


def seen(whole: Job, parts: Sequence[Job]) -> PartsSeen | PartsFetched | None:
    """Return what its parts mean for a job that waits for them; None where nothing is new."""
    paid = paid_of(whole, parts)
    films = [_film(one) for one in parts]
    results = tuple(film for film in films if film is not None)
    if parts and len(results) == len(parts):
        return PartsFetched(results, tuple(map(_as_paid, parts)), paid)
    progress = progress_of(parts)
    share = sum(_share(one) for one in parts) / max(len(parts), 1)
    event = PartsSeen(progress.in_words(), round(share, 4), paid, Held.PARTS if progress.needing else None)
    if (event.message, event.progress, event.paid, event.held) == (
        whole.reason,
        whole.progress,
        whole.paid,
        whole.held,
    ):
        return None
    return event


def _as_paid(job: Job) -> Part:
    """Return a part with its task and what that cost."""
    task = job.task
    if task is None:
        return job.parts[0]
    return replace(job.parts[0], task_id=task.task_id or "", credits=task.credits, attempts=task.number)


def _film(part: Job) -> Any:
    """Return a part's first film; None where the part is not there, or a person has to look at it."""
    if part.state is not State.FETCHED or part.held is not None:
        return None
    film = next((one for one in part.results if one.is_film), None)
    return None if film is None else replace(film, part=part.part)


def _share(part: Job) -> float:
    if part.state in {State.RENDERED, State.FETCHED, State.DELIVERED}:
        return 1.0
    return part.progress or 0.0 if part.state is State.RUNNING else 0.0


def is_waiting_for_parts(job: Job) -> bool:
    """Whether a job was split and waits for its parts."""
    return job.state is State.RUNNING and job.is_split


def ordered(job: Job, parts: Sequence[Job], may: Callable[[Job], bool]) -> list[Job]:
    """Return whom an order concerns: of a job that waits for its parts those that may get it."""
    if not is_waiting_for_parts(job):
        return [job]
    return [part for part in parts if may(part)] or [job]
