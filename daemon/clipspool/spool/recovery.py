"""Reads the work folders: clips that the journal missed by a crash, and all of them where it is lost."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import structlog

from clipspool.jobs.events import Event, Interrupted, NotSent, TakenOver, TaskCreated
from clipspool.jobs.lifecycle import recovered, recovered_ended, recovered_split
from clipspool.jobs.messages import Accepted
from clipspool.jobs.model import Clip, Held, Job, Task
from clipspool.jobs.splitting import part_jobs
from clipspool.jobs.text import is_task_id
from clipspool.spool.claims import finish_claim, is_claimed, is_in_work, put_back
from clipspool.spool.guard import Unavailable, forgiving
from clipspool.spool.handover import claim_manifest, finish_take_over, take_over, taker_of
from clipspool.spool.layout import DONE, FAILED, POSTERS, SOURCE, TAKEN, WORK
from clipspool.spool.ledger import SUBMISSIONS_MAX, end_noted, notes, parts_noted, whole_notes
from clipspool.spool.manifest_check import VERSION_MAX
from clipspool.spool.peers import host_of
from clipspool.spool.root import Root
from clipspool.spool.workfolder import (
    claimant_of,
    clear_away,
    folder_of,
    keep_references,
    read_manifest,
    settle_in,
)
from clipspool.system.atomic import OURS, NotRegular, is_temporary, join
from clipspool.system.failpoint import reach

log = structlog.get_logger()

_ATTEMPT = re.compile(r"[0-9a-f]{1,32}")
_TAKEN_SECONDS = 30 * 86_400.0


@dataclass(frozen=True, slots=True)
class UnknownFolder:
    """A work folder that the journal does not know."""

    clip: Clip
    jobs: tuple[Job, ...]
    journal: str
    """Whose it is."""
    kept: str = ""
    """The name under which the clip is remembered, where its inbox is only read; else empty."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What is in an inbox's work folders besides what the journal knows."""

    ours: list[UnknownFolder] = field(default_factory=list)
    """Accepted by this journal's daemon, which ended before it could record that."""
    foreign: list[UnknownFolder] = field(default_factory=list)
    """Accepted by another journal: another machine's, or one that was lost."""
    damaged: list[str] = field(default_factory=list)
    """Folders whose manifest cannot be read; a clip in them is kept."""
    cut: list[UnknownFolder] = field(default_factory=list)
    """Clips with a hidden name whose claim by another journal is not finished, or was cut short."""


def survey(
    inbox: str, root: Root, journal_id: str, known: Collection[str], among: Collection[str] | None = None
) -> Survey:
    """Read an inbox's work folders, or some; remove those that a crash left without a clip. Raises OSError.

    A work folder belongs to the inbox in which it lies, whatever inbox its manifest names: the inbox may have
    had another name, and whoever can write here must not reach another inbox's outbox.
    """
    found = Survey()
    try:
        names = sorted(root.names(WORK) if among is None else among)
    except FileNotFoundError:
        return found
    for name in names:
        if name in known or not root.is_folder(folder_of(name)):
            continue
        try:
            manifest = read_manifest(root, name).of_inbox(inbox)
        except (ValueError, FileNotFoundError, NotRegular):
            # Made by a claim that got no further: nothing but perhaps half a manifest is in it.
            if any(entry.startswith(f"{SOURCE}.") for entry in root.names(folder_of(name))):
                found.damaged.append(name)
            else:
                clear_away(root, name)
            continue
        clip, is_ours = manifest.clip, manifest.journal == journal_id
        if not is_in_work(root, clip):
            if is_ours:
                _clear_unclaimed(root, clip, manifest.kept)
            elif is_claimed(root, clip, manifest.kept):
                found.cut.append(UnknownFolder(clip, manifest.jobs, manifest.journal, manifest.kept))
            continue
        if is_ours and claimant_of(root, name) == journal_id:
            # The previous owner can see it before the ledger is read, and then does not submit the clip.
            take_over(root, name, journal_id)
            finish_take_over(root, manifest)
        try:
            lines = notes(root, name)
        except (ValueError, NotRegular):
            found.damaged.append(name)  # what was paid for is not known: it is neither sent nor removed
            continue
        finish_claim(root, clip)
        settle_in(root, manifest, is_ours=is_ours)
        reach("adopted")
        jobs = tuple(one for job in manifest.jobs for one in _with_parts(job, lines))
        (found.ours if is_ours else found.foreign).append(UnknownFolder(clip, jobs, manifest.journal))
    return found


