"""Questions of those who only look: what is under way, what needs a person, what ended lately.

Each has a limit and goes by an index, so that looking every second costs little beside thousands of jobs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DatabaseError

from clipspool.jobs.model import TERMINAL, Held, Job, State
from clipspool.journal.database import JournalError, unreadable
from clipspool.journal.journal import Journal
from clipspool.journal.rows import read_job, select_jobs
from clipspool.journal.tables import jobs

_OPEN = [state.value for state in State if state not in TERMINAL]
_NEAREST = sa.case(
    {state.value: place for place, state in enumerate(State)}, value=jobs.c.state
).desc()  # in the order of a job's life
_AGE_SECONDS_MAX = 14 * 86_400.0
"""A job accepted longer ago is not looked for among those that ended lately."""


@dataclass(frozen=True, slots=True)
class Tally:
    """How many open jobs there are."""

    by_state: Counter[State]
    """Those that nothing holds."""
    held: Counter[Held]


class NoJournal(JournalError):
    """There is none yet."""


class Window:
    """A journal that is looked at again and again beside its daemon; for one thread at a time."""

    def __init__(self, path: Path) -> None:
        """Take the journal's path; nothing is opened before the first look."""
        self.path = path
        self._journal: Journal | None = None
        self._identity: tuple[int, int] | None = None

    @contextmanager
    def look(self) -> Iterator[Journal]:
        """Give the journal as it is now; raises JournalError, also for what is asked of it."""
        try:
            journal = self._open()
            try:
                yield journal
            finally:
                journal.rest()
        except DatabaseError as error:
            self.close()
            raise unreadable(self.path, error) from error

    def close(self) -> None:
        """Give the connection back; a later look opens anew."""
        if self._journal is not None:
            self._journal.close()
        self._journal = None

    def _open(self) -> Journal:
        try:
            here = self.path.stat()
        except OSError:
            here = None
        identity = None if here is None else (here.st_dev, here.st_ino)
        if self._journal is None or identity != self._identity:  # moved aside, and another one begun
            self.close()
            self._journal = Journal.read(self.path)
            self._identity = identity
        if self._journal is None:
            raise NoJournal(f"There is no journal at {self.path} yet: `clipspool run` makes it.")
        return self._journal


def tally(journal: Journal, inbox: str | None = None) -> Tally:
    """Count the open jobs, of one inbox or of all."""
    query = sa.select(jobs.c.state, jobs.c.held, sa.func.count().label("number")).where(
        jobs.c.state.in_(_OPEN)
    )
    if inbox is not None:
        query = query.where(jobs.c.inbox == inbox)
    by_state: Counter[State] = Counter()
    held: Counter[Held] = Counter()
    for row in journal.rows(query.group_by(jobs.c.state, jobs.c.held)):
        if row["held"] is None:
            by_state[State(row["state"])] += row["number"]
        else:
            held[Held(row["held"])] += row["number"]
    return Tally(by_state, held)


def open_by_inbox(journal: Journal) -> dict[str, int]:
    """Count the open jobs of each inbox."""
    query = sa.select(jobs.c.inbox, sa.func.count().label("number")).where(jobs.c.state.in_(_OPEN))
    return {row["inbox"]: row["number"] for row in journal.rows(query.group_by(jobs.c.inbox))}


def held_jobs(journal: Journal, most: int, inbox: str | None = None) -> list[Job]:
    """Give jobs that wait for a person, oldest first."""
    query = select_jobs.where(jobs.c.state.in_(_OPEN), jobs.c.held.is_not(None))
    return _jobs(journal, query.order_by(jobs.c.created_at, jobs.c.id), most, inbox)


def jobs_under_way(
    journal: Journal, most: int, inbox: str | None = None, *, states: Collection[State] = ()
) -> list[Job]:
    """Give open jobs that nothing holds: the nearest to their end first, those queued as they will go."""
    wanted = [state.value for state in states] or _OPEN
    query = select_jobs.where(jobs.c.state.in_(wanted), jobs.c.held.is_(None))
    order = (_NEAREST, jobs.c.progress.desc(), jobs.c.priority.desc(), jobs.c.created_at, jobs.c.id)
    return _jobs(journal, query.order_by(*order), most, inbox)


def ended_jobs(
    journal: Journal, state: State, since: float, most: int, inbox: str | None = None
) -> list[Job]:
    """Give jobs that ended so since a moment (Unix seconds), the last to end first."""
    # Few fail, and an index has them at hand. Of all that was ever delivered the newest are found going back
    # by age: the plus keeps SQLite from gathering the others first.
    is_rare = state is State.FAILED
    way = "jobs.state = :ended" if is_rare else "+jobs.state = :ended"
    order = jobs.c.updated_at if is_rare else jobs.c.created_at
    query = select_jobs.where(
        sa.text(way).bindparams(ended=state.value),
        jobs.c.updated_at >= since,
        jobs.c.created_at >= since - _AGE_SECONDS_MAX,
    )
    found = _jobs(journal, query.order_by(order.desc()), most, inbox)
    return sorted(found, key=lambda job: -job.updated_at)


def _jobs(journal: Journal, query: sa.Select[Any], most: int, inbox: str | None) -> list[Job]:
    if inbox is not None:
        query = query.where(jobs.c.inbox == inbox)
    return [read_job(row) for row in journal.rows(query.limit(most))]
