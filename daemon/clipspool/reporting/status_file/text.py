"""The words of `_status.txt`: values in, text out; pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import assert_never

from clipspool.intake.names import readable
from clipspool.intake.types import Waiting
from clipspool.jobs.conditions import Conditions
from clipspool.jobs.model import Held, Job, State
from clipspool.jobs.path_map import AS_THEY_ARE, Places
from clipspool.jobs.records import Life, Peer
from clipspool.jobs.status_names import mark_of
from clipspool.jobs.text import text
from clipspool.journal.looks import Tally
from clipspool.system.redaction import redact

DAYS = 3
"""What ended is shown for so long."""
_WIDTH = 100
MOST = 30
"""Of each kind; the rest is counted."""
NAMED_MOST = 500
"""Of files that need their editor, whose names are all that is said beyond `MOST`."""
ENDED_MOST = 20
"""Of those that failed, and of those that were delivered."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A job that ended, and where its source lies in the inbox now (None: nowhere any more, or not yet)."""

    job: Job
    lies_at: str | None = None


@dataclass(frozen=True, slots=True)
class Picture:
    """Everything there is to tell of one inbox, as far as it is shown."""

    inbox: str
    outbox: str
    """Its folder, absolute, as this machine calls it."""
    tally: Tally
    kept_by: str = ""
    """The beginning of the identity of the journal that it is taken from."""
    place: str = ""
    """Equal for all journals that were ever kept at the same path of the same machine."""
    waiting: Sequence[Waiting] = ()
    held: Sequence[Job] = ()
    under_way: Sequence[Job] = ()
    """The first of those that are open and not held, nearest to their end first."""
    failed: Sequence[Seen] = ()
    delivered: Sequence[Job] = ()
    conditions: Conditions = field(default_factory=lambda: Conditions(0.0))
    places: Places = AS_THEY_ARE
    host: str = ""
    """The machine that clipspool runs on."""
    peers: Sequence[Peer] = ()
    """Other daemons that take clips from this folder, or took some and are gone."""
    has_stopped: bool = False
    """Whether clipspool has ended: then nothing moves."""


def text_of(picture: Picture, at: float, zone: tzinfo = UTC) -> str:
    """Write the file as it is at a moment (Unix seconds), times as in a zone."""
    place = f" [{picture.place}]" if picture.place else ""
    first = (
        f"{mark_of(picture.kept_by)}. Status of this folder, updated automatically; do not edit it.{place}"
    )
    return "\n".join([first, "", *_head(picture, at, zone), *body_of(picture, zone)]) + "\n"


def body_of(picture: Picture, zone: tzinfo = UTC) -> list[str]:
    """Give all lines but those that tell when it was written: what changes them is worth a writing."""
    lines: list[str] = [f"Results come to {readable(picture.places.path(picture.outbox))}"]
    if file := picture.conditions.pause_files.get(picture.inbox):
        lines += ["", f"PAUSED: `{readable(file)}` lies in this folder; nothing is sent until it is removed"]
    for title, count, told in _sections(picture, zone):
        if not count:
            continue
        lines += ["", title]
        shown = list(told)
        lines += [line for one in shown for line in one]
        if count > len(shown):
            lines.append(f"  and {count - len(shown):,} more")
    others = [peer for peer in picture.peers if peer.is_living]
    if others:
        # Each writes of its own clips: read alone, one of these files leaves most of a folder out.
        names = ", ".join(sorted({readable(peer.host or peer.journal) for peer in others}))
        lines += ["", f"Clips of this folder go to {names} too: see the other _status files for those."]
    if len(lines) == 1:
        lines += ["", "Nothing is under way. Drop a clip and its sidecar here to begin."]
    return lines


def _head(picture: Picture, at: float, zone: tzinfo) -> Iterator[str]:
    where = f", by clipspool on {readable(picture.host)}" if picture.host else ""
    yield f"{picture.inbox}, {_time(at, zone)} ({datetime.fromtimestamp(at, zone).tzname()}){where}"
    if picture.has_stopped:
        yield ""
        yield "clipspool has been stopped: nothing is taken or sent until it runs again. Clips are safe here."
        yield ""


