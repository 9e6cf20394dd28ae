"""What the queue is asked: which jobs of an inbox may go next, and in which order."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import sqlalchemy as sa

from clipspool.jobs.model import STILL_TRIED, State
from clipspool.journal.rows import Candidate
from clipspool.journal.tables import jobs

IN_QUEUE = sa.text("jobs.state = 'queued' AND jobs.held IS NULL")  # to the letter, for the partial index
_MODEL = sa.func.json_extract(jobs.c.request, "$.model")
_CANDIDATE = (
    jobs.c.id,
    jobs.c.clip_id,
    jobs.c.inbox,
    jobs.c.priority,
    jobs.c.prepared,
    jobs.c.approved,
    jobs.c.credits_estimated,
    _MODEL,
)
_QUEUE = (
    sa.select(*_CANDIDATE)
    .where(
        IN_QUEUE,
        jobs.c.inbox == sa.bindparam("inbox"),
        jobs.c.due_at <= sa.bindparam("now"),
        jobs.c.approved >= sa.bindparam("approved"),
    )
    .order_by(jobs.c.priority.desc(), jobs.c.created_at, jobs.c.id)
    .limit(sa.bindparam("most"))
)
# Those that wait for a disk are few, so the index of what is due serves; those in the queue may be thousands.
_FOR_DISK = sa.and_(
    jobs.c.state == State.QUEUED.value, jobs.c.held.in_([held.value for held in sorted(STILL_TRIED)])
)
_QUEUE_FOR_DISK = (
    sa.select(*_CANDIDATE)
    .where(_FOR_DISK, jobs.c.inbox == sa.bindparam("inbox"), jobs.c.due_at <= sa.bindparam("now"))
    .where(jobs.c.approved >= sa.bindparam("approved"))
    .order_by(jobs.c.due_at)
    .limit(sa.bindparam("most"))
)
_QUEUE_BUT = _QUEUE.where(_MODEL.not_in(sa.bindparam("but_models", expanding=True)))


def candidates(
    connection: sa.Connection, asked: Mapping[str, Any], but_models: Collection[str], *, for_disk: bool
) -> list[Candidate]:
    """Give an inbox's jobs that may go next; with `for_disk` those too that wait for a disk."""
    if but_models:
        rows = connection.execute(_QUEUE_BUT, {**asked, "but_models": list(but_models)})
    else:
        rows = connection.execute(_QUEUE, dict(asked))
    found = [Candidate(*row) for row in rows]
    if for_disk:
        rows = connection.execute(_QUEUE_FOR_DISK, dict(asked))
        found += [one for row in rows if (one := Candidate(*row)).model not in but_models]
        found.sort(key=lambda one: -one.priority)
    return found


def count_for_disk(connection: sa.Connection) -> int:
    """Count the queued jobs that wait for a disk."""
    return int(connection.execute(sa.select(sa.func.count()).where(_FOR_DISK)).scalar() or 0)
