"""Prepares what is sent, before anything is spent: reads the clip whole, makes it fit, uploads it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from io import FileIO

from clipspool.jobs.events import Changed, Event, Failed, Postponed, Prepared, StageFailed
from clipspool.jobs.fingerprint import fingerprint, fingerprints_alike
from clipspool.jobs.model import Clip, Error, Job, Request
from clipspool.jobs.nouns import replace
from clipspool.jobs.sequence import Facts, exact_rate, in_words
from clipspool.jobs.working import ReportWork, Working, keep_to_oneself, share_of
from clipspool.media.boxes import Complete, completeness
from clipspool.media.decoder import Decoder
from clipspool.media.facts import EXPORT_AGAIN, MediaFault, Probe
from clipspool.media.plan import AsIs, Bounds, Conform, Refuse
from clipspool.provider.transport import Depot
from clipspool.spool.kept import return_copy
from clipspool.spool.layout import MANIFEST
from clipspool.spool.ledger import note_followed
from clipspool.spool.watchfolder import Folders
from clipspool.spool.workfolder import bring_back, folder_of
from clipspool.stages.changed import why_another
from clipspool.stages.film import look_at_pictures, open_film, read_pictures
from clipspool.stages.fit import Trouble, Workbench, choose_for, media_trouble, parcel_of, type_of_clip
from clipspool.stages.payload import Sent, SentFile, files_of, read_sent, write_sent
from clipspool.stages.split import Parting, clip_part, cut_up, is_split, parting
from clipspool.system.atomic import CHUNK, TIME_NS_MAX, NotRegular, join, sha256_of


@dataclass(frozen=True, slots=True)
class PrepareTools:
    """The tools of the prepare stage."""

    decoder: Decoder
    depot: Depot
    limits: Callable[[Request], Bounds | None]
    """The limits of the request's model; None for a model that is not in the catalogue any more."""
    estimate: Callable[[Request, float | None], float | None]
    """Credits of a request for a clip of this many seconds; None where they are not known."""
    now: Callable[[], float]
    stopping: Callable[[], bool] = lambda: False
    """Whether the daemon stops: a long read is given up, and started over at the next start."""
    report: ReportWork = keep_to_oneself


def prepare(job: Job, clip: Clip, folders: Folders, tools: PrepareTools, *, attempt: str) -> Event:
    """Hash the clip, checking before and after whether somebody still writes to it; then make it fit.

    A retired clip is moved back into its work folder. Costs no money; after a crash it makes again
    only what is not whole. Raises OSError, Unavailable among them.
    """
    try:
        _bring_in(job, clip, folders)
        if clip.is_pictures:
            return _prepare_pictures(job, clip, folders, tools, attempt)
        file = folders.inbox.open(join(folder_of(clip.id), clip.source))
    except (NotRegular, NotADirectoryError):
        return Failed(
            Error(
                "CLIP.NOT_A_FILE",
                f"{clip.path} was replaced by a link, folder or device while it was being accepted",
                "Replace the link, folder or device with the clip itself.",
            )
        )
    except FileNotFoundError as error:
        if any(
            folders.inbox.exists(rel) for rel in (join(folder_of(clip.id), clip.source), clip.lies_at) if rel
        ):
            return StageFailed("DISK", f"its work folder was removed while it was being filled: {error}")
        elsewhere = "in the archive" if folders.origin is None else "in the inbox as it was accepted"
        return Failed(
            Error(
                "CLIP.MISSING",
                f"{clip.path} is missing: it is neither in its work folder nor {elsewhere}",
                "Drop the clip again. With a restored journal, check `_done` and the outbox first.",
            )
        )
    with file:
        read = _read(file, clip, tools)
        if not isinstance(read, Clip):
            return read
        if abs(read.mtime_ns) >= TIME_NS_MAX:
            return Failed(Error("CLIP.DATE", "its date lies beyond the year 2262", "Set the clip's date."))
        if (read.size, read.mtime_ns) == (clip.size, clip.mtime_ns):
            return _make_ready(job, read, file, folders, tools, attempt)
        if other := why_another(read, clip, job):
            return other
        looked = _look_again(read, file, tools)
        if not isinstance(looked, Clip):
            return looked
        ready = _make_ready(job, looked, file, folders, tools, attempt)
        return replace(ready, media=looked.media) if isinstance(ready, Prepared) else ready


def _bring_in(job: Job, clip: Clip, folders: Folders) -> None:
    origin = folders.origin
    copy = None if origin is None else partial(return_copy, origin, folders.inbox, clip)
    bring_back(folders.inbox, clip, job, folders.journal, copy)


def take_up_again(job: Job, clip: Clip, folders: Folders) -> None:
    """Move a retired clip back whose paid task is followed again, and note the task.

    Were the journal lost now, its work folder alone would know of the task. Where it cannot be moved (it is
    gone, or there is no room for a copy) the result, which is paid for and expires, is fetched all the same.
    """
    with suppress(OSError):
        if not (job.part or folders.inbox.exists(join(folder_of(clip.id), MANIFEST))):
            _bring_in(job, clip, folders)
        note_followed(folders.inbox, job)


