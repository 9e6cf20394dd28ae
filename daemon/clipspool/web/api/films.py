"""Receives films in threads of its own, a limited number at once, and quotes what arrived."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from io import FileIO
from typing import Any, Final

import anyio
from starlette.requests import Request

from clipspool.intake.notes import sentence
from clipspool.jobs.conditions import Conditions
from clipspool.jobs.model import Problem
from clipspool.jobs.quote import Quote
from clipspool.stages.provenance import as_sent
from clipspool.system.atomic import Rel
from clipspool.web.connections import UPLOADS
from clipspool.web.context import ClipDoors
from clipspool.web.threads import LOOK_SECONDS, InboxThreads
from clipspool.web.upload_rules import NotTaken
from clipspool.web.uploads import Upload, Uploads

SENDERS_MAX: Final = 128
"""Requests that send a film at once: slow ones are many, and each has up to two pieces in memory."""
PIECE_BYTES: Final = 1 << 18
"""Bytes that are written at once."""
IMAGES_BYTES_MAX: Final = 256 << 20
"""Reference images are held in memory until their clip is whole: at most this much for all requests
together."""
_IMAGES = "clipspool_image_bytes"


class Films:
    """Receives films in the threads of their inboxes, so that a slow disk takes none from the pages."""

    def __init__(self, uploads: Uploads, doors: ClipDoors, threads: InboxThreads) -> None:
        self.uploads, self.doors = uploads, doors
        self.in_thread = threads.run
        self._under_way = 0
        self._images = 0

    @asynccontextmanager
    async def sending(self, request: Request) -> AsyncIterator[None]:
        """Let a request send a film for as long as bytes come; raises NotTaken where too many do."""
        if self._under_way >= SENDERS_MAX:
            why = f"{SENDERS_MAX} clips are being sent at the moment, and no more at once; try again."
            raise NotTaken(503, "UPLOAD.MANY", why)
        self._under_way += 1
        request.scope[UPLOADS] = True
        try:
            yield
        finally:
            self._under_way -= 1
            self._images -= request.scope.pop(_IMAGES, 0)
            request.scope[UPLOADS] = False

    def hold_image(self, request: Request, count: int) -> None:
        """Count bytes of an image that a request keeps in memory; raises NotTaken where all keep too many."""
        if self._images + count > IMAGES_BYTES_MAX:
            raise NotTaken(503, "UPLOAD.MANY", "Too many images are being sent at once; try again.")
        self._images += count
        request.scope[_IMAGES] = request.scope.get(_IMAGES, 0) + count

    @asynccontextmanager
    async def opened(self, upload: Upload) -> AsyncIterator[FileIO]:
        """Open an upload's bytes to add to them; they are synced at the end, also after an error."""
        context: AbstractContextManager[FileIO] = self.uploads.open_part(upload)
        file: FileIO = await self.in_thread(upload.inbox, context.__enter__)
        try:
            yield file
        finally:
            with anyio.CancelScope(shield=True):
                await self.in_thread(upload.inbox, context.__exit__, None, None, None)

    async def known(self, upload_id: str) -> Upload:
        """Return an upload; raises NotTaken where there is none."""
        upload = None
        if (inbox := self.uploads.inbox_of(upload_id)) is not None:
            upload = await self.in_thread(inbox, self.uploads.find, upload_id, seconds=LOOK_SECONDS)
        if not isinstance(upload, Upload):
            raise NotTaken(404, "UPLOAD.UNKNOWN", "There is no such upload (any more).")
        return upload

    async def quote(
        self, upload: Upload, sidecar: bytes, images: Sequence[str], path: Rel = ""
    ) -> Quote | None:
        """Return the quote of an upload, at another `path` where one is given; None once it is placed."""

        def run() -> Quote:
            is_whole = upload.size is None or self.uploads.received(upload) == upload.size
            with self.uploads.open_part(upload) as file:
                film = file if is_whole else None
                return self.doors.quote(upload.inbox, path or upload.path, sidecar, film, images, "")

        try:
            made: Quote = await self.in_thread(upload.inbox, run)
        except FileNotFoundError:
            return None
        return made


def problem_json(problem: Problem) -> dict[str, Any]:
    """Return a problem as it is answered."""
    return {"message": sentence(problem), "key": problem.key, "line": problem.line}


def quote_json(quote: Quote, inbox: str, conditions: Conditions) -> dict[str, Any]:
    """Return a quote as it is answered, with what would hold the clip in its inbox."""
    jobs = [
        {
            "variant": job.variant.lstrip("_"),
            "request": as_sent(job.request),
            "credits": job.credits,
            "changes": list(job.changes),
        }
        for job in quote.jobs
    ]
    problems = [problem_json(problem) for problem in quote.problems]
    prices = [(job.request.model, job.credits) for job in quote.jobs]
    is_whole = all(job.request.long_clips != "split" for job in quote.jobs)
    held, reason = conditions.would_hold(inbox, prices, is_whole=is_whole)
    limits, spend = conditions.limits, conditions.spend
    left = [limits.credits_left(spend, inbox, job.request.model) for job in quote.jobs]
    return {
        "problems": problems,
        "jobs": jobs,
        "credits": quote.credits,
        "media": dict(quote.media),
        "held": held,
        "reason": reason,
        "credits_left_today": min((one for one in left if one is not None), default=None),
    }
