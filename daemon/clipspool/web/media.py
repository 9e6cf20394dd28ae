"""Serves posters, sources and results, addressed by job and number, never by path; opened beneath their root.

Reads happen in the threads of the inbox, so that a share that hangs takes no thread from the rest.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from io import FileIO
from typing import IO, Any, cast
from urllib.parse import quote
from zipfile import ZipFile, ZipInfo

from starlette.concurrency import run_in_threadpool
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
from clipspool.web.threads import LOOK_SECONDS, InboxThreads, Silent

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
_Run = Callable[..., Awaitable[Any]]
"""Runs a function in a thread of the inbox."""
_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})")


class MediaRoutes:
    """Answers the addresses of media."""

    def __init__(self, daemon: DaemonHandle, lookup: Lookup, threads: InboxThreads) -> None:
        self._daemon = daemon
        self._lookup = lookup
        self._threads = threads

    async def poster(self, request: Request) -> Response:
        """Serve the picture of a job's source beside one of its results."""
        number: int = request.path_params["number"]

        def open_it(found: _Found) -> tuple[FileIO, str]:
            return found.folders.inbox.open(poster_of(found.job, number)), "poster.jpg"

        answer = await self._of_job(request, open_it)
        if answer.status_code == _MISSING:
            # It is drawn soon after the delivery, and old ones are removed: not an error for browsers.
            return Response(_NO_PICTURE, media_type="image/svg+xml")
        return answer

    async def source(self, request: Request) -> Response:
        """Serve a job's clip, from its work folder or where it retired to."""

        def open_it(found: _Found) -> tuple[FileIO, str]:
            file = open_source_of(found.folders, found.clip, found.job.request)
            return file, name_of(found.clip.path)

        return await self._of_job(request, open_it)

    async def result(self, request: Request) -> Response:
        """Serve one of a job's results from the outbox; a folder of pictures as a ZIP of them."""
        number: int = request.path_params["number"]

        def folder(found: _Found) -> tuple[Root, Rel] | None:
            with suppress(OSError):
                result = found.result(number)
                outbox = found.folders.outbox
                return (outbox, result.name) if result.is_folder and outbox.is_folder(result.name) else None
            return None

        def open_it(found: _Found) -> tuple[FileIO, str]:
            result = found.result(number)
            return found.folders.outbox.open(result.name), name_of(result.name)

        found = await run_in_threadpool(self._find, request)
        look = partial(self._threads.run, seconds=LOOK_SECONDS)
        if found is not None and (there := await look(found.job.inbox, folder, found)):
            saved = {"Content-Disposition": _saved_as(f"{name_of(there[1])}.zip")}
            if request.method == "HEAD":
                return Response(headers=saved, media_type="application/zip")
            made = _steps(zipped(*there), partial(self._threads.run, found.job.inbox))
            return StreamingResponse(made, headers=saved, media_type="application/zip")
        return await self._of_job(request, open_it, found)

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

        return await self._serve(request, inbox, open_it)

    async def _of_job(
        self, request: Request, open_it: Callable[[_Found], tuple[FileIO, str]], found: _Found | None = None
    ) -> Response:
        if (found := found or await run_in_threadpool(self._find, request)) is None:
            return _missing()
        return await self._serve(request, found.job.inbox, partial(open_it, found))

    async def _serve(
        self, request: Request, inbox: str, open_it: Callable[[], tuple[FileIO, str]]
    ) -> Response:
        def find() -> tuple[FileIO, str, os.stat_result] | None:
            try:
                file, name = open_it()
                return file, name, os.fstat(file.fileno())
            except (OSError, ValueError):
                return None

        # Not for ever: a browser has six connections to a host, and pictures of a share that hangs take all.
        found = await self._threads.run(inbox, find, seconds=LOOK_SECONDS)
        return _missing() if found is None else self._answer(request, inbox, *found)

    def _find(self, request: Request) -> _Found | None:
        """Return what an address names; None where it is not known."""
        with self._lookup.look() as look:
            job = look.job(request.path_params["job"])
            clip = None if job is None else look.clip(job.clip_id)
        folders = None if job is None else self._daemon.folders().get(job.inbox)
        return None if job is None or clip is None or folders is None else _Found(job, clip, folders)

    def _answer(
        self, request: Request, inbox: str, file: FileIO, name: str, there: os.stat_result
    ) -> Response:
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
        read = partial(self._threads.run, inbox, seconds=LOOK_SECONDS)
        return _FileResponse(file, part, read, headers, kind)


@dataclass(frozen=True, slots=True)
class _Found:
    """A job whose media are asked for."""

    job: Job
    clip: Clip
    folders: Folders

    def result(self, number: int) -> Result:
        """Return one of its results; raises FileNotFoundError without one."""
        results = delivered(self.job)
        if not 1 <= number <= len(results):
            raise FileNotFoundError
        return results[number - 1]


def _missing() -> Response:
    return PlainTextResponse("This file does not exist (any more).\n", 404)


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


async def _steps(made: Generator[bytes], run: _Run) -> AsyncIterator[bytes]:
    with closing(made):
        while (chunk := await run(next, made, None)) is not None:
            yield chunk


class _FileResponse(StreamingResponse):
    """Sends a part of an open file, and closes it in any case."""

    def __init__(
        self,
        file: FileIO,
        part: ByteRange,
        run: _Run,
        headers: dict[str, str],
        kind: str,
    ) -> None:
        super().__init__(_chunks(file, part, run), 206 if part.is_part else 200, headers, media_type=kind)
        self._file = file

    async def __call__(self, *arguments: object) -> None:
        try:
            await super().__call__(*arguments)  # type: ignore[arg-type]
        finally:
            self._file.close()


async def _chunks(file: FileIO, part: ByteRange, run: _Run) -> AsyncIterator[bytes]:
    at, left = part.begin, part.length
    while left:
        chunk = b""
        with suppress(Silent):
            chunk = await run(os.pread, file.fileno(), min(left, _CHUNK_BYTES), at)
        if not chunk:  # it was cut short meanwhile: the reader sees a wrong length
            return
        at += len(chunk)
        left -= len(chunk)
        yield chunk


def delivered(job: Job) -> list[Result]:
    """Return a job's results in the outbox, in the order of their numbers from 1."""
    return [result for result in job.results if result.name]
