"""Hands stages to other nodes and reports their events; the leader never waits for a node."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import procrastinate
import structlog
from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import Job as QueuedJob
from procrastinate.jobs import Status

from clipspool.farm.nodes import Member
from clipspool.farm.queue import (
    CHANNEL,
    STALLED_SECONDS_MAX,
    TASK,
    TROUBLES,
    application,
    in_words,
    kinds_of,
    make_tables,
    queue_of,
    stalled_seconds,
)
from clipspool.jobs.assignments import Assignment, event_from_text
from clipspool.jobs.events import Event, Postponed
from clipspool.jobs.lifecycle import Stage
from clipspool.journal.files import JournalError
from clipspool.scheduler.workers import LANES, Done
from clipspool.system.process import start_thread

log = structlog.get_logger()

_LOOK_SECONDS = 2.0
"""How often the results are read without a notice of one."""
_LOOK_FOR_LOST = 0.3
"""How often silent workers are looked for, as a share of the time that they may be silent."""
_PAUSE_SECONDS = 1.0
_THREADS = {stage: size for size, stages in LANES.values() for stage in stages}
_RESULTS = "DELETE FROM stage_results RETURNING attempt, job_id, node, event, trouble"
_LOST = "the node that worked on it does not answer any more; it is run again"
_NOT_TAKEN = "no node takes it any more; it is run again"
_OTHER_VERSION = "the node that worked on it has another version of clipspool; it is run again"
_UNREADABLE = (KeyError, TypeError, ValueError)
"""What is raised where a stage or its event was written by another version."""


class Dispatch:
    """The leader's side of the queue, for one term; to the scheduler it is the workers of other machines."""

    def __init__(
        self,
        conninfo: str,
        others: Callable[[], Sequence[Member]],
        stalled_seconds: float = STALLED_SECONDS_MAX,
    ) -> None:
        """`others` returns the nodes that work besides this one; it does not wait.

        A worker that gave no sign for `stalled_seconds` is given up.
        """
        self._conninfo, self._read_others, self._stalled_seconds = conninfo, others, stalled_seconds
        self._others: Sequence[Member] = ()
        self._outstanding: dict[str, Assignment] = {}
        """By attempt: what was handed to nodes, queued or running, and is not reported yet."""
        self._given: list[Assignment] = []
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()
        self._is_stopping = False
        self._thread: threading.Thread | None = None

    # --- for the scheduler's thread -----------------------------------------------------------------------

    def capacity(self, stage: Stage, inbox: str) -> int:
        """Return how many of a stage those nodes run at once that reach this inbox."""
        able = [one for one in self._others if stage.value in one.stages and inbox in one.sees]
        return _THREADS[stage] * len(able)

    def takes(self, given: Assignment) -> bool:
        """Whether a node is allowed all that an assignment needs, and reaches its inbox."""
        needed, inbox = set(kinds_of(given)), given.job.inbox
        return any(needed.issubset(one.stages) and inbox in one.sees for one in self._others)

    def hand_out(self, given: Assignment) -> None:
        """Put an assignment into the queue for other nodes."""
        with self._lock:
            self._given.append(given)
        self._notice()

    def start(self, report: Callable[[Done], None]) -> Sequence[Assignment]:
        """Start to hand out and to report; return what nodes still run for an earlier leader.

        Raises JournalError where the database does not answer.
        """
        self._report = report
        try:
            make_tables(self._conninfo)
            left = asyncio.run(self._left())
        except TROUBLES as error:
            raise JournalError(f"The queue of stages cannot be read ({in_words(error)}).") from error
        self._outstanding = {given.attempt: given for given in left}
        self._thread = start_thread(lambda: asyncio.run(self._serve()), "dispatch")
        return left

    def stop(self) -> None:
        """Hand out no more stages. Those that nodes run go on, and the next leader collects their events."""
        self._is_stopping = True
        self._notice()
        if self._thread is not None:
            self._thread.join(_LOOK_SECONDS)

    def _notice(self) -> None:
        loop = self._loop
        if loop is not None:
            with suppress(RuntimeError):  # it has ended
                loop.call_soon_threadsafe(self._wake.set)

    # --- the loop -----------------------------------------------------------------------------------------

    async def _left(self) -> list[Assignment]:
        app = application(self._conninfo)
        async with app.open_async():
            return [one for _, one in await _queued(app)]

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        while not self._is_stopping:
            try:
                app = application(self._conninfo)
                async with app.open_async():
                    await self._serve_once(app)
            except TROUBLES as error:
                log.warning("stages_interrupted", why=in_words(error))
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _serve_once(self, app: procrastinate.App) -> None:
        listening = asyncio.create_task(app.connector.listen_notify(self._on_notice, [CHANNEL]))
        # After an outage every worker was silent for as long; so each first gets the time for a sign of life.
        look_for_lost_at = time.monotonic() + self._stalled_seconds
        try:
            while not self._is_stopping:
                now = time.monotonic()
                self._others = self._read_others()
                await self._pass_on(app)
                if self._outstanding:
                    await self._bring_back(app)
                if self._outstanding and now >= look_for_lost_at:
                    await self._look_for_lost(app)
                    look_for_lost_at = now + self._stalled_seconds * _LOOK_FOR_LOST
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), _LOOK_SECONDS)
                self._wake.clear()
        finally:
            listening.cancel()

    async def _on_notice(self, **_: Any) -> None:
        self._wake.set()

    async def _pass_on(self, app: procrastinate.App) -> None:
        with self._lock:
            given, self._given = self._given, []
        if not given:
            return
        self._outstanding |= {one.attempt: one for one in given}
        queued = [
            app.configure_task(TASK, queue=queue_of(one), priority=one.job.priority).make_new_job(
                work=one.to_text()
            )
            for one in given
        ]
        await app.job_manager.batch_defer_jobs_async(queued)  # one transaction, however many

    async def _bring_back(self, app: procrastinate.App) -> None:
        """Report what has ended; what is not reported because this process ends is run again."""
        for row in await app.connector.execute_query_all_async(_RESULTS):
            given = self._outstanding.pop(row["attempt"], None)
            event: Event | None = None
            try:
                event = None if row["event"] is None else event_from_text(row["event"])
            except _UNREADABLE:
                event = Postponed(_OTHER_VERSION, 0.0)
            self._report(Done(row["job_id"], event, row["attempt"], row["trouble"]))
            if given is not None:
                log.info("stage_ended", job=row["job_id"], stage=given.stage.value, node=row["node"])

    async def _look_for_lost(self, app: procrastinate.App) -> None:
        """Withdraw stages that no node will finish: the worker gave no sign of life, or none takes them."""
        given = dict(self._outstanding)
        manager = app.job_manager
        # A node whose lease is longer gives signs of life less often.
        seconds = [self._stalled_seconds, *(stalled_seconds(one.lease_seconds) for one in self._others)]
        stalled = await manager.get_stalled_jobs(task_name=TASK, seconds_since_heartbeat=max(seconds))
        stalled_ids = {job.id for job in stalled}
        queued = await _queued(app)
        # What ended before the list was read has its result there.
        await self._bring_back(app)
        known = set()
        for job, one in queued:
            known.add(one.attempt)
            # It may still be at work: what it makes has its attempt in its name, and its result is ignored.
            if job.id in stalled_ids and await _remove(app, job):
                self._give_up(one, _LOST, is_lost=True)
            elif job.status == Status.TODO.value and not self.takes(one) and await _withdraw(app, job):
                self._give_up(one, _NOT_TAKEN)
        for attempt in given.keys() - known:
            self._give_up(given[attempt], _LOST)

    def _give_up(self, given: Assignment, why: str, *, is_lost: bool = False) -> None:
        if self._outstanding.pop(given.attempt, None) is None:
            return
        log.warning("stage_given_up", job=given.job.id, stage=given.stage.value, why=why)
        self._report(Done(given.job.id, Postponed(why, 0.0), given.attempt, is_lost=is_lost))


async def _queued(app: procrastinate.App) -> list[tuple[QueuedJob, Assignment]]:
    """Return what is in the queue; what a leader of another version left there is removed, and run again."""
    found = []
    for job in await app.job_manager.list_jobs_async(task=TASK):
        work: Any = job.task_kwargs["work"]
        try:
            found.append((job, Assignment.from_text(work)))
        except _UNREADABLE:
            await _remove(app, job)
    return found


async def _remove(app: procrastinate.App, job: QueuedJob) -> bool:
    """Remove a stage whose worker is gone; False where it has ended meanwhile."""
    try:
        await app.job_manager.finish_job(job, Status.FAILED, delete_job=True)
    except ConnectorException:
        return False
    return True


async def _withdraw(app: procrastinate.App, job: QueuedJob) -> bool:
    """Take back a stage that nobody has begun; False where somebody has meanwhile."""
    return job.id is not None and await app.job_manager.cancel_job_by_id_async(job.id, delete_job=True)
