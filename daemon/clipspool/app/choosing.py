"""Marks a delivered job's results as the chosen ones of its clip: they also lie in `_chosen/` in the outbox.

Only one version or variant of a clip is chosen at a time. Nothing is overwritten, and the results themselves
stay where they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from clipspool.jobs.events import Chosen, Unchosen
from clipspool.jobs.model import Job, Result
from clipspool.jobs.naming import numbered
from clipspool.scheduler import versions
from clipspool.scheduler.commands import NotDone
from clipspool.scheduler.loop import Scheduler
from clipspool.spool.root import Root
from clipspool.spool.sources import holds
from clipspool.spool.watchfolder import Folders
from clipspool.stages.deliver import PAPER
from clipspool.system.atomic import NotRegular, Rel, join, name_of, parent, split_suffix

CHOSEN = "_chosen"
"""The folder in an outbox."""
Ask = Callable[[Callable[[Scheduler], Any]], Any]
"""Runs a function in a turn of the scheduler and returns its answer."""


def choose(
    ask: Ask,
    folders_of: Mapping[str, Folders],
    ids: Sequence[str],
    by: str,
    why: str = "",
    *,
    undo: bool = False,
) -> list[dict[str, Any]]:
    """Choose each of these jobs, or take that back with `undo`; return an answer for each."""
    answers = []
    for job_id in ids:
        try:
            names = _choose(ask, folders_of, job_id, by, why, undo=undo)
            answers.append({"id": job_id, "done": True, "state": "delivered", "names": names})
        except NotDone as refused:
            answers.append({"id": job_id, "done": False, "why": str(refused)})
        except OSError as error:
            answers.append({"id": job_id, "done": False, "why": f"its outbox cannot be used: {error}"})
    return answers


def _choose(
    ask: Ask,
    folders_of: Mapping[str, Folders],
    job_id: str,
    by: str,
    why: str,
    *,
    undo: bool,
) -> list[str]:
    job: Job
    chosen: list[Job]
    job, chosen = ask(lambda scheduler: versions.choice(scheduler, job_id))
    folders = folders_of.get(job.inbox)
    if folders is None:
        raise NotDone(f"the inbox {job.inbox} is not configured any more")
    if undo and not job.chosen:
        raise NotDone("it is not chosen")
    outbox = folders.outbox
    names: tuple[Rel, ...] = ()
    if not undo:
        # Linked before it is recorded: after a crash between the two, the same order finds the link.
        names = tuple(_link(outbox, result) for result in job.results if result.name)
        if not names:
            raise NotDone("it has no result in the outbox")
    if names and names != job.chosen:
        ask(partial(versions.mark, job_id=job_id, event=Chosen(by, names, why)))
        # Looked up after the mark: of two orders at the same moment the later one takes the mark from the
        # other.
        _, chosen = ask(lambda scheduler: versions.choice(scheduler, job_id))
    for one in [job] if undo else [other for other in chosen if other.id != job.id]:
        for name in one.chosen:
            _remove(outbox, name, one.results)
        ask(partial(versions.mark, job_id=one.id, event=Unchosen(by, why)))
    return list(names)


def _link(outbox: Root, result: Result) -> Rel:
    """Give a result and its provenance a second name below `_chosen/`. Raises NotDone, OSError."""
    if not _is_there(outbox, result.name, result):
        raise NotDone(f"its result {result.name} is not in the outbox any more, or is not what was delivered")
    folder = join(CHOSEN, parent(result.name))
    for free in numbered(*split_suffix(name_of(result.name)), spare=len(PAPER)):
        name = join(folder, free)
        try:
            if result.is_folder:
                outbox.copy(result.name, outbox, name)
            else:
                outbox.link(result.name, name)
        except FileExistsError:
            if not _is_there(outbox, name, result):
                continue
        # Its provenance may have been linked before, or somebody removed it from beside the result.
        with suppress(FileExistsError, FileNotFoundError, NotRegular):
            outbox.link(result.name + PAPER, name + PAPER)
        return name
    raise NotDone(f"there is no free name for {result.name} in {CHOSEN}")


def _remove(outbox: Root, name: Rel, results: Sequence[Result]) -> None:
    """Remove a second name, unless somebody put another file in its place. Raises OSError."""
    if any(_is_there(outbox, name, result) for result in results):
        outbox.remove(name + PAPER)
        outbox.discard(name)


def _is_there(outbox: Root, name: Rel, result: Result) -> bool:
    """Whether a name is a result's, by its bytes. Raises OSError."""
    return holds(outbox, name, result.size, result.sha256)
