"""Removes what `[retention]` does not keep: sources in `_done` and `_failed`, posters, and history.

Files are found and removed outside the scheduler's thread. Before a clip's files are removed, a turn records
it: a job that is retried at that moment either keeps its source, or fails because it is gone. What money
depends on stays in the journal: each job that was submitted, its tasks, and what it asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any

import structlog

from clipspool.jobs.model import Clip
from clipspool.journal import Journal
from clipspool.scheduler.loop import Scheduler
from clipspool.spool.kept import gone_since
from clipspool.spool.layout import DONE, FAILED
from clipspool.spool.pruning import File, NotOurs, edited_sidecar, file_at, files_of, posters_of, remove
from clipspool.spool.root import Root
from clipspool.spool.timelines import ended_timelines, forget
from clipspool.spool.workfolder import folder_of

log = structlog.get_logger()

PRUNED_AT = "pruned_at"
"""The fact with the time of the last run, in Unix seconds."""
_PRUNING = "pruning:"
"""The facts, by inbox, with the files that are being removed."""
_DAY_SECONDS = 86_400.0
_PAGE = 100
"""Clips that are looked at, and forgotten, in one step: a turn of the scheduler stays short."""
_LEFT_MAX = 100


@dataclass(frozen=True, slots=True)
class Retention:
    """How many days after its end a clip's things are kept; None keeps them for ever."""

    done_days: float | None = None
    failed_days: float | None = None
    journal_days: float | None = None
    posters_days: float | None = None

    def __bool__(self) -> bool:
        """Whether anything is removed at all."""
        return self != Retention()


@dataclass(slots=True)
class Count:
    """The number of files, and their bytes."""

    files: int = 0
    bytes: int = 0

    def add(self, files: Iterable[File]) -> None:
        """Count some more."""
        for one in files:
            self.files += 1
            self.bytes += one.size


@dataclass(slots=True)
class Pruned:
    """What was removed from one inbox, or would be."""

    done: Count = field(default_factory=Count)
    failed: Count = field(default_factory=Count)
    posters: Count = field(default_factory=Count)
    histories: int = 0
    """Clips whose history was removed."""
    remembered: int = 0
    """Clips that are gone from an inbox that is only read, and are not remembered any more."""
    left: list[str] = field(default_factory=list)
    """Sources that stay because they are not what was put there, at most a hundred."""
    trouble: str = ""
    """Why the inbox could not be looked through."""

    def to_json(self) -> dict[str, Any]:
        """Return it as `prune --json` prints it."""
        counts = {kind: getattr(self, kind) for kind in ("done", "failed", "posters")}
        return {
            **{kind: {"files": one.files, "bytes": one.bytes} for kind, one in counts.items()},
            "histories": self.histories,
            "remembered": self.remembered,
            "left": [one.encode("utf-8", "backslashreplace").decode() for one in self.left],
            "trouble": self.trouble,
        }


