"""Answers what programs ask about jobs, inboxes and models, and streams what happens."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from clipspool.jobs.conditions import Conditions
from clipspool.jobs.model import Job, State
from clipspool.jobs.text import text
from clipspool.journal import Filter, Lookup
from clipspool.reporting.status import about_json, job_json
from clipspool.web.cache import BalanceCache, DaemonState
from clipspool.web.context import JOB_ID
from clipspool.web.media import MediaRoutes
from clipspool.web.security import refused
from clipspool.web.threads import LOOK_SECONDS, InboxThreads
from clipspool.web.upload_rules import NotTaken

PAGE_MAX = 200
WORD_MAX = 200
_FILTERS = ("state", "inbox", "q", "limit", "before")
_KEPT_EVENTS = 2000
_REST_SECONDS = 0.2
_ALIVE_SECONDS = 15.0
STREAMS_MAX = 100
_MISSING, _NO_PART = 404, 416


class JobAnswers:
    """Answers `GET` requests about jobs, in worker threads."""

    def __init__(
        self,
        lookup: Lookup,
        snapshot: DaemonState,
        balance: BalanceCache,
        media: MediaRoutes,
        command: Callable[[str, Mapping[str, Any]], Any],
        threads: InboxThreads,
    ) -> None:
        """`snapshot` caches the daemon's state, `balance` the account's; `media` serves results."""
        self._lookup, self._snapshot, self._balance, self._media = lookup, snapshot, balance, media
        self._command, self._threads = command, threads

    def conditions(self) -> Conditions:
        """Return what holds jobs back now; raises TimeoutError."""
        return self._snapshot.get().conditions

    def status(self, _request: Request) -> Mapping[str, Any]:
        """Return what `status --json` prints."""
        return self._snapshot.get().status

    def balance(self, _request: Request) -> dict[str, Any]:
        """Return what the account has left."""
        found = self._balance.get()
        if found is None:
            return {"balance": None}
        return {"balance": {"amount": found.amount, "unit": found.unit, "credits": found.credits}}

    async def presets(self, request: Request) -> dict[str, Any]:
        """Return the presets of an inbox: the configuration's, and files in `_presets`."""
        inbox = request.query_params.get("inbox", "")
        status = (await run_in_threadpool(self._snapshot.get)).status
        if inbox not in {one["name"] for one in status["inboxes"]}:
            raise NotTaken(404, "INBOX.UNKNOWN", "There is no such inbox; `GET status` names them.")
        asked = "presets", {"inbox": inbox}
        found = await self._threads.run(inbox, self._command, *asked, seconds=LOOK_SECONDS)
        return {"presets": [dict(one) for one in found]}

    def several(self, request: Request) -> dict[str, Any]:
        """Return a page of jobs, newest first."""
        asked = request.query_params
        # As in a body: a filter with a typing error would list all jobs, perhaps to be retried and paid for.
        if odd := next((name for name in asked if name not in _FILTERS), None):
            known = ", ".join(_FILTERS)
            raise NotTaken(422, "REQUEST.FIELD", f"There is no parameter {odd[:60]!a} (known: {known}).")
        wanted = Filter(
            tuple(_state(one) for one in asked.getlist("state")),
            asked.get("inbox") or None,
            asked.get("q", "").strip()[:WORD_MAX],
        )
        before, limit = asked.get("before", ""), asked.get("limit", "50")
        if before and not JOB_ID.fullmatch(before):
            raise NotTaken(422, "REQUEST.BEFORE", "`before` is what the page before returned.")
        if not re.fullmatch(r"[0-9]{1,4}", limit) or not 1 <= int(limit) <= PAGE_MAX:
            raise NotTaken(422, "REQUEST.LIMIT", f"`limit` is a number from 1 to {PAGE_MAX}.")
        with self._lookup.look() as look:
            page = look.page(wanted, before or None, int(limit))
            parts = {job.id: look.parts_of(job) for job in page.jobs}
        conditions = self.conditions()
        return {
            "jobs": [job_json(job, conditions, parts[job.id]) for job in page.jobs],
            "before": page.before,
            "is_partial": page.is_partial,
        }

    async def result(self, request: Request) -> Response:
        """Serve one of a job's results, counted as in its JSON."""
        job_id, number = job_id_of(request), str(request.path_params["number"])
        if not re.fullmatch(r"[1-9][0-9]{0,3}", number):
            raise NotTaken(404, "RESULT.UNKNOWN", f"The job {job_id} has no such result.")
        request.path_params["number"] = int(number)
        served = await self._media.result(request)
        if served.status_code == _MISSING:
            raise NotTaken(404, "RESULT.UNKNOWN", f"The job {job_id} has no such file in the outbox.")
        if served.status_code == _NO_PART:
            headers = {"Content-Range": served.headers["content-range"]}
            return refused(416, "The result has no such part.", code="RESULT.PART", headers=headers)
        return served

    def one(self, request: Request) -> dict[str, Any]:
        """Return all about one job, as `show --json` does."""
        conditions = self.conditions()
        with self._lookup.look() as look:
            job = look.job(job_id_of(request))
            if job is None:
                raise no_job(request)
            clip, history = look.clip(job.clip_id), look.history(job)
            return about_json(job, clip, history, conditions, look.parts_of(job))