def _prepare_pictures(job: Job, clip: Clip, folders: Folders, tools: PrepareTools, attempt: str) -> Event:
    """Prepare a folder of numbered pictures by the film that they are packed into. Raises OSError."""
    tools.report(Working("reading the pictures"))
    read = read_pictures(folders.inbox, clip, tools.stopping)
    if not isinstance(read, Clip):
        return read
    is_changed = (read.size, read.mtime_ns) != (clip.size, clip.mtime_ns)
    if is_changed and (other := why_another(read, clip, job)):
        return other
    looked = look_at_pictures(read, job, folders, tools.decoder) if is_changed else read
    if not isinstance(looked, Clip):
        return looked
    tools.report(Working("packing the pictures"))
    film = open_film(looked, job, folders, tools.decoder, attempt=attempt)
    if not isinstance(film, FileIO):
        return film
    with film:
        ready = _make_ready(job, looked, film, folders, tools, attempt)
    return replace(ready, media=looked.media) if is_changed and isinstance(ready, Prepared) else ready


def _read(file: FileIO, clip: Clip, tools: PrepareTools) -> Clip | Changed | Postponed:
    """Hash the clip, and return it as it is now."""
    before = os.fstat(file.fileno())
    sha256 = clip.sha256
    if sha256 is None or (before.st_size, before.st_mtime_ns) != (clip.size, clip.mtime_ns):
        digest = hashlib.sha256()
        while chunk := file.read(min(CHUNK, before.st_size + 1)):  # memory for so much is taken at once
            digest.update(chunk)
            tools.report(Working("reading the clip", share_of(file.tell(), before.st_size)))
            if tools.stopping():
                return Postponed("the daemon stops", 0.0)
        sha256 = digest.hexdigest()
        # The program that copied it here may not have synced it: a paid clip must survive a power cut.
        os.fsync(file.fileno())
    after = os.fstat(file.fileno())
    # Somebody still writes: the hash is of bytes that are no longer there, and half a clip would be paid for.
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns) or after.st_size == 0:
        return Changed()
    return replace(clip, sha256=sha256, size=after.st_size, mtime_ns=after.st_mtime_ns)


def _look_again(clip: Clip, file: FileIO, tools: PrepareTools) -> Clip | Trouble:
    """Probe a clip that somebody wrote to after it was accepted: its price and fit may have changed."""
    state = completeness(file, clip.size)
    if not isinstance(state, Complete):
        return Failed(
            Error("MEDIA.INCOMPLETE", f"it changed after it was taken: {state.reason}", EXPORT_AGAIN)
        )
    seen = tools.decoder.probe(file.fileno())
    return media_trouble(seen) if isinstance(seen, MediaFault) else replace(clip, media=seen.to_dict())


def _make_ready(
    job: Job, clip: Clip, file: FileIO, folders: Folders, tools: PrepareTools, attempt: str
) -> Event:
    known = read_sent(folders.inbox, clip, job)
    bench = Workbench(folders, clip, job, attempt, tools.decoder, tools.report)
    fit = _fit(job, clip, file, tools)
    if not isinstance(fit, _Fit):
        return fit
    if not job.part and is_split(job.request, fit.probe, fit.limits):
        return _make_parts_ready(job, clip, file, folders, tools, attempt, fit)
    source = _source(job, clip, file, tools, bench, known, fit)
    if not isinstance(source, SentFile):
        return source
    files = [source]
    for number, reference in enumerate(r for r in job.request.references if r.file):
        before = known.references[number] if known and number < len(known.references) else None
        image = bench.image(number, reference, tools.depot.ways, before)
        if not isinstance(image, SentFile):
            return image
        files.append(image)
    placed: list[SentFile] = []
    for number, one in enumerate(files):
        at = tools.now()
        parcel = parcel_of(folders, clip, job, number - 1 if number else None, one)
        if one.way != "inline":
            doing = "uploading the clip" if one is source else "uploading a reference image"
            tools.report(Working(doing))
            parcel = replace(parcel, open=partial(_Reported, parcel.open, one.size, doing, tools.report))
        fault = tools.depot.put(one.way, parcel)
        if fault is not None:
            # Nothing was spent: it is tried again, and the reason says what to do.
            message = f"{fault.message}. {fault.what_to_do}" if fault.what_to_do else fault.message
            return StageFailed(fault.code, message, fault.retry_after_seconds)
        placed.append(replace(one, put_at=0.0 if one.way == "inline" else at))
    sent = Sent(placed[0], tuple(placed[1:]))
    # With size and time of each file: the submit stage sends none that has changed since.
    write_sent(folders.inbox, clip, job, attempt, sent)
    ready = replace(_prepared(job, clip, sent, tools), attempt=attempt)
    # A part is compared with nothing: the job that it belongs to is.
    return ready if job.part else _compared(ready, job, clip, folders)


class _Reported(FileIO):
    """A file that reports how much of it was read: whatever way it is sent, that is how far it has come."""

    def __init__(self, opened: Callable[[], FileIO], size: int, doing: str, report: ReportWork) -> None:
        with opened() as file:
            super().__init__(os.dup(file.fileno()), "rb")
        self._size, self._doing, self._report_to = size, doing, report

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self._report_to(Working(self._doing, share_of(self.tell(), self._size)))
        return data


