"""What submissions cost: those since a moment, and those of one clip."""

from __future__ import annotations

import sqlalchemy as sa

from clipspool.jobs.records import ClipCost
from clipspool.journal.tables import jobs, tasks

IS_SPENT = sa.or_(tasks.c.task_id.is_not(None), jobs.c.paid != "no", jobs.c.state == "submitting")
"""Whether a task counts as spent: it was made, or it may have been, or its request is on the way."""
_SPENT = (
    sa.select(sa.func.coalesce(sa.func.sum(sa.func.coalesce(tasks.c.credits, tasks.c.credits_reserved)), 0.0))
    .join(jobs, jobs.c.id == tasks.c.job_id)
    .where(jobs.c.clip_id == sa.bindparam("clip_id"), IS_SPENT)
)
_WAITING = sa.select(jobs.c.credits_estimated).where(
    jobs.c.clip_id == sa.bindparam("clip_id"),
    jobs.c.state == "queued",
    jobs.c.reuse.is_(None),
    sa.or_(jobs.c.held.is_(None), jobs.c.held != "duplicate"),
)


_MOVED = (
    sa.select(jobs.c.id)
    .where(
        jobs.c.updated_at >= sa.bindparam("since"),
        jobs.c.id != sa.bindparam("but"),
        jobs.c.task_number.is_not(None),
    )
    .limit(1)
)


def cost_of(connection: sa.Connection, clip_id: str) -> ClipCost:
    """Add up what a clip's jobs cost; one set aside as a duplicate, or reused, costs nothing yet."""
    asked = {"clip_id": clip_id}
    spent: float = connection.execute(_SPENT, asked).scalar_one()
    return ClipCost(spent, tuple(connection.execute(_WAITING, asked).scalars()))


def has_money_moved(connection: sa.Connection, since: float, but: str) -> bool:
    """Tell whether another job than `but` was sent, followed or ended since a moment (Unix seconds)."""
    return connection.execute(_MOVED, {"since": since, "but": but}).first() is not None