def job_id_of(request: Request) -> str:
    """Return the job's id in an address; raises NotTaken where it cannot be one."""
    job_id = str(request.path_params["job"])
    if not JOB_ID.fullmatch(job_id):
        raise no_job(request)
    return job_id


def no_job(request: Request) -> NotTaken:
    """Return the refusal for a job that does not exist."""
    return NotTaken(404, "JOB.UNKNOWN", f"There is no job {str(request.path_params['job'])[:64]!a}.")


def _state(word: str) -> State:
    try:
        return State(word)
    except ValueError:
        known = ", ".join(state.value for state in State)
        raise NotTaken(422, "REQUEST.STATE", f"There is no such state; the states are {known}.") from None


class EventStream:
    """What happened to jobs lately, for streams that programs follow; survives a short loss of connection."""

    def __init__(self, begin: Callable[[], Awaitable[None]]) -> None:
        """Start without events; `begin` is awaited before a stream is answered."""
        self._begin = begin
        self._kept: deque[tuple[int, bytes]] = deque(maxlen=_KEPT_EVENTS)
        # Numbers begin with the moment: one of an earlier start, or of another node, is not taken for ours.
        self._begun = self._last = int(time.time() * 1000)
        self._is_over = False
        self.streams = 0
        """How many are open."""

    def add(self, job: Job) -> None:
        """Add a job that changed; in one thread alone, never blocks."""
        number = self._last + 1
        data = json.dumps(_event_of(job)).encode()
        self._kept.append((number, b"id: %d\nevent: job\ndata: %b\n\n" % (number, data)))
        self._last = number

    def forget(self) -> None:
        """Forget what was kept: a reader that comes back is told that it missed something."""
        self._kept.clear()
        self._begun = self._last = self._last + 1

    def end(self) -> None:
        """End all streams."""
        self._is_over = True

    async def answer(self, request: Request) -> Response:
        """Answer `GET events`."""
        if self.streams >= STREAMS_MAX:
            raise NotTaken(503, "EVENTS.MANY", "Too many streams are open.")
        await self._begin()
        if request.method == "HEAD":
            return Response(media_type="text/event-stream")
        last = request.headers.get("last-event-id", "")
        seen = int(last) if re.fullmatch(r"[0-9]{1,15}", last) else 0
        is_known = self._begun <= seen <= self._last
        stream = self._stream(seen if is_known else self._last, is_lost=bool(last) and not is_known)
        return StreamingResponse(stream, media_type="text/event-stream")

    async def _stream(self, seen: int, *, is_lost: bool) -> AsyncIterator[bytes]:
        self.streams += 1
        try:
            yield b"retry: 3000\n\n"
            quiet = 0.0
            while not self._is_over:
                found = [one for one in list(self._kept) if one[0] > seen]
                if is_lost or (found and found[0][0] > seen + 1):
                    # More happened than is kept: the reader has to list the jobs again.
                    yield b"event: missed\ndata: {}\n\n"
                    is_lost = False
                if found:
                    seen, quiet = found[-1][0], 0.0
                    yield b"".join(line for _, line in found)
                elif quiet >= _ALIVE_SECONDS:
                    quiet = 0.0
                    yield b": still here\n\n"
                await asyncio.sleep(_REST_SECONDS)
                quiet += _REST_SECONDS
        finally:
            self.streams -= 1


def _event_of(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "inbox": job.inbox,
        "clip": text(job.path),
        "state": job.state.value,
        "held": None if job.held is None else job.held.value,
        "progress": job.progress,
        "part": job.part or None,
    }
