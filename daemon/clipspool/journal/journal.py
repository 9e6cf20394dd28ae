"""Writes the journal: jobs as they are now, and everything that ever happened to them.

Changes are gathered during a turn and written in one transaction; an error in it ends the daemon before it
can spend. One thread owns it.
"""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import inf
from typing import Any, Self

from clipspool.jobs.events import Event, Order, Vetted, name_of
from clipspool.jobs.model import STILL_TRIED, Clip, Job, State, Task, plain
from clipspool.jobs.nouns import replace
from clipspool.jobs.pacing import NEVER
from clipspool.jobs.records import HookRun
from clipspool.journal.database import Database, Fence, Place, Row, to_json
from clipspool.journal.place import open_database, read_database
from clipspool.journal.questions import OPEN, Questions
from clipspool.journal.rows import clip_row, job_change, job_row, path_bytes, task_row
from clipspool.system.process import closed_on_error

_KEPT_MAX = 1000


def _waits_for_disk(job: Job) -> bool:
    return job.state is State.QUEUED and job.held in STILL_TRIED


def _keep(kept: OrderedDict[str, Any], name: str, value: Any) -> None:
    kept[name] = value
    kept.move_to_end(name)
    if len(kept) > _KEPT_MAX:
        kept.popitem(last=False)


