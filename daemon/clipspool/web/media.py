"""Serves posters, sources and results, addressed by job and number, never by path; opened beneath their root.

Reads happen in threads of their own, so that a share that hangs takes no thread from the pages.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import closing, suppress
from dataclasses import dataclass
from io import FileIO
from typing import IO, cast
from urllib.parse import quote
from zipfile import ZipFile, ZipInfo

import anyio
import anyio.to_thread
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from clipspool.jobs.model import Clip, Job, Result
from clipspool.jobs.text import text
from clipspool.journal import Lookup
from clipspool.spool.kept import open_source_of
from clipspool.spool.root import Root
from clipspool.spool.sources import pictures_in
from clipspool.spool.watchfolder import Folders
from clipspool.stages.poster import poster_of
from clipspool.system.atomic import Rel, name_of, split_suffix
from clipspool.web.context import DaemonHandle

_THREADS = 8
_CHUNK_BYTES = 256 * 1024
_TYPES = {
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".mov": "video/mp4",  # browsers play it under this type
    ".webm": "video/webm",
    ".mkv": "video/webm",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
}
_NO_PICTURE = '<svg xmlns="http://www.w3.org/2000/svg" width="32" height="9"/>'
"""The script recognizes it by its width, and asks again when something changed."""
_MISSING = 404
_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})")


class MediaRoutes:
    """Answers the addresses of media."""

    def __init__(self, daemon: DaemonHandle, lookup: Lookup) -> None:
        self._daemon = daemon
        self._lookup = lookup
        self._limiter: anyio.CapacityLimiter | None = None

    async def poster(self, request: Request) -> Response:
        """Serve the picture of a job's source beside one of its results."""
        number: int = request.path_params["number"]

        def open_it() -> tuple[FileIO, str]:
            job, _, folders = self._known(request)
            return folders.inbox.open(poster_of(job, number)), "poster.jpg"

        answer = await self._serve(request, open_it)
        if answer.status_code == _MISSING:
            # It is drawn soon after the delivery, and old ones are removed: not an error for browsers.
            return Response(_NO_PICTURE, media_type="image/svg+xml")
        return answer

    async def source(self, request: Request) -> Response:
        """Serve a job's clip, from its work folder or where it retired to."""

        def open_it() -> tuple[FileIO, str]:
            job, clip, folders = self._known(request)
            return open_source_of(folders, clip, job.request), name_of(clip.path)

        return await self._serve(request, open_it)

    async def result(self, request: Request) -> Response:
        """Serve one of a job's results from the outbox; a folder of pictures as a ZIP of them."""

        def folder() -> tuple[Root, Rel] | None:
            with suppress(OSError):
                outbox, found = self._result(request)
                return (outbox, found.name) if found.is_folder and outbox.is_folder(found.name) else None
            return None

        if (there := await anyio.to_thread.run_sync(folder, limiter=self._threads())) is not None:
            saved = {"Content-Disposition": _saved_as(f"{name_of(there[1])}.zip")}
            if request.method == "HEAD":
                return Response(headers=saved, media_type="application/zip")
            made = _steps(zipped(*there), self._threads())
            return StreamingResponse(made, headers=saved, media_type="application/zip")

        def open_it() -> tuple[FileIO, str]:
            outbox, found = self._result(request)
            return outbox.open(found.name), name_of(found.name)

        return await self._serve(request, open_it)

    async def preset(self, request: Request) -> Response:
        """Serve the sample picture of a preset in an inbox."""
        inbox, name = request.path_params["inbox"], request.path_params["name"]

        def open_it() -> tuple[FileIO, str]:
            try:
                known = self._daemon.command("presets", {"inbox": inbox})
                path = next(one["picture"] for one in known if one["name"] == name and one["picture"])
                return self._daemon.folders()[inbox].watched.open(path), name_of(path)
            except Exception as error:  # a picture that is not shown is no fault
                raise FileNotFoundError from error

        return await self._serve(request, open_it)

    async def _serve(self, request: Request, open_it: Callable[[], tuple[FileIO, str]]) -> Response:
        def find() -> tuple[FileIO, str, os.stat_result] | None:
            try:
                file, name = open_it()
                return file, name, os.fstat(file.fileno())
            except (OSError, ValueError):
                return None

        found = await anyio.to_thread.run_sync(find, limiter=self._threads())
        if found is None:
            return PlainTextResponse("This file does not exist (any more).\n", 404)
        file, name, there = found
        return self._answer(request, file, there, name)

    def _known(self, request: Request) -> tuple[Job, Clip, Folders]:
        """Return what an address names; raises FileNotFoundError where it is not known."""
        with self._lookup.look() as look:
            job = look.job(request.path_params["job"])
            clip = None if job is None else look.clip(job.clip_id)
        folders = None if job is None else self._daemon.folders().get(job.inbox)
        if job is None or clip is None or folders is None:
            raise FileNotFoundError
        return job, clip, folders

    def _result(self, request: Request) -> tuple[Root, Result]:
        """Return a result and the outbox in which it lies; raises FileNotFoundError without one."""
        number: int = request.path_params["number"]
        job, _, folders = self._known(request)
        results = delivered(job)
        if not 1 <= number <= len(results):
            raise FileNotFoundError
        return folders.outbox, results[number - 1]

    def _answer(self, request: Request, file: FileIO, there: os.stat_result, name: str) -> Response:
        kind = _TYPES.get(split_suffix(name)[1].lower(), "application/octet-stream")
        tag = f'"{there.st_size:x}-{there.st_mtime_ns:x}"'
        headers = {
            "Accept-Ranges": "bytes",
            "ETag": tag,
            "Cache-Control": "private, no-cache",
            "Content-Disposition": _saved_as(name) if "download" in request.query_params else "inline",
        }
        if request.headers.get("if-none-match") == tag:
            file.close()
            return Response(status_code=304, headers=headers)
        wanted = request.headers.get("range", "")
        if request.headers.get("if-range", tag) != tag:
            wanted = ""
        part = range_of(wanted, there.st_size)
        if part is None:
            file.close()
            headers["Content-Range"] = f"bytes */{there.st_size}"
            return PlainTextResponse("The file has no such part.\n", 416, headers)
        headers["Content-Length"] = str(part.length)
        if part.is_part:
            headers["Content-Range"] = f"bytes {part.begin}-{part.begin + part.length - 1}/{there.st_size}"
        if request.method == "HEAD":
            file.close()
            return Response(status_code=206 if part.is_part else 200, headers=headers, media_type=kind)
        return _FileResponse(file, part, self._threads(), headers, kind)

    def _threads(self) -> anyio.CapacityLimiter:
        if self._limiter is None:  # it belongs to the loop that runs
            self._limiter = anyio.CapacityLimiter(_THREADS)
        return self._limiter


