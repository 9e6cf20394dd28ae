"""The queue of stages between the leader and the other nodes: procrastinate's tables beside the journal's."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Collection, Coroutine
from pathlib import Path
from typing import Any

import procrastinate
import psycopg
from procrastinate import schema
from procrastinate.exceptions import ProcrastinateException
from psycopg import sql
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from clipspool.jobs.assignments import Assignment
from clipspool.jobs.lifecycle import Stage
from clipspool.journal.postgres import MIGRATING

logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)
"""`journal_awaited` reports an outage, once a minute."""
logging.getLogger("procrastinate").setLevel(logging.WARNING)
"""It would write each stage's whole request into the log; `stage_begun` says what matters."""
TASK = "stage"
"""The name of the queue's only task: run an assignment."""
CHANNEL = "clipspool_stages"
"""Where a notice says that a stage has ended; the row in `stage_results` is what counts."""
STALLED_SECONDS_MAX = 15.0
"""A lost node's work begins elsewhere within 25 s: after this, and at the leader's next look for it."""
_BEATS = 3
POLL_SECONDS = 15.0
"""How often a worker looks for stages without a notice of one."""
TROUBLES = (psycopg.Error, PoolTimeout, ProcrastinateException, OSError)
"""What is raised where the database cannot be asked."""


_MAKE_RESULTS = b"""
CREATE TABLE IF NOT EXISTS stage_results (
    attempt TEXT NOT NULL PRIMARY KEY,
    job_id TEXT NOT NULL,
    node TEXT NOT NULL,
    event TEXT,
    trouble TEXT NOT NULL,
    at TIMESTAMPTZ DEFAULT now() NOT NULL
)
"""
"""What became of stages, until the leader has read it."""
_MADE_BY = b"""
SELECT obj_description(table_, 'pg_class') FROM to_regclass('procrastinate_jobs') AS table_
WHERE table_ IS NOT NULL
"""
_QUEUE_BYTES_MAX = 40
"""PostgreSQL's channels have names of 63 bytes, and procrastinate puts some of its own before ours."""

KINDS = ("prepare", "fetch", "finish")
"""What `[farm] stages` may allow. A result that is made to fit a timeline needs `fetch` and `finish`."""


def stalled_seconds(lease_seconds: float) -> float:
    """Return after how long without a sign a worker is given up, and its stages go elsewhere."""
    return min(lease_seconds, STALLED_SECONDS_MAX)


def beat_seconds(lease_seconds: float) -> float:
    """Return how often a worker gives a sign: two of them may be lost."""
    return stalled_seconds(lease_seconds) / _BEATS


def in_words(error: Exception) -> str:
    """Return what the database says; procrastinate hides that behind an error of its own."""
    return " ".join(str(error.__cause__ or error).split()) or type(error).__name__


def kinds_of(given: Assignment) -> tuple[str, ...]:
    """Return what a node has to be allowed to do for an assignment."""
    if given.stage is not Stage.FETCH:
        return (given.stage.value,)
    return ("fetch",) if given.job.request.finish == "as_is" else ("fetch", "finish")


def queue_of(given: Assignment) -> str:
    """Return the queue of an assignment, by what it takes and by its inbox."""
    return _queue(kinds_of(given)[-1], given.job.inbox)


def queues_of(stages: Collection[str], inboxes: Collection[str]) -> list[str]:
    """Return the queues that a node works on which is allowed these stages and reaches these inboxes."""
    kinds = [kind for kind in KINDS if kind in stages and (kind != "finish" or "fetch" in stages)]
    return [_queue(kind, inbox) for kind in kinds for inbox in sorted(inboxes)]


def _queue(kind: str, inbox: str) -> str:
    name = f"{kind}:{inbox}"
    if len(name.encode()) <= _QUEUE_BYTES_MAX:
        return name
    return f"{kind}:{hashlib.sha256(inbox.encode()).hexdigest()[:24]}"


def make_tables(conninfo: str) -> None:
    """Make procrastinate's tables, or change an older version's, in one transaction, whoever comes first.

    The last change stands in a comment on the table: procrastinate has a file for each, and keeps no record.
    """
    files = sorted(Path(schema.SchemaManager.get_migrations_path()).glob("*.sql"))
    with psycopg.connect(conninfo, autocommit=True) as connection, connection.transaction():
        connection.execute(MIGRATING)
        row = connection.execute(_MADE_BY).fetchone()
        if row is None:
            connection.execute(schema.SchemaManager.get_schema().encode())
        for file in files:
            if row is not None and file.name > row[0]:
                connection.execute(file.read_bytes())
        newest = sql.Literal(files[-1].name)
        connection.execute(sql.SQL("COMMENT ON TABLE procrastinate_jobs IS {}").format(newest))
        connection.execute(_MAKE_RESULTS)


def application(
    conninfo: str, run: Callable[[str], Coroutine[Any, Any, None]] | None = None
) -> procrastinate.App:
    """Return procrastinate's application on a database; `run` runs an assignment, given as text."""

    def pool(**options: Any) -> AsyncConnectionPool:
        # Without a look at each connection before it is used: a lost one ends the worker, which starts over.
        return AsyncConnectionPool(**{**options, "check": None})

    async def configure(connection: psycopg.AsyncConnection[Any]) -> None:
        await connection.set_autocommit(True)  # each statement is a transaction: one request, not three

    connector = procrastinate.PsycopgConnector(
        conninfo=conninfo, configure=configure, min_size=1, max_size=4, timeout=10.0, pool_factory=pool
    )
    app = procrastinate.App(connector=connector)

    async def stage(work: str) -> None:
        if run is not None:
            await run(work)

    app.task(name=TASK)(stage)
    return app
