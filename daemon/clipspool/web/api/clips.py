"""Accepts whole clips from programs and from the page, and reports what became of them."""

from __future__ import annotations

import hashlib
import time
from contextlib import nullcontext
from typing import Any

import anyio
import structlog
from starlette.requests import Request

from clipspool.jobs.conditions import Conditions
from clipspool.jobs.quote import Quote
from clipspool.jobs.text import text
from clipspool.journal import Filter, Lookup
from clipspool.reporting.status import job_json
from clipspool.web.api.films import Films, problem_json
from clipspool.web.api.forms import ClipForm, FormReader
from clipspool.web.api.operations import key_of
from clipspool.web.cache import DaemonState
from clipspool.web.security import name_of
from clipspool.web.upload_rules import NotTaken
from clipspool.web.uploads import Upload

log = structlog.get_logger()

_JOBS_MAX = 200
_GONE_SECONDS = 60.0
_GONE_MAX = 10_000
_CLOCK_SECONDS = 5.0
"""A clip may be accepted a moment before its upload is recorded as placed."""


class ClipRoutes:
    """Answers the addresses of clips."""

    def __init__(self, films: Films, lookup: Lookup, snapshot: DaemonState) -> None:
        self._films, self._uploads = films, films.uploads
        self._lookup, self._snapshot = lookup, snapshot
        self._gone_since: dict[str, float] = {}

    async def post(self, request: Request) -> Any:
        """Take a clip with its sidecar: `file`, or an `upload` that is complete."""
        key = key_of(request)
        owner = hashlib.sha256(f"{name_of(request)}\n{key}".encode()).hexdigest() if key else ""
        async with self._films.sending(request):
            with self._uploads.alone(owner) if owner else nullcontext():
                return await self._take(request, owner)

    async def _take(self, request: Request, owner: str) -> Any:
        reader = FormReader(self._films, request, owner)
        try:
            form = await reader.read()
        except BaseException:
            await self._give_up(reader.form.upload)
            raise
        if (upload_id := form.text("upload")) and form.upload is None:
            return await self._complete(request, upload_id, form)
        if form.upload is None:
            raise NotTaken(422, "REQUEST.FILE", "The field `file` is missing: the clip itself.")
        try:
            return await self._new(request, form, form.upload)
        except NotTaken:
            await self._give_up(form.upload)
            raise

    async def _new(self, request: Request, form: ClipForm, upload: Upload) -> Any:
        if upload.placing:
            if upload.sent != form.identity:
                message = "This Idempotency-Key was used for another clip; each clip needs its own."
                raise NotTaken(422, "REQUEST.KEY", message)
            if upload.placed_at is not None:
                return await self._placed(upload)
            upload = await self._films.in_thread(upload.inbox, self._uploads.take, upload)
        quote = await self._films.quote(upload, form.sidecar, [name for name, _ in form.images])
        return await self._place(request, upload, form, quote, sent=form.identity)

    async def _complete(self, request: Request, upload_id: str, form: ClipForm) -> Any:
        with self._uploads.alone(upload_id):
            upload = await self._films.known(upload_id)
            if form.text("inbox") not in {"", upload.inbox}:
                raise NotTaken(422, "REQUEST.INBOX", f"This upload was begun for the inbox {upload.inbox}.")
            if upload.placed_at is not None:
                return await self._placed(upload)
            upload = await self._films.in_thread(upload.inbox, self._uploads.take, upload)
            here = await self._films.in_thread(upload.inbox, self._uploads.received, upload)
            if not upload.placing and here != upload.size:
                message = f"The upload is not complete: {here:,} of {upload.size or 0:,} bytes are here."
                raise NotTaken(409, "UPLOAD.INCOMPLETE", message, received=here)
            if "folder" in form.fields:
                into = self._uploads.into
                upload = await self._films.in_thread(upload.inbox, into, upload, form.text("folder"))
            quote = await self._films.quote(upload, form.sidecar, [name for name, _ in form.images])
            return await self._place(request, upload, form, quote)

    async def _place(
        self, request: Request, upload: Upload, form: ClipForm, quote: Quote | None, sent: str = ""
    ) -> Any:
        if quote is not None and quote.problems:
            problems = [problem_json(problem) for problem in quote.problems]
            why = "; ".join(one["message"] for one in problems[:3])
            raise NotTaken(422, "CLIP.PROBLEM", f"It would not be accepted: {why}", problems=problems)
        images = [(name, bytes(data)) for name, data in form.images]
        given = upload, form.sidecar, images, sent
        placed = await self._films.in_thread(upload.inbox, self._uploads.place, *given)
        log.info("clip_uploaded", inbox=placed.inbox, path=placed.path, by=name_of(request))
        return await self._placed(placed, None if quote is None else quote.credits)

    async def _give_up(self, upload: Upload | None) -> None:
        """Remove what came of a form that was refused or cut short, unless its clip is being placed."""
        if upload is not None and not upload.placing:
            with anyio.CancelScope(shield=True):
                await self._films.in_thread(upload.inbox, self._uploads.drop, upload)

    async def clip(self, request: Request) -> Any:
        """Return what became of a clip that was sent."""
        upload = await self._films.known(request.path_params["clip"])
        if upload.placed_at is None:
            message = "That upload is not complete: no clip lies in the inbox yet."
            raise NotTaken(404, "CLIP.UNKNOWN", message)
        told = await self._placed(upload)
        if told["state"] == "accepted" and not told["jobs"]:
            self._refuse_gone(upload)
        return told

    async def _placed(self, upload: Upload, credits_: float | None = None) -> Any:
        story = await self._films.in_thread(upload.inbox, self._story, upload)
        known = {"id": upload.id, "inbox": upload.inbox, "path": text(upload.path)}
        return {**known, **story, "credits_estimated": credits_}

    def _story(self, upload: Upload) -> dict[str, Any]:
        """Return whether a clip waits in its inbox and why, or the jobs that it became."""
        seen = self._snapshot.get()
        # First of all: on a node that follows, what waits was read some seconds ago.
        if jobs := self._jobs(upload, seen.conditions):
            return {"state": "accepted", "reason": "", "jobs": jobs}
        inbox = next((one for one in seen.status["inboxes"] if one["name"] == upload.inbox), None)
        path = text(upload.path)
        for one in inbox["waiting"] if inbox else ():
            if one["path"] == path:
                state = "problem" if one.get("problem") else "waiting"
                return {"state": state, "reason": one["reason"], "jobs": []}
        if self._uploads.root(upload.inbox).exists(upload.path):
            return {"state": "waiting", "reason": "it was not looked at yet", "jobs": []}
        return {"state": "accepted", "reason": "", "jobs": self._jobs(upload, seen.conditions)}

    def _refuse_gone(self, upload: Upload) -> None:
        """Raise NotTaken once a clip was neither in its inbox nor a job for longer than accepting takes."""
        if len(self._gone_since) >= _GONE_MAX:
            self._gone_since.clear()
        since = self._gone_since.setdefault(upload.id, time.monotonic())
        if time.monotonic() - since >= _GONE_SECONDS:
            message = (
                "The clip does not lie in the inbox any more, and no job is known of it: it was removed."
            )
            raise NotTaken(404, "CLIP.GONE", message)

    def _jobs(self, upload: Upload, conditions: Conditions) -> list[dict[str, Any]]:
        since = (upload.placed_at or upload.begun_at) - _CLOCK_SECONDS
        with self._lookup.look() as look:
            page = look.page(Filter((), upload.inbox, text(upload.path)), None, _JOBS_MAX)
            of_it = [job for job in page.jobs if job.path == upload.path and job.created_at >= since]
            return [job_json(job, conditions, look.parts_of(job)) for job in reversed(of_it)]
