"""What the work folders tell: clips that the journal missed by a crash, and all of them when it is lost."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import structlog

from clipspool.jobs.events import Event, Interrupted, NotSent, TakenOver, TaskCreated
from clipspool.jobs.lifecycle import recovered
from clipspool.jobs.messages import Accepted
from clipspool.jobs.model import Clip, Held, Job, Task
from clipspool.spool.claims import finish_claim, is_claimed, is_in_work, put_back
from clipspool.spool.handover import claim_manifest, finish_take_over, take_over, taker_of
from clipspool.spool.layout import FAILED, POSTERS, SOURCE, TAKEN, WORK
from clipspool.spool.ledger import notes, whole_notes
from clipspool.spool.peers import host_of
from clipspool.spool.root import Root, Unavailable
from clipspool.spool.workfolder import (
    claimant_of,
    clear_away,
    folder_of,
    keep_references,
    read_manifest,
    settle_in,
)
from clipspool.system.atomic import OURS, NotRegular, join
from clipspool.system.failpoint import reach

log = structlog.get_logger()

_TAKEN_SECONDS = 30 * 86_400.0


@dataclass(frozen=True, slots=True)
class Found:
    """A work folder that the journal does not know."""

    clip: Clip
    jobs: tuple[Job, ...]
    journal: str
    """Whose it is."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What lies in an inbox's work folders besides what the journal knows."""

    ours: tuple[Found, ...] = ()
    """Accepted by this journal's daemon, which ended before it could write that down."""
    foreign: tuple[Found, ...] = ()
    """Accepted by another journal: another machine's, or one that was lost."""
    damaged: tuple[str, ...] = ()
    """Folders whose manifest cannot be read; a clip in them is kept."""
    cut: tuple[Found, ...] = ()
    """Clips under a hidden name whose claim by another journal is not finished, or was cut short."""


def survey(inbox: str, root: Root, journal_id: str, known: set[str]) -> Survey:
    """Look through an inbox's work folders, clearing away those that a crash left without a clip.

    What lies in an inbox is that inbox's, whatever its manifest says: it may have had another name, and who
    writes here must not reach another's outbox. Raises OSError.
    """
    ours: list[Found] = []
    foreign: list[Found] = []
    damaged: list[str] = []
    cut: list[Found] = []
    try:
        names = sorted(root.names(WORK))
    except FileNotFoundError:
        return Survey()
    for name in names:
        if name in known or not root.is_folder(folder_of(name)):
            continue
        try:
            manifest = read_manifest(root, name).of_inbox(inbox)
        except (ValueError, FileNotFoundError, NotRegular):
            # Made by a claim that got no further: nothing but perhaps half a manifest is in it.
            if not any(entry.startswith(f"{SOURCE}.") for entry in root.names(folder_of(name))):
                clear_away(root, name)
            else:
                damaged.append(name)
            continue
        if not is_in_work(root, manifest.clip):
            if manifest.journal == journal_id:
                _clear_unclaimed(root, manifest.clip)
            elif is_claimed(root, manifest.clip):
                cut.append(Found(manifest.clip, manifest.jobs, manifest.journal))
            continue
        if manifest.journal == journal_id and claimant_of(root, name) == journal_id:
            # Whoever had it learns of it before the ledger is read, and refuses by itself to submit later.
            take_over(root, name, journal_id)
            finish_take_over(root, manifest)
        try:
            lines = notes(root, name)
        except (ValueError, NotRegular):
            damaged.append(name)  # what was paid for is not known
            continue
        finish_claim(root, manifest.clip)
        settle_in(root, manifest, is_ours=manifest.journal == journal_id)
        reach("adopted")
        found = Found(manifest.clip, tuple(_as_noted(job, lines) for job in manifest.jobs), manifest.journal)
        (ours if manifest.journal == journal_id else foreign).append(found)
    return Survey(tuple(ours), tuple(foreign), tuple(damaged), tuple(cut))


def _clear_unclaimed(root: Root, clip: Clip) -> None:
    """Clear away a work folder of this journal that its clip never reached, or has left."""
    # Under its hidden name a clip was never entered in the journal, so nothing was sent for it.
    if is_claimed(root, clip) and not _is_put_back(root, clip):
        return
    if root.exists(join(FAILED, clip.path)):
        keep_references(root, clip)  # a crash came before its work folder was swept
    clear_away(root, clip.id)


def _is_put_back(root: Root, clip: Clip) -> bool:
    try:
        put_back(root, clip)
    except Unavailable:
        raise
    except OSError as error:  # the rescan tries again
        log.warning("claim_not_settled", inbox=clip.inbox, clip=clip.path, why=error.strerror or str(error))
        return False
    return True


def left_behind(inbox: str, root: Root, journal_id: str, known: set[str]) -> Sequence[Accepted]:
    """Give what a crash left between its acceptance and its entry in this journal.

    Raises OSError.
    """
    found = survey(inbox, root, journal_id, known)
    for folder in found.damaged:
        log.error("work_folder_damaged", inbox=inbox, folder=folder)
    return [Accepted(one.clip, one.jobs) for one in found.ours]


