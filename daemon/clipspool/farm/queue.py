"""The queue of stages between the leader and the other nodes: procrastinate's tables beside the journal's."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable
from pathlib import Path
from typing import Any, TypeVar

import procrastinate
import psycopg
import structlog
from procrastinate import schema
from procrastinate.connector import BaseConnector
from procrastinate.exceptions import ConnectorException, ProcrastinateException
from procrastinate.jobs import Job, Status
from procrastinate.manager import JobManager, NotificationCallback
from psycopg import sql
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from clipspool import __version__
from clipspool.jobs.assignments import Assignment
from clipspool.jobs.lifecycle import Stage
from clipspool.journal.postgres import MIGRATING

log = structlog.get_logger()
T = TypeVar("T")

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
_OUTAGES = (psycopg.OperationalError, psycopg.errors.ReadOnlySqlTransaction, OSError)
_ANSWER_SECONDS = 2.0
"""Shorter than the time in which a worker has to give a sign, also with the shortest lease."""
_PAUSE_SECONDS = 2.0


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
    """Return the queue of an assignment, by what it takes, by its inbox and by this version."""
    return _queue(kinds_of(given)[-1], given.job.inbox)


def queues_of(stages: Collection[str], inboxes: Collection[str]) -> list[str]:
    """Return the queues that a node works on which is allowed these stages and reaches these inboxes."""
    kinds = [kind for kind in KINDS if kind in stages and (kind != "finish" or "fetch" in stages)]
    return [_queue(kind, inbox) for kind in kinds for inbox in sorted(inboxes)]


def _queue(kind: str, inbox: str) -> str:
    # A stage is written as one version has it: a node of another one may not know all its fields.
    name = f"{kind}:{__version__}:{inbox}"
    if len(name.encode()) <= _QUEUE_BYTES_MAX:
        return name
    return f"{kind}:{hashlib.sha256(name.encode()).hexdigest()[:24]}"


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


class _PatientManager(JobManager):
    """Asks for a worker, which goes on where the database is lost for a moment.

    procrastinate ends one that had an error, once its last stage has ended, and without a sign of life until
    then: its stages would be taken for lost, and their clips for what ends nodes.
    """

    _is_away = False
    _is_unsure = False
    """Whether an answer to `fetch_job` was lost: the database may have given this worker a stage in it."""

    def __init__(self, connector: BaseConnector) -> None:
        super().__init__(connector)
        self._had: set[int | None] = set()
        """The stages that this worker knows it was given, until they are finished."""

    async def _patiently(self, asked: Awaitable[T], instead: T) -> T:
        """Return an answer, or something else while the database is away, which is logged once."""
        try:
            answer = await asked
        except TROUBLES as error:
            if not isinstance(error.__cause__ or error, _OUTAGES):
                raise
            if not self._is_away:
                log.warning("stages_interrupted", why=in_words(error))
            self._is_away = True
            return instead
        self._is_away = False
        return answer

    async def update_heartbeat(self, worker_id: int) -> None:
        await self._patiently(super().update_heartbeat(worker_id), None)

    async def fetch_job(self, queues: Iterable[str] | None, worker_id: int) -> Job | None:
        if self._is_unsure:
            await self._patiently(self._remove_unknown(worker_id), None)
        if self._is_unsure:
            return None
        fetch, self._is_unsure = super().fetch_job, True

        async def fetched() -> Job | None:
            job = await fetch(queues, worker_id)
            self._is_unsure = False
            return job

        job = await self._patiently(fetched(), None)
        if job is not None:
            self._had.add(job.id)
        return job

    async def _remove_unknown(self, worker_id: int) -> None:
        """Remove the stages of lost answers; the leader misses them, and runs them again.

        This worker gives signs of life and would never begin them: their clips would wait for its end.
        """
        for job in await self.list_jobs_async(status=Status.DOING.value, worker_id=worker_id):
            if job.id not in self._had:
                await self._finish(job, Status.FAILED, delete_job=True)
        self._is_unsure = False

    async def list_jobs_to_abort_async(self, queue: str | None = None) -> Iterable[int]:
        return await self._patiently(super().list_jobs_to_abort_async(queue), ())

    async def finish_job(self, job: Job, status: Status, delete_job: bool) -> None:
        # A stage that ended and stays in the queue would be waited for by the next leader.
        while True:
            if await self._patiently(self._finish(job, status, delete_job), instead=False):
                self._had.discard(job.id)
                return
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _finish(self, job: Job, status: Status, delete_job: bool) -> bool:
        try:
            await super().finish_job(job, status, delete_job)
        except ConnectorException as error:
            # It is not there any more: the leader gave it up, or the answer to the last try was lost.
            if not isinstance(error.__cause__, psycopg.errors.RaiseException):
                raise
        return True

    async def listen_for_jobs(
        self, *, on_notification: NotificationCallback, queues: Iterable[str] | None = None
    ) -> None:
        while True:  # what it misses is looked for from time to time
            listening = super().listen_for_jobs(on_notification=on_notification, queues=queues)
            await self._patiently(listening, None)
            await asyncio.sleep(_PAUSE_SECONDS)


def application(
    conninfo: str, run: Callable[[str], Coroutine[Any, Any, None]] | None = None
) -> procrastinate.App:
    """Return procrastinate's application on a database; a worker's runs an assignment, given as text."""

    def pool(**options: Any) -> AsyncConnectionPool:
        # Without a look at each connection before it is used: a lost one ends the worker, which starts over.
        return AsyncConnectionPool(**{**options, "check": None})

    async def configure(connection: psycopg.AsyncConnection[Any]) -> None:
        await connection.set_autocommit(True)  # each statement is a transaction: one request, not three

    connector = procrastinate.PsycopgConnector(
        conninfo=conninfo,
        configure=configure,
        min_size=1,
        max_size=4,
        timeout=_ANSWER_SECONDS,
        reconnect_timeout=_ANSWER_SECONDS,  # its pauses double; the next question begins anew
        pool_factory=pool,
    )
    app = procrastinate.App(connector=connector)
    if run is not None:
        app.job_manager = _PatientManager(connector)

    async def stage(work: str) -> None:
        if run is not None:
            await run(work)

    app.task(name=TASK)(stage)
    return app
