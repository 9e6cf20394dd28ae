"""Writes the text of `_status.txt`: values in, text out; pure."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from functools import partial
from typing import assert_never

from clipspool.intake.types import Waiting
from clipspool.jobs.account import Account
from clipspool.jobs.conditions import Conditions
from clipspool.jobs.model import Held, Job, State
from clipspool.jobs.path_map import AS_THEY_ARE, Places
from clipspool.jobs.records import Life, OpenJobs, Peer
from clipspool.jobs.text import DAY_SECONDS, local_time, midnight, sentences, status_mark, text
from clipspool.system.redaction import readable, redact

DAYS = 3
"""Ended jobs are shown for this long."""
_WIDTH = 100
MOST = 30
"""Shown of each kind; the rest is counted."""
NAMED_MOST = 500
"""Named of the files that need their editor; beyond `MOST` without their reasons."""
ENDED_MOST = 20
"""Shown of the failed and of the delivered jobs."""

_COMMAND = "`clipspool "
_AT_THE_END = re.compile(r"(?:,? or (?:after )?|: ?)`clipspool [^`]*`")
"""How a sentence goes on with a command: `…: `clipspool retry ID``, `…, or after `clipspool approve``."""


@dataclass(frozen=True, slots=True)
class EndedJob:
    """A job that ended, and its source's place in the inbox now (None: not there any more, or not yet)."""

    job: Job
    lies_at: str | None = None


@dataclass(frozen=True, slots=True)
class FolderStatus:
    """Holds everything that is shown of one inbox."""

    inbox: str
    outbox: str
    """Its folder, absolute, as this machine calls it."""
    tally: OpenJobs
    kept_by: str = ""
    """The beginning of the identity of the journal that it shows."""
    place: str = ""
    """Equal for all journals that were ever kept at the same path of the same machine."""
    waiting: Sequence[Waiting] = ()
    held: Sequence[Job] = ()
    under_way: Sequence[Job] = ()
    """The first of those that are open and not held, nearest to their end first."""
    failed: Sequence[EndedJob] = ()
    delivered: Sequence[Job] = ()
    conditions: Conditions = field(default_factory=lambda: Conditions(0.0))
    account: Account = field(default_factory=Account)
    places: Places = AS_THEY_ARE
    host: str = ""
    """The machine that clipspool runs on."""
    peers: Sequence[Peer] = ()
    """Other daemons that take clips from this folder, or took some and are gone."""
    has_stopped: bool = False
    """Whether clipspool has ended: then nothing moves."""


def text_of(picture: FolderStatus, at: float, zone: tzinfo | None = UTC) -> str:
    """Return the file's text at a moment (Unix seconds), with times in a zone; None: as this machine's."""
    place = f" [{picture.place}]" if picture.place else ""
    mark = status_mark(picture.kept_by)
    first = f"{mark}. Status of this folder, updated automatically; do not edit it.{place}"
    return "\n".join([first, "", *_head(picture, at, zone), *body_of(picture, zone)]) + "\n"


def body_of(picture: FolderStatus, zone: tzinfo | None = UTC) -> list[str]:
    """Return all lines except those with the time of writing; the file is rewritten when these change."""
    lines: list[str] = [f"Results appear in {readable(picture.places.path(picture.outbox))}"]
    if file := picture.conditions.pause_files.get(picture.inbox):
        lines += ["", f"PAUSED: this folder contains `{readable(file)}`; remove it to continue sending"]
    lines += _hours(picture, zone)
    lines += ["", picture.account.in_words()] if picture.account.is_short else []
    head = len(lines)
    for title, count, entries in _sections(picture, zone):
        if not count:
            continue
        lines += ["", title]
        shown = list(entries)
        lines += [line for one in shown for line in one]
        if count > len(shown):
            lines.append(f"  and {count - len(shown):,} more")
    others = [peer for peer in picture.peers if peer.is_living]
    if others:
        # Each daemon writes only about its own clips: one file alone leaves out most of a shared folder.
        names = ", ".join(sorted({readable(peer.host or peer.journal) for peer in others}))
        lines += ["", f"{names} also takes clips from this folder: see the other _status files for those."]
    if len(lines) == head:
        lines += ["", "No clips accepted yet. Drop a clip and its sidecar here to begin."]
    return lines


def _hours(picture: FolderStatus, zone: tzinfo | None) -> Iterator[str]:
    """Describe the inbox's hours, where it has any: what arrives outside them is sent later."""
    limits, now = picture.conditions.limits, picture.conditions.now
    hours = limits.hours.get(picture.inbox)
    if hours is not None:
        opens_at = hours.opens_at(now)
        goes_on = f"; sending continues at {_time(opens_at, zone)}" if opens_at > now else ""
        yield f"Clips are sent {hours.in_words()}{goes_on}"


def _head(picture: FolderStatus, at: float, zone: tzinfo | None) -> Iterator[str]:
    where = f", by clipspool on {readable(picture.host)}" if picture.host else ""
    name = datetime.fromtimestamp(at, zone).astimezone(zone).tzname()
    yield f"{picture.inbox}, {_time(at, zone)} ({name}){where}"
    if picture.has_stopped:
        yield "\nclipspool is stopped: until it runs again clips stay here, and none is accepted or sent.\n"