def _saved_as(name: str) -> str:
    """Return the header that has a browser save a file under its name."""
    return "attachment; filename*=UTF-8''" + quote(text(name), safe="")


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Some bytes of a file."""

    begin: int
    length: int
    is_part: bool


def range_of(header: str, size: int) -> ByteRange | None:
    """Read a Range header with one range; anything else means the whole file, None a range without bytes."""
    whole = ByteRange(0, size, is_part=False)
    found = _RANGE.fullmatch(header.strip())
    if found is None or not any(found.groups()):
        return whole
    first, last = found.groups()
    if not first:
        length = min(int(last), size)
        return ByteRange(size - length, length, is_part=True) if length else None
    begin, end = int(first), min(int(last) if last else size - 1, size - 1)
    if last and int(last) < begin:
        return whole
    return None if begin >= size else ByteRange(begin, end - begin + 1, is_part=True)


class _Written:
    """Collects an archive as it is written, piece by piece; nothing of it can be changed later."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        pass

    def taken(self) -> bytes:
        data, self._pieces = b"".join(self._pieces), []
        return data


def zipped(root: Root, rel: Rel) -> Generator[bytes]:
    """Yield a ZIP of a folder's pictures, which are packed well enough as they are. Raises OSError."""
    written = _Written()
    with ZipFile(cast("IO[bytes]", written), "w") as archive:
        for name, file in pictures_in(root, rel):
            entry = ZipInfo(f"{text(name_of(rel))}/{text(name)}")
            with file, archive.open(entry, "w") as member:
                while chunk := file.read(_CHUNK_BYTES):
                    member.write(chunk)
                    yield written.taken()
    yield written.taken()


async def _steps(made: Generator[bytes], limiter: anyio.CapacityLimiter) -> AsyncIterator[bytes]:
    with closing(made):
        while (chunk := await anyio.to_thread.run_sync(next, made, None, limiter=limiter)) is not None:
            yield chunk


class _FileResponse(StreamingResponse):
    """Sends a part of an open file, and closes it in any case."""

    def __init__(
        self,
        file: FileIO,
        part: ByteRange,
        limiter: anyio.CapacityLimiter,
        headers: dict[str, str],
        kind: str,
    ) -> None:
        super().__init__(_chunks(file, part, limiter), 206 if part.is_part else 200, headers, media_type=kind)
        self._file = file

    async def __call__(self, *arguments: object) -> None:
        try:
            await super().__call__(*arguments)  # type: ignore[arg-type]
        finally:
            self._file.close()


async def _chunks(file: FileIO, part: ByteRange, limiter: anyio.CapacityLimiter) -> AsyncIterator[bytes]:
    at, left = part.begin, part.length
    while left:
        chunk = await anyio.to_thread.run_sync(
            os.pread, file.fileno(), min(left, _CHUNK_BYTES), at, limiter=limiter
        )
        if not chunk:  # it was cut short meanwhile: the reader sees a wrong length
            return
        at += len(chunk)
        left -= len(chunk)
        yield chunk


def delivered(job: Job) -> list[Result]:
    """Return a job's results in the outbox, in the order of their numbers from 1."""
    return [result for result in job.results if result.name]