def _compared(ready: Prepared, job: Job, clip: Clip, folders: Folders) -> Prepared:
    """Add what equal requests are found by."""
    images = _images(job, clip, folders)
    return replace(
        ready,
        fingerprint=fingerprint(job.request, clip.sha256 or "", images),
        alike=fingerprints_alike(job.request, clip.sha256 or "", images),
    )


def _make_parts_ready(
    job: Job, clip: Clip, file: FileIO, folders: Folders, tools: PrepareTools, attempt: str, fit: _Fit
) -> Event:
    """Cut a clip that is too long into parts, price them, and record them; each is made ready by itself."""
    bench = Workbench(folders, clip, job, attempt, tools.decoder, tools.report)
    for number, reference in enumerate(r for r in job.request.references if r.file):
        # One that cannot be sent is found before the first part is paid for.
        if not isinstance(image := bench.image(number, reference, tools.depot.ways, None), SentFile):
            return image
    content_type = type_of_clip(clip)
    priced = partial(
        parting, job.request, fit.probe, fit.limits, tools.depot.ways, content_type, tools.estimate
    )
    parted = cut_up(bench, fit.probe, fit.limits, file, priced)
    if not isinstance(parted, Parting):
        return parted
    whole = SentFile(clip.source, clip.size, clip.mtime_ns, clip.sha256 or "", content_type, "inline")
    sent = Sent(whole, (), parted.bars, parted.changes)
    write_sent(folders.inbox, clip, job, attempt, sent)
    ready = Prepared(
        clip.sha256 or "",
        clip.size,
        clip.mtime_ns,
        parted.price,
        changes=parted.changes,
        parts=parted.parts,
        attempt=attempt,
    )
    return _compared(ready, job, clip, folders)


def _images(job: Job, clip: Clip, folders: Folders) -> list[str]:
    """Hash the reference files, in their order."""
    images = []
    for reference in job.request.references:
        if reference.file:
            with folders.inbox.open(join(folder_of(clip.id), reference.file)) as file:
                images.append(sha256_of(file))
    return images


@dataclass(frozen=True, slots=True)
class _Fit:
    """What a clip is, and what its model takes."""

    probe: Probe
    limits: Bounds


def _fit(job: Job, clip: Clip, file: FileIO, tools: PrepareTools) -> _Fit | Trouble:
    limits = tools.limits(job.request)
    if limits is None:
        message = f"the model {job.request.model} is not in the catalogue any more"
        return Failed(Error("MODEL.UNKNOWN", message, "Describe it in [models.NAME], and retry."))
    probe = _probe(clip, file, tools)
    return media_trouble(probe) if isinstance(probe, MediaFault) else _Fit(probe, limits)


def _source(
    job: Job, clip: Clip, file: FileIO, tools: PrepareTools, bench: Workbench, known: Sent | None, fit: _Fit
) -> SentFile | Trouble:
    """Return the clip, or the part of it, as it is sent: itself, or a version that fits."""
    content_type = type_of_clip(clip)
    part = clip_part(job.parts[0]) if job.part else None
    choice = choose_for(job.request, fit.probe, fit.limits, tools.depot.ways, content_type, part)
    match choice.verdict:
        case Refuse(reason=reason, what_to_do=what_to_do):
            return Failed(Error("CLIP.DOES_NOT_FIT", reason, what_to_do))
        case Conform():
            sha256 = clip.sha256 or ""
            made = bench.conformed(file, sha256, choice, known.source if known else None)
            facts = Facts.of(clip.media)
            if facts is None or not isinstance(made, SentFile):
                return made
            rate = exact_rate(job.request.frames_per_second)
            first = in_words(facts, rate)
            return replace(made, changes=(*first, *(one for one in made.changes if one not in first)))
        case AsIs():
            stamp = (clip.size, clip.mtime_ns)
            return SentFile(clip.source, *stamp, clip.sha256 or "", content_type, choice.way)


def _probe(clip: Clip, file: FileIO, tools: PrepareTools) -> Probe | MediaFault:
    """Return what is in a clip, or in the film of its pictures, whose rate is the job's own."""
    if clip.is_pictures:
        seen = tools.decoder.probe(file.fileno())
        return seen if isinstance(seen, MediaFault) else replace(seen, container="pictures")
    return Probe.from_dict(clip.media) if clip.media.get("container") else tools.decoder.probe(file.fileno())


def _prepared(job: Job, clip: Clip, sent: Sent, tools: PrepareTools) -> Prepared:
    source = sent.source
    is_made = bool(source.made)
    seconds = source.made.get("seconds") if is_made else clip.media.get("seconds")
    return Prepared(
        clip.sha256 or "",
        clip.size,
        clip.mtime_ns,
        tools.estimate(job.request, None if seconds is None else float(seconds)),
        way="" if source.way == "inline" else source.way,
        sent_sha256=source.sha256 if is_made else "",
        sent_size=source.size if is_made else None,
        changes=tuple(change for one in files_of(sent) for change in one.changes),
    )