_Section = tuple[str, int, Iterator[list[str]]]


def _sections(picture: Picture, zone: tzinfo) -> Iterator[_Section]:
    places = picture.places
    yours = [one for one in picture.waiting if one.problem]
    told = (_problem(one, n, places) for n, one in enumerate(yours[:NAMED_MOST]))
    yield f"NEEDS YOU ({len(yours):,}): fix it, it is checked again automatically", len(yours), told
    count = picture.tally.held.total()
    told = (_entry(_job(job), [_held(job, places)]) for job in picture.held)
    yield f"NEEDS THE OPERATOR ({count:,}): there is nothing for you to do", count, told
    lost = [peer for peer in picture.peers if peer.clips and not peer.is_living]
    told = (_left_behind(peer) for peer in lost)
    yield f"NEEDS THE OPERATOR ({len(lost):,}): another machine's clips", len(lost), told
    count = picture.tally.by_state.total()
    told = (_row(_clip(job), _under_way(job, picture.conditions, zone)) for job in picture.under_way)
    yield f"UNDER WAY ({count:,})", count, told
    coming = [one for one in picture.waiting if not one.problem]
    told = (_row(readable(text(one.path)), _said(one.reason, places)) for one in coming[:MOST])
    yield f"ARRIVING ({len(coming):,}): not taken yet", len(coming), told
    told = (_failed(one, places) for one in picture.failed)
    yield f"FAILED ({_lately(len(picture.failed))})", len(picture.failed), told
    told = (_row(_clip(job), _delivered(job, zone)) for job in picture.delivered)
    yield f"DELIVERED ({_lately(len(picture.delivered))})", len(picture.delivered), told


def _problem(waiting: Waiting, number: int, places: Places) -> list[str]:
    """Tell of a file that needs its editor: the first with their reasons, the others by name."""
    name = readable(text(waiting.path))
    if number < MOST:
        return _entry(name, [_said(waiting.reason, places)])
    return [f"  {name}: see the note beside it"]


def _left_behind(peer: Peer) -> list[str]:
    clips = f"{peer.clips:,} clips" if peer.clips != 1 else "1 clip"
    # No "so many seconds ago" here: each change is a write to the share.
    why = "left no sign of life" if peer.life is Life.UNKNOWN else "is not running"
    said = f"{clips} that it took wait until it runs again, or until the operator takes them over:"
    return _entry(f"{readable(peer.name)} {why}", [said, peer.command])


def _lately(count: int) -> str:
    return f"the last {count}" if count >= ENDED_MOST else f"{count} in {DAYS} days"


def _failed(seen: Seen, places: Places) -> list[str]:
    job = seen.job
    said = []
    if job.error is not None:
        said = [_said(job.error.message, places), _said(job.error.what_to_do, places)]
    if seen.lies_at:
        said.append(f"The source lies in {readable(text(seen.lies_at))}, with a note beside it.")
    return _entry(_job(job), said)


def _delivered(job: Job, zone: tzinfo) -> str:
    names = ", ".join(readable(text(result.name)) for result in job.results if result.name)
    odd = [one.in_words() for one in job.missing] + [said for one in job.results for said in one.noticed]
    said = f" (but {redact('; '.join(odd))})" if odd else ""
    return f"{_time(job.updated_at, zone)}  {names}".rstrip() + readable(said)


def _under_way(job: Job, conditions: Conditions, zone: tzinfo) -> str:
    match job.state:
        case State.QUEUED:
            return _queued(job, conditions, zone)
        case State.SUBMITTING:
            return "is being sent"
        case State.RUNNING:
            tenths = int((job.progress or 0.0) * 10)  # not each percent: every change is a write to the share
            if tenths:
                return f"renders, {tenths * 10} % done"
            return "renders" if job.rendering_since else "waits at the provider for its turn"
        case State.RENDERED:
            return "is rendered; the result is on its way here"
        case State.FETCHED:
            return "the result is here, and is being put in its place"
        case State.IN_DOUBT | State.DELIVERED | State.FAILED | State.CANCELLED:
            return job.state.value.replace("_", " ")
        case never:
            assert_never(never)


