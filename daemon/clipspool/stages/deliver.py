"""Publishes results: provenance first, then the film, each whole and durable under a free name."""

from __future__ import annotations

import errno
import tomllib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from string import Formatter

import structlog

from clipspool.jobs.events import Delivered, Event, Postponed, ResultGone
from clipspool.jobs.model import Clip, Job, Result
from clipspool.jobs.naming import PATH_UNITS_MAX, fitted, is_portable, portable, units
from clipspool.jobs.nouns import replace
from clipspool.jobs.text import utc
from clipspool.spool.guard import Unavailable
from clipspool.spool.root import Root
from clipspool.spool.sources import holds, size_of
from clipspool.spool.space import REFUSED_NAME, lacking
from clipspool.spool.watchfolder import Folders, fold
from clipspool.spool.workfolder import folder_of
from clipspool.stages.payload import Sent, read_sent
from clipspool.stages.provenance import is_ours, provenance
from clipspool.system.atomic import Rel, join, name_of, parent, parts, split_suffix
from clipspool.system.failpoint import reach
from clipspool.system.moves import Withdrawn

UNTOUCHED = "_untouched"
"""The end of the name of the provider's own file, kept beside the one that was finished for the timeline."""
_PAPER_BYTES_MAX = 256 << 10
_SHORT_BYTES_MAX = 110
"""Of the 143 that the encrypted folders of a NAS allow, with room for a number and both suffixes."""
PAPER = ".toml"
"""Behind a result's name: its provenance."""
_ROOM_MIN = 24
"""UTF-16 units for a name and its provenance: with fewer no name shows which clip it is from."""

log = structlog.get_logger()


def deliver(job: Job, clip: Clip, folders: Folders, now: float, may_publish: Callable[[], bool]) -> Event:
    """Publish every result of a job into the outbox; a second call changes nothing.

    `may_publish` is asked right before each name: a machine that was frozen may have an heir that delivered.
    Raises OSError (full, read-only, Unavailable); what is published by then stays and is found again.
    """
    delivered: list[Result] = []
    gone = ""
    sent = read_sent(folders.inbox, clip, job)
    number = 0
    for result in job.results:
        number += not (result.is_untouched or result.part)
        tail = _tail_of(result, number)
        if result.name and _holds(folders, result.name, result):  # delivered before another was found gone
            delivered.append(result)
            continue
        try:
            name = _Publishing(job, clip, folders, sent, now, may_publish).run(result, tail)
        except BaseException as trouble:
            folders.outbox_names.forget()
            if isinstance(trouble, Withdrawn):
                return Postponed("the lead of the farm was lost before it was published", 0.0)
            if isinstance(trouble, _Gone) and (name := _published(job, clip, folders, result)):
                delivered.append(replace(result, name=name))
                continue
            if isinstance(trouble, _Gone):
                gone = result.file
                continue
            if isinstance(trouble, OSError) and (why := _why_not(folders, clip, result, trouble)):
                raise OSError(trouble.errno, why) from trouble
            raise
        delivered.append(replace(result, name=name))
    # One that has to be fetched again does not hold the others back.
    return ResultGone(gone, tuple(delivered)) if gone else Delivered(tuple(delivered))


def _tail_of(result: Result, number: int) -> str:
    """Return what its name ends with; `number` counts the results of a task from 1."""
    if result.part:
        return f"_part{result.part:03}"
    return (f"_{number}" if number > 1 else "") + (UNTOUCHED if result.is_untouched else "")


def _why_not(folders: Folders, clip: Clip, result: Result, trouble: OSError) -> str:
    """Return what is wrong with the folder in the outbox, or how much room is missing; else an empty text."""
    if isinstance(trouble, Unavailable):
        return ""
    return lacking(folders.outbox, result.size, folder_of_results(folders, clip), tries=True)


def folder_of_results(folders: Folders, clip: Clip) -> Rel:
    """Return the folder in the outbox in which a clip's results are put."""
    folder = parent(clip.path)
    return portable_folder(folders.outbox, folder) if folders.is_portable else folder


class _Gone(Exception):
    pass