_Section = tuple[str, int, Iterator[list[str]]]


def _sections(picture: FolderStatus, zone: tzinfo | None) -> Iterator[_Section]:
    places = picture.places
    yours = [one for one in picture.waiting if one.problem]
    entries = (_problem(one, n, places) for n, one in enumerate(yours[:NAMED_MOST]))
    yield f"NEEDS YOU ({len(yours):,}): fix these; they are checked again automatically", len(yours), entries
    count = picture.tally.held.total()
    entries = (_entry(_job(job), [_held(job, places)]) for job in picture.held)
    yield f"NEEDS THE OPERATOR ({count:,}): there is nothing for you to do", count, entries
    lost = [peer for peer in picture.peers if peer.clips and not peer.is_living]
    entries = (_left_behind(peer) for peer in lost)
    yield f"NEEDS THE OPERATOR ({len(lost):,}): another machine's clips", len(lost), entries
    count = picture.tally.by_state.total()
    now, when = picture.conditions, partial(_time, zone=zone)
    entries = (_row(_clip(job), _readable(_under_way(job, now, when), places)) for job in picture.under_way)
    yield f"UNDER WAY ({count:,})", count, entries
    coming = [one for one in picture.waiting if not one.problem]
    entries = (_row(readable(text(one.path)), _readable(one.reason, places)) for one in coming[:MOST])
    yield f"ARRIVING ({len(coming):,}): not accepted yet", len(coming), entries
    entries = (_failed(one, places) for one in picture.failed)
    yield f"FAILED ({_period(len(picture.failed))})", len(picture.failed), entries
    entries = (_row(_clip(job), _delivered(job, zone)) for job in picture.delivered)
    yield f"DELIVERED ({_period(len(picture.delivered))})", len(picture.delivered), entries


def _problem(waiting: Waiting, number: int, places: Places) -> list[str]:
    """Describe a file that needs its editor: the first with their reasons, the others by name."""
    name = readable(text(waiting.path))
    if number < MOST:
        return _entry(name, [_readable(waiting.reason, places)])
    return [f"  {name}: see the note beside it"]


def _left_behind(peer: Peer) -> list[str]:
    clips = f"its {peer.clips:,} clips wait" if peer.clips != 1 else "its 1 clip waits"
    # No seconds here: each change would be a write to the share.
    why = "may not be running" if peer.life is Life.UNKNOWN else "is not running"
    said = f"{clips} until it runs again, or until the operator takes over."
    return _entry(f"{readable(peer.name)} {why}", [said])


def _period(count: int) -> str:
    return f"the last {count}" if count >= ENDED_MOST else f"{count} in {DAYS} days"


def _failed(seen: EndedJob, places: Places) -> list[str]:
    job = seen.job
    said = []
    if job.error is not None:
        said = [_readable(job.error.message, places), _readable(job.error.what_to_do, places)]
    if seen.lies_at:
        said.append(f"The source is in {readable(text(seen.lies_at))}, with a note beside it.")
    return _entry(_job(job), said)


def _delivered(job: Job, zone: tzinfo | None) -> str:
    names = ", ".join(readable(text(result.name)) for result in job.results if result.name)
    odd = [one.in_words() for one in job.missing] + [said for one in job.results for said in one.noticed]
    said = f" (but {redact('; '.join(odd))})" if odd else ""
    return f"{_time(job.updated_at, zone)}  {names}".rstrip() + readable(said)


def _under_way(job: Job, conditions: Conditions, moment: Callable[[float], str]) -> str:
    match job.state:
        case State.QUEUED:
            return _queued(job, conditions, moment)
        case State.SUBMITTING:
            return "sending"
        case State.RUNNING | State.RENDERED if job.is_split:
            return job.reason
        case State.RUNNING:
            tenths = int((job.progress or 0.0) * 10)  # not each percent: every change is a write to the share
            if tenths:
                return f"rendering, {tenths * 10} % done"
            return "rendering" if job.rendering_since else "accepted by the provider, waiting to render"
        case State.RENDERED:
            return "rendered; downloading the result"
        case State.FETCHED:
            return "result downloaded; delivering it"
        case State.IN_DOUBT | State.DELIVERED | State.FAILED | State.CANCELLED:
            return job.state.value.replace("_", " ")
        case never:
            assert_never(never)


def for_editors(job: Job, conditions: Conditions, places: Places) -> str:
    """Return how a job stands in words for its clip's editor: nothing that only an operator can act on."""
    if job.error is not None and job.state is State.FAILED:
        return sentences(*(_readable(one, places) for one in (job.error.message, job.error.what_to_do)))
    if job.state is State.DELIVERED:
        return _delivered(job, UTC).partition("  ")[2]
    if job.held is not None or job.state is State.IN_DOUBT:
        return _held(job, places)
    if working := conditions.working.get(job.id):
        return working.in_words()
    return _readable(_under_way(job, conditions, local_time), places)