class Housekeeping:
    """Removes what is not kept; for one thread at a time, which is not the scheduler's."""

    def __init__(
        self,
        call: Callable[[Callable[[Scheduler], Any]], Any],
        look: Callable[[], AbstractContextManager[Journal]],
        now: Callable[[], float],
    ) -> None:
        """`call` runs a function in a turn of the scheduler; `look` opens the journal to read beside it."""
        self._call, self._look, self._now = call, look, now

    def run(
        self,
        retention: Retention,
        roots: Mapping[str, Root],
        origins: Mapping[str, Root] = MappingProxyType({}),
        *,
        dry_run: bool = False,
    ) -> dict[str, Pruned]:
        """Search all inboxes and remove what is not kept; `dry_run` only counts it.

        `roots` are where our things lie, `origins` the inboxes that are only read.
        """
        reports: dict[str, Pruned] = {}
        for name, root in roots.items():
            report = reports[name] = Pruned()
            try:
                root.bind()
                if not dry_run:
                    self._finish(name, root)
                self._sources(name, root, retention, report, dry_run=dry_run)
                self._timelines(root, retention, report, dry_run=dry_run)
                self._posters(root, retention, report, dry_run=dry_run)
                self._history(name, root, retention, report, dry_run=dry_run)
                if name in origins:
                    self._remembered(root, origins[name], retention, report, dry_run=dry_run)
            except OSError as error:
                report.trouble = error.strerror or str(error)
                log.warning("not_pruned", inbox=name, why=report.trouble)
        if not dry_run:
            self._call(lambda scheduler: scheduler.journal.set_fact(PRUNED_AT, self._now()))
        return reports

    # --- sources ------------------------------------------------------------------------------------------

    def _sources(self, name: str, root: Root, retention: Retention, report: Pruned, *, dry_run: bool) -> None:
        days = [one for one in (retention.done_days, retention.failed_days) if one is not None]
        if not days:
            return
        for clips in self._pages("clips_with_sources", name, min(days)):
            found: dict[str, tuple[Clip, list[File]]] = {}
            for clip, prompts in clips:
                is_done = str(clip.lies_at).startswith(f"{DONE}/")
                kept = retention.done_days if is_done else retention.failed_days
                if kept is None or (clip.retired_at or 0.0) > self._now() - kept * _DAY_SECONDS:
                    continue
                left = edited_sidecar(root, clip)
                try:
                    found[clip.id] = (clip, files_of(root, clip, prompts))
                except NotOurs:
                    left = clip.lies_at
                report.left += [left] if left and len(report.left) < _LEFT_MAX else []
            if not dry_run and found:
                allowed = self._call(partial(_begin, inbox=name, found=found))
                found = {clip_id: one for clip_id, one in found.items() if clip_id in allowed}
                remove(root, [one for _, files in found.values() for one in files])
                self._call(lambda scheduler: scheduler.journal.forget_fact(_PRUNING + name))
            for clip, files in found.values():
                count = report.done if str(clip.lies_at).startswith(f"{DONE}/") else report.failed
                count.add(files)

    def _finish(self, name: str, root: Root) -> None:
        """Remove what a crash left between the record and the removal."""
        with self._look() as journal:
            begun = journal.fact(_PRUNING + name)
        if begun is not None:
            remove(root, [File.from_json(one) for one in begun])
            self._call(lambda scheduler: scheduler.journal.forget_fact(_PRUNING + name))

    def _pages(self, which: str, inbox: str, days: float) -> Iterator[list[tuple[Clip, set[str]]]]:
        """Iterate over clips of an inbox that ended at least `days` ago, each with its jobs' prompts."""
        until, after = self._now() - days * _DAY_SECONDS, ""
        while True:
            with self._look() as journal:
                ids = journal.retired_before(which, inbox, until, after, _PAGE)
                clips = [(clip, journal.jobs_of(clip.id)) for clip in map(journal.clip, ids) if clip]
            if not ids:
                return
            after = ids[-1]
            yield [(clip, {job.request.prompt for job in jobs}) for clip, jobs in clips]

    # --- timelines ----------------------------------------------------------------------------------------

    def _timelines(self, root: Root, retention: Retention, report: Pruned, *, dry_run: bool) -> None:
        """Remove what timelines left besides their clips: themselves, and clips without a mark."""
        for name, left in ended_timelines(root):
            age = (self._now() - (left.ended_at or 0.0)) / _DAY_SECONDS
            is_due = {
                place: days is not None and age >= days
                for place, days in ((DONE, retention.done_days), (FAILED, retention.failed_days))
            }
            due = [one for one in left.files if is_due[one.rel.partition("/")[0]]]
            files = [one for one in due if file_at(root, one.rel) == one]
            changed = [one.rel for one in due if one not in files and root.exists(one.rel)]
            report.left += changed[: _LEFT_MAX - len(report.left)]
            for one in files:
                (report.done if one.rel.startswith(f"{DONE}/") else report.failed).add([one])
            if dry_run:
                continue
            remove(root, files)
            # While it lies in `_failed` a job of it may be retried, and change it again.
            if is_due[DONE] and len(due) == len(left.files):
                forget(root, name)

    # --- posters and history --------------------------------------------------------------------------------

    def _posters(self, root: Root, retention: Retention, report: Pruned, *, dry_run: bool) -> None:
        if retention.posters_days is None:
            return
        until = self._now() - retention.posters_days * _DAY_SECONDS
        posters = posters_of(root)
        ids = list(posters)
        for begin in range(0, len(ids), _PAGE):
            with self._look() as journal:
                # Those of jobs that this journal does not know may be another daemon's.
                known = journal.load(ids[begin : begin + _PAGE]).values()
            files = [
                one
                for job in known
                if job.state.is_terminal and job.updated_at <= until
                for one in posters[job.id]
            ]
            if not dry_run:
                remove(root, files)
            report.posters.add(files)

    def _history(self, name: str, root: Root, retention: Retention, report: Pruned, *, dry_run: bool) -> None:
        if retention.journal_days is None:
            return
        posters: Mapping[str, list[File]] | None = None
        for clips in self._pages("clips_with_history", name, retention.journal_days):
            # A work folder without its clip's row would be accepted again at the next start.
            ids = [clip.id for clip, _ in clips if not root.exists(folder_of(clip.id))]
            if not dry_run and ids:
                gone = set(self._call(partial(_forget, ids=ids)))
                posters = posters_of(root) if gone and posters is None else posters or {}
                remove(root, [f for job, files in posters.items() if job[:12] in gone for f in files])
            report.histories += len(ids)

    # --- what is remembered of an inbox that is only read ---------------------------------------------------

    def _remembered(
        self, root: Root, origin: Root, retention: Retention, report: Pruned, *, dry_run: bool
    ) -> None:
        if retention.done_days is None:
            return
        files = list(gone_since(root, origin, self._now() - retention.done_days * _DAY_SECONDS))
        if not dry_run:
            remove(root, files)
        report.remembered = len(files)


def _is_at_rest(scheduler: Scheduler, clip: Clip | None) -> bool:
    """Whether a clip has ended and nothing runs for it."""
    if clip is None or clip.retired_at is None or clip.id in scheduler.retiring.inboxes:
        return False
    return not scheduler.journal.has_open_job(clip.id)


def _begin(scheduler: Scheduler, inbox: str, found: Mapping[str, tuple[Clip, list[File]]]) -> set[str]:
    """Record that these clips' files are removed; return those of the clips that nobody wants again."""
    journal = scheduler.journal
    allowed: set[str] = set()
    for clip_id, (seen, files) in found.items():
        clip = journal.clip(clip_id)
        # Looked at again inside the turn: a clip that is run again meanwhile still needs its source.
        if clip is not None and _is_at_rest(scheduler, clip) and clip.lies_at == seen.lies_at:
            journal.pruned(clip, scheduler.now(), sum(one.size for one in files))
            allowed.add(clip_id)
    removed = [one.to_json() for clip_id in allowed for one in found[clip_id][1]]
    journal.set_fact(_PRUNING + inbox, removed)
    return allowed


def _forget(scheduler: Scheduler, ids: Collection[str]) -> Collection[str]:
    """Remove the history of clips; return those that are forgotten altogether."""
    at_rest = [one for one in ids if _is_at_rest(scheduler, scheduler.journal.clip(one))]
    return scheduler.journal.forget(at_rest)