def _clear_unclaimed(root: Root, clip: Clip, kept: str) -> None:
    """Remove a work folder of this journal that its clip never reached, or has left."""
    # A clip with a hidden name was never entered in the journal, so nothing was sent for it.
    if is_claimed(root, clip, kept) and not _is_put_back(root, clip, kept):
        return
    if any(root.exists(join(folder, clip.path)) for folder in (DONE, FAILED)):
        keep_references(root, clip)  # a crash came before its work folder was swept
    clear_away(root, clip.id)


def _is_put_back(root: Root, clip: Clip, kept: str) -> bool:
    try:
        put_back(root, clip, kept)
    except Unavailable:
        raise
    except OSError as error:  # the rescan tries again
        log.warning("claim_not_settled", inbox=clip.inbox, clip=clip.path, why=error.strerror or str(error))
        return False
    return True


def left_behind(inbox: str, root: Root, journal_id: str, known: set[str]) -> Sequence[Accepted]:
    """Return the clips that a crash left between acceptance and entry in this journal. Raises OSError."""
    found = survey(inbox, root, journal_id, known)
    for folder in found.damaged:
        log.error("work_folder_damaged", inbox=inbox, folder=folder)
    return [Accepted(one.clip, one.jobs) for one in found.ours]


def claimed_late(inbox: str, root: Root, journal_id: str, names: Collection[str]) -> Sequence[Accepted]:
    """Return what a former leader of the farm claimed and could not record; raises OSError.

    `names` are work folders of which this journal knows nothing. Those without a clip are left alone.
    """
    whole = set()
    for name in names:
        with suppress(ValueError, FileNotFoundError, NotRegular):
            manifest = read_manifest(root, name).of_inbox(inbox)
            if manifest.journal == journal_id and is_in_work(root, manifest.clip):
                whole.add(name)
    return [Accepted(one.clip, one.jobs) for one in survey(inbox, root, journal_id, (), whole).ours]


def tidy(root: Root, now: float) -> None:
    """Remove half-written files of ours that a crash left, an hour old or more. Raises Unavailable."""
    _forget_taken(root, now)
    open_ends = [OURS, POSTERS, FAILED]
    while open_ends:
        rel = open_ends.pop()
        with forgiving(OSError):  # a link, closed to us, too deep: no reason for an inbox to do nothing
            with root.folder(rel) as folder, os.scandir(folder) as entries:
                found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
            root.clear_temporaries(rel, [name for name, _ in found], now)
            if rel.split("/")[0] == FAILED:
                open_ends += [
                    join(rel, name) for name, is_folder in found if is_folder and not is_temporary(name)
                ]


def _forget_taken(root: Root, now: float) -> None:
    """Remove the records of clips taken over long ago: their previous owner has given them up or is gone."""
    names: list[str] = []
    with forgiving(OSError):  # none was ever taken over, or somebody made a file of the folder
        names = root.names(TAKEN)
    for name in names:
        with forgiving(OSError):  # another machine was faster
            there = root.stat(join(TAKEN, name))
            if stat.S_ISREG(there.st_mode) and now - there.st_mtime > _TAKEN_SECONDS:
                root.remove(join(TAKEN, name))


def _with_parts(job: Job, lines: Sequence[Mapping[str, Any]]) -> list[Job]:
    """Return a job as its ledger says; one that was split with the jobs of its parts.

    Parts of which none was sent are forgotten: the clip is cut again, and approved again where it has to be.
    """
    parts = parts_noted(lines, job.id)
    for line in lines:
        if parts and line.get("job") == job.id and line.get("what") == "parts":
            job = replace(job, prepared_by=_attempt_of(line))
    whole = recovered_split(job, parts)
    noted = [_as_noted(part, lines) for part in part_jobs(whole, job.created_at)]
    if all(part.task is None for part in noted):
        return [_as_noted(replace(job, prepared_by=""), lines)]
    return [replace(whole, version=max(part.version for part in noted)), *noted]


def _as_noted(job: Job, lines: Sequence[Mapping[str, Any]]) -> Job:
    """Return a job as its ledger says: with its task, in doubt after an intent, cancelled, or queued."""
    number, at = 0, job.created_at
    last: Any = None
    version: object = job.version
    task: Task | None = None
    why = ""
    for line in lines:
        if line.get("job") != job.id:
            continue
        profile, task_id = str(line.get("profile", "")), line.get("task_id")
        match line.get("what"):
            case "intent":
                # Its own number: that of a clip which was put away and retried begins above 1.
                last = line.get("number")
                is_next = type(last) is int and number < last < SUBMISSIONS_MAX
                number = last if is_next else number + 1
                task = Task(number, profile, intent_at=at)
                version = line.get("version", version)
                job = replace(job, prepared_by=_attempt_of(line))
            case "reused":
                earlier = str(line.get("from_job", ""))
                why = f"job {earlier} delivered the same already; `clipspool approve` pays for it again"
            case "duplicate":
                why = (
                    "it was held as a duplicate; `clipspool approve` pays for it, `clipspool cancel` ends it"
                )
            case "not_submitted" if line.get("number", last) == last:
                # A certain refusal of the newest intent alone; an older one's may be noted late.
                task = None
            case "task" if is_task_id(task_id):
                task = Task(max(number, 1), profile, intent_at=at, task_id=task_id, created_at=at)
    if isinstance(version, int) and 0 < version <= VERSION_MAX:  # known only once the clip had been read
        job = replace(job, version=version)
    ended = end_noted(lines, job.id)
    if ended is not None and (task is None or task.task_id is None):
        return recovered_ended(job, task, *ended)
    if task is None and why:
        return replace(job, held=Held.DUPLICATE, reason=why)
    return job if task is None else recovered(job, task)


