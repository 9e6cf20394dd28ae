"""The journal: jobs as they are now, and everything that ever happened to them.

Changes are gathered during a turn and written in one transaction; what raises in there ends the daemon before
it can spend. One thread owns it.
"""

from __future__ import annotations

import functools
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.exc import DatabaseError, OperationalError

from clipspool.jobs.events import Event, Order, name_of
from clipspool.jobs.model import STILL_TRIED, TERMINAL, Clip, Job, State, plain
from clipspool.journal.batch import Batch, insert, update, upsert
from clipspool.journal.database import (
    HEAD,
    Identity,
    JournalError,
    check_integrity,
    make_home,
    migrate,
    open_engine,
    unreadable,
    version_of,
)
from clipspool.journal.questions import Questions
from clipspool.journal.queue import count_for_disk
from clipspool.journal.rows import (
    CLIP_BYTES,
    clip_change,
    clip_row,
    job_change,
    job_row,
    read_clip,
    read_job,
    select_clips,
    select_jobs,
    task_row,
    to_json,
)
from clipspool.journal.tables import clips, events, facts, jobs, tasks

_KEPT_MAX = 1000
_CLIP_FIELDS = frozenset(field.name for field in fields(Clip))
_FIXED = ("clip_id", "inbox", "variant", "node", "request", "created_at")
_CHANGING = tuple(c.name for c in jobs.c if c.name != "id" and c.name not in _FIXED)
_INSERT_CLIP = sa.insert(clips)
_INSERT_JOBS = insert(jobs, [c.name for c in jobs.c])
_UPDATE_JOBS = update(jobs, "id", _CHANGING)
_UPSERT_TASKS = upsert(tasks, ("job_id", "number", "segment"), [c.name for c in tasks.c if not c.primary_key])
_INSERT_EVENTS = insert(events, [c.name for c in events.c if c.name != "id"])
_NEW_FACT = sqlite_insert(facts)
_SET_FACT = _NEW_FACT.on_conflict_do_update(index_elements=["name"], set_={"value": _NEW_FACT.excluded.value})
_JOBS = select_jobs.where(jobs.c.id.in_(sa.bindparam("ids", expanding=True)))
_KNOWN = sa.select(clips.c.id).where(clips.c.id.in_(sa.bindparam("ids", expanding=True)))
_CLIP = select_clips.where(clips.c.id == sa.bindparam("id"))
_STILL_OPEN = sa.select(jobs.c.clip_id).where(
    jobs.c.clip_id.in_(sa.bindparam("ids", expanding=True)),
    jobs.c.state.not_in([s.value for s in TERMINAL]),
)


@functools.cache
def _update_clip(names: frozenset[str]) -> sa.Update:
    columns: dict[str, Any] = {name: sa.bindparam(name) for name in names}
    return sa.update(clips).where(clips.c.id == sa.bindparam("clip_id")).values(columns)


@functools.cache
def _update_clips(names: frozenset[str]) -> Batch:
    return update(clips, "id", sorted(names))


def _waits_for_disk(job: Job) -> bool:
    return job.state is State.QUEUED and job.held in STILL_TRIED


def _keep(kept: OrderedDict[str, Any], name: str, value: Any) -> None:
    kept[name] = value
    kept.move_to_end(name)
    if len(kept) > _KEPT_MAX:
        kept.popitem(last=False)