@dataclass(frozen=True, slots=True)
class _Publishing:
    job: Job
    clip: Clip
    folders: Folders
    sent: Sent | None
    now: float
    may_publish: Callable[[], bool]

    def run(self, result: Result, tail: str) -> Rel:
        """Publish one result, and return its name: the clip's, as far as the outbox allows it."""
        base = base_name(self.job, self.clip, self.folders.result_name)
        try:
            folder = folder_of_results(self.folders, self.clip)
            if self.folders.is_portable:
                return self._publish_portably(result, tail, folder, base)
            return self._publish(result, tail, folder, base)
        except OSError as error:
            if error.errno not in REFUSED_NAME:
                raise
        folder = join(*(portable(part, _SHORT_BYTES_MAX) for part in parts(parent(self.clip.path))))
        return self._publish(result, tail, folder, portable(base, _SHORT_BYTES_MAX))

    def _original(self, name: str, suffix: str, tail: str) -> str:
        """Return a result's unchanged name where it was shortened or made portable; else an empty text."""
        plain = base_name(self.job, self.clip, self.folders.result_name) + tail
        rest = name.removesuffix(suffix)
        is_plain = rest == plain or (
            rest.startswith(f"{plain}-") and rest.removeprefix(f"{plain}-").isdigit()
        )
        return "" if is_plain else plain + suffix

    def _publish_portably(self, result: Result, tail: str, folder: Rel, base: str) -> Rel:
        """Publish a result under a path that Windows and macOS open, short enough where editors see it."""
        folders = self.folders
        there = folders.places.path(join(str(folders.outbox.path), folder))
        room = PATH_UNITS_MAX - units(there) - 1
        if room < _ROOM_MIN:
            log.warning(
                "path_not_portable",
                inbox=folders.name,
                folder=there.encode("utf-8", "backslashreplace").decode(),
            )
        return self._publish(result, tail, folder, portable(base), max(room, _ROOM_MIN))

    def _publish(
        self, result: Result, tail: str, folder: Rel, base: str, room_units: int | None = None
    ) -> Rel:
        job, clip, folders = self.job, self.clip, self.folders
        folders.outbox.make_folders(folder)
        file = join(folder_of(clip.id), result.file)
        for name in names(base, result.suffix, tail, room_units):
            rel, paper = join(folder, name), join(folder, name + PAPER)
            is_free = folders.outbox_names.reserve(folders.outbox, folder, (name, name + PAPER), self.now)
            if is_free:
                original = self._original(name, result.suffix, tail)
                if size_of(folders.inbox, file) != result.size:
                    raise _Gone  # no provenance may be left without its film
                if not self.may_publish():
                    raise Withdrawn
                try:
                    # The provenance first: after a crash it shows whose the film beside it is, so that no
                    # film is delivered twice.
                    data = provenance(job, clip, result, name, self.now, self.sent, original)
                    folders.outbox.create(paper, data, is_last=False)
                    reach("paper")
                except FileExistsError:  # it came after the names were listed
                    is_free = False
            if not is_free:
                if not _wrote(folders, paper, job, result):
                    continue
                # Our own provenance from before a crash, or from the machine that had the job until `recover`
                # took it over: the film beside it is ours, or not there yet.
                if _holds(folders, rel, result):
                    # Compared by hash, not by name: besides it only the one in the outbox is left.
                    folders.inbox.discard(file)
                    return rel
            try:
                # One from before a crash may be another user's, of the machine that had the job then.
                beside = name_of(paper) if is_free else ""
                if size_of(folders.inbox, file) != result.size:
                    raise _Gone
                folders.inbox.publish(file, folders.outbox, rel, self.may_publish, beside=beside)
            except FileExistsError:
                if _holds(folders, rel, result):
                    folders.inbox.discard(file)
                    return rel
                # Another's file has the name: it stays, and our provenance must not vouch for it.
                folders.outbox.remove(paper)
                continue
            reach("placed")
            return rel
        raise OSError(errno.EEXIST, f"no free name for the result of {clip.path}")


def portable_folder(root: Root, folder: Rel) -> Rel:
    """Return a folder's path in names that every system opens; one there in another letter case is used."""
    made: Rel = ""
    for part in parts(folder):
        name = portable(part)
        if not root.exists(join(made, name)):
            with suppress(FileNotFoundError):
                same = [n for n in root.names(made) if fold(n) == fold(name) and is_portable(n)]
                name = next((n for n in sorted(same) if root.is_folder(join(made, n))), name)
        made = join(made, name)
    return made


def _published(job: Job, clip: Clip, folders: Folders, result: Result) -> Rel:
    """Return where a result that is gone from the work folder lies in the outbox; empty where it does not.

    It was published just before a crash, or by another machine. The date or the configuration may have
    changed since, and its name with them, so it is found by its provenance.
    """
    folder = parent(clip.path)
    with suppress(FileNotFoundError):
        for paper in sorted(name for name in folders.outbox.names(folder) if name.endswith(PAPER)):
            rel = join(folder, paper)
            if _wrote(folders, rel, job, result) and _holds(folders, rel.removesuffix(PAPER), result):
                return rel.removesuffix(PAPER)
    return ""


def _wrote(folders: Folders, paper: Rel, job: Job, result: Result) -> bool:
    with suppress(OSError, ValueError, RecursionError):
        return is_ours(tomllib.loads(folders.outbox.read(paper, _PAPER_BYTES_MAX).decode()), job, result)
    return False


def _holds(folders: Folders, rel: Rel, result: Result) -> bool:
    return holds(folders.outbox, rel, result.size, result.sha256)


def base_name(job: Job, clip: Clip, template: str) -> str:
    """Fill in `result_name`, with the version behind it from the second on; the result is never a path.

    `{date}` is this machine's day on which its task was made; it was accepted on where it has none. Unlike
    today, or the day of its last change, that stays: what was begun before a crash, or before the outbox was
    full, is looked for under the name that it got.
    """
    sent_at = job.task.created_at if job.task else None
    stem, _ = split_suffix(name_of(clip.path))
    version = f"v{job.version:03}"
    if job.version > 1 and not any(field == "version" for _, field, _, _ in Formatter().parse(template)):
        template += "_{version}"
    filled = template.format(
        stem=stem,
        variant=job.variant,
        model=job.request.model,
        seed=job.request.seed,
        job=job.id,
        date=utc(job.created_at if sent_at is None else sent_at).astimezone().strftime("%Y-%m-%d"),
        version=version,
    )
    return filled.replace("/", "_").replace("\0", "_").lstrip(".") or job.id


def names(base: str, suffix: str, tail: str = "", room_units: int | None = None) -> Iterator[str]:
    """Return the names to try, in order: `base`, `base-2`, …; `tail` is `_2`, `_3` for later outputs.

    With `.toml` behind it each still fits what file systems allow, and into `room_units` UTF-16 units.
    """
    for count in range(1, 10_000):
        end = tail + (f"-{count}" if count > 1 else "") + suffix
        name = fitted(base, end, spare=len(PAPER))
        if room_units is not None:
            begin = name.removesuffix(end)
            while begin and units(begin + end + PAPER) > room_units:
                begin = begin[:-1]
            name = (begin.rstrip(" .") or "_") + end
        yield name
