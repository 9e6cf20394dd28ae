"""Downloads results: from fresh addresses, streamed, resumed, and probed before they count."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import FileIO

from clipspool.jobs.events import Event, Failed, Fetched, PartlyFetched, Postponed, StageFailed
from clipspool.jobs.faults import Fault
from clipspool.jobs.model import Held, Job, Missing, Result
from clipspool.jobs.nouns import replace
from clipspool.jobs.outputs import ZIP, missing_in_words
from clipspool.jobs.working import ReportWork, Working, keep_to_oneself, share_of
from clipspool.media.facts import ZEROS, Probe
from clipspool.provider.protocol import DownloadCut, Followed, TaskLook, TaskStatus
from clipspool.spool.root import Root
from clipspool.spool.sources import size_of
from clipspool.spool.watchfolder import Folders
from clipspool.spool.workfolder import folder_of, made_name
from clipspool.stages.poll import error_of, task_id_of
from clipspool.system.atomic import Rel, join, rename_new, sync_and_close, unlink, write_all
from clipspool.system.failpoint import reach

CUTS_MAX = 8
OUTPUTS_MAX = 32
_SPARE_BYTES = 64 << 20
_TRIES = 12
"""Attempts for one of several outputs before the others are delivered without it: some ten minutes."""
_DENIED_TRIES = 8
"""How often a finished task has to be called failed, in about a minute: gateways contradict themselves."""
_GONE_TRIES = 5
"""The same where the provider says each time that it is gone, or serves an unusable file: some seconds."""
_FILM_TRIES = 10
_COMPANIONS = frozenset({".json"})
"""No result by itself: the provider's error messages have the same form."""
_NO_ROOM = "INBOX.FULL"
_GONE = frozenset({"RESULT.EXPIRED", "RESULT.UNREADABLE", "RESULT.FORBIDDEN_ADDRESS", "RESULT.TOO_LARGE"})
_AGAIN_SECONDS = 5.0
_LOOK_BYTES = 16 << 20
"""After this many bytes of a result of unknown size, the free room is checked again."""


@dataclass(frozen=True, slots=True)
class Probed:
    """What a probe of a file found: its suffix by content, or why it is no result."""

    suffix: str
    trouble: str = ""
    film: Probe | None = None
    """The probe, where it is a film."""
    credentials: str = ""
    """`kept` where the provider signed content credentials into it."""


LookInto = Callable[[FileIO], Probed]


class _Stopped(Exception):
    """The daemon stops: whole outputs are kept, the part of one that came is removed."""

    def __init__(self, results: tuple[Result, ...] = ()) -> None:
        super().__init__()
        self.results = results


@dataclass(frozen=True, slots=True)
class FetchTools:
    """The tools of the fetch stage."""

    provider: Followed
    look_into: LookInto
    stopping: Callable[[], bool]
    may_make: Callable[[], bool]
    """Whether a work folder that is gone may be made again; somebody may have removed it by hand."""
    report: ReportWork = keep_to_oneself


def fetch(
    job: Job, folders: Folders, tools: FetchTools, look: TaskLook | None = None, *, attempt: str
) -> Event:
    """Download every output of a finished task into the work folder. Raises OSError, Unavailable among them.

    An address expires within a day or two [PROVIDER 2.6], so each attempt begins with a fresh poll of the
    task, or with the `look` of a moment ago.
    """
    if job.cancel_by and job.results:
        # What is here was paid for: it is delivered before the job ends, and nothing more is fetched.
        return Fetched(job.results, missing=job.missing)
    seen = tools.provider.look(task_id_of(job)) if look is None else look
    if isinstance(seen, Fault):
        return StageFailed(seen.code, seen.message, seen.retry_after_seconds)
    if seen.status is TaskStatus.FAILED and job.attempts + 1 < _DENIED_TRIES:
        # It was finished, and is paid for: one answer to the contrary must not give up its result.
        message = f"the provider says {seen.word} of a task that it had finished; it is asked again"
        return StageFailed("RESULT.DENIED", message, held=Held.RESULT)
    if seen.status is TaskStatus.FAILED:
        return Failed(error_of(seen), seen.credits)
    if seen.status is TaskStatus.MISSING:
        # Not failed: it was paid for, and gateways forget a task for a while.
        return StageFailed(
            "TASK.MISSING", "the provider does not know the finished task any more", held=Held.LOST
        )
    if seen.status is not TaskStatus.SUCCEEDED or not seen.outputs:
        message = f"the provider says {seen.word} but names no result yet"
        return StageFailed("RESULT.NO_ADDRESS", message, held=Held.RESULT)
    home = folder_of(job.clip_id)
    if not folders.inbox.exists(home) and not tools.may_make():
        # A machine that was frozen may have an heir that delivered the clip and removed its folder.
        return Postponed("its work folder is gone; the farm's leader makes it again", _AGAIN_SECONDS)
    folders.inbox.make_folders(home)
    try:
        fetching = _Fetching(job, attempt, folders.inbox, tools)
        got = fetching.run(seen.outputs[:OUTPUTS_MAX])
    except _Stopped as stopped:
        if stopped.results:
            return PartlyFetched(stopped.results, "the daemon stops", is_fault=False)
        return Postponed("the daemon stops", 0.0)
    return _event_of(job, got, len(seen.outputs))