def _queued(job: Job, conditions: Conditions, zone: tzinfo) -> str:
    why, reason = conditions.why_waiting(job)
    match why:
        case None:
            return "waits for its turn"
        case "paused":
            if (file := conditions.pause_files.get(job.inbox)) and not conditions.paused:
                return f"waits: `{file}` lies in this folder; remove it, and this goes on"
            return "waits: the operator has paused this folder"
        case "not_before":
            return f"waits until {_time(job.due_at, zone)}"
        case "retry":
            return f"is tried again by itself at {_time(job.due_at, zone)}" + (
                f": {job.reason}" if job.reason else ""
            )
        case "budget":
            return "waits: today's budget is used up, it goes on tomorrow"
        case "model":
            return "waits: the provider does not offer this model just now; it is tried again by itself"
        case "provider":
            return "waits: the provider takes nothing just now; it goes on by itself"
        case _:
            return reason


def _held(job: Job, places: Places) -> str:
    reason = _said(job.reason, places)
    match job.held:
        case Held.IN_DOUBT:
            return "It was sent, but no answer came. The operator finds out whether it was taken."
        case Held.BUDGET:
            return f"The operator has to approve its price: {reason}."
        case Held.DUPLICATE:
            return f"It seems to be here already, and the operator decides: {reason}."
        case Held.POISON:
            return f"It is set aside, and the operator looks into it: {reason}."
        case Held.REFUSED:
            return f"The provider refuses this clip and takes others; the operator looks into it: {reason}."
        case Held.OVERDUE:
            return "It renders for longer than usual. It is still followed."
        case Held.LOST:
            return "The provider does not find it any more. It is still asked; the operator decides."
        case Held.RESULT:
            return _held_result(job, reason)
        case Held.OUTBOX | Held.DISK:
            return _held_by_disk(job, reason)
        case None:
            return reason
        case never:
            assert_never(never)


def _held_by_disk(job: Job, reason: str) -> str:
    if job.held is Held.DISK:
        return f"This folder's disk does not serve just now: {reason}. It is tried again."
    if job.state is State.QUEUED:
        return f"There is no place for its result, so it is not sent yet: {reason}. It is tried again."
    return f"It is rendered, but cannot be put among the results: {reason}. It is tried again."


def _held_result(job: Job, reason: str) -> str:
    if job.state is State.FETCHED:
        return f"Its result is here, and the operator decides whether it is of use: {reason}."
    if job.results:
        return f"A part of its result is here, and the rest is asked for again: {reason}."
    return f"What came back is no good video, and is asked for again: {reason}."


def _clip(job: Job) -> str:
    name = readable(text(job.path))
    return f"{name} ({job.variant.lstrip('_')})" if job.variant else name


def _said(message: str, places: Places) -> str:
    return readable(redact(places.text(message)))


def _job(job: Job) -> str:
    """Name a clip with its job, which the operator has to be told."""
    return f"{_clip(job)}, job {job.id}"


def _time(at: float, zone: tzinfo) -> str:
    return f"{datetime.fromtimestamp(at, zone):%Y-%m-%d %H:%M}"


def _row(name: str, words: str) -> list[str]:
    """One line where it is short enough, else the words below the name."""
    line = f"  {name:<30}  {words}"
    return [line] if len(line) <= _WIDTH else _entry(name, [words])


def _entry(name: str, words: Sequence[str]) -> list[str]:
    lines = [f"  {name}"]
    for said in words:
        if said:
            lines += textwrap.wrap(
                said,
                _WIDTH,
                initial_indent=" " * 6,
                subsequent_indent=" " * 6,
                break_long_words=False,
                break_on_hyphens=False,
            )
    return lines
