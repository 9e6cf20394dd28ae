"""Sends a clip that is too long for its model in parts: plans them, records them, joins their results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from fractions import Fraction
from io import FileIO
from math import inf

import structlog

from clipspool.jobs.events import Changed, Event, Failed, Fetched, PartGone, Postponed, Split, StageFailed
from clipspool.jobs.model import Clip, Error, Held, Job, Part, Request, Result, plain
from clipspool.jobs.splitting import request_of
from clipspool.jobs.working import ReportWork, Working, keep_to_oneself
from clipspool.media.decoder import Decoder
from clipspool.media.facts import ClipPart, MediaFault, Probe
from clipspool.media.joins import JoinPlan, join_plan
from clipspool.media.parts import is_too_long, parts_of
from clipspool.media.plan import Bounds, Conform, Refuse
from clipspool.media.rates import constant_rate
from clipspool.media.signing import Ingredient
from clipspool.media.timeline import Bars
from clipspool.provider.transport import Choice, Way
from clipspool.spool.ledger import note, notes, parts_noted
from clipspool.spool.sources import open_source
from clipspool.spool.space import lacking
from clipspool.spool.watchfolder import Folders
from clipspool.spool.workfolder import folder_of, made_name
from clipspool.stages.finish import film_of, wanted_of
from clipspool.stages.fit import Workbench, choose_for, make_file, media_trouble
from clipspool.stages.payload import bars_sent, read_sent
from clipspool.stages.sign import UNSIGNED, Signing, sign
from clipspool.system.atomic import join
from clipspool.system.failpoint import reach

log = structlog.get_logger()

_SPARE_BYTES = 64 << 20
_JOIN_TRIES = 3
_PASSING = frozenset({"MEDIA.CRASHED", "MEDIA.TIMEOUT"})
"""Lack of memory or time may be the cause as well as the results."""
Estimate = Callable[[Request, float | None], float | None]


@dataclass(frozen=True, slots=True)
class Parting:
    """How a clip is cut into parts, decided before any of it is sent."""

    parts: tuple[Part, ...]
    changes: tuple[str, ...]
    """In words: into how many parts, and what is changed of each."""
    bars: Bars | None = None

    @property
    def price(self) -> float | None:
        """Return what all parts cost together; None where that is not known."""
        prices = [part.price for part in self.parts]
        return None if None in prices else sum(price or 0.0 for price in prices)


def is_split(request: Request, probe: Probe, limits: Bounds) -> bool:
    """Whether a clip is sent in parts: it is too long for the model, and that is asked for."""
    if request.long_clips != "split" or request.length_seconds is not None or probe.container == "pictures":
        return False  # a part of it is named, and sent alone; a folder of pictures is one film or none
    return is_too_long(probe, limits)


def clip_part(part: Part) -> ClipPart:
    """Return a part as media work takes it."""
    return ClipPart(start=part.start, frames=part.frames, overlap=part.overlap)


def parting(
    request: Request,
    probe: Probe,
    limits: Bounds,
    ways: Sequence[Way],
    content_type: str,
    estimate: Estimate,
    found: Sequence[ClipPart],
) -> Parting | Refuse:
    """Check and price each part of a clip: one that could not be sent is found before any is paid."""
    rate = constant_rate(probe)
    fps = f"{rate.numerator}/{rate.denominator}"
    parts: list[Part] = []
    conform: Conform | None = None
    for number, one in enumerate(found, start=1):
        part = Part(number, len(found), one.start, one.frames, one.overlap, fps)
        choice = choose_for(request, probe, limits, ways, content_type, one)
        match choice:
            case Choice(verdict=Refuse(reason=reason, what_to_do=what_to_do)):
                return Refuse(f"part {number} of {len(found)}: {reason}", what_to_do)
            case Choice(verdict=Conform() as conform):
                pass
            case _:
                raise TypeError(f"a part is not sent as it is: {choice}")
        price = estimate(request_of(request, part), conform.seconds)
        parts.append(replace(part, price=price))
    return Parting(tuple(parts), _in_words(parts, conform), _bars(conform))


def _in_words(parts: Sequence[Part], conform: Conform | None) -> tuple[str, ...]:
    longest = float(max((part.seconds for part in parts), default=Fraction(0)))
    seams = sum(part.overlap > 0 for part in parts)
    cuts = len(parts) - 1 - seams
    where = []
    if cuts:
        where.append(f"{cuts} at scene changes")
    if seams:
        where.append(f"{seams} within a scene, with frames of both sides")
    words = f"cut into {len(parts)} parts of up to {longest:.4g} s ({', '.join(where)})"
    # The first of them says which frames a part has.
    return (words, *(conform.changes[1:] if conform else ()))


def _bars(conform: Conform | None) -> Bars | None:
    if conform is None or not conform.picture_aspect:
        return None
    return Bars(conform.width, conform.height, conform.picture_aspect)


def cut_up(
    bench: Workbench,
    probe: Probe,
    limits: Bounds,
    file: FileIO,
    priced: Callable[[Sequence[ClipPart]], Parting | Refuse],
) -> Parting | Failed | Postponed | StageFailed:
    """Choose the parts of a clip: at scene changes where they are. A job that is run again keeps its own."""
    job, clip = bench.job, bench.clip
    if job.parts:
        return _sendable(priced(tuple(map(clip_part, job.parts))))

    shown = "looking for scene changes"
    scenes = bench.decoder.scenes(
        file.fileno(), probe, on_share=lambda _run, share: bench.report(Working(shown, share))
    )
    cuts: tuple[int, ...] = ()
    if isinstance(scenes, MediaFault):
        if scenes.code in {"MEDIA.STOPPED", "MEDIA.NO_SPACE"}:
            return media_trouble(scenes)
        # Without scene changes it is cut evenly: that costs quality at the seams, and nothing else.
        log.warning("scenes_not_found", job=job.id, clip=clip.path, why=scenes.message)
    else:
        cuts = scenes.cuts
    overlap = job.request.overlap_frames
    both = [parts_of(probe, limits, cuts=each, overlap_frames=overlap) for each in (cuts, ())]
    choices = [one if isinstance(one, Refuse) else priced(one) for one in both]
    # Whoever approved the price of even parts must not pay more: each part is rounded up to whole seconds.
    return _sendable(min(choices, key=lambda one: inf if isinstance(one, Refuse) else one.price or 0.0))


def _sendable(parted: Parting | Refuse) -> Parting | Failed:
    if isinstance(parted, Refuse):
        return Failed(Error("CLIP.DOES_NOT_FIT", parted.reason, parted.what_to_do))
    return parted


def record_parts(job: Job, clip: Clip, folders: Folders, may_send: Callable[[], bool]) -> Event:
    """Write the parts of a job into its clip's ledger, before any of them can be paid for.

    Where the journal is lost, the ledger shows what was cut, and which parts were sent. Raises OSError.
    """
    here = folders.inbox.stat(join(folder_of(clip.id), clip.source))
    if (here.st_size, here.st_mtime_ns) != (clip.size, clip.mtime_ns):
        return Changed()
    if full := _no_room(folders, clip.size):
        return full
    if not may_send():
        return Postponed("the lead of the farm was lost before its parts were entered", 0.0)
    # A journal that was restored may lack parts that were sent: those are what the clip is cut into.
    parts = parts_noted(notes(folders.inbox, clip.id), job.id) or job.parts
    reach("splitting")
    facts = {"attempt": job.prepared_by, "parts": [plain(part) for part in parts]}
    note(folders.inbox, clip.id, job.id, "parts", **facts)
    reach("split")
    return Split(parts)


def _no_room(folders: Folders, size: int) -> StageFailed | None:
    why = lacking(folders.inbox, size + _SPARE_BYTES)
    return StageFailed("INBOX.FULL", why, held=Held.DISK) if why else None


@dataclass(frozen=True, slots=True)
class JoinTools:
    """The tools of joining."""

    decoder: Decoder
    signing: Signing = UNSIGNED
    report: ReportWork = keep_to_oneself


def join_results(job: Job, clip: Clip, folders: Folders, tools: JoinTools, *, attempt: str) -> Event:
    """Join the results of all parts into one film with the clip's frames and sound. Raises OSError.

    Run again after a crash, it makes the film again. Results that cannot be joined are for a person to decide
    about: they are paid for, and are delivered one by one if that is ordered.
    """
    films = {one.part: one for one in job.results if one.part}
    parts = [films[part.number] for part in job.parts]
    if full := _no_room(folders, sum(film.size for film in parts)):
        return full
    home = folder_of(clip.id)
    with ExitStack() as opened:
        files: list[FileIO] = []
        for film in parts:
            try:
                files.append(opened.enter_context(folders.inbox.open(join(home, film.file))))
            except FileNotFoundError:
                return PartGone(film.part, film.file)
        source = opened.enter_context(open_source(folders.inbox, clip, job.request))
        joined = _joined(job, clip, folders, tools, parts, files, source, attempt)
    if isinstance(joined, MediaFault):
        return _not_joined(job, joined)
    reach("joined")
    return Fetched((joined, *(parts if job.request.keep_parts else ())))


def _joined(
    job: Job,
    clip: Clip,
    folders: Folders,
    tools: JoinTools,
    parts: Sequence[Result],
    files: Sequence[FileIO],
    source: FileIO,
    attempt: str,
) -> Result | MediaFault:
    plan = _join_plan(job, clip, folders, tools.decoder, files, source)
    if isinstance(plan, MediaFault):
        return plan
    finish = plan.finish
    name = made_name(job, attempt, f"-1.joined.{finish.container}")
    handles = [one.fileno() for one in files]

    def on_share(_run: int, share: float) -> None:
        tools.report(Working("joining the parts", share))

    made = make_file(
        folders.inbox,
        join(folder_of(clip.id), name),
        lambda target: tools.decoder.join(handles, source.fileno(), target.fileno(), plan, on_share=on_share),
    )
    if isinstance(made, MediaFault):
        return made
    credentials = "kept" if any(one.credentials for one in parts) else ""
    noticed = tuple(f"part {one.part}: {what}" for one in parts for what in one.noticed)
    blank = Result(name, "", 0, "", number=1, credentials=credentials, noticed=noticed)
    film = film_of(blank, name, finish, made)
    ingredients = [
        Ingredient(file, f"{job.request.model}, task {part.task_id}", one.suffix, is_parent=part.number == 1)
        for one, part, file in zip(parts, job.parts, files, strict=True)
    ]
    return sign(film, ingredients, job, clip, folders, tools.signing)


def _join_plan(
    job: Job, clip: Clip, folders: Folders, decoder: Decoder, files: Sequence[FileIO], source: FileIO
) -> JoinPlan | MediaFault:
    probes: list[Probe] = []
    for file in (*files, source):
        seen = decoder.probe(file.fileno())
        if isinstance(seen, MediaFault):
            return seen
        probes.append(seen)
    request = job.request
    return join_plan(
        probes[:-1],
        probes[-1],
        tuple(map(clip_part, job.parts)),
        as_is=request.finish == "as_is",
        bars=bars_sent(read_sent(folders.inbox, clip, job)),
        wanted=wanted_of(request),
        overlap_frames=request.overlap_frames,
    )


def _not_joined(job: Job, fault: MediaFault) -> Event:
    if fault.code == "MEDIA.STOPPED":
        return Postponed("the daemon stops", 0.0)
    if fault.code == "MEDIA.NO_SPACE":
        return StageFailed("INBOX.FULL", fault.message, held=Held.DISK)
    if fault.code in _PASSING and job.attempts + 1 < _JOIN_TRIES:
        return StageFailed(fault.code, fault.message)
    orders = "`clipspool approve` delivers them one by one, `clipspool retry` joins them once more"
    return Fetched(
        job.results, doubt=f"the results of its parts could not be joined: {fault.message}; {orders}"
    )