class Journal(Questions):
    """Reads and writes a journal. Writing methods belong into `turn`."""

    def __init__(self, database: Database) -> None:
        """Take a database that is open; `open` and `read` make a journal of a file."""
        super().__init__(database)
        self._new_clips: dict[str, dict[str, Any]] = {}
        self._new_jobs: list[list[Any]] = []
        self._new_parts: list[list[Any]] = []
        self._changed: dict[str, Job] = {}
        self._requests: dict[str, dict[str, Any]] = {}
        self._tasks: dict[tuple[str, int], tuple[Job, Task]] = {}
        self._prepared_clips: dict[str, list[Any]] = {}
        self._moved_clips: dict[str, dict[str, Any]] = {}
        self._events: list[list[Any]] = []
        self._gathered = (
            *(self._new_clips, self._new_jobs, self._new_parts, self._changed, self._requests, self._tasks),
            *(self._prepared_clips, self._moved_clips, self._events),
        )
        # What was last read or written. It cannot become outdated: one thread makes every change.
        self._clips_kept: OrderedDict[str, Clip] = OrderedDict()
        self._jobs_kept: OrderedDict[str, Job] = OrderedDict()
        self._soonest: float | None = None
        """When the first clip is due to retire, infinity where none is; None: it has to be asked."""
        self._open_counted: Sequence[Row] | None = None
        """The open jobs as they were last counted; None: they have to be counted."""
        self._on_commit: Callable[[float], object] = lambda _seconds: None
        """Called with the seconds that each commit took."""

    @classmethod
    def open(cls, place: Place, fence: Fence | None = None) -> Self:
        """Open for writing, made or migrated where needed; raises JournalError with one sentence."""
        journal = cls(open_database(place, fence))
        with closed_on_error(journal):
            with journal.turn():
                if journal.fact("id") is None:
                    journal.set_fact("id", secrets.token_hex(8))
            journal.count_jobs()
        return journal

    @classmethod
    def read(cls, place: Place) -> Self | None:
        """Open for reading beside a running daemon; None where there is none yet. Raises JournalError."""
        database = read_database(place)
        if database is None:
            return None
        journal = cls(database)
        with closed_on_error(journal):
            journal.count_jobs()
        return journal

    def close(self) -> None:
        """Close the connection; what is not committed is lost."""
        self._database.close()

    # --- a turn -----------------------------------------------------------------------------------------

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Make one transaction: everything in the block is durable once it is left, or nothing is.

        Raises JournalError where the disk is full or fails, or the journal's files were removed.
        """
        try:
            yield
            self.flush()
            if self._database.in_transaction:
                begun = time.perf_counter()
                self._database.commit()
                self._on_commit(time.perf_counter() - begun)
        except BaseException:
            for gathered in self._gathered:
                gathered.clear()
            self.rest()
            raise

    def on_commit(self, listener: Callable[[float], object]) -> None:
        """Call `listener` with the seconds that each commit takes."""
        self._on_commit = listener

    def rest(self) -> None:
        """End a look: later questions are answered by the journal as it is then."""
        self._clips_kept.clear()
        self._jobs_kept.clear()
        self._soonest = self._open_counted = None
        self._database.rollback()

    def flush(self) -> None:
        """Write what was recorded in this turn, so that queries see it."""
        if not any(self._gathered):
            return
        self._begin()
        database = self._database
        if self._new_clips:
            database.run_many("insert_clips", list(self._new_clips.values()))
            database.run("insert_jobs", rows=self._new_jobs)
        if self._new_parts:
            database.run("insert_jobs", rows=self._new_parts)
        if self._changed:
            database.run("update_jobs", rows=[job_change(job) for job in self._changed.values()])
        if self._requests:
            database.run_many("update_requests", list(self._requests.values()))
        if self._tasks:
            database.run("upsert_tasks", rows=[task_row(job, task) for job, task in self._tasks.values()])
        if self._prepared_clips:
            database.run("update_prepared_clips", rows=list(self._prepared_clips.values()))
        if self._moved_clips:
            database.run_many("update_moved_clips", list(self._moved_clips.values()))
        if self._events:
            database.run("insert_events", rows=self._events)
        for gathered in self._gathered:
            gathered.clear()

    def _begin(self) -> None:
        """Begin the transaction with the first write, so that a turn without one holds no lock."""
        self._soonest = self._open_counted = None
        if not self._database.in_transaction:
            self._database.begin()

    def _write(self, statement: str, **values: Any) -> None:
        self._begin()
        self._database.run(statement, **values)

    # --- jobs -------------------------------------------------------------------------------------------

    def known(self, clip_ids: Collection[str]) -> set[str]:
        """Return those of the clips that are in the journal already."""
        found = {clip_id for clip_id in clip_ids if clip_id in self._clips_kept}
        missing = [clip_id for clip_id in clip_ids if clip_id not in found]
        if missing:
            found.update(self._database.column("known_clips", ids=missing))
        return found

    def accept(self, clip: Clip, accepted: Collection[Job]) -> None:
        """Enter a clip that is not `known`, with its jobs."""
        self._new_clips[clip.id] = clip_row(clip)
        self._new_jobs += [job_row(job) for job in accepted]
        _keep(self._clips_kept, clip.id, clip)
        for job in accepted:
            _keep(self._jobs_kept, job.id, replace(job, path=clip.path))
            self._count_job(job, 1)
            if job.task is not None:
                self._tasks[job.id, job.task.number] = (job, job.task)
            self._add_event(
                clip.accepted_at, clip.id, job.id, "accepted", None, job.state, {"size": clip.size}
            )

    def add_job(self, job: Job) -> None:
        """Enter one more job of a clip that is known, in the queue; a retired clip is wanted again."""
        self.flush()
        self._write("insert_jobs", rows=[job_row(job)])
        _keep(self._jobs_kept, job.id, job)
        self._count_job(job, 1)
        self.bring_back(job.clip_id)

    def add_parts(self, parts: Collection[Job]) -> None:
        """Enter the parts of a job of a clip that is known, in the queue."""
        self._new_parts += [job_row(part) for part in parts]
        for part in parts:
            _keep(self._jobs_kept, part.id, part)
            self._count_job(part, 1)
            facts = {"of": part.whole_id, "part": part.part}
            self._add_event(part.updated_at, part.clip_id, part.id, "entered", None, part.state, facts)

    def record(self, before: Job, after: Job, happened: Event) -> None:
        """Record what an event made of a job; a look with nothing new leaves no history."""
        self._changed[after.id] = after
        if after.request is not before.request:
            self._requests[after.id] = {"id": after.id, "request": to_json(after.request.to_dict())}
        _keep(self._jobs_kept, after.id, after)
        if after.task is not None and after.task is not before.task:
            self._tasks[after.id, after.task.number] = (after, after.task)
        self._count_job(before, -1)
        self._count_job(after, 1)
        self.for_disk += _waits_for_disk(after) - _waits_for_disk(before)
        is_seen = (before.state, before.held, before.reason) != (after.state, after.held, after.reason)
        if is_seen or isinstance(happened, Order | Vetted):
            self._add_event(
                *(after.updated_at, after.clip_id, after.id, name_of(type(happened))),
                *(before.state, after.state, plain(happened)),
            )

    def _add_event(
        self,
        at: float,
        clip_id: str,
        job_id: str | None,
        name: str,
        before: State | None,
        after: State | None,
        facts: Mapping[str, Any],
    ) -> None:
        known = {key: value for key, value in facts.items() if value not in (None, "", {}, [])}
        self._events.append([at, clip_id, job_id, name, before, after, to_json(known)])

    def load(self, ids: Collection[str]) -> dict[str, Job]:
        """Return jobs by their ids; unknown ones are left out."""
        found = {job_id: self._jobs_kept[job_id] for job_id in ids if job_id in self._jobs_kept}
        return found | self._jobs([job_id for job_id in ids if job_id not in found])

    # --- clips ------------------------------------------------------------------------------------------

    def clip(self, clip_id: str) -> Clip | None:
        """Return one clip, None where there is none."""
        if clip_id in self._clips_kept:
            return self._clips_kept[clip_id]
        if self._is_gathered(clip_id):
            self.flush()
        clip = super().clip(clip_id)
        if clip is not None:
            _keep(self._clips_kept, clip_id, clip)
        return clip

    def hash_clip(
        self, clip_id: str, sha256: str, size: int, mtime_ns: int, media: Mapping[str, Any] | None = None
    ) -> None:
        """Record what the prepare stage read; the clip lies in its work folder then."""
        if clip_id in self._moved_clips:
            self.flush()
        written = to_json(media) if media else None
        self._prepared_clips[clip_id] = [clip_id, sha256, size, mtime_ns, written]
        self._change_kept(
            clip_id,
            sha256=sha256,
            size=size,
            mtime_ns=mtime_ns,
            lies_at=None,
            sidecar_lies_at=None,
            **({"media": media} if media else {}),
        )

    def relocate(self, clip: Clip) -> None:
        """Record where a clip's source and sidecar lie now."""
        self._move(clip, None)

    def retired(self, clip: Clip, now: float, change: str = "") -> None:
        """Record where a clip's source lies after it retired, and how it differs from what was sent."""
        self._move(clip, now)
        facts = {"to": clip.lies_at or "", "change": change}
        self._add_event(now, clip.id, None, "retired", None, None, facts)

    def pruned(self, clip: Clip, now: float, size: int) -> None:
        """Record that a retired clip's source is removed from the inbox, with all that lay beside it."""
        self._move(replace(clip, lies_at=None, sidecar_lies_at=None), None)
        self._add_event(now, clip.id, None, "pruned", None, None, {"from": clip.lies_at, "size": size})

    def forget(self, clip_ids: Collection[str]) -> list[str]:
        """Remove the history of ended clips, and altogether those for which nothing was ever submitted.

        Jobs that were submitted stay, with their tasks: duplicates and spending are known by them. Returns
        the clips that are gone.
        """
        self.flush()
        ids = list(clip_ids)
        self._write("delete_history", ids=ids)
        gone: list[str] = self._database.column("clips_never_submitted", ids=ids)
        for job in self._chosen("jobs_of_clips", ids=gone):
            self._count_job(job, -1)
            self._jobs_kept.pop(job.id, None)
        self._write("delete_jobs", ids=gone)
        self._write("delete_clips", ids=gone)
        for clip_id in gone:
            self._clips_kept.pop(clip_id, None)
        return gone

    def _move(self, clip: Clip, retired_at: float | None) -> None:
        places = {"lies_at": clip.lies_at, "sidecar_lies_at": clip.sidecar_lies_at}
        self._moved_clips[clip.id] = {
            "id": clip.id,
            "retired_at": retired_at,
            **{name: path_bytes(path) for name, path in places.items()},
        }
        self._change_kept(clip.id, **places, **({} if retired_at is None else {"retired_at": retired_at}))

    def bring_back(self, clip_id: str) -> None:
        """Record that a retired clip is wanted again; its source still lies where it retired to."""
        self._change_clip("bring_clip_back", clip_id)
        self._change_kept(clip_id, retired_at=None)

    def to_retire(
        self, inbox: str, now: float, most: int, *, but: Collection[str] = ()
    ) -> list[tuple[Clip, list[Job], int]]:
        """Return an inbox's clips that are due to retire; nothing is asked where none is, in any inbox."""
        return [] if self._first_retirement() > now else super().to_retire(inbox, now, most, but=but)

    def _count_open(self) -> Sequence[Row]:
        if self._open_counted is None:
            self._open_counted = super()._count_open()
        return self._open_counted

    def next_retire(self, now: float) -> float | None:
        """Return when the next clip is due to retire, after `now`."""
        first = self._first_retirement()
        return super().next_retire(now) if first <= now else None if first == inf else first

    def _first_retirement(self) -> float:
        if self._soonest is None:
            due_at = self._database.value("soonest_retirement")
            self._soonest = inf if due_at is None else due_at
        return self._soonest

    def retire_ended(self, clip_ids: Collection[str], now: float) -> None:
        """Mark for retirement those of the clips that have no open job left."""
        if clip_ids:
            self.flush()
            self._write("retire_ended_clips", ids=list(clip_ids), now=now, open=OPEN)

    def retire_later(self, clip_id: str, due_at: float, attempts: int) -> None:
        """Record when a clip that could not retire is tried again."""
        self._change_clip("retire_clip_later", clip_id, due_at=due_at, attempts=attempts)

    def set_aside(self, clip: Clip, now: float, why: str) -> None:
        """Keep a clip from retiring until the operator decides."""
        self._change_clip("set_clip_aside", clip.id)
        self._add_event(now, clip.id, None, "set_aside", None, None, {"reason": why})

    def retire_again(self, now: float, inbox: str | None) -> None:
        """Try again to retire ended clips that were set aside, of one inbox or of all."""
        self.flush()
        self._write("retire_clips_again", now=now, inbox=inbox, open=OPEN)

    def has_open_job(self, clip_id: str) -> bool:
        """Whether any job of a clip is open."""
        self.flush()
        return bool(self._database.value("open_jobs_of_clip", clip_id=clip_id, open=OPEN))

    def _is_gathered(self, clip_id: str) -> bool:
        return any(clip_id in rows for rows in (self._new_clips, self._prepared_clips, self._moved_clips))

    def _change_clip(self, statement: str, clip_id: str, **values: Any) -> None:
        if self._is_gathered(clip_id):
            self.flush()
        self._write(statement, id=clip_id, **values)

    def _change_kept(self, clip_id: str, **changes: Any) -> None:
        if clip_id in self._clips_kept:
            self._clips_kept[clip_id] = replace(self._clips_kept[clip_id], **changes)

    def hook_ran(self, job: Job, run: HookRun, now: float) -> None:
        """Record in a job's history how a hook ended that ran after the job's own end."""
        self._add_event(now, job.clip_id, job.id, "hook_ran", job.state, job.state, plain(run))

    # --- facts, and a clock that was set ----------------------------------------------------------------

    def set_fact(self, name: str, value: Any) -> None:
        """Remember a single fact: what is paused, what the brake is, which folder is which inbox."""
        self._write("set_fact", name=name, value=to_json(value))

    def forget_fact(self, name: str) -> None:
        """Remove a fact."""
        self._write("delete_fact", name=name)

    def bring_forward(self, now: float) -> None:
        """Make everything due that waits, but for what its editor wants later: the clock was set back."""
        self.flush()
        waiting = (State.QUEUED, State.RUNNING, State.RENDERED, State.FETCHED)
        self._write("bring_jobs_forward", now=now, never=NEVER, states=[state.value for state in waiting])
        self._write("bring_clips_forward", now=now)
        self._jobs_kept.clear()

    def shift_open_tasks(self, by: float) -> None:
        """Move the times from which open tasks count their age: the clock was set by `by` seconds."""
        self.flush()
        self._write("shift_tasks", seconds=by, state=State.RUNNING.value)
        self._write("shift_jobs", seconds=by, state=State.RUNNING.value)
        self._jobs_kept.clear()