class Journal(Questions):
    """The one who reads and writes it. Writing methods belong into `turn`."""

    def __init__(self, engine: sa.Engine, connection: sa.Connection) -> None:
        """Take an open connection; `open` and `read` are the ways to get one."""
        super().__init__(connection)
        self._engine = engine
        self._changed: dict[str, Job] = {}
        self._tasks: dict[tuple[str, int], tuple[Job, Any]] = {}
        self._events: list[dict[str, Any]] = []
        # What was last read or written, since one thread makes every change.
        self._clips: OrderedDict[str, Clip] = OrderedDict()
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._clip_changes: dict[frozenset[str], list[dict[str, Any]]] = {}
        self._new_clips: list[dict[str, Any]] = []
        self._new_jobs: list[dict[str, Any]] = []
        self.committed: Callable[[float], object] = lambda _seconds: None
        """Is told how long each commit took that made something durable."""
        self.identity = Identity()
        """What is compared before a turn is over."""
        self._is_written = False

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open for writing, made or migrated where needed; raises JournalError with one sentence."""
        make_home(path)
        is_new = not path.exists()
        engine = open_engine(path)
        try:
            connection = engine.connect()
            try:
                if not is_new:
                    check_integrity(connection, path)
                migrate(connection, path)
            except BaseException:
                connection.close()
                raise
            journal = cls(engine, connection)
            with journal.turn():
                if journal.fact("id") is None:
                    journal.set_fact("id", secrets.token_hex(8))
            journal.identity.know(path)
            real = path.resolve()  # SQLite follows a link, and writes beside the file itself
            journal.identity.know(real.with_name(f"{real.name}-wal"))
        except DatabaseError as error:
            raise JournalError(
                f"The journal {path} cannot be used ({error.orig}). Keep the file, move it aside and run "
                "`clipspool recover`."
            ) from error
        journal.counts = journal.count()
        journal.for_disk = count_for_disk(journal._connection)
        return journal

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Open for reading beside a running daemon; None where there is none yet."""
        if not path.exists():
            return None
        engine = open_engine(path, read_only=True)
        try:
            connection = engine.connect()
            try:
                version = version_of(connection)
            except BaseException:
                connection.close()
                raise
            if version is None:
                connection.close()
                return None
            if version != HEAD:
                connection.close()
                raise JournalError(
                    f"The journal {path} belongs to another version of clipspool (schema {version}, and this "
                    f"one reads {HEAD}); an older one is taken over by `clipspool run`."
                )
            journal = cls(engine, connection)
            journal.counts = journal.count()
            journal.for_disk = count_for_disk(journal._connection)
        except DatabaseError as error:
            raise unreadable(path, error) from error
        return journal

    def close(self) -> None:
        """Give the connection back."""
        self._connection.close()
        self._engine.dispose()

    # --- a turn -----------------------------------------------------------------------------------------

    @contextmanager
    def turn(self) -> Iterator[None]:
        """One transaction: everything in it is durable once the block is left, or nothing is.

        Raises JournalError where it cannot be: the disk is full or fails, or somebody took the file away.
        """
        try:
            yield
            self.flush()
            if self._connection.in_transaction():
                begun = time.perf_counter()
                self._connection.commit()
                self.identity.make_sure()
                if self._is_written:
                    self.committed(time.perf_counter() - begun)
                self._is_written = False
        except BaseException as error:
            self._forget_gathered()
            if self._connection.in_transaction():
                self._connection.rollback()
            if isinstance(error, OperationalError):
                raise JournalError(f"The journal cannot be written ({error.orig}).") from error
            raise

    def _forget_gathered(self) -> None:
        for gathered in (self._changed, self._tasks, self._clips, self._jobs, self._clip_changes):
            gathered.clear()
        for rows in (self._events, self._new_clips, self._new_jobs):
            rows.clear()

    def flush(self) -> None:
        """Write what was recorded in this turn, so that queries see it."""
        self._is_written |= bool(self._new_clips or self._changed or self._events or self._clip_changes)
        if self._new_clips:
            self._connection.execute(_INSERT_CLIP, self._new_clips)
            _INSERT_JOBS.run(self._connection, self._new_jobs)
            self._new_clips.clear()
            self._new_jobs.clear()
        if self._changed:
            _UPDATE_JOBS.run(self._connection, [job_change(j) for j in self._changed.values()])
            self._changed.clear()
        if self._tasks:
            _UPSERT_TASKS.run(self._connection, [task_row(j, t) for j, t in self._tasks.values()])
            self._tasks.clear()
        for names, changes in self._clip_changes.items():
            if names & CLIP_BYTES and any(change[name] for change in changes for name in names & CLIP_BYTES):
                self._connection.execute(_update_clip(names), changes)
            else:
                _update_clips(names).run(self._connection, changes)
        self._clip_changes.clear()
        if self._events:
            _INSERT_EVENTS.run(self._connection, self._events)
            self._events.clear()

    def known(self, clip_ids: Collection[str]) -> set[str]:
        """Give those of the clips that are in the journal already."""
        found = {clip_id for clip_id in clip_ids if clip_id in self._clips}
        missing = [clip_id for clip_id in clip_ids if clip_id not in found]
        if missing:
            found.update(self._connection.execute(_KNOWN, {"ids": missing}).scalars())
        return found

    def accept(self, clip: Clip, accepted: Collection[Job]) -> None:
        """Enter a clip that is not `known`, with its jobs."""
        self._new_clips.append(clip_row(clip))
        self._new_jobs += [job_row(j) for j in accepted]
        _keep(self._clips, clip.id, clip)
        for job in accepted:
            _keep(self._jobs, job.id, replace(job, path=clip.path))
            self.counts[job.state] += 1
            if job.task is not None:
                self._tasks[job.id, job.task.number] = (job, job.task)
            self._tell(
                job.clip_id, job.id, "accepted", clip.accepted_at, None, job.state, {"size": clip.size}
            )

    def record(self, before: Job, after: Job, happened: Event) -> None:
        """Write down what an event made of a job; a look with nothing new leaves no history."""
        self._changed[after.id] = after
        _keep(self._jobs, after.id, after)
        if after.task is not None and after.task is not before.task:
            self._tasks[after.id, after.task.number] = (after, after.task)
        self.counts[before.state] -= 1
        self.counts[after.state] += 1
        self.for_disk += _waits_for_disk(after) - _waits_for_disk(before)
        is_seen = (before.state, before.held, before.reason) != (after.state, after.held, after.reason)
        if is_seen or isinstance(happened, Order):
            name = name_of(type(happened))
            self._tell(
                after.clip_id, after.id, name, after.updated_at, before.state, after.state, plain(happened)
            )

    def _tell(
        self,
        clip_id: str,
        job_id: str | None,
        name: str,
        at: float,
        before: State | None,
        after: State | None,
        told: Mapping[str, Any],
    ) -> None:
        self._events.append(
            {
                "at": at,
                "clip_id": clip_id,
                "job_id": job_id,
                "event": name,
                "from_state": before,
                "to_state": after,
                "facts": to_json({k: v for k, v in told.items() if v not in (None, "", {}, [])}),
            }
        )

    def hash_clip(
        self, clip_id: str, sha256: str, size: int, mtime_ns: int, media: Mapping[str, Any] | None = None
    ) -> None:
        """Remember what the prepare stage read; the clip lies in its work folder then."""
        read = {
            "sha256": sha256,
            "size": size,
            "mtime_ns": mtime_ns,
            "lies_at": None,
            "sidecar_lies_at": None,
        }
        self._set_clip(clip_id, **read, **({"media": media} if media else {}))

    def bring_back(self, clip_id: str) -> None:
        """Note that a retired clip is wanted again; its source still lies where it retired to."""
        self._set_clip(clip_id, retired_at=None, retire_due=None)

    def retire_ended(self, clip_ids: Collection[str], now: float) -> None:
        """Let those of the clips retire that have no open job left."""
        if not clip_ids:
            return
        self.flush()
        still_open = set(self._connection.execute(_STILL_OPEN, {"ids": list(clip_ids)}).scalars())
        for clip_id in set(clip_ids) - still_open:
            self._set_clip(clip_id, retire_due=now, retire_attempts=0)

    def has_open_job(self, clip_id: str) -> bool:
        """Tell whether any job of a clip is open."""
        self.flush()
        return self._connection.execute(_STILL_OPEN, {"ids": [clip_id]}).first() is not None

    def relocate(self, clip: Clip) -> None:
        """Note where a clip's source and sidecar lie now."""
        self._set_clip(
            clip.id,
            lies_at=clip.lies_at,
            sidecar_lies_at=clip.sidecar_lies_at,
            retire_due=None,
        )

    def retire_later(self, clip_id: str, due_at: float, attempts: int) -> None:
        """Note that a clip could not retire yet."""
        self._set_clip(clip_id, retire_due=due_at, retire_attempts=attempts)

    def set_aside(self, clip: Clip, now: float, why: str) -> None:
        """Let a clip not retire before the operator says so."""
        self._set_clip(clip.id, retire_due=None)
        self._tell(clip.id, None, "set_aside", now, None, None, {"reason": why})

    def retire_again(self, now: float, inbox: str | None) -> None:
        """Have ended clips retire that were set aside, of one inbox or of all."""
        self.flush()
        of_it = jobs.c.clip_id == clips.c.id
        is_open = sa.exists().where(of_it, jobs.c.state.not_in([s.value for s in TERMINAL]))
        query = sa.update(clips).where(clips.c.retired_at.is_(None), clips.c.retire_due.is_(None), ~is_open)
        query = query if inbox is None else query.where(clips.c.inbox == inbox)
        self._connection.execute(query.values(retire_due=now))

    def retired(self, clip: Clip, now: float, change: str = "") -> None:
        """Note durably where a clip's source lies by now, and how it differs from what was sent."""
        self.relocate(clip)
        self._set_clip(clip.id, retired_at=now, retire_due=None)
        facts = {"to": clip.lies_at or "", **({"change": change} if change else {})}
        self._tell(clip.id, None, "retired", now, None, None, facts)

    def _set_clip(self, clip_id: str, **columns: Any) -> None:
        if clip_id in self._clips:
            self._clips[clip_id] = replace(
                self._clips[clip_id], **{name: columns[name] for name in columns if name in _CLIP_FIELDS}
            )
        change = {"clip_id": clip_id, "id": clip_id, **clip_change(columns)}
        self._clip_changes.setdefault(frozenset(columns), []).append(change)

    def set_fact(self, name: str, value: Any) -> None:
        """Remember a single fact: what is paused, what the brake is, which folder is which inbox."""
        self._is_written = True
        self._connection.execute(_SET_FACT, {"name": name, "value": to_json(value)})

    def forget_fact(self, name: str) -> None:
        """Remove a fact."""
        self._is_written = True
        self._connection.execute(sa.delete(facts).where(facts.c.name == name))

    # --- questions, answered from what was kept where that serves -------------------------------------------

    def clip(self, clip_id: str) -> Clip | None:
        """Give one clip."""
        if clip_id in self._clips:
            return self._clips[clip_id]
        if self._clip_changes:
            self.flush()
        row = self._connection.execute(_CLIP, {"id": clip_id}).mappings().first()
        if row is None:
            return None
        clip = read_clip(row)
        _keep(self._clips, clip_id, clip)
        return clip

    def load(self, ids: Collection[str]) -> dict[str, Job]:
        """Give several jobs by their ids."""
        found = {job_id: self._jobs[job_id] for job_id in ids if job_id in self._jobs}
        missing = [job_id for job_id in ids if job_id not in found]
        if missing:
            for row in self._connection.execute(_JOBS, {"ids": missing}).mappings():
                found[row["id"]] = read_job(row)
        return found

    def rest(self) -> None:
        """End a look: what is asked next sees the journal as it is then."""
        self._clips.clear()
        self._jobs.clear()
        if self._connection.in_transaction():
            self._connection.rollback()

    def bring_forward(self, now: float) -> None:
        """Let everything be due that waits, but for what its editor wants later: the clock was set back."""
        self.flush()
        waiting = [s.value for s in (State.QUEUED, State.RUNNING, State.RENDERED, State.FETCHED)]
        late = sa.and_(jobs.c.state.in_(waiting), jobs.c.due_at > now)
        is_wanted_later = jobs.c.request.contains('"not_before"')
        self._connection.execute(sa.update(jobs).where(late, ~is_wanted_later).values(due_at=now))
        self._connection.execute(sa.update(clips).where(clips.c.retire_due > now).values(retire_due=now))
        self._jobs.clear()

    def shift_open_tasks(self, by: float) -> None:
        """Move the times from which open tasks count their age: the clock was set by so many seconds."""
        self.flush()
        is_open = jobs.c.state == State.RUNNING.value
        made = tasks.c.job_id.in_(sa.select(jobs.c.id).where(is_open))
        self._connection.execute(sa.update(tasks).where(made).values(created_at=tasks.c.created_at + by))
        self._connection.execute(
            sa.update(jobs).where(is_open).values(rendering_since=jobs.c.rendering_since + by)
        )
        self._jobs.clear()
