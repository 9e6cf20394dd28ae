"""The journal: jobs as they are now, and everything that ever happened to them.

Changes are gathered during a turn and written in one transaction; what raises in there ends the daemon before
it can spend. One thread owns it.
"""

from __future__ import annotations

import functools
import json
import secrets
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy import RowMapping
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.exc import DatabaseError

from clipspool.durations import Seen
from clipspool.events import ORDERS, Event, name_of
from clipspool.job import TERMINAL, Clip, Job, State, plain
from clipspool.journal.batch import Batch, insert, update, upsert
from clipspool.journal.database import (
    HEAD,
    JournalError,
    check_integrity,
    migrate,
    open_engine,
    version_of,
)
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
_SAME_MAX = 20
_FIXED = ("clip_id", "inbox", "variant", "node", "request", "created_at")
_CHANGING = tuple(c.name for c in jobs.c if c.name != "id" and c.name not in _FIXED)
_INSERT_CLIP = sa.insert(clips)
_INSERT_JOBS = insert(jobs, [c.name for c in jobs.c])
_UPDATE_JOBS = update(jobs, "id", _CHANGING)
_UPSERT_TASKS = upsert(tasks, ("job_id", "number", "segment"), [c.name for c in tasks.c if not c.primary_key])
_INSERT_EVENTS = insert(events, [c.name for c in events.c if c.name != "id"])
_NEW_FACT = sqlite_insert(facts)
_SET_FACT = _NEW_FACT.on_conflict_do_update(index_elements=["name"], set_={"value": _NEW_FACT.excluded.value})
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
_SEEN_EVENTS_MAX = 50_000
_SEEN = sa.text(
    """
    SELECT tasks.profile, json_extract(jobs.request, '$.model'), tasks.created_at, done.at, (
        SELECT max(open.at) FROM events AS open
        WHERE open.job_id = jobs.id AND open.event = 'task_seen' AND open.at < done.at
    )
    FROM events AS done
    JOIN jobs ON jobs.id = done.job_id
    JOIN tasks ON tasks.job_id = jobs.id AND tasks.number = jobs.task_number
    WHERE done.event = 'task_succeeded' AND done.id > (SELECT max(id) FROM events) - :events_max
        AND tasks.created_at BETWEEN tasks.intent_at AND tasks.intent_at + 600 AND done.at > tasks.created_at
    ORDER BY done.id DESC LIMIT :most
    """
)
_JOB = select_jobs.where(jobs.c.id == sa.bindparam("id"))
_JOBS = select_jobs.where(jobs.c.id.in_(sa.bindparam("ids", expanding=True)))
_KNOWN = sa.select(clips.c.id).where(clips.c.id.in_(sa.bindparam("ids", expanding=True)))
_CLIP = select_clips.where(clips.c.id == sa.bindparam("id"))
_SAME_REQUEST = (
    select_jobs.where(
        jobs.c.fingerprint == sa.bindparam("fingerprint"),
        jobs.c.clip_id != sa.bindparam("clip_id"),
        jobs.c.id.not_in(sa.bindparam("apart_from", expanding=True)),
        sa.or_(jobs.c.held.is_(None), jobs.c.held != "duplicate"),
        jobs.c.state != "cancelled",
        sa.or_(jobs.c.state != "failed", jobs.c.paid != "no"),
    )
    .order_by(jobs.c.created_at, jobs.c.id)
    .limit(_SAME_MAX)
)
_SHARED = sa.text(
    "SELECT fingerprint FROM jobs WHERE fingerprint IN (SELECT value FROM json_each(:ones)) "
    "GROUP BY fingerprint HAVING count(DISTINCT clip_id) > 1"
)
_DUPLICATES = select_jobs.where(
    jobs.c.fingerprint == sa.bindparam("fingerprint"),
    jobs.c.clip_id != sa.bindparam("clip_id"),
    jobs.c.state == "queued",
    jobs.c.held == "duplicate",
)
_STILL_OPEN = sa.select(jobs.c.clip_id).where(
    jobs.c.clip_id.in_(sa.bindparam("ids", expanding=True)),
    jobs.c.state.not_in([s.value for s in TERMINAL]),
)
_TO_RETIRE_IDS = (
    sa.select(clips.c.id)
    .where(
        clips.c.retire_due.is_not(None),
        clips.c.retire_due <= sa.bindparam("now"),
        clips.c.inbox == sa.bindparam("inbox"),
    )
    .order_by(clips.c.retire_due)
    .limit(sa.bindparam("most"))
)
_TO_RETIRE = sa.select(sa.func.group_concat(_TO_RETIRE_IDS.subquery().c.id))
_CLIPS = select_clips.where(clips.c.id.in_(sa.bindparam("ids", expanding=True)))
_JOBS_OF = select_jobs.where(jobs.c.clip_id.in_(sa.bindparam("ids", expanding=True))).order_by(jobs.c.id)


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


@functools.cache
def _update_clips(names: frozenset[str]) -> Batch:
    return update(clips, "id", sorted(names))


def _keep(kept: OrderedDict[str, Any], name: str, value: Any) -> None:
    kept[name] = value
    kept.move_to_end(name)
    if len(kept) > _KEPT_MAX:
        kept.popitem(last=False)


