"""Answers what the page asks of the journal, beside the scheduler: pages by index, never the whole of it.

What no index serves (a word in a prompt) is looked for in `SCAN_MAX` jobs at a time; the answer then says
from where to go on, so that no question costs more with a larger journal.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from clipspool.jobs.model import TERMINAL, Clip, Job, State
from clipspool.jobs.records import Entry
from clipspool.journal.costs import IS_SPENT
from clipspool.journal.database import open_engine
from clipspool.journal.journal import Journal
from clipspool.journal.rows import read_job, select_jobs
from clipspool.journal.tables import jobs, tasks

SCAN_MAX = 20_000
"""Jobs looked through for one page of a search."""
_FEW = 2_000
"""So many jobs in a state are sorted at once; more are walked by age."""
_DAY_SECONDS = 86_400
UNDER_WAY = (State.SUBMITTING, State.RUNNING, State.RENDERED, State.FETCHED)
_OPEN = tuple(state for state in State if state not in TERMINAL)

_BY_IDS = select_jobs.where(jobs.c.id.in_(sa.bindparam("ids", expanding=True)))
_COUNT_TO = sa.text(
    "SELECT count(*) FROM "
    "(SELECT 1 FROM jobs WHERE state IN (SELECT value FROM json_each(:states)) LIMIT :most)"
)
_IN_STATES = sa.text(
    "SELECT id FROM jobs INDEXED BY jobs_due WHERE state IN (SELECT value FROM json_each(:states)) "
    "AND (:inbox IS NULL OR inbox = :inbox) AND id < :before ORDER BY id DESC LIMIT :most"
)
_NEWEST_IN = sa.text(
    "SELECT id FROM jobs WHERE state = :state ORDER BY due_at DESC LIMIT :most"  # ended jobs: when they ended
)
_FLOOR = sa.text("SELECT id FROM jobs WHERE id < :before ORDER BY id DESC LIMIT 1 OFFSET :scan")
_WALK = (
    "SELECT j.id FROM jobs j {joins} WHERE j.id < :before AND j.id >= :floor{tests} "
    "ORDER BY j.id DESC LIMIT :most"
)
_JOIN_CLIP = "JOIN clips c ON c.id = j.clip_id"
_JOIN_TASK = "LEFT JOIN tasks t ON t.job_id = j.id AND t.number = j.task_number AND t.segment = 0"
_HAS_WORD = (
    " AND (instr(lower(CAST(c.path AS TEXT)), :word)"
    " OR instr(lower(json_extract(j.request, '$.prompt')), :word)"
    " OR instr(j.id, :word) OR instr(lower(t.task_id), :word)"
    " OR instr(lower(json_extract(j.error, '$.code')), :word))"
)
_DURATIONS = sa.text(
    "SELECT json_extract(j.request, '$.model'), e.at - t.created_at FROM "
    "(SELECT id, request, task_number FROM jobs WHERE state = 'delivered' ORDER BY due_at DESC LIMIT :most)"
    " j "
    "JOIN tasks t ON t.job_id = j.id AND t.number = j.task_number AND t.segment = 0 "
    "JOIN events e ON e.job_id = j.id AND e.event = 'task_succeeded' WHERE e.at > t.created_at"
)
_SPENT = (
    sa.select(
        sa.cast(tasks.c.intent_at / _DAY_SECONDS, sa.Integer).label("day"),
        jobs.c.inbox,
        sa.func.count(),
        sa.func.coalesce(sa.func.sum(sa.func.coalesce(tasks.c.credits, tasks.c.credits_reserved)), 0.0),
    )
    .join(jobs, jobs.c.id == tasks.c.job_id)
    .where(tasks.c.intent_at >= sa.bindparam("since"), tasks.c.intent_at < sa.bindparam("until"), IS_SPENT)
    .group_by("day", jobs.c.inbox)
)
_HELD = sa.text(
    "SELECT id FROM jobs INDEXED BY jobs_due WHERE state IN (SELECT value FROM json_each(:states)) "
    "AND held IS NOT NULL"
)
_TOP = "~"
"""Sorts behind every id."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which jobs are wanted; empty means all."""

    states: tuple[State, ...] = ()
    inbox: str | None = None
    word: str = ""
    """Looked for in the clip's path, the prompt, the error's code, and the ids of job and task."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some jobs, newest first."""

    jobs: tuple[Job, ...]
    before: str | None = None
    """Where the next page begins; None when there is nothing more."""
    is_partial: bool = False
    """Whether the search stopped after `SCAN_MAX` jobs, before the page was full."""


@dataclass(frozen=True, slots=True)
class DaySpent:
    """What was submitted from one inbox in one day (UTC)."""

    day: int
    """Days since 1970-01-01."""
    inbox: str
    submissions: int
    credits: float