def _event_of(job: Job, got: Sequence[Result | tuple[int, StageFailed]], outputs: int) -> Event:
    """Return the event of an attempt that fetched all, some or none of the outputs."""
    here = tuple(one for one in got if isinstance(one, Result))
    failed = [one for one in got if not isinstance(one, Result)]
    warning = ""
    if outputs > OUTPUTS_MAX:
        warning = f"the task has {outputs} outputs; the first {OUTPUTS_MAX} were fetched"
    if not failed:
        is_of_use = any(one.suffix not in _COMPANIONS for one in here)
        return Fetched(here, warning) if is_of_use else _nothing_of_use(here)
    first = failed[0][1]
    if not here:
        return first
    missing = tuple(Missing(number, fault.message) for number, fault in failed)
    if not any(fault.code == _NO_ROOM for _, fault in failed) and _is_given_up(job, here, failed):
        return Fetched(here, warning, missing)
    message = f"{len(here)} of {len(got)} outputs are here; {missing_in_words(missing)}; it is tried again"
    disk = next((fault.held for _, fault in failed if fault.held is Held.DISK), None)
    return PartlyFetched(here, message, missing, first.retry_after_seconds, held=disk or Held.RESULT)


def _nothing_of_use(here: Sequence[Result]) -> StageFailed:
    kinds = ", ".join(sorted({one.suffix.lstrip(".") for one in here}))
    message = f"what the provider serves as the result is unusable: it is no video ({kinds})"
    return StageFailed("RESULT.UNREADABLE", message, held=Held.RESULT)


def _is_given_up(job: Job, here: Sequence[Result], failed: Sequence[tuple[int, StageFailed]]) -> bool:
    """Whether what is here is delivered without the rest.

    The film matters most: it is given up only where the provider says again and again that it is gone, the
    rest once it was tried for some minutes. Without a film, or pictures in an archive, nothing is given up
    for a temporary fault.
    """
    has_film = any(one.is_film or one.is_folder or one.suffix == ZIP for one in here)
    is_gone = all(fault.code in _GONE for _, fault in failed)
    if not has_film:
        return is_gone and job.attempts + 1 >= _FILM_TRIES and here[0].suffix not in _COMPANIONS
    return job.attempts + 1 >= (_GONE_TRIES if is_gone else _TRIES)


