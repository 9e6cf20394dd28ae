"""Runs stages that the leader handed out to this node: a thread with an event loop, and a pool."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace

import structlog
from procrastinate.worker import Worker

from clipspool.farm.queue import (
    CHANNEL,
    POLL_SECONDS,
    STALLED_SECONDS_MAX,
    TROUBLES,
    application,
    in_words,
    make_tables,
)
from clipspool.jobs.assignments import Assignment, event_to_text
from clipspool.jobs.events import Event, Fetched, Postponed, Prepared
from clipspool.journal import JournalError
from clipspool.scheduler.workers import LANES, Done, outcome
from clipspool.spool.guard import Unavailable
from clipspool.system.process import start_thread

log = structlog.get_logger()

THREADS = LANES["fetches"][0] + LANES["prepares"][0]
"""As many threads as the leader has for these stages: it hands out no more than its own lanes would take."""
_LOOK_SECONDS = 1.0
_PAUSE_SECONDS = 2.0
_GIVE_BACK_SECONDS = 1.0
_REPORT_TRIES = 30
_END_SECONDS = 5.0
"""How long a stage may take to notice that it has to end; then another node is given it at once."""
_RESULT = """
WITH result AS (
    INSERT INTO stage_results (attempt, job_id, node, event, trouble)
    VALUES (%(attempt)s, %(job_id)s, %(node)s, %(event)s, %(trouble)s)
    ON CONFLICT (attempt) DO NOTHING
)
SELECT pg_notify(%(channel)s, '')
"""


class StageWorker:
    """The stages that this node runs for another one. `start` once; everything serves any thread."""

    def __init__(
        self,
        conninfo: str,
        node: str,
        work: Callable[[Assignment], Event],
        queues: Callable[[], Collection[str]],
        beat_seconds: float = STALLED_SECONDS_MAX / 3,
        *,
        is_ending: Callable[[], bool] = lambda: False,
    ) -> None:
        """`work` runs a stage and may raise OSError.

        `queues` returns which stages of which inboxes this node takes now; none while it leads or is drained.
        `is_ending`: whether what is under way has to end; what does not soon is given back.
        """
        self._conninfo, self._node, self._work, self._queues = conninfo, node, work, queues
        self._beat_seconds, self._is_ending = beat_seconds, is_ending
        self._under_way: dict[str, Assignment] = {}
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start to take stages."""
        self._thread = start_thread(lambda: asyncio.run(self._serve()), "stages")

    def stop(self) -> None:
        """Take no more stages; wait some seconds for those under way, and give back the rest."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(_END_SECONDS + 2 * _LOOK_SECONDS)

    @property
    def under_way(self) -> list[Assignment]:
        """The stages that run here."""
        return list(self._under_way.values())

    async def _serve(self) -> None:
        """Work until it is stopped; start over where the database was lost."""
        said = ""
        while not self._stopping.is_set():
            if self._queues():
                try:
                    await self._serve_once()
                    said = ""
                except TROUBLES as error:
                    if said != (said := in_words(error)):
                        log.warning("stages_interrupted", why=said)
            await self._rest(_PAUSE_SECONDS)

    async def _serve_once(self) -> None:
        await asyncio.to_thread(make_tables, self._conninfo)
        app = application(self._conninfo, self._run)
        async with app.open_async():
            worker = Worker(
                app,
                queues=self._queues(),
                name=self._node,
                concurrency=THREADS,
                fetch_job_polling_interval=POLL_SECONDS,
                update_heartbeat_interval=self._beat_seconds,
                stalled_worker_timeout=STALLED_SECONDS_MAX * 10,
                delete_jobs="always",
                install_signal_handlers=False,
            )
            self._connector = app.connector
            running = asyncio.create_task(worker.run())  # type: ignore[no-untyped-call]
            while not running.done():
                await asyncio.wait([running], timeout=_LOOK_SECONDS)
                # It is read at each look for a stage. A worker that is stopped beats no more while it ends
                # what it has, and would be given up as lost: so none is stopped that has work.
                worker.queues = [] if self._stopping.is_set() else self._queues()
                if not (worker.queues or self._under_way):
                    break  # this node leads, ends, or is drained: it need not ask for stages
            worker.stop()  # type: ignore[no-untyped-call]
            await running

    async def _rest(self, seconds: float) -> None:
        await asyncio.get_running_loop().run_in_executor(None, self._stopping.wait, seconds)

    async def _run(self, text: str) -> None:
        given = Assignment.from_text(text)
        self._under_way[given.attempt] = given
        try:
            await self._report(await self._done(given))
        finally:
            del self._under_way[given.attempt]

    async def _done(self, given: Assignment) -> Done:
        """Run a stage in a thread; where this node ends, and the stage does not, it is given back.

        A download may stall for minutes. Nothing is lost by leaving it: its files carry its attempt's name.
        Python would wait for a pool's thread at the end of the process, so it has one of its own.
        """
        ended: Future[Done] = Future()
        ended.set_running_or_notify_cancel()  # from here on only its thread ends it
        name = f"stage-{given.stage.value}"
        if start_thread(lambda: ended.set_result(outcome(given, lambda: self._event(given))), name) is None:
            why = f"the system refuses the node {self._node} a thread"
            return Done(given.job.id, Postponed(why, _GIVE_BACK_SECONDS), given.attempt)
        waiting, ending_at = asyncio.wrap_future(ended), None
        while True:
            await asyncio.wait([waiting], timeout=_LOOK_SECONDS)
            if waiting.done():
                return waiting.result()
            if not (self._stopping.is_set() or self._is_ending()):
                ending_at = None
                continue
            ending_at = ending_at or time.monotonic()
            if time.monotonic() - ending_at >= _END_SECONDS:
                waiting.cancel()
                log.info("stage_given_back", job=given.job.id, stage=given.stage.value, attempt=given.attempt)
                why = f"the node {self._node} ends; it is run again"
                return Done(given.job.id, Postponed(why, 0.0), given.attempt)

    def _event(self, given: Assignment) -> Event:
        log.info("stage_begun", job=given.job.id, stage=given.stage.value, attempt=given.attempt)
        try:
            event = self._work(given)
        except (Unavailable, JournalError) as error:
            # It says nothing of the clip: another node may reach the inbox, and the database.
            return Postponed(f"the node {self._node} cannot work on it: {error}", _GIVE_BACK_SECONDS)
        return replace(event, node=self._node) if isinstance(event, Prepared | Fetched) else event

    async def _report(self, done: Done) -> None:
        """Write the result into the database; while that is out of reach, keep it and try again."""
        row = {
            "attempt": done.attempt,
            "job_id": done.job_id,
            "node": self._node,
            "event": None if done.event is None else event_to_text(done.event),
            "trouble": done.trouble,
            "channel": CHANNEL,
        }
        for _ in range(_REPORT_TRIES):
            with suppress(*TROUBLES):
                await self._connector.execute_query_async(_RESULT, **row)
                return
            await self._rest(_PAUSE_SECONDS)
        log.warning("stage_not_reported", job=done.job_id, attempt=done.attempt)
