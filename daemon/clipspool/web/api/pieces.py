"""Takes clips in pieces, so that a large one goes on where a lost connection ended it."""

from __future__ import annotations

import re
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from clipspool.intake.sidecar.parse import BYTES_MAX
from clipspool.system.atomic import write_all
from clipspool.web.api.films import PIECE_BYTES, Films, quote_json
from clipspool.web.api.forms import IMAGES_MAX
from clipspool.web.api.operations import answer, read_json
from clipspool.web.cache import DaemonState
from clipspool.web.upload_rules import NotTaken, check_room
from clipspool.web.uploads import Upload


class PieceRoutes:
    """Answers the addresses of uploads."""

    def __init__(self, films: Films, snapshot: DaemonState) -> None:
        """Open nothing yet; `snapshot` knows the limits."""
        self._films, self._uploads, self._snapshot = films, films.uploads, snapshot

    async def begin(self, request: Request) -> Any:
        """Begin an upload that is sent in pieces."""
        given = await read_json(request, "inbox folder name size")
        texts = [given.get(name, "") for name in ("inbox", "folder", "name")]
        size = given.get("size")
        if not all(isinstance(one, str) for one in texts):
            raise NotTaken(422, "REQUEST.TEXT", "`inbox`, `folder` and `name` must be texts.")
        if not isinstance(size, int) or isinstance(size, bool):
            raise NotTaken(422, "REQUEST.SIZE", "`size` is missing: the clip's length in bytes.")
        upload = await self._films.in_thread(texts[0], self._uploads.begin, *texts, size)
        return upload_json(upload, 0)

    async def look(self, request: Request) -> Any:
        """Return how much of an upload is here."""
        upload = await self._films.known(request.path_params["upload"])
        return upload_json(upload, await self._received(upload))

    async def _received(self, upload: Upload) -> Any:
        return await self._films.in_thread(upload.inbox, self._uploads.received, upload)

    async def drop(self, request: Request) -> Response:
        """End an upload and remove its bytes."""
        with self._uploads.alone(request.path_params["upload"]):
            upload = await self._films.known(request.path_params["upload"])
            if upload.placed_at is not None or upload.placing:
                raise NotTaken(409, "UPLOAD.PLACED", "It lies in the inbox already; remove it there.")
            drop, take = self._uploads.drop, self._uploads.take
            await self._films.in_thread(upload.inbox, lambda: drop(take(upload)))
        return answer(None, 204)

    async def put(self, request: Request) -> Any:
        """Add a piece to an upload, from its offset on."""
        offset = request.query_params.get("offset", "")
        if not re.fullmatch(r"[0-9]{1,15}", offset):
            raise NotTaken(422, "UPLOAD.OFFSET", "`offset` is missing: how many bytes were sent before.")
        length = int(request.headers.get("content-length", "0"))
        async with self._films.sending(request):
            with self._uploads.alone(request.path_params["upload"]):
                upload = await self._films.known(request.path_params["upload"])
                here = await self._received(upload)
                if upload.placed_at is not None or upload.placing:
                    raise NotTaken(409, "UPLOAD.PLACED", "It lies in the inbox already.")
                if int(offset) != here:
                    message = f"{here:,} bytes are here: go on from there."
                    raise NotTaken(409, "UPLOAD.OFFSET", message, received=here)
                if here + length > (upload.size or 0):
                    message = f"More was sent than the {upload.size or 0:,} bytes that were announced."
                    raise NotTaken(413, "UPLOAD.SIZE", message)
                # Others may have filled the disk since this was begun: what is spared is not used up.
                root = self._uploads.root(upload.inbox)
                await self._films.in_thread(upload.inbox, check_room, root, length)
                await self._append(request, upload)
                return upload_json(upload, await self._received(upload))

    async def _append(self, request: Request, upload: Upload) -> None:
        waiting = bytearray()
        async with self._films.opened(upload) as film:
            try:
                async for chunk in request.stream():
                    waiting += chunk
                    if len(waiting) >= PIECE_BYTES:
                        await self._films.in_thread(upload.inbox, write_all, film, bytes(waiting))
                        waiting.clear()
            except ClientDisconnect:
                pass  # what came is kept: the sender asks how much that is, and goes on
            await self._films.in_thread(upload.inbox, write_all, film, bytes(waiting))

    async def quote(self, request: Request) -> Any:
        """Quote an upload with a sidecar: what would be sent, what would be changed, and the price."""
        given = await read_json(request, "sidecar folder references")
        sidecar, images = given.get("sidecar", ""), given.get("references", [])
        if not isinstance(sidecar, str) or len(sidecar) > BYTES_MAX:
            raise NotTaken(422, "REQUEST.SIDECAR", "`sidecar` must be a text of at most 64 KiB.")
        if not isinstance(images, list) or not all(isinstance(one, str) for one in images[: IMAGES_MAX + 1]):
            raise NotTaken(422, "REQUEST.REFERENCES", "`references` must be a list of names.")
        upload = await self._films.known(request.path_params["upload"])
        folder = given.get("folder", upload.folder)
        if not isinstance(folder, str):
            raise NotTaken(422, "REQUEST.FOLDER", "`folder` must be a text.")
        wished = await self._films.in_thread(upload.inbox, self._uploads.path_in, upload, folder)
        sent = sidecar.encode("utf-8", "replace")
        quote = await self._films.quote(upload, sent, images[:IMAGES_MAX], wished)
        if quote is None:
            raise NotTaken(409, "UPLOAD.PLACED", "It lies in the inbox already.")
        conditions = (await run_in_threadpool(self._snapshot.get)).conditions
        return quote_json(quote, upload.inbox, conditions)


def upload_json(upload: Upload, received: int) -> dict[str, Any]:
    """Return an upload as it is answered."""
    is_placed = upload.placed_at is not None
    return {
        "id": upload.id,
        "inbox": upload.inbox,
        "folder": upload.folder,
        "name": upload.name,
        "size": upload.size,
        "received": (upload.size or 0) if is_placed else received,
        "state": "placed" if is_placed else "receiving",
        "path": upload.path if is_placed else None,
    }