def _attempt_of(line: Mapping[str, Any]) -> str:
    """Return the attempt whose files were sent; anybody may have written the line, and it becomes a name."""
    attempt = line.get("attempt")
    return attempt if isinstance(attempt, str) and _ATTEMPT.fullmatch(attempt) else ""


def what_came_of(root: Root, job: Job, waiting: Collection[str], journal_id: str = "") -> Event:
    """Return what became of a request that was being submitted when the daemon ended.

    Where another journal took the clip over meanwhile, the doubt is that journal's; `journal_id` is ours.
    The intent is on the ledger's disk before a byte is sent: a ledger without it proves that none was, and so
    does one with it whose token is among those still `waiting`. A ledger that cannot be read, or that has
    more than the journal, proves nothing. Raises Unavailable: a folder that is away shows it once it is back.
    """
    ours = job.task.number if job.task else 0
    try:
        if journal_id and (taker := taker_of(root, job.clip_id, journal_id)):
            return TakenOver(taker, host_of(root, taker), was_on_its_way=True)
        lines = whole_notes(root, job.clip_id)
    except Unavailable:
        raise
    except (OSError, ValueError):
        return Interrupted()  # no proof that nothing was sent is a doubt, and a doubt is never sent again
    event: Event = NotSent()
    token = None
    is_shared = is_ours = False
    for line in lines:
        if line.get("job") != job.id:
            continue
        number = line.get("number")
        match line.get("what"):
            case "intent" if isinstance(number, int) and number < ours:
                # A daemon that was frozen may add its earlier intent after this one, and then sends nothing.
                event = event if is_ours else NotSent()
            case "intent":
                # Two lines with one number: a daemon with a copy of this journal may have sent it.
                is_shared, is_ours = isinstance(event, Interrupted), number == ours
                event, token = Interrupted(), line.get("token")
                if number != ours:
                    return event
            case "not_submitted" if line.get("number", ours) == ours:
                event = NotSent()
            case "task" if line.get("number", ours) == ours and is_task_id(line.get("task_id")):
                event = TaskCreated(line["task_id"]) if isinstance(event, Interrupted) else event
    is_waiting = isinstance(token, str) and token in waiting and not is_shared
    return NotSent() if isinstance(event, Interrupted) and is_waiting else event


def late_answer(root: Root, job: Job) -> TaskCreated | None:
    """Return the task that a former leader noted for a job in doubt; None where its ledger shows none."""
    event = what_came_of(root, job, ())
    return event if isinstance(event, TaskCreated) else None


def adoptable(
    inbox: str,
    root: Root,
    journal_id: str,
    known: set[str],
    entered: Callable[[Collection[str]], Collection[str]],
    journals: Collection[str],
) -> Sequence[Accepted]:
    """Take over the clips of other `journals` in an inbox; return them and what a crash left behind.

    Of several machines that take over the same clips, each clip goes to one. What was taken from this journal
    stays with its taker: `entered` returns which clips it has, retired ones too: a clip is entered once.
    """
    before = survey(inbox, root, journal_id, known)
    wanted = {one.clip.id: one for one in (*before.foreign, *before.cut) if one.journal in journals}
    for clip_id in sorted(wanted.keys() - set(entered(wanted.keys()))):
        if not claim_manifest(root, clip_id, wanted[clip_id].journal, journal_id):
            continue  # another machine was faster: the clip, and what was paid for it, is that one's
        reach("taking-over")
        clip = wanted[clip_id].clip
        kept = wanted[clip_id].kept
        if wanted[clip_id] in before.cut and is_claimed(root, clip, kept):
            # Back in the inbox it is accepted again; a daemon that still copies it finds it taken over.
            take_over(root, clip_id, journal_id)
            if _is_put_back(root, clip, kept):
                clear_away(root, clip_id)
    # Read once more, as they are now: each claim is finished before its ledger is read.
    found = survey(inbox, root, journal_id, known)
    return [Accepted(one.clip, one.jobs) for one in found.ours]
