"""What can be asked of a journal. Nothing here changes it, or keeps what it read."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy import RowMapping

from clipspool.jobs.model import Clip, Job, State
from clipspool.jobs.records import ClipCost, Entry, Spend, Tally, current_name
from clipspool.jobs.render_times import Seen
from clipspool.journal.costs import IS_SPENT, cost_of, has_money_moved
from clipspool.journal.queue import candidates
from clipspool.journal.rows import (
    IS_CURRENT,
    Candidate,
    read_clip,
    read_job,
    select_clips,
    select_jobs,
    to_json,
)
from clipspool.journal.tables import clips, events, facts, jobs, tasks

_SAME_MAX = 20
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


class Questions:
    """Asks over a connection; `counts` spares the questions about states that no job is in."""

    def __init__(self, connection: sa.Connection) -> None:
        """Take an open connection."""
        self._connection = connection
        self.counts: Counter[State] = Counter()
        self.for_disk = 0
        """Queued jobs that wait for a disk."""

    def fact(self, name: str) -> Any:
        """Give a remembered fact, None when there is none."""
        row = self._connection.execute(sa.select(facts.c.value).where(facts.c.name == name)).first()
        return None if row is None else json.loads(row.value)

    def job(self, job_id: str) -> Job | None:
        """Give one job."""
        row = self._connection.execute(_JOB, {"id": job_id}).mappings().first()
        return None if row is None else read_job(row)

    def queue(
        self,
        inbox: str,
        now: float,
        most: int,
        *,
        approved_only: bool = False,
        but_models: Collection[str] = (),
    ) -> list[Candidate]:
        """Give an inbox's jobs that may go next: highest priority first, oldest first within."""
        asked = {"inbox": inbox, "now": now, "most": most, "approved": approved_only}
        return candidates(self._connection, asked, but_models, for_disk=bool(self.for_disk))

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

    def rows(self, query: sa.Select[Any]) -> Iterator[RowMapping]:
        """Run a query of the caller's; `looks` has some."""
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

    def ids(
        self, *, states: Collection[State] = (), inbox: str | None = None, most: int | None = None
    ) -> list[str]:
        """Give the ids of jobs, newest first."""
        query = sa.select(jobs.c.id).order_by(jobs.c.created_at.desc(), jobs.c.id).limit(most)
        if states:
            query = query.where(jobs.c.state.in_([s.value for s in states]))
        if inbox is not None:
            query = query.where(jobs.c.inbox == inbox)
        return list(self._connection.execute(query).scalars())

    def find(self, *, states: Collection[State] = (), code: str | None = None) -> Iterator[Job]:
        """Give jobs, newest first; `code` is the beginning of an error's code."""
        query = select_jobs.order_by(jobs.c.created_at.desc(), jobs.c.id)
        if states:
            query = query.where(jobs.c.state.in_([s.value for s in states]))
        for row in self._connection.execute(query).mappings():
            job = read_job(row)
            if code is None or (job.error and job.error.code.startswith(code)):
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
            Entry(r.at, r.job_id, current_name(r.event), r.from_state, r.to_state, json.loads(r.facts))
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

    def has_money_moved(self, since: float, but: str) -> bool:
        """Tell whether another job than `but` was sent, followed or ended since a moment."""
        return has_money_moved(self._connection, since, but)

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
                IS_SPENT,
            )
        ).one()
        return Spend(row[0], row[1])

    def clip_cost(self, clip_id: str) -> ClipCost:
        """Add up what a clip's jobs cost."""
        return cost_of(self._connection, clip_id)

    def count(self) -> Counter[State]:
        """Count the jobs by state."""
        rows = self._connection.execute(sa.select(jobs.c.state, sa.func.count()).group_by(jobs.c.state))
        return Counter({State(state): number for state, number in rows})

    def tallies(self, now: float) -> list[Tally]:
        """Count the open jobs that stand alike."""
        alike = (
            *(jobs.c.inbox, jobs.c.state, jobs.c.held),
            jobs.c.due_at > now,
            sa.or_(jobs.c.attempts > 0, jobs.c.reason != ""),
        )
        is_open = jobs.c.state.in_([s.value for s in State if not s.is_terminal])
        rows = self._connection.execute(sa.select(*alike, sa.func.count()).where(is_open).group_by(*alike))
        return [
            Tally(inbox, State(state), held, bool(later), bool(again), n)
            for inbox, state, held, later, again, n in rows
        ]

    def open_tasks(self) -> dict[str, str]:
        """Give the job of each task that is still to be followed or fetched."""
        followed = [s.value for s in (State.RUNNING, State.RENDERED, State.FETCHED)]
        query = sa.select(tasks.c.task_id, tasks.c.job_id).join(jobs, jobs.c.id == tasks.c.job_id)
        query = query.where(jobs.c.state.in_(followed), tasks.c.task_id.is_not(None))
        return {row.task_id: row.job_id for row in self._connection.execute(query)}

    def follower(self, task_id: str, but: str) -> str | None:
        """Give the job, other than one, whose task it is now, not one it had before; None without."""
        taken = [s.value for s in (State.RUNNING, State.RENDERED, State.FETCHED, State.DELIVERED)]
        query = sa.select(tasks.c.job_id).join(jobs, IS_CURRENT)
        query = query.where(tasks.c.task_id == task_id, jobs.c.state.in_(taken), jobs.c.id != but).limit(1)
        found: str | None = self._connection.execute(query).scalar()
        return found

    def last_written(self) -> float | None:
        """Say when, by the clock of then, the last event was written."""
        query = sa.select(events.c.at).order_by(events.c.id.desc()).limit(1)
        at: float | None = self._connection.execute(query).scalar()
        return at

    def folders(self, inbox: str) -> set[str]:
        """Give the ids of an inbox's clips that have not retired: those with a work folder."""
        query = sa.select(clips.c.id).where(clips.c.inbox == inbox, clips.c.retired_at.is_(None))
        return set(self._connection.execute(query).scalars())