def _queued(job: Job, conditions: Conditions, moment: Callable[[float], str]) -> str:
    why, reason = conditions.why_waiting(job)
    match why:
        case None:
            return "queued, waiting for its turn"
        case "paused":
            file = "" if conditions.paused else conditions.pause_files.get(job.inbox, "")
            by_file = f"paused: this folder contains `{file}`; remove it to continue"
            return by_file if file else "paused by the operator"
        case "not_before":
            return f"scheduled for {moment(job.due_at)}"
        case "retry":
            again = f"will be tried again automatically at {moment(job.due_at)}"
            return f"{again}: {job.reason}" if job.reason else again
        case "hours":
            opens_at = conditions.limits.opens_at(job.inbox, conditions.now)
            return f"waiting for this folder's hours; it is sent from {moment(opens_at)} on"
        case "budget" if "tomorrow" not in reason:  # it costs more than any day allows
            return f"waiting for the operator: {reason}"
        case "budget":
            ends_at = midnight(conditions.now) + DAY_SECONDS  # the day is UTC's
            return f"waiting: today's budget is used up; it continues at {moment(ends_at)}"
        case "model":
            return "waiting: the provider does not offer this model now; it will be tried again automatically"
        case "provider":
            return "waiting: the provider is not accepting clips now; it continues automatically"
        case _:
            return reason


def _held(job: Job, places: Places) -> str:
    reason = _readable(job.reason, places)
    match job.held:
        case Held.IN_DOUBT:
            return "It was sent, but no clear answer arrived. The operator checks whether it was accepted."
        case Held.BUDGET:
            return f"The operator has to approve its price: {reason}."
        case Held.DUPLICATE:
            meant = "with `again = true` in its sidecar it would have been sent"
            return f"Looks like a duplicate; waiting for the operator: {reason} ({meant})."
        case Held.POISON:
            return f"It is set aside; the operator has to look into it: {reason}."
        case Held.REFUSED:
            return f"The provider refuses this clip but accepts others; the operator checks it: {reason}."
        case Held.VETO:
            return f"A check of the operator's stopped it: {reason}."
        case Held.OVERDUE | Held.LOST | Held.FROM_BACKUP:
            return _OF_TASKS[job.held]
        case Held.RESULT | Held.PARTS:
            return _held_result(job, reason)
        case Held.OUTBOX | Held.DISK:
            return _held_by_disk(job, reason)
        case None:
            return reason
        case never:
            assert_never(never)


_OF_TASKS = {
    Held.OVERDUE: "Rendering takes longer than usual. clipspool keeps waiting for it.",
    Held.FROM_BACKUP: "It may have been sent already: clipspool's records are older. The operator checks it.",
    Held.LOST: "The provider cannot find the render any more. clipspool keeps asking; the operator decides.",
}


def _held_by_disk(job: Job, reason: str) -> str:
    if job.held is Held.DISK:
        return f"This folder's disk cannot be used now: {reason}. It will be tried again."
    if job.state is State.QUEUED:
        return f"Not sent yet, because its result could not be stored: {reason}. It will be tried again."
    return f"Rendered, but the result cannot be delivered: {reason}. It will be tried again."


def _held_result(job: Job, reason: str) -> str:
    if job.held is Held.PARTS:
        return f"A part of it waits for the operator: {reason}."
    if job.state is State.FETCHED:
        return f"The result is downloaded; the operator decides whether to deliver it: {reason}."
    if job.results:
        return f"Part of the result is downloaded; the rest will be tried again: {reason}."
    return f"The result is not a usable video; the download will be tried again: {reason}."


def _clip(job: Job) -> str:
    said = [job.variant.lstrip("_")] if job.variant else []
    said += [f"version {job.version}"] if job.version > 1 else []
    name = readable(text(job.path))
    return f"{name} ({', '.join(said)})" if said else name


def _readable(message: str, places: Places) -> str:
    return readable(redact(places.text(without_commands(message))))


def without_commands(words: str) -> str:
    """Leave out what only an operator can type: the file is for editors."""
    clauses = [one for one in words.split("; ") if not one.startswith(_COMMAND)]
    return _AT_THE_END.sub("", "; ".join(clauses))


def _job(job: Job) -> str:
    """Name a clip with its job id, which the operator needs."""
    return f"{_clip(job)}, job {job.id}"


def _time(at: float, zone: tzinfo | None) -> str:
    return f"{datetime.fromtimestamp(at, zone):%Y-%m-%d %H:%M}"


def _row(name: str, words: str) -> list[str]:
    """Return one line where it is short enough, else the words below the name."""
    line = f"  {name:<30}  {words}"
    return [line] if len(line) <= _WIDTH else _entry(name, [words])


_AT = " " * 6
_wrap = textwrap.TextWrapper(_WIDTH, _AT, _AT, break_long_words=False, break_on_hyphens=False).wrap


def _entry(name: str, words: Sequence[str]) -> list[str]:
    lines = [f"  {name}"]
    for said in words:
        if said:
            lines += _wrap(said)
    return lines