def tidy(root: Root, now: float) -> None:
    """Remove what a crash left half-written in folders of ours, an hour old or more. Raises Unavailable."""
    _forget_taken(root, now)
    open_ends = [OURS, POSTERS, FAILED]
    while open_ends:
        rel = open_ends.pop()
        try:
            with root.folder(rel) as folder, os.scandir(folder) as entries:
                found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
            root.clear_temporaries(rel, [name for name, is_folder in found if not is_folder], now)
        except Unavailable:
            raise
        except OSError:  # a link, closed to us, too deep: no reason for an inbox to do nothing
            continue
        if rel.split("/")[0] == FAILED:
            open_ends += [join(rel, name) for name, is_folder in found if is_folder]


def _forget_taken(root: Root, now: float) -> None:
    """Remove what tells of clips taken over long ago: who had them has let go, or is no more."""
    try:
        names = root.names(TAKEN)
    except Unavailable:
        raise
    except OSError:  # none was ever taken over, or somebody made a file of the folder
        return
    for name in names:
        try:
            there = root.stat(join(TAKEN, name))
            if stat.S_ISREG(there.st_mode) and now - there.st_mtime > _TAKEN_SECONDS:
                root.remove(join(TAKEN, name))
        except Unavailable:
            raise
        except OSError:  # another machine was faster
            continue


def _as_noted(job: Job, lines: Sequence[Mapping[str, Any]]) -> Job:
    """Put a job where its ledger says: with its task, in doubt after a bare intent, held or queued."""
    number = 0
    task: Task | None = None
    twin = ""
    for line in lines:
        if line.get("job") != job.id:
            continue
        if line.get("what") == "intent":
            number += 1
            task = Task(number, str(line.get("profile", "")), intent_at=job.created_at)
        elif line.get("what") == "reused":
            twin = str(line.get("from_job", ""))
        elif line.get("what") == "not_submitted":
            task = None
        elif line.get("what") == "task" and isinstance(line.get("task_id"), str):
            task = Task(
                max(number, 1),
                str(line.get("profile", "")),
                intent_at=job.created_at,
                task_id=line["task_id"],
                created_at=job.created_at,
            )
    if task is None and twin:
        reason = f"job {twin} delivered the same already; `clipspool approve` pays for it again"
        return replace(job, held=Held.DUPLICATE, reason=reason)
    return job if task is None else recovered(job, task)


def what_came_of(root: Root, job: Job, waiting: Collection[str], journal_id: str = "") -> Event:
    """Say how far the request of a job came that was being submitted when the daemon ended.

    A clip that another journal took over meanwhile is for that one to doubt; `journal_id` is this one's.
    The intent is on the ledger's disk before a byte leaves: a ledger without it proves that none did, and so
    does one with it whose token is among those still `waiting`. What cannot be read, or knows of more than
    the journal, proves nothing.
    """
    ours = job.task.number if job.task else 0
    try:
        if journal_id and (taker := taker_of(root, job.clip_id, journal_id)):
            return TakenOver(taker, host_of(root, taker), was_on_its_way=True)
        lines = whole_notes(root, job.clip_id)
    except (OSError, ValueError):
        return Interrupted()
    event: Event = NotSent()
    token = None
    is_shared = False
    for line in lines:
        if line.get("job") != job.id:
            continue
        number = line.get("number")
        match line.get("what"):
            case "intent" if isinstance(number, int) and number < ours:
                event = NotSent()
            case "intent":
                # Two lines with one number: a daemon with a copy of this journal may have sent it.
                is_shared = isinstance(event, Interrupted)
                event, token = Interrupted(), line.get("token")
                if number != ours:
                    return event
            case "not_submitted":
                event = NotSent()
            case "task" if isinstance(line.get("task_id"), str) and isinstance(event, Interrupted):
                event = TaskCreated(line["task_id"])
    is_waiting = isinstance(token, str) and token in waiting and not is_shared
    return NotSent() if isinstance(event, Interrupted) and is_waiting else event


def adoptable(
    inbox: str,
    root: Root,
    journal_id: str,
    known: set[str],
    entered: Callable[[Collection[str]], Collection[str]],
    journals: Collection[str],
) -> Sequence[Accepted]:
    """Make clips of other `journals` in an inbox this journal's; gives them and what a crash left behind.

    Of several machines that take over the same, each clip goes to one. What was taken from this journal stays
    with its taker: `entered` says which clips it has, retired ones too, and a clip is entered once.
    """
    before = survey(inbox, root, journal_id, known)
    wanted = {one.clip.id: one for one in (*before.foreign, *before.cut) if one.journal in journals}
    for clip_id in sorted(wanted.keys() - set(entered(wanted.keys()))):
        if not claim_manifest(root, clip_id, wanted[clip_id].journal, journal_id):
            continue
        reach("taking-over")
        clip = wanted[clip_id].clip
        if wanted[clip_id] in before.cut and is_claimed(root, clip):
            # In the inbox again it is accepted anew; a daemon that still copies it finds it taken over.
            take_over(root, clip_id, journal_id)
            if _is_put_back(root, clip):
                clear_away(root, clip_id)
    # Read once more, as what they are now: each is finished before its ledger is read.
    found = survey(inbox, root, journal_id, known)
    return [Accepted(one.clip, one.jobs) for one in found.ours]