@dataclass(frozen=True, slots=True)
class _Fetching:
    job: Job
    attempt: str
    root: Root
    tools: FetchTools

    @property
    def home(self) -> Rel:
        return folder_of(self.job.clip_id)

    def run(self, outputs: Sequence[str]) -> list[Result | tuple[int, StageFailed]]:
        """Fetch what is not here yet; one output that cannot be fetched does not hold the others back."""
        kept = {one.number: one for one in self.job.results if self._is_here(one)}
        got: list[Result | tuple[int, StageFailed]] = []
        for number, url in enumerate(outputs, start=1):
            if number in kept:
                got.append(kept[number])
                continue
            try:
                fetched = self._fetch(number, url, len(outputs))
            except _Stopped:
                raise _Stopped(tuple(one for one in got if isinstance(one, Result))) from None
            got.append((number, fetched) if isinstance(fetched, StageFailed) else fetched)
        return got

    def _is_here(self, result: Result) -> bool:
        """Whether an output need not be fetched again: it is whole in the work folder, or delivered."""
        if not result.number or result.is_untouched:
            return False
        return bool(result.name) or size_of(self.root, join(self.home, result.file)) == result.size

    def _fetch(self, number: int, url: str, count: int) -> Result | StageFailed:
        fetched = self._fetch_once(number, url, count)
        if isinstance(fetched, StageFailed) or not any(one.startswith(ZEROS) for one in fetched.noticed):
            return fetched
        # A server or proxy may have lost a part of it on its way.
        try:
            again = self._fetch_once(number, url, count)
        except OSError:  # there may be no room for it twice; what is here was paid for
            return fetched
        return fetched if isinstance(again, StageFailed) else again

    def _fetch_once(self, number: int, url: str, count: int) -> Result | StageFailed:
        partial = made_name(self.job, self.attempt, f"-{number}.part")
        doing = "downloading the result" + (f" ({number} of {count})" if count > 1 else "")
        with self.root.folder(self.home) as folder:
            unlink(partial, folder)
            try:
                with self.root.create_in(partial, folder) as file:
                    sha256 = self._download(url, file, doing)
                    if isinstance(sha256, StageFailed):
                        return sha256
                    sync_and_close(file)  # a power cut must not turn what was paid for into an empty file
                return self._accept(number, partial, folder, sha256)
            finally:
                unlink(partial, folder)

    def _download(self, url: str, file: FileIO, doing: str) -> str | StageFailed:
        """Fill the file and return its hash; resume a cut where a strong ETag allows, else start over."""
        digest = hashlib.sha256()
        etag = ""
        message = ""
        for _ in range(CUTS_MAX):
            offset = file.tell() if etag else 0
            opened = self.tools.provider.download(url, offset, etag)
            if isinstance(opened, Fault):
                return StageFailed(opened.code, opened.message, opened.retry_after_seconds, held=Held.RESULT)
            if opened.size is not None and not self._has_room(opened.size):
                return self._no_room(f"{opened.size:,} bytes")
            # The server starts over, or with another file: bytes of two files must never be joined.
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
                    share = None if opened.size is None else share_of(file.tell(), opened.size)
                    self.tools.report(Working(doing, share))
                    if self.tools.stopping():
                        raise _Stopped
                    if opened.size is None and file.tell() - looked_at >= _LOOK_BYTES:
                        if not self._has_room(0):
                            return self._no_room("no known size")
                        looked_at = file.tell()
            except DownloadCut as cut:
                message = str(cut)
                continue
            if opened.size is None or file.tell() == opened.size:
                return digest.hexdigest()
            etag = ""
            message = f"{file.tell():,} bytes came where {opened.size:,} were announced"
        return StageFailed(
            "RESULT.CUT", f"the download was cut {CUTS_MAX} times ({message})", held=Held.RESULT
        )

    def _has_room(self, size: int) -> bool:
        return size <= self.root.space() - _SPARE_BYTES

    def _no_room(self, size: str) -> StageFailed:
        message = f"{self.root.path} has no room for a result of {size}"
        return StageFailed(_NO_ROOM, message, held=Held.DISK)

    def _accept(self, number: int, partial: str, folder: int, sha256: str) -> Result | StageFailed:
        with self.root.open(join(self.home, partial)) as file:
            size = os.fstat(file.fileno()).st_size
            seen = self.tools.look_into(file)
        if seen.trouble:
            message = f"what the provider serves as the result is unusable: {seen.trouble}"
            return StageFailed("RESULT.UNREADABLE", message, held=Held.RESULT)
        name = made_name(self.job, self.attempt, f"-{number}{seen.suffix}")
        unlink(name, folder)
        # A name lost in a power cut is fetched again; the bytes are on the disk before the name is.
        rename_new(partial, folder, name, folder)
        reach("fetched")
        result = Result(name, seen.suffix, size, sha256, number=number, credentials=seen.credentials)
        if (film := seen.film) is None:
            return result
        noticed = (film.noticed,) if film.noticed else ()
        is_tall = film.height > film.width
        result = replace(result, is_tall=is_tall, noticed=noticed)
        return replace(result, seconds=film.seconds, frames=film.frames, fps=film.fps)