@dataclass(frozen=True, slots=True)
class Tally:
    """How many open jobs of an inbox stand alike."""

    inbox: str
    state: State
    held: str | None
    is_later: bool
    """Whether their time has not come yet."""
    count: int


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
        self.committed: Callable[[float], object] = lambda _seconds: None
        """Is told how long each commit took that made something durable."""
        self._is_written = False

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open for writing, made or migrated where needed; raises JournalError with one sentence."""
        path.parent.mkdir(parents=True, exist_ok=True)
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
            version = version_of(connection)
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
                begun = time.perf_counter()
                self._connection.commit()
                if self._is_written:
                    self.committed(time.perf_counter() - begun)
                self._is_written = False
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
        is_seen = (before.state, before.held, before.reason) != (after.state, after.held, after.reason)
        if is_seen or isinstance(happened, ORDERS):
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
            lies_at=clip.lies_at,
            sidecar_lies_at=clip.sidecar_lies_at,
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

    def to_retire(
        self, inbox: str, now: float, most: int, *, but: Collection[str] = ()
    ) -> list[tuple[Clip, list[Job], int]]:
        """Give an inbox's clips whose jobs have all ended, their jobs, and the tries so far."""
        ids = self._connection.execute(
            _TO_RETIRE, {"inbox": inbox, "now": now, "most": most + len(but)}
        ).scalar()
        chosen = [clip_id for clip_id in ids.split(",") if clip_id not in but][:most] if ids else []
        if not chosen:
            return []
        rows = self._connection.execute(_CLIPS, {"ids": chosen}).mappings()
        found = {row["id"]: (read_clip(row), row["retire_attempts"]) for row in rows}
        ended: dict[str, list[Job]] = {clip_id: [] for clip_id in chosen}
        for row in self._connection.execute(_JOBS_OF, {"ids": chosen}).mappings():
            ended[row["clip_id"]].append(read_job(row))
        return [(found[clip_id][0], ended[clip_id], found[clip_id][1]) for clip_id in chosen]

    def next_retire(self, now: float) -> float | None:
        """Say when the next clip is due to retire, after `now`."""
        due_at: float | None = self._connection.execute(_NEXT_RETIRE, {"now": now}).scalar()
        return due_at

    def rest(self) -> None:
        """End a look: what is asked next sees the journal as it is then."""
        self._clips.clear()
        self._jobs.clear()
        if self._connection.in_transaction():
            self._connection.rollback()

    def rows(self, query: sa.Select[Any]) -> Iterator[RowMapping]:
        """Ask a question of one's own; `looks.py` has some."""
        yield from self._connection.execute(query).mappings()

    def jobs_of(self, clip_id: str) -> list[Job]:
        """Give all jobs of a clip, in the order of their variants."""
        return [read_job(row) for row in self._connection.execute(_JOBS_OF, {"ids": [clip_id]}).mappings()]

    def shared(self, fingerprints: Collection[str]) -> set[str]:
        """Give those of the fingerprints that jobs of several clips have."""
        return set(self._connection.execute(_SHARED, {"ones": to_json(list(fingerprints))}).scalars())

    def same_request(self, job: Job, apart_from: Collection[str]) -> list[Job]:
        """Give other clips' jobs that asked for the same and are open, delivered or paid; oldest first."""
        asked = {"fingerprint": job.fingerprint, "clip_id": job.clip_id, "apart_from": list(apart_from)}
        return [read_job(row) for row in self._connection.execute(_SAME_REQUEST, asked).mappings()]

    def duplicates_of(self, job: Job) -> list[Job]:
        """Give the jobs that are set aside because they ask for the same."""
        asked = {"fingerprint": job.fingerprint, "clip_id": job.clip_id}
        return [read_job(row) for row in self._connection.execute(_DUPLICATES, asked).mappings()]

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

    def durations(self, most: int = 200) -> list[Seen]:
        """Give when the last tasks were last known to be open, and seen done; oldest first.

        Looks that showed nothing new are not in the history, so a task may have been open for longer.
        """
        asked = {"most": most, "events_max": _SEEN_EVENTS_MAX}
        rows = self._connection.execute(_SEEN, asked).all()
        return [
            Seen(profile, model, max((open_at or made_at) - made_at, 0.0), done_at - made_at)
            for profile, model, made_at, done_at, open_at in reversed(rows)
        ]

    def last_event(self) -> int:
        """Give the number of the newest event; it never goes back. 0 in an empty journal."""
        number: int | None = self._connection.execute(sa.select(sa.func.max(events.c.id))).scalar()
        return number or 0

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
            .where(
                tasks.c.intent_at >= since,
                sa.or_(tasks.c.task_id.is_not(None), jobs.c.paid != "no", jobs.c.state == "submitting"),
            )
        ).one()
        return Spend(row[0], row[1])

    def count(self) -> Counter[State]:
        """Count the jobs by state."""
        rows = self._connection.execute(sa.select(jobs.c.state, sa.func.count()).group_by(jobs.c.state))
        return Counter({State(state): number for state, number in rows})

    def tallies(self, now: float) -> list[Tally]:
        """Count the open jobs that stand alike."""
        is_later = jobs.c.due_at > now
        query = (
            sa.select(jobs.c.inbox, jobs.c.state, jobs.c.held, is_later, sa.func.count())
            .where(jobs.c.state.in_([s.value for s in State if not s.is_terminal]))
            .group_by(jobs.c.inbox, jobs.c.state, jobs.c.held, is_later)
        )
        rows = self._connection.execute(query)
        return [Tally(inbox, State(state), held, bool(later), n) for inbox, state, held, later, n in rows]

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