class Lookup:
    """A way into the journal for reading, safe to be used by several threads."""

    def __init__(self, path: Path) -> None:
        """Take the path of a journal that is there; each look is a connection of its own."""
        self._engine = open_engine(path, read_only=True)

    @contextmanager
    def look(self) -> Iterator[Look]:
        """See the journal as it is at one moment."""
        with self._engine.connect() as connection:
            yield Look(self._engine, connection)


class Look:
    """The journal as it was when this look began."""

    def __init__(self, engine: sa.Engine, connection: sa.Connection) -> None:
        """Take an open connection for reading."""
        self._connection = connection
        self._journal = Journal(engine, connection)

    def job(self, job_id: str) -> Job | None:
        """Give one job."""
        return self._journal.job(job_id)

    def clip(self, clip_id: str) -> Clip | None:
        """Give one clip."""
        return self._journal.clip(clip_id)

    def jobs_of(self, clip_id: str) -> list[Job]:
        """Give all jobs of a clip."""
        return self._journal.jobs_of(clip_id)

    def history(self, job: Job) -> list[Entry]:
        """Give everything that happened to a job."""
        return self._journal.history(job)

    def load(self, ids: Sequence[str]) -> tuple[Job, ...]:
        """Give the jobs with these ids, in this order; unknown ones are left out."""
        if not ids:
            return ()
        rows = self._connection.execute(_BY_IDS, {"ids": list(ids)}).mappings()
        found: Mapping[str, Job] = {row["id"]: read_job(row) for row in rows}
        return tuple(found[job_id] for job_id in ids if job_id in found)

    def page(self, wanted: Filter, before: str | None, size: int) -> Page:
        """Give the newest jobs that are wanted, older than `before`."""
        top = _TOP if before is None else before
        if wanted.states and not wanted.word and self._are_few(wanted.states):
            asked = {"states": _json(wanted.states), "inbox": wanted.inbox, "before": top, "most": size + 1}
            return self._page(self._ids(_IN_STATES, asked), size)
        floor = self._connection.execute(_FLOOR, {"before": top, "scan": SCAN_MAX - 1}).scalar()
        joins = f"{_JOIN_CLIP} {_JOIN_TASK}" if wanted.word else ""
        tests = " AND +j.state IN (SELECT value FROM json_each(:states))" if wanted.states else ""
        tests += " AND j.inbox = :inbox" if wanted.inbox is not None else ""
        tests += _HAS_WORD if wanted.word else ""
        asked = {"before": top, "floor": floor or "", "most": size + 1}
        asked |= {"states": _json(wanted.states)} if wanted.states else {}
        asked |= {"inbox": wanted.inbox} if wanted.inbox is not None else {}
        asked |= {"word": wanted.word.lower()} if wanted.word else {}
        # Every piece of this statement is a constant of this module; what was asked for is bound.
        ids = self._ids(sa.text(_WALK.format(joins=joins, tests=tests)), asked)
        page = self._page(ids, size)
        if page.before is None and floor is not None:
            return Page(page.jobs, floor, is_partial=True)
        return page

    def _page(self, ids: Sequence[str], size: int) -> Page:
        return Page(self.load(ids[:size]), ids[size - 1] if len(ids) > size else None)

    def _are_few(self, states: Collection[State]) -> bool:
        count = self._connection.execute(_COUNT_TO, {"states": _json(states), "most": _FEW + 1}).scalar()
        return bool(count is not None and count <= _FEW)

    def newest(self, state: State, most: int) -> tuple[Job, ...]:
        """Give the jobs that reached a state of the end last."""
        return self.load(self._ids(_NEWEST_IN, {"state": state.value, "most": most}))

    def under_way(self, most: int) -> tuple[Job, ...]:
        """Give jobs between submission and delivery, oldest first."""
        asked = {"states": _json(UNDER_WAY), "inbox": None, "before": _TOP, "most": most}
        return self.load(self._ids(_IN_STATES, asked))[::-1]

    def held(self) -> set[str]:
        """Give the ids of all jobs that wait for a person; looks at every open job."""
        return set(self._ids(_HELD, {"states": _json(_OPEN)}))

    def durations(self, most: int) -> list[tuple[str, float]]:
        """Give model and seconds from task to result for the jobs delivered last, newest first."""
        return [
            (str(model), seconds) for model, seconds in self._connection.execute(_DURATIONS, {"most": most})
        ]

    def spent(self, since: int, until: int) -> list[DaySpent]:
        """Add up what was submitted in the days from `since` to before `until` (days since 1970)."""
        asked = {"since": since * _DAY_SECONDS, "until": until * _DAY_SECONDS}
        return [DaySpent(*row) for row in self._connection.execute(_SPENT, asked)]

    def _ids(self, statement: sa.TextClause, asked: Mapping[str, Any]) -> list[str]:
        return list(self._connection.execute(statement, asked).scalars())


def _json(states: Collection[State]) -> str:
    return "[" + ",".join(f'"{state.value}"' for state in states) + "]"
