"""The journal: jobs as they are now, and everything that ever happened to them.

Changes are gathered during a turn and written in one transaction; what raises in there ends the daemon before
it can spend. One thread owns it.
"""

from __future__ import annotations

import functools
import json
import secrets
from collections import Counter, OrderedDict
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.exc import DatabaseError

from clipspool.events import Event, name_of
from clipspool.job import TERMINAL, Clip, Job, State
from clipspool.journal.batch import insert, update, upsert
from clipspool.journal.database import JournalError, check_integrity, migrate, open_engine, version_of
from clipspool.journal.rows import (
    clip_row,
    encoded,
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
_FIXED = ("clip_id", "inbox", "variant", "node", "request", "created_at")
_CHANGING = tuple(c.name for c in jobs.c if c.name != "id" and c.name not in _FIXED)
_INSERT_CLIP = sa.insert(clips)
_INSERT_JOBS = insert(jobs, [c.name for c in jobs.c])
_UPDATE_JOBS = update(jobs, "id", _CHANGING)
_UPSERT_TASKS = upsert(tasks, ("job_id", "number", "segment"), [c.name for c in tasks.c if not c.primary_key])
_INSERT_EVENTS = insert(events, [c.name for c in events.c if c.name != "id"])
_IN_QUEUE = sa.text("jobs.state = 'queued' AND jobs.held IS NULL")  # to the letter, for the partial index
_QUEUE = (
    sa.select(
        jobs.c.id,
        jobs.c.clip_id,
        jobs.c.inbox,
        jobs.c.priority,
        jobs.c.prepared,
        jobs.c.approved,
        jobs.c.credits_estimated,
    )
    .where(
        _IN_QUEUE,
        jobs.c.inbox == sa.bindparam("inbox"),
        jobs.c.due_at <= sa.bindparam("now"),
        jobs.c.approved >= sa.bindparam("approved"),
    )
    .order_by(jobs.c.priority.desc(), jobs.c.created_at, jobs.c.id)
    .limit(sa.bindparam("most"))
)
_DUE_IDS = (
    sa.select(jobs.c.id)
    .where(jobs.c.state == sa.bindparam("state"), jobs.c.due_at <= sa.bindparam("now"))
    .order_by(jobs.c.due_at)
    .limit(sa.bindparam("most"))
)
_DUE = sa.select(sa.func.group_concat(_DUE_IDS.subquery().c.id))
_DUE_HERE = sa.select(
    sa.func.group_concat(_DUE_IDS.where(jobs.c.inbox == sa.bindparam("inbox")).subquery().c.id)
)
_NEXT_DUE = sa.select(sa.func.min(jobs.c.due_at)).where(
    jobs.c.state == sa.bindparam("state"), jobs.c.due_at > sa.bindparam("now")
)
_NEXT_RETIRE = sa.select(sa.func.min(clips.c.retire_due)).where(clips.c.retire_due > sa.bindparam("now"))
_JOB = select_jobs.where(jobs.c.id == sa.bindparam("id"))
_JOBS = select_jobs.where(jobs.c.id.in_(sa.bindparam("ids", expanding=True)))
_KNOWN = sa.select(clips.c.id).where(clips.c.id == sa.bindparam("id"))
_CLIP = select_clips.where(clips.c.id == sa.bindparam("id"))
_STILL_OPEN = sa.select(jobs.c.clip_id).where(
    jobs.c.clip_id.in_(sa.bindparam("ids", expanding=True)),
    jobs.c.state.not_in([s.value for s in TERMINAL]),
)
_TO_RETIRE = (
    select_clips.where(
        clips.c.retire_due.is_not(None),
        clips.c.retire_due <= sa.bindparam("now"),
        clips.c.inbox == sa.bindparam("inbox"),
    )
    .order_by(clips.c.retire_due)
    .limit(sa.bindparam("most"))
)


@dataclass(frozen=True, slots=True)
class Spend:
    """What was submitted since a moment: tasks, and credits charged or, until known, estimated."""

    submissions: int = 0
    credits: float = 0.0


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of history."""

    at: float
    job_id: str | None
    event: str
    from_state: str | None
    to_state: str | None
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A queued job, as far as the choice of who goes next needs it."""

    id: str
    clip_id: str
    inbox: str
    priority: int
    prepared: bool
    approved: bool
    credits_estimated: float | None


@functools.cache
def _update_clip(names: frozenset[str]) -> sa.Update:
    columns: dict[str, Any] = {name: sa.bindparam(name) for name in names}
    return sa.update(clips).where(clips.c.id == sa.bindparam("clip_id")).values(columns)


def _keep(kept: OrderedDict[str, Any], name: str, value: Any) -> None:
    kept[name] = value
    kept.move_to_end(name)
    if len(kept) > _KEPT_MAX:
        kept.popitem(last=False)


class Journal:
    """The one who reads and writes it. Writing methods belong into `turn`."""

    def __init__(self, engine: sa.Engine, connection: sa.Connection) -> None:
        """Take an open connection; `open` and `read` are the ways to get one."""
        self._engine = engine
        self._connection = connection
        self._changed: dict[str, Job] = {}
        self._tasks: dict[tuple[str, int], tuple[Job, Any]] = {}
        self._events: list[dict[str, Any]] = []
        # What was last read or written, since one thread makes every change.
        self._clips: OrderedDict[str, Clip] = OrderedDict()
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._clip_changes: dict[frozenset[str], list[dict[str, Any]]] = {}
        self._new_clips: list[dict[str, Any]] = []
        self._new_jobs: list[dict[str, Any]] = []
        self.counts: Counter[State] = Counter()

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open for writing, made or migrated where needed; raises JournalError with one sentence."""
        path.parent.mkdir(parents=True, exist_ok=True)
        is_new = not path.exists()
        engine = open_engine(path)
        try:
            connection = engine.connect()
            if not is_new:
                check_integrity(connection, path)
            migrate(connection, path)
            journal = cls(engine, connection)
            with journal.turn():
                if journal.fact("id") is None:
                    journal.set_fact("id", secrets.token_hex(8))
        except DatabaseError as error:
            raise JournalError(
                f"The journal {path} cannot be used ({error.orig}). Keep the file, move it aside and run "
                "`clipspool recover`."
            ) from error
        journal.counts = journal.count()
        return journal

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Open for reading beside a running daemon; None where there is none yet."""
        if not path.exists():
            return None
        engine = open_engine(path, read_only=True)
        try:
            connection = engine.connect()
            if version_of(connection) is None:
                connection.close()
                return None
            journal = cls(engine, connection)
            journal.counts = journal.count()
        except DatabaseError as error:
            raise JournalError(f"The journal {path} cannot be read ({error.orig}).") from error
        return journal

    def close(self) -> None:
        """Give the connection back."""
        self._connection.close()
        self._engine.dispose()

    # --- a turn -----------------------------------------------------------------------------------------

    @contextmanager
    def turn(self) -> Iterator[None]:
        """One transaction: everything in it is durable once the block is left, or nothing is."""
        try:
            yield
            self.flush()
            if self._connection.in_transaction():
                self._connection.commit()
        except BaseException:
            self._forget_gathered()
            if self._connection.in_transaction():
                self._connection.rollback()
            raise

    def _forget_gathered(self) -> None:
        for gathered in (self._changed, self._tasks, self._clips, self._jobs, self._clip_changes):
            gathered.clear()
        for rows in (self._events, self._new_clips, self._new_jobs):
            rows.clear()

    def flush(self) -> None:
        """Write what was recorded in this turn, so that queries see it."""
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
            self._connection.execute(_update_clip(names), changes)
        self._clip_changes.clear()
        if self._events:
            _INSERT_EVENTS.run(self._connection, self._events)
            self._events.clear()

    def accept(self, clip: Clip, accepted: Collection[Job]) -> bool:
        """Enter a clip with its jobs; False when it is in the journal already."""
        if clip.id in self._clips or self._connection.execute(_KNOWN, {"id": clip.id}).first() is not None:
            return False
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
        return True

    def record(self, before: Job, after: Job, happened: Event) -> None:
        """Write down what an event made of a job; a look with nothing new leaves no history."""
        self._changed[after.id] = after
        _keep(self._jobs, after.id, after)
        if after.task is not None and after.task is not before.task:
            self._tasks[after.id, after.task.number] = (after, after.task)
        self.counts[before.state] -= 1
        self.counts[after.state] += 1
        if (before.state, before.held, before.reason) != (after.state, after.held, after.reason):
            name = name_of(type(happened))
            self._tell(
                after.clip_id, after.id, name, after.updated_at, before.state, after.state, asdict(happened)
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
                "facts": to_json({k: v for k, v in told.items() if v not in (None, "", {}, ())}),
            }
        )

    def hash_clip(self, clip_id: str, sha256: str, size: int, mtime_ns: int) -> None:
        """Remember what the prepare stage read; the clip lies in its work folder then."""
        self._set_clip(
            clip_id, sha256=sha256, size=size, mtime_ns=mtime_ns, lies_at=None, sidecar_lies_at=None
        )

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
            lies_at=encoded(clip.lies_at),
            sidecar_lies_at=encoded(clip.sidecar_lies_at),
            retire_due=None,
        )

    def retire_later(self, clip_id: str, due_at: float, attempts: int) -> None:
        """Note that a clip could not retire yet."""
        self._set_clip(clip_id, retire_due=due_at, retire_attempts=attempts)

    def retired(self, clip: Clip, now: float) -> None:
        """Note that a clip's source lies where it retired to, durably."""
        self.relocate(clip)
        self._set_clip(clip.id, retired_at=now, retire_due=None)
        self._tell(clip.id, None, "retired", now, None, None, {"to": clip.lies_at or ""})

    def _set_clip(self, clip_id: str, **columns: Any) -> None:
        self._clips.pop(clip_id, None)
        self._clip_changes.setdefault(frozenset(columns), []).append({"clip_id": clip_id, **columns})

    def set_fact(self, name: str, value: Any) -> None:
        """Remember a single fact: what is paused, what the brake is, which folder is which inbox."""
        new = sqlite_insert(facts).values(name=name, value=to_json(value))
        self._connection.execute(
            new.on_conflict_do_update(index_elements=["name"], set_={"value": new.excluded.value})
        )

    def forget_fact(self, name: str) -> None:
        """Remove a fact."""
        self._connection.execute(sa.delete(facts).where(facts.c.name == name))

    # --- questions --------------------------------------------------------------------------------------

    def fact(self, name: str) -> Any:
        """Give a remembered fact, None when there is none."""
        row = self._connection.execute(sa.select(facts.c.value).where(facts.c.name == name)).first()
        return None if row is None else json.loads(row.value)

    def job(self, job_id: str) -> Job | None:
        """Give one job."""
        row = self._connection.execute(_JOB, {"id": job_id}).mappings().first()
        return None if row is None else read_job(row)

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

    def queue(self, inbox: str, now: float, most: int, *, approved_only: bool = False) -> list[Candidate]:
        """Give an inbox's jobs that may go next: highest priority first, oldest first within."""
        asked = {"inbox": inbox, "now": now, "most": most, "approved": approved_only}
        rows = self._connection.execute(_QUEUE, asked)
        return [Candidate(*row) for row in rows]

    def due(self, state: State, now: float, most: int, inbox: str | None = None) -> list[str]:
        """Give the ids of jobs in a state that are due, longest due first; of one inbox, or of all."""
        if not self.counts[state]:
            return []
        asked = {"state": state.value, "now": now, "most": most}
        query = _DUE if inbox is None else _DUE_HERE
        ids = self._connection.execute(query, asked if inbox is None else {**asked, "inbox": inbox}).scalar()
        return ids.split(",") if ids else []

    def next_due(self, state: State, now: float) -> float | None:
        """Say when the next job in a state falls due, after `now`."""
        if not self.counts[state]:
            return None
        due_at: float | None = self._connection.execute(
            _NEXT_DUE, {"state": state.value, "now": now}
        ).scalar()
        return due_at

    def to_retire(self, inbox: str, now: float, most: int) -> list[tuple[Clip, int]]:
        """Give an inbox's clips whose jobs have all ended, with the tries so far."""
        rows = self._connection.execute(_TO_RETIRE, {"inbox": inbox, "now": now, "most": most}).mappings()
        return [(read_clip(row), row["retire_attempts"]) for row in rows]

    def next_retire(self, now: float) -> float | None:
        """Say when the next clip is due to retire, after `now`."""
        due_at: float | None = self._connection.execute(_NEXT_RETIRE, {"now": now}).scalar()
        return due_at

    def jobs_of(self, clip_id: str) -> list[Job]:
        """Give all jobs of a clip, in the order of their variants."""
        rows = self._connection.execute(
            select_jobs.where(jobs.c.clip_id == clip_id).order_by(jobs.c.id)
        ).mappings()
        return [read_job(row) for row in rows]

    def find(
        self,
        *,
        states: Collection[State] = (),
        inbox: str | None = None,
        code: str | None = None,
        most: int | None = None,
    ) -> Iterator[Job]:
        """Give jobs, newest first; `code` is the beginning of an error's code."""
        query = select_jobs.order_by(jobs.c.created_at.desc(), jobs.c.id)
        if states:
            query = query.where(jobs.c.state.in_([s.value for s in states]))
        if inbox is not None:
            query = query.where(jobs.c.inbox == inbox)
        count = 0
        for row in self._connection.execute(query).mappings():
            job = read_job(row)
            if code is not None and not (job.error and job.error.code.startswith(code)):
                continue
            if most is not None and count >= most:
                return
            count += 1
            yield job

    def history(self, job: Job) -> list[Entry]:
        """Give everything that happened to a job and to its clip, oldest first."""
        query = (
            sa.select(events)
            .where(
                (events.c.job_id == job.id) | ((events.c.clip_id == job.clip_id) & events.c.job_id.is_(None))
            )
            .order_by(events.c.id)
        )
        return [
            Entry(r.at, r.job_id, r.event, r.from_state, r.to_state, json.loads(r.facts))
            for r in self._connection.execute(query)
        ]

    def spent(self, since: float) -> Spend:
        """Add up what was submitted since a moment, lost answers included: they may have been paid."""
        row = self._connection.execute(
            sa.select(
                sa.func.count(),
                sa.func.coalesce(
                    sa.func.sum(sa.func.coalesce(tasks.c.credits, tasks.c.credits_reserved)), 0.0
                ),
            )
            .join(jobs, jobs.c.id == tasks.c.job_id)
            .where(tasks.c.intent_at >= since, sa.or_(tasks.c.task_id.is_not(None), jobs.c.paid != "no"))
        ).one()
        return Spend(row[0], row[1])

    def count(self) -> Counter[State]:
        """Count the jobs by state."""
        rows = self._connection.execute(sa.select(jobs.c.state, sa.func.count()).group_by(jobs.c.state))
        return Counter({State(state): number for state, number in rows})

    def open_tasks(self) -> dict[str, str]:
        """Give the job of each task that is still to be followed or fetched."""
        followed = [s.value for s in (State.RUNNING, State.RENDERED, State.FETCHED)]
        query = sa.select(tasks.c.task_id, tasks.c.job_id).join(jobs, jobs.c.id == tasks.c.job_id)
        query = query.where(jobs.c.state.in_(followed), tasks.c.task_id.is_not(None))
        return {row.task_id: row.job_id for row in self._connection.execute(query)}

    def last_written(self) -> float | None:
        """Say when, by the clock of then, the last event was written."""
        query = sa.select(events.c.at).order_by(events.c.id.desc()).limit(1)
        at: float | None = self._connection.execute(query).scalar()
        return at

    def bring_forward(self, now: float) -> None:
        """Let everything be due that waits, but for what its editor wants later: the clock was set back."""
        self.flush()
        waiting = [s.value for s in (State.QUEUED, State.RUNNING, State.RENDERED, State.FETCHED)]
        late = sa.and_(jobs.c.state.in_(waiting), jobs.c.due_at > now)
        is_wanted_later = jobs.c.request.contains('"not_before"')
        self._connection.execute(sa.update(jobs).where(late, ~is_wanted_later).values(due_at=now))
        self._connection.execute(sa.update(clips).where(clips.c.retire_due > now).values(retire_due=now))
        self._jobs.clear()

    def folders(self, inbox: str) -> set[str]:
        """Give the ids of an inbox's clips that have not retired: those with a work folder."""
        query = sa.select(clips.c.id).where(clips.c.inbox == inbox, clips.c.retired_at.is_(None))
        return set(self._connection.execute(query).scalars())
