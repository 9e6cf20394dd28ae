"""Bring the results home: fresh addresses, streamed, resumed, and looked into before they count."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO

from clipspool.bay import Bay
from clipspool.events import Event, Failed, Fetched, Postponed, StageFailed
from clipspool.failpoint import reach
from clipspool.files import Rel, join, rename_new, sync_and_close, write_all
from clipspool.job import Held, Job, Result
from clipspool.provider import Cut, Fault, Look, Provider, TaskStatus
from clipspool.root import Root
from clipspool.stages.poll import error_of, task_id_of
from clipspool.work import folder_of

CUTS_MAX = 8
OUTPUTS_MAX = 32
_SPARE_BYTES = 64 << 20
_LOOK_BYTES = 16 << 20
"""After so many bytes of a result that did not say its size, the room for it is looked at again."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look into a file found: its suffix by content, or why it is no result."""

    suffix: str
    trouble: str = ""


LookInto = Callable[[FileIO], Seen]


class _Stopped(Exception):
    """The daemon drains; what came so far is thrown away, the result is still at the provider."""


def fetch(
    job: Job,
    bay: Bay,
    provider: Provider,
    look_into: LookInto,
    stopping: Callable[[], bool],
    look: Look | None = None,
) -> Event:
    """Download every output of a finished task into the work folder. Raises OSError, Unavailable among them.

    An address dies within a day or two [PROVIDER 2.6], so each try begins with a fresh look at the task, or
    with the `look` of a moment ago.
    """
    seen = provider.look(task_id_of(job)) if look is None else look
    if isinstance(seen, Fault):
        return StageFailed(seen.code, seen.message, seen.retry_after_seconds)
    if seen.status is TaskStatus.FAILED:
        return Failed(error_of(seen), seen.credits)
    if seen.status is TaskStatus.MISSING:
        return StageFailed(
            "TASK.MISSING", "the provider does not know the finished task any more", held=Held.LOST
        )
    if seen.status is not TaskStatus.SUCCEEDED or not seen.outputs:
        message = f"the provider says {seen.word} but names no result yet"
        return StageFailed("RESULT.NO_ADDRESS", message, held=Held.RESULT)
    results: list[Result] = []
    home = folder_of(job.clip_id)
    bay.inbox.make_folders(home)
    for number, url in enumerate(seen.outputs[:OUTPUTS_MAX], start=1):
        try:
            got = _Fetch(job, bay.inbox, home, number, provider, stopping).run(url, look_into)
        except _Stopped:
            return Postponed("the daemon stops", 0.0)
        if isinstance(got, StageFailed):
            return got
        results.append(got)
    warning = ""
    if len(seen.outputs) > OUTPUTS_MAX:
        warning = f"the task has {len(seen.outputs)} outputs; the first {OUTPUTS_MAX} were fetched"
    return Fetched(tuple(results), warning)


@dataclass(frozen=True, slots=True)
class _Fetch:
    job: Job
    root: Root
    home: Rel
    number: int
    provider: Provider
    stopping: Callable[[], bool]

    @property
    def partial(self) -> str:
        return f"{self.job.id}-{self.number}.part"

    def run(self, url: str, look_into: LookInto) -> Result | StageFailed:
        with self.root.folder(self.home) as folder:
            with suppress(FileNotFoundError):
                os.unlink(self.partial, dir_fd=folder)
            try:
                with self.root.create_in(self.partial, folder) as file:
                    sha256 = self._download(url, file)
                    if isinstance(sha256, StageFailed):
                        return sha256
                    sync_and_close(file)
                return self._accept(folder, look_into, sha256)
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(self.partial, dir_fd=folder)

    def _download(self, url: str, file: FileIO) -> str | StageFailed:
        """Fill the file and give its hash; a cut is resumed where a strong ETag allows, else begun anew."""
        digest = hashlib.sha256()
        etag = ""
        message = ""
        for _ in range(CUTS_MAX):
            offset = file.tell() if etag else 0
            opened = self.provider.download(url, offset, etag)
            if isinstance(opened, Fault):
                return StageFailed(opened.code, opened.message, opened.retry_after_seconds, held=Held.RESULT)
            if opened.size is not None and not self._has_room(opened.size):
                return self._no_room(f"{opened.size} bytes")
            if opened.offset != file.tell():
                digest = hashlib.sha256()
                file.seek(0)
                file.truncate()
            etag = opened.etag
            looked_at = file.tell()
            try:
                for chunk in opened.chunks:
                    digest.update(chunk)
                    write_all(file, chunk)
                    if self.stopping():
                        raise _Stopped
                    if opened.size is None and file.tell() - looked_at >= _LOOK_BYTES:
                        if not self._has_room(0):
                            return self._no_room("no known size")
                        looked_at = file.tell()
            except Cut as cut:
                message = str(cut)
                continue
            if opened.size is None or file.tell() == opened.size:
                return digest.hexdigest()
            etag = ""
            message = f"{file.tell()} bytes came where {opened.size} were announced"
        return StageFailed(
            "RESULT.CUT", f"the download was cut {CUTS_MAX} times ({message})", held=Held.RESULT
        )

    def _has_room(self, size: int) -> bool:
        return size <= self.root.space() - _SPARE_BYTES

    def _no_room(self, size: str) -> StageFailed:
        message = f"{self.root.path} has no room for a result of {size}"
        return StageFailed("INBOX.FULL", message, held=Held.DISK)

    def _accept(self, folder: int, look_into: LookInto, sha256: str) -> Result | StageFailed:
        with self.root.open(join(self.home, self.partial)) as file:
            size = os.fstat(file.fileno()).st_size
            seen = look_into(file)
            if seen.trouble:
                message = f"what the provider serves as the result is unusable: {seen.trouble}"
                return StageFailed("RESULT.UNREADABLE", message, held=Held.RESULT)
        name = f"{self.job.id}-{self.number}{seen.suffix}"
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder)
        # A name lost in a power cut is fetched again; the bytes are on the disk before anybody sees them.
        rename_new(self.partial, folder, name, folder)
        reach("fetched")
        return Result(name, seen.suffix, size, sha256)
